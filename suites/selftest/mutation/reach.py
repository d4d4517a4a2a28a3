"""Which lines of the modules each test runs, so that a mutant meets only tests that can see it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from suites.selftest.mutation.child import TOP, UNIT, Traced, in_children, run_tests
from suites.selftest.mutation.digest import digest_of
from suites.selftest.mutation.mutants import Source

# Of one file, traced.
_LIMIT_S = 300.0
# Under other packages' names a module may be found that is not to be imported by it.
_PRELOADED = ("harness.", "_pytest.", "hypothesis.")


class TestsFailed(Exception):
    """Tests that fail without a mutant say nothing with one."""


@dataclass(frozen=True)
class Reach:
    """By test: the lines that it runs of each module, and its seconds; and what all imported."""

    lines: Mapping[str, Mapping[str, Sequence[int]]]
    seconds: Mapping[str, float]
    imported: Sequence[str]

    def tests(self, module: str, source: Source, line: int) -> list[str]:
        """The tests that may see a mutant of that line, the fastest first.

        What runs at import is seen by all tests that run anything of the module; if none does,
        by all tests.
        """
        of_module = {test: set(one[module]) for test, one in self.lines.items() if module in one}
        if source.at_import(line):
            chosen = list(of_module or self.lines)
        else:
            lines = source.statement(line)
            chosen = [test for test, ran in of_module.items() if ran.intersection(lines)]
        return sorted(chosen, key=lambda test: (self.seconds[test], test))


def reach_of(files: Sequence[str], modules: Mapping[str, str], kept: Path, workers: int) -> Reach:
    """Run all tests once, traced; what is known of a file that did not change is not run again."""
    common = digest_of([*_sources(), "\n".join(sorted(modules))])
    digests = {file: digest_of([(UNIT / file).read_text(), common]) for file in files}
    known: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    todo = [file for file in files if known.get(file, {}).get("digest") != digests[file]]
    paths = {str(TOP / path): name for name, path in modules.items()}
    acts = {file: partial(_traced, file, paths) for file in todo}
    for file, said in in_children(acts, dict.fromkeys(todo, _LIMIT_S), workers):
        if not isinstance(said, dict) or said["status"]:
            failed = said["failed"] if isinstance(said, dict) else "no answer"
            raise TestsFailed(f"{file} fails without a mutant: {failed}")
        known[file] = {"digest": digests[file], **said}
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(known))
    known = {file: known[file] for file in files}
    return Reach(
        {test: lines for one in known.values() for test, lines in one["lines"].items()},
        {test: seconds for one in known.values() for test, seconds in one["seconds"].items()},
        list(dict.fromkeys(name for one in known.values() for name in one["imported"])),
    )


def _traced(file: str, paths: Mapping[str, str]) -> dict[str, object]:
    plugin = Traced(modules=paths)
    status = run_tests([str(UNIT / file)], plugin)
    imported = [name for name in sys.modules if name.startswith(_PRELOADED)]
    return {
        "status": status,
        "failed": plugin.failed,
        "lines": plugin.lines,
        "seconds": plugin.seconds,
        "imported": imported,
    }


def _sources() -> list[str]:
    """All of the harness, and what tests share."""
    shared = [file for file in sorted(UNIT.glob("*.py")) if not file.name.startswith("test_")]
    return [file.read_text() for file in (*sorted((TOP / "harness").rglob("*.py")), *shared)]
