"""How the doctor says what it finds."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import doctor
from harness.cli.app import app
from harness.cli.diagnosis import Diagnosis, Level, conclusion, mark
from harness.cli.doctor import line
from harness.config import Config
from harness.errors import HypervisorError
from harness.typed import VARIABLE, as_typed, typed

TOP = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("called", "in_path", "before"),
    [
        ("./bootstrap", True, "./bootstrap "),
        ("../bootstrap", True, "../bootstrap "),
        ("bootstrap", True, "./bootstrap "),  # by `bash bootstrap …`
        (None, True, ""),
        (None, False, "./bootstrap "),
        ("", False, ""),
    ],
)
def test_a_command_is_told_as_this_user_has_to_type_it(
    called: str | None, in_path: bool, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `./bootstrap`, unless the commands are in the reader's PATH."""
    monkeypatch.delenv(VARIABLE)
    if called is not None:
        monkeypatch.setenv(VARIABLE, called)
    monkeypatch.setattr(shutil, "which", lambda _: "/x" if in_path else None)
    assert typed("pathproof ps") == f"{before}pathproof ps"
    text = "`pathproof images build` does it, or `pytest suites/failover`; /x/pathproof `ls`"
    assert as_typed(text) == (
        f"`{before}pathproof images build` does it, or `{before}pytest suites/failover`; "
        "/x/pathproof `ls`"
    )
    assert str(HypervisorError("broken", hint=text)) == f"broken\nhint: {as_typed(text)}"
    fix = line(Diagnosis(Level.WARNING, "images", "none", text), "utf-8").splitlines()[1]
    assert fix.strip() == f"fix: {as_typed(text)}"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["sh", "-c", "echo ${PATHPROOF_BOOTSTRAP-none}"], "none"),
        (["env"], "PATHPROOF_BOOTSTRAP=./bootstrap"),
    ],
)
def test_bootstrap_says_how_it_was_called_but_to_a_shell(
    command: list[str], says: str, tmp_path: Path
) -> None:
    """In a shell of its own no command needs it."""
    _, _, end = (TOP / "bootstrap").read_text().rpartition("export VIRTUAL_ENV=")
    file = tmp_path / "bootstrap"
    file.write_text(f"set -euo pipefail\nvenv=/none\nexport VIRTUAL_ENV={end}")
    done = subprocess.run(
        ["bash", "./bootstrap", *command],
        cwd=tmp_path, env=os.environ | {VARIABLE: "before"}, capture_output=True, text=True,
        check=True, timeout=30,
    )  # fmt: skip
    assert says in done.stdout.splitlines()


def test_lines_are_readable_without_colour_and_in_ascii() -> None:
    """The mark says it all; nothing depends on red and green."""
    text = line(Diagnosis(Level.PROBLEM, "memory", "none\nat all", "buy some"), "utf-8")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert plain.splitlines() == [
        "✗ memory               none",
        "                       at all",
        "                       fix: buy some",
    ]
    assert [mark(level, "ascii") for level in Level] == ["+", "!", "x"]


def test_the_last_line_says_whether_a_run_can_work() -> None:
    good, odd, bad = (Diagnosis(level, "x", "y") for level in Level)
    assert conclusion([good]) == "ready: `pytest suites/failover`"
    assert conclusion([good, odd]) == "ready: `pytest suites/failover` (1 warning)"
    assert conclusion([bad, odd, bad]) == "no run can work here: 2 problems to solve first"


def test_the_last_line_is_the_command_for_the_testbed_that_was_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every option that was given, as a shell takes it, and no other."""
    monkeypatch.setattr(doctor, "examine", lambda _: iter(()))
    monkeypatch.setenv(VARIABLE, "./bootstrap")
    file = tmp_path / "my array.toml"
    file.write_text('[hypervisor]\naccel = "tcg"\n')
    options = ["--testbed", str(file), "--hypervisor-uri", "qemu+ssh://me@rack/system?no_verify=1"]
    options += ["--target", "tgt", "--max-stall", "2.5"]
    last = CliRunner().invoke(app, ["-q", "doctor", *options]).stdout.splitlines()[-1]
    command = last.removeprefix("ready: `").removesuffix("`")
    assert shlex.split(command) == ["./bootstrap", "pytest", "suites/failover", *options]
    assert f"'{file}'" in command


@pytest.mark.parametrize(("level", "status"), [(Level.WARNING, 0), (Level.PROBLEM, 1)])
def test_warnings_do_not_fail(level: Level, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def examine(_config: Config) -> Iterator[Diagnosis]:
        yield Diagnosis(Level.OK, "qemu", "there")
        yield Diagnosis(level, "cores", "few")

    monkeypatch.setattr(doctor, "examine", examine)
    result = CliRunner().invoke(app, ["-q", "doctor"])
    assert result.exit_code == status
    assert ("cores" in result.stdout, "qemu" in result.stdout) == (True, False)
