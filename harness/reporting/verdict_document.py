"""verdict.json: what was judged in one test, for machines to read.

The models are the format; docs/verdict.schema.json is made from them and docs/verdict.md explains
it. Whatever is taken away or changes its meaning makes another version; additions do not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from harness import __version__
from harness.analysis.breakdown import Part as BreakdownPart
from harness.analysis.breakdown import breakdown
from harness.analysis.fault_waits import longest_during, stall_during
from harness.analysis.stall import LongIo, Stall, Wait, stall_resolution_ns, waits_of
from harness.analysis.write_proof import prove_writes
from harness.checks import Finding, Judgement, Verdict
from harness.checks.judgement import worst
from harness.lacking import Lacking
from harness.measurements import ClockReading, FaultRecord, Measurements
from harness.reporting.blame import Blame
from harness.reporting.verdict_attempts import EarlierPart, earlier_parts
from harness.reporting.verdict_part import Part
from harness.reporting.verdict_read_back import ReadBackPart, read_back_part
from harness.reporting.verdict_without import WithoutPart, without_parts
from harness.reporting.verdict_writes import WritesPart, writes_part
from harness.timeline import Happened, Phase
from harness.units import NS_PER_S

FILE_NAME = "verdict.json"
_SAID = {None: Verdict.PASS, Blame.STORAGE: Verdict.FAIL}


@dataclass(frozen=True, eq=False)
class Judged:
    """One stretch of I/O on one LUN and what was found; most tests have one for each LUN."""

    measurements: Measurements
    judgement: Judgement


class CheckPart(Part):
    """What one check found."""

    name: str
    verdict: Verdict
    message: str
    """One sentence; of a check that crashed, how."""
    figures: dict[str, str]
    """As the report shows them, with their units."""
    numbers: dict[str, float]
    """For calculations; the unit is in the name, as in `stall_s`."""


class TermPart(Part):
    """One summand of a budget."""

    name: str
    seconds: float | None
    """Null if the setting is off, so that nothing limits that time."""
    source: str
    """Where the value was read."""


class LayerPart(Part):
    """One stretch of a stall or of a recovery, and which layer took it."""

    layer: str
    """Several, if it was not seen when the first of them was done."""
    begins: Happened
    ends: Happened
    start_s: float
    end_s: float
    seconds: float
    uncertainty_s: float
    """Of `seconds`, at most."""
    allowed_s: float | None
    """By the terms that `source` names, which several parts may share; null if by none,
    or if one of them has no limit."""
    source: str


class FaultPart(Part):
    """One fault: what it was, and when. A time is null if it did not come to that."""

    name: str
    paths: tuple[str, ...]
    description: str
    limping: tuple[str, ...]
    """Those of the paths that may have carried I/O all the same."""
    effects: tuple[str, ...]
    """What this initiator notices of it, such as `silent`; none if it hits no path of its own."""
    injected_s: float
    confirmed_s: float | None
    healed_s: float | None
    healing_confirmed_s: float | None
    io_stops: bool
    """No path was left, so that the stall lasts until healing."""
    budget_s: float | None
    """The longest stall that the effective settings allow: the sum of the terms; null if a term
    has no limit."""
    budget: tuple[TermPart, ...]
    stall_s: float | None
    """The longest stall that the fault may excuse; null if nothing was completed since."""
    longest_io_s: float | None
    """The same for a single I/O, from its submission to its completion."""
    parts: tuple[LayerPart, ...]
    """Of that stall, each by its own ends: their sum is the stall as far as the clocks agree."""
    recovery: tuple[LayerPart, ...]
    """How the first path came back."""
    missing: tuple[str, ...]
    """What ends a part and was not seen, or not in order."""
    means_samples: int
    """How many samples of its own means, taken while it lasted, saw something."""


class PhasePart(Part):
    """A stretch of the test between two faults, or while one lasted."""

    name: str
    start_s: float
    end_s: float
    io_expected: bool
    """False where every path was meant to be dead, or the phase is not settled."""
    settled: bool
    """False while I/O only got under way, or paths came back: then nothing is compared with it."""


class StallPart(Part):
    """The longest stall, or the longest I/O, of one stream from its first I/O on."""

    stream: str
    start_s: float
    end_s: float
    seconds: float


class ClockPart(Part):
    """One reading of a machine's monotonic clock against that of the host."""

    machine: str
    at_s: float
    ahead_s: float
    """By how much the machine's clock was ahead."""
    uncertainty_s: float


class JudgementPart(Part):
    """One stretch of I/O on one LUN, as it was judged. All times count from one zero, `began`."""

    lun: str
    """The LUN's name, `lun0` where there is but one."""
    initiator: str = "initiator"
    """The name of the machine that the I/O ran on."""
    verdict: Verdict
    checks: tuple[CheckPart, ...]
    cut_short: str
    """Why the I/O ended before its time; empty if it did not."""
    max_stall_s: float | None
    """The longest stall accepted, whatever the budgets; null if none was demanded."""
    resolution_s: float | None
    """How finely stalls are seen; null if the probe measured too little to tell."""
    phases: tuple[PhasePart, ...]
    faults: tuple[FaultPart, ...]
    stalls: tuple[StallPart, ...]
    longest_ios: tuple[StallPart, ...]
    """From submission to completion, of each stream."""
    clocks: tuple[ClockPart, ...]
    read_back: ReadBackPart | None
    """Null if nothing was read back."""
    writes: WritesPart | None = None
    """Null if nothing is known of single writes."""


class VerdictDocument(Part):
    """What was judged in one test."""

    version: Literal[3] = Field(alias="schema")
    """The version of this format."""
    harness: str
    """The version of Pathproof."""
    test: str
    """pytest's node id."""
    attempt: int = 1
    """Which attempt at the test this is: a test whose verdict is unknown is measured again."""
    earlier: tuple[EarlierPart, ...] = ()
    """The attempts before this one, which do not count."""
    verdict: Verdict
    """The worst that any check or the test itself said."""
    began: AwareDatetime | None
    """The wall clock of the host at zero; null if nothing was measured."""
    environment: dict[str, str]
    """What the test ran on, as on the front page of the report."""
    without: tuple[WithoutPart, ...] = ()
    """What the run had to do without until the test ended, as far as its worker knows; empty if
    nothing was lacking."""
    judgements: tuple[JudgementPart, ...]
    """In the order in which they were made; most tests have one for each LUN."""

    @property
    def text(self) -> str:
        """The content of the file."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


def verdict_document(
    test: str,
    judged: Sequence[Judged],
    *,
    environment: Mapping[str, str],
    wall_ahead_ns: int,
    blamed: Blame | None = None,
    without: Sequence[Lacking] = (),
    earlier: Sequence[Sequence[str]] = (),
) -> VerdictDocument:
    """The document of one test.

    `wall_ahead_ns` is the host's wall clock minus its monotonic one, `blamed` what the end of
    the test says, None for a pass. `earlier` has what was unknown in each attempt before.
    """
    zero_ns = min((at for one in judged for at in _known_times(one.measurements)), default=None)
    began = None if zero_ns is None else _wall_clock(zero_ns + wall_ahead_ns)
    said = _SAID.get(blamed, Verdict.UNKNOWN)
    parts = tuple(_judgement(one, zero_ns or 0) for one in judged)
    return VerdictDocument(
        schema=3,
        harness=__version__,
        test=test,
        attempt=len(earlier) + 1,
        earlier=earlier_parts(earlier),
        verdict=worst([said, worst(part.verdict for part in parts)]),
        began=began,
        environment=dict(environment),
        without=without_parts(without),
        judgements=parts,
    )


def schema_text() -> str:
    """The JSON schema of the document, as docs/verdict.schema.json has it."""
    schema = VerdictDocument.model_json_schema(mode="serialization")
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _known_times(measurements: Measurements) -> list[int]:
    """The earliest is when clocks were read before the I/O was started."""
    return [
        *(clock.at_ns for clock in measurements.clocks),
        *(phase.start_ns for phase in measurements.phases),
    ]


def _wall_clock(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns / NS_PER_S, UTC)


def _judgement(judged: Judged, zero_ns: int) -> JudgementPart:
    measurements = judged.measurements
    resolution_ns = stall_resolution_ns(measurements)
    return JudgementPart(
        lun=measurements.lun,
        initiator=measurements.initiator,
        verdict=judged.judgement.verdict,
        checks=tuple(_check(finding) for finding in judged.judgement.findings),
        cut_short=measurements.cut_short,
        max_stall_s=measurements.max_stall_s,
        resolution_s=None if resolution_ns is None else resolution_ns / NS_PER_S,
        phases=tuple(_phase(phase, zero_ns) for phase in measurements.phases),
        faults=tuple(_fault(measurements, fault, zero_ns) for fault in measurements.faults),
        stalls=_longest(measurements, Stall, zero_ns),
        longest_ios=_longest(measurements, LongIo, zero_ns),
        clocks=tuple(_clock(clock, zero_ns) for clock in measurements.clocks),
        read_back=read_back_part(measurements.read_back),
        writes=writes_part(prove_writes(measurements)),
    )


def _check(finding: Finding) -> CheckPart:
    return CheckPart(
        name=finding.check,
        verdict=finding.verdict,
        message=finding.message,
        figures=dict(finding.figures),
        numbers=dict(finding.numbers),
    )


def _phase(phase: Phase, zero_ns: int) -> PhasePart:
    return PhasePart(
        name=phase.name,
        start_s=_seconds(phase.start_ns, zero_ns),
        end_s=_seconds(phase.end_ns, zero_ns),
        io_expected=phase.io_expected,
        settled=phase.settled,
    )


def _fault(measurements: Measurements, fault: FaultRecord, zero_ns: int) -> FaultPart:
    def when(at_ns: int) -> float | None:
        return _seconds(at_ns, zero_ns) if at_ns else None

    taken_apart = breakdown(measurements, fault)
    stall = stall_during(measurements, fault)
    longest = longest_during(measurements, fault, LongIo)
    return FaultPart(
        name=fault.name,
        paths=fault.paths,
        description=fault.description,
        limping=fault.limping,
        effects=fault.effects,
        injected_s=_seconds(fault.injected_ns, zero_ns),
        confirmed_s=when(fault.confirmed_ns),
        healed_s=when(fault.healed_ns),
        healing_confirmed_s=when(fault.healing_confirmed_ns),
        io_stops=fault.io_stops,
        budget_s=fault.budget.seconds,
        budget=tuple(
            TermPart(name=term.name, seconds=term.seconds, source=term.source)
            for term in fault.budget.terms
        ),
        stall_s=stall.seconds if stall else None,
        longest_io_s=longest.seconds if longest else None,
        parts=tuple(_layer(part, zero_ns) for part in taken_apart.outage) if taken_apart else (),
        recovery=(
            tuple(_layer(part, zero_ns) for part in taken_apart.recovery) if taken_apart else ()
        ),
        missing=taken_apart.missing if taken_apart else (),
        means_samples=sum(not sample.unseen for sample in fault.means_samples),
    )


def _layer(part: BreakdownPart, zero_ns: int) -> LayerPart:
    return LayerPart(
        layer=part.layer,
        begins=part.begins,
        ends=part.ends,
        start_s=_seconds(part.start_ns, zero_ns),
        end_s=_seconds(part.end_ns, zero_ns),
        seconds=part.seconds,
        uncertainty_s=part.uncertainty_s,
        allowed_s=part.allowed_s,
        source=part.source,
    )


def _longest(measurements: Measurements, kind: type[Wait], zero_ns: int) -> tuple[StallPart, ...]:
    return tuple(
        StallPart(
            stream=wait.stream,
            start_s=_seconds(wait.start_ns, zero_ns),
            end_s=_seconds(wait.end_ns, zero_ns),
            seconds=wait.seconds,
        )
        for one in waits_of(measurements, kind)
        if (wait := one.longest) is not None
    )


def _clock(clock: ClockReading, zero_ns: int) -> ClockPart:
    return ClockPart(
        machine=clock.machine,
        at_s=_seconds(clock.at_ns, zero_ns),
        ahead_s=clock.offset_ns / NS_PER_S,
        uncertainty_s=clock.uncertainty_ns / NS_PER_S,
    )


def _seconds(at_ns: int, zero_ns: int) -> float:
    return (at_ns - zero_ns) / NS_PER_S
