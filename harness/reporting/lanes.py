"""The lanes of the failover picture that show I/O: load, latency, one per path."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import blended_transform_factory

from harness.analysis.throughput import load
from harness.budget import Effect
from harness.measurements import CompletionLog, FaultRecord, Measurements, PathCounters, Stream
from harness.reporting import canvas, series
from harness.reporting.series import Axis, Floats, Span
from harness.units import NS_PER_MS, NS_PER_S

SLOW_NS = 250 * NS_PER_MS  # an I/O as slow as this is also drawn as a line from its submission
MOST_SLOW = 40
NARROWEST_NAMED_SHARE = 0.06  # of the axis: a state needs that much room for its name
# A fault's band on the paths that it hits.
EFFECT_COLOURS: Mapping[Effect, str] = {
    Effect.SILENT: canvas.PURPLE,
    Effect.UNREACHABLE: canvas.SKY,
    Effect.REFUSED: canvas.VERMILION,
    Effect.INTERRUPTED: canvas.BLUE,
    Effect.DEGRADED: canvas.YELLOW,
    Effect.HELD: canvas.ORANGE,
    Effect.NOT_READY: canvas.FAINT,
    Effect.REGROUPED: canvas.GREEN,
    Effect.DETACHED: canvas.WINE,
    Effect.RECONNECTED: canvas.OLIVE,
    Effect.UNNOTICED: canvas.INK,  # hits no path
}


def title(lane: Axes, text: str, *, pad: float = 4) -> None:
    """Name the lane above its left end, over a white ground that hides what passes below."""
    lane.set_title(
        text, loc="left", fontsize=9, fontweight="bold", pad=pad,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )  # fmt: skip


def draw_load(lane: Axes, measurements: Measurements, axis: Axis) -> None:
    """MiB/s of every stream of the load."""
    streams = load(measurements.streams)
    one = f" ({_name(streams[0])})" if len(streams) == 1 else ""
    title(lane, f"Throughput of the load{one}, MiB/s")
    for number, stream in enumerate(streams):
        colour = canvas.CURVES[number % len(canvas.CURVES)]
        dashes = canvas.DASHES[number % len(canvas.DASHES)]
        rate = series.throughput(stream.completions, axis)
        _curve(lane, rate, axis, colour=colour, dashes=dashes, filled=len(streams) == 1)
        lane.plot([], [], color=colour, linestyle=dashes, label=_name(stream))
    if len(streams) > 1:
        lane.legend(
            loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0, borderpad=0.2,
            ncols=len(streams), fontsize=8.5, frameon=True, framealpha=1, edgecolor="none",
        )  # fmt: skip
    lane.set_ylim(bottom=0)
    lane.yaxis.set_major_locator(MaxNLocator(4))


def draw_latency(lane: Axes, measurements: Measurements, axis: Axis) -> None:
    """Every I/O of the probe (of the longest log without one): a dot at its completion."""
    probe = measurements.probe
    log = probe.completions if probe else _longest_log(measurements)
    title(lane, f"Latency of the {_name(probe) if probe else 'load'}")
    if log is None or not len(log):
        lane.text(0.5, 0.5, "no I/O was logged", transform=lane.transAxes, ha="center", va="center")
        lane.set_yticks([])
        return
    at_ns, latency_ns = series.thin_out(log.at_ns, log.latency_ns, axis, columns=320)
    latency_s = np.maximum(latency_ns, 10_000) / NS_PER_S
    lane.set_yscale("log")
    lane.plot(
        (at_ns - axis.origin_ns) / NS_PER_S, latency_s,
        ".", color=canvas.BLUE, markersize=3, markeredgewidth=0,
    )  # fmt: skip
    slowest = np.argsort(log.latency_ns)[-MOST_SLOW:]
    slow = slowest[log.latency_ns[slowest] >= SLOW_NS]
    ends_s = (log.at_ns[slow] - axis.origin_ns) / NS_PER_S
    took_s = log.latency_ns[slow] / NS_PER_S
    lane.hlines(took_s, ends_s - took_s, ends_s, color=canvas.BLUE, linewidth=1.4)
    lane.plot(ends_s, took_s, "o", color=canvas.BLUE, markersize=4)
    low, high = float(latency_s.min()), float(latency_s.max())
    lane.set_ylim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high * 1.3)))
    lane.yaxis.set_major_locator(LogLocator(numticks=5))
    lane.yaxis.set_minor_locator(NullLocator())
    lane.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short_seconds(value)))


def draw_path(
    lane: Axes, measurements: Measurements, counters: PathCounters, axis: Axis, highest: float
) -> None:
    """MiB/s of one path below a strip that names its state, on a band for each fault of it."""
    title(lane, f"Path {counters.path} ({', '.join(counters.disks)}), MiB/s", pad=17.5)
    rate = np.nan_to_num(series.path_throughput(counters, axis))
    _curve(lane, rate, axis, colour=canvas.BLUE)
    lane.set_ylim(0, highest)
    lane.yaxis.set_major_locator(MaxNLocator(2))
    for span in series.path_spans(measurements, counters.path, axis):
        _draw_state(lane, span, axis)
    for fault in measurements.faults:
        if counters.path in fault.paths and fault.effects:
            _draw_fault(lane, fault, axis)


def highest_path_rate(measurements: Measurements, axis: Axis) -> float:
    """One scale for all paths, so that their lanes can be compared."""
    rates = (series.path_throughput(counters, axis) for counters in measurements.counters)
    return 1.08 * max((float(np.nan_to_num(r).max(initial=0.0)) for r in rates), default=0.0) or 1.0


def _draw_state(lane: Axes, span: Span, axis: Axis) -> None:
    failed = span.state != "active"
    start, end = axis.seconds(span.start_ns), axis.seconds(span.end_ns)
    across = blended_transform_factory(lane.transData, lane.transAxes)
    lane.fill_between(
        [start, end], 1.02, 1.24, transform=across, clip_on=False, zorder=3,
        facecolor="white" if failed else canvas.GREEN,
        edgecolor=canvas.VERMILION if failed else canvas.GREEN,
        linewidth=0.6, hatch="/////" if failed else None,
    )  # fmt: skip
    if span.end_ns - span.start_ns > NARROWEST_NAMED_SHARE * (axis.end_ns - axis.start_ns):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6} if failed else None
        lane.text(
            (start + end) / 2, 1.12, span.state, transform=across, ha="center", va="center",
            fontsize=8, fontweight="bold", zorder=4, bbox=box,
            color=canvas.VERMILION if failed else "white",
        )  # fmt: skip


def _draw_fault(lane: Axes, fault: FaultRecord, axis: Axis) -> None:
    """While it is felt, until its healing, with what the initiator notices of it in words."""
    start, end = axis.seconds(fault.felt_from_ns), axis.seconds(fault.healed_ns)
    colour = EFFECT_COLOURS[fault.effects[0]]
    lane.axvspan(start, end, facecolor=colour, alpha=0.18, linewidth=0, zorder=0)
    if fault.healed_ns - fault.felt_from_ns > NARROWEST_NAMED_SHARE * (axis.end_ns - axis.start_ns):
        lane.annotate(
            " and ".join(fault.effects), xy=(start, 1), xycoords=("data", "axes fraction"),
            xytext=(3, -3), textcoords="offset points", ha="left", va="top", fontsize=8,
        )  # fmt: skip


def _curve(
    lane: Axes,
    rate: Floats,
    axis: Axis,
    *,
    colour: str,
    dashes: canvas.Dash = "solid",
    filled: bool = True,
) -> None:
    if filled:
        lane.stairs(rate, axis.edges_s, color=colour, fill=True, alpha=0.18, linewidth=0)
    lane.stairs(rate, axis.edges_s, baseline=None, color=colour, linewidth=1.1, linestyle=dashes)


def _name(stream: Stream) -> str:
    return f"{stream.name}, depth {stream.depth}"


def _longest_log(measurements: Measurements) -> CompletionLog | None:
    return max((stream.completions for stream in measurements.streams), key=len, default=None)


def _short_seconds(value: float) -> str:
    if value < 1e-3:
        return f"{value * 1e6:g} µs"
    return f"{value * 1e3:g} ms" if value < 1 else f"{value:g} s"
