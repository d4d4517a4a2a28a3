"""Words of open-iscsi and dm-multipath stay within the transport and the targets.

*Session*, *map* and *path* are the harness's own words: each transport has a session for each path
and a map for each LUN, whatever it calls them. And targets and initiators are named in the
configuration, where the key is `iqn`: it is the word for their names everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
OF_TRANSPORTS = {"conformance", "selftest"}
AT_HOME = ("harness/transport/", "harness/target/")
WORDS = re.compile(
    r"open-iscsi|iscsi\w*|multipathd?|\bdm[-_]\w*|dmsetup|device[ -]mapper|nop-out|noop_out\w*"
    r"|recovery_tmo|queue_if_no_path|fast_io_fail\w*|no_path_retry|replacement_timeout|ifacename"
    r"|LOGGED_IN",
    re.IGNORECASE,
)

_KEYS = "keys of the configuration, and what the tools at both ends take"
_IFACES = "where two NICs share a subnet, the way of a path is named as open-iscsi names it"
ALLOWED: dict[str, tuple[str, str]] = {
    "harness/config/credentials.py": ("iscsi iscsi_target_core open-iscsi", _KEYS),
    "harness/config/effects.py": ("fast_io_fail_s iscsi multipathd open-iscsi", _KEYS),
    "harness/config/iet.py": ("iscsi", _KEYS),
    "harness/config/iqn.py": ("iscsi open-iscsi", _KEYS),
    "harness/config/luns.py": ("multipath multipathd", "a WWID is written as multipath shows it"),
    "harness/config/model.py": ("iscsi multipath open-iscsi", _KEYS),
    "harness/config/negotiation.py": ("iscsi open-iscsi", _KEYS),
    "harness/config/network_rules.py": ("multipath", "the message that one path is too few"),
    "harness/config/profiles.py": (
        (
            "fast_io_fail_s iscsid multipath multipathd noop_out_interval_s noop_out_timeout_s "
            "open-iscsi recovery_tmo"
        ),
        _KEYS,
    ),
    "harness/config/sizes.py": ("multipath multipathd", "with what the defaults were measured"),
    "harness/config/topologies/one-subnet.toml": ("open-iscsi", _IFACES),
    "harness/host/sharing.py": ("open-iscsi", "why two runs with one name disturb each other"),
    "harness/plugin/controller.py": (
        (
            "fast_io_fail fast_io_fail_s noop_out_interval noop_out_interval_s noop_out_timeout "
            "noop_out_timeout_s"
        ),
        "the report names the timeouts of a profile as the user set them",
    ),
    "harness/topology/parts.py": ("iscsiadm open-iscsi", _IFACES),
    "harness/topology/planning.py": ("open-iscsi", _IFACES),
    "harness/topology/topology.py": ("multipath open-iscsi", f"{_IFACES}; and what a WWID is"),
    "harness/workload/report.py": ("dm-0", "a line that fio really printed"),
}


def looked_at() -> Iterator[Path]:
    """What is no transport, no target and no test of either."""
    suites = [one for one in (TOP / "suites").iterdir() if one.name not in OF_TRANSPORTS]
    for folder in (TOP / "harness", *(one for one in suites if one.is_dir())):
        for file in folder.rglob("*"):
            if file.suffix in {".py", ".toml"}:
                yield file


def found() -> dict[str, set[str]]:
    """The words in each file that has any, by its path in the checkout."""
    texts = {file.relative_to(TOP).as_posix(): file.read_text() for file in looked_at()}
    words = {
        name: {word.lower() for word in WORDS.findall(text)}
        for name, text in texts.items()
        if not name.startswith(AT_HOME)
    }
    return {name: said for name, said in words.items() if said}


FOUND = found()


@pytest.mark.parametrize("name", sorted(FOUND.keys() | ALLOWED.keys()))
def test_words_of_one_transport_are_where_they_are_allowed(name: str) -> None:
    """A new use belongs into harness/transport; one that is gone is taken off the list."""
    allowed, _ = ALLOWED.get(name, ("", ""))
    assert FOUND.get(name, set()) == {word.lower() for word in allowed.split()}
