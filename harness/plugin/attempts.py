"""The attempts at the test that runs: how many there were, and why there is another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.checks import Verdict
from harness.reporting.blame import Blame
from harness.reporting.verdict_document import Judged


def _nothing() -> None:
    """Nothing waits for the end of the attempt."""


@dataclass
class Attempts:
    """Those at one test; `most_again` is how often it may be measured again.

    `earlier` has for each attempt that is over what its checks could not tell. `unknown` has that
    of the attempt that runs, if another is to follow; else it is empty. `give_back` returns the
    testbed of the attempt that runs, or keeps it: where another is to follow, only once all else is
    cleaned up, since it may turn out that none can.
    """

    most_again: int = 0
    earlier: list[tuple[str, ...]] = field(default_factory=list)
    unknown: tuple[str, ...] = ()
    give_back: Callable[[], None] = _nothing

    @property
    def number(self) -> int:
        """That of the attempt that runs, from 1."""
        return len(self.earlier) + 1

    @property
    def suffix(self) -> str:
        """What tells this attempt from the first; empty for the first."""
        return f"attempt {self.number}" if self.earlier else ""

    def note(self, blamed: Blame | None, judged: Sequence[Judged]) -> None:
        """Take in how the test itself ended, and what it judged."""
        left = len(self.earlier) < self.most_again
        self.unknown = what_is_unknown(judged) if left and blamed is Blame.UNKNOWN else ()

    def end(self) -> None:
        """No other attempt follows: the one that runs counts."""
        self.unknown = ()

    def begin_next(self) -> None:
        """The attempt is over and does not count."""
        self.earlier.append(self.unknown)
        self.unknown, self.give_back = (), _nothing


def what_is_unknown(judged: Sequence[Judged]) -> tuple[str, ...]:
    """What the checks of a test could not tell, and what another attempt may tell.

    Empty if a check failed, which is proof and stands; if one crashed, as it would crash again; or
    if one is unknown for a reason that stays, such as a setting.
    """
    found = [(finding, one) for one in judged for finding in one.judgement.findings]
    if any(finding.verdict is Verdict.FAIL or finding.same_again for finding, _ in found):
        return ()
    if any(finding.crash and one.measurements.phases for finding, one in found):
        return ()
    return tuple(str(finding) for finding, _ in found if finding.verdict is Verdict.UNKNOWN)
