"""`pathproof bench stall`: the stall against its budget, for every fault and timeout profile."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.budget import NO_LIMIT, Budget
from harness.cli.bench.one_lun import require_one_lun
from harness.cli.options import Json, configured, telling
from harness.cli.text import columns
from harness.config import Config, Loaded
from harness.steps import Spent, step
from harness.units import NS_PER_S, format_seconds

if TYPE_CHECKING:
    from harness.analysis.breakdown import Part
    from harness.faults import Fault
    from harness.measurements import Measurements
    from harness.testbed import Testbed

_PROFILES = ("fast", "stock")
_BEFORE_S = 3
_DURING_S = 2
_AFTER_S = 2


@dataclass(frozen=True)
class Case:
    """One fault under one profile. What is None was not seen, or not demanded (`max_stall_s`).

    `verdict` is that of the stall and of the longest I/O, and no pass unless the fault took effect
    and no I/O failed; `why` says what did not pass. `missing` names what ends a part and was not
    seen in order.
    The parts are measured apart from the stall: they may differ from it by `tolerance_s`, the
    worst clock's uncertainty and the grain of fio's log.
    """

    profile: str
    fault: str
    stall_s: float | None
    stream: str
    longest_io_s: float | None
    budget: Budget
    max_stall_s: float | None
    parts: tuple[Part, ...]
    missing: tuple[str, ...]
    sum_of_parts_s: float | None
    tolerance_s: float
    parts_add_up: bool
    resolution_s: float | None
    clock_uncertainty_s: float | None
    verdict: str
    why: str


@configured()
def stall(
    loaded: Loaded,
    ctx: typer.Context,
    *,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", metavar="KIND", help="Only this one; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the stall of every fault against its budget, a fork each; fast and stock timeouts.

    `--profile` has only that profile measured. The exit status is 1 if a case does not pass, or
    if the parts of its stall do not add up to it.
    """
    from harness.provision.provisioner import provisioner

    require_one_lun(loaded.config)
    faults, left_out = chosen_faults(fault or (), loaded.config)
    cases: list[Case] = []
    with telling(ctx), provisioner(loaded.config) as site:
        for profile in _profiles(loaded):
            with site.with_profile(profile) as lab:
                for one in faults:
                    title = f"{one.name} under profile {profile}"
                    with step(title, Spent.IO), lab.testbed() as testbed:
                        measured = _failover(testbed, one, seed=len(cases))
                        cases.append(case(profile, one.name, measured))
    told = as_told(cases) | {"left_out": left_out}
    text = "\n".join([table(cases), *(f"{one}: {why}" for one, why in left_out.items())])
    typer.echo(json.dumps(told, indent=2) if as_json else text)
    if not (_all_passed(cases) and _all_add_up(cases)):
        raise typer.Exit(1)


def chosen_faults(kinds: Sequence[str], config: Config) -> tuple[list[Fault], dict[str, str]]:
    """A fault of each usual kind at the first place, and the loss of all at once; or only `kinds`.

    Also, by its name, why a fault is left out: the testbed has no means for it. One that was
    asked for is refused with that.
    """
    from harness.faults import CATALOGUE, Family, InitiatorDrop, SilentDrop, Together
    from harness.testbed.means import lacking, possible
    from harness.topology import plan

    topology, here = plan(config), possible(config)
    drops: tuple[Fault, ...] = SilentDrop.everywhere(topology, here)
    if not here(drops[0]):
        drops = InitiatorDrop.everywhere(topology, here)
    everything = Together(drops)
    kinds_of_one = [kind for kind in CATALOGUE if kind.family is not Family.SEVERAL]
    firsts = {kind.name: kind.everywhere(topology, here)[:1] for kind in kinds_of_one}
    every: dict[str, Fault] = {
        name: fault
        for name, found in firsts.items()
        for fault in found
        if fault.hits(topology) != everything.hits(topology)
    }
    every[Together.__name__] = everything
    usual = [kind.name for kind in kinds_of_one if kind.usual and kind.name in every]
    if unknown := [kind for kind in kinds if kind not in every]:
        raise typer.BadParameter(
            f"{unknown[0]!r} is none of {', '.join(every)}", param_hint="--fault"
        )
    chosen = [every[kind] for kind in kinds or (*usual, Together.__name__)]
    reasons = {fault.name: lacking(config, fault.needs) for fault in chosen}
    left_out = {name: f"not possible here: {why}" for name, why in reasons.items() if why}
    if kinds and left_out:
        name, why = next(iter(left_out.items()))
        raise typer.BadParameter(f"{name} is {why}", param_hint="--fault")
    return [fault for fault in chosen if fault.name not in left_out], left_out


def _profiles(loaded: Loaded) -> tuple[str, ...]:
    """The one that was asked for on the command line, else the built-in ones."""
    if loaded.origins.get("initiator.profile") == "--profile":
        return (loaded.config.initiator.profile,)
    return _PROFILES


def _failover(testbed: Testbed, fault: Fault, seed: int) -> Measurements:
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=_BEFORE_S)
        testbed.fail_over(fault, during_s=_DURING_S, after_s=_AFTER_S)
    return io.measurements


def case(profile: str, fault: str, measurements: Measurements) -> Case:
    """What a test with one fault shows; if it was cut short before the fault, what was seen."""
    from harness.analysis.breakdown import breakdown
    from harness.analysis.fault_waits import longest_during, stall_during
    from harness.analysis.stall import LongIo, stall_resolution_ns
    from harness.checks import (
        Verdict,
        evidence_sound,
        fault_took_effect,
        judge,
        kernel_sound,
        longest_io_within_budget,
        no_io_errors,
        stall_within_budget,
    )

    record = next(iter(measurements.faults), None)
    longest_io = longest_during(measurements, record, LongIo) if record else None
    resolution_ns = stall_resolution_ns(measurements)
    judgement = judge(
        measurements,
        stall_within_budget(),
        longest_io_within_budget(),
        fault_took_effect(),
        no_io_errors(),
        evidence_sound(),
        kernel_sound(),
    )
    taken_apart = breakdown(measurements, record) if record else None
    stall = stall_during(measurements, record) if record else None
    uncertainties_ns = [clock.uncertainty_ns for clock in measurements.clocks]
    return Case(
        profile=profile,
        fault=fault,
        stall_s=stall.seconds if stall else None,
        stream=stall.stream if stall else "",
        longest_io_s=longest_io.seconds if longest_io else None,
        budget=record.budget if record else Budget(()),
        max_stall_s=measurements.max_stall_s,
        parts=taken_apart.outage if taken_apart else (),
        missing=taken_apart.missing if taken_apart else (),
        sum_of_parts_s=taken_apart.sum_s if taken_apart else None,
        tolerance_s=taken_apart.tolerance_s if taken_apart else 0.0,
        parts_add_up=taken_apart is not None and taken_apart.adds_up,
        resolution_s=resolution_ns / NS_PER_S if resolution_ns else None,
        clock_uncertainty_s=max(uncertainties_ns) / NS_PER_S if uncertainties_ns else None,
        verdict=judgement.verdict,
        why="; ".join(f.message for f in judgement.findings if f.verdict is not Verdict.PASS),
    )


def as_told(cases: Sequence[Case]) -> dict[str, Any]:
    """The JSON of all cases; seconds, to a tenth of a millisecond."""
    return {
        "cases": [
            {
                "profile": one.profile,
                "fault": one.fault,
                "stall_s": _rounded(one.stall_s),
                "stream": one.stream,
                "longest_io_s": _rounded(one.longest_io_s),
                "budget_s": _rounded(one.budget.seconds),
                "terms": {term.name: _rounded(term.seconds) for term in one.budget.terms},
                "max_stall_s": one.max_stall_s,
                "parts": [
                    {
                        "layer": part.layer,
                        "seconds": _rounded(part.seconds),
                        "uncertainty_s": _rounded(part.uncertainty_s),
                    }
                    for part in one.parts
                ],
                "missing": list(one.missing),
                "sum_of_parts_s": _rounded(one.sum_of_parts_s),
                "tolerance_s": _rounded(one.tolerance_s),
                "resolution_s": _rounded(one.resolution_s),
                "clock_uncertainty_s": _rounded(one.clock_uncertainty_s),
                "verdict": one.verdict,
                "why": one.why,
            }
            for one in cases
        ],
        "all_passed": _all_passed(cases),
        "parts_add_up": _all_add_up(cases),
    }


def _all_passed(cases: Sequence[Case]) -> bool:
    return all(one.verdict == "pass" for one in cases)


def _all_add_up(cases: Sequence[Case]) -> bool:
    return all(one.parts_add_up for one in cases)


def _rounded(seconds: float | None) -> float | None:
    """None also for what has no limit, as JSON has no word for it."""
    return None if seconds is None or not isfinite(seconds) else round(seconds, 4)


_HEADER = ("PROFILE", "FAULT", "STALL", "BUDGET", "SUM OF PARTS", "RESOLUTION", "VERDICT")
_WIDTH = 100


def table(cases: Sequence[Case]) -> str:
    """A line for each case, and below it what its figures are made of."""
    header, *lines = columns([_HEADER, *map(_cells, cases)]).splitlines()
    details = ("\n".join([line, *_details(one)]) for line, one in zip(lines, cases, strict=True))
    return "\n".join([header, *details])


def _cells(of: Case) -> tuple[str, ...]:
    total = _seconds(of.sum_of_parts_s)
    return (
        *(of.profile, of.fault, _seconds(of.stall_s)),
        _seconds(of.budget.seconds if of.budget.terms else None),
        total if of.parts_add_up else f"{total} (!)",
        "unknown" if of.resolution_s is None else format_seconds(of.resolution_s),
        of.verdict,
    )


def _details(of: Case) -> Iterator[str]:
    terms = " + ".join(f"{term.name} {term.shown}" for term in of.budget.terms)
    if of.max_stall_s is not None:
        terms += f"; max_stall {of.max_stall_s:g}"
    told = {
        "parts": " + ".join(f"{part.layer} {part.seconds:.3f}" for part in of.parts),
        "not seen": ", ".join(of.missing),
        "longest I/O": "" if of.longest_io_s is None else _seconds(of.longest_io_s),
        "budget": terms,
        "why": of.why,
    }
    for what, text in told.items():
        if text:
            yield textwrap.fill(
                f"{what}: {text}", _WIDTH, initial_indent="  ", subsequent_indent="    "
            )


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds:.3f} s" if isfinite(seconds) else NO_LIMIT
