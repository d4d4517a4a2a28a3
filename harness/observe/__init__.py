"""Watching a machine from inside: kernel log, path states and counters, its clock.

One small resident program per machine, one open channel to it; nothing is forked per sample.
And from outside: how much processor time the host gives to guests.
Imports `machine` and the data layers.
"""

from harness.observe.clock import Clock
from harness.observe.observer import Observer, leave_resident, observing
from harness.observe.sample import (
    DiskSample,
    MapDisk,
    MapProbe,
    MapSample,
    NicSample,
    Observation,
    Sample,
    Watch,
)
from harness.observe.steal import StealWatch, watching_steal

__all__ = [
    "Clock",
    "DiskSample",
    "MapDisk",
    "MapProbe",
    "MapSample",
    "NicSample",
    "Observation",
    "Observer",
    "Sample",
    "StealWatch",
    "Watch",
    "leave_resident",
    "observing",
    "watching_steal",
]
