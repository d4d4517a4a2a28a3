"""The options of `pytest suites/…`, and the configuration that they make."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config import Loaded, load
from harness.config.overrides import OVERRIDES
from harness.provision.supply import Scope


def add_options(parser: pytest.Parser) -> None:
    """Add our own group."""
    group = parser.getgroup("pathproof", "Pathproof: the testbed and the report")
    group.addoption(
        "--testbed",
        type=Path,
        metavar="FILE.toml",
        help="description of the testbed (default: pathproof.toml in this folder, else built-in)",
    )
    for override in OVERRIDES:
        group.addoption(
            override.option, dest=override.key, default=None, metavar="VALUE", help=override.help
        )
    group.addoption(
        "--testbed-scope",
        choices=[scope.value for scope in Scope],
        default=Scope.TEST.value,
        help="which tests share a testbed: each has its own, those of a module, or all "
        "(default: %(default)s)",
    )
    group.addoption(
        "--faults",
        metavar="EXPRESSION",
        help='run only tests of a fault, and of these: "silent and not target"; `pathproof faults` '
        "lists all, with their words",
    )
    group.addoption(
        "--full",
        action="store_true",
        help="run tests of a fault with each that sound storage survives, not only the usual ones",
    )
    group.addoption(
        "--fleet",
        type=Path,
        metavar="FILE.toml",
        help="hosts to spread the tests over, each with testbeds of its own",
    )
    group.addoption(
        "--keep",
        action="store_true",
        help="leave the machines of the last test running; `pathproof ps` lists them",
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
    group.addoption(
        "--update-docs",
        action="store_true",
        help="write what suites/conformance and suites/selftest/defects see into docs/ "
        "(targets.md, detection.md)",
    )


def load_config(config: pytest.Config) -> Loaded:
    """The configuration of this run. Raises ConfigError."""
    given = {
        override.key: (value, override.option)
        for override in OVERRIDES
        if (value := config.getoption(override.key)) is not None
    }
    return load(config.getoption("testbed"), given)
