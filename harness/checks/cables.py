"""Whether the lab's own cables are to blame. Of the storage it says nothing."""

from __future__ import annotations

from harness.cables import cable_problems, directions, frames_lost, longest_standstill
from harness.checks.judgement import Check, Finding, Verdict
from harness.measurements import Measurements
from harness.units import format_seconds, format_size

_NAME = "cables sound"


def cables_sound() -> Check:
    """The lab's own cables carried every frame, and none waited for half a second.

    Never fails: a cable that stood still or lost frames is the lab's fault, so nothing can be told.
    Passes where the lab made no cable itself: other networks are a part of what is tested.
    """
    return Check(_NAME, _judge)


def _judge(measurements: Measurements) -> Finding:
    figures: dict[str, str] = {}
    numbers: dict[str, float] = {}
    for direction in directions(measurements):
        sender, receiver = direction.sender, direction.receiver
        still = longest_standstill(direction)
        waited_s = still.seconds if still else 0.0
        frames, lost = int(sender.frames_sent[-1] - sender.frames_sent[0]), frames_lost(direction)
        size = int(sender.bytes_sent[-1] - sender.bytes_sent[0])
        dropped = int(receiver.dropped[-1] - receiver.dropped[0])
        figures[str(direction)] = (
            f"{frames} frames ({format_size(size)}) sent, {lost} lost, {dropped} dropped by the "
            f"receiver, longest wait {format_seconds(waited_s)}"
        )
        key = f"{sender.fabric}_{sender.machine}_to_{receiver.machine}"
        numbers[f"{key}_frames"] = frames
        numbers[f"{key}_bytes"] = size
        numbers[f"{key}_frames_lost"] = lost
        numbers[f"{key}_frames_dropped"] = dropped
        numbers[f"{key}_longest_wait_s"] = waited_s
    problems = [*_unwatched(measurements), *cable_problems(measurements)]
    if problems:
        return Finding(_NAME, Verdict.UNKNOWN, "; ".join(problems), figures, numbers)
    text = "; ".join(f"{what}: {value}" for what, value in figures.items())
    return Finding(_NAME, Verdict.PASS, text or "no cable is the lab's own", figures, numbers)


def _unwatched(measurements: Measurements) -> list[str]:
    seen = {direction.sender.fabric for direction in directions(measurements)}
    fabrics = dict.fromkeys(end.fabric for end in measurements.cable_ends)
    return [
        f"the counters of the lab's cable {fabric} were not sampled at both ends"
        for fabric in fabrics
        if fabric not in seen
    ]
