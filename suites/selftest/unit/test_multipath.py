"""multipath-tools: the configuration file and the daemon's answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config.model import FAST, STOCK, Profile
from harness.errors import InitiatorError
from harness.initiator.multipath import Map, MapPath, parse_fast_io_fail, parse_maps, render_conf

COMPOSED = Path(__file__).parent / "composed"
RECORDED = Path(__file__).parent / "recorded"
WWID = "360014057043dfe0435de773ca03bbf04"
SECONDS = st.none() | st.integers(1, 60)


def test_a_map_is_read_with_its_paths_and_their_states() -> None:
    """The map's own `paths` is a number and must not be taken for the list."""
    text = (COMPOSED / "multipathd-0.8-maps.json").read_text()
    paths = (MapPath("sda", "8:0", "failed", "faulty"), MapPath("sdb", "8:16", "active", "ready"))
    assert parse_maps(text) == [Map(WWID, "dm-0", paths)]


def test_paths_of_all_groups_count() -> None:
    """With another grouping policy each path has a group of its own."""
    raw = json.loads((COMPOSED / "multipathd-0.8-maps.json").read_text())
    (group,) = raw["maps"][0]["path_groups"]
    raw["maps"][0]["path_groups"] = [{**group, "paths": [path]} for path in group["paths"]]
    assert [p.name for p in parse_maps(json.dumps(raw))[0].paths] == ["sda", "sdb"]


def test_no_map_is_an_empty_list() -> None:
    """A daemon without maps still answers."""
    assert parse_maps('{"major_version": 0, "minor_version": 1, "maps": []}') == []


@pytest.mark.parametrize(
    "text", ["", "timeout\n", "fail\n", "[]", "{}", '{"maps": [{"uuid": "x"}]}', '{"maps": 3}']
)
def test_any_other_answer_is_refused(text: str) -> None:
    """multipathd says "timeout" and "fail" in plain words."""
    with pytest.raises(InitiatorError, match="not a list of maps"):
        parse_maps(text)


def test_a_truncated_answer_is_refused() -> None:
    """Some versions cut long answers off."""
    text = (COMPOSED / "multipathd-0.8-maps.json").read_text()
    for length in range(0, len(text.rstrip()), 97):
        with pytest.raises(InitiatorError):
            parse_maps(text[:length])


def settings(conf: str) -> dict[str, str]:
    return dict(re.findall(r"^\s*(\w+)\s+(\S.*?)\s*$", conf, re.MULTILINE))


@given(SECONDS, SECONDS)
def test_a_profile_sets_only_what_it_names(polling: int | None, fail: int | None) -> None:
    """None leaves multipathd's own value alone."""
    profile = Profile(polling_interval_s=polling, fast_io_fail_s=fail)
    said = settings(render_conf(WWID, profile))
    assert said.get("polling_interval") == (str(polling) if polling else None)
    assert said.get("max_polling_interval") == (str(polling) if polling else None)
    assert said.get("fast_io_fail_tmo") == (str(fail) if fail else None)


@pytest.mark.parametrize("profile", [FAST, STOCK])
def test_the_file_is_well_formed(profile: Profile) -> None:
    """Braces balance and every line is a comment, a section or a setting."""
    conf = render_conf(WWID, profile)
    depth = 0
    for line in conf.splitlines():
        assert re.fullmatch(r"\s*(#.*|\w+ \{|\}|\w+\s+(\"[^\"]*\"|\S+))", line), line
        depth += line.count("{") - line.count("}")
        assert depth >= 0
    assert depth == 0


def test_only_the_one_lun_is_touched() -> None:
    """A disk of the machine itself must never end up in a map."""
    conf = render_conf(WWID, FAST)
    assert re.search(r'blacklist \{\s+wwid "\.\*"\s+\}', conf)
    assert re.search(rf'blacklist_exceptions \{{\s+wwid "\^{WWID}\$"\s+\}}', conf)


def test_losing_every_path_is_a_pause_and_not_an_error() -> None:
    """And a new WWID gets its map: Debian's default would make none."""
    said = settings(render_conf(WWID, STOCK))
    assert said["no_path_retry"] == "queue"
    assert said["path_grouping_policy"] == "multibus"
    assert said["find_multipaths"] == "greedy"


@pytest.mark.parametrize("ours", [True, False])
def test_groups_are_as_configured(*, ours: bool) -> None:
    conf = render_conf(WWID, STOCK, "group_by_prio", ours=ours)
    assert set(re.findall(r"path_grouping_policy (\w+)", conf)) == {"group_by_prio"}


def test_each_kind_of_target_is_recognised_once() -> None:
    """IET and tgt call themselves the same."""
    conf = render_conf(WWID, STOCK)
    assert re.findall(r'vendor\s+"(.*)"', conf) == ["LIO-ORG", "IET"]


def test_the_timeout_in_force_is_read_from_the_running_daemon() -> None:
    """Debian's default; a device section goes before it, `overrides` before both."""
    config = (RECORDED / "multipathd-0.9.4-config-local.txt").read_text()
    assert parse_fast_io_fail(config) == 5
    device = config.replace('product ".*"\n', 'product ".*"\n\t\tfast_io_fail_tmo 7\n')
    assert parse_fast_io_fail(device) == 7
    assert (
        parse_fast_io_fail(device.replace("overrides {", "overrides {\n\tfast_io_fail_tmo 9")) == 9
    )
    assert parse_fast_io_fail(config.replace("fast_io_fail_tmo 5", "fast_io_fail_tmo off")) is None


def test_an_answer_without_the_timeout_is_refused() -> None:
    with pytest.raises(InitiatorError, match="has no fast_io_fail_tmo"):
        parse_fast_io_fail("timeout\n")


def test_timeouts_of_other_protocols_and_of_several_arrays_are_not_this_luns() -> None:
    config = (RECORDED / "multipathd-0.9.4-config-local.txt").read_text()
    fibre = 'overrides {\n\tprotocol {\n\t\ttype "scsi:fcp"\n\t\tfast_io_fail_tmo 15\n\t}\n'
    assert parse_fast_io_fail(config.replace("overrides {\n", fibre)) == 5
    iscsi = fibre.replace("scsi:fcp", "scsi:iscsi")
    assert parse_fast_io_fail(config.replace("overrides {\n", iscsi)) == 15
    first, second = 'path_grouping_policy "group_by_prio"', 'path_grouping_policy "multibus"'
    several = config.replace(first, f"fast_io_fail_tmo 7\n{first}")
    several = several.replace(second, f"fast_io_fail_tmo 8\n{second}")
    assert parse_fast_io_fail(several) is None
