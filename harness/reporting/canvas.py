"""How every picture looks, and how it becomes the same bytes each time."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath
from matplotlib.typing import RcKeyType

# Okabe and Ito's palette: told apart with any colour vision.
BLUE = "#0072B2"
SKY = "#56B4E9"
GREEN = "#009E73"
VERMILION = "#D55E00"
ORANGE = "#E69F00"
PURPLE = "#CC79A7"
YELLOW = "#F0E442"
# Two more, of Tol's muted palette.
WINE = "#882255"
OLIVE = "#999933"
INK = "#222222"
FAINT = "#8a8a8a"
GRID = "#e4e4e4"

Dash = str | tuple[int, tuple[float, ...]]
CURVES = (BLUE, ORANGE, PURPLE, SKY)
DASHES: tuple[Dash, ...] = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.5, 1.5)))

POINTS = 72  # per inch
_TEXT = TextToPath()

_STYLE: dict[RcKeyType, object] = {
    "svg.fonttype": "none",  # text stays text: searchable, and small
    "svg.hashsalt": "pathproof",  # the same data gives the same bytes
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so sizes are the same everywhere
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "hatch.linewidth": 0.8,
    "text.parse_math": False,
}


_drawing = threading.Lock()  # matplotlib's settings belong to the whole process


@contextmanager
def style() -> Iterator[None]:
    """Draw in Pathproof's style, whatever the user's matplotlib is set to, one at a time."""
    with _drawing, mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def new_figure(width_pt: float, height_pt: float) -> Figure:
    """An empty white figure without any global state, so that threads may draw."""
    figure = Figure(figsize=(width_pt / POINTS, height_pt / POINTS), dpi=POINTS, facecolor="white")
    FigureCanvasSVG(figure)
    return figure


def add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes placed in points from the upper left corner."""
    total_width, total_height = figure.get_size_inches() * POINTS
    return figure.add_axes(
        (
            left / total_width,
            1 - (top + height) / total_height,
            width / total_width,
            height / total_height,
        )
    )


def bare(axes: Axes, *, bottom: bool = False) -> None:
    """Only a baseline and a quiet grid; lines drawn on the figure itself shine through."""
    axes.set_zorder(1)
    axes.patch.set_visible(False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.grid(visible=True, axis="both", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelbottom=bottom, pad=4)
    axes.margins(x=0)


def to_svg(figure: Figure) -> bytes:
    """The figure as SVG without a date, in a font that every browser has a likeness of."""
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return content.getvalue().replace(
        b"'DejaVu Sans'", b"'DejaVu Sans', Verdana, Arial, sans-serif"
    )


def text_width(text: str, size: float) -> float:
    """Points that a text takes in DejaVu Sans, the widest of the fonts a browser may choose."""
    font = FontProperties(family="DejaVu Sans", size=size)
    width, _, _ = _TEXT.get_text_width_height_descent(text, font, ismath=False)
    return float(width)
