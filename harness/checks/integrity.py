"""Zero I/O errors, and every acknowledged byte still there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from harness.analysis.wall_clock import at_clock
from harness.analysis.write_proof import WriteProof, prove_writes
from harness.checks.definition import check
from harness.checks.kernel import MAP_UNSEEN, unread_kernel_logs
from harness.checks.outcome import Outcome, failed, passed, unknown
from harness.checks.proof import IF_EVERYWHERE, percent, proof_figures, proof_numbers, unproven
from harness.measurements import (
    MAP,
    Damage,
    Measurements,
    ReadBack,
    Stream,
    WriteHistory,
)
from harness.timeline import Happened, Phase

_SHOWN = 5


@check("no I/O errors")
def no_io_errors(measurements: Measurements) -> Outcome:
    """fio saw no error, the map had none, and I/O ran in every phase."""
    mismatches = _verify_errors(measurements.streams)
    errors = [*_fio_errors(measurements.streams), *_map_errors(measurements)]
    if measurements.errors_forced:
        what = "failed once queueing was ended" if errors else "did not even fail without queueing"
        errors = [": ".join((f"I/O hung, and {what}", *errors[:1])), *errors[1:]]
    if failures := [*mismatches, *errors]:
        return failed("; ".join(failures[:_SHOWN]))
    if blind := _blind_spots(measurements):
        return unknown("; ".join(blind[:_SHOWN]))
    done = sum(len(s.completions) for s in measurements.streams)
    figures = {"I/Os": f"{done}", "errors": "0"}
    text = f"{done} I/Os completed, none with an error"
    return passed(text, figures, {"ios": done, "errors": 0})


def _verify_errors(streams: tuple[Stream, ...]) -> list[str]:
    """fio tells of them without naming the job: the count is that of all verified jobs together."""
    found = {s.name: s.errors.verify_errors for s in streams if s.errors.verify_errors}
    names = " and ".join(map(repr, found))
    return (
        [f"fio's verification failed {max(found.values())} times, in job {names}"] if found else []
    )


def _fio_errors(streams: tuple[Stream, ...]) -> list[str]:
    own = [(s.name, s.errors) for s in streams if not s.errors.verify_errors]
    return [
        f"fio job {name!r} had {max(errors.total_errors, 1)} I/O errors (errno {errors.error})"
        for name, errors in own
        if errors.error or errors.total_errors
    ]


def _map_errors(measurements: Measurements) -> list[str]:
    return [
        f"{e.source}: {e.detail}{at_clock(measurements, e)}"
        for e in measurements.timeline
        if e.what is Happened.MAP_ERROR
    ]


def _blind_spots(measurements: Measurements) -> list[str]:
    blind = []
    if not measurements.streams or not measurements.phases:
        blind.append("no I/O was measured")
    if measurements.cut_short:
        blind.append(f"the I/O was cut short: {measurements.cut_short}")
    if not measurements.path_states:
        blind.append(MAP_UNSEEN)
    blind += unread_kernel_logs(measurements)
    blind += [
        f"job {stream.name!r} did no I/O in phase {phase.name!r}"
        for stream in measurements.streams
        for phase in measurements.phases
        if phase.io_expected and not _did_io(stream, phase)
    ]
    return blind


def _did_io(stream: Stream, phase: Phase) -> bool:
    at = stream.completions.at_ns
    return bool(np.any((at >= phase.start_ns) & (at <= phase.end_ns)))


@check("data intact")
def data_intact(measurements: Measurements) -> Outcome:
    """Everything acknowledged is there, at every moment and whichever way it is read.

    After the fault through the map and over each path alone: undamaged, in place, and the newest.
    And while the I/O goes on: each write is proven by a look after its acknowledgement, and no look
    finds what it must not.
    """
    back = measurements.read_back
    if back is not None and back.findings and not _nothing_verified(back):
        return _is_wrong(back, _not_read_back(back, measurements))
    if back is not None and back.changed:
        return _has_changed(back)
    if measurements.read_only:
        return _read_intact(measurements.streams, back)
    proof = prove_writes(measurements)
    if proof is not None and proof.wrong:
        return _was_wrong(proof)
    if back is None:
        unverified = _unverified(measurements.streams)
        return unknown(unverified or "nothing was read back", same_again=bool(unverified))
    return _as_far_as_seen(measurements, back, proof)


def _as_far_as_seen(
    measurements: Measurements, back: ReadBack, proof: WriteProof | None
) -> Outcome:
    """Nothing was found to be wrong: whether enough was looked at."""
    figures, numbers = _figures(back), {"acknowledged_blocks": float(back.acknowledged)}
    if proof is not None and back.acknowledged:
        figures |= proof_figures(proof)
        numbers |= {"wrong_blocks": 0} | proof_numbers(proof)
    if gaps := list(_gaps(measurements, back, proof)):
        same_again = bool(_unverified(measurements.streams))
        return unknown("; ".join(gaps), figures, numbers, same_again=same_again)
    assert proof is not None  # else that is a gap
    return passed(
        f"all {back.acknowledged} acknowledged blocks are undamaged, in place and current, "
        f"read from {', '.join(back.checked)}; {percent(proof.share)} of "
        f"{proof.acknowledged} acknowledged writes are proven, and "
        f"{'round the faults ' if measurements.faults else ''}no wrong content could have gone "
        f"unseen for more than {proof.blind_s:.1f} s, {IF_EVERYWHERE}",
        figures,
        numbers,
    )


def _gaps(measurements: Measurements, back: ReadBack, proof: WriteProof | None) -> Iterator[str]:
    if _nothing_verified(back):
        yield "no block has a header, and fio itself verified none: verification was off"
    elif back.acknowledged == 0:
        yield "no write was acknowledged"
    elif unverified := _unverified(measurements.streams):
        yield unverified
    else:
        yield from _not_read_back(back, measurements)
        if back.not_compared:
            yield back.not_compared
        if proof is None or measurements.history is None:
            yield "it is not known which writes were proven"
        else:
            yield from unproven(proof, measurements)
            yield from _other_record(back, measurements.history)


def _other_record(back: ReadBack, history: WriteHistory) -> Iterator[str]:
    """Where the two records differ: both have each block once that had a write acknowledged."""
    written = history.writes.acknowledged_blocks
    if back.acknowledged != written:
        yield (
            f"the read-back knows of {back.acknowledged} acknowledged blocks, and the record of "
            f"all writes of {written}"
        )


def _figures(back: ReadBack) -> dict[str, str]:
    return {
        "acknowledged blocks": str(back.acknowledged),
        "read back": ", ".join(f"{place} {n}" for place, n in back.checked.items()),
        "compared pieces that no test writes to": str(back.compared),
        "the LUN": back.identity or "it does not tell which it is",
    } | ({"read once more after": f"{back.again_after_s:g} s"} if back.again_after_s else {})


def _is_wrong(back: ReadBack, gaps: Sequence[str]) -> Outcome:
    """Blocks are wrong in the end."""
    kinds = Counter(str(finding.damage) for finding in back.findings)
    wrong = len({finding.offset for finding in back.findings})
    figures = _figures(back) | {"wrong": str(wrong)} | {k: str(n) for k, n in kinds.items()}
    numbers = {"acknowledged_blocks": float(back.acknowledged), "wrong_blocks": float(wrong)}
    shown = "; ".join([*map(str, back.findings[:_SHOWN]), *gaps])
    counts = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    message = f"{wrong} of {back.acknowledged} acknowledged blocks are wrong ({counts})"
    return failed(f"{message}: {shown}", figures, numbers)


def _has_changed(back: ReadBack) -> Outcome:
    """What no test writes to is no longer what it was, or cannot be read."""
    shown = "; ".join(map(str, back.changed[:_SHOWN]))
    count = len(back.changed)
    plural = count > 1
    text = (
        f"where no test writes to, {count} block{'s' * plural} "
        f"{'are' if plural else 'is'} not as before: {shown}"
    )
    figures = _figures(back) | {"changed": str(count)}
    return failed(text, figures, {"changed_blocks": float(count)})


def _was_wrong(proof: WriteProof) -> Outcome:
    """A look found what it must not, though it may have been mended since."""
    kinds = Counter(str(finding.damage) for finding in proof.wrong)
    wrong = len({finding.offset for finding in proof.wrong})
    counts = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    blocks = f"{wrong} block{'s were' if wrong > 1 else ' was'} wrong while the I/O went on"
    figures = {"wrong for a time": str(wrong)} | proof_figures(proof)
    numbers = {"wrong_for_a_time": float(wrong)} | proof_numbers(proof)
    shown = "; ".join(map(str, proof.wrong[:_SHOWN]))
    return failed(f"{blocks} ({counts}): {shown}", figures, numbers)


def _read_intact(streams: tuple[Stream, ...], back: ReadBack | None) -> Outcome:
    """What an initiator that must not write has read is what another one wrote before.

    fio compares the checksum in each block, and ends with an error if one differs. What nobody
    writes to was compared at the end.
    """
    read = {s.name: len(s.completions) for s in streams if s.verified}
    if not sum(read.values()):
        off = bool(streams) and not any(s.verified for s in streams)
        text = "this initiator only reads, and no read was verified"
        return unknown(text, same_again=off)
    if wrong := _verify_errors(streams):
        return failed("; ".join(wrong))
    figures = {"blocks read and verified": str(sum(read.values()))}
    if back is None or back.not_compared:
        why = back.not_compared if back else "what nobody writes to was not compared at the end"
        return unknown(why, figures)
    figures["compared pieces that no test writes to"] = str(back.compared)
    text = f"this initiator only reads: {sum(read.values())} reads, each of a block that is intact"
    return passed(text, figures, {"verified_reads": sum(read.values())})


def _unverified(streams: tuple[Stream, ...]) -> str:
    """Which jobs wrote what says nothing of where it comes from; empty if none."""
    writers = [s for s in streams if np.any(s.completions.is_write)]
    names = ", ".join(repr(s.name) for s in writers if not s.verified)
    what = "not all" if any(s.verified for s in writers) else "nothing"
    return f"{what} was verified: job {names} wrote without checksums" if names else ""


def _nothing_verified(back: ReadBack) -> bool:
    """Whether every block is as fio writes it without verification."""
    foreign = {f.offset for f in back.findings if f.damage is Damage.FOREIGN and f.place == MAP}
    return back.verified == 0 and 0 < back.acknowledged == len(foreign)


def _not_read_back(back: ReadBack, measurements: Measurements) -> list[str]:
    paths = [counters.path for counters in measurements.counters]
    gaps = [f"{place} could not be read back: {why}" for place, why in back.away.items()]
    for place in (MAP, *paths):
        count = back.checked.get(place, 0)
        if place not in back.away and count != back.acknowledged:
            gaps.append(f"only {count} of {back.acknowledged} blocks were read back from {place}")
    return gaps
