"""Measurements of I/O that stood still, in a line; times in seconds since the fault."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.analysis.breakdown import Breakdown, breakdown
from harness.budget import Budget, BudgetTerm, Layer
from harness.checks import Check, Finding, judge
from harness.measurements import (
    CompletionLog,
    FaultRecord,
    FioErrors,
    KernelLog,
    Measurements,
    PathCounters,
    Stream,
)
from harness.timeline import Event, Happened, Phase, Timeline
from harness.transport.wording import WORDING
from harness.units import NS_PER_MS, NS_PER_S

INJECTED = 100 * NS_PER_S
CONFIRMED, HEALED, HEALING_CONFIRMED, END = 0.1, 14.0, 14.1, 25.0
SINGLE = (
    BudgetTerm("noop_out_interval", 1, "", layers=(Layer.DETECTION,)),
    BudgetTerm("noop_out_timeout", 1, "", layers=(Layer.DETECTION,)),
    BudgetTerm("recovery_tmo", 1, "", layers=(Layer.SESSION_RECOVERY,)),
    BudgetTerm("slack", 1, "", layers=(Layer.PATH_FAILURE, Layer.RESUBMISSION)),
)
ALL_PATHS = (
    BudgetTerm(
        "outage",
        14.1,
        "",
        layers=(Layer.DETECTION, Layer.SESSION_RECOVERY, Layer.PATH_FAILURE, Layer.NO_PATH),
    ),
    BudgetTerm("login_timeout", 3, "", layers=(Layer.LOGIN,)),
    BudgetTerm("polling_interval", 1, "", layers=(Layer.REINSTATEMENT,)),
    BudgetTerm("slack", 1, "", layers=(Layer.RESUBMISSION,)),
)
ERROR, TIMED_OUT = Happened.CONNECTION_ERROR, Happened.RECOVERY_TIMED_OUT
FAILED, RECOVERED = Happened.PATH_FAILED, Happened.SESSION_RECOVERED
REINSTATED = Happened.PATH_REINSTATED
TEXTS = {
    ERROR: "connection{}:0: detected conn error (1022)",
    TIMED_OUT: "session{}: session recovery timed out after 1 secs",
}
PATHS = {"1": "a", "2": "b"}  # each by its session
Seen = tuple[float, Happened, str]
LOSS: tuple[Seen, ...] = ((2.0, ERROR, "1"), (3.0, TIMED_OUT, "1"), (3.01, FAILED, "1"))
RETURN: tuple[Seen, ...] = ((16.0, RECOVERED, "1"), (17.0, REINSTATED, "1"))


def at(seconds: float) -> int:
    return INJECTED + round(seconds * NS_PER_S)


def event(seconds: float, what: Happened, session: str) -> Event:
    path = PATHS[session]
    text = TEXTS[what].format(session) if what in TEXTS else path
    return Event(at(seconds), what, "test", text, path=path)


def stream(*pauses: tuple[float, float]) -> Stream:
    """Every 10 ms one I/O completes, and none within a pause."""
    times = np.arange(at(-3), at(END), 10 * NS_PER_MS, dtype=np.int64)
    for start, end in pauses:
        times = times[(times <= at(start)) | (times >= at(end))]
        times = np.unique([*times, at(start), at(end)])
    latency = np.diff(times, prepend=times[0] - NS_PER_MS)
    nothing = np.zeros_like(times)
    log = CompletionLog(times, latency, nothing, nothing, nothing.astype(np.bool_), 1)
    return Stream("probe", 1, False, log, FioErrors(0, 0, 0), reported=len(log))


def counters(path: str, disk: str, carries_from: float) -> PathCounters:
    """A path that carries nothing from the injection on, until some time."""
    ticks = np.arange(at(-3), at(END), 80 * NS_PER_MS, dtype=np.int64)
    carries = (ticks < INJECTED) | (ticks >= at(carries_from))
    return PathCounters(path, (disk,), ticks, np.zeros_like(ticks), np.cumsum(carries * 4096))


def measured(
    *pauses: tuple[float, float],
    seen: tuple[Seen, ...] = LOSS + RETURN,
    io_stops: bool = False,
    carries_from: float = 17.0,
) -> Measurements:
    """Path a is lost, or both, and healed after 14 s."""
    fault = FaultRecord(
        "LinkDown(a)",
        ("a", "b") if io_stops else ("a",),
        "",
        injected_ns=INJECTED,
        confirmed_ns=at(CONFIRMED),
        healed_ns=at(HEALED),
        healing_confirmed_ns=at(HEALING_CONFIRMED),
        budget=Budget(ALL_PATHS if io_stops else SINGLE),
        returning=Budget(ALL_PATHS[1:]),
        io_stops=io_stops,
    )
    return Measurements(
        timeline=Timeline.of(event(*one) for one in seen),
        phases=(Phase("before", at(-3), INJECTED), Phase("after", at(HEALED), at(END))),
        streams=(stream(*pauses),),
        counters=(
            counters("a", "sda", carries_from),
            counters("b", "sdb", carries_from if io_stops else 0),
        ),
        path_states=(),
        kernel_logs=(),
        clocks=(),
        settings=(),
        faults=(fault,),
        wording=WORDING,
    )


def watched(measurements: Measurements) -> Measurements:
    """With a kernel log in which nothing is missing."""
    return replace(measurements, kernel_logs=(KernelLog("initiator", (), lost=0),))


def taken_apart(measurements: Measurements) -> Breakdown:
    result = breakdown(measurements, measurements.faults[0])
    assert result is not None
    return result


def layers(parts: Breakdown) -> dict[str, float]:
    return {part.layer: round(part.seconds, 3) for part in parts.outage}


def found(check: Check, measurements: Measurements) -> Finding:
    return judge(measurements, check).findings[0]
