"""Every acknowledged write against what is found afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.errors import WorkloadError
from harness.measurements import BlockFinding, CompletionLog, ReadBack
from harness.units import NS_PER_MS

# Between the time in a block's header and the submission that the log knows lie fio's own
# preparations and the log's grain; a rewrite of the same block is at least a whole pass later.
_GRAIN_NS = 50 * NS_PER_MS


@dataclass(frozen=True)
class FoundBlock:
    """A block as read back: `problem` is "ok" or what is wrong with it by itself."""

    problem: str
    written_ns: int


def parse_found(text: str) -> dict[int, FoundBlock]:
    """Offset -> block, from the output of `reader.py`. Raises WorkloadError for another form."""
    found = {}
    for line in text.splitlines():
        parts = line.split()
        if len(parts) != 3:
            raise WorkloadError(f"not a line of the read-back: {line!r}")
        found[int(parts[0])] = FoundBlock(parts[1], int(parts[2]))
    return found


def acknowledged(log: CompletionLog) -> dict[int, int]:
    """Offset -> when its last acknowledged write was submitted (ns), by ascending offset."""
    writes = log.is_write
    order = np.argsort(log.at_ns[writes], kind="stable")
    offsets = log.offset[writes][order]
    submitted = (log.at_ns - log.latency_ns)[writes][order]
    return dict(sorted(zip(offsets.tolist(), submitted.tolist(), strict=True)))


def compare(log: CompletionLog, found: Mapping[int, FoundBlock]) -> ReadBack:
    """Every block whose last write was acknowledged must be there, whole, in place and that new.

    `log` and `found` are on the same clock (that of the machine that ran fio).
    """
    last_write = acknowledged(log)
    findings = []
    checked = 0
    for offset, since_ns in last_write.items():
        block = found.get(offset)
        if block is None:
            continue
        checked += 1
        if block.problem != "ok":
            findings.append(BlockFinding(offset, block.problem))
        elif block.written_ns < since_ns - _GRAIN_NS:
            older_s = (since_ns - block.written_ns) / 1e9
            findings.append(BlockFinding(offset, f"stale: {older_s:.1f} s older than acknowledged"))
    return ReadBack(acknowledged=len(last_write), checked=checked, findings=tuple(findings))
