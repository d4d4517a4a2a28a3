"""The stall of a test in one line of the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.analysis.breakdown import Breakdown, breakdown, listed
from harness.analysis.stall import Stall, Wait
from harness.budget import Layer
from harness.checks.waits import MAX_STALL, SPARED_KEY
from harness.measurements import Measurements, Wording

HEADING = (
    "stalls: the longest of each test and its limit; if a fault caused it, the seconds of each part"
)
WIDTH = 120
_LIMITS = ("budget_s", "limit_s", "slack_s")

_LEAST_S = 0.015


def stall_line(test: str, measurements: Measurements, numbers: Mapping[str, float]) -> str:
    """`test: 3.10 s of 4.00 s: detection 2.03, session recovery 1.01, resubmission 0.05`.

    Of `WIDTH` at most. `numbers` are those of the check that judged the stall. Parts are told of a
    stall that a fault caused, by the names that the report has, but for those of a few
    milliseconds. Where no stream stood still, but a single I/O waited for a fault, it is
    `test: 0.08 s of 4.00 s; one I/O 3.11 s: …`. Of a long name the end is kept.
    """
    limit_s = stall_limit(numbers)
    allowed = "without a limit" if limit_s is None else f"of {limit_s:.2f} s"
    text = f"{numbers['stall_s']:.2f} s {allowed}"
    every = (breakdown(measurements, fault) for fault in measurements.faults)
    longest = max(filter(None, every), key=lambda one: one.wait.seconds, default=None)
    if longest and _is_told(longest.wait, numbers["stall_s"]):
        if not isinstance(longest.wait, Stall):
            text += f"; one I/O {longest.wait.seconds:.2f} s"
        parts = _parts(longest, measurements.wording)
        told = (f"{name} {seconds:.2f}" for name, seconds in parts if seconds >= _LEAST_S)
        text += f": {', '.join(told)}"
    room = max(WIDTH - len(text) - 2, 10)
    name = test if len(test) <= room else f"…{test[1 - room :]}"
    line = f"{name}: {text}"
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def stall_limit(numbers: Mapping[str, float]) -> float | None:
    """The strictest limit of a stall, by the numbers of its check; None if nothing limits it.

    max_stall begins at healing if no path was left: the outage before it is added.
    """
    limits = [numbers[limit] for limit in _LIMITS if limit in numbers]
    if (most_s := numbers.get(f"{MAX_STALL}_s")) is not None:
        limits.append(most_s + numbers.get(SPARED_KEY, 0.0))
    return min(limits, default=None)


def _is_told(wait: Wait, stall_s: float) -> bool:
    """Whether it is the stall of the line, or a single I/O that took longer than that."""
    return wait.seconds == stall_s if isinstance(wait, Stall) else wait.seconds > stall_s


def _parts(of: Breakdown, wording: Wording) -> Iterator[tuple[str, float]]:
    """The parts by their names, with their seconds.

    Where no path was left, what came before healing is one: nothing else could end it.
    """
    before_s = 0.0
    lost = any(Layer.NO_PATH in part.layers for part in of.outage)
    for part in of.outage:
        before_s += part.seconds
        if lost and Layer.NO_PATH not in part.layers:
            continue
        layers = list(part.layers)
        if lost:
            layers = layers[layers.index(Layer.NO_PATH) :]
        yield listed([wording.of(layer) for layer in layers]), before_s
        before_s, lost = 0.0, False
