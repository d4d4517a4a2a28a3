"""Measurements of a good failover, and what may be changed of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from harness.analysis.kernel_trouble import troubles
from harness.checks import (
    Check,
    Finding,
    judge,
)
from harness.measurements import (
    MAP,
    CompletionLog,
    Found,
    Ints,
    KernelMessage,
    LookLog,
    Measurements,
    PathCounters,
    ProcessorTime,
    ReadBack,
    Stream,
    Watching,
    WriteHistory,
    WriteLog,
)
from harness.timeline import Timeline
from harness.transport.kernel_events import events
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit.synthetic_failover import (
    END,
    HEALED,
    INJECTED,
    LUN,
    START,
    failover,
)


def watched_writes(*, period_ms: int = 1000, blocks: int = 20) -> WriteHistory:
    """A write every 50 ms, to each block in turn, and a look at every block in each period."""
    at_ns = np.arange(START, END, 50 * NS_PER_MS, dtype=np.int64)
    number = np.arange(len(at_ns), dtype=np.int64)
    writes = WriteLog(number % blocks * 4096, at_ns, at_ns + 5 * NS_PER_MS)
    began_ns = np.arange(START, END + NS_PER_S, period_ms * NS_PER_MS // blocks, dtype=np.int64)
    turn = np.arange(len(began_ns), dtype=np.int64) % blocks
    done = np.searchsorted(writes.acknowledged_ns, began_ns - NS_PER_MS) - 1
    found = done - (done - turn) % blocks
    looks = LookLog(
        places=(MAP, "a", "b"),
        place=_places(began_ns),
        offset=turn * 4096,
        found=np.where(found < 0, Found.BLANK, found),
        began_ns=began_ns,
        ended_ns=began_ns + 2 * NS_PER_MS,
    )
    return WriteHistory(writes, looks, read=np.full_like(turn, 4096))


def with_looks(
    measured: Measurements, path: str, began_ns: Sequence[int], found: int, took_ns: int = NS_PER_MS
) -> Measurements:
    """And the sweep also looked over a path, at blocks of its own, with that result each time."""
    history = measured.history
    assert history is not None
    looks, count = history.looks, len(began_ns)
    began = np.array(began_ns, dtype=np.int64)
    more = LookLog(
        places=looks.places,
        place=np.append(looks.place, np.full(count, looks.places.index(path))),
        offset=np.append(looks.offset, np.full(count, 1 << 30)),
        found=np.append(looks.found, np.full(count, found)),
        began_ns=np.append(looks.began_ns, began),
        ended_ns=np.append(looks.ended_ns, began + took_ns),
    )
    read = np.append(history.read, np.full(count, 4096))
    return replace(measured, history=replace(history, looks=more, read=read))


def _places(began_ns: Ints) -> Ints:
    """The map, path a and path b in turn; in place of path a it is b while that is dead."""
    place = np.arange(len(began_ns)) % 3
    dead = (began_ns >= INJECTED) & (began_ns <= HEALED + NS_PER_S)
    return np.where(dead & (place == 1), 2, place).astype(np.int64)


# Of the blocks of `watched_writes`.
READ_BACK = ReadBack(20, 20, checked={MAP: 20, "a": 20, "b": 20})


def good() -> Measurements:
    """A failover in which nothing is wrong and everything was seen."""
    measured = failover()
    return replace(
        measured,
        kernel_logs=tuple(replace(log, lost=0) for log in measured.kernel_logs),
        read_back=READ_BACK,
        history=watched_writes(),
    )


def found(check: Check, measured: Measurements) -> Finding:
    return judge(measured, check).findings[0]


def with_stream(
    measured: Measurements, name: str, change: Callable[[Stream], Stream]
) -> Measurements:
    streams = tuple(change(s) if s.name == name else s for s in measured.streams)
    return replace(measured, streams=streams)


def without_io(stream: Stream, start_ns: int, end_ns: int) -> Stream:
    """The stream as if nothing had completed, nor been submitted, in a stretch of time."""
    log = stream.completions
    submitted = log.at_ns - log.latency_ns
    kept = (log.at_ns < start_ns) | (submitted > end_ns)
    columns = {
        name: getattr(log, name)[kept]
        for name in ("at_ns", "latency_ns", "offset", "size", "is_write")
    }
    rest = CompletionLog(**columns, resolution_ns=log.resolution_ns)
    return replace(stream, completions=rest, reported=len(rest))


def with_counters(
    measured: Measurements, path: str, change: Callable[[PathCounters], PathCounters]
) -> Measurements:
    counters = tuple(change(c) if c.path == path else c for c in measured.counters)
    return replace(measured, counters=counters)


def carrying(counters: PathCounters, start_ns: int, end_ns: int, total: int) -> PathCounters:
    """The counters as if the path had carried `total` bytes, evenly, in a stretch of time."""
    share = np.clip((counters.at_ns - start_ns) / (end_ns - start_ns), 0, 1)
    before = np.interp(start_ns, counters.at_ns, counters.bytes_written)
    after = np.interp(end_ns, counters.at_ns, counters.bytes_written)
    written = np.where(counters.at_ns < start_ns, counters.bytes_written, before + share * total)
    rest = np.where(counters.at_ns > end_ns, counters.bytes_written - after, 0)
    return replace(counters, bytes_written=(written + rest).astype(np.int64))


def with_kernel_line(measured: Measurements, text: str) -> Measurements:
    """As the initiator says it when the fault is injected; it is in the timeline as what it is."""
    log = measured.kernel_logs[0]
    said = KernelMessage(INJECTED, 3, text)
    only = replace(log, messages=(said,))
    told = [*events(only, LUN, uncertainty_ns=0), *troubles(only, uncertainty_ns=0)]
    log = replace(log, messages=(*log.messages, said))
    return replace(
        measured,
        kernel_logs=(log, *measured.kernel_logs[1:]),
        timeline=Timeline.of([*measured.timeline, *told]),
    )


def busy_host(steal: float, *, start_ns: int = START, end_ns: int = END) -> ProcessorTime:
    """Two threads that want a processor all the time, and lack a share of that in a stretch."""
    at_ns = np.array([START, start_ns, end_ns, END], dtype=np.int64)
    lacked = steal * (end_ns - start_ns)
    waited_ns = np.array([0, 0, lacked, lacked]).astype(np.int64)
    ran_ns = at_ns - START - waited_ns
    both = ("initiator", "target")
    return ProcessorTime(
        at_ns, np.column_stack([ran_ns] * 2), np.column_stack([waited_ns] * 2), both
    )


def without_samples(watching: Watching, start_ns: int, end_ns: int) -> Watching:
    """A machine that gave no sample in that time."""
    kept = (watching.at_ns < start_ns) | (watching.at_ns > end_ns)
    return replace(
        watching,
        at_ns=watching.at_ns[kept],
        wall_ahead_ns=watching.wall_ahead_ns[kept],
        cpu_ns=watching.cpu_ns[kept],
    )


def not_sampled(measured: Measurements, start_ns: int, end_ns: int) -> Measurements:
    """Measurements whose initiator gave no sample in that time."""
    initiator, *others = measured.watching
    gap = without_samples(initiator, start_ns, end_ns)
    return replace(measured, watching=(gap, *others))
