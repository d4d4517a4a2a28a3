"""One stretch of I/O on the maps, from the first mark in the kernel logs to the read-back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import inf, isfinite

from harness.concurrency import side_by_side, within
from harness.deadline import Deadline
from harness.errors import (
    CutShort,
    FioHangs,
    MachineError,
    TimedOut,
    WorkloadError,
)
from harness.faults import Injection
from harness.measurements import Measurements
from harness.observe import Observation, Observer, Sample
from harness.steps import Spent, progress, step
from harness.testbed.assemble import assemble
from harness.testbed.clear_up import clear_up
from harness.testbed.fio_runs import FioRuns
from harness.testbed.hang_evidence import gather
from harness.testbed.lun_io import LunIo, joined
from harness.testbed.phases import Phases
from harness.testbed.protocols import MeasuredTestbed
from harness.testbed.raw import raw_of
from harness.testbed.read_back import bring_paths_back, read_everything_back
from harness.testbed.sweeps import Sweeps
from harness.testbed.watchdog import EVIDENCE_S, QUEUEING_S, SILENCE_S, Watchdog
from harness.testbed.witness import SETTINGS_S, Witness
from harness.topology import called
from harness.workload import FioRun, Job, RunResult
from harness.workload.run import ENDING_TIMEOUT_S

_START_TIMEOUT_S = 60.0
# On one busy emulated processor the I/O of 4 LUNs took 5 to 10 s to end, that of 16 LUNs 43 s, and
# 23 s to be read back.
_MORE_FOR_EACH_LUN = 0.25
_LOOK_INTERVAL_S = 0.25


class IoSession:
    """I/O in progress: `testbed.io(jobs)` makes it; `measurements` are there when it is over."""

    def __init__(self, testbed: MeasuredTestbed, jobs: Sequence[Job], within_s: float) -> None:
        self._testbed = testbed
        layout, shares = testbed.layout, len(testbed.maps)
        paced = tuple(job.shared_by(shares) for job in jobs)
        every = [
            LunIo(one, tuple(job.marked() for job in layout.jobs_on(one.planned, paced)))
            for one in testbed.maps
        ]
        # Of writes alone nothing is left for an initiator that only reads.
        self._luns = {one.map.planned.name: one for one in every if one.jobs or not jobs}
        self._initiators = tuple(dict.fromkeys(one.machine for one in self._luns.values()))
        self._stretch = 1 + (len(self._luns) - 1) * _MORE_FOR_EACH_LUN
        self.watchdog = Watchdog(
            within_s,
            gather=lambda: gather(testbed, EVIDENCE_S),
            silent=self._silent,
            power_off=testbed.power_off,
            stretch=self._stretch,
        )
        self._runs: FioRuns | None = None
        self._sweeps = Sweeps({}, {}, {})
        self._witness = Witness(testbed)
        self._phases = Phases()
        self._cut_short = ""
        self._measurements: dict[str, Measurements] = {}
        self._before_read_back: Callable[[], object] = lambda: None

    def _silent(self) -> str:
        """Which initiator does not answer, "" if all do."""
        silent = (o for o in self._initiators if not self._testbed.answers(o, SILENCE_S))
        return next(map(called, silent), "")

    @property
    def measurements(self) -> Measurements:
        """What was measured on the one LUN. Raises WorkloadError while I/O still runs.

        And where there are several: none of them speaks for the others.
        """
        if len(self._luns) > 1:
            raise WorkloadError(
                f"there are {len(self._luns)} LUNs, each with measurements of its own",
                hint="`measurements_by_lun` has them all, and `judge` takes it",
            )
        (only,) = self.measurements_by_lun.values()
        return only

    @property
    def measurements_by_lun(self) -> Mapping[str, Measurements]:
        """What was measured, by the LUNs' names. Raises WorkloadError while I/O still runs."""
        if not self._measurements:
            raise WorkloadError("the I/O is not over, or was not measured")
        return self._measurements

    @property
    def cut_short(self) -> str:
        """Why I/O ended before its time, on all LUNs or on one; empty if it did not."""
        several = len(self._luns) > 1
        told = (
            f"{name}: {one.cut_short}" if several else one.cut_short
            for name, one in self._luns.items()
            if one.cut_short
        )
        return joined(self._cut_short, *told)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run fio for the length of the block, then collect everything."""
        testbed, witness = self._testbed, self._witness
        with (
            self.watchdog.watching(),
            Sweeps.started(testbed.machine, self._luns) as self._sweeps,
        ):
            witness.begin()
            within_s = _START_TIMEOUT_S * self._stretch
            self._sweeps.wait_until_ready(self.watchdog.left(at_most_s=within_s))
            fio = FioRuns.started(
                {n: one.load(testbed.machine(one.machine)) for n, one in self._luns.items()},
                testbed.config.initiator.fio,
            )
            with fio as runs, self._guarded(), witness.watching_host():
                self._runs = runs
                self._phases.start(time.monotonic_ns())
                with self._cut_short_noted():
                    yield
                with step("Finish I/O", Spent.MEASURING):
                    self._phases.end(time.monotonic_ns())
                    results = self._finish(runs)
                    self._sweeps.finish()
            with self._guarded():
                if self.cut_short:
                    self._note_cut_short(witness.look_at_the_target())
                with self._cut_short_noted():
                    self._before_read_back()
                if not witness.target_is_dead:
                    self._read_back_in_time(results)
            witness.list_paths("after", self.watchdog.left_to_measure())
            with step("Collect what was measured", Spent.MEASURING):
                if not self._cut_short:  # the block, or by a target that died; not one of the LUNs
                    witness.look_again(min(SETTINGS_S, self.watchdog.left_to_measure()))
                seen = witness.observations()
                self._measurements = {
                    name: self._assemble(one, results[name], seen)
                    for name, one in self._luns.items()
                }

    @contextmanager
    def _cut_short_noted(self) -> Iterator[None]:
        try:
            yield
        except CutShort as error:
            self._note_cut_short(error.message)

    def _note_cut_short(self, why: str) -> None:
        self._cut_short = joined(self._cut_short, why)

    def _finish(self, runs: FioRuns) -> dict[str, RunResult]:
        """End fio; if its I/O hangs, let that fail, so that the checks see what became of it."""
        if len(self._luns) > 1:  # else it is why the block ended
            for name, why in runs.ended_early.items():
                self._luns[name].note_cut_short(why)
        runs.stop()
        results = side_by_side(
            *(lambda n=name: self._finish_one(self._luns[n], runs.runs[n]) for name in self._luns)
        )
        return dict(zip(self._luns, results, strict=True))

    def _finish_one(self, of: LunIo, run: FioRun) -> RunResult:
        try:
            at_most_s = ENDING_TIMEOUT_S * self._stretch
            result = run.finish(self.watchdog.left(QUEUEING_S, at_most_s=at_most_s))
        except FioHangs as error:
            of.note_cut_short(error.message)
            self.watchdog.expire()
            self.watchdog.collect_evidence()
            of.map.attachment.stop_queueing()
            of.errors_forced = True
            result = self._finish_by_force(run)
        of.note_cut_short(result.broken)
        return result

    def _finish_by_force(self, run: FioRun) -> RunResult:
        try:
            return run.finish(self.watchdog.left_to_read())
        except FioHangs as error:
            return run.nothing_left(error.message)

    def wait_until_running(self) -> None:
        """Wait until each LUN's paths that are active and in use carry I/O. Raises CutShort."""
        with step("Wait until I/O runs on every active path", Spent.IO):
            for initiator in self._initiators:  # one after another: what has begun goes on
                self._wait_until_running_on(initiator)
            self.start_phase()

    def _wait_until_running_on(self, initiator: str) -> None:
        luns = [one for one in self._luns.values() if one.machine == initiator]
        first = self._wait_for(
            initiator,
            lambda s: bool(s.disks) and all(one.active(s) for one in luns),
            what="byte counters of the paths",
        )
        self._sweeps.look_over_paths(initiator, first)
        active = [(one, path) for one in luns for path in one.active(first)]
        self._wait_for(
            initiator,
            lambda s: all(
                path.device in (one.seen(s).reserve or ())
                or self._sweeps.load_began(one.name, path.disk, first, s)
                for one, path in active
            ),
            what=f"I/O on {', '.join(str(path) for _, path in active)}",
        )

    def _wait_for(
        self, initiator: str, condition: Callable[[Sample], bool], *, what: str
    ) -> Sample:
        at_most_s = _START_TIMEOUT_S * self._stretch
        deadline = Deadline.after(self.watchdog.left(at_most_s=at_most_s))
        observer = self._testbed.observer(initiator)
        with self.cutting_short(observer):
            return observer.wait_for(condition, what=what, deadline=deadline)

    @contextmanager
    def cutting_short(self, observer: Observer) -> Iterator[None]:
        """Let I/O end, and be judged as it is, if what a block waits for does not come.

        Raises CutShort instead of TimedOut, and if the observer of an initiator has ended.
        """
        try:
            yield
        except TimedOut as error:
            raise self.watchdog.cut_short(error.message) from None
        except MachineError as error:
            if observer.ended:
                raise self.watchdog.cut_short(error.message) from None
            raise

    def run_for(self, *, seconds: float, exactly: bool = False) -> None:
        """Let I/O run on: for so long with one LUN, and for longer if several share the pace.

        Else there would be fewer I/Os of each to judge by; `exactly` so long all the same if it
        has to be. Raises CutShort if fio gives up or the block's time is over.
        """
        runs = self._require_runs()
        seconds *= 1.0 if exactly else self._stretch
        deadline = Deadline.after(seconds)
        with step(f"I/O for {seconds:g} s", Spent.IO):
            while not deadline.expired:
                runs.require_running()
                if self.watchdog.expired:
                    raise self.watchdog.cut_short(f"I/O should have run for {seconds:g} s")
                progress("I/O", 1 - deadline.remaining_s / seconds)
                time.sleep(min(_LOOK_INTERVAL_S, deadline.remaining_s))

    def wait_until_over(self) -> None:
        """Let I/O run until every job has ended by itself. Raises CutShort if it takes too long."""
        runs = self._require_runs()
        for one in self._initiators:
            sample = self._wait_for(one, lambda s: bool(s.disks), what="a sample of the paths")
            self._sweeps.look_over_paths(one, sample)
        with step("I/O until it is over", Spent.IO):
            while runs.running:
                if self.watchdog.expired:
                    raise self.watchdog.cut_short("I/O should have been over")
                time.sleep(_LOOK_INTERVAL_S)

    @property
    def patience_s(self) -> float:
        """Twice what paths may take to go or to return, by those settings that are a limit."""
        seen = self._witness.seen.values()
        going = [session.gives_up_s for one in seen for session in one.settings]
        returning = [
            sum(term.seconds for term in injection.fault.recovery_terms(one.allowances))
            for injection in self._phases.injections
            for one in seen
        ]
        return 2 * max(filter(isfinite, (*going, *returning)), default=0.0)

    @property
    def bears_s(self) -> float:
        """How long every session may hear nothing and is not given up, as when I/O began."""
        return min(
            (
                one.allowances.bears_s(session)
                for one in self._witness.seen.values()
                for session in one.settings
            ),
            default=inf,
        )

    def note_fault(self, injection: Injection) -> None:
        """A fault was injected or healed: a phase ends here."""
        self._phases.note(injection)

    def start_phase(self) -> None:
        """What follows counts as a phase of its own: say so once healing is complete.

        Paths that are back may have other disks.
        """
        self._sweeps.follow(self._testbed.observer)
        self._phases.start(time.monotonic_ns())

    def before_read_back(self, action: Callable[[], object]) -> None:
        """Have something done between the last write and the read-back, such as a power cycle."""
        self._before_read_back = action

    def _require_runs(self) -> FioRuns:
        if self._runs is None:
            raise WorkloadError("I/O was not started")
        return self._runs

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """If anything breaks, heal and stop queueing first, so that fio can be ended at all."""
        try:
            yield
        except BaseException as error:
            self.watchdog.expire()
            with step("Clear up after a failure", Spent.WAITING):
                try:
                    if isinstance(error, Exception):  # an interrupt does not wait for evidence
                        self.watchdog.collect_evidence()
                finally:
                    if not self.watchdog.powered_off:
                        clear_up(self._testbed)
            raise

    def _read_back_in_time(self, results: Mapping[str, RunResult]) -> None:
        """What was read back of each LUN; the reason is noted if the time did not suffice."""
        try:
            if any(one.errors_forced for one in self._luns.values()):
                bring_paths_back(self._testbed, self.watchdog.left_to_read())
        except TimedOut as error:
            for one in self._luns.values():
                self._not_all_read(one, error)
            return
        with step("Read back everything acknowledged", Spent.IO):
            side_by_side(
                *(
                    lambda one=of, result=results[name]: self._read_back_one(one, result)
                    for name, of in self._luns.items()
                )
            )

    def _read_back_one(self, of: LunIo, result: RunResult) -> None:
        machine = self._testbed.machine(of.machine)
        again_after_s = self._testbed.config.workload.second_look_s
        try:
            of.reading = within(
                self.watchdog.left_to_read(),
                lambda: read_everything_back(machine, of.map, result, again_after_s),
                what="the read-back",
            )
        except TimedOut as error:
            self._not_all_read(of, error)
        except WorkloadError as error:
            of.note_cut_short(f"nothing was read back: {error.message}")

    def _not_all_read(self, of: LunIo, error: TimedOut) -> None:
        self.watchdog.expire()
        self.watchdog.collect_evidence()
        of.note_cut_short(f"not all was read back: {error.message}")

    def _assemble(
        self, of: LunIo, result: RunResult, seen: Mapping[str, Observation]
    ) -> Measurements:
        raw = raw_of(self._testbed, self._witness, self._phases, of, result, seen)
        return assemble(replace(raw, cut_short=joined(self._cut_short, raw.cut_short)))
