"""What of the fresh machine can be told without making one."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from harness.locks import try_locked_folder
from suites.selftest import needs
from suites.selftest.fresh import machine
from suites.selftest.fresh.machine import finish, keep, sweep
from suites.selftest.fresh.outcome import accepted, only_verdict

MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)


def test_what_apt_fetched_is_there_the_next_day(tmp_path: Path) -> None:
    """A job that runs every night downloads packages once; the minimal root is of the day."""
    monday = keep(tmp_path, "bookworm", MONDAY)
    monday.base.touch()
    (monday.archives / "fio_3.33-3_amd64.deb").touch()
    (tmp_path / "bookworm-2026-03-01").mkdir()  # as earlier versions kept a day
    tuesday = keep(tmp_path, "bookworm", TUESDAY)
    assert tuesday.archives == monday.archives
    assert sorted(path.name for path in tuesday.archives.iterdir()) == [
        "fio_3.33-3_amd64.deb",
        "partial",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["bookworm-archives"]


def test_the_minimal_root_of_the_day_is_kept(tmp_path: Path) -> None:
    """For the second run of that day."""
    keep(tmp_path, "bookworm", MONDAY).base.touch()
    assert keep(tmp_path, "bookworm", MONDAY).base.exists()


def test_only_roots_in_which_nothing_runs_are_swept_away(tmp_path: Path) -> None:
    """Their lock is held by whatever runs in there, even if the run itself was killed."""
    used, left, other = (
        tmp_path / f"{name}" for name in ("pathproof-fresh-1", "pathproof-fresh-2", "else")
    )
    for folder in (used, left, other):
        (folder / "srv").mkdir(parents=True)
    with try_locked_folder(used) as claim:
        assert claim is not None
        inside = subprocess.Popen(["sleep", "60"], pass_fds=[claim])
    try:
        sweep(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["else", "pathproof-fresh-1"]
    finally:
        inside.kill()
        inside.wait()
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["else"]


def test_what_a_job_said_before_it_was_killed_is_kept() -> None:
    """It is all that tells why it hung."""
    program = "print('it hangs at 42 %', flush=True); import time; time.sleep(60)"
    done = finish([sys.executable, "-c", program], 1.0, env=os.environ)
    assert done.status == -signal.SIGKILL
    assert done.said == "it hangs at 42 %\n\nkilled: no end within 1 s\n"


def test_a_job_that_died_is_told_with_all_that_it_said(tmp_path: Path) -> None:
    """Not as an error of unpacking."""
    with pytest.raises(AssertionError, match=r"there are 0; the job ended with status 3:\nno room"):
        only_verdict(tmp_path, "the job ended with status 3:\nno room")


@pytest.mark.parametrize(
    ("verdict", "message", "expected"),
    [
        ("pass", "", True),
        ("unknown", "the host was too busy to compare", True),
        ("unknown", "fio left no log", False),
        ("fail", "it is slower; the host was too busy to compare all", False),
    ],
)
def test_only_an_unknown_verdict_is_excused_by_a_busy_host(
    verdict: str, message: str, expected: bool
) -> None:
    assert accepted({"verdict": verdict, "message": message}) is expected


def test_root_that_may_make_no_namespaces_is_a_reason_to_skip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container without CAP_SYS_ADMIN is such a place."""
    unshare = tmp_path / "unshare"
    unshare.write_text("#!/bin/sh\nexit 1\n")
    unshare.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/mmdebstrap")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "debian"})
    assert machine.missing() == needs.ROOT_WITH_NAMESPACES
