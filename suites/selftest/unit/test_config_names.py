"""Names of the configuration: IQNs, WWIDs, networks, and the path of a program."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.iqn import iqn_problem
from harness.measurements import MAP
from harness.topology import plan
from suites.selftest.unit.config_file import complaint, loaded, two_networks


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without anybody's pathproof.toml."""
    monkeypatch.chdir(tmp_path)


def test_an_iqn_that_lio_rejects_is_refused_before_anything_starts() -> None:
    """IET accepts this one; LIO says "WWN not valid" only once the guests are up."""
    text = complaint("[target]\niqn = 'iqn.2009-11-11.widodh.storage:iscsi-001'\n")
    assert "target.iqn: 'iqn.2009-11-11.widodh.storage:iscsi-001'" in text
    assert "iqn.yyyy-mm" in text
    assert "'iet' and 'tgt' accept it" in text


def test_an_initiator_name_must_follow_the_standard_too() -> None:
    """Where the target is made; an array knows it by whatever name it was registered with."""
    assert "initiator.iqn" in complaint("[initiator]\niqn = 'iqn.2026-13.io.pathproof:i'\n")
    assert "initiator.iqn" in complaint("[initiator]\niqn = 'eui.02004567A425678D'\n")
    for name in ("IQN.1994-05.com.RedHat:5C2A", "eui.02004567A425678D", "naa.52004567BA64678D"):
        named = f"[target]\nkind = 'external'\n[initiator]\niqn = '{name}'\n"
        assert loaded(named + two_networks()).config.initiator.iqn == name
        named = f"[target]\nkind = 'external'\niqn = '{name}'\n"
        assert loaded(named + two_networks()).config.target.iqn == name


def test_target_and_initiator_have_names_of_their_own() -> None:
    """Each machine is a node of iSCSI; an existing initiator keeps a name that is not known."""
    one, same = "iqn.1994-05.com.vendor:x", "IQN.1994-05.com.Vendor:x"
    external = f"[target]\nkind = 'external'\niqn = '{one}'\n"
    text = complaint(f"{external}[initiator]\niqn = '{same}'\n{two_networks()}")
    assert text == (
        f"own.toml: initiator.iqn: {same!r} is a name of the target, too, as capitals do not "
        "count in it (RFC 7143 section 4.2.7); give each machine its own"
    )
    external = "[target]\nkind = 'external'\n"
    portals = two_networks(f", iqn = '{one}'")
    assert "initiator.iqn: " in complaint(f"{external}[initiator]\niqn = '{one}'\n{portals}")
    lun = f"[[luns]]\nsize = '64MiB'\ntarget_iqn = '{one}'\n"
    assert "initiator.iqn: " in complaint(f"[initiator]\niqn = '{one}'\n{lun}")


def test_a_portals_name_is_written_in_one_way() -> None:
    """open-iscsi would keep records of two targets, and the array has one."""
    external = "[target]\nkind = 'external'\n"
    one, other = "iqn.1992-04.com.vendor:port", "iqn.1992-04.com.Vendor:Port"
    a, b = two_networks(f", iqn = '{one}'").split("[[networks]]")[1:]
    text = complaint(f"{external}[[networks]]{a}[[networks]]{b.replace(one, other)}")
    assert text.startswith(
        f"own.toml: network b, portal 1, iqn: {other!r} and {one!r} are one name, as capitals do "
        "not count"
    )
    assert loaded(f"{external}[[networks]]{a}[[networks]]{b}")


@pytest.mark.parametrize(
    ("fio", "accepted"),
    [
        ("/opt/fio-3.41/bin/fio", True),
        ("/opt/fio-3.41", True),
        ("fio", True),
        ("bin/fio", False),
        ("/opt/tools/load", True),
        ("/opt/tools/", False),
        ("/opt/fio; reboot", False),
    ],
)
def test_another_fio_is_named_by_its_path(fio: str, *, accepted: bool) -> None:
    """An absolute one, whatever the program is called; a shell sees no more than a name in it."""
    text = f"[initiator]\nfio = '{fio}'\n"
    if accepted:
        assert loaded(text).config.initiator.fio == fio
    else:
        assert "initiator.fio" in complaint(text)


@pytest.mark.parametrize(
    ("iqn", "kind", "accepted"),
    [
        ("iqn.2026-01.io.pathproof:storage", "lio", True),
        ("iqn.2026-01.io.pathproof", "lio", True),
        ("iqn.2026-00.io.pathproof:x", "lio", False),
        ("iqn.2026-13.io.pathproof:x", "lio", False),
        ("iqn.2026-01:x", "lio", False),
        ("iqn.", "iet", False),
        ("iqn.", "tgt", False),
        ("Eui.", "external", False),
        ("iqn.2026-01.io.Pathproof:x", "lio", False),
        ("iqn.2009-11-11.widodh.storage:iscsi-001", "iet", True),
        ("iqn.2026-01.io.pathproof:under_score", "iet", True),
        ("iqn.2026-01.io.pathproof:under_score", "tgt", False),
        ("iqn.2026-01.io.pathproof:Upper", "tgt", True),
        ("iqn.2026-01.io.pathproof:caf\u00e9", "iet", False),
        ("iqn.2026-01.io.pathproof:a b", "iet", False),
        ("eui.02004567A425678D", "iet", False),
        ("eui.02004567A425678D", "external", True),
        ("naa.52004567BA64678D", "external", True),
        ("IQN.1992-04.com.Vendor:ARRAY-1", "external", True),
        ("IQN.1992-04.com.vendor:array-1", "tgt", False),
        ("iqs.1992-04.com.vendor:array-1", "external", False),
        ("iqn.1992-04.com.vendor:array/1", "external", False),
        ("iqn.1992-04.com.vendor:array_1", "external", True),
        ("iqn.2009-11-11.widodh.storage:iscsi-001", "tgt", True),
        ("iqn.2026-01.io.pathproof:" + "x" * 198, "lio", True),
        ("iqn.2026-01.io.pathproof:" + "x" * 199, "lio", False),
    ],
)
def test_each_target_kind_has_its_own_idea_of_a_name(iqn: str, kind: str, accepted: bool) -> None:
    """223 bytes at most for all of them (RFC 7143 section 4.2.7.1)."""
    assert (iqn_problem(iqn, kind) is None) is accepted


def test_an_array_may_have_a_name_for_each_portal() -> None:
    """Only an array may have them, and each must be a valid name."""
    external = 'target.kind = "external"\n'
    networks = two_networks(', iqn = "iqn.1992-04.com.vendor:port"')
    topology = plan(loaded(external + networks).config)
    assert topology.target_iqns == ("iqn.1992-04.com.vendor:port",)
    key = "network a, portal 1, iqn"
    assert f"{key}: it is that of an external target; kind 'lio'" in complaint(networks)
    refused = complaint(external + two_networks(', iqn = "port"'))
    assert f"{key}: 'port' does not begin" in refused


@pytest.mark.parametrize(
    ("wwid", "accepted"),
    [
        ("360014057043dfe0435de773ca03bbf04", True),
        ("2001738000ae10b0c", True),
        ("1LIO-ORG_lun0:4a3c", True),
        ("naa.6001405704d", False),
        (".*", False),
        ("", False),
        ("3600140570}", False),
    ],
)
def test_a_wwid_is_one_and_no_pattern(wwid: str, accepted: bool) -> None:
    """It goes into the configuration of external machines."""
    text = f'[target]\nkind = "external"\nwwid = "{wwid}"\n{two_networks()}'
    if accepted:
        assert loaded(text).config.target.wwid == wwid
    else:
        assert "target.wwid" in complaint(text)


@pytest.mark.parametrize(
    "wwid",
    [
        "60014057043dfe0435de773ca03bbf04",
        "60014057043DFE0435DE773CA03BBF04",
        "360014057043DFE0435DE773CA03BBF04",
        "0x60014057043dfe0435de773ca03bbf04",
        "60:01:40:57:04:3d:fe:04:35:de:77:3c:a0:3b:bf:04",
    ],
)
def test_an_identity_as_arrays_show_it_is_told_as_multipath_has_it(wwid: str) -> None:
    """NAA type 6; else the LUN would be missing over every path, or be two."""
    text = complaint(f'[target]\nkind = "external"\nwwid = "{wwid}"\n{two_networks()}')
    assert text == (
        f"own.toml: target.wwid: {wwid!r} is 360014057043dfe0435de773ca03bbf04 to "
        "multipath-tools; write that"
    )


def test_a_network_is_not_named_as_the_map_is() -> None:
    """What is read over the path would take the place of what is read over the map."""
    text = complaint(two_networks().replace('name = "b"', f'name = "{MAP}"'))
    assert text == (
        "own.toml: networks: no network may be named 'map': read-backs call the map of all paths so"
    )
