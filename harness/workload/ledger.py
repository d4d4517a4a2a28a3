"""Every acknowledged write against what is found afterwards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.errors import WorkloadError
from harness.measurements import BlockFinding, CompletionLog, ReadBack
from harness.units import NS_PER_S

# Blocks that an earlier run left are at least this much older than the first write of this one:
# in between, fio ends, everything is read back, and fio starts again.
_BETWEEN_RUNS_NS = NS_PER_S // 2
# For how long a busy host may not run a guest between the two looks at the clock.
_NOT_SCHEDULED_NS = NS_PER_S


@dataclass(frozen=True)
class FoundBlock:
    """A block as read back: `problem` is "ok" or what is wrong with it by itself."""

    problem: str
    written_ns: int


def parse_found(text: str) -> dict[int, FoundBlock]:
    """Offset -> block, from the output of `reader.py`. Raises WorkloadError for another form."""
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r"(\d+) (\S+) (\d+)", line)
        if match is None:
            raise WorkloadError(f"not a line of the read-back: {line!r}")
        found[int(match[1])] = FoundBlock(match[2], int(match[3]))
    return found


def acknowledged(log: CompletionLog) -> dict[int, int]:
    """Offset -> the time (ns) that its content must not be older than, by ascending offset.

    A block's header says when fio made it, the log when it was submitted; on a busy machine
    the two differ by as long as the process did not run. So a block is stale only if it is
    nearer to the write before the last, by a second at least, or older than the first write of
    all.
    """
    writes = log.is_write
    order = np.argsort(log.at_ns[writes], kind="stable")
    offsets = log.offset[writes][order].tolist()
    submitted = (log.at_ns - log.latency_ns)[writes][order].tolist()
    begun_ns = min(submitted, default=0) - _BETWEEN_RUNS_NS
    last: dict[int, int] = {}
    not_older: dict[int, int] = {}
    for offset, at_ns in zip(offsets, submitted, strict=True):
        middle_ns = (last[offset] + at_ns) // 2 if offset in last else begun_ns
        not_older[offset] = max(begun_ns, min(middle_ns, at_ns - _NOT_SCHEDULED_NS))
        last[offset] = at_ns
    return dict(sorted(not_older.items()))


def compare(log: CompletionLog, found: Mapping[int, FoundBlock]) -> ReadBack:
    """Every block whose last write was acknowledged must be there, whole, in place and current.

    `log` and `found` are on the same clock (that of the machine that ran fio).
    """
    expected = acknowledged(log)
    findings = []
    checked = 0
    for offset, not_older_ns in expected.items():
        block = found.get(offset)
        if block is None:
            continue
        checked += 1
        if block.problem != "ok":
            findings.append(BlockFinding(offset, block.problem))
        elif block.written_ns < not_older_ns:
            older_s = (not_older_ns - block.written_ns) / NS_PER_S
            findings.append(BlockFinding(offset, f"stale by {older_s:.1f} s or more"))
    return ReadBack(acknowledged=len(expected), checked=checked, findings=tuple(findings))
