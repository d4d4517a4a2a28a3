"""How sure the judge of what was written finds damage: a simulation; pure.

A history of writes and looks, recorded or synthetic, gets damage of a known size, place and length
at a random moment, and the judge has to find it. It is believed only as far as real plants agree.
"""

from harness.analysis.power.plants import (
    Changed,
    Lost,
    Plant,
    Replayed,
    Stale,
    Swapped,
    Torn,
)
from harness.analysis.power.recorded import parse_history, render_history
from harness.analysis.power.simulation import Rate, Table, measure_power
from harness.analysis.power.sweeping import Looking
from harness.analysis.power.synthetic import Shape, Written, synthetic_history

__all__ = [
    "Changed",
    "Looking",
    "Lost",
    "Plant",
    "Rate",
    "Replayed",
    "Shape",
    "Stale",
    "Swapped",
    "Table",
    "Torn",
    "Written",
    "measure_power",
    "parse_history",
    "render_history",
    "synthetic_history",
]
