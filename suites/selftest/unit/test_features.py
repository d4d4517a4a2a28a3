"""What sg3-utils print of a disk, and what is made of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InitiatorError
from harness.transport.features import FEATURES_SCRIPT, Features, parse_features

RECORDED = Path(__file__).parent / "recorded"
LIO = (RECORDED / "sg3-utils-1.46-lio.txt").read_text()


def test_what_lio_tells_is_understood() -> None:
    """A unit in a file, with the kernel's default group."""
    assert parse_features(LIO) == Features(
        vendor="LIO-ORG",
        product="FILEIO",
        alua=True,
        access_states=("active/optimized",),
        persistent_reservations=True,
        unmap=False,
        compare_and_write=True,
    )


def test_what_tgt_tells_is_understood() -> None:
    """It has no target port groups, and refuses to be asked for them."""
    assert parse_features((RECORDED / "sg3-utils-1.46-tgt.txt").read_text()) == Features(
        vendor="IET",
        product="VIRTUAL-DISK",
        alua=False,
        access_states=(),
        persistent_reservations=True,
        unmap=False,
        compare_and_write=True,
    )


@pytest.mark.parametrize("name", ["provisioning", "limits", "groups", "keys"])
def test_what_a_target_does_not_know_it_cannot_do(name: str) -> None:
    """The command fails, whatever it prints."""
    head, _, rest = LIO.partition(f"== {name}\n")
    said, _, below = rest.partition("-- 0\n")
    features = parse_features(f"{head}== {name}\n{said}-- 5\n{below}")
    assert {
        "provisioning": features.unmap,
        "limits": features.compare_and_write,
        "groups": features.alua,
        "keys": features.persistent_reservations,
    }[name] is False


def test_thin_provisioning_is_told() -> None:
    """By the bit for UNMAP."""
    assert parse_features(LIO.replace("(LBPU): 0", "(LBPU): 1")).unmap


def test_a_disk_that_does_not_answer_is_refused() -> None:
    """Rather than taken for one that can do nothing."""
    with pytest.raises(InitiatorError, match="no INQUIRY"):
        parse_features("== inquiry\nsg_inq: error opening file: /dev/sdz\n-- 15\n")


@given(st.text(max_size=200))
def test_nothing_else_is_understood(text: str) -> None:
    """Whatever it is, it is refused by our own error."""
    if "== inquiry" not in text:
        with pytest.raises(InitiatorError):
            parse_features(text)


def test_the_script_tells_of_tools_that_fail(tmp_path: Path) -> None:
    """Each answer is there with its status, and all are asked."""
    for tool, status in {"sg_inq": 0, "sg_vpd": 5, "sg_rtpg": 9, "sg_persist": 0}.items():
        program = tmp_path / tool
        program.write_text(f'#!/bin/sh\necho "{tool} $*"\nexit {status}\n')
        program.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", FEATURES_SCRIPT, "sh", "/dev/sda"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("== inquiry\nsg_inq /dev/sda\n-- 0\n== provisioning\n")
    assert done.stdout.count("-- 5\n") == 2
    assert "sg_persist --in --read-keys /dev/sda\n-- 0\n" in done.stdout
