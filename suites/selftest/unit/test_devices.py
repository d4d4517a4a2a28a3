"""Block devices and who uses them: the script, what it prints, and what WWIDs mean."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InitiatorError
from harness.transport.devices import (
    SURVEY_SCRIPT,
    BlockDevice,
    Survey,
    parse_survey,
)

WWID = "360014057043dfe0435de773ca03bbf04"
NAMES = st.text("abcdefgh0123456789-_", min_size=1, max_size=9)
DEVICES = st.lists(
    st.builds(
        BlockDevice,
        name=NAMES,
        number=st.builds("{}:{}".format, st.integers(0, 300), st.integers(0, 999)),
        size=st.integers(0, 10**9).map(lambda sectors: sectors * 512),
        below=st.lists(NAMES, max_size=3).map(tuple),
        dm_name=NAMES | st.just(""),
        dm_uuid=NAMES | st.just(""),
        identity=NAMES | st.just(""),
        serial=NAMES | st.just(""),
        wwid=st.just("") | st.just("naa.6001405") | st.just(r"t10.ACME\0|x y"),
        places=st.lists(st.sampled_from(["/", "/srv/a", "/srv/b"]), unique=True).map(tuple),
    ),
    unique_by=(lambda device: device.name, lambda device: device.number),
    max_size=4,
)


def printed(device: BlockDevice) -> str:
    parts = [device.name, device.number, str(device.size // 512), " ".join(device.below)]
    parts += [device.dm_name, device.dm_uuid, device.identity]
    parts += [device.serial, device.wwid]
    uses = [f"use|{device.number}|{place}" for place in device.places]
    return "\n".join([f"device|{'|'.join(parts)}", *uses]) + "\n"


@given(DEVICES)
def test_what_the_script_prints_is_read_back(devices: list[BlockDevice]) -> None:
    """Whatever lies on whatever, and even if an identity has the separator in it."""
    survey = parse_survey("--\n" + "".join(map(printed, devices)), [])
    assert survey == Survey((), tuple(devices))


@pytest.mark.parametrize("text", ["", "nonsense", "--\ndevice|sda|8:0|1\n", "--\ndevice||||||||\n"])
def test_anything_else_is_refused(text: str) -> None:
    """A disk that is overlooked must not count as unused."""
    with pytest.raises(InitiatorError):
        parse_survey(text, [])


def test_a_device_that_goes_away_meanwhile_is_left_out() -> None:
    """Its name was read, and its files no more; others on the machine come and go."""
    there = BlockDevice("sda", "8:0", 512)
    text = "--\ndevice|sdx|65:112|||||||\ndevice|sdy||||||||\n" + printed(there)
    assert parse_survey(text, []).devices == (there,)


def test_odd_names_of_other_disks_and_maps_do_not_matter() -> None:
    """One ends like the mark between the parts, and the name of a map has a form feed in it."""
    there = BlockDevice("sda", "8:0", 512)
    other = "session9|iqn.other|LOGGED_IN|10.9.9.1|3260|default|5|5|5|10.9.9.9|sdr|65:16|t10.x--\n"
    own = (
        "session1|iqn.own|LOGGED_IN|172.16.0.1|3260|default|1|1|1|172.16.0.101|"
        "sda|8:0|naa.6001405\n"
    )
    odd = "device|dm-3|253:3|1||data\f1|LVM-x|||\n"
    survey = parse_survey(f"{other}{own}--\n{odd}{printed(there)}", ["iqn.own"])
    assert [session.name for session in survey.sessions] == ["session1"]
    assert [(device.name, device.dm_name) for device in survey.devices] == [
        ("dm-3", "data\f1"),
        ("sda", ""),
    ]


def put(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content + "\n")
    return folder


def test_the_script_tells_who_lies_on_what(tmp_path: Path) -> None:
    """Run by a real shell over a tree that is laid out as the kernel's and udev's."""
    blocks = tmp_path / "sys/block"
    disk = put(blocks / "sda", dev="8:0", size="2048")
    put(disk / "device", wwid=r"t10.IET\0\0lun|0")
    put(disk / "sda1", dev="8:1", size="1024", partition="1")
    put(disk / "holders")
    over = put(blocks / "dm-0", dev="253:0", size="2048")
    put(over / "dm", name=WWID, uuid=f"mpath-{WWID}")
    put(over / "slaves/sda")
    known = f"S:disk\nE:ID_SERIAL={WWID}\nE:ID_SCSI_SERIAL=47 11"
    put(tmp_path / "run/udev/data", **{"b8:0": known})
    put(tmp_path / "proc/self", mountinfo="30 1 253:0 / /mnt rw - ext4 /dev/dm-0 rw")
    put(tmp_path / "proc", swaps=f"Filename Type Size\n{tmp_path}/dev/sda1 partition 512 0 -2")
    script = SURVEY_SCRIPT
    for top in ("/sys/", "/run/udev/", "/proc/"):
        script = script.replace(top, f"{tmp_path}{top}")
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert parse_survey(done.stdout, []).devices == (
        BlockDevice(
            *("dm-0", "253:0", 2048 * 512, ("sda",), WWID, f"mpath-{WWID}"), places=("/mnt",)
        ),
        BlockDevice(
            *("sda", "8:0", 2048 * 512), identity=WWID, serial="47 11", wwid=r"t10.IET\0\0lun|0"
        ),
        BlockDevice("sda1", "8:1", 1024 * 512, ("sda",), places=("swap",)),
    )


def test_swap_on_a_map_is_told_by_either_of_its_names() -> None:
    """/proc/swaps has /dev/mapper/NAME where udev makes no link of it."""
    line = f"device|dm-0|253:0|2048|sda|{WWID}|mpath-{WWID}|||\n"
    for name in ("dm-0", f"mapper/{WWID}"):
        (device,) = parse_survey(f"--\n{line}swap|/dev/{name}\n", ()).devices
        assert device.places == ("swap",)


def test_the_script_runs_here() -> None:
    """On a real kernel, whatever it has."""
    done = subprocess.run(["sh", "-euc", SURVEY_SCRIPT], capture_output=True, text=True, check=True)
    names = [device.name for device in parse_survey(done.stdout, []).devices]
    assert sorted(n for n in names if (Path("/sys/block") / n).exists()) == sorted(
        path.name for path in Path("/sys/block").iterdir()
    )


def test_a_lun_is_what_udev_says() -> None:
    """That is what multipathd goes by; the kernel is asked where there is no udev."""
    assert BlockDevice("sda", "8:0", 1, identity=WWID).is_lun(WWID)
    assert BlockDevice("sda", "8:0", 1, wwid=f"naa.{WWID[1:]}").is_lun(WWID)
    assert not BlockDevice("sda", "8:0", 1, identity="3other", wwid=f"naa.{WWID[1:]}").is_lun(WWID)
    assert not BlockDevice("sda1", "8:1", 1, ("sda",), identity=WWID).is_lun(WWID)
