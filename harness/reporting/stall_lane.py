"""The stall of each fault above the budget that the effective settings gave it."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes

from harness.measurements import Budget, FaultRecord, Measurements
from harness.reporting import canvas, lanes
from harness.reporting.series import Axis, Gap, longest_gap
from harness.units import format_seconds

ROW = 15.0
MOST_FAULTS = 4
SHORTEST_SHADED_S = 0.2
_TERMS = ("#f0f0f0", "#d6d6d6")


@dataclass(frozen=True)
class Stall:
    """The longest gap around one fault. `allowed_from_ns` is where its budget begins to count."""

    fault: FaultRecord
    gap: Gap
    allowed_from_ns: int

    @property
    def budget(self) -> Budget:
        return self.fault.budget

    @property
    def headline(self) -> str:
        length = f"stall {format_seconds(self.gap.seconds)}"
        if self.fault.io_stops:
            return f"{length}, until a path was back"
        return f"{length} of {format_seconds(self.budget.seconds)} allowed"


def stalls(measurements: Measurements) -> tuple[Stall, ...]:
    """The stall of every fault, the longest first if there are more than can be drawn."""
    found: list[Stall] = []
    for fault in measurements.faults:
        end_ns = fault.healing_confirmed_ns if fault.io_stops else fault.healed_ns
        gap = longest_gap(measurements, fault.injected_ns, end_ns)
        if gap is not None:
            start_ns = max(gap.start_ns, fault.healed_ns) if fault.io_stops else gap.start_ns
            found.append(Stall(fault, gap, start_ns))
    if len(found) > MOST_FAULTS:
        found.sort(key=lambda s: -s.gap.seconds)
    return tuple(found[:MOST_FAULTS])


def height(drawn: tuple[Stall, ...]) -> float:
    """Points that the lane needs."""
    return ROW * 2 * len(drawn) + 4 * (len(drawn) - 1)


def shade(lane: Axes, drawn: tuple[Stall, ...], axis: Axis, *, label: bool) -> None:
    """Show on another lane when nothing was completed; `label` writes its length there."""
    for stall in drawn:
        start, end = axis.seconds(stall.gap.start_ns), axis.seconds(stall.gap.end_ns)
        if end - start < SHORTEST_SHADED_S:
            continue
        lane.axvspan(start, end, facecolor=canvas.ORANGE, alpha=0.16, linewidth=0, zorder=0)
        if label:
            lane.annotate(
                "", xy=(start, 0.5), xytext=(end, 0.5), xycoords=("data", "axes fraction"),
                arrowprops={"arrowstyle": "<->", "color": canvas.INK, "linewidth": 0.8,
                            "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip
            lane.annotate(
                format_seconds(stall.gap.seconds), xy=((start + end) / 2, 0.5),
                xycoords=("data", "axes fraction"), xytext=(0, 4), textcoords="offset points",
                ha="center", va="bottom", fontsize=8.5, fontweight="bold",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8},
            )  # fmt: skip


def draw(lane: Axes, drawn: tuple[Stall, ...], axis: Axis) -> None:
    """Two bars per fault: what was measured, and what was allowed, term by term."""
    lanes.title(lane, "Stall and its budget")
    lane.grid(visible=False, axis="y")
    lane.set_yticks([])
    lane.spines["bottom"].set_visible(True)
    step = 2 * ROW + 4
    lane.set_ylim(height(drawn), 0)
    for number, stall in enumerate(drawn):
        _draw_one(lane, stall, axis, number * step)


def _draw_one(lane: Axes, stall: Stall, axis: Axis, top: float) -> None:
    start, end = axis.seconds(stall.gap.start_ns), axis.seconds(stall.gap.end_ns)
    lane.barh(
        top + 1, end - start, left=start, height=ROW - 3, align="edge",
        facecolor=canvas.ORANGE, edgecolor=canvas.INK, linewidth=0.6,
    )  # fmt: skip
    allowed_from = axis.seconds(stall.allowed_from_ns)
    at = allowed_from
    for number, term in enumerate(stall.budget.terms):
        lane.barh(
            top + ROW + 1, term.seconds, left=at, height=ROW - 3, align="edge",
            facecolor=_TERMS[number % 2], edgecolor=canvas.INK, linewidth=0.6,
        )  # fmt: skip
        at += term.seconds
    _write(lane, start, end, top + ROW / 2, f"stall {format_seconds(stall.gap.seconds)}, {stall.gap.stream}")
    after = ", once a path is back" if stall.fault.io_stops else ""
    _write(lane, allowed_from, at, top + 1.5 * ROW, f"budget {stall.budget}{after}")


def _write(lane: Axes, start: float, end: float, row: float, text: str) -> None:
    """To the right of the bar, or to its left where there is more room."""
    low, high = lane.get_xlim()
    rightwards = high - end > start - low or high - end > 0.55 * (high - low)
    lane.annotate(
        text, xy=(end if rightwards else start, row), xytext=(5 if rightwards else -5, 0),
        textcoords="offset points", ha="left" if rightwards else "right", va="center",
        fontsize=8.5, annotation_clip=False,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
    )  # fmt: skip


