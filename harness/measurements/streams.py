"""What fio did: the I/O of each of its jobs."""

from __future__ import annotations

from dataclasses import dataclass

from harness.measurements.arrays import Bools, Ints

PROBE = "probe"  # the name of the paced depth-1 stream that stalls are measured by


@dataclass(frozen=True, eq=False)
class CompletionLog:
    """Every completed I/O of one stream, from fio's per-I/O latency log.

    `at_ns` is when it completed, `latency_ns` the time since it was submitted.
    `resolution_ns` is the grain of the times (fio logs milliseconds).
    """

    at_ns: Ints
    latency_ns: Ints
    offset: Ints
    size: Ints
    is_write: Bools
    resolution_ns: int

    def __len__(self) -> int:
        return len(self.at_ns)


@dataclass(frozen=True)
class FioErrors:
    """What fio itself says of one job: its error number (errno, 0 is none) and error count."""

    error: int
    total_errors: int
    verify_errors: int


@dataclass(frozen=True, eq=False)
class Stream:
    """One fio job. `depth` is the I/O it keeps outstanding; `verified` whether it checks data.

    `reported` is how many I/Os it did by fio's own report, which counts apart from the log.
    `pace` is what it was asked to carry, in bytes a second; None if as much as it can.
    """

    name: str
    depth: int
    verified: bool
    completions: CompletionLog
    errors: FioErrors
    reported: int | None = None
    pace: float | None = None

    @property
    def whole(self) -> bool:
        """Whether fio's log has as many I/Os as fio's report."""
        return len(self.completions) == self.reported
