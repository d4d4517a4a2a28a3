"""What is sent to a machine runs on the oldest Python that machines have: 3.6."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import harness
from harness.observe import resident
from harness.transport.map_probe import MAPS
from harness.workload.programs import keeper, sweeper

TOP = Path(harness.__file__).parent
PARTS = [f"observe/resident/{part}.py" for part in resident.PARTS]
SENT = re.compile(r'files\("harness\.([\w.]+)"\)\.joinpath\("(\w+\.py)"\)\.read_text\(\)')


def programs() -> list[str]:
    """Whatever is read as text, to be an argument of `python3 -c` on a machine."""
    sources = [file.read_text() for file in sorted(TOP.rglob("*.py"))]
    found = [match for source in sources for match in SENT.findall(source)]
    return sorted({f"{folder.replace('.', '/')}/{name}" for folder, name in found} | set(PARTS))


def defined(source: str) -> list[str]:
    """The global names that a source defines itself."""
    names = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.append(node.name)
        if isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return names


def test_the_programs_are_found() -> None:
    assert {"preflight/reader.py", "workload/reader.py"} <= set(programs())
    folder = TOP / "observe/resident"
    assert {TOP / part for part in PARTS} == set(folder.glob("*.py")) - {folder / "__init__.py"}


@pytest.mark.parametrize("maps", ["observe/resident/maps.py", "transport/resident_maps.py"])
def test_the_resident_program_has_each_part_and_imports_none(maps: str) -> None:
    """With the part that knows of no maps, and with that of the transport in its place."""
    joined = resident.program(MAPS.source if maps.startswith("transport") else "")
    parts = [maps if part == "observe/resident/maps.py" else part for part in PARTS]
    of_parts = [name for part in parts for name in defined((TOP / part).read_text())]
    assert defined(joined) == of_parts
    assert len(set(of_parts)) == len(of_parts)  # else one would take the place of another
    for node in ast.walk(ast.parse(joined)):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
        assert {str(name).partition(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.mark.parametrize("program", [sweeper, keeper])
def test_a_program_in_one_piece_defines_no_name_twice(program: Callable[[], str]) -> None:
    """The later would take the place of the earlier, unseen."""
    names = defined(program())
    assert len(set(names)) == len(names)


def test_a_transports_part_has_all_that_samples_ask_of_maps() -> None:
    stated = defined((TOP / "observe/resident/maps.py").read_text())
    assert set(stated) <= set(defined(MAPS.source))
    assert "transport/resident_maps.py" in programs()


@pytest.mark.parametrize("program", programs())
def test_a_program_for_machines_needs_no_more_than_python_3_6(program: str) -> None:
    """RHEL 8 and SLE 15 have that one. vermin knows syntax and library of every version."""
    rules = ["--target=3.6-", "--eval-annotations", "--no-tips", "--violations"]
    run = "import sys, vermin; sys.exit(vermin.main())"
    argv = [sys.executable, "-c", run, *rules, str(TOP / program)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("program", programs())
def test_a_program_for_machines_is_in_ascii(program: str) -> None:
    """It is an argument of `python3 -c`, which 3.6 cannot decode where no locale is set."""
    assert (TOP / program).read_text().isascii()
