"""The workload: fio with verification and per-I/O logs, and the read-back of what it wrote.

Imports `machine` and the data layers.
"""

from harness.workload.job import Area, Job, JobKind
from harness.workload.ledger import Ledger
from harness.workload.report import FioReport
from harness.workload.run import FioRun, RunResult, read_back

__all__ = [
    "Area",
    "FioReport",
    "FioRun",
    "Job",
    "JobKind",
    "Ledger",
    "RunResult",
    "read_back",
]
