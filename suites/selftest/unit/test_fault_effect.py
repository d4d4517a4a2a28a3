"""Whether a fault took effect: by what its means showed, and by paths that were in reserve.

A path in reserve carried nothing anyway: it must be seen to fail. So must one that may have been.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.checks import Verdict, fault_took_effect, no_unexpected_path_loss
from harness.measurements import Found, MeansSample, Measurements
from harness.units import NS_PER_S
from suites.selftest.unit.judged import carrying, found, good, with_counters, with_looks
from suites.selftest.unit.synthetic_failover import END, HEALED, INJECTED, START

CONFIRMED = good().faults[0].confirmed_ns
LASTS_S = (HEALED - INJECTED) // NS_PER_S


def idle(path: str, reserve: set[str], *, fails: bool = False) -> Measurements:
    """The fault hits a path that carries nothing at any time, and is seen to fail or is not."""
    measured = with_counters(good(), path, lambda c: carrying(c, START, END, 0))
    samples = (
        replace(
            sample,
            reserve=frozenset(reserve),
            states=sample.states if fails else dict.fromkeys(sample.states, "active"),
        )
        for sample in measured.path_states
    )
    return replace(measured, path_states=tuple(samples))


def unseen(measured: Measurements, start_ns: int, end_ns: int) -> Measurements:
    """Nobody looked in a stretch of time."""
    samples = (sample for sample in measured.path_states if not start_ns <= sample.at_ns <= end_ns)
    return replace(measured, path_states=tuple(samples))


def test_a_path_in_reserve_may_not_have_been_hit_whenever_it_was_looked_at() -> None:
    """The last sample before the fault tells; there need be none until it is confirmed."""
    seldom = unseen(idle("a", {"a"}), INJECTED, CONFIRMED)
    finding = found(fault_took_effect(), seldom)
    assert finding.verdict is Verdict.UNKNOWN
    assert "path a (sda) was in reserve, and not seen to fail" in finding.message
    failed = unseen(idle("a", {"a"}, fails=True), INJECTED, CONFIRMED)
    assert found(fault_took_effect(), failed).verdict is Verdict.PASS


@pytest.mark.parametrize("reserve", [set(), {"a"}])
def test_a_path_that_nobody_looked_at_may_have_been_in_reserve(reserve: set[str]) -> None:
    """Without a sample in the second before the fault, or with such that have no group in use."""
    before = INJECTED - NS_PER_S, INJECTED + NS_PER_S
    measured = idle("a", reserve)
    no_group = tuple(
        replace(sample, reserve=None) if before[0] <= sample.at_ns <= before[1] else sample
        for sample in measured.path_states
    )
    for blind in (unseen(measured, *before), replace(measured, path_states=no_group)):
        finding = found(fault_took_effect(), with_a_share(blind))
        assert finding.verdict is Verdict.UNKNOWN
        assert "path a (sda) may have been in reserve" in finding.message
    failed = with_a_share(unseen(idle("a", reserve, fails=True), *before))
    assert found(fault_took_effect(), failed).verdict is Verdict.PASS


def with_a_share(measured: Measurements) -> Measurements:
    """Path a carried something before, some seconds before the fault."""
    until_ns = INJECTED - 2 * NS_PER_S
    return with_counters(measured, "a", lambda c: carrying(c, START, until_ns, 1_000_000))


def with_means_samples(*seen: tuple[float, str, int | None, str]) -> Measurements:
    """Samples of the fault's means: seconds after its injection, what was missing, count, unseen.

    After them one every second that counts nothing.
    """
    (fault,) = good().faults
    last_s = int(max((at_s for at_s, *_ in seen), default=0))
    rest = [(float(at_s), "", None, "") for at_s in range(last_s + 1, LASTS_S)]
    samples = tuple(
        MeansSample("SilentDrop(a)", INJECTED + int(at_s * NS_PER_S), missing, count, unseen=unseen)
        for at_s, missing, count, unseen in (*seen, *rest)
    )
    return replace(good(), faults=(replace(fault, means_samples=samples),))


def test_means_that_were_in_place_in_each_sample_are_told() -> None:
    """With how often they were seen."""
    measured = with_means_samples((1, "", 3, ""), (2, "", None, "no answer"), (3, "", 3, ""))
    finding = found(fault_took_effect(), measured)
    assert finding.verdict is Verdict.PASS
    assert finding.figures["samples of the means of SilentDrop(a)"] == "12 of 13"
    assert finding.numbers["means_samples_SilentDrop(a)"] == 12


@pytest.mark.parametrize(("failing_s", "verdict"), [(4, Verdict.PASS), (6, Verdict.UNKNOWN)])
def test_means_that_no_sample_shows_for_long_leave_it_open(
    failing_s: int, verdict: Verdict
) -> None:
    """Also where none was taken. A sample or two may fail on a busy machine."""
    seen = [(float(at_s), "", None, "no answer") for at_s in range(1, failing_s)]
    finding = found(fault_took_effect(), with_means_samples(*seen))
    assert finding.verdict is verdict
    if verdict is Verdict.UNKNOWN:
        assert finding.message.startswith("the means of SilentDrop(a) were not seen for ")
    (fault,) = good().faults
    never = replace(good(), faults=(replace(fault, means_samples=()),))
    assert found(fault_took_effect(), never).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (
            [(1.0, "", 3, ""), (2.04, "table x of the target is gone", None, ""), (3.0, "", 4, "")],
            "table x of the target is gone, 2.0 s after SilentDrop(a) was injected",
        ),
        (
            [(1.0, "", 9, ""), (2.0, "", None, "no answer"), (3.0, "", 2, "")],
            "what SilentDrop(a) counts fell from 9 to 2, 3.0 s after SilentDrop(a) was injected",
        ),
    ],
    ids=["gone", "put back"],
)
def test_means_that_were_gone_for_a_while_leave_it_open(
    samples: list[tuple[float, str, int | None, str]], says: str
) -> None:
    """Nothing else shows it: the path carried nothing, since the map had given it up."""
    finding = found(fault_took_effect(), with_means_samples(*samples))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message == f"{says}: not in force for all of that time"


def test_the_counts_of_several_parts_are_not_taken_for_one() -> None:
    measured = with_means_samples((1, "", 9, ""))
    (fault,) = measured.faults
    others = [replace(sample, part="SilentDrop(b)", count=2) for sample in fault.means_samples]
    both = replace(fault, means_samples=(*fault.means_samples, *others))
    assert found(fault_took_effect(), replace(measured, faults=(both,))).verdict is Verdict.PASS


def hidden(*asked_s: float, took_s: float = 0.3) -> Measurements:
    """Nothing samples the fault's means; the sweep asks path a at so many seconds, in vain."""
    (fault,) = good().faults
    silent = replace(good(), faults=(replace(fault, means_samples=(), means_hidden=True),))
    began_ns = [INJECTED + int(at_s * NS_PER_S) for at_s in asked_s]
    return with_looks(silent, "a", began_ns, Found.NO_ANSWER, int(took_s * NS_PER_S))


def test_where_no_means_are_seen_questions_without_an_answer_prove_that_a_fault_lasted() -> None:
    """A path that the map has given up carries nothing, whether its fault lasts or not."""
    assert found(fault_took_effect(), hidden(*range(1, 14))).verdict is Verdict.PASS
    assert found(fault_took_effect(), hidden(1, 5.9, 9)).verdict is Verdict.PASS
    finding = found(fault_took_effect(), hidden(1, 2, 8, 12))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.startswith("nothing shows whether SilentDrop(a) lasted: for 5.7 s ")
    assert finding.message.endswith(" was asked of path a (sda)")


def test_a_question_that_waits_is_one_as_long_as_it_waits() -> None:
    """And only those of the path that was lost count."""
    assert found(fault_took_effect(), hidden(1, took_s=13.5)).verdict is Verdict.PASS
    never = hidden()
    finding = found(fault_took_effect(), never)
    assert finding.verdict is Verdict.UNKNOWN
    assert "for 13.9 s nothing was asked of path a" in finding.message
    assert found(fault_took_effect(), replace(never, history=None)).message == finding.message


def test_an_answer_is_proof_that_a_fault_did_not_last() -> None:
    """Whoever says that it does."""
    asked = hidden(*range(1, 14))
    answered = with_looks(asked, "a", [INJECTED + 7 * NS_PER_S], 0)
    finding = found(fault_took_effect(), answered)
    assert finding.verdict is Verdict.UNKNOWN
    assert "still answered 1 reads of the sweep" in finding.message


def test_paths_that_go_on_without_a_count_show_nothing() -> None:
    """As under a callout that says nothing of what it does."""
    measured = limping()
    (fault,) = measured.faults
    silent = replace(measured, faults=(replace(fault, means_hidden=True),))
    finding = found(fault_took_effect(), silent)
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.startswith("nothing shows whether SilentDrop(a) did anything to paths")


def test_means_that_were_gone_excuse_no_path_that_is_lost() -> None:
    """They do not show that the fault hit another path instead."""
    measured = with_means_samples((2, "table x of the target is gone", None, ""))
    (fault,) = measured.faults
    elsewhere = replace(measured, faults=(replace(fault, paths=()),))
    assert found(no_unexpected_path_loss(), elsewhere).verdict is Verdict.FAIL


def limping(*counts: tuple[float, int], grows: bool = True) -> Measurements:
    """The path goes on all the time; its fault's means count that at so many seconds."""
    measured = with_counters(good(), "a", lambda c: carrying(c, INJECTED, HEALED, 1_000_000))
    (fault,) = measured.faults
    samples = tuple(
        MeansSample("LinkFlaps(a)", INJECTED + int(at_s * NS_PER_S), "", count, grows)
        for at_s, count in counts
    )
    return replace(measured, faults=(replace(fault, limping=("a",), means_samples=samples),))


def test_what_counts_may_begin_anew_with_another_connection() -> None:
    """That it grew again is enough; where nothing may begin anew it was taken away."""
    measured = limping((1, 7), (5, 9), (9, 1), (13, 1))
    (fault,) = measured.faults
    assert "fell from 9 to 1" in found(fault_took_effect(), measured).message
    samples = tuple(replace(sample, restarts=True) for sample in fault.means_samples)
    measured = replace(measured, faults=(replace(fault, means_samples=samples),))
    assert found(fault_took_effect(), measured).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("more", "verdict"), [(8, Verdict.PASS), (7, Verdict.PASS), (6, Verdict.UNKNOWN)]
)
def test_what_counts_has_to_be_more_than_a_sound_path_has(more: int, verdict: Verdict) -> None:
    """Two connections, one after the other: 600 and 700 segments were seen to be sent."""
    measured = limping((1, 2), (5, 6), (9, 1), (13, 1 + more - 4))
    (fault,) = measured.faults
    samples = tuple(
        replace(sample, out_of=out_of, least_share=0.005, restarts=True)
        for sample, out_of in zip(fault.means_samples, (1000, 1600, 300, 1000), strict=True)
    )
    measured = replace(measured, faults=(replace(fault, means_samples=samples),))
    finding = found(fault_took_effect(), measured)
    assert finding.verdict is verdict
    if verdict is Verdict.UNKNOWN:
        assert "did nothing that counts while it lasted: 6, and a sound path may have 6" in (
            finding.message
        )


def test_what_was_taken_back_is_not_counted() -> None:
    """Segments that were sent again for nothing: the peer says so a moment later."""
    measured = limping((1, 2), (5, 12), (9, 3), (13, 3))
    (fault,) = measured.faults
    samples = tuple(
        replace(sample, out_of=1000 + 100 * number, least_share=0.005, restarts=True)
        for number, sample in enumerate(fault.means_samples)
    )
    measured = replace(measured, faults=(replace(fault, means_samples=samples),))
    finding = found(fault_took_effect(), measured)
    assert finding.verdict is Verdict.UNKNOWN
    assert "did nothing that counts while it lasted: 1, and" in finding.message


def test_means_that_are_missing_are_told_rather_than_that_nothing_was_proven() -> None:
    measured = limping(*((float(n), 7) for n in range(1, 14)), grows=False)
    (fault,) = measured.faults
    samples = tuple(replace(one, missing="vdb has no limit") for one in fault.means_samples)
    measured = replace(measured, faults=(replace(fault, means_samples=samples),))
    finding = found(fault_took_effect(), measured)
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.startswith("vdb has no limit, 1.0 s after")


EACH_SECOND = [(float(n), 7) for n in range(1, 14)]


def test_a_path_that_goes_on_is_proven_to_be_worse_by_what_counts() -> None:
    """That it carried something proves nothing against its fault."""
    counts = [*EACH_SECOND[:-1], (13.0, 8)]
    finding = found(fault_took_effect(), limping(*counts))
    assert finding.verdict is Verdict.PASS
    assert finding.message.endswith("its means were in place and acted, by 13 samples")


def test_each_part_of_a_fault_has_to_be_seen_to_act() -> None:
    """Two are seen in one sample. One that counts nothing is no proof beside one that does."""
    measured = limping(*EACH_SECOND[:-1], (13.0, 8))
    (fault,) = measured.faults
    for count, verdict in ((5, Verdict.PASS), (None, Verdict.UNKNOWN)):
        other = tuple(
            replace(sample, part="LinkFlaps(b)", count=None if count is None else count + number)
            for number, sample in enumerate(fault.means_samples)
        )
        both = replace(
            measured, faults=(replace(fault, means_samples=(*fault.means_samples, *other)),)
        )
        finding = found(fault_took_effect(), both)
        assert finding.verdict is verdict
        says = "by 13 samples" if count else "what LinkFlaps(b) did was not seen for 13.9 s"
        assert says in finding.message


@pytest.mark.parametrize(
    ("measured", "says"),
    [
        (limping(*EACH_SECOND), "LinkFlaps(a) did nothing that counts while it lasted"),
        (limping(), "nothing shows whether SilentDrop(a) did anything to paths that go on"),
        (limping(*EACH_SECOND, grows=False), "nothing shows whether SilentDrop(a) did anything"),
        (limping((1, 7), (2, 8)), "what LinkFlaps(a) did was not seen for 12.0 s"),
        (limping((6, 7), (10, 8)), "what LinkFlaps(a) did was not seen for 6.0 s"),
    ],
    ids=["nothing done", "never looked at", "nothing counts", "not to its end", "too late"],
)
def test_a_path_that_goes_on_without_a_proof_leaves_it_open(
    measured: Measurements, says: str
) -> None:
    """A fault that was planted without effect is none."""
    finding = found(fault_took_effect(), measured)
    assert finding.verdict is Verdict.UNKNOWN
    assert says in finding.message
