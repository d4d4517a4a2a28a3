"""btrfs above the map: its script over what a real machine had, and what is made of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.transport import btrfs
from harness.transport.devices import SURVEY_SCRIPT, BlockDevice, parse_survey
from harness.transport.fitness.paths import Facts, holder_problems

WWID = "3600140562ba56d643b3c6c378fb543f9"
UUID = "0e13a2ff-5e35-4f3c-8c8f-3a1d4c2b9d10"
MOUNTINFO = (Path(__file__).parent / "recorded/linux-6.1-mountinfo-btrfs.txt").read_text()
NAMES = {"/dev/dm-0": "dm-0", f"/dev/mapper/{WWID}": "dm-0", "/dev/sdc": "sdc"}


def surveyed(top: Path, mountinfo: str, *members: str) -> str:
    """What the survey prints of a machine with a map, and btrfs on these devices of it."""
    for name in ("dm-0", "sdc"):
        block = top / "sys/block" / name
        block.mkdir(parents=True)
        (block / "dev").write_text("253:0\n" if name == "dm-0" else "8:32\n")
        (block / "size").write_text("2048\n")
    dm = top / "sys/block/dm-0/dm"
    dm.mkdir()
    (dm / "name").write_text(f"{WWID}\n")
    (dm / "uuid").write_text(f"mpath-{WWID}\n")
    (top / "sys/fs/btrfs/features").mkdir(parents=True)
    devices = top / "sys/fs/btrfs" / UUID / "devices"
    devices.mkdir(parents=True)
    for member in members:
        (devices / member).symlink_to(top / "sys/block" / member)
    (top / "proc/self").mkdir(parents=True)
    (top / "proc/self/mountinfo").write_text(mountinfo)
    (top / "proc/swaps").write_text("Filename Type Size Used Priority\n")
    script = SURVEY_SCRIPT
    for folder in ("/sys/", "/run/udev/", "/proc/"):
        script = script.replace(folder, f"{top}{folder}")
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def devices(said: str) -> tuple[BlockDevice, ...]:
    return parse_survey(said, ()).devices


def test_each_mount_is_that_of_the_device_whatever_its_number(tmp_path: Path) -> None:
    """mountinfo says 0:33, and the map is 253:0."""
    said = surveyed(tmp_path, MOUNTINFO, "dm-0")
    device, _ = devices(said)
    assert device == BlockDevice(
        *("dm-0", "253:0", 2048 * 512, (), WWID, f"mpath-{WWID}"),
        places=(r"/mnt/with\040blank", "/mnt/a"),
    )
    problems = list(holder_problems(WWID, Facts((), {}, (device,))))
    assert [problem.cause for problem in problems] == [
        rf"dm-0 ({WWID}), of the LUN {WWID}, is mounted on /mnt/with\040blank",
        f"dm-0 ({WWID}), of the LUN {WWID}, is mounted on /mnt/a",
    ]


def test_every_device_of_a_file_system_is_in_use(tmp_path: Path) -> None:
    """mountinfo names one of them."""
    said = surveyed(tmp_path, MOUNTINFO, "dm-0", "sdc")
    assert {d.name: d.places for d in devices(said)} == dict.fromkeys(
        ("dm-0", "sdc"), (r"/mnt/with\040blank", "/mnt/a")
    )


def test_what_is_mounted_out_of_sight_is_told(tmp_path: Path) -> None:
    """In another mount namespace, such as that of a container: the kernel lists its devices."""
    elsewhere = "".join(line for line in MOUNTINFO.splitlines(True) if "btrfs" not in line)
    said = surveyed(tmp_path, elsewhere, "dm-0")
    assert btrfs.places_by_device(said, NAMES) == {"dm-0": (f"btrfs {UUID}",)}
    (problem,) = holder_problems(WWID, Facts((), {}, devices(said)))
    assert f"belongs to the btrfs {UUID}, which is mounted in another" in problem.cause


def test_what_others_have_mounted_is_theirs(tmp_path: Path) -> None:
    said = surveyed(tmp_path, MOUNTINFO.replace(f"mapper/{WWID}", "sdc"), "sdc")
    assert [d.places for d in devices(said) if d.name == "dm-0"] == [()]
