"""Words of open-iscsi and dm-multipath stay within the transport and the targets.

*Session*, *map* and *path* are the harness's own words: each transport has a session for each path
and a map for each LUN, whatever it calls them.
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
    r"|\w*iqns?\b|LOGGED_IN",
    re.IGNORECASE,
)

_KEYS = "keys of the configuration, and which of them a tool would not take"
_NAMES = "targets and initiators are named in the configuration, where the key is `iqn`"
ALLOWED: dict[str, tuple[str, str]] = {
    "harness/cli/testbeds.py": ("iqn", _NAMES),
    "harness/config/credentials.py": ("iscsi iscsi_target_core open-iscsi", _KEYS),
    "harness/config/effects.py": ("fast_io_fail_s iqn iscsi multipathd open-iscsi", _KEYS),
    "harness/config/iet.py": ("iscsi", _KEYS),
    "harness/config/iqn.py": ("iqn iscsi open-iscsi", _NAMES),
    "harness/config/luns.py": ("multipath multipathd", "a WWID is configured as the user sees it"),
    "harness/config/model.py": (
        (
            "fast_io_fail_s iqn iscsi iscsid multipath multipathd noop_out_interval_s "
            "noop_out_timeout_s open-iscsi recovery_tmo"
        ),
        _KEYS,
    ),
    "harness/config/negotiation.py": ("iscsi open-iscsi", _KEYS),
    "harness/config/network_rules.py": ("multipath", "a message: it takes two paths"),
    "harness/config/networks.py": ("iqn", _NAMES),
    "harness/config/sizes.py": ("multipath multipathd", "what defaults were measured with"),
    "harness/config/topologies/one-subnet.toml": ("open-iscsi", "a comment for the user"),
    "harness/host/sharing.py": ("iqn open-iscsi target_iqns", _NAMES),
    "harness/plugin/controller.py": (
        (
            "fast_io_fail fast_io_fail_s noop_out_interval noop_out_interval_s noop_out_timeout "
            "noop_out_timeout_s"
        ),
        "the report names the timeouts of the profile as the user set them",
    ),
    "harness/topology/parts.py": ("iqn iscsiadm open-iscsi", _NAMES),
    "harness/topology/planning.py": ("initiator_iqn iqn open-iscsi target_iqn", _NAMES),
    "harness/topology/topology.py": (
        "initiator_iqn iqn multipath open-iscsi target_iqn target_iqns",
        _NAMES,
    ),
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
