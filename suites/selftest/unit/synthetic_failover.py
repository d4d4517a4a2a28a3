"""Measurements of a failover that never was: 6 s before, 14 s of one path lost, 9 s after."""

from __future__ import annotations

import numpy as np

from harness.budget import Budget, BudgetTerm, Layer
from harness.measurements import (
    ClockReading,
    CompletionLog,
    FaultRecord,
    FioErrors,
    Ints,
    KernelLog,
    KernelMessage,
    LinkTraffic,
    MeansSample,
    Measurements,
    PathCounters,
    PathStates,
    Stream,
    Watching,
)
from harness.reporting.series import Floats
from harness.timeline import Event, Happened, Phase, Timeline
from harness.transport.iscsi.settings import planned_session, session_settings
from harness.transport.lun_devices import Look, LunDevices
from harness.transport.wording import WORDING
from harness.units import KIB, MIB, NS_PER_MS, NS_PER_S

START = 5_000 * NS_PER_S
INJECTED = START + 6 * NS_PER_S
HEALED = INJECTED + 14 * NS_PER_S
END = HEALED + 9 * NS_PER_S
STALL_S = 2.94
UNCERTAINTY_NS = 1_900_000  # of the initiator's clock

_EVENTS = (
    (INJECTED, 0.00, Happened.FAULT_INJECTED),
    (INJECTED, 0.05, Happened.FAULT_CONFIRMED),
    (INJECTED, 1.98, Happened.CONNECTION_ERROR),
    (INJECTED, 1.99, Happened.CONNECTION_ERROR),
    (INJECTED, 2.90, Happened.RECOVERY_TIMED_OUT),
    (INJECTED, 2.91, Happened.PATH_FAILED),
    (INJECTED, STALL_S, Happened.IO_RESUMED),
    (HEALED, 0.00, Happened.FAULT_HEALED),
    (HEALED, 0.10, Happened.HEALING_CONFIRMED),
    (HEALED, 2.20, Happened.SESSION_RECOVERED),
    (HEALED, 3.10, Happened.PATH_REINSTATED),
)
LUN = LunDevices((Look(START, "253:0", {"8:0": "a", "8:16": "b"}),), {"session1": "a"})
_ABOUT = {
    Happened.CONNECTION_ERROR: "connection1:0: detected conn error (1022)",
    Happened.RECOVERY_TIMED_OUT: "session1: session recovery timed out after 1 secs",
    Happened.PATH_FAILED: "a",
    Happened.SESSION_RECOVERED: "a",
    Happened.PATH_REINSTATED: "a",
}


def failover() -> Measurements:
    """A silent loss of path a, the same at every call."""
    ticks = np.arange(START, END, 80 * NS_PER_MS, dtype=np.int64)
    dead = (ticks > INJECTED) & (ticks < HEALED + 3 * NS_PER_S)
    failed = (ticks > INJECTED + 2.91 * NS_PER_S) & (ticks < HEALED + 3.1 * NS_PER_S)
    stalled = (ticks > INJECTED) & (ticks < INJECTED + STALL_S * NS_PER_S)
    budget = Budget(
        (
            BudgetTerm("noop_out_interval", 1, "sysfs", layers=(Layer.DETECTION,)),
            BudgetTerm("noop_out_timeout", 1, "sysfs", layers=(Layer.DETECTION,)),
            BudgetTerm("recovery_tmo", 1, "sysfs", layers=(Layer.SESSION_RECOVERY,)),
            BudgetTerm("slack", 1, "stated", layers=(Layer.PATH_FAILURE, Layer.RESUBMISSION)),
        )
    )
    return Measurements(
        timeline=Timeline.of(
            [
                Event(START, Happened.IO_STARTED, "initiator"),
                *(
                    Event(
                        at + int(s * NS_PER_S),
                        what,
                        "initiator",
                        _ABOUT.get(what, ""),
                        path="a" if what in _ABOUT else "",
                    )
                    for at, s, what in _EVENTS
                ),
                Event(END, Happened.IO_ENDED, "initiator"),
            ]
        ),
        phases=(
            Phase("before", START, INJECTED),
            Phase("during", INJECTED, HEALED),
            Phase("after", HEALED, END),
        ),
        streams=(_stream("random writes", 16, 1500), _stream("probe", 1, 110)),
        counters=(
            _counters("a", "sda", ticks, np.where(dead, 0.0, 0.24)),
            _counters("b", "sdb", ticks, np.where(stalled, 0.0, np.where(dead, 0.48, 0.24))),
        ),
        path_states=tuple(
            PathStates(int(t), {"a": "failed" if lost else "active", "b": "active"})
            for t, lost in zip(ticks, failed, strict=True)
        ),
        kernel_logs=(
            KernelLog(
                "initiator",
                (KernelMessage(INJECTED + 2 * NS_PER_S, 3, "detected conn error (1022)"),),
                lost=0,
            ),
            KernelLog("target", (), lost=2),
        ),
        clocks=(ClockReading("initiator", START, NS_PER_S, UNCERTAINTY_NS),),
        settings=tuple(session_settings(path, 1, 1, 1, path) for path in ("a", "b")),
        settings_after=tuple(session_settings(path, 1, 1, 1, path) for path in ("a", "b")),
        traffic=(
            _traffic("a", ticks, np.where(dead, 0.0, 0.26)),
            _traffic("b", ticks, np.where(stalled, 0.0, np.where(dead, 0.52, 0.26))),
        ),
        wording=WORDING,
        planned=tuple(planned_session(path, 1, 1, 1, through=path) for path in ("a", "b")),
        faults=(
            FaultRecord(
                "SilentDrop(a)",
                ("a",),
                "the target drops both directions of one portal",
                injected_ns=INJECTED,
                confirmed_ns=INJECTED + 50 * NS_PER_MS,
                healed_ns=HEALED,
                healing_confirmed_ns=HEALED + 100 * NS_PER_MS,
                budget=budget,
                returning=Budget(
                    (BudgetTerm("login_timeout", 3, "record"), BudgetTerm("polling", 40, "daemon"))
                ),
                links=("a",),
                means_samples=tuple(
                    MeansSample("SilentDrop(a)", at_ns, count=1 + (at_ns - INJECTED) // NS_PER_S)
                    for at_ns in range(INJECTED + NS_PER_S, HEALED, NS_PER_S)
                ),
            ),
        ),
        watching=(_watching("initiator", ticks), _watching("target", ticks)),
        machines=("initiator", "target"),
        notes={"multipath policy": "queue-length 0"},
    )


def nothing_measured() -> Measurements:
    """What is left of a test that broke before anything was collected."""
    return Measurements(Timeline(()), (), (), (), (), (), (), ())


def _stream(name: str, depth: int, per_second: int) -> Stream:
    chance = np.random.default_rng(7)
    at = np.sort(chance.uniform(START, END, per_second * 29)).astype(np.int64)
    resumed = INJECTED + int(STALL_S * NS_PER_S)
    at = at[(at < INJECTED) | (at >= resumed)]
    first = int(np.searchsorted(at, resumed))
    at[first - 1], at[first] = INJECTED, resumed
    latency = chance.lognormal(np.log(2e6 * depth**0.5), 0.4, len(at)).astype(np.int64)
    latency[first : first + depth] = at[first : first + depth] - INJECTED
    log = CompletionLog(
        at_ns=at,
        latency_ns=latency,
        offset=np.zeros_like(at),
        size=np.full_like(at, 4096),
        is_write=np.full(len(at), depth > 1),
        resolution_ns=NS_PER_MS,
    )
    return Stream(name, depth, depth > 1, log, FioErrors(0, 0, 0), reported=len(log))


def _watching(machine: str, ticks: Ints) -> Watching:
    """By a program that takes 2 % of a processor."""
    wall_ahead_ns = np.full_like(ticks, 1_700_000_000 * NS_PER_S)
    return Watching(machine, START, END, ticks, wall_ahead_ns, cpu_ns=(ticks - START) // 50)


def _traffic(link: str, ticks: Ints, mib_per_tick: Floats) -> LinkTraffic:
    sent = (np.cumsum(mib_per_tick) * MIB).astype(np.int64)
    return LinkTraffic(link, f"nic-{link}", (link,), ticks, sent, np.zeros_like(ticks))


def _counters(path: str, disk: str, ticks: Ints, mib_per_tick: Floats) -> PathCounters:
    written = (np.cumsum(mib_per_tick) * MIB).astype(np.int64)
    ios = written // (64 * KIB)
    return PathCounters(path, (disk,), ticks, np.zeros_like(ticks), written, ios, 4 * ios)
