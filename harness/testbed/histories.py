"""The history of a map's blocks: from the clock of the initiator to that of the host."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.analysis.register import MOST_BLOCKS
from harness.errors import WorkloadError
from harness.measurements import NEVER_NS, WriteHistory
from harness.observe import Clock
from harness.testbed.lun_io import LunIo
from harness.workload import RunResult
from harness.workload.history import JobWrites, write_history


def history_of(of: LunIo, result: RunResult) -> WriteHistory | None:
    """What was written to a LUN and seen of it, on the initiator's clock.

    None if nothing was written that can be recognised, if it went to more blocks than the judge can
    tell apart, or if fio's logs make no sense.
    """
    try:
        ledgers = {job.name: (job, ledger) for job, ledger in result.ledgers()}
    except WorkloadError:  # what was read back says why
        return None
    if not ledgers:
        return None
    looks = of.reading.looks if of.reading else {}
    jobs = [
        JobWrites(job.area, log, result.issued[job.name], ledgers[job.name][1], looks.get(job.name))
        for job, log in zip(result.jobs, result.logs, strict=True)
        # Of a job that completed no write nothing is known of when it began.
        if job.name in ledgers and log.is_write.any()
    ]
    if not jobs or sum(len(np.unique(job.issued.offset)) for job in jobs) > MOST_BLOCKS:
        return None
    return write_history(jobs, of.sightings, next(iter(ledgers.values()))[0].block_size)


def on_host(history: WriteHistory, clock: Clock) -> WriteHistory:
    """The same on the host's clock."""
    writes, looks = history.writes, history.looks
    done = writes.acknowledged
    acknowledged_ns = np.full(len(writes), NEVER_NS, dtype=np.int64)
    acknowledged_ns[done] = clock.array_to_host(writes.acknowledged_ns[done])
    return replace(
        history,
        writes=replace(
            writes,
            issued_ns=clock.array_to_host(writes.issued_ns),
            acknowledged_ns=acknowledged_ns,
        ),
        looks=replace(
            looks,
            began_ns=clock.array_to_host(looks.began_ns),
            ended_ns=clock.array_to_host(looks.ended_ns),
        ),
    )
