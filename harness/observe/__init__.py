"""Watching a machine from inside: kernel log, path states and counters, its clock.

One small resident program per machine, one open channel to it; nothing is forked per sample.
Imports `machine` and the data layers.
"""

from harness.observe.clock import Clock
from harness.observe.observer import (
    Observation,
    Observer,
    Sample,
    Watch,
    leave_resident,
    observing,
)

__all__ = ["Clock", "Observation", "Observer", "Sample", "Watch", "leave_resident", "observing"]
