"""What planted defects have in common: a failover to plant them in, and the table of detections."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

import pytest

from harness.checks import Check, Verdict, judge, promise_kept, undisturbed
from harness.config.model import BudgetConfig
from harness.errors import CutShort
from harness.faults import (
    Fault,
    Lab,
    LinkDown,
    LinkFlaps,
    PacketLoss,
    PathDaemonKilled,
    SilentDrop,
    SilentLoss,
    losses,
)
from harness.measurements import MeansSample, Measurements
from harness.testbed import Testbed
from harness.topology import Topology
from harness.workload import Job
from suites import pages

PAGE = Path(__file__).parents[3] / "docs/detection.md"
# Of I/O, once the damage is done, and mended if it is of that kind: so that nothing is found only
# because I/O ends there.
AFTERWARDS_S = 12.0
_ROW = re.compile(r"^\| (?P<plant>[^|]+) \| [^|]+ \| [^|]+ \| [^|]+ \|$", re.MULTILINE)
_LONGEST_MESSAGE = 240
_EARNED: dict[str, str] = {}  # rows that were there when this run came to their plants
_HEADER = "| plant | caught by | verdict | and it says |\n|---|---|---|---|\n"


def nothing() -> None:
    """No plant."""


@dataclass(frozen=True)
class NoEffect(SilentLoss):
    """A fault that claims to act and does not."""

    path: str

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return (topology.path(self.path).name,)

    @property
    def where(self) -> str:
        return self.path

    @property
    def description(self) -> str:
        return "nothing is broken"

    def inject(self, lab: Lab) -> None:
        """Do nothing."""

    confirm = heal = confirm_healed = inject

    def sample_means(self, lab: Lab) -> Sequence[MeansSample]:
        return [MeansSample(self.name)]


@dataclass(frozen=True)
class WrongNic(LinkDown):
    """A cable that is pulled at one link, and said to be another's."""

    claimed: str

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return topology.over_link(self.claimed)

    @property
    def where(self) -> str:
        return self.claimed


@dataclass(frozen=True)
class StillLink(LinkFlaps):
    """A link that is said to flap, and does not."""

    def inject(self, lab: Lab) -> None:
        """Do nothing."""

    confirm = inject

    def go_on(self, lab: Lab, over: threading.Event) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class SparedDaemon(PathDaemonKilled):
    """A daemon that is said to be killed, and runs on."""

    def inject(self, lab: Lab) -> None:
        """Do nothing."""

    confirm = inject


@dataclass(frozen=True)
class WrongQueue(PacketLoss):
    """Frames that are lost on one link, and said to be another's."""

    claimed: str = ""

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return topology.over_link(self.claimed)

    @property
    def where(self) -> str:
        return self.claimed


def first_link_down(testbed: Testbed) -> LinkDown:
    """The first path is among those that it takes."""
    return LinkDown(testbed.topology.links[0].name)


def first_portal_silent(testbed: Testbed) -> Fault:
    """The first path is among those that it takes; where it would take all, the first link."""
    every = losses(testbed.topology, lambda _: True)
    silent = (fault for fault in every if isinstance(fault, SilentDrop))
    return next(silent, None) or first_link_down(testbed)


def two_links(testbed: Testbed) -> tuple[str, str]:
    """The first link and the last one; the test is skipped where there is but one."""
    first, last = testbed.topology.links[0].name, testbed.topology.links[-1].name
    if first == last:
        pytest.skip("needs two links")
    return first, last


def lose_a_path(
    testbed: Testbed,
    seed: int,
    fault: Fault,
    *,
    jobs: Sequence[Job] = (),
    before: Callable[[], object] = nothing,
    during: Callable[[], object] = nothing,
    after: Callable[[], object] = nothing,
    uproot: Callable[[], object] = nothing,
    lost: int | None = None,
    before_s: float = 3,
    during_s: float = 2,
    after_s: float = AFTERWARDS_S,
    back_within_s: float = 60,
) -> Measurements:
    """A failover as the suite runs it, with plants before the fault, during it and after healing.

    `uproot` takes them away before the read-back. `lost` is how many paths the kernel will give
    up, if not those of the fault; whether all come back is left to the checks.
    """
    everything = len(testbed.topology.paths)
    gone = len(fault.hits(testbed.topology)) if lost is None else lost
    with testbed.io(jobs or testbed.layout.mixed(seed)) as io:
        io.before_read_back(uproot)
        io.wait_until_running()
        io.run_for(seconds=before_s)
        before()
        with testbed.fault(fault):
            testbed.map.wait_for_paths(active=everything - gone, failed=gone)
            io.run_for(seconds=during_s)
            during()
        try:
            testbed.map.wait_for_paths(active=everything, timeout_s=back_within_s)
        except CutShort:
            sys.stdout.write("\nnot every path came back\n")
        after()
        io.start_phase()
        io.run_for(seconds=after_s)
    return io.measurements


def run_clean(
    testbed: Testbed,
    seed: int,
    *,
    amid: Callable[[], object] = nothing,
    jobs: Sequence[Job] = (),
) -> Measurements:
    """I/O without a fault that anybody knows of; the plant goes in while it runs."""
    with testbed.io(jobs or testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=3)
        amid()
        io.run_for(seconds=AFTERWARDS_S)
    return io.measurements


def assert_detected(
    plant: str,
    measurements: Measurements,
    *,
    by: str,
    fails: str = "",
    unknown: str = "",
    checks: Sequence[Check] = (),
) -> None:
    """Check `by` fails with that text, or could not tell with that one, and so the whole does.

    By default the checks are those of the suites, with or without a fault. Every finding is
    printed; with `--update-docs` a detection is noted in docs/detection.md, and what was noted of
    the plant before is gone without one.
    """
    forget_detection(plant)
    verdict, says = (Verdict.FAIL, fails) if fails else (Verdict.UNKNOWN, unknown)
    of_the_suites = promise_kept() if measurements.faults else undisturbed(BudgetConfig().slack_s)
    judgement = judge(measurements, *(checks or of_the_suites))
    for finding in judgement.findings:
        sys.stdout.write(f"\n{finding.check}: {finding.verdict}: {finding.message}\n")
    named = {finding.check: finding for finding in judgement.findings}
    assert named[by].verdict is verdict
    assert says in named[by].message
    assert judgement.verdict is verdict
    note_detection(plant, by=by, verdict=verdict, says=says, message=named[by].message)


def forget_detection(plant: str) -> None:
    """Take the plant's row out of the table of docs/detection.md, until it is earned again."""

    def forget(rows: dict[str, str]) -> None:
        _EARNED[plant] = rows.pop(plant, _EARNED.get(plant, ""))

    pages.change(PAGE, lambda text: _with_rows(text, forget))


def note_detection(plant: str, *, by: str, verdict: str, says: str, message: str) -> None:
    """Put a row into the table of docs/detection.md; an older one of the same finding stays."""
    about = f"| {plant} | {by} | {verdict} | "
    older = _EARNED.get(plant, "")
    same = older.startswith(about) and says in older
    row = f"{about}{shorten(message.replace('|', '/'), _LONGEST_MESSAGE)} |"

    def note(rows: dict[str, str]) -> None:
        rows[plant] = older if same else row

    pages.change(PAGE, lambda text: _with_rows(text, note))


def _with_rows(text: str, change: Callable[[dict[str, str]], None]) -> str:
    """The page with the rows of its table, by plant, as `change` leaves them."""
    head, header, table = text.partition(_HEADER)
    rows = {match["plant"]: match[0] for match in _ROW.finditer(table)}
    change(rows)
    return head + header + "".join(f"{rows[name]}\n" for name in sorted(rows))
