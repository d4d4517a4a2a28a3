"""The script that undoes on an existing machine what a run has made; tools are stand-ins."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.transport.dm_multipath.multipath_conf import WWIDS, render_drop_in
from harness.transport.existing import _UNDO_SCRIPT
from suites.selftest.unit.fio_on_this_host import FIO

WWID = "360014057043dfe0435de773ca03bbf04"
OTHERS = ("iqn.2026-01.io.other:array-a", "iqn.2026-01.io.other:array-b")
IFACES = ("default", "pathproof-a-nic1")  # of which the owner has made the second
SAYS = {
    "nft": 'echo "table inet filter"; echo "table inet pathproof_drop_a"',
    "iscsiadm": "\n".join(
        [
            'if [ "$*" = "--mode iface" ]; then',
            *(f'echo "{iface} tcp,<empty>,<empty>,<empty>,<empty>"' for iface in IFACES),
            "else",
            *(f'echo "tcp: [1] 10.1.0.1:3260,1 {iqn} (non-flash)"' for iqn in OTHERS),
            "fi",
        ]
    ),
    # Its answers are files; the first that is there is the next.
    "multipathd": 'for said in said-*; do cat "$said"; /bin/rm "$said"; break; done',
    "pgrep": "ls said-* >/dev/null 2>&1",
    **dict.fromkeys(("multipath", "systemctl", "rm", "dmsetup", "pkill", "sleep"), ""),
}


def undone(
    folder: Path,
    *,
    known: bool = False,
    failing: str = "",
    multipathd: Sequence[str] = ("ok",),
    mapped: bool = False,
) -> tuple[int, list[str]]:
    """What the script calls on a machine that a killed run left, and its exit status.

    `multipathd` are its answers to `reconfigure`; without any it does not run.
    """
    drop_in = folder / "pathproof.conf"
    if mapped:
        (folder / WWID).touch()
    for number, said in enumerate(multipathd):
        (folder / f"said-{number}").write_text(f"{said}\n")
    active = ["multipathd.socket", "multipathd.service"]
    drop_in.write_text(render_drop_in({WWID: known}, OTHERS, "multibus", active=active))
    wwids = folder / "wwids"
    wwids.write_text(f"# Multipath wwids\n/{WWID}/\n/{WWID}0/\n")
    tools = folder / "tools"
    tools.mkdir()
    for name, script in SAYS.items():
        tool = tools / name
        ends = 'case "$*" in *logout) exit 1 ;; esac' if name == failing else ""
        tool.write_text(f'#!/bin/sh\ncd {folder}; echo {name} "$@" >>log\n{script}\n{ends}\n')
        tool.chmod(0o755)
    undo = _UNDO_SCRIPT.replace(WWIDS, str(wwids)).replace("/dev/mapper", str(folder))
    argv = ["/bin/sh", "-uc", undo, "sh", str(drop_in)]
    done = subprocess.run(argv, env={"PATH": f"{tools}:/usr/bin:/bin"}, check=False)
    return done.returncode, (folder / "log").read_text().splitlines()


@pytest.mark.parametrize("known", [True, False])
def test_what_is_undone_is_what_the_file_names(tmp_path: Path, *, known: bool) -> None:
    """A run that was killed may have been for other targets than those of today.

    It has made no interface of open-iscsi: on an existing machine a network has one NIC.
    """
    status, log = undone(tmp_path, known=known)
    assert status == 0
    first, second = (f"iscsiadm --mode node --targetname {iqn}" for iqn in OTHERS)
    assert log == [
        "nft list tables",
        "nft delete table inet pathproof_drop_a",
        *("iscsiadm --mode session", f"{first} --logout", first, f"{first} --op delete"),
        *("iscsiadm --mode session", f"{second} --logout", second, f"{second} --op delete"),
        *([] if known else [f"rm {tmp_path}/wwids.new"]),
        "rm -rf /run/pathproof",
        "systemctl stop iscsid.socket",
        "systemctl stop iscsid.service",
        "pgrep -x multipathd",
        "multipathd reconfigure",
        f"rm -f {tmp_path}/pathproof.conf",
    ]
    kept = [f"/{WWID}/"] if known else []
    left = (tmp_path / "wwids").read_text().splitlines()
    assert left == ["# Multipath wwids", *kept, f"/{WWID}0/"]


def test_what_could_not_be_undone_is_tried_again_by_the_next(tmp_path: Path) -> None:
    """So the file that says what it was stays, and so do services that sessions may need."""
    status, log = undone(tmp_path, failing="iscsiadm")
    assert status == 1
    assert not any(line.startswith(("systemctl", "rm -f")) for line in log)


@pytest.mark.parametrize(
    ("multipathd", "asked"),
    [((), 0), (("timeout", "fail", "ok"), 3), ((*["timeout"] * 4, "ok"), 5)],
)
def test_multipathd_is_told_until_it_has_begun(
    tmp_path: Path, multipathd: Sequence[str], asked: int
) -> None:
    """Busy, it exits with 0 and keeps what it has read; stopped, it has nothing to forget."""
    status, log = undone(tmp_path, multipathd=multipathd)
    assert (status, log.count("multipathd reconfigure")) == (0, asked)
    assert log[-1] == f"rm -f {tmp_path}/pathproof.conf"


def test_the_next_run_tells_a_multipathd_that_stays_busy(tmp_path: Path) -> None:
    """What is left of the file has no effect, and still says what is to be undone."""
    status, log = undone(tmp_path, multipathd=["timeout"] * 9)
    assert status == 1
    assert log.count("multipathd reconfigure") == 5
    assert "rm -f" not in " ".join(log)
    left = (tmp_path / "pathproof.conf").read_text().splitlines()
    assert all(line.startswith("#") for line in left)
    assert [line for line in left if line.startswith("# lun")] == [f"# lun {WWID} new"]


def test_the_load_is_ended_whatever_its_program_is_called(tmp_path: Path) -> None:
    """It is the one that `FioRun` started. No other fio of the machine is ended."""
    if FIO is None:
        pytest.skip("needs fio")
    (kill,) = [line for line in _UNDO_SCRIPT.splitlines() if "pkill" in line]
    (tmp_path / "load").symlink_to(FIO)
    job = tmp_path / "job.fio"
    job.write_text("[idle]\nioengine=null\nsize=1M\nthinktime=60s\n")
    argv = [str(tmp_path / "load"), "--output-format=json"]
    with (
        subprocess.Popen([*argv, f"--output={tmp_path}/report.json", str(job)]) as load,
        subprocess.Popen([*argv, f"--output={tmp_path}/other.json", str(job)]) as other,
    ):
        try:
            end = kill.partition("&&")[0].replace("/run/pathproof/fio", str(tmp_path))
            subprocess.run(["sh", "-uc", end], check=True)
            load.wait(timeout=10)
            assert other.poll() is None
        finally:
            load.kill()
            other.kill()


def test_a_map_that_udev_still_looks_at_is_flushed_again(tmp_path: Path) -> None:
    """It is tried for 10 s, as at every other place."""
    status, log = undone(tmp_path, mapped=True)
    assert status == 0
    assert f"multipath -f -R 10 {WWID}" in log


def test_without_the_file_nothing_is_undone(tmp_path: Path) -> None:
    """A file that does not say what it is for is left to people."""
    argv = ["/bin/sh", "-uc", _UNDO_SCRIPT, "sh", str(tmp_path / "pathproof.conf")]
    assert subprocess.run(argv, env={"PATH": ""}, check=False).returncode == 0
    (tmp_path / "pathproof.conf").write_text("# mine\n")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does not say what it is for" in done.stderr
