"""multipath-tools: the configuration file and the daemon's answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config.profiles import FAST, STOCK, Profile
from harness.errors import InitiatorError
from harness.transport.dm_multipath.maps import Map, MapPath, find_map
from harness.transport.dm_multipath.multipath_conf import render_conf

MAPS = Path(__file__).parent / "recorded" / "multipathd-0.9.4-maps.json"
WWID = "360014057043dfe0435de773ca03bbf04"
SECONDS = st.none() | st.integers(1, 60)


def test_a_map_is_read_with_its_paths_and_their_states() -> None:
    """The map's own `paths` is a number and must not be taken for the list."""
    text = MAPS.read_text()
    paths = (
        MapPath("sda", "8:0", "active", "ready", 50),
        MapPath("sdb", "8:16", "active", "ready", 50),
    )
    assert find_map(text, WWID) == Map(WWID, "dm-0", (paths,))


def test_paths_of_all_groups_count() -> None:
    """With another grouping policy each path has a group of its own."""
    raw = json.loads(MAPS.read_text())
    (group,) = raw["maps"][0]["path_groups"]
    raw["maps"][0]["path_groups"] = [{**group, "paths": [path]} for path in group["paths"]]
    found = find_map(json.dumps(raw), WWID)
    assert found is not None
    assert [[p.disk for p in group] for group in found.groups] == [["sda"], ["sdb"]]
    assert [p.disk for p in found.paths] == ["sda", "sdb"]


def test_other_maps_may_look_however_they_do() -> None:
    """Only the one of the LUN is read."""
    raw = json.loads(MAPS.read_text())
    raw["maps"] = [{"uuid": "3600strange"}, {}, *raw["maps"]]
    found = find_map(json.dumps(raw), WWID)
    assert found is not None
    assert find_map(json.dumps(raw), "3600nowhere") is None


def test_there_may_be_no_map() -> None:
    """A daemon without maps still answers."""
    assert find_map('{"major_version": 0, "minor_version": 1, "maps": []}', WWID) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "timeout\n",
        "fail\n",
        "[]",
        "{}",
        '{"maps": 3}',
        '{"maps": [3]}',
        f'{{"maps": [{{"uuid": "{WWID}"}}]}}',
    ],
)
def test_any_other_answer_is_refused(text: str) -> None:
    """multipathd says "timeout" and "fail" in plain words."""
    with pytest.raises(InitiatorError, match="not a list of maps"):
        find_map(text, WWID)


def test_a_truncated_answer_is_refused() -> None:
    """Some versions cut long answers off."""
    text = MAPS.read_text()
    for length in range(0, len(text.rstrip()), 97):
        with pytest.raises(InitiatorError):
            find_map(text[:length], WWID)


def settings(conf: str) -> dict[str, str]:
    return dict(re.findall(r"^\s*(\w+)\s+(\S.*?)\s*$", conf, re.MULTILINE))


@given(SECONDS, SECONDS)
def test_a_profile_sets_only_what_it_names(polling: int | None, fail: int | None) -> None:
    """None leaves multipathd's own value alone."""
    profile = Profile(polling_interval_s=polling, fast_io_fail_s=fail)
    said = settings(render_conf([WWID], profile))
    assert said.get("polling_interval") == (str(polling) if polling else None)
    assert said.get("max_polling_interval") == (str(polling) if polling else None)
    assert said.get("fast_io_fail_tmo") == (str(fail) if fail else None)


@pytest.mark.parametrize("profile", [FAST, STOCK])
def test_the_file_is_well_formed(profile: Profile) -> None:
    """Braces balance and every line is a comment, a section or a setting."""
    conf = render_conf([WWID], profile)
    depth = 0
    for line in conf.splitlines():
        assert re.fullmatch(r"\s*(#.*|\w+ \{|\}|\w+\s+(\"[^\"]*\"|\S+))", line), line
        depth += line.count("{") - line.count("}")
        assert depth >= 0
    assert depth == 0


def test_only_the_one_lun_is_touched() -> None:
    """A disk of the machine itself must never end up in a map."""
    conf = render_conf([WWID], FAST)
    assert re.search(r'blacklist \{\s+wwid "\.\*"\s+\}', conf)
    assert re.search(rf'blacklist_exceptions \{{\s+wwid "\^{WWID}\$"\s+\}}', conf)


def test_losing_every_path_is_a_pause_and_not_an_error() -> None:
    """A new WWID gets its map; by Debian's default it would get none."""
    said = settings(render_conf([WWID], STOCK))
    assert said["no_path_retry"] == "queue"
    assert said["path_grouping_policy"] == "multibus"
    assert said["find_multipaths"] == "greedy"


@pytest.mark.parametrize("made", [True, False])
def test_groups_are_as_configured(*, made: bool) -> None:
    conf = render_conf([WWID], STOCK, "group_by_prio", target_is_made=made)
    assert set(re.findall(r"path_grouping_policy (\w+)", conf)) == {"group_by_prio"}


@pytest.mark.parametrize(
    ("version", "written"),
    [((0, 9, 6), True), ((0, 14, 3), True), ((0, 9, 5), False), ((0, 9), False), (None, False)],
)
@pytest.mark.parametrize("made", [True, False])
def test_multipathd_does_not_choose_the_policy_where_it_could(
    *, made: bool, version: tuple[int, ...] | None, written: bool
) -> None:
    """Older versions do not know the setting, and would complain of it at each call."""
    conf = render_conf([WWID], STOCK, "failover", target_is_made=made, version=version)
    expected = {"no"} if written else set()
    assert set(re.findall(r"detect_pgpolicy +(\w+)", conf)) == expected


def test_each_kind_of_target_is_recognised_once() -> None:
    """IET and tgt call themselves the same."""
    conf = render_conf([WWID], STOCK)
    assert re.findall(r'vendor\s+"(.*)"', conf) == ["LIO-ORG", "IET"]
