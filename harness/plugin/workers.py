"""`pytest -n`: what pytest-xdist's workers are told, and what becomes of those that die.

xdist replaces a worker that died. The test that it was running is run again, once: one more
death and the lab is to blame. All of this runs in the controller.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.deadline import Deadline
from harness.lacking import Lacking
from harness.plugin.phase_notes import PhaseNotes
from harness.reporting.blame import LABEL, Blame
from harness.reporting.outcomes import RERUN, Outcomes, worker_of

if TYPE_CHECKING:
    from xdist.scheduler import Scheduling
    from xdist.workermanage import WorkerController

RESULTS = "pathproof_results"  # keys of xdist's `workerinput`
BEGAN = "pathproof_began"
LACKING = "pathproof_lacking"
SAID = "pathproof_said"  # key of xdist's `workeroutput`
CLEAN_UP_S = 90.0  # how long interrupted workers may take to remove what they made
# With the other ways to distribute, xdist cannot run a test again, or does so by itself.
_RUN_AGAIN = ("load", "worksteal")


def controls_workers(config: pytest.Config) -> bool:
    """Whether this process hands the tests to workers."""
    return config.getoption("dist", "no") != "no" and bool(config.getoption("tx", None))


def refuse_unfit_distribution(config: pytest.Config) -> None:
    """Raise UsageError for a `--dist` under which the death of a worker would be counted twice."""
    how = config.getoption("dist", "no")
    if controls_workers(config) and how not in _RUN_AGAIN:
        raise pytest.UsageError(
            f"--dist {how}: if a worker died, its tests could not be counted exactly once; "
            f"use {' or '.join(_RUN_AGAIN)}"
        )


class Workers:
    """The workers of a run. `count` of them work at a time; those that died were replaced."""

    def __init__(
        self,
        outcomes: Outcomes,
        *,
        began: float,
        results: Path | None,
        lacking: Sequence[Lacking] = (),
    ) -> None:
        self.count = 0
        self._outcomes = outcomes
        self._began = began
        self._results = results
        self._lacking = lacking
        self._all: list[WorkerController] = []
        self._collected: list[str] = []
        self._died: dict[str, str] = {}
        self._crashed: set[str] = set()

    def configure(self, worker: WorkerController) -> None:
        """Tell a new worker where its results go, when the run began, and what is lacking."""
        self._all.append(worker)
        self.count = worker.workerinput["workercount"]
        worker.workerinput[BEGAN] = self._began
        worker.workerinput[LACKING] = [asdict(one) for one in self._lacking]
        if self._results is not None:
            worker.workerinput.setdefault(RESULTS, str(self._results))

    def collected(self, node_ids: Sequence[str]) -> None:
        """All workers collect the same tests."""
        self._collected = list(node_ids)

    def down(self, worker: WorkerController, error: object | None) -> None:
        """A worker has ended, by `error` if it should not have."""
        if error is not None and error != "keyboard-interrupt":
            name = worker.gateway.id
            self._died[name] = f"worker {name} died while it ran no test: {error}"

    def crashed(self, report: pytest.TestReport, scheduler: Scheduling) -> None:
        """Decide what the death of a worker means for the test that it was running."""
        worker, test = worker_of(report), report.nodeid
        report.location = _location(test)
        known = self._outcomes.of(test)
        if known is not None:
            report.when, report.outcome, report.longrepr = "teardown", "passed", None
            self._died[worker] = f"worker {worker} died after {test} {known.status}; that stands"
        elif test not in self._crashed:
            self._crashed.add(test)
            # Plugins that run a test again report it.
            report.outcome = RERUN  # type: ignore[assignment]  # a fourth, where pytest has three
            self._died[worker] = f"worker {worker} died while running {test}, which is run again"
            scheduler.mark_test_pending(test)
        else:
            self._died[worker] = f"worker {worker} died while running {test} again"
            report.when = "call"
            report.start = report.stop = time.time()
            report.user_properties.append((LABEL, Blame.LAB.value))
            report.longrepr = (
                f"worker {worker} died while running this test, as another worker had before\n"
                "hint: `dmesg` tells whether the kernel killed it for want of memory"
            )

    def never_run(self) -> list[pytest.TestReport]:
        """Reports of the tests that no worker was left to run; ask when all others are over."""
        if not self._died:
            return []
        lost = [test for test in self._collected if self._outcomes.of(test) is None]
        now = time.time()
        return [
            pytest.TestReport(
                nodeid=test,
                location=_location(test),
                keywords={},
                outcome="failed",
                longrepr="not run to its end: too many workers died",
                when="setup",
                user_properties=[(LABEL, Blame.LAB.value)],
                start=now,
                stop=now,
            )
            for test in lost
        ]

    def remarks(self) -> list[str]:
        """How workers died."""
        return list(self._died.values())

    def last_words(self) -> list[PhaseNotes]:
        """What workers said when all their tests were over."""
        outputs = [getattr(worker, "workeroutput", {}) for worker in self._all]
        return [output[SAID] for output in outputs if SAID in output]

    def interrupt(self) -> None:
        """End all workers, and wait until they have removed what they made."""
        begun = [one for one in self._all if hasattr(one, "channel")]
        running = [one for one in begun if not one.channel.isclosed()]
        for worker in running:
            if worker.gateway.spec.popen:
                with suppress(ProcessLookupError):
                    pid = worker.gateway._rinfo().pid  # noqa: SLF001  # execnet has it nowhere else
                    os.kill(pid, signal.SIGTERM)
            else:
                worker.gateway.exit()  # execnet interrupts it over there
        deadline = Deadline.after(CLEAN_UP_S)
        for worker in running:
            with suppress(OSError, EOFError, worker.channel.RemoteError):
                worker.channel.waitclose(deadline.remaining_s)


def _location(node_id: str) -> tuple[str, int | None, str]:
    """The location in pytest's form for headings: the file, no line, the test."""
    file, _, name = node_id.partition("::")
    return file, None, name.replace("::", ".")
