"""What is known of mutants from earlier runs, and as long as it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from suites.selftest.mutation.child import UNIT
from suites.selftest.mutation.digest import digest_of
from suites.selftest.mutation.trial import Result


def tests_digest(tests: Sequence[str]) -> str:
    """Another one if a test is added, or a file of one of them changes."""
    files = sorted({Path(test.partition("::")[0]).name for test in tests})
    return digest_of([*sorted(tests), *((UNIT / file).read_text() for file in files)])


@dataclass
class Known:
    """The results of the mutants of one module, in a file."""

    file: Path
    source: str
    entries: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, folder: Path, module: str, source: str) -> Known:
        """Those of this very source."""
        file = folder / f"{module}.json"
        kept = json.loads(file.read_text()) if file.exists() else {}
        digest = digest_of([source])
        return cls(file, digest, kept["results"] if kept.get("source") == digest else {})

    def result(self, key: str, tests: Sequence[str]) -> Result | None:
        """As long as the test that killed it is as it was; for a survivor, all of them."""
        if (entry := self.entries.get(key)) is None:
            return None
        result = Result(entry["killed"], entry["by"])
        if result.killed:
            same = not result.file.endswith(".py") or entry["with"] == _digest(result.file)
        else:
            same = entry["with"] == tests_digest(tests)
        return result if same else None

    def keep(self, results: Mapping[str, Result], tests: Mapping[str, Sequence[str]]) -> None:
        """Add these."""
        for key, result in results.items():
            killer = _digest(result.file) if result.file.endswith(".py") else ""
            known_by = killer if result.killed else tests_digest(tests[key])
            self.entries[key] = {**asdict(result), "with": known_by}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps({"source": self.source, "results": self.entries}))


def _digest(file: str) -> str:
    return digest_of([(UNIT / file).read_text()]) if (UNIT / file).exists() else ""
