"""The figures of a module: its mutants, tried as far as nothing is known of them."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from suites.selftest.mutation.child import TOP, in_children
from suites.selftest.mutation.known import Known
from suites.selftest.mutation.mutants import Mutant, Source, kept_mutants_of
from suites.selftest.mutation.reach import Reach
from suites.selftest.mutation.survivors import Explained, idle, unexplained
from suites.selftest.mutation.trial import Module, Result, Trial, Unfit, try_all

# A module that has fewer killed is not tested well enough.
LEAST = 0.95
# After that, results are kept, and a process begins anew.
_PORTION_S = 45.0
_LIMIT_S = 900.0  # of a portion: its last mutants, and importing, may take long on a busy host


@dataclass(frozen=True)
class Scored:
    """The mutants of a module, the results so far, and the reasons given for survivors.

    And the tests that are still to pass without a mutant: what they kill may be no mutant's fault.
    """

    path: str
    mutants: Mapping[str, Mutant]
    results: Mapping[str, Result]
    reasons: Sequence[Explained]
    unproven: Sequence[str] = ()

    @property
    def complete(self) -> bool:
        return len(self.results) == len(self.mutants) and not self.unproven

    @property
    def killed(self) -> int:
        return sum(result.killed for result in self.results.values())

    @property
    def survivors(self) -> list[Mutant]:
        return [self.mutants[key] for key, result in self.results.items() if not result.killed]

    @cached_property
    def unexplained(self) -> list[Mutant]:
        return unexplained(self.survivors, self.reasons)

    @cached_property
    def idle(self) -> list[str]:
        return idle(self.survivors, self.reasons) if self.complete else []

    @property
    def explained(self) -> int:
        return len(self.survivors) - len(self.unexplained)

    @property
    def good(self) -> bool:
        """Complete, well tested, and every survivor explained."""
        enough = self.killed >= LEAST * len(self.mutants)
        return self.complete and enough and not self.unexplained and not self.idle


@dataclass(frozen=True)
class Scoring:
    """How modules are scored, and until when."""

    reach: Reach
    reasons: Sequence[Explained]
    kept: Path
    workers: int
    ends: float

    def score(self, path: str) -> Scored:
        """Try the mutants of a module, in portions, until all are tried or the time is over."""
        name, text = module_name(path), (TOP / path).read_text()
        source, known = Source(text), Known.of(self.kept, name, text)
        made = kept_mutants_of(text, self.kept / "mutants" / f"{name}.json")
        mutants = {mutant.key: mutant for mutant in made}
        tests = {
            key: self.reach.tests(name, source, mutant.span[0][0])
            for key, mutant in mutants.items()
        }
        module = Module(name, TOP / path, self.reach.imported)
        seen_by = self._fastest({one for each in tests.values() for one in each})
        while time.monotonic() < self.ends:
            todo = {
                key: self._trial(mutant.code(text), tests[key])
                for key, mutant in mutants.items()
                if known.result(key, tests[key]) is None
            }
            unproven = known.unproven(seen_by)
            if not todo and not unproven:
                break
            ends = min(self.ends, time.monotonic() + _PORTION_S)
            original = self._trial(text, unproven)
            act = partial(_tried, module, original, todo, self.workers, ends)
            [(_, said)] = in_children({name: act}, {name: _LIMIT_S}, 1, quiet=False)
            if not isinstance(said, dict):
                raise said if isinstance(said, Unfit) else Unfit(f"{name}: trying its mutants died")
            known.keep(said, tests, unproven)
        results = {key: known.result(key, tests[key]) for key in mutants}
        mine = [reason for reason in self.reasons if reason.module == path]
        found = {key: one for key, one in results.items() if one}
        return Scored(path, mutants, found, mine, known.unproven(seen_by))

    def _fastest(self, tests: Collection[str]) -> list[str]:
        """In the order in which a mutant meets them."""
        return sorted(tests, key=lambda test: (self.reach.seconds[test], test))

    def _trial(self, code: str, tests: Sequence[str]) -> Trial:
        return Trial(code, tests, sum(self.reach.seconds[test] for test in tests))


def _tried(
    module: Module, original: Trial, todo: Mapping[str, Trial], workers: int, ends: float
) -> dict[str, Result] | Unfit:
    """What a child can say."""
    try:
        return try_all(module, original, todo, workers, ends)
    except Unfit as problem:
        return problem


def module_name(path: str) -> str:
    """As it is imported."""
    return path.removesuffix(".py").replace("/", ".")
