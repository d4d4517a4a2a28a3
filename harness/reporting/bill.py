"""Where the time of a run went."""

from __future__ import annotations

from harness.steps import Bill
from harness.units import format_seconds

BAR = 24


def format_bill(bill: Bill, wall_s: float) -> str:
    """A table of plain text, one line per kind of work, the largest bar `BAR` characters long.

    `wall_s` is how long the run took; work done side by side is billed side by side, so the
    lines may add up to more. What no step accounts for is named as such.
    """
    most = max([*bill.seconds.values(), 0.001])
    rows = [(spent.value, seconds) for spent, seconds in bill.seconds.items()]
    unbilled_s = wall_s - sum(bill.seconds.values())
    if unbilled_s >= 0.05:
        rows.append(("(outside any step)", unbilled_s))
        most = max(most, unbilled_s)
    wide = max(len(name) for name, _ in rows)
    lines = [f"where the time went: {format_seconds(wall_s)} on the wall clock"]
    for name, seconds in rows:
        share = seconds / wall_s if wall_s > 0 else 0.0
        bar = "█" * round(BAR * seconds / most)
        lines.append(f"  {name:<{wide}}  {seconds:8.1f} s  {share:4.0%}  {bar}".rstrip())
    return "\n".join(lines)
