"""Which kind of file a TOML file is, by its keys at the top: people mix them up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from harness.errors import ConfigError

Kind = Literal["testbed", "image", "fleet"]

# Keys that no other kind has.
KEYS: Mapping[Kind, frozenset[str]] = {
    "testbed": frozenset(
        {
            *("budget", "callouts", "controllers", "fabrics", "hypervisor", "initiator"),
            *("initiators", "luns", "machines", "measure_again"),
            *("name", "networks", "profiles", "require", "target", "topology", "workload"),
        }
    ),
    "image": frozenset(
        {
            *(
                "architecture",
                "cmdline",
                "extends",
                "extra_sources",
                "files",
                "kernel",
                "leave_out",
            ),
            *("leave_out", "local_packages", "packages", "services", "size", "suite"),
        }
    ),
    "fleet": frozenset({"hosts"}),
}
_WHAT: Mapping[Kind, str] = {
    "testbed": "describes a testbed",
    "image": "is an image definition",
    "fleet": "lists the hosts of a fleet",
}
_WHERE: Mapping[Kind, str] = {
    "testbed": "give it to --testbed",
    "image": 'a testbed names it as `image = "{file}"` in [machines], and that testbed\'s file is '
    "for --testbed; or give it to --image",
    "fleet": "give it to --fleet",
}


def require_kind(raw: Mapping[str, Any], wanted: Kind, file: Path) -> None:
    """Raises ConfigError if `file` has keys of another kind, and none of the wanted one."""
    for kind, keys in KEYS.items():
        if raw.keys() & keys and not raw.keys() & KEYS[wanted]:
            raise ConfigError(
                f"{file} {_WHAT[kind]}, and here a file is wanted that {_WHAT[wanted]}",
                hint=_WHERE[kind].format(file=file.name),
            )
