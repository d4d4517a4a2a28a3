"""What the means of a fault show."""

from __future__ import annotations

from harness.faults import Fault, Lab
from harness.measurements import MeansSample


def means_of(fault: Fault, lab: Lab) -> dict[str, MeansSample]:
    """One sample of them, by the name of each part."""
    return {sample.part: sample for sample in fault.sample_means(lab)}
