"""What a run had to do without: each thing once, with the tests that it concerned."""

from __future__ import annotations

from collections.abc import Iterable

from harness.lacking import Lacking, LackingName
from harness.typed import as_typed

TITLES: dict[LackingName, str] = {
    "forks": "no forks",
    "kvm": "no KVM",
    "report": "no HTML report",
    "capability": "tests skipped",
    "fault": "tests skipped",
    "handler": "no device handler",
    "results": "not all tests have a result",
}
_EFFECTS: dict[LackingName, str] = {
    "forks": "machines were booted, not forked",
    "kvm": "machines were emulated",
    "handler": "the kernel did nothing about access states (ALUA)",
}
_MOST_WORKERS = 4


class Degraded:
    """Collects what was lacking, from all workers of a run."""

    def __init__(self) -> None:
        self._tests: dict[Lacking, dict[str, str]] = {}

    def note(self, lacking: Lacking, *, test: str = "", worker: str = "") -> None:
        """Note what was lacking: for one `test`, or for the run if it is ""; on `worker` if any."""
        tests = self._tests.setdefault(lacking, {})
        if test:
            tests[test] = worker

    def all(self) -> list[Lacking]:
        """Each thing once, in the order in which they were noted."""
        return list(self._tests)

    def lines(self) -> list[str]:
        """For the end of a run: two lines for each thing, its cause and its cure."""
        lines = []
        for one in self._tests:
            lines += [
                f"degraded: {self._heading(one)}: {_cause(one)}",
                f"  cure: {as_typed(one.cure)}",
            ]
        return lines

    def environment(self) -> dict[str, str]:
        """For the front page of the report: first what, then of each why."""
        if not self._tests:
            return {}
        rows: dict[str, list[str]] = {}
        for one in self._tests:
            title = TITLES[one.name]
            name = title[0].upper() + title[1:]
            rows.setdefault(name, []).append(f"{_cause(one)}. Cure: {as_typed(one.cure)}")
        summary = ", ".join(self._heading(one) for one in self._tests)
        return {"Degraded": summary, **{name: " | ".join(values) for name, values in rows.items()}}

    def _heading(self, lacking: Lacking) -> str:
        scope = self._scope(lacking)
        return f"{TITLES[lacking.name]} ({scope})" if scope else TITLES[lacking.name]

    def _scope(self, lacking: Lacking) -> str:
        """`9 tests on gw0 and gw1`; empty if it is not of tests."""
        tests = self._tests[lacking]
        if not tests:
            return ""
        workers = sorted(set(filter(None, tests.values())))
        number = f"{len(tests)} test{'' if len(tests) == 1 else 's'}"
        if not workers:
            return number
        if len(workers) > _MOST_WORKERS:
            return f"{number} on {len(workers)} workers"
        return f"{number} on {_listed(workers)}"


def _cause(lacking: Lacking) -> str:
    effect = _EFFECTS.get(lacking.name)
    return f"{effect}, because {lacking.reason}" if effect else lacking.reason


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
