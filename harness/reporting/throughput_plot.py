"""Throughput of several phases beside each other, each with its spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from harness.reporting import canvas

WIDTH, ROW = 800.0, 34.0
LEFT, RIGHT, TOP, FOOT = 150.0, 150.0, 34.0, 40.0


def render_throughput(phases: Mapping[str, Sequence[float]], *, title: str = "Throughput") -> bytes:
    """One row per phase as SVG: every sample of half a second (MiB/s), the middle half, the median.

    `phases` maps a phase's name to its samples; the figures are also written out.
    """
    with canvas.style():
        height = TOP + ROW * max(1, len(phases)) + FOOT
        figure = canvas.new_figure(WIDTH, height)
        figure.text(LEFT / WIDTH, 1 - 20 / height, title, fontsize=12, fontweight="bold")
        lane = canvas.add_axes(figure, LEFT, TOP, WIDTH - LEFT - RIGHT, ROW * max(1, len(phases)))
        canvas.bare(lane, bottom=True)
        lane.grid(visible=False, axis="y")
        lane.set_ylim(len(phases) - 0.5, -0.5)
        lane.set_yticks(range(len(phases)), list(phases))
        highest = max((max(samples, default=0.0) for samples in phases.values()), default=0.0)
        lane.set_xlim(0, highest * 1.05 or 1.0)
        lane.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        lane.set_xlabel("MiB/s, one dot per half second")
        for row, samples in enumerate(phases.values()):
            values = np.asarray(samples, dtype=np.float64)
            if not len(values):
                lane.text(0, row, "  no sample", va="center", color=canvas.FAINT)
                continue
            low, middle, high = np.percentile(values, (25, 50, 75))
            lane.barh(
                row, high - low, left=low, height=0.5,
                facecolor=canvas.SKY, edgecolor=canvas.BLUE, linewidth=0.8, alpha=0.5,
            )  # fmt: skip
            # A fixed pattern rather than chance, so that the picture is the same each time.
            offsets = (np.arange(len(values)) * 0.382 % 1 - 0.5) * 0.5
            lane.plot(values, row + offsets, ".", color=canvas.BLUE, markersize=3.5)
            lane.vlines(middle, row - 0.34, row + 0.34, color=canvas.INK, linewidth=2)
            lane.text(
                1.015, row, f"{middle:.1f} ({values.min():.1f} to {values.max():.1f})",
                transform=lane.get_yaxis_transform(), va="center", fontsize=8.5,
            )  # fmt: skip
        return canvas.to_svg(figure)
