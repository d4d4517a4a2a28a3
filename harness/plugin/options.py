"""The options of `pytest suites/…`, and the configuration that they make."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config import Loaded, load

# Option, configuration key, help; what an option leaves out comes from the TOML file.
_OVERRIDES = (
    ("--hypervisor-uri", "hypervisor.uri", "'embedded' or any libvirt URI"),
    ("--accel", "hypervisor.accel", "auto, kvm or tcg"),
    ("--image", "machines.image", "image definition: a name in images/ or a path"),
    ("--mirror", "machines.mirror", "package mirror for image builds"),
    ("--target", "target.kind", "which target software serves the LUN"),
    ("--backstore", "target.backstore", "fileio or block"),
    ("--profile", "initiator.profile", "timeouts: fast, stock, or one of your own"),
)


def add_options(parser: pytest.Parser) -> None:
    """Add our own group."""
    group = parser.getgroup("pathproof", "Pathproof: the testbed and the report")
    group.addoption(
        "--testbed",
        type=Path,
        metavar="FILE.toml",
        help="description of the testbed (default: pathproof.toml in this folder, else built-in)",
    )
    for option, key, text in _OVERRIDES:
        group.addoption(
            option, dest=key, default=None, metavar="VALUE", help=f"{text} (overrides {key})"
        )
    group.addoption(
        "--keep-on-failure",
        action="store_true",
        help="leave the machines running after a failure; `pathproof ps` lists them",
    )
    group.addoption(
        "--reports",
        type=Path,
        default=Path("reports/out"),
        metavar="FOLDER",
        help="where a run puts its results and its report (default: %(default)s)",
    )
    group.addoption("--no-report", action="store_true", help="write no results and no report")


def load_config(config: pytest.Config) -> Loaded:
    """The configuration of this run. Raises ConfigError."""
    given = {
        key: (value, option)
        for option, key, _ in _OVERRIDES
        if (value := config.getoption(key)) is not None
    }
    return load(config.getoption("testbed"), given)
