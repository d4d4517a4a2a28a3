"""A check is a function of measurements and demands: what its decorator adds."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import checks
from harness.checks import (
    Check,
    Finding,
    Outcome,
    Verdict,
    check,
    failed,
    judge,
    no_io_errors,
    passed,
    throughput_recovered,
    unknown,
)
from harness.checks.judgement import worst
from harness.checks.outcome import first_bad
from harness.measurements import Measurements
from suites.selftest.unit.judged import found, good

GUIDE = Path(__file__).resolve().parents[3] / "docs/writing-tests.md"
OUTCOMES = st.lists(st.sampled_from([passed("yes"), failed("no"), unknown("perhaps")]), max_size=5)
PUBLIC = [getattr(checks, name) for name in checks.__all__]
CHECKS = [one for one in PUBLIC if inspect.signature(one).return_annotation is Check]


@check("few streams", through_the_lab=True)
def few_streams(measurements: Measurements, at_most: int, what: str = "streams") -> Outcome:
    """No more streams than that."""
    count = len(measurements.streams)
    text, figures, numbers = f"{count} {what}", {what: f"{count}"}, {"streams": count}
    if count > at_most:
        return failed(text, figures, numbers, span_ns=(1, 2))
    return passed(text, figures, numbers)


def test_a_check_is_asked_for_with_its_demands_and_judges_measurements_later() -> None:
    asked = few_streams(1)
    assert (asked.name, asked.through_the_lab, asked.by_completions) == ("few streams", True, False)
    count = len(good().streams)
    figures, numbers = {"streams": f"{count}"}, {"streams": count}
    assert found(asked, good()) == Finding(
        "few streams", Verdict.FAIL, f"{count} streams", figures, numbers, (1, 2)
    )


def test_a_check_may_be_asked_for_twice_with_other_demands() -> None:
    strict, generous = judge(good(), few_streams(0), few_streams(at_most=9, what="jobs")).findings
    assert (strict.verdict, generous.verdict) == (Verdict.FAIL, Verdict.PASS)
    assert generous.message.endswith(" jobs")


def test_an_outcome_without_figures_has_none() -> None:
    """The report shows them as they are, and never the word None."""
    for outcome in (passed("yes"), failed("no"), unknown("perhaps")):
        assert (outcome.figures, outcome.numbers, outcome.span_ns) == ({}, {}, None)


def test_wrong_demands_are_an_error_where_they_are_written() -> None:
    """Otherwise the check would crash at the end, and the verdict would be unknown."""
    with pytest.raises(TypeError, match="at_least"):
        throughput_recovered()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="at_most"):
        throughput_recovered(0.9, at_most=3)  # type: ignore[call-arg]


def test_help_shows_every_check_as_it_is_called() -> None:
    """With its docstring, and without the measurements, which no caller gives."""
    assert {no_io_errors, throughput_recovered} <= set(CHECKS)
    for one in CHECKS:
        assert inspect.getdoc(one)
        assert "measurements" not in inspect.signature(one).parameters


@given(OUTCOMES)
def test_the_first_bad_outcome_is_the_first_of_the_worst(outcomes: list[Outcome]) -> None:
    verdict = worst(one.verdict for one in [*outcomes, passed("yes")])
    bad = [one for one in outcomes if one.verdict is verdict is not Verdict.PASS]
    assert first_bad(outcomes) is (bad[0] if bad else None)


def test_the_check_of_the_guide_works_as_it_is_printed() -> None:
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    (example,) = [one for one in examples if "@check" in one]
    names: dict[str, Callable[..., Check]] = {}
    exec(compile(example, GUIDE, "exec", dont_inherit=True), names)
    few_errors_logged = names["few_errors_logged"]
    verdicts = [found(few_errors_logged(at_most=most), good()).verdict for most in (0, 99)]
    assert verdicts == [Verdict.FAIL, Verdict.PASS]
    unseen = replace(good(), kernel_logs=())
    assert found(few_errors_logged(at_most=0), unseen).verdict is Verdict.UNKNOWN
