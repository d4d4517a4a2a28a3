"""One LUN's identity in its four forms."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Config
from harness.config.profiles import FAST
from harness.transport.devices import BlockDevice
from harness.transport.dm_multipath.multipath_conf import render_conf, render_drop_in
from harness.transport.dm_multipath.wwid import as_pattern, has_wwid, map_name

WWID = "360014057043dfe0435de773ca03bbf04"
ODD = "1ACME_disk#1+2=3@4,5"
RECORDED = Path(__file__).parent / "recorded"


@pytest.mark.parametrize(
    ("kernel", "multipath"),
    [
        ("naa.60014057043dfe0435de773ca03bbf04", WWID),
        ("eui.0025385b71b04f8e", "20025385b71b04f8e"),
        ("t10.ACME    disk one", "1ACME_disk_one"),
        ("t10.ACME    disk one   ", "1ACME_disk_one"),
        (r"t10.ACME    disk one\0\0\0", "1ACME_disk_one"),
        (r"t10.ACME\tdisk one", "1ACME_disk_one"),
        ("t10.  ACME one", "1_ACME_one"),
        ("t10.ACME    disk,one/2", "1ACME_disk_one_2"),  # by udev
        ("t10.ACME    disk,one/2", "1ACME_disk,one/2"),  # by multipathd itself
        ("t10.ACME disk#1+2=3@4", "1ACME_disk#1+2=3@4"),
        (r"t10.IET\0\0\0\0\0lun0id" + r"\0" * 10, "149455400000000006c756e306964" + "00" * 10),
        (r"t10.\001\n\377\033".replace(r"\033", r"\e"), "1010aff1b"),
    ],
)
def test_one_identity_has_several_forms(kernel: str, multipath: str) -> None:
    """The kernel's, as SCSI name string, and multipath-tools', as scsi_id has it."""
    assert has_wwid(kernel, multipath)
    assert not has_wwid(kernel, multipath[:-1] + "0" * (multipath[-1] != "0"))
    assert not has_wwid("", multipath)
    assert not BlockDevice("sda", "8:0", 1, identity=multipath, wwid=kernel).contradicts


def test_iets_identity_has_two_forms() -> None:
    """The kernel printed both forms of a real one."""
    recorded = (RECORDED / "linux-6.1-iet-wwid.txt").read_text().strip()
    assert has_wwid(recorded, "1494554000000000030313233343536373839616263646566")


def fits(pattern: str, wwid: str) -> bool:
    """By the C library's own regcomp(3), with REG_EXTENDED as multipath-tools has it."""
    argv = ["grep", "--quiet", "--extended-regexp", "--regexp", pattern]
    return subprocess.run(argv, input=wwid, text=True, check=False).returncode == 0


@pytest.mark.parametrize("wwid", [WWID, ODD, "1A.B.C++D", "1a:b:c-d_e"])
def test_the_pattern_of_a_wwid_fits_it_alone(wwid: str) -> None:
    pattern = as_pattern(wwid)
    assert fits(pattern, wwid)
    others = (f"{wwid}0", f"0{wwid}", wwid.replace("+", ""), wwid.replace(".", "x"))
    assert not any(fits(pattern, other) for other in others if other != wwid)


@given(st.from_regex(r"[0-9A-Za-z][0-9A-Za-z_.:#+=@,-]{7,20}", fullmatch=True))
def test_any_wwid_that_the_configuration_takes_is_written_as_its_own_pattern(wwid: str) -> None:
    """In both of multipathd's files, where nothing else of it is a pattern."""
    config = Config.model_validate(
        {"target": {"kind": "external", "wwid": wwid}, "initiator": {"machine": "local"}}
    )
    assert config.target.wwid == wwid
    quoted = f'wwid "{as_pattern(wwid)}"\n'
    assert quoted in render_conf([wwid], FAST, target_is_made=False)
    assert quoted in render_drop_in({wwid: False}, [], "multibus", active=())


def test_the_map_of_an_odd_wwid_has_the_name_that_libdm_gives_it() -> None:
    """Signs that udev does not take, as dmsetup(8) says of name mangling."""
    assert map_name(WWID) == WWID
    assert map_name(ODD) == r"1ACME_disk#1+2=3@4\x2c5"
