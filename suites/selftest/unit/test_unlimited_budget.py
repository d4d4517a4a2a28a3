"""A setting that is off leaves a stall without a limit: nothing is proven, and the cure is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf

import pytest

from harness.budget import Budget, Effect, Setting
from harness.checks import (
    Verdict,
    fault_took_effect,
    judge,
    no_unexpected_path_loss,
    stall_within_budget,
)
from harness.cli.bench.stall import as_told, case, table
from harness.measurements import Measurements, SessionSettings
from harness.reporting.evidence import settings_markdown, stall_markdown
from harness.reporting.stall_line import stall_line
from harness.reporting.timeline_plot import render_timeline
from harness.reporting.verdict_document import Judged, verdict_document
from harness.timeline import Happened, Timeline
from harness.transport.allowances import InForce
from harness.transport.iscsi.settings import session_settings
from suites.selftest.unit.judged import found, good
from suites.selftest.unit.synthetic_failover import END, HEALED

ALLOWANCES = InForce(Setting("login_timeout", 3, ""), Setting("polling_interval", 1, ""))
OFF = (
    session_settings("a", 0, 0, 1, "a"),
    session_settings("a", 1, 1, -1, "a"),
)
WHY = (
    (
        "noop_out_interval (sysfs recv_tmo) and noop_out_timeout (sysfs ping_tmo) are off: no "
        "NOP-Out is sent, so a connection that falls silent is not found dead (cure: set "
        "noop_out_interval and noop_out_timeout in the node record, then log out and in)"
    ),
    (
        "recovery_tmo (sysfs recovery_tmo) is off: a session that is lost keeps its I/O until it "
        "is back, however long that takes (cure: set fast_io_fail_tmo in multipath.conf to 1 or "
        "more, then `multipathd reconfigure`)"
    ),
)


def without_limit(session: SessionSettings) -> Measurements:
    """A failover in 2.94 s, by a session without a limit."""
    measured = good()
    (fault,) = measured.faults
    slack = fault.budget.terms[-1]
    budget = Budget((*ALLOWANCES.detection_terms(session, Effect.SILENT), slack))
    settings = (session, *measured.settings[1:])
    return replace(measured, settings=settings, faults=(replace(fault, budget=budget),))


@pytest.mark.parametrize(("session", "why"), list(zip(OFF, WHY, strict=True)))
def test_a_stall_without_a_limit_is_unknown_with_a_cure(session: SessionSettings, why: str) -> None:
    """Never a pass, however short it was: the next may last for longer."""
    finding = found(stall_within_budget(), without_limit(session))
    assert finding.verdict is Verdict.UNKNOWN
    start = "I/O stalled 2.94 s (random writes) in SilentDrop(a), and nothing limits it: "
    assert finding.message == start + why
    assert "budget_s" not in finding.numbers
    assert finding.figures["allowed"].startswith("budget no limit (")
    assert finding.same_again


def test_a_demand_holds_without_a_limit() -> None:
    """What exceeds --max-stall fails; what does not is as unknown as before."""
    measured = without_limit(OFF[1])
    for most_s, verdict in ((2.5, Verdict.FAIL), (3.5, Verdict.UNKNOWN)):
        finding = found(stall_within_budget(), replace(measured, max_stall_s=most_s))
        assert finding.verdict is verdict


def lost_late(measured: Measurements) -> Measurements:
    """The path of the fault is given up once more, long after it was healed; and sampled so."""
    (lost,) = (e for e in measured.timeline if e.what is Happened.PATH_FAILED)
    late = replace(lost, at_ns=END - 10**9)
    states = tuple(
        replace(seen, states={**seen.states, "a": "failed"}) if seen.at_ns > late.at_ns else seen
        for seen in measured.path_states
    )
    timeline = Timeline.of([*measured.timeline, late])
    return replace(measured, timeline=timeline, path_states=states)


def test_a_path_may_be_given_up_for_such_a_fault_at_any_time() -> None:
    """Nothing says until when. With a limit, or once it was back, it is a loss without a fault."""
    assert END - 10**9 > HEALED + 4 * 10**9
    assert found(no_unexpected_path_loss(), lost_late(good())).verdict is Verdict.FAIL
    late = lost_late(without_limit(OFF[1]))
    assert found(no_unexpected_path_loss(), late).verdict is Verdict.FAIL
    never_back = [e for e in late.timeline if e.what is not Happened.PATH_REINSTATED]
    finding = found(no_unexpected_path_loss(), replace(late, timeline=Timeline.of(never_back)))
    assert finding.numbers["unexpected"] == 0


def test_a_loss_without_a_fault_may_have_any_cause_before_it() -> None:
    """A session without a limit notices at any time what the lab did."""
    measured = replace(lost_late(without_limit(OFF[0])), faults=())
    finding = found(no_unexpected_path_loss(), measured)
    assert (finding.verdict, finding.span_ns) == (Verdict.FAIL, None)


def told(measured: Measurements) -> Sequence[str]:
    finding = found(stall_within_budget(), measured)
    document = verdict_document(
        "test",
        [Judged(measured, judge(measured, stall_within_budget(), fault_took_effect()))],
        environment={},
        wall_ahead_ns=int(datetime(2026, 3, 14, tzinfo=UTC).timestamp()) * 10**9,
        blamed=None,
    )
    return (
        stall_markdown(measured),
        settings_markdown(measured),
        stall_line("test", measured, finding.numbers),
        document.text,
        json.dumps(as_told([case("stock", "SilentDrop(a)", measured)])),
        table([case("stock", "SilentDrop(a)", measured)]),
        render_timeline(measured).decode(),
    )


def test_what_has_no_limit_is_told_as_such_everywhere() -> None:
    """And JSON, which has no word for infinity, has null."""
    stall, settings, line, document, bench, lines, picture = told(without_limit(OFF[1]))
    assert "| recovery_tmo | off | sysfs recovery_tmo |" in stall
    assert "| **budget** | **no limit** |" in stall
    assert "fast_io_fail_tmo" in stall
    assert "| a | 1 | 1 | off |" in settings
    assert line.startswith("test: 2.94 s without a limit: detection")
    (fault,) = json.loads(document)["judgements"][0]["faults"]
    assert fault["budget_s"] is None
    assert [term["seconds"] for term in fault["budget"]] == [1, 1, None, 1]
    allowed = [part["allowed_s"] for part in fault["parts"]]
    assert allowed[:2] == [2, None]
    (one,) = json.loads(bench)["cases"]
    assert one["budget_s"] is None
    assert one["terms"]["recovery_tmo"] is None
    assert "Infinity" not in document + bench
    assert " no limit " in lines
    assert "recovery_tmo off" in lines
    assert "recovery_tmo off" in picture
    assert str(inf) not in stall + settings + line + lines
