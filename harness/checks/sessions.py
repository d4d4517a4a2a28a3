"""Whether the initiator is logged in as it was meant to be, before anything is broken."""

from __future__ import annotations

from harness.checks.judgement import Check, Finding, Verdict
from harness.logins import login_problems, shown
from harness.measurements import Measurements


def sessions_as_planned() -> Check:
    """One session on every fabric, each through its own, with the timeouts that were demanded.

    Read from sysfs before the first fault. Two sessions over one cable look like two paths until
    that cable is cut; a timeout that was not taken over makes the budget long, and every stall fit.
    """
    name = "sessions as planned"

    def run(measurements: Measurements) -> Finding:
        if not measurements.planned:
            return Finding(name, Verdict.UNKNOWN, "it is not known which sessions were planned")
        figures = {
            f"session to fabric {one.fabric}": (
                f"through {one.through or 'none of the fabrics'}, "
                f"NOP-Out {one.noop_out_interval_s} + {one.noop_out_timeout_s} s, "
                f"recovery_tmo {shown('recovery_tmo', one.recovery_tmo_s)}"
            )
            for one in measurements.settings
        }
        if wrong := [p.cause for p in login_problems(measurements.planned, measurements.settings)]:
            return Finding(name, Verdict.FAIL, "; ".join(wrong), figures)
        count = len(measurements.planned)
        return Finding(
            name, Verdict.PASS, f"{count} sessions, each through its own fabric", figures
        )

    return Check(name, run)
