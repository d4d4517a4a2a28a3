"""Tries the mutants of one module, in children of a process that has all else imported."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

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
NO_ANSWER = "it did not end in time, or died, twice"
_ORIGINAL = "without a mutant"
# Statuses of pytest that tell of tests: some failed, or could not be collected.
_TELLING = {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}


class Unfit(Exception):
    """What came of it says nothing of mutants: tests fail without one, or pytest itself does."""


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

    It is tried beside the first mutants. Imports much into this process: run it in a child.
    """
    replaced = Replaced(module.name, module.path)
    sys.meta_path.insert(0, replaced)
    preload(module.others, replaced)
    trials = {_ORIGINAL: original, **todo}
    acts = {key: partial(_attempt, replaced, trial) for key, trial in trials.items() if trial.tests}
    limits = {key: _limit_s(trial) for key, trial in trials.items()}
    results = {key: Result(False, NOBODY) for key, trial in todo.items() if not trial.tests}
    proven = not original.tests
    with closing(in_children(acts, limits, workers)) as answers:
        for key, answer in answers:
            said = answer
            if said is None:  # alone, and with more time: the host may have been busy
                [(_, said)] = in_children({key: acts[key]}, {key: 2 * limits[key]}, 1)
            if key == _ORIGINAL:
                _assert_passed(module, said)
                proven = True
            else:
                results[key] = result_of(said, f"{module.name}, {key}")
            if proven and time.monotonic() > ends:
                break
    return results


def _assert_passed(module: Module, said: object) -> None:
    if said != (pytest.ExitCode.OK, ""):
        raise Unfit(f"{module.name}: {said or NO_ANSWER} {_ORIGINAL}")


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


def result_of(said: object, mutant: str) -> Result:
    """What an attempt means for its mutant; raises `Unfit` if pytest tells of no test."""
    match said:
        case None:
            return Result(True, NO_ANSWER)
        case (pytest.ExitCode.OK, _):
            return Result(False, "")
        case (status, str(test)) if test and status in _TELLING:
            return Result(True, test)
    raise Unfit(f"{mutant}: pytest ended with {said}, which names no test that failed")
