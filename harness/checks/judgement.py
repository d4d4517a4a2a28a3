"""Judging a test: all checks are run, and unknown is never a pass."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.checks.definition import Check, Finding
from harness.checks.excuses import (
    unless_ios_are_missing,
    unless_samples_are_missing,
    unless_the_lab_did_it,
)
from harness.checks.outcome import Verdict
from harness.errors import CouldNotTell, VerdictFailed
from harness.measurements import Measurements


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Fail if there is one, else unknown if there is one or there are none at all."""
    said = set(verdicts)
    if Verdict.FAIL in said:
        return Verdict.FAIL
    return Verdict.PASS if said == {Verdict.PASS} else Verdict.UNKNOWN


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
        text = "\n".join(map(str, bad))
        match self.verdict:
            case Verdict.FAIL:
                raise VerdictFailed(text)
            case Verdict.UNKNOWN:
                raise CouldNotTell(text or "no check was asked")


def judge_each(luns: Mapping[str, Measurements], *checks: Check) -> dict[str, Judgement]:
    """Run every check on the LUN of every map, by the map's name.

    Each finding has its LUN if it is not alone, and its initiator if there are several.
    A LUN that is damaged does not excuse the others, nor do they speak for it.
    """
    judgements = {lun: judge(measurements, *checks) for lun, measurements in luns.items()}
    if len(judgements) < 2:
        return judgements
    several = len({measurements.initiator for measurements in luns.values()}) > 1
    return {
        name: Judgement(
            tuple(
                replace(
                    finding, lun=luns[name].lun, initiator=luns[name].initiator if several else ""
                )
                for finding in judgement.findings
            )
        )
        for name, judgement in judgements.items()
    }


def together(judgements: Iterable[Judgement]) -> Judgement:
    """All findings as one judgement: it fails if any LUN does."""
    return Judgement(tuple(finding for each in judgements for finding in each.findings))


def judge(measurements: Measurements, *checks: Check) -> Judgement:
    """Run every check. One that crashes could not tell, and why is kept; the others are run."""
    return Judgement(tuple(_run(check, measurements) for check in checks))


def _run(check: Check, measurements: Measurements) -> Finding:
    try:
        finding = check.judge(measurements)
        if check.by_completions:
            finding = unless_ios_are_missing(finding, measurements)
        if check.by_samples:
            finding = unless_samples_are_missing(finding, measurements)
        if check.through_the_lab:
            finding = unless_the_lab_did_it(finding, measurements, by_path=check.by_path)
        return finding
    except Exception as error:  # noqa: BLE001  # the other checks still have something to say
        why = _crashed(error) if measurements.phases else "I/O did not get under way"
        crash = "".join(traceback.format_exception(error))
        return Finding(check.name, Verdict.UNKNOWN, why, crash=crash)


def _crashed(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}"
    return f"the check itself crashed: {error!r} ({where})"
