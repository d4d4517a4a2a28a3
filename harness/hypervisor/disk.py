"""qemu-img: overlays and empty disks."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from harness.errors import HypervisorError, describe_command
from harness.hypervisor.tool import run_tool

_TIMEOUT_S = 60


def overlay_argv(path: Path, backing: Path, backing_format: Literal["qcow2", "raw"]) -> list[str]:
    """The command that makes an overlay (qemu-img(1), `create`)."""
    return [
        *("qemu-img", "create", "-q"),
        *("-f", "qcow2"),
        *("-b", str(backing.absolute())),
        *("-F", backing_format),
        str(path.absolute()),
    ]


def disk_argv(path: Path, size_bytes: int) -> list[str]:
    """The command that makes an empty qcow2 disk."""
    return ["qemu-img", "create", "-q", "-f", "qcow2", str(path.absolute()), str(size_bytes)]


def create_overlay(path: Path, backing: Path, backing_format: Literal["qcow2", "raw"]) -> None:
    """Make `path` a qcow2 disk that reads through to `backing`, which is never written.

    `backing` must not change or move as long as the overlay is used.
    """
    _run(overlay_argv(path, backing, backing_format))


def create_disk(path: Path, size_bytes: int) -> None:
    """Make `path` an empty qcow2 disk; it takes space only as it is written."""
    _run(disk_argv(path, size_bytes))


def _run(argv: Sequence[str]) -> None:
    began = time.monotonic()
    try:
        done = run_tool(argv, _TIMEOUT_S)
    except FileNotFoundError:
        raise HypervisorError(
            "qemu-img is not installed", hint="./bootstrap installs it (Debian: qemu-utils)"
        ) from None
    except subprocess.TimeoutExpired:
        raise HypervisorError(
            describe_command("no end in time", "this machine", argv, "", "", _TIMEOUT_S),
            hint="is the file system under it hanging?",
        ) from None
    if done.returncode != 0:
        elapsed_s = time.monotonic() - began
        outcome = f"exit status {done.returncode}"
        raise HypervisorError(
            describe_command(outcome, "this machine", argv, done.stdout, done.stderr, elapsed_s)
        )
