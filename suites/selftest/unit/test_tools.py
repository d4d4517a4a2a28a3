"""What a machine must have installed, asked of this very host."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.transport.dm_multipath.effective_config import parse_config
from harness.transport.tools import multipathd_problem, tool_problem, tools_argv

RECORDED = Path(__file__).parent / "recorded"

GOOD = """\
user 0
version python3 Python 3.11.2
version wipefs wipefs from util-linux 2.38.1
version fio fio-3.33
"""


def asked(fio: Path, *, without: str = "") -> str:
    """The answer of a host that has every tool but one, and that fio."""
    argv = tools_argv(str(fio))
    folder = fio.parent / "tools"
    folder.mkdir()
    for tool in [*argv[5:], "id", "sh"]:
        if tool != without:
            program = folder / tool
            says = {"id": "0", "python3": "Python 3.6.8"}.get(tool, f"{tool} 9.9")
            program.write_text(f"#!/bin/sh\necho {says}\n")
            program.chmod(0o755)
    argv[0] = "/bin/sh"
    env = {"PATH": str(folder)}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout


def fio_of(folder: Path, version: str, *, engines: str = "libaio") -> Path:
    """A program that answers to `--version` and `--enghelp` as fio does."""
    program = folder / "my-fio"
    cases = f'--version) echo {version} ;; *) [ "$1" = --enghelp={engines} ] ;;'
    program.write_text(f"#!/bin/sh\ncase $1 in {cases} esac\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("version", ["fio-3.31", "fio-3.42", "fio-3.36-12-gabc1", "fio-4.0"])
def test_a_machine_with_everything_is_fit(tmp_path: Path, version: str) -> None:
    fio = fio_of(tmp_path, version)
    assert tool_problem(asked(fio), str(fio)) is None


@pytest.mark.parametrize("version", ["fio-3.28", "fio-3.30", "fio-2.99", "fio-3.28-122-gdeadb"])
def test_an_old_fio_is_named_with_its_cure(tmp_path: Path, version: str) -> None:
    fio = fio_of(tmp_path, version)
    cause, cure = tool_problem(asked(fio), str(fio)) or ("", "")
    assert cause == f"fio is {version}, and 3.31 is needed"
    assert 'fio = "/opt/fio/bin/fio" in [initiator]' in cure


def test_a_fio_without_its_engine_is_named(tmp_path: Path) -> None:
    """Red Hat packs each engine by itself."""
    fio = fio_of(tmp_path, "fio-3.36", engines="sync")
    cause, _ = tool_problem(asked(fio), str(fio)) or ("", "")
    assert cause == f"{fio} has no engine libaio, or cannot load it"


def test_a_fio_that_is_not_there_is_named_by_its_path(tmp_path: Path) -> None:
    fio = tmp_path / "no-fio"
    cause, cure = tool_problem(asked(fio), str(fio)) or ("", "")
    assert cause == f"{fio} not found"
    assert cure == "`fio` in [initiator] is the path of a program on that machine"


@pytest.mark.parametrize("tool", ["dmsetup", "ip", "blockdev", "tar"])
def test_a_tool_that_is_missing_is_named(tmp_path: Path, tool: str) -> None:
    fio = fio_of(tmp_path, "fio-3.36")
    cause, cure = tool_problem(asked(fio, without=tool), str(fio)) or ("", "")
    assert cause == f"{tool} not found"
    assert "`apt install " in cure


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("python3 Python 3.5.3", "python3 is Python 3.5.3, and 3.6 is needed"),
        ("python3 sh: 1: python3: broken", "python3 is sh: 1: python3: broken, and 3.6 is needed"),
        ("wipefs wipefs from util-linux 2.30.2", "wipefs is wipefs from util-linux 2.30.2"),
    ],
)
def test_what_is_too_old_or_silent_is_named(said: str, cause: str) -> None:
    tool = said.split(maxsplit=1)[0]
    lines = [line for line in GOOD.splitlines() if f"version {tool}" not in line]
    problem = tool_problem("\n".join([*lines, f"version {said}"]), "fio")
    assert problem is not None
    assert problem[0].startswith(cause)


@pytest.mark.parametrize("version", ["multipath-0.8.5-t", "multipath-0.9.4-t"])
def test_a_multipathd_with_the_usual_places_is_fit(version: str) -> None:
    """Up to 0.8 its configuration lists both; `multipath -t` prints what the daemon does."""
    assert multipathd_problem(parse_config((RECORDED / f"{version}.txt").read_text())) is None


@pytest.mark.parametrize(
    ("usual", "other"),
    [("/etc/multipath/conf.d", "/etc/mp.d"), ("/etc/multipath/wwids", "/var/lib/wwids")],
)
def test_a_multipathd_that_goes_by_other_files_is_named(usual: str, other: str) -> None:
    """What is written for the run would have no effect."""
    text = (RECORDED / "multipath-0.8.5-t.txt").read_text().replace(usual, other)
    cause, _ = multipathd_problem(parse_config(text)) or ("", "")
    assert cause.startswith(f"multipathd goes by {other}, since `")
