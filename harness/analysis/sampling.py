"""Whether a machine was sampled often enough for nothing to be missed; pure."""

from __future__ import annotations

from harness.measurements import ProcessorTime, Watching
from harness.units import NS_PER_S

# A path that is lost is not looked at again sooner: in less, none is taken away and given back
# unseen (see `kernel_log` in harness/transport).
LONGEST_GAP_NS = NS_PER_S


def longest_gap_ns(watching: Watching, processors: ProcessorTime | None) -> int:
    """Nanoseconds without a sample while the machine may have been running.

    One that its host gives no processor does nothing that could be missed.
    """
    return max(_unseen_ns(watching, processors, *gap) for gap in watching.gaps())


def missing_ns(
    watching: Watching, processors: ProcessorTime | None, start_ns: int, end_ns: int
) -> int:
    """How much of a stretch of time lies in gaps that are too long, in nanoseconds."""
    return sum(
        max(0, min(gap_end_ns, end_ns) - max(gap_start_ns, start_ns))
        for gap_start_ns, gap_end_ns in watching.gaps()
        if _unseen_ns(watching, processors, gap_start_ns, gap_end_ns) > LONGEST_GAP_NS
    )


def _unseen_ns(
    watching: Watching, processors: ProcessorTime | None, start_ns: int, end_ns: int
) -> int:
    if processors is None:
        return end_ns - start_ns
    waited_ns = processors.waited_between(start_ns, end_ns, watching.machine)
    return max(0, end_ns - start_ns - waited_ns)
