"""What the paths carried while a fault lasted, and whether it took effect; pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from operator import attrgetter

import numpy as np

from harness.analysis.recovery import paths_hit
from harness.budget import Effect
from harness.measurements import FaultRecord, Found, MeansSample, Measurements, PathCounters
from harness.timeline import Happened
from harness.units import NS_PER_MS, NS_PER_S, format_size

# I/O that was already on the wire may still complete while the order to break is carried out.
GRACE_NS = 250 * NS_PER_MS
# Ten samples; a group may come into use at any time, so an earlier phase tells less.
_JUST_BEFORE_NS = NS_PER_S
# They are a second apart, and a busy machine takes its time to answer.
_SAMPLES_APART_NS = 5 * NS_PER_S


def without_effect(measurements: Measurements, fault: FaultRecord) -> str:
    """A sentence that says why a fault missed its paths, or hit them for a part of its time.

    Empty if it hit them throughout. It names a path that carried I/O though the fault should hit
    it. One that was in reserve just before, and carried nothing anyway, must be seen to fail; so
    must one that may have been. If I/O is held there is nothing to fail, and only its means tell.
    If it only makes paths worse, or does nothing to them, its means prove what it did.
    """
    looks = _reserves(measurements, fault.injected_ns - _JUST_BEFORE_NS, fault.injected_ns)
    for counters in paths_hit(measurements, fault):
        if counters.path in fault.limping:
            continue
        if (
            Effect.HELD not in fault.effects
            and all(counters.path in reserve for reserve in looks)
            and not _failed_during(measurements, fault, counters.path)
        ):
            was = "was" if looks else "may have been"
            return f"{counters} {was} in reserve, and not seen to fail during {fault.name}"
        if carried := _carried(measurements, fault, counters):
            return carried
        if answered := _answered_during(measurements, fault, counters.path):
            return (
                f"{counters} still answered {answered} reads of the sweep during {fault.name}: "
                "no effect, or not for all of that time"
            )
        if fault.means_hidden and (unasked := _not_asked(measurements, fault, counters)):
            return unasked
    return _not_seen_to_act(fault)


def still_carried(measurements: Measurements, fault: FaultRecord) -> str:
    """A sentence that names a path which carried I/O though the fault should hit it; else empty."""
    hit = (c for c in paths_hit(measurements, fault) if c.path not in fault.limping)
    return next(filter(None, (_carried(measurements, fault, c) for c in hit)), "")


def _carried(measurements: Measurements, fault: FaultRecord, counters: PathCounters) -> str:
    carried = carried_during(measurements, fault, counters)
    if not carried:
        return ""
    text = f"{counters} still carried {format_size(carried)} during {fault.name}"
    return f"{text}: no effect, or not for all of that time"


def not_in_force(fault: FaultRecord) -> str:
    """A sentence that says when a fault's means were not in place, or not seen; else empty."""
    return means_missing(fault) or ("" if fault.means_hidden else _means_unseen(fault))


def _means_unseen(fault: FaultRecord) -> str:
    """A sentence that says for how long nothing was seen of the means of a part; else empty."""
    parts = [sample.part for sample in fault.means_samples]
    seen: dict[str, list[int]] = {part: [] for part in parts or [fault.name]}
    for sample in fault.means_samples:
        if not sample.unseen:
            seen[sample.part].append(sample.at_ns)
    for part, times_ns in seen.items():
        if (gap_ns := _longest_gap_ns(fault, times_ns)) > _SAMPLES_APART_NS:
            return f"the means of {part} were not seen for {gap_ns / NS_PER_S:.1f} s"
    return ""


def _longest_gap_ns(fault: FaultRecord, times_ns: Iterable[int]) -> int:
    """The longest time without a sample, while the fault was said to be in force."""
    edges = [fault.confirmed_ns, *times_ns, fault.ordered_ns]
    return max(later - at_ns for at_ns, later in pairwise(edges))


def means_missing(fault: FaultRecord) -> str:
    """A sentence that says when a fault's own means were not in place; empty if they always were.

    A count that falls began anew: what counts was taken away, and put back before the next sample.
    """
    counts: dict[str, int] = {}
    for sample in fault.means_samples:
        since_s = (sample.at_ns - fault.injected_ns) / NS_PER_S
        when = f"{since_s:.1f} s after {fault.name} was injected"
        if sample.missing:
            return f"{sample.missing}, {when}: not in force for all of that time"
        if sample.count is None or sample.restarts:
            continue
        if sample.count < (before := counts.get(sample.part, 0)):
            return (
                f"what {sample.part} counts fell from {before} to {sample.count}, {when}: "
                "not in force for all of that time"
            )
        counts[sample.part] = sample.count
    return ""


def _not_seen_to_act(fault: FaultRecord) -> str:
    """A sentence that says why nothing proves that the fault acted; empty if paths that died do.

    Also if each part is seen to act that could be, and often enough. Where paths go on and are
    worse there has to be one.
    """
    if fault.paths and not fault.limping:
        return ""
    could_be_seen = any(
        one.grows or one.proves is not None or one.missing for one in fault.means_samples
    )
    if not could_be_seen and fault.limping and not fault.felt_at_healing:
        return f"nothing shows whether {fault.name} did anything to paths that go on"
    return _not_proven(fault) or _not_counted(fault)


def _not_proven(fault: FaultRecord) -> str:
    """The same of parts whose samples prove it by themselves, or do not."""
    proofs: dict[str, list[int]] = {}
    for sample in fault.means_samples:
        if sample.proves is not None:
            times_ns = proofs.setdefault(sample.part, [])
            times_ns += [sample.at_ns] if sample.proves else []
    for part, times_ns in proofs.items():
        if not times_ns:
            return f"nothing shows that {part} did anything"
        if (gap_ns := _longest_gap_ns(fault, times_ns)) > _SAMPLES_APART_NS:
            return f"what {part} did was not seen for {gap_ns / NS_PER_S:.1f} s"
    return ""


def _not_counted(fault: FaultRecord) -> str:
    """The same of parts whose count has to grow."""
    counts: dict[str, list[MeansSample]] = {}
    for sample in fault.means_samples:
        if sample.grows:
            counted = counts.setdefault(sample.part, [])
            counted += [sample] if sample.count is not None else []
    for part, samples in counts.items():
        gap_ns = _longest_gap_ns(fault, (s.at_ns for s in samples))
        if gap_ns > _SAMPLES_APART_NS or not samples:
            return f"what {part} did was not seen for {gap_ns / NS_PER_S:.1f} s"
        did = _growth(samples)
        least = samples[0].least_share * _growth([replace(s, count=s.out_of) for s in samples])
        if did <= least:
            too_little = f": {did}, and a sound path may have {least:.0f}" if did else ""
            return f"{part} did nothing that counts while it lasted{too_little}"
    return ""


def _growth(samples: Sequence[MeansSample]) -> int:
    """By how much a count grew in all. Where it began anew, what it had by then is lost.

    It did where `out_of` falls; or, of one that is no share, the count itself.
    """
    pairs = list(pairwise(samples))
    if not samples[0].least_share:
        return sum(max(0, (later.count or 0) - (one.count or 0)) for one, later in pairs)
    together = [pair for pair in pairs if pair[1].out_of >= pair[0].out_of]
    return sum((later.count or 0) - (one.count or 0) for one, later in together)


def carried_during(
    measurements: Measurements, fault: FaultRecord, counters: PathCounters
) -> int | None:
    """Bytes that a path carried during a fault; None if no counters were sampled then.

    Until the order to heal: it takes effect before it returns.
    Not in the moments in which the kernel gives the path up: what was stuck on it is failed then,
    and the block layer counts that as carried (blk_account_io_completion in block/blk-mq.c).
    """
    start_ns, end_ns = fault.confirmed_ns + GRACE_NS, fault.ordered_ns
    given_up = [
        e.at_ns
        for e in measurements.timeline
        if e.what is Happened.PATH_FAILED
        and e.path == counters.path
        and start_ns - GRACE_NS <= e.at_ns <= end_ns + GRACE_NS
    ]
    begins = [start_ns, *(at_ns + GRACE_NS for at_ns in given_up)]
    ends = [*(at_ns - GRACE_NS for at_ns in given_up), end_ns]
    parts = [counters.between(*stretch) for stretch in zip(begins, ends, strict=True)]
    seen = [part for part in parts if part is not None]
    return sum(seen) if seen else None


def _answered_during(measurements: Measurements, fault: FaultRecord, path: str) -> int:
    """Reads of the sweep over a path, past the map, that were answered while a fault lasted.

    The map no longer sends anything over a path that it has given up. The sweep still does.
    """
    history = measurements.history
    if history is None or path not in history.looks.places:
        return 0
    looks = history.looks
    answered = (looks.place == looks.places.index(path)) & (looks.found != Found.NO_ANSWER)
    answered &= history.read > 0  # what the sweep read, not the read-back
    answered &= looks.began_ns >= fault.confirmed_ns + GRACE_NS
    answered &= looks.ended_ns <= fault.ordered_ns
    return len(np.unique(looks.began_ns[answered]))


def _not_asked(measurements: Measurements, fault: FaultRecord, counters: PathCounters) -> str:
    """A sentence that says for how long the sweep did not ask a path for an answer; else empty.

    The map sends nothing over a path that it has given up: without a question that stays without
    an answer nothing shows whether a fault lasts whose means nobody sees.
    """
    edges = [(fault.confirmed_ns, fault.confirmed_ns), (fault.ordered_ns, fault.ordered_ns)]
    history = measurements.history
    if history is not None and counters.path in history.looks.places:
        looks = history.looks
        own = (looks.place == looks.places.index(counters.path)) & (history.read > 0)
        own &= (looks.ended_ns >= fault.confirmed_ns) & (looks.began_ns <= fault.ordered_ns)
        edges += zip(looks.began_ns[own].tolist(), looks.ended_ns[own].tolist(), strict=True)
    since_ns, gap_ns = fault.confirmed_ns, 0
    for began_ns, ended_ns in sorted(edges):
        gap_ns = max(gap_ns, began_ns - since_ns)
        since_ns = max(since_ns, ended_ns)
    if gap_ns <= _SAMPLES_APART_NS:
        return ""
    return (
        f"nothing shows whether {fault.name} lasted: for {gap_ns / NS_PER_S:.1f} s nothing was "
        f"asked of {counters}"
    )


def in_reserve(measurements: Measurements, start_ns: int, end_ns: int) -> frozenset[str]:
    """Paths of groups that were not in use in all of a stretch of time, by all samples of it.

    But for samples without a group in use, as of a map that was just loaded: they tell nothing.
    """
    looks = _reserves(measurements, start_ns, end_ns)
    return frozenset.intersection(*looks) if looks else frozenset()


def _reserves(measurements: Measurements, start_ns: int, end_ns: int) -> list[frozenset[str]]:
    """The paths in reserve by each sample of a stretch of time that has a group in use."""
    at_ns = attrgetter("at_ns")
    looks = measurements.path_states
    first, last = bisect_left(looks, start_ns, key=at_ns), bisect_right(looks, end_ns, key=at_ns)
    return [look.reserve for look in looks[first:last] if look.reserve is not None]


def _failed_during(measurements: Measurements, fault: FaultRecord, path: str) -> bool:
    """Whether a sample shows the path failed, or out of a map that others were in."""
    return any(
        seen.states.get(path, "missing") != "active"
        and not all(state == "missing" for state in seen.states.values())
        for seen in measurements.path_states
        if fault.injected_ns <= seen.at_ns <= fault.healing_confirmed_ns
    )
