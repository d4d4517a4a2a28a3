"""Whether the initiator is logged in as it was meant to be, before anything is broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.checks.judgement import Check, Finding, Verdict
from harness.measurements import Measurements, PlannedSession, SessionSettings


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
                f"recovery_tmo {one.recovery_tmo_s} s"
            )
            for one in measurements.settings
        }
        wrong = [
            problem
            for planned in measurements.planned
            for problem in _problems(planned, measurements.settings)
        ]
        if wrong:
            return Finding(name, Verdict.FAIL, "; ".join(wrong), figures)
        count = len(measurements.planned)
        return Finding(
            name, Verdict.PASS, f"{count} sessions, each through its own fabric", figures
        )

    return Check(name, run)


def _problems(planned: PlannedSession, sessions: Sequence[SessionSettings]) -> Iterator[str]:
    found = [one for one in sessions if one.fabric == planned.fabric]
    if len(found) != 1:
        yield f"fabric {planned.fabric} has {len(found)} sessions instead of one"
    for session in found:
        if session.through != planned.fabric:
            end = f"fabric {session.through}" if session.through else "none of the fabrics"
            yield f"the session to the portal on fabric {planned.fabric} runs through {end}"
        for setting in ("noop_out_interval_s", "noop_out_timeout_s", "recovery_tmo_s"):
            wanted, is_now = getattr(planned, setting), getattr(session, setting)
            if wanted is not None and is_now != wanted:
                yield (
                    f"{setting.removesuffix('_s')} of the session on fabric {planned.fabric} is "
                    f"{is_now} s, where the profile demands {wanted} s"
                )
