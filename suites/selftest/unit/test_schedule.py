"""The policy, and runs of it on paper."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.reporting.durations import recorded_durations
from harness.schedule import Case, Labels, Schedule, missing_labels
from harness.schedule.simulation import Machine, Outcome, lower_bound_s, simulate

RECORDED = Path(__file__).parent / "recorded" / "allure-3-failover-history.jsonl"

durations = st.integers(1, 50).map(float)
labels = st.frozensets(st.sampled_from(["kvm", "bridge:a", "bridge:b"]))


@st.composite
def cases(draw: st.DrawFn) -> list[Case]:
    wanted = draw(st.lists(st.tuples(labels, st.none() | durations), max_size=30))
    return [Case(str(number), *case) for number, case in enumerate(wanted)]


def times(cases: list[Case]) -> list[float]:
    return [10.0 if case.expected_s is None else case.expected_s for case in cases]


def plain(took_s: list[float]) -> list[Case]:
    return [Case(str(number), expected_s=seconds) for number, seconds in enumerate(took_s)]


def alike(count: int) -> list[Machine]:
    return [Machine(str(number)) for number in range(count)]


def best_s(took_s: list[float], workers: int) -> float:
    """The shortest makespan of all, by trying every way."""
    ways = product(range(workers), repeat=len(took_s))
    return min(
        max(
            sum(s for s, chosen in zip(took_s, way, strict=True) if chosen == worker)
            for worker in range(workers)
        )
        for way in ways
    )


def drain(schedule: Schedule[str]) -> list[tuple[str, int]]:
    """Let every worker finish what it holds, in turn, until nothing is left to hand out."""
    handed: list[tuple[str, int]] = []
    while new := schedule.hand_out(list(schedule.queues)):
        handed += new
        for worker, queue in schedule.queues.items():
            for index in list(queue):
                schedule.finish(worker, index)
    return handed


@given(cases(), st.lists(labels, min_size=1, max_size=4), st.integers(1, 3))
def test_every_test_runs_once_and_where_it_can(
    cases: list[Case], workers: list[Labels], queue: int
) -> None:
    """A test that no worker can run goes to any of them, to end there as an error."""
    schedule: Schedule[str] = Schedule(cases, queue=queue)
    for number, has in enumerate(workers):
        schedule.join(str(number), has)
    handed = drain(schedule)
    assert sorted(index for _, index in handed) == list(range(len(cases)))
    for worker, index in handed:
        needs = cases[index].needs
        assert needs <= workers[int(worker)] or not any(needs <= has for has in workers)


@given(
    cases(),
    st.lists(st.builds(Machine, st.just(""), st.integers(1, 2), labels), min_size=2, max_size=4),
    st.data(),
)
def test_no_test_is_lost_when_machines_die(
    cases: list[Case], machines: list[Machine], data: st.DataObject
) -> None:
    """One machine must be left."""
    machines = [replace(machine, name=str(number)) for number, machine in enumerate(machines)]
    mortal = st.dictionaries(st.sampled_from([m.name for m in machines[1:]]), st.floats(0, 200))
    outcome = simulate(cases, machines, times(cases), deaths_s=data.draw(mortal))
    assert outcome.finished == len(cases)


@given(st.lists(durations, min_size=1, max_size=7), st.integers(1, 3))
def test_the_makespan_is_within_graham_s_bound(took_s: list[float], workers: int) -> None:
    """4/3 - 1/(3m) of the best, if no worker needs to know a test ahead."""
    outcome = simulate(plain(took_s), alike(workers), took_s, queue=1)
    bound = (4 / 3 - 1 / (3 * workers)) * best_s(took_s, workers)
    assert outcome.makespan_s <= bound + 1e-9


@given(st.lists(durations, min_size=1, max_size=40), st.integers(1, 6))
def test_knowing_one_test_ahead_costs_no_more_than_two_tests(
    took_s: list[float], workers: int
) -> None:
    """No worker was idle when the last test was handed out, behind one that began then."""
    outcome = simulate(plain(took_s), alike(workers), took_s)
    longest = sum(sorted(took_s)[-2:])
    assert outcome.makespan_s <= sum(took_s) / workers + (1 - 1 / workers) * longest + 1e-9


@given(cases(), st.lists(labels, min_size=1, max_size=4), st.integers(1, 2))
def test_nothing_is_faster_than_the_lower_bound(
    cases: list[Case], offered: list[Labels], queue: int
) -> None:
    machines = [Machine(str(number), 2, has) for number, has in enumerate(offered)]
    assume(cases and all(any(case.needs <= has for has in offered) for case in cases))
    bound_s = lower_bound_s(cases, machines, times(cases))
    outcome = simulate(cases, machines, times(cases), queue=queue)
    assert outcome.makespan_s >= bound_s - 1e-9


def test_the_longest_goes_first_and_the_unknown_count_as_usual() -> None:
    """Equals keep their order."""
    cases = [Case("a", expected_s=5), Case("b"), Case("c", expected_s=9), Case("d", expected_s=5)]
    schedule: Schedule[str] = Schedule(cases, queue=4)
    schedule.join("w", frozenset())
    assert [index for _, index in schedule.hand_out(["w"])] == [2, 0, 1, 3]


def test_scarce_tests_go_first_to_those_who_can() -> None:
    """However long the common ones are."""
    kvm = frozenset({"kvm"})
    cases = [Case("long", expected_s=90), Case("picky", kvm, 10), Case("middle", expected_s=50)]
    schedule: Schedule[str] = Schedule(cases, queue=1)
    schedule.join("plain", frozenset())
    schedule.join("able", kvm | {"bridge:a"})
    assert schedule.hand_out(["able", "plain"]) == [("able", 1), ("plain", 0)]


def test_the_second_test_is_for_who_will_be_free_first() -> None:
    """The longest that is left goes behind the shortest that runs."""
    schedule: Schedule[str] = Schedule(plain([30, 20, 10, 9, 8, 7]))
    for worker in "abc":
        schedule.join(worker, frozenset())
    handed = schedule.hand_out("abc")
    assert handed == [("a", 0), ("b", 1), ("c", 2), ("c", 3), ("b", 4), ("a", 5)]


def test_the_dead_give_back_what_they_held() -> None:
    """The one that was running is named; whether it runs again is for others to say."""
    schedule: Schedule[str] = Schedule(plain([3, 2, 1]))
    schedule.join("a", frozenset())
    schedule.hand_out("a")
    assert schedule.leave("a") == 0
    schedule.join("b", frozenset())
    assert [index for _, index in schedule.hand_out("b")] == [1, 2]
    assert not schedule.has_work_for(frozenset())
    schedule.wait(0)
    assert schedule.waiting == 1


def test_tests_wait_for_the_replacement_of_the_only_worker_that_can_run_them() -> None:
    """They belong to no worker once none is to be expected."""
    kvm = frozenset({"kvm"})
    schedule: Schedule[str] = Schedule([Case(str(number), kvm) for number in range(3)])
    schedule.join("plain", frozenset())
    schedule.join("able", kvm)
    schedule.hand_out(["plain", "able"])
    schedule.leave("able", replaced=True)
    assert schedule.hand_out(["plain"]) == []
    schedule.join("other", frozenset())
    assert [worker for worker, _ in schedule.hand_out(["other"])] == ["other", "other"]


def test_what_is_missing_is_told_of_the_machine_that_comes_nearest() -> None:
    needs = frozenset({"kvm", "bridge:a"})
    offered = [frozenset({"bridge:b"}), frozenset({"bridge:a", "bridge:b"})]
    assert missing_labels(needs, offered) == {"kvm"}
    assert missing_labels(needs, [*offered, needs]) == frozenset()
    assert missing_labels(needs, []) == needs


def test_a_machine_that_dies_costs_its_test_and_its_share() -> None:
    """Both tests of 10 s on two machines; one dies after 4 s, and a worker starts anew for it."""
    assert simulate(plain([10, 10]), alike(2), [10, 10], deaths_s={"1": 4}) == Outcome(25, 2, 1)


def test_two_slots_are_two_workers() -> None:
    outcome = simulate(plain([10] * 4), [Machine("a", 2)], [10] * 4, ready_s=80)
    assert outcome == Outcome(100, 4, 0)


def test_the_bound_knows_of_labels() -> None:
    """Half of the work fits one machine of ten."""
    kvm = frozenset({"kvm"})
    cases = [Case("a", kvm), Case("b", kvm), Case("c"), Case("d")]
    machines = [Machine("0", 1, kvm), *(Machine(str(number)) for number in range(1, 10))]
    assert lower_bound_s(cases, machines, [10] * 4) == 20
    assert lower_bound_s(plain([40, 1]), alike(2), [40, 1]) == 40


@pytest.mark.parametrize(("hosts", "worst"), [(10, 1.01), (100, 1.01), (1000, 1.08)])
def test_ten_thousand_recorded_tests_come_near_the_bound(hosts: int, worst: float) -> None:
    """With durations that vary by a tenth from run to run."""
    chance = random.Random(hosts)
    recorded = sorted(recorded_durations(RECORDED).values())
    expected_s = [chance.choice(recorded) for _ in range(10_000)]
    took_s = [seconds * chance.lognormvariate(0, 0.1) for seconds in expected_s]
    outcome = simulate(plain(expected_s), alike(hosts), took_s)
    bound_s = lower_bound_s(plain(expected_s), alike(hosts), took_s)
    assert outcome.finished == 10_000
    assert math.isfinite(outcome.makespan_s)
    assert outcome.makespan_s < worst * bound_s
