"""The fixtures of the suites."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Protocol

import pytest

from harness.analysis.throughput import Rates, Spread
from harness.checks import Check, Judgement, judge_each, together
from harness.config import Config
from harness.faults import CATALOGUE, Fault
from harness.measurements import Measurements
from harness.plugin.requires import skip_unless_capable
from harness.plugin.run import KEY
from harness.plugin.skips import noting_skip
from harness.provision.supply import Scope, Testbeds
from harness.reporting.evidence import attach_evidence
from harness.reporting.stall_line import stall_line
from harness.reporting.throughput_plot import render_throughput
from harness.reporting.verdict_document import Judged
from harness.steps import Spent, attach, step
from harness.testbed import Testbed
from harness.testbed.means import lacking, possible
from harness.topology import plan
from harness.units import MIB


class Judge(Protocol):
    """`harness.checks.judge` for one LUN, or for each of those in `io.measurements_by_lun`.

    All evidence goes into the report before anything is required.
    A test does not pass over a judgement that does not; one that wants a check to fail asks
    `harness.checks.judge` itself.
    """

    def __call__(
        self, measurements: Measurements | Mapping[str, Measurements], *checks: Check
    ) -> Judgement: ...


class PublishThroughput(Protocol):
    """Takes a title and, by phase, rates in bytes a second."""

    def __call__(self, title: str, figures: Mapping[str, Rates]) -> None: ...


@pytest.fixture(scope="session")
def testbeds(pytestconfig: pytest.Config) -> Iterator[Testbeds]:
    """The run's supply of testbeds."""
    run = pytestconfig.stash[KEY]
    with Testbeds(run.config) as supply:
        yield supply


@pytest.fixture
def testbed(testbeds: Testbeds, request: pytest.FixtureRequest) -> Iterator[Testbed]:
    """A testbed with every path active and nothing broken."""
    run = request.config.stash[KEY]
    test = request.node.nodeid
    with noting_skip(run, "fault", test):
        skip_without_means(request)
    scope = Scope(request.config.getoption("testbed_scope"))
    owners = {Scope.TEST: None, Scope.MODULE: request.node.path, Scope.SESSION: request.session}
    if run.attempts.number > 1:
        testbeds.renew()
    with ExitStack() as stack:
        try:
            ready = stack.enter_context(testbeds.lent(owners[scope]))
        finally:  # what was lacking may be why none could be made
            run.note_lacking(*testbeds.lacking, test=test)
        run.note_lacking(*ready.lacking, test=test)
        run.note_environment(ready.environment)
        with noting_skip(run, "capability", test):
            skip_unless_capable(request.node, ready)
        yield ready
        lending = stack.pop_all()

    def give_back() -> None:
        with lending:
            wanted = (run.at_last_test and request.config.getoption("keep")) or (
                run.failed and request.config.getoption("keep_on_failure")
            )
            if wanted and not run.attempts.unknown and (name := testbeds.keep()):
                run.remarks.append(f"kept: {name}; `pathproof ssh {name} initiator` looks inside")

    if run.attempts.unknown:
        run.attempts.give_back = give_back
    else:
        give_back()


def skip_without_means(request: pytest.FixtureRequest) -> None:
    """Skip a test whose parameter is a fault, or a kind of fault, that its lab cannot have."""
    callspec = getattr(request.node, "callspec", None)
    for value in callspec.params.values() if callspec else ():
        if why := _impossible(value, request.config.stash[KEY].config):
            pytest.skip(why)


def _impossible(value: object, config: Config) -> str:
    """Why a testbed of that configuration cannot have that fault, or one of that class.

    Empty if it can, and if the value is neither.
    """
    if isinstance(value, Fault):
        name, faults = type(value).__name__, [value]
    else:
        kind = next((kind for kind in CATALOGUE if kind.fault is value), None)
        if kind is None:
            return ""
        name, faults = kind.name, [*kind.everywhere(plan(config), possible(config))]
        if not faults:
            return f"{name} is not possible here: no {kind.named_after} of the testbed can have it"
    reasons = [lacking(config, fault.needs) for fault in faults]
    return f"{name} is not possible here: {reasons[0]}" if all(reasons) else ""


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> Judge:
    """Runs checks over the measurements of this test."""
    run = request.config.stash[KEY]

    def judged(
        measurements: Measurements | Mapping[str, Measurements], *checks: Check
    ) -> Judgement:
        luns = (
            {measurements.lun: measurements}
            if isinstance(measurements, Measurements)
            else measurements
        )
        with step("Judge", Spent.JUDGING):
            judgements = judge_each(luns, *checks)
            for lun, judgement in judgements.items():
                run.judged.append(Judged(luns[lun], judgement))
                for finding in judgement.findings:
                    with step(str(finding)):
                        pass
                    if "stall_s" in finding.numbers:
                        parts = (request.node.name, finding.about, run.attempts.suffix)
                        name = " ".join(filter(None, parts))
                        run.stalls.append(stall_line(name, luns[lun], finding.numbers))
        for lun, judgement in judgements.items():
            which = f" of {lun}" if len(luns) > 1 else ""
            with step(f"Evidence{which}", Spent.REPORTING):
                _attach(luns[lun], judgement)
        return together(judgements.values())

    return judged


def _attach(measurements: Measurements, judgement: Judgement) -> None:
    attach_evidence(measurements, judgement.findings)
    for name, text in measurements.notes.items():
        kind = "application/json" if name == "fio report" else "text/plain"
        attach(name, text, kind)


@pytest.fixture
def publish_throughput(request: pytest.FixtureRequest) -> PublishThroughput:
    """Puts throughput figures, each with its spread, into the report and on the terminal."""
    run = request.config.stash[KEY]

    def publish(title: str, figures: Mapping[str, Rates]) -> None:
        with step("Throughput", Spent.REPORTING):
            attach("throughput", render_throughput(_in_mib(figures), title=title), "image/svg+xml")
            lines = [f"{name}: {Spread.of(rates)}" for name, rates in figures.items()]
            attach("throughput figures", "\n".join(lines))
            for line in lines:
                with step(line):
                    pass
                name = " ".join(filter(None, (request.node.name, run.attempts.suffix)))
                run.remarks.append(f"{name}: {line}")

    return publish


def _in_mib(figures: Mapping[str, Rates]) -> dict[str, list[float]]:
    return {name: (rates / MIB).tolist() for name, rates in figures.items()}


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of this test's random I/O: another for each test, the same in every run."""
    return zlib.crc32(request.node.nodeid.encode()) & 0x7FFFFFFF
