"""Verdicts: pass, fail or unknown, and unknown is never a pass."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain
from pathlib import Path

from harness.analysis.cables import cable_faults
from harness.analysis.lab_disks import disk_faults
from harness.errors import CouldNotTell, VerdictFailed
from harness.measurements import Measurements


class Verdict(StrEnum):
    """What a check says."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Fail if there is one, else unknown if there is one or there are none at all."""
    said = set(verdicts)
    if Verdict.FAIL in said:
        return Verdict.FAIL
    return Verdict.PASS if said == {Verdict.PASS} else Verdict.UNKNOWN


@dataclass(frozen=True)
class Finding:
    """What one check found: one sentence, and the figures behind it as they will be shown.

    `numbers` are for programs: the same and more, the unit in the name, such as `stall_s`.
    `span_ns` is from when to when something can have caused it; None is the whole test.
    `crash` is the traceback of a check that crashed.
    """

    check: str
    verdict: Verdict
    message: str
    figures: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    span_ns: tuple[int, int] | None = None
    crash: str = ""


@dataclass(frozen=True)
class Check:
    """A named judge of measurements.

    `through_the_lab`: cables and disks of the lab's own can make it fail, however good the storage.
    `by_completions`: it reads fio's log of every I/O, and fails where entries are missing.
    """

    name: str
    judge: Callable[[Measurements], Finding]
    through_the_lab: bool = False
    by_completions: bool = False


@dataclass(frozen=True)
class Judgement:
    """All findings of one test."""

    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """Fail if any check failed, else unknown if any could not tell or none was asked."""
        return worst(finding.verdict for finding in self.findings)

    def require(self) -> None:
        """Raise VerdictFailed or CouldNotTell unless every check passed."""
        bad = [f for f in self.findings if f.verdict is not Verdict.PASS]
        text = "\n".join(f"{f.check}: {f.verdict}: {f.message}" for f in bad)
        match self.verdict:
            case Verdict.FAIL:
                raise VerdictFailed(text)
            case Verdict.UNKNOWN:
                raise CouldNotTell(text or "no check was asked")


def judge(measurements: Measurements, *checks: Check) -> Judgement:
    """Run every check. One that crashes could not tell, and why is kept; the others are run."""
    return Judgement(tuple(_run(check, measurements) for check in checks))


def _run(check: Check, measurements: Measurements) -> Finding:
    try:
        finding = check.judge(measurements)
        if check.by_completions:
            finding = unless_ios_are_missing(finding, measurements)
        if check.through_the_lab:
            finding = unless_the_lab_did_it(finding, measurements)
        return finding
    except Exception as error:  # noqa: BLE001  # the other checks still have something to say
        why = _crashed(error) if measurements.phases else "I/O did not get under way"
        crash = "".join(traceback.format_exception(error))
        return Finding(check.name, Verdict.UNKNOWN, why, crash=crash)


def _crashed(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}"
    return f"the check itself crashed: {error!r} ({where})"


def unless_ios_are_missing(finding: Finding, measurements: Measurements) -> Finding:
    """A failure proves nothing where fio's log lacks I/Os: each may be what seems not to be there.

    One that was forced is sure all the same: the I/O hung beyond its end.
    """
    lacking = [repr(stream.name) for stream in measurements.streams if not stream.whole]
    if finding.verdict is not Verdict.FAIL or not lacking or measurements.errors_forced:
        return finding
    text = f"{finding.message}; but fio's log and report of job {' and '.join(lacking)} differ"
    return replace(finding, verdict=Verdict.UNKNOWN, message=text)


def unless_the_lab_did_it(finding: Finding, measurements: Measurements) -> Finding:
    """A failure proves nothing against the storage if a part of the lab failed at that time."""
    if finding.verdict is not Verdict.FAIL:
        return finding
    faults = [
        str(fault)
        for fault in chain(cable_faults(measurements), disk_faults(measurements))
        if fault.overlaps(finding.span_ns)
    ]
    if not faults:
        return finding
    text = f"{finding.message}; but {'; '.join(faults)}"
    return replace(finding, verdict=Verdict.UNKNOWN, message=text)
