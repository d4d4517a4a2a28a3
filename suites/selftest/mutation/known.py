"""What is known of mutants from earlier runs, and as long as it holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from suites.selftest.mutation.child import UNIT
from suites.selftest.mutation.digest import digest_of
from suites.selftest.mutation.trial import Result


def tests_digest(tests: Sequence[str]) -> str:
    """Another one if a test is added, or a file of one of them changes."""
    files = sorted({_file(test) for test in tests})
    return digest_of([*sorted(tests), *((UNIT / file).read_text() for file in files)])


def _file(test: str) -> str:
    return Path(test.partition("::")[0]).name


@dataclass
class Known:
    """The results of the mutants of one module, in a file.

    And by the name of a file of tests: which of these have passed in place of a mutant's.
    """

    file: Path
    source: str
    entries: dict[str, dict[str, Any]]
    passed: dict[str, str]

    @classmethod
    def of(cls, folder: Path, module: str, source: str) -> Known:
        """Those of this very source."""
        file = folder / f"{module}.json"
        kept = json.loads(file.read_text()) if file.exists() else {}
        digest = digest_of([source])
        if kept.get("source") != digest:
            return cls(file, digest, {}, {})
        return cls(file, digest, kept["results"], kept.get("passed", {}))

    def result(self, key: str, tests: Sequence[str]) -> Result | None:
        """As long as the test that killed it is as it was; if none did, all that it met."""
        if (entry := self.entries.get(key)) is None:
            return None
        result = Result(entry["killed"], entry["by"])
        return result if entry["with"] == _known_by(result, tests) else None

    def unproven(self, tests: Iterable[str]) -> list[str]:
        """Those that have not passed yet without a mutant, in the place of one."""
        by_file = _by_file(tests)
        new = {file for file, its in by_file.items() if self.passed.get(file) != tests_digest(its)}
        return [test for file, its in by_file.items() if file in new for test in its]

    def keep(
        self,
        results: Mapping[str, Result],
        tests: Mapping[str, Sequence[str]],
        passed: Iterable[str],
    ) -> None:
        """Add these, and which tests have passed without a mutant."""
        for key, result in results.items():
            self.entries[key] = {**asdict(result), "with": _known_by(result, tests[key])}
        self.passed |= {file: tests_digest(its) for file, its in _by_file(passed).items()}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        kept = {"source": self.source, "results": self.entries, "passed": self.passed}
        self.file.write_text(json.dumps(kept))


def _by_file(tests: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for test in tests:
        found.setdefault(_file(test), []).append(test)
    return found


def _known_by(result: Result, tests: Sequence[str]) -> str:
    """What a result holds as long as it is the same."""
    by_a_test = result.killed and result.file.endswith(".py")
    return _digest(result.file) if by_a_test else tests_digest(tests)


def _digest(file: str) -> str:
    return digest_of([(UNIT / file).read_text()]) if (UNIT / file).exists() else ""
