"""Tries the mutants of one module, in children of a process that has all else imported."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from suites.selftest.mutation.child import (
    TOP,
    Chosen,
    Replaced,
    in_children,
    preload,
    run_tests,
)

# A mutant that takes ten times as long as its tests do is one that never ends.
_TIMES_LONGER = 10
_LEAST_LIMIT_S = 8.0
NOBODY = "no test runs it"


class Unfit(Exception):
    """Tests fail, although the module is as it is."""


@dataclass(frozen=True)
class Result:
    """What became of a mutant: killed, by which test, or survived."""

    killed: bool
    by: str

    @property
    def file(self) -> str:
        """The file of the test that killed it."""
        return Path(self.by.partition("::")[0]).name


@dataclass(frozen=True)
class Trial:
    """A source to be tried, and the tests that may see what is changed in it."""

    code: str
    tests: Sequence[str]
    seconds: float


@dataclass(frozen=True)
class Module:
    """What is mutated, and what can be imported without it."""

    name: str
    path: Path
    others: Collection[str]


def try_all(
    module: Module, original: Trial, todo: Mapping[str, Trial], workers: int, ends: float
) -> dict[str, Result]:
    """The results of those that were tried before the end; `original` has to pass, if it has tests.

    Imports much into this process: run it in a child.
    """
    replaced = Replaced(module.name, module.path)
    sys.meta_path.insert(0, replaced)
    preload(module.others, replaced)
    acts = {key: partial(_attempt, replaced, trial) for key, trial in todo.items() if trial.tests}
    limits = {key: _limit_s(trial) for key, trial in todo.items()}
    results = {key: Result(False, NOBODY) for key, trial in todo.items() if not trial.tests}
    sound = {"": partial(_attempt, replaced, original)} if original.tests else {}
    for _, said in in_children(sound, {"": 10 * _limit_s(original)}, 1):
        if said != (0, ""):
            raise Unfit(f"{module.name}: {said} without a mutant")
    with closing(in_children(acts, limits, workers)) as answers:
        for key, said in answers:
            results[key] = _result(said)
            if time.monotonic() > ends:
                break
    return results


def _limit_s(trial: Trial) -> float:
    return _LEAST_LIMIT_S + _TIMES_LONGER * trial.seconds


def _attempt(replaced: Replaced, trial: Trial) -> tuple[int, str]:
    """The status of pytest, and the first test that failed.

    File by file, that with the most tests first: to collect one takes longer than to run it.
    """
    replaced.source = trial.code
    by_file: dict[str, list[str]] = {}
    for test in trial.tests:
        by_file.setdefault(test.partition("::")[0], []).append(test)
    for file, tests in sorted(by_file.items(), key=lambda item: -len(item[1])):
        plugin = Chosen(tests)
        if status := run_tests([str(TOP / file)], plugin):
            return status, plugin.failed
    return 0, ""


def _result(said: object) -> Result:
    match said:
        case (0, _):
            return Result(False, "")
        case (int(), str(test)) if test:
            return Result(True, test)
        case (int(status), _):
            return Result(True, f"pytest ended with {status}")
    return Result(True, "it did not end in time, or died")
