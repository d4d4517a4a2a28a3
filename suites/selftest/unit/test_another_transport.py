"""Checks and reports of another transport, with timeouts of its own, have no word of this one."""

from __future__ import annotations

from dataclasses import replace

from harness.budget import BudgetTerm, Effect, Layer
from harness.checks import Verdict, judge, promise_kept, sessions_as_planned
from harness.faults import Injection, SilentDrop
from harness.measurements import (
    Measurements,
    PlannedSession,
    SessionSettings,
    Timeout,
    Wording,
)
from harness.reporting.evidence import settings_markdown, stall_markdown
from harness.reporting.stall_line import stall_line
from suites.selftest.unit.judged import found, good
from suites.selftest.unit.test_budget import topology
from suites.selftest.unit.test_words_of_transports import WORDS


def session(path: str, keep_alive_s: int = 2) -> SessionSettings:
    timeout = Timeout("keep_alive_tmo", keep_alive_s, keep_alive_s)
    return SessionSettings(path, (timeout,), f"keep-alive {timeout}", path, f"{path}:4420")


class Allowances:
    """As a transport might have them that finds a dead connection and gives it up at once."""

    def detection_terms(self, session: SessionSettings, effect: Effect) -> tuple[BudgetTerm, ...]:
        return tuple(
            BudgetTerm(one.name, one.seconds, "sysfs", "it may be late", (Layer.DETECTION,))
            for one in session.timeouts
        )

    def recovery_terms(self, effect: Effect) -> tuple[BudgetTerm, ...]:
        return (BudgetTerm("reconnect_delay", 10, "sysfs", "it tries again", (Layer.LOGIN,)),)

    def bears_s(self, session: SessionSettings) -> float:
        return min(one.seconds for one in session.timeouts)


def measured(keep_alive_s: int = 2) -> Measurements:
    """The failover of path a."""
    settings = tuple(session(path, keep_alive_s) for path in "ab")
    planned = tuple(
        PlannedSession(path, {"keep_alive_tmo": 2}, portal=f"{path}:4420", through=path)
        for path in "ab"
    )
    (fault,) = good().faults
    over = (fault.injected_ns, fault.confirmed_ns, fault.healed_ns, fault.healing_confirmed_ns)
    record = Injection(SilentDrop("a"), topology("ab"), *over).record(settings, 1.0, Allowances())
    return replace(
        good(),
        settings=settings,
        settings_after=settings,
        planned=planned,
        faults=(record,),
        wording=Wording(layers={Layer.PATH_FAILURE: "path selection"}),
        notes={},
    )


def test_the_budget_is_made_of_its_own_timeouts() -> None:
    (fault,) = measured().faults
    assert str(fault.budget) == "3.00 s (keep_alive_tmo 2 + slack 1)"
    assert str(fault.returning) == "11.00 s (reconnect_delay 10 + slack 1)"


def test_a_timeout_of_another_length_than_demanded_is_found() -> None:
    """By its own name, and whatever it does."""
    finding = found(sessions_as_planned(), measured(keep_alive_s=9))
    assert finding.verdict is Verdict.FAIL
    assert "keep_alive_tmo of the session of path a is 9 s instead of 2 s" in finding.message
    assert finding.figures["session of path a"] == "through a, keep-alive 9 s"


def test_what_readers_see_has_its_words_and_none_of_this_one() -> None:
    """The messages and figures of every check, the settings, the parts of the stall."""
    judgement = judge(measured(), *promise_kept())
    texts = [settings_markdown(measured()), stall_markdown(measured())]
    for finding in judgement.findings:
        texts += [finding.message, *finding.figures, *finding.figures.values()]
        if "stall_s" in finding.numbers:
            texts.append(stall_line("test", measured(), finding.numbers))
    assert any("keep_alive_tmo" in text for text in texts)
    assert any("path selection" in text for text in texts)
    assert [text for text in texts if WORDS.search(text)] == []
