"""Where the time of a run went."""

from __future__ import annotations

from harness.steps import Bill, Spent
from harness.units import format_seconds

BAR = 24


def format_bill(bill: Bill, wall_s: float, workers: int = 0) -> str:
    """A table of plain text, one line per kind of work, the largest bar `BAR` characters long.

    `wall_s` is how long the run took. The lines add up to it: what no step accounts for has a
    line, and so has what was done at the same time as something else, which is taken off again.
    Shares are of the time of all `workers`, if there are any.
    """
    most = max([*bill.seconds.values(), 0.001])
    rows = [(spent.value, seconds) for spent, seconds in bill.seconds.items() if seconds >= 0.05]
    total_s = wall_s * max(workers, 1)
    unbilled_s = total_s - sum(bill.seconds.values())
    if abs(unbilled_s) >= 0.05:
        name = "(outside any step)" if unbilled_s > 0 else "(side by side)"
        rows.append((name, unbilled_s))
        most = max(most, unbilled_s)
    wide = max((len(name) for name, _ in rows), default=0)
    each = f", for each of {workers} workers" if workers > 1 else ""
    lines = [f"where the time went: {format_seconds(wall_s)} on the wall clock{each}"]
    for name, seconds in rows:
        share = seconds / total_s if total_s > 0 else 0.0
        bar = "█" * round(BAR * seconds / most)
        lines.append(f"  {name:<{wide}}  {seconds:8.1f} s  {share:4.0%}  {bar}".rstrip())
    needed_s = bill.seconds[Spent.IO] + bill.seconds[Spent.WAITING]
    if needed_s > 0 and not workers:
        times = (wall_s - bill.seconds[Spent.TURN]) / needed_s
        lines.append(
            f"{times:.2f} times the {needed_s:.0f} s in which I/O went on, "
            "under faults and without, or was read back"
        )
    return "\n".join(lines)


def format_pace(workers: int, wall_s: float, tests_s: float) -> str:
    """How much workers side by side gained, if each test would have taken as long alone.

    `tests_s` is without what tests waited for others to make room.
    """
    times = tests_s / wall_s if wall_s > 0 else 0.0
    noun = "worker" if workers == 1 else "workers"
    return (
        f"{workers} {noun}: {wall_s:.0f} s for {tests_s:.0f} s of tests, "
        f"{times:.2f} times as fast as these one after another"
    )
