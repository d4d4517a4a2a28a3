"""Whether the lab's own cables are to blame. Of the storage it says nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from harness.analysis.lab_cables import (
    cable_faults,
    directions,
    longest_standstill,
    loss,
    watched_share,
)
from harness.checks.definition import check
from harness.checks.outcome import Outcome, passed, unknown
from harness.measurements import Measurements
from harness.topology import called
from harness.units import format_seconds, format_size

_ENDS = 2
# A busy host makes some gaps between samples; evidence that has longer ones is not sound.
_LEAST_WATCHED = 0.8


@check("cables sound")
def cables_sound(measurements: Measurements) -> Outcome:
    """The lab's own cables lost no frame, as far as counters prove, and none waited for 0.5 s.

    Never fails: a cable that stood still or lost frames is the lab's fault, so nothing can be told.
    Passes where the lab made no cable itself: other networks are a part of what is tested.
    """
    figures: dict[str, str] = {}
    numbers: dict[str, float] = {}
    longest_s = 0.0
    for direction in directions(measurements):
        sender, receiver = direction.sender, direction.receiver
        still = longest_standstill(direction)
        waited_s = still.seconds if still else 0.0
        frames = loss(direction, measurements)
        size = int(sender.bytes_sent[-1] - sender.bytes_sent[0])
        arrived = max(0, frames.sent - frames.lost - frames.unproven)
        figures[str(direction)] = (
            f"of {frames.sent} frames sent ({format_size(size)}) {arrived} are proven to have "
            f"arrived, {frames.lost or 'none'} to be lost, {frames.unproven} neither; "
            f"longest wait {format_seconds(waited_s)}"
        )
        longest_s = max(longest_s, waited_s)
        key = f"{sender.link}_{sender.machine}_to_{receiver.machine}"
        numbers[f"{key}_frames"] = frames.sent
        numbers[f"{key}_bytes"] = size
        numbers[f"{key}_frames_lost"] = frames.lost
        numbers[f"{key}_frames_unproven"] = frames.unproven
        for end, dropped in (
            (sender, sender.dropped_sending),
            (receiver, receiver.dropped_receiving),
        ):
            numbers[f"{key}_dropped_by_{end.machine}"] = int(dropped[-1] - dropped[0])
        numbers[f"{key}_longest_wait_s"] = waited_s
    problems = [*_unwatched(measurements), *map(str, cable_faults(measurements))]
    if problems:
        return unknown("; ".join(problems), figures, numbers)
    if not figures:
        return passed("no cable is the lab's own")
    links = {end.link for end in measurements.cable_ends}
    text = f"on {len(links)} cable{'s' * (len(links) > 1)} no frame was seen to be lost or dropped"
    return passed(
        f"{text}, and none waited longer than {format_seconds(longest_s)}", figures, numbers
    )


def _unwatched(measurements: Measurements) -> Iterator[str]:
    """The cables and times that were not watched, in which anything may have happened."""
    ends = Counter(end.link for end in measurements.cable_ends)
    yield from (
        f"the counters of the lab's cable {link} were not sampled at both ends"
        for link, count in ends.items()
        if count < _ENDS
    )
    for end in measurements.cable_ends:
        share = watched_share(end, measurements)
        if share < _LEAST_WATCHED:
            yield (
                f"the end of the lab's cable {end.link} at {called(end.machine)} was watched for "
                f"{share:.0%} of the time only"
            )
