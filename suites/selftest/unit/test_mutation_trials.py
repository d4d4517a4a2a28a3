"""Mutation testing itself: how mutants are tried, in children that leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).resolve().parents[3]
TINY = """\
def least(numbers):
    found = None
    while numbers:
        one = numbers.pop()
        if found is None or one < found:
            found = one
    return found
"""
TESTS = """\
from other import least

def test_least():
    assert least([1, 2]) == 1

def test_least_of_none():
    assert least([]) is None
"""
# What programs begin with; no plugin of the harness is in their process.
BEGIN = """
import json, os, signal, sys, time
from functools import partial
from pathlib import Path
from suites.selftest.mutation import child, known, scoring, trial
from suites.selftest.mutation.child import Forked, in_children

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
child.TOP = scoring.TOP = trial.TOP = known.UNIT = folder
trial._LEAST_LIMIT_S = 3
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A module, one that needs it, and tests of both."""
    (tmp_path / "tiny.py").write_text(TINY)
    (tmp_path / "other.py").write_text("from tiny import least\n")
    (tmp_path / "test_tiny.py").write_text(TESTS)
    return tmp_path


def printed(folder: Path, program: str, *arguments: object) -> Any:
    """What a program prints as JSON."""
    argv = [sys.executable, "-c", BEGIN + program, str(folder), json.dumps(arguments)]
    done = subprocess.run(argv, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def tried(folder: Path, codes: dict[str, str], tests: Sequence[str]) -> dict[str, list[object]]:
    """What became of sources in place of the module."""
    program = """
code, codes, tests = json.loads(sys.argv[2])
tests = ["test_tiny.py::" + test for test in tests]
original = trial.Trial(code, tests, 0)
todo = {key: trial.Trial(code, tests, 0) for key, code in codes.items()}
module = trial.Module("tiny", folder / "tiny.py", ["json", "other"])
act = partial(trial.try_all, module, original, todo, 2, float("inf"))
[(_, said)] = in_children({"": act}, {"": 60}, 1, quiet=False)
print(json.dumps({key: [one.killed, one.by] for key, one in said.items()}))
"""
    return dict(printed(folder, program, TINY, codes, list(tests)))


def test_mutants_are_killed_or_survive_in_memory_only(tiny: Path) -> None:
    """Also where the tests see the module by way of another one."""
    codes = {
        "killed": TINY.replace("one < found", "one > found"),
        "survives": TINY.replace("one < found", "one <= found"),
        "endless": TINY.replace(".pop()", "[0]"),
        "no module": "raise ValueError\n",
    }
    results = tried(tiny, codes, ["test_least", "test_least_of_none"])
    assert results == {
        "killed": [True, "test_tiny.py::test_least"],
        "survives": [False, ""],
        "endless": [True, "it did not end in time, or died, twice"],
        "no module": [True, "test_tiny.py"],
    }
    assert (tiny / "tiny.py").read_text() == TINY


def test_a_mutant_meets_the_chosen_tests_alone(tiny: Path) -> None:
    codes = {"": TINY.replace("one < found", "one > found")}
    assert tried(tiny, codes, ["test_least_of_none"]) == {"": [False, ""]}


def test_a_mutant_whose_child_dies_is_tried_once_more(tiny: Path) -> None:
    """For want of memory, say: that was not the mutant's doing."""
    died = tiny / "died"
    dies_once = f"""
import os, signal
from pathlib import Path
if not Path({str(died)!r}).exists():
    Path({str(died)!r}).touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    codes = {"survives": TINY + dies_once}
    assert tried(tiny, codes, ["test_least"]) == {"survives": [False, ""]}
    assert died.exists()


SCORE = """
from suites.selftest.mutation.reach import Reach
[seconds] = json.loads(sys.argv[2])
reach = Reach({test: {"tiny": [1, 2]} for test in seconds}, seconds, ["json"])
score = scoring.Scoring(reach, [], folder / "kept", 2, float("inf")).score
try:
    one = score("tiny.py")
    print(json.dumps([one.complete, one.killed, list(one.unproven)]))
except trial.Unfit as problem:
    print(json.dumps(str(problem)))
"""
ONE_MORE = "def one_more(a):\n    return a + 1\n"
ONE_MORE_TEST = "import tiny\ndef test_quick():\n    assert tiny.one_more(2) == 3\n"


def test_every_test_of_a_module_must_pass_without_a_mutant_also_the_slowest(tmp_path: Path) -> None:
    """One that fails whatever is in the module's place would kill all of its mutants."""
    (tmp_path / "tiny.py").write_text(ONE_MORE)
    (tmp_path / "test_slow.py").write_text(
        "import tiny\nfrom importlib.machinery import SourceFileLoader\n"
        "def test_slow():\n    assert type(tiny.__loader__) is SourceFileLoader\n"
    )
    (tmp_path / "test_quick.py").write_text(ONE_MORE_TEST)
    tests = {"test_quick.py::test_quick": 0.1, "test_slow.py::test_slow": 6.0}
    said = printed(tmp_path, SCORE, tests)
    assert said == "tiny: (1, 'test_slow.py::test_slow') without a mutant"


def test_a_module_whose_tests_pass_is_scored(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(ONE_MORE)
    (tmp_path / "test_quick.py").write_text(ONE_MORE_TEST)
    tests = {"test_quick.py::test_quick": 0.1}
    assert printed(tmp_path, SCORE, tests) == [True, 3, []]


def test_a_child_is_killed_before_it_has_a_group_of_its_own(tmp_path: Path) -> None:
    """Nobody waits until it gets that far."""
    program = """
os.setsid = partial(time.sleep, 8)
began = time.monotonic()
Forked(int, 60).end()
print(time.monotonic() - began)
"""
    assert printed(tmp_path, program) < 4


def test_no_child_stays_when_the_run_is_interrupted(tmp_path: Path) -> None:
    """A mutant is a child's child, in a session of its own, and may sleep for ever."""
    program = """
def sleep():
    Path(folder, "part").write_text(str(os.getpid()))
    Path(folder, "part").rename(Path(folder, "pid"))
    time.sleep(120)

def portion():
    return list(in_children({"a mutant": sleep}, {"a mutant": 120}, 1))

print(list(in_children({"": portion}, {"": 120}, 1, quiet=False)))
"""
    argv = [sys.executable, "-c", BEGIN + program, str(tmp_path)]
    with subprocess.Popen(argv, cwd=TOP, stderr=subprocess.DEVNULL) as run:
        sleeper = int(_soon(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
        run.send_signal(signal.SIGINT)
    try:
        assert _soon(lambda: not _lives(sleeper))
    finally:
        if _lives(sleeper):
            os.kill(sleeper, signal.SIGKILL)


def _soon(look: Callable[[], Any]) -> Any:
    """What a look finds within some seconds; nothing if it finds nothing."""
    ends = time.monotonic() + 20
    while not (found := look()) and time.monotonic() < ends:
        time.sleep(0.05)
    return found


def _lives(pid: int) -> bool:
    """Not if it has ended and only nobody has waited for it yet."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
