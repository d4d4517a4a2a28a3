"""Every check says pass, fail and unknown where it should; unknown is never a pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks import (
    Check,
    Finding,
    Judgement,
    Verdict,
    accounting_agrees,
    data_intact,
    evidence_sound,
    fault_took_effect,
    judge,
    kernel_sound,
    latency_recovered,
    load_shared_again,
    no_io_errors,
    no_stall_beyond,
    paths_restored,
    sessions_as_planned,
    stall_within_budget,
    throughput_recovered,
)
from harness.errors import CouldNotTell, VerdictFailed
from harness.measurements import (
    Measurements,
)
from suites.selftest.unit.judged import (
    found,
    good,
)
from suites.selftest.unit.synthetic_failover import (
    nothing_measured,
)

CHECKS = (
    accounting_agrees(within=0.5),
    data_intact(),
    evidence_sound(),
    fault_took_effect(),
    latency_recovered(at_most=3),
    kernel_sound(),
    load_shared_again(at_least=0.5),
    no_io_errors(),
    no_stall_beyond(5),
    paths_restored(),
    sessions_as_planned(),
    stall_within_budget(),
    throughput_recovered(at_least=0.9),
)


VERDICTS = st.lists(st.sampled_from(Verdict), max_size=8)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_nothing_measured_is_never_a_pass(check: Check) -> None:
    """A test that broke before anything was collected says nothing of the storage."""
    assert found(check, nothing_measured()).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "check",
    [c for c in CHECKS if c.name != "accounting agrees"],
    ids=lambda check: check.name,
)
def test_a_good_failover_passes(check: Check) -> None:
    """With a sentence and the name of the check."""
    finding = found(check, good())
    assert finding.verdict is Verdict.PASS, finding.message
    assert finding.check == check.name
    assert finding.message


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_changes_nothing(check: Check) -> None:
    """Asked twice it says the same."""
    measured = good()
    assert found(check, measured) == found(check, measured)


def saying(verdict: Verdict) -> Check:
    return Check(f"says {verdict}", lambda _: Finding(f"says {verdict}", verdict, "because"))


def test_a_check_that_crashes_could_not_tell() -> None:
    """The others are still run."""

    def crash(_: Measurements) -> Finding:
        raise ZeroDivisionError("on purpose")

    judgement = judge(good(), Check("crashes", crash), saying(Verdict.PASS))
    crashed, passed = judgement.findings
    assert crashed.verdict is Verdict.UNKNOWN
    assert crashed.message.startswith(
        "the check itself crashed: ZeroDivisionError('on purpose') (test_checks.py, line "
    )
    assert 'raise ZeroDivisionError("on purpose")' in crashed.crash
    assert passed.verdict is Verdict.PASS
    assert passed.crash == ""
    assert judgement.verdict is Verdict.UNKNOWN


def test_io_that_never_got_under_way_is_told_in_words() -> None:
    """There is no phase then that a check could look at."""
    judgement = judge(replace(good(), phases=()), paths_restored(), load_shared_again(0.5))
    assert {f.verdict for f in judgement.findings} == {Verdict.UNKNOWN}
    assert {f.message for f in judgement.findings} == {"I/O did not get under way"}
    assert all("Traceback" in f.crash for f in judgement.findings)


@given(VERDICTS)
def test_a_judgement_is_as_bad_as_its_worst_finding(verdicts: list[Verdict]) -> None:
    """Fail outweighs unknown outweighs pass; none asked is unknown."""
    judgement = judge(nothing_measured(), *map(saying, verdicts))
    if Verdict.FAIL in verdicts:
        assert judgement.verdict is Verdict.FAIL
    elif verdicts and set(verdicts) == {Verdict.PASS}:
        assert judgement.verdict is Verdict.PASS
    else:
        assert judgement.verdict is Verdict.UNKNOWN


@given(VERDICTS, st.randoms())
def test_the_order_of_the_checks_does_not_matter(verdicts: list[Verdict], chance: object) -> None:
    """It does not matter either if a check is given twice."""
    findings = tuple(Finding(str(v), v, "") for v in verdicts)
    assert Judgement(findings).verdict is Judgement(findings[::-1]).verdict
    assert Judgement(findings).verdict is Judgement(findings + findings).verdict


@given(VERDICTS)
def test_only_a_pass_of_all_goes_through(verdicts: list[Verdict]) -> None:
    """A failure names every check that did not pass; an unknown is the lab's error."""
    judgement = judge(nothing_measured(), *map(saying, verdicts))
    if judgement.verdict is Verdict.PASS:
        judgement.require()
        return
    expected = VerdictFailed if judgement.verdict is Verdict.FAIL else CouldNotTell
    with pytest.raises(expected) as raised:
        judgement.require()
    for verdict in verdicts:
        assert (f"says {verdict}: {verdict}: because" in str(raised.value)) is (
            verdict is not Verdict.PASS
        )
