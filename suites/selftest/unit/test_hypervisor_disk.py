"""Disks, made by the real qemu-img."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from harness.errors import HypervisorError
from harness.hypervisor.disk import create_disk, create_overlay, overlay_argv
from harness.units import MIB


def info(path: Path) -> dict[str, object]:
    argv = ["qemu-img", "info", "--output=json", str(path)]
    found: dict[str, object] = json.loads(subprocess.check_output(argv))
    return found


def test_an_overlay_names_its_backing_file_by_absolute_path_and_format() -> None:
    assert overlay_argv(Path("/beds/a.qcow2"), Path("/images/root.raw"), "raw") == [
        *("qemu-img", "create", "-q", "-f", "qcow2"),
        *("-b", "/images/root.raw", "-F", "raw", "/beds/a.qcow2"),
    ]


def test_an_overlay_has_the_size_of_its_backing_disk(tmp_path: Path) -> None:
    backing, overlay = tmp_path / "a, b=c.raw", tmp_path / "over lay:1.qcow2"
    backing.write_bytes(bytes(MIB))
    create_overlay(overlay, backing, "raw")
    facts = info(overlay)
    assert facts["virtual-size"] == MIB
    assert facts["full-backing-filename"] == str(backing)
    assert facts["backing-filename-format"] == "raw"


def test_an_empty_disk_takes_space_only_when_written(tmp_path: Path) -> None:
    disk = tmp_path / "lun.qcow2"
    create_disk(disk, 10_000_000_000)
    assert info(disk)["virtual-size"] == 10_000_000_000
    assert disk.stat().st_size < MIB


def test_a_failure_names_the_command_and_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(HypervisorError, match="qemu-img create") as caught:
        create_overlay(tmp_path / "o.qcow2", tmp_path / "missing.raw", "raw")
    assert "No such file or directory" in str(caught.value)
