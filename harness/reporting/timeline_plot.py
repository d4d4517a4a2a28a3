"""The failover picture: what happened when a path died, on one time axis."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from harness.measurements import Measurements
from harness.reporting import canvas, lanes, stall_lane
from harness.reporting.event_labels import Label, Placed, event_labels, place
from harness.reporting.series import Axis
from harness.reporting.stall_lane import Pause
from harness.timeline import Happened
from harness.units import NS_PER_S, format_seconds

# Points. Shown 1000 px wide, one is 1.4 px.
WIDTH = 720.0
LEFT, RIGHT = 50.0, 12.0
PLOT = WIDTH - LEFT - RIGHT
EVENTS_TOP = 36.0
EVENT_ROW = 13.0
EVENT_SIZE = 8.5
FOOT = 36.0

_MARKERS = {
    Happened.FAULT_INJECTED: ("v", canvas.VERMILION),
    Happened.CONNECTION_ERROR: ("x", canvas.VERMILION),
    Happened.RECOVERY_TIMED_OUT: ("x", canvas.VERMILION),
    Happened.PATH_FAILED: ("X", canvas.VERMILION),
    Happened.KERNEL_TROUBLE: ("D", canvas.VERMILION),
    Happened.MAP_ERROR: ("D", canvas.VERMILION),
    Happened.FAULT_HEALED: ("^", canvas.GREEN),
    Happened.SESSION_RECOVERED: ("o", canvas.GREEN),
    Happened.PATH_REINSTATED: ("P", canvas.GREEN),
    Happened.IO_RESUMED: (">", canvas.BLUE),
}


def render_timeline(measurements: Measurements) -> bytes:
    """The picture as SVG: text stays text, and the same measurements give the same bytes.

    From the top: events, throughput of the load, latency of the probe, one lane per path with
    its state, the stall above what its budget allows. Nothing is shown by colour alone.
    """
    with canvas.style():
        return canvas.to_svg(_draw(measurements))


def _draw(measurements: Measurements) -> Figure:
    axis = Axis.of(measurements)
    pauses = stall_lane.pauses(measurements)
    labels = _place(event_labels(measurements, axis), axis)
    rows = 1 + max((placed.row for placed in labels), default=-1)

    # (space above for the title, height) of each lane
    sizes = [(24.0, 104.0), (24.0, 92.0)] + [(39.0, 54.0)] * len(measurements.counters)
    if measurements.faults and pauses:
        sizes.append((26.0, stall_lane.height(pauses)))
    top = EVENTS_TOP + rows * EVENT_ROW
    figure = canvas.new_figure(WIDTH, top + sum(head + high for head, high in sizes) + FOOT)
    drawn: list[Axes] = []
    for head, high in sizes:
        drawn.append(canvas.add_axes(figure, LEFT, top + head, PLOT, high))
        top += head + high

    for lane in drawn:
        canvas.bare(lane, bottom=lane is drawn[-1])
        lane.set_xlim(axis.seconds(axis.start_ns), axis.seconds(axis.end_ns))
        lane.xaxis.set_major_locator(MaxNLocator(14, steps=[1, 2, 5, 10]))
    drawn[-1].set_xlabel(f"seconds since {axis.origin}")
    lanes.draw_load(drawn[0], measurements, axis)
    lanes.draw_latency(drawn[1], measurements, axis)
    highest = lanes.highest_path_rate(measurements, axis)
    for lane, counters in zip(drawn[2:], measurements.counters, strict=False):
        lanes.draw_path(lane, measurements, counters, axis, highest)
    if measurements.faults and pauses:
        stall_lane.draw(drawn[-1], pauses, axis, width=PLOT)
    for lane in drawn[: 2 + len(measurements.counters)]:
        stall_lane.shade(lane, pauses, axis, label=lane is drawn[0])
    _draw_events(figure, labels, axis)
    _headline(figure, measurements, pauses, axis)
    return figure


def _anchor(label: Label, axis: Axis) -> float:
    share = (label.at_s - axis.seconds(axis.start_ns)) * NS_PER_S / (axis.end_ns - axis.start_ns)
    return LEFT + share * PLOT


def _place(labels: tuple[Label, ...], axis: Axis) -> tuple[Placed, ...]:
    return place(
        labels,
        anchor=lambda label: _anchor(label, axis) + 5,
        width=lambda label: canvas.text_width(label.text, EVENT_SIZE),
        right=WIDTH - 3,
        gap=14,
    )


def _draw_events(figure: Figure, labels: tuple[Placed, ...], axis: Axis) -> None:
    height = figure.get_size_inches()[1] * canvas.POINTS

    def line(x: float, y0: float, y1: float, **look: object) -> None:
        ys = (1 - y0 / height, 1 - y1 / height)
        artist = Line2D((x / WIDTH, x / WIDTH), ys, transform=figure.transFigure)
        artist.set(**look)
        figure.add_artist(artist)

    for placed in labels:
        marker, colour = _MARKERS.get(placed.label.what, ("|", canvas.FAINT))
        x = _anchor(placed.label, axis)
        y = EVENTS_TOP + placed.row * EVENT_ROW
        line(x, y, height - FOOT, color=colour, linewidth=0.7, alpha=0.6, zorder=0.5)
        line(x, y, y, color=colour, marker=marker, markersize=5.5, linestyle="none")
        figure.text(
            placed.left / WIDTH, 1 - (y + 3) / height, placed.label.text, fontsize=EVENT_SIZE,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip


def _headline(
    figure: Figure, measurements: Measurements, pauses: tuple[Pause, ...], axis: Axis
) -> None:
    """What was broken and how long nothing moved; the worst, if there was more than one fault."""
    parts = [fault.name for fault in measurements.faults] or ["no fault"]
    text = ", ".join(parts[:3]) + (f" and {len(parts) - 3} more" if len(parts) > 3 else "")
    if pauses:
        worst = max(pauses, key=lambda pause: pause.stall.seconds)
        text += f" · {'' if len(pauses) == 1 and measurements.faults else 'longest '}{worst}"
    height = figure.get_size_inches()[1] * canvas.POINTS
    y = 1 - 18 / height
    figure.text(LEFT / WIDTH, y, text, fontsize=12, fontweight="bold")
    bins = f"bins of {format_seconds(axis.bin_ns / NS_PER_S)}"
    figure.text(1 - 3 / WIDTH, y, bins, fontsize=8, color=canvas.FAINT, ha="right")
