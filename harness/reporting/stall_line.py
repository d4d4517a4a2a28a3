"""The stall of a test in one line of the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.analysis.breakdown import Breakdown, Part, breakdown, listed
from harness.analysis.stall import Stall, Wait
from harness.budget import Layer
from harness.measurements import Measurements, Wording

WIDTH = 100
_LIMITS = ("budget_s", "limit_s", "slack_s", "max_stall_s")
_WORDS = {
    Layer.BEFORE_FAULT: "before the fault",
    Layer.DETECTION: "noticed",
    Layer.SESSION_RECOVERY: "recovery",
    Layer.PATH_FAILURE: "failover",
    Layer.NO_PATH: "outage",
    Layer.LOGIN: "login",
    Layer.REINSTATEMENT: "reinstated",
    Layer.RESUBMISSION: "failover",
}

_LEAST_S = 0.015


def stall_line(test: str, measurements: Measurements, numbers: Mapping[str, float]) -> str:
    """`test: 3.10 s of 4.00 s: noticed 2.03, recovery 1.01, failover 0.06`, of `WIDTH` at most.

    `numbers` are those of the check that judged the stall. Parts are told of a stall that a fault
    caused, but for those of a few milliseconds; those that share terms of the budget are one. Where
    no stream stood still, but a single I/O waited for a fault, it is `test: 0.08 s of 4.00 s; one
    I/O 3.11 s: …`. Of a long name the end is kept.
    """
    limits = [numbers[limit] for limit in _LIMITS if limit in numbers]
    allowed = f"of {min(limits):.2f} s" if limits else "without a limit"
    text = f"{numbers['stall_s']:.2f} s {allowed}"
    every = (breakdown(measurements, fault) for fault in measurements.faults)
    longest = max(filter(None, every), key=lambda one: one.wait.seconds, default=None)
    if longest and _is_told(longest.wait, numbers["stall_s"]):
        if not isinstance(longest.wait, Stall):
            text += f"; one I/O {longest.wait.seconds:.2f} s"
        text += f": {_parts(longest, measurements.wording)}"
    room = max(WIDTH - len(text) - 2, 10)
    name = test if len(test) <= room else f"…{test[1 - room :]}"
    line = f"{name}: {text}"
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def _is_told(wait: Wait, stall_s: float) -> bool:
    """Whether it is the stall of the line, or a single I/O that took longer than that."""
    return wait.seconds == stall_s if isinstance(wait, Stall) else wait.seconds > stall_s


def _parts(of: Breakdown, wording: Wording) -> str:
    told = [share for share in of.shares if share.seconds >= _LEAST_S]
    return ", ".join(f"{_words(share.parts, wording)} {share.seconds:.2f}" for share in told)


def _words(parts: Sequence[Part], wording: Wording) -> str:
    layers = [layer for part in parts for layer in part.layers]
    if Layer.NO_PATH in layers:  # whatever came before it, only healing could end it
        return _WORDS[Layer.NO_PATH]
    words = _WORDS | dict(wording.short)
    return listed(list(dict.fromkeys(words[layer] for layer in layers)))
