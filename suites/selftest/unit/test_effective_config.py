"""What multipathd goes by, read from what several versions of it print."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.config.profiles import FAST
from harness.errors import InitiatorError
from harness.transport.dm_multipath.effective_config import (
    ScsiIdentity,
    Section,
    detects_grouping,
    parse_config,
    polling,
    recovery_demanded,
)
from harness.transport.dm_multipath.multipath_conf import render_conf

RECORDED = Path(__file__).parent / "recorded"
VERSIONS = ("0.8.5", "0.9.4", "0.11.1")
WWID = "360014057043dfe0435de773ca03bbf04"
LUN = ScsiIdentity("LIO-ORG", "pathproof", "4.0")
every_version = pytest.mark.parametrize("version", VERSIONS)


def recorded(version: str) -> str:
    return (RECORDED / f"multipath-{version}-t.txt").read_text()


def config(version: str, *replaced: tuple[str, str]) -> Mapping[str, Section]:
    text = recorded(version)
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    return parse_config(text)


def overrides(version: str) -> tuple[str, str]:
    return "overrides {\n}\n", (RECORDED / f"multipath-{version}-t-overrides.txt").read_text()


@every_version
def test_another_arrays_section_does_not_count(version: str) -> None:
    """LABCORP's 10 is not this LUN's, whose own section says nothing: the default holds."""
    assert recovery_demanded(config(version), LUN) == 5
    assert recovery_demanded(config(version), ScsiIdentity("LABCORP", "x", "1")) == 10


@every_version
def test_patterns_are_posix_ones_and_all_of_a_section_have_to_fit(version: str) -> None:
    """The product is `^disk[[:digit:]]+$`, `40" disk`, or `TCMU|^RAM` of a revision `4\\.0`."""
    seven = config(version, ("\tfast_io_fail_tmo 5\n", "\tfast_io_fail_tmo 7\n"))
    for product, revision, seconds in (
        ("disk", "4.0", 7),
        ("disk12", "4.0", None),
        ('a 40" disk', "4.0", 9),
        ("RAMDISK", "4.0", None),
        ("a RAMDISK", "4.0", 7),
        ("x TCMU device", "4-0", 7),
    ):
        assert recovery_demanded(seven, ScsiIdentity("LIO-ORG", product, revision)) == seconds


@every_version
def test_of_several_sections_that_fit_the_last_counts(version: str) -> None:
    """It counts as far as it says anything. Built-in ones come first, so the user's hold."""
    one = config(version, ('vendor "LABCORP"', 'vendor "LIO"'))
    assert recovery_demanded(one, LUN) == 10
    assert recovery_demanded(one, ScsiIdentity("LIO-ORG", 'a 40" disk', "4.0")) == 9


@every_version
def test_overrides_go_before_all_sections(version: str) -> None:
    """Those of the protocol before the others, where there are any; Fibre Channel's never."""
    seconds = 6 if version == "0.8.5" else 8
    labcorp = ScsiIdentity("LABCORP", "x", "1")
    assert recovery_demanded(config(version, overrides(version)), labcorp) == seconds


def test_overrides_of_another_protocol_only_leave_the_general_ones() -> None:
    other = ('type "scsi:iscsi"', 'type "scsi:sas"')
    assert recovery_demanded(config("0.9.4", overrides("0.9.4"), other), LUN) == 6


@every_version
def test_whether_multipathd_chooses_the_grouping_policy_depends_on_the_version(
    version: str,
) -> None:
    """0.9.6 and later do it unless a section that holds for the LUN says otherwise."""
    assert detects_grouping(config(version), LUN) == (version == "0.11.1")


def test_a_section_that_holds_for_the_lun_decides_on_the_detection() -> None:
    """`overrides` first, then the sections that fit, then `defaults`."""
    off, on = (f'\tdetect_pgpolicy "{value}"\n' for value in ("no", "yes"))
    assert not detects_grouping(config("0.11.1", (on, off)), LUN)
    labcorp = '\t\tvendor "LABCORP"\n'
    of_another = config("0.11.1", (labcorp, labcorp + off))
    assert detects_grouping(of_another, LUN)
    assert not detects_grouping(of_another, ScsiIdentity("LABCORP", "x", "1"))
    first = ("overrides {\n", f"overrides {{\n{on}")
    assert detects_grouping(config("0.11.1", (labcorp, labcorp + off), first), LUN)


@pytest.mark.parametrize("target", ["made", "external"])
def test_the_policy_of_the_configuration_is_in_force_where_multipathd_could_choose(
    target: str,
) -> None:
    """0.11.1 read the file that is written for it, and took every setting in it."""
    found = parse_config((RECORDED / f"multipath-0.11.1-t-{target}-target.txt").read_text())
    assert not detects_grouping(found, LUN)
    written = render_conf(
        [WWID], FAST, "failover", target_is_made=target == "made", version=(0, 11, 1)
    )
    pattern = (
        r"device \{\n\s+vendor\s+\"LIO-ORG\"(.*?)\}" if target == "made" else r"overrides \{(.*?)\}"
    )
    (section,) = re.findall(pattern, written, re.DOTALL)
    settings = dict(re.findall(r"^\s*(\w+)\s+\"?(.*?)\"?$", section, re.MULTILINE))
    read = found["devices"].sections[-2] if target == "made" else found["overrides"]
    assert settings["detect_pgpolicy"] == "no"
    assert settings.items() <= read.settings.items()


@every_version
@pytest.mark.parametrize("value", ["0", "off", '"off"'])
def test_what_iscsi_does_not_take_demands_nothing(version: str, value: str) -> None:
    """multipathd leaves `recovery_tmo` alone then; a section that says so still hides others."""
    off = ("\tfast_io_fail_tmo 10\n", f"\tfast_io_fail_tmo {value}\n")
    assert recovery_demanded(config(version, off), ScsiIdentity("LABCORP", "x", "1")) is None


def test_a_configuration_without_the_timeout_is_refused() -> None:
    """It must not be taken for "off"."""
    bare = parse_config("defaults {\n}\ndevices {\n}\noverrides {\n}\n")
    with pytest.raises(InitiatorError, match="has no fast_io_fail_tmo"):
        recovery_demanded(bare, LUN)
    with pytest.raises(InitiatorError, match="has no polling_interval"):
        polling(bare, (0, 9, 4))


@pytest.mark.parametrize("text", ["", "timeout\n", "fail\n", "ERROR: failed to connect\n", "}\n"])
def test_any_other_answer_is_refused_and_told(text: str) -> None:
    with pytest.raises(InitiatorError, match=text.strip() or "nothing"):
        parse_config(text)


@every_version
def test_a_configuration_that_was_cut_off_is_refused(version: str) -> None:
    """Also between two sections; only `multipaths` need not follow, but be whole if it does."""
    text = recorded(version).replace(*overrides(version))
    begin, end = text.index("\noverrides {"), text.index("\nmultipaths {")
    for length in (*range(0, begin, 97), begin, end - 2, *range(end + 20, len(text) - 2, 20)):
        with pytest.raises(InitiatorError):
            parse_config(text[:length])
    assert parse_config(text[:end])


@pytest.mark.parametrize(
    ("version", "name", "seconds"),
    [
        ((0, 8, 5), "polling_interval", 10),
        ((0, 9, 9), "polling_interval", 10),
        ((0, 10, 0), "max_polling_interval", 40),
        ((0, 11, 1), "max_polling_interval", 40),
        (None, "max_polling_interval", 40),
    ],
)
def test_how_often_a_failed_path_is_looked_at_depends_on_the_version(
    version: tuple[int, ...] | None, name: str, seconds: int
) -> None:
    """Since 0.10 it may keep the interval to which multipathd had backed off."""
    setting = polling(config("0.11.1"), version)
    assert (setting.name, setting.seconds) == (name, seconds)
    assert setting.source.endswith("show config")
