"""Zero I/O errors, and every acknowledged byte still there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from harness.checks.definition import check
from harness.checks.kernel import MAP_UNSEEN, unread_kernel_logs
from harness.checks.outcome import Outcome, failed, passed, unknown
from harness.measurements import MAP, Damage, Measurements, ReadBack, Stream
from harness.timeline import Happened, Phase, Timeline

_SHOWN = 5


@check("no I/O errors")
def no_io_errors(measurements: Measurements) -> Outcome:
    """fio saw no error, the map had none, and I/O ran in every phase."""
    mismatches = _verify_errors(measurements.streams)
    errors = [*_fio_errors(measurements.streams), *_map_errors(measurements.timeline)]
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


def _map_errors(timeline: Timeline) -> list[str]:
    return [f"{e.source}: {e.detail}" for e in timeline if e.what is Happened.MAP_ERROR]


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
    """Everything acknowledged is there after the fault, whichever way it is read.

    Through the map and over each path alone: undamaged, in place, and the newest.
    """
    back, streams = measurements.read_back, measurements.streams
    if back is None:
        only_reads = measurements.read_only
        return _read_intact(streams) if only_reads else unknown(_why_not_read_back(streams))
    figures = {
        "acknowledged blocks": str(back.acknowledged),
        "read back": ", ".join(f"{place} {n}" for place, n in back.checked.items()),
    }
    numbers: dict[str, float] = {"acknowledged_blocks": back.acknowledged}
    gaps = _not_read_back(back, [counters.path for counters in measurements.counters])
    if _nothing_verified(back):
        text = "no block has a header, and fio itself verified none: verification was off"
        return unknown(text, figures)
    if back.findings:
        kinds = Counter(str(finding.damage) for finding in back.findings)
        wrong = len({finding.offset for finding in back.findings})
        figures |= {"wrong": str(wrong)} | {kind: str(n) for kind, n in kinds.items()}
        numbers["wrong_blocks"] = wrong
        shown = "; ".join([*map(str, back.findings[:_SHOWN]), *gaps])
        counts = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        message = f"{wrong} of {back.acknowledged} acknowledged blocks are wrong ({counts})"
        return failed(f"{message}: {shown}", figures, numbers)
    if back.acknowledged == 0:
        return unknown("no write was acknowledged", figures)
    if gaps:
        return unknown("; ".join(gaps), figures)
    return passed(
        f"all {back.acknowledged} acknowledged blocks are undamaged, in place and current, "
        f"read from {', '.join(back.checked)}",
        figures,
        numbers | {"wrong_blocks": 0},
    )


def _read_intact(streams: tuple[Stream, ...]) -> Outcome:
    """What an initiator that must not write has read is what another one wrote before.

    fio compares the checksum in each block, and ends with an error if one differs.
    """
    read = {s.name: len(s.completions) for s in streams if s.verified}
    if not sum(read.values()):
        return unknown("this initiator only reads, and no read was verified")
    if wrong := _verify_errors(streams):
        return failed("; ".join(wrong))
    figures = {"blocks read and verified": str(sum(read.values()))}
    text = f"this initiator only reads: {sum(read.values())} reads, each of a block that is intact"
    return passed(text, figures, {"verified_reads": sum(read.values())})


def _why_not_read_back(streams: tuple[Stream, ...]) -> str:
    writers = [s for s in streams if np.any(s.completions.is_write)]
    if writers and not any(s.verified for s in writers):
        names = ", ".join(repr(s.name) for s in writers)
        return f"nothing was verified: job {names} wrote without checksums"
    return "nothing was read back"


def _nothing_verified(back: ReadBack) -> bool:
    """Whether every block is as fio writes it without verification."""
    foreign = {f.offset for f in back.findings if f.damage is Damage.FOREIGN and f.place == MAP}
    return back.verified == 0 and 0 < back.acknowledged == len(foreign)


def _not_read_back(back: ReadBack, paths: Sequence[str]) -> list[str]:
    gaps = [f"{place} could not be read back: {why}" for place, why in back.away.items()]
    for place in (MAP, *paths):
        count = back.checked.get(place, 0)
        if place not in back.away and count != back.acknowledged:
            gaps.append(f"only {count} of {back.acknowledged} blocks were read back from {place}")
    return gaps
