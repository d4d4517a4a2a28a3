"""One stretch of I/O on the map, from the first mark in the kernel logs to the read-back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.concurrency import side_by_side
from harness.deadline import Deadline
from harness.errors import CutShort, FioHangs, HarnessError, WorkloadError
from harness.faults import Injection, Reconnecting
from harness.measurements import MAP, Measurements, ReadBack, SessionSettings
from harness.observe import StealWatch, watching_steal
from harness.steps import Spent, attach, progress, step
from harness.testbed.assemble import Raw, assemble
from harness.timeline import Phase
from harness.topology import Role
from harness.workload import FioRun, Job, RunResult, read_back

if TYPE_CHECKING:
    from harness.testbed.testbed import Testbed

_START_TIMEOUT_S = 60.0
_FIRST_BYTES = 64 * 1024  # on every path, before I/O counts as running
_LOOK_INTERVAL_S = 0.25
# As open-iscsi and multipath-tools come: iscsid.conf, and the longest max_polling_interval.
_DEFAULT_LOGIN_TIMEOUT_S = 15
_DEFAULT_POLLING_INTERVAL_S = 20


class IoSession:
    """I/O in progress: `testbed.io(jobs)` makes it; `measurements` are there when it is over."""

    def __init__(self, testbed: Testbed, jobs: Sequence[Job]) -> None:
        self._testbed = testbed
        self._jobs = tuple(jobs)
        self._run: FioRun | None = None
        self._steal: StealWatch | None = None
        self._settings: tuple[SessionSettings, ...] = ()
        self._phases: list[Phase] = []
        self._injections: list[Injection] = []
        self._phase_start_ns = 0
        self._path_listings: dict[str, str] = {}
        self.cut_short = ""
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
        with step("Start I/O", Spent.MEASURING):
            self._settings = testbed.session_settings()
            side_by_side(
                *(
                    lambda r=role: testbed.observer(r).begin("pathproof: test begins")
                    for role in Role
                )
            )
            self._list_paths("before")
        fio = FioRun.started(testbed.machine(Role.INITIATOR), testbed.initiator.device, self._jobs)
        steal = watching_steal(lambda: (testbed.domain(role).pid for role in Role))
        with fio as run, self._guarded(), steal as self._steal:
            self._run = run
            try:
                yield
            except CutShort as error:
                self.cut_short = error.message
            with step("Finish I/O", Spent.MEASURING):
                self._end_phase("after" if self._injections else "whole")
                result = self._finish(run)
        self._before_read_back()
        back = self._read_back(result)
        self._list_paths("after")
        with step("Collect what was measured", Spent.MEASURING):
            self._measurements = self._assemble(result, back)

    def _finish(self, run: FioRun) -> RunResult:
        """End fio; if its I/O hangs, let that fail, so that the checks see what became of it."""
        run.stop()
        try:
            return run.finish()
        except FioHangs as error:
            self.cut_short = error.message
            self._testbed.initiator.stop_queueing()
            return run.finish()

    def wait_until_running(self) -> None:
        """Wait until every path that is active now has carried I/O."""
        observer = self._testbed.observer(Role.INITIATOR)
        with step("Wait until I/O runs on every active path", Spent.IO):
            first = observer.wait_for(
                lambda s: bool(s.disks),
                what="byte counters of the paths",
                deadline=Deadline.after(_START_TIMEOUT_S),
            )
            active = [
                p.name for p in self._testbed.map.paths if first.paths.get(p.device) == "active"
            ]
            observer.wait_for(
                lambda s: all(s.carried(p) - first.carried(p) >= _FIRST_BYTES for p in active),
                what=f"I/O on {', '.join(active)}",
                deadline=Deadline.after(_START_TIMEOUT_S),
            )
            self._phase_start_ns = time.monotonic_ns()

    def run_for(self, *, seconds: float) -> None:
        """Let I/O run on. If fio gives up, the whole block ends and is judged as it is."""
        run = self._require_run()
        deadline = Deadline.after(seconds)
        with step(f"I/O for {seconds:g} s", Spent.IO):
            while not deadline.expired:
                run.require_running()
                progress("I/O", 1 - deadline.remaining_s / seconds)
                time.sleep(min(_LOOK_INTERVAL_S, deadline.remaining_s))

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
        except BaseException:
            with step("Clear up after a failure", Spent.WAITING):
                self._leave_evidence()
            raise

    def _leave_evidence(self) -> None:
        testbed = self._testbed
        try:
            testbed.heal()
            testbed.initiator.stop_queueing()
            for role in Role:
                log = testbed.observer(role).collect().kernel_log
                attach(f"{role} kernel log", "\n".join(m.text for m in log.messages))
        except (HarnessError, ExceptionGroup) as error:
            attach("clearing up failed", str(error))

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

    def _assemble(self, result: RunResult, back: ReadBack | None) -> Measurements:
        testbed = self._testbed
        seen = side_by_side(*(lambda r=role: testbed.observer(r).collect() for role in Role))
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
            observations=dict(zip(Role, seen, strict=True)),
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
