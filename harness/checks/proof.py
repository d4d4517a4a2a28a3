"""How far writes are proven, as figures; and what is not proven well enough."""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis.fault_effect import in_reserve
from harness.analysis.write_proof import LONGEST_BLIND_S, WriteProof, rounded
from harness.measurements import Found, Measurements, WriteHistory
from harness.timeline import Phase

LEAST_PROVEN = 0.999
# What blind time is told of. What one path alone shows for a short time is found less surely.
IF_EVERYWHERE = "if it is seen over every path"
_LOOKED_OVER_S = 2.0
_MUCH_STEAL = 0.35  # a healthy run on two cores shows a quarter


def percent(share: float) -> str:
    """Never 100 % unless it is all."""
    return "100 %" if share == 1 else f"{min(share, 0.9999) * 100:.2f} %"


def proof_figures(proof: WriteProof) -> dict[str, str]:
    """As the report shows them."""
    by_phase = {
        f"writes proven, phase {phase.phase!r}": f"{phase.proven} of {phase.acknowledged}"
        for phase in proof.phases
    }
    return {
        "writes proven": f"{proof.proven} of {proof.acknowledged} ({percent(proof.share)})",
        **by_phase,
        "blind time": f"{proof.blind_s:.2f} s for a wrong content, {IF_EVERYWHERE}",
        "writes under watch": f"{proof.watched} of {proof.acknowledged} "
        f"({percent(proof.watched_share)})",
        "looks at blocks": str(proof.looks),
    }


def proof_numbers(proof: WriteProof) -> dict[str, float]:
    """For calculations; shares are of the writes that were acknowledged."""
    return {
        "writes_acknowledged": proof.acknowledged,
        "writes_proven": rounded(proof.share),
        "least_proven_of_a_phase": rounded(proof.least_share),
        "writes_watched": rounded(proof.watched_share),
        "blind_s": round(proof.blind_s, 3),
    }


def unproven(proof: WriteProof, measurements: Measurements) -> Iterator[str]:
    """What keeps the writes from being proven well enough; nothing if they are."""
    history = measurements.history
    if history is not None and history.failure:
        yield history.failure
    elif history is not None and not history.swept:
        yield "no sweep ran: it needs verified writes that `layout` makes, of one block size"
    elif history is not None:
        yield from _not_looked_over(measurements, history)
    for phase in proof.phases:
        if phase.share < LEAST_PROVEN:
            yield (
                f"only {phase.proven} of {phase.acknowledged} writes acknowledged in phase "
                f"{phase.phase!r} are proven ({percent(phase.share)}, {LEAST_PROVEN:.1%} wanted)"
            )
    if proof.blind_s > LONGEST_BLIND_S:
        yield (
            f"a wrong content could have gone unseen for {proof.blind_s:.1f} s, {IF_EVERYWHERE}: "
            f"more than {LONGEST_BLIND_S:g} s{_busy(measurements)}"
        )


def _busy(measurements: Measurements) -> str:
    """What the host held back from the machines, which makes the sweep late, and the cure."""
    if measurements.processors is None or not measurements.phases:
        return ""
    start_ns, end_ns = measurements.phases[0].start_ns, measurements.phases[-1].end_ns
    steal = measurements.processors.steal(start_ns, end_ns)
    text = f"; the host held back {steal:.0%} of the processor time that the machines wanted"
    return f"{text}: run it again with less beside it" if steal > _MUCH_STEAL else text


def _not_looked_over(measurements: Measurements, history: WriteHistory) -> Iterator[str]:
    """The paths over which the sweep had no answer in a settled phase, though they were in use.

    And had been from the beginning: over one in reserve it sends nothing, as that may move the LUN
    to another controller. Phases that are too short for a look over each path do not count.
    """
    looks = history.looks
    answered = (looks.found != Found.NO_ANSWER) & (history.read > 0)
    first = measurements.before
    reserve = in_reserve(measurements, first.start_ns, first.end_ns) if first else frozenset()
    for phase in measurements.phases:
        if not phase.settled or phase.seconds < _LOOKED_OVER_S:
            continue
        reserve |= in_reserve(measurements, phase.start_ns, phase.end_ns)
        inside = answered & (looks.began_ns >= phase.start_ns) & (looks.ended_ns <= phase.end_ns)
        for counters in measurements.counters:
            path = counters.path
            known = path in looks.places
            seen = known and (inside & (looks.place == looks.places.index(path))).any()
            if not seen and path not in reserve and not _hit(measurements, path, phase):
                yield f"the sweep saw nothing over path {path} in phase {phase.name!r}"


def _hit(measurements: Measurements, path: str, phase: Phase) -> bool:
    """Whether a fault hit the path in a phase."""
    hit = (fault for fault in measurements.faults if path in fault.paths)
    return any(f.injected_ns < phase.end_ns and f.healed_ns > phase.start_ns for f in hit)
