"""The stall of each fault above the budget that the effective settings gave it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes

from harness.analysis.stall import Stall, worst_stall
from harness.measurements import CompletionLog, FaultRecord, Measurements
from harness.reporting import canvas, lanes
from harness.reporting.series import Axis
from harness.units import format_seconds

ROW = 15.0
SIZE = 8.5
MOST_PAUSES = 4
SHORTEST_SHADED_S = 0.2
_TERMS = ("#f0f0f0", "#d6d6d6")


@dataclass(frozen=True)
class Pause:
    """The longest stall of the time that belongs to one fault, or of a run without any."""

    stall: Stall
    fault: FaultRecord | None = None

    def __str__(self) -> str:
        text = f"stall {format_seconds(self.stall.seconds)}"
        if self.fault is None:
            return text
        if self.fault.budget.unlimited:
            return f"{text}, no limit"
        return f"{text} of {format_seconds(self.fault.budget.seconds)} allowed"


def pauses(measurements: Measurements) -> tuple[Pause, ...]:
    """One for each fault, in order; of too many faults, those with the longest stalls.

    A fault's time reaches from its injection to the next one's, the first one's from the start,
    so that the longest of all is among them.
    """
    faults = sorted(measurements.faults, key=lambda fault: fault.injected_ns)
    if len(faults) <= 1:
        stall = worst_stall(measurements)
        return (Pause(stall, next(iter(faults), None)),) if stall else ()
    found: list[Pause] = []
    ends = [*(int(fault.injected_ns) for fault in faults[1:]), np.iinfo(np.int64).max]
    start_ns = 0
    for fault, end_ns in zip(faults, ends, strict=True):
        stall = worst_stall(_between(measurements, start_ns, end_ns))
        if stall:
            found.append(Pause(stall, fault))
        start_ns = end_ns
    longest = sorted(found, key=lambda pause: -pause.stall.seconds)[:MOST_PAUSES]
    return tuple(pause for pause in found if pause in longest)


def height(drawn: tuple[Pause, ...]) -> float:
    """Points that the lane needs."""
    return (2 * ROW + 4) * len(drawn) - 4


def shade(lane: Axes, drawn: tuple[Pause, ...], axis: Axis, *, label: bool) -> None:
    """Show on another lane when nothing was completed; `label` writes its length there."""
    for stall in (pause.stall for pause in drawn if pause.stall.seconds >= SHORTEST_SHADED_S):
        start, end = axis.seconds(stall.start_ns), axis.seconds(stall.end_ns)
        lane.axvspan(start, end, facecolor=canvas.ORANGE, alpha=0.16, linewidth=0, zorder=0)
        if label:
            lane.annotate(
                "", xy=(start, 0.5), xytext=(end, 0.5), xycoords=("data", "axes fraction"),
                arrowprops={"arrowstyle": "<->", "color": canvas.INK, "linewidth": 0.8,
                            "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip
            lane.annotate(
                format_seconds(stall.seconds), xy=((start + end) / 2, 0.5),
                xycoords=("data", "axes fraction"), xytext=(0, 4), textcoords="offset points",
                ha="center", va="bottom", fontsize=8.5, fontweight="bold",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8},
            )  # fmt: skip


def draw(lane: Axes, drawn: tuple[Pause, ...], axis: Axis, *, width: float) -> None:
    """Two bars per fault: what was measured, and what was allowed, term by term.

    `width` is that of the lane in points.
    """
    lanes.title(lane, "Stall and its budget")
    lane.grid(visible=False, axis="y")
    lane.set_yticks([])
    lane.set_ylim(height(drawn), 0)
    for number, pause in enumerate(drawn):
        top = number * (2 * ROW + 4)
        start = axis.seconds(pause.stall.start_ns)
        _bar(lane, start, pause.stall.seconds, top, canvas.ORANGE)
        measured = f"stall {format_seconds(pause.stall.seconds)}, {pause.stall.stream}"
        _write(lane, (start, start + pause.stall.seconds), top + ROW / 2, measured, width)
        if pause.fault is None:
            continue
        at = start
        limited = [t for t in pause.fault.budget.terms if t not in pause.fault.budget.unlimited]
        for term_number, term in enumerate(limited):
            _bar(lane, at, term.seconds, top + ROW, _TERMS[term_number % 2])
            at += term.seconds
        _write(lane, (start, at), top + 1.5 * ROW, f"budget {pause.fault.budget}", width)


def _bar(lane: Axes, start: float, length: float, top: float, colour: str) -> None:
    lane.barh(
        top + 1, length, left=start, height=ROW - 3, align="edge",
        facecolor=colour, edgecolor=canvas.INK, linewidth=0.6,
    )  # fmt: skip


def _write(lane: Axes, bar: tuple[float, float], row: float, text: str, width: float) -> None:
    """Write where there is room: to the right of the bar, else to its left, else within it."""
    low, high = lane.get_xlim()
    needed = (canvas.text_width(text, SIZE) + 8) * (high - low) / width
    start, end = max(bar[0], low), min(bar[1], high)
    if high - end >= needed:
        x, offset, align = end, 5, "left"
    elif start - low >= needed:
        x, offset, align = start, -5, "right"
    else:
        x, offset, align = min(start, high - needed), 5, "left"
    lane.annotate(
        text, xy=(x, row), xytext=(offset, 0), textcoords="offset points",
        ha=align, va="center", fontsize=SIZE, annotation_clip=False,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
    )  # fmt: skip


def _between(measurements: Measurements, start_ns: int, end_ns: int) -> Measurements:
    """The same, with only what was completed in a stretch of time."""
    streams = []
    for stream in measurements.streams:
        log = stream.completions
        inside = (log.at_ns >= start_ns) & (log.at_ns < end_ns)
        cut = CompletionLog(
            log.at_ns[inside], log.latency_ns[inside], log.offset[inside],
            log.size[inside], log.is_write[inside], log.resolution_ns,
        )  # fmt: skip
        streams.append(replace(stream, completions=cut))
    return replace(measurements, streams=tuple(streams))
