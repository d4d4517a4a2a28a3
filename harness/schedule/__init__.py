"""Which worker runs which test next: the policy, and a simulation of it. Pure.

`policy` decides, for the simulation and for `harness.plugin.scheduler` alike. A worker runs one
test at a time; a machine of a fleet has as many workers as it has slots.
"""

from harness.schedule.policy import Case, Labels, Schedule, missing_labels

__all__ = ["Case", "Labels", "Schedule", "missing_labels"]
