"""What is sent to a machine runs on the oldest Python that machines have: 3.6."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness

TOP = Path(harness.__file__).parent
SENT = re.compile(r'files\("harness\.([\w.]+)"\)\.joinpath\("(\w+\.py)"\)\.read_text\(\)')


def programs() -> list[str]:
    """Whatever is read as text, to be an argument of `python3 -c` on a machine."""
    sources = [file.read_text() for file in sorted(TOP.rglob("*.py"))]
    found = [match for source in sources for match in SENT.findall(source)]
    return sorted({f"{folder.replace('.', '/')}/{name}" for folder, name in found})


def test_the_programs_are_found() -> None:
    assert {"observe/resident.py", "preflight/reader.py", "workload/reader.py"} <= set(programs())


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
