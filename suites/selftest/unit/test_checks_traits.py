"""What makes each check unsure beside its own judgement, and what a promise demands of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from harness import checks
from harness.checks import Check, Finding, Outcome, Verdict, promise, promise_kept, undisturbed
from harness.measurements import Measurements
from suites.selftest.unit.judged import found
from suites.selftest.unit.synthetic_failover import nothing_measured

MAKERS: list[Callable[..., Check]] = [
    one
    for one in (getattr(checks, name) for name in checks.__all__)
    if inspect.signature(one).return_annotation is Check
]
ANY = 0.5  # a demand, whatever it is of
NO_TRAITS = {
    *("accounting agrees", "cables sound", "data intact", "evidence sound", "kernel sound"),
    *("lab disks sound", "no I/O errors", "sessions as planned"),
}
BY_COMPLETIONS = {
    *("latency held", "latency recovered", "longest I/O within budget", "no long I/O", "no stall"),
    *("stall within budget", "stalls together within budget"),
    *("throughput held", "throughput recovered"),
}
BY_SAMPLES = {
    *("each path as good as before", "fault took effect", "load shared again"),
    "throughput held",
}
BY_PATH = {"no trouble without a fault", "no unexpected path loss"}


def made(maker: Callable[..., Check]) -> Check:
    """With any demands."""
    demands = inspect.signature(maker).parameters.values()
    return maker(**{one.name: ANY for one in demands if one.default is one.empty})


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_each_check_is_excused_by_what_it_depends_on_and_by_nothing_else(
    maker: Callable[..., Check],
) -> None:
    """By the lab's cables and disks, by I/Os that the log lacks, by samples that are missing."""
    one = made(maker)
    assert found(one, nothing_measured()).check == one.name
    assert one.through_the_lab is (one.name not in NO_TRAITS)
    assert one.by_completions is (one.name in BY_COMPLETIONS)
    assert one.by_samples is (one.name in BY_SAMPLES)
    assert one.by_path is (one.name in BY_PATH)


def test_a_check_has_no_trait_unless_it_says_so() -> None:
    bare = Check("bare", lambda _: Finding("bare", Verdict.PASS, ""))
    decorated = checks.check("bare")(lambda _: checks.passed(""))()
    for one in (bare, decorated):
        traits = (one.through_the_lab, one.by_path, one.by_completions, one.by_samples)
        assert traits == (False, False, False, False)


def test_a_check_keeps_the_name_of_its_function() -> None:
    """The report, the guide and mypy know it by that."""

    @checks.check("named otherwise")
    def known_by_this(measurements: Measurements) -> Outcome:
        return checks.passed("")

    assert known_by_this.__name__ == "known_by_this"
    assert checks.no_stall_beyond.__name__ == "no_stall_beyond"


def test_the_promise_demands_what_the_guide_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """90 % of the throughput, reads at most five and three times as slow, half of a share."""
    asked: dict[str, dict[str, float]] = {}

    def note(name: str) -> Callable[..., str]:
        def noted(**demands: float) -> str:
            asked.setdefault(name, demands)
            return name

        return noted

    demanding = [
        *("throughput_held", "latency_held", "throughput_recovered", "latency_recovered"),
        *("each_path_as_good_as_before", "load_shared_again"),
    ]
    for name in demanding:
        monkeypatch.setattr(promise, name, note(name))
    promise_kept()
    assert asked == {
        "throughput_held": {"at_least": 0.9},
        "latency_held": {"at_most": 5},
        "throughput_recovered": {"at_least": 0.9},
        "latency_recovered": {"at_most": 3},
        "each_path_as_good_as_before": {"at_most": 2},
        "load_shared_again": {"at_least": 0.5},
    }


def test_a_promise_has_each_check_once() -> None:
    for asked in (promise_kept(), undisturbed(1.0)):
        names = [one.name for one in asked]
        assert len(names) == len(set(names))
