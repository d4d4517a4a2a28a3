"""One stretch of I/O on the map, from the first mark in the kernel logs to the read-back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.concurrency import side_by_side, within
from harness.deadline import Deadline
from harness.errors import (
    CutShort,
    FioHangs,
    HarnessError,
    HypervisorError,
    TimedOut,
    WorkloadError,
)
from harness.faults import Injection, Reconnecting
from harness.measurements import MAP, Measurements, ReadBack, SessionSettings
from harness.observe import Observation, Sample, StealWatch, watching_steal
from harness.steps import Spent, attach, progress, step
from harness.testbed.assemble import Raw, assemble
from harness.testbed.post_mortem import gather
from harness.testbed.watchdog import (
    EVIDENCE_S,
    POWER_OFF_S,
    QUEUEING_S,
    READ_BACK_S,
    SILENCE_S,
    Watchdog,
)
from harness.timeline import Phase
from harness.topology import Role
from harness.workload import FioRun, Job, RunResult, read_back
from harness.workload.run import ENDING_TIMEOUT_S

if TYPE_CHECKING:
    from harness.testbed.testbed import Testbed

_START_TIMEOUT_S = 60.0
_FIRST_BYTES = 64 * 1024  # on every path, before I/O counts as running
_LOOK_INTERVAL_S = 0.25
# As open-iscsi and multipath-tools come: iscsid.conf, and the longest max_polling_interval.
_DEFAULT_LOGIN_TIMEOUT_S = 15
_DEFAULT_POLLING_INTERVAL_S = 20
_ANSWER_S = 4.0  # a target that does not answer by then is taken for dead, once I/O was cut short


class IoSession:
    """I/O in progress: `testbed.io(jobs)` makes it; `measurements` are there when it is over."""

    def __init__(self, testbed: Testbed, jobs: Sequence[Job], within_s: float) -> None:
        self._testbed = testbed
        self.watchdog = Watchdog(
            within_s,
            gather=lambda: gather(testbed, EVIDENCE_S),
            alive=lambda: testbed.observer(Role.INITIATOR).answers(SILENCE_S / 2),
            power_off=testbed.power_off,
        )
        self._jobs = tuple(jobs)
        self._run: FioRun | None = None
        self._steal: StealWatch | None = None
        self._settings: tuple[SessionSettings, ...] = ()
        self._phases: list[Phase] = []
        self._injections: list[Injection] = []
        self._phase_start_ns = 0
        self._path_listings: dict[str, str] = {}
        self.cut_short = ""
        self._errors_forced = False
        self._target_is_dead = False
        self._measurements: Measurements | None = None
        self._before_read_back: Callable[[], object] = lambda: None

    @property
    def measurements(self) -> Measurements:
        """What was measured. Raises WorkloadError while I/O still runs."""
        if self._measurements is None:
            raise WorkloadError("the I/O is not over, or was not measured")
        return self._measurements

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run fio for the length of the block, then collect everything."""
        testbed = self._testbed
        with self.watchdog.watching():
            self._begin()
            fio = FioRun.started(
                testbed.machine(Role.INITIATOR), testbed.initiator.device, self._jobs
            )
            steal = watching_steal(lambda: (testbed.domain(role).pid for role in testbed.roles))
            with fio as run, self._guarded(), steal as self._steal:
                self._run = run
                try:
                    yield
                except CutShort as error:
                    self._note_cut_short(error.message)
                with step("Finish I/O", Spent.MEASURING):
                    self._end_phase("after" if self._injections else "whole")
                    result = self._finish(run)
            if self.cut_short:
                self._look_at_the_target()
            self._before_read_back()
            back = None if self._target_is_dead else self._read_back_in_time(result)
            self._list_paths("after")
            with step("Collect what was measured", Spent.MEASURING):
                self._measurements = self._assemble(result, back)

    def _begin(self) -> None:
        """Note settings and paths as they are, and mark the beginning in both kernel logs."""
        testbed = self._testbed
        with step("Start I/O", Spent.MEASURING):
            self._settings = testbed.session_settings()
            side_by_side(
                *(
                    lambda r=role: testbed.observer(r).begin("pathproof: test begins")
                    for role in testbed.roles
                )
            )
            self._list_paths("before")

    def _finish(self, run: FioRun) -> RunResult:
        """End fio; if its I/O hangs, let that fail, so that the checks see what became of it."""
        run.stop()
        try:
            return run.finish(self.watchdog.left(QUEUEING_S, at_most_s=ENDING_TIMEOUT_S))
        except FioHangs as error:
            self._note_cut_short(error.message)
            self.watchdog.expire()
            self.watchdog.collect_evidence()
            self._testbed.initiator.stop_queueing()
            self._errors_forced = True
            return run.finish(self.watchdog.left(POWER_OFF_S, at_most_s=ENDING_TIMEOUT_S))

    def _note_cut_short(self, why: str) -> None:
        self.cut_short = "; ".join(filter(None, (self.cut_short, why)))

    def wait_until_running(self) -> None:
        """Wait until every path that is active now has carried I/O. Raises CutShort."""
        with step("Wait until I/O runs on every active path", Spent.IO):
            first = self._wait_for(lambda s: bool(s.disks), what="byte counters of the paths")
            active = [
                p.name for p in self._testbed.map.paths if first.paths.get(p.device) == "active"
            ]
            self._wait_for(
                lambda s: all(s.carried(p) - first.carried(p) >= _FIRST_BYTES for p in active),
                what=f"I/O on {', '.join(active)}",
            )
            self._phase_start_ns = time.monotonic_ns()

    def _wait_for(self, condition: Callable[[Sample], bool], *, what: str) -> Sample:
        deadline = Deadline.after(self.watchdog.left(at_most_s=_START_TIMEOUT_S))
        try:
            return self._testbed.observer(Role.INITIATOR).wait_for(
                condition, what=what, deadline=deadline
            )
        except TimedOut as error:
            raise self.watchdog.cut_short(error.message) from None

    def run_for(self, *, seconds: float) -> None:
        """Let I/O run on. Raises CutShort if fio gives up or the block's time is over."""
        run = self._require_run()
        deadline = Deadline.after(seconds)
        with step(f"I/O for {seconds:g} s", Spent.IO):
            while not deadline.expired:
                run.require_running()
                if self.watchdog.expired:
                    raise self.watchdog.cut_short(f"I/O should have run for {seconds:g} s")
                progress("I/O", 1 - deadline.remaining_s / seconds)
                time.sleep(min(_LOOK_INTERVAL_S, deadline.remaining_s))

    def wait_until_over(self) -> None:
        """Let I/O run until every job has ended by itself. Raises CutShort if it takes too long."""
        run = self._require_run()
        with step("I/O until it is over", Spent.IO):
            while run.running:
                if self.watchdog.expired:
                    raise self.watchdog.cut_short("I/O should have been over")
                time.sleep(_LOOK_INTERVAL_S)

    def note_fault(self, injection: Injection) -> None:
        """A fault was injected or healed: a phase ends here."""
        if injection.healed_ns == 0:
            self._injections.append(injection)
            self._end_phase(
                "before" if len(self._injections) == 1 else "between", injection.injected_ns
            )
        else:
            name = injection.fault.name
            all_dead = len(injection.fault.fabrics) == len(self._testbed.topology.fabrics)
            self._end_phase(f"during {name}", injection.healed_ns, io_expected=not all_dead)

    def before_read_back(self, action: Callable[[], object]) -> None:
        """Have something done between the last write and the read-back, such as a power cycle."""
        self._before_read_back = action

    def start_phase(self) -> None:
        """What follows counts as a phase of its own: say so once healing is complete."""
        self._phase_start_ns = time.monotonic_ns()

    def _end_phase(self, name: str, end_ns: int | None = None, *, io_expected: bool = True) -> None:
        end_ns = end_ns or time.monotonic_ns()
        if self._phase_start_ns:
            self._phases.append(Phase(name, self._phase_start_ns, end_ns, io_expected))
        self._phase_start_ns = end_ns

    def _require_run(self) -> FioRun:
        if self._run is None:
            raise WorkloadError("I/O was not started")
        return self._run

    def _list_paths(self, when: str) -> None:
        self._path_listings[when] = self._testbed.initiator.describe_paths()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """If anything breaks, heal and stop queueing first, so that fio can be ended at all."""
        try:
            yield
        except BaseException as error:
            self.watchdog.expire()
            with step("Clear up after a failure", Spent.WAITING):
                if isinstance(error, Exception):  # whoever interrupts does not wait for evidence
                    self.watchdog.collect_evidence()
                self._clear_up()
            raise

    def _clear_up(self) -> None:
        if self.watchdog.powered_off:
            return
        try:
            self._testbed.heal()
            self._testbed.initiator.stop_queueing()
        except (HarnessError, ExceptionGroup) as error:
            attach("clearing up failed", str(error))

    def _read_back_in_time(self, result: RunResult) -> ReadBack | None:
        """What was read back; None, with the reason noted, if the time did not suffice."""
        try:
            if self._errors_forced:
                self._bring_paths_back()
            left_s = self.watchdog.left(READ_BACK_S)
            return within(left_s, lambda: self._read_back(result), what="the read-back")
        except TimedOut as error:
            self.watchdog.expire()
            self.watchdog.collect_evidence()
            self._note_cut_short(f"not all was read back: {error.message}")
            return None

    def _bring_paths_back(self) -> None:
        """Heal what nobody else heals, since queueing has ended: without a path nothing is read.

        Raises TimedOut if not every path comes back.
        """
        everything = len(self._testbed.map.paths)
        with step("Heal, so that every path is back", Spent.WAITING):
            within(self.watchdog.left(READ_BACK_S), self._testbed.heal, what="healing")
            self._testbed.observer(Role.INITIATOR).wait_for(
                lambda sample: sample.count_paths("active") == everything,
                what=f"{everything} active paths",
                deadline=Deadline.after(self.watchdog.left(READ_BACK_S)),
            )

    def _read_back(self, result: RunResult) -> ReadBack | None:
        ledger = result.ledger()
        if ledger is None:
            return None
        testbed = self._testbed
        places = {MAP: testbed.initiator.device}
        places |= {path.name: f"/dev/{path.name}" for path in testbed.map.paths}
        with step("Read back everything acknowledged", Spent.IO):
            return read_back(
                testbed.machine(Role.INITIATOR),
                places,
                testbed.config.workload.block_size,
                ledger,
            )

    def _look_at_the_target(self) -> None:
        """A target that dies breaks the storage's promise: I/O is judged without its log.

        Raises HypervisorError if it is the hypervisor that does not run it: that is the lab.
        """
        if Role.TARGET not in self._testbed.roles:
            return
        if self._testbed.observer(Role.TARGET).answers(_ANSWER_S):
            return
        self._testbed.machine(Role.TARGET).close()  # else each command would wait for an answer
        if why := self._testbed.domain(Role.TARGET).standstill:
            raise HypervisorError(f"the target does not answer: {why}")
        self._note_cut_short("the target does not answer, and what it saw is not known")
        self._target_is_dead = True

    def _observations(self) -> dict[Role, Observation]:
        """What was seen of each machine that answers."""
        roles = [Role.INITIATOR] if self._target_is_dead else self._testbed.roles
        observers = [self._testbed.observer(role) for role in roles]
        seen = side_by_side(*(observer.collect for observer in observers))
        return dict(zip(roles, seen, strict=True))

    def _assemble(self, result: RunResult, back: ReadBack | None) -> Measurements:
        testbed = self._testbed
        seen = self._observations()
        profile = testbed.config.profile
        budget = testbed.config.budget
        reconnecting = Reconnecting(
            profile.login_timeout_s or _DEFAULT_LOGIN_TIMEOUT_S,
            profile.polling_interval_s or _DEFAULT_POLLING_INTERVAL_S,
            f"profile {testbed.config.initiator.profile}, else the distribution's",
        )
        records = tuple(
            i.record(self._settings, budget.slack_s, reconnecting) for i in self._injections
        )
        raw = Raw(
            result=result,
            observations=seen,
            paths=testbed.map.paths,
            phases=tuple(self._phases),
            settings=self._settings,
            planned=testbed.planned_sessions(),
            faults=records,
            read_back=back,
            path_listings=self._path_listings,
            processors=self._steal.seen if self._steal else None,
            cut_short=self.cut_short,
            max_stall_s=budget.max_stall_s,
        )
        return assemble(raw)
