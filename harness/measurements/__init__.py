"""What was measured in one test: frozen data between measuring and judging.

Times are nanoseconds on the host's monotonic clock unless a name says otherwise; arrays
are one-dimensional, int64, of one length within an object and ordered by time.
"""

from harness.measurements.arrays import Ints
from harness.measurements.faults import FaultRecord, MeansSample
from harness.measurements.lab import CableEnd, LabDisk, ProcessorTime
from harness.measurements.machines import ClockReading, KernelLog, KernelMessage, Watching
from harness.measurements.measurements import Measurements
from harness.measurements.paths import (
    DiskError,
    LinkTraffic,
    PathCounters,
    PathStates,
    UnplannedDisk,
)
from harness.measurements.read_back import MAP, BlockFinding, Damage, ReadBack
from harness.measurements.sessions import PlannedSession, SessionSettings, Timeout
from harness.measurements.streams import PROBE, CompletionLog, FioErrors, Stream
from harness.measurements.wording import Wording
from harness.measurements.write_history import (
    NEVER_NS,
    Found,
    LookLog,
    WriteHistory,
    WriteLog,
)

__all__ = [
    "MAP",
    "NEVER_NS",
    "PROBE",
    "BlockFinding",
    "CableEnd",
    "ClockReading",
    "CompletionLog",
    "Damage",
    "DiskError",
    "FaultRecord",
    "FioErrors",
    "Found",
    "Ints",
    "KernelLog",
    "KernelMessage",
    "LabDisk",
    "LinkTraffic",
    "LookLog",
    "MeansSample",
    "Measurements",
    "PathCounters",
    "PathStates",
    "PlannedSession",
    "ProcessorTime",
    "ReadBack",
    "SessionSettings",
    "Stream",
    "Timeout",
    "UnplannedDisk",
    "Watching",
    "Wording",
    "WriteHistory",
    "WriteLog",
]
