"""Writes that are proven, phase by phase, and the time for which a wrong content is unseen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from harness.analysis.blind_time import gaps, longest, under_watch
from harness.analysis.register import Keys
from harness.analysis.write_proof import PhaseProof, WriteProof, prove_writes
from harness.measurements import BlockFinding, Damage, Found
from harness.timeline import Phase
from harness.units import NS_PER_MS
from suites.selftest.unit.register_history import BLOCK, Seen, Story, Write, stories
from suites.selftest.unit.synthetic_failover import nothing_measured

ALL_MS = (0, 100_000)


def blind_ms(story: Story, start: int = ALL_MS[0], end: int = ALL_MS[1]) -> float:
    history = story.history()
    keys = Keys(history)
    window = (start * NS_PER_MS, end * NS_PER_MS)
    return round(longest(gaps(history, keys), keys, [window]) * 1000, 3)


def unseen_ms(story: Story) -> int:
    """By the definition, of a story with one place that answers at once."""
    longest_ms, over = 0, max((w.acknowledged or 0 for w in story.writes), default=0)
    end = max([over, *(look.ended for look in story.looks)])
    for block in {w.block for w in story.writes if w.acknowledged is not None}:
        mine = [w.acknowledged for w in story.writes if w.block == block and w.acknowledged]
        first = min(mine)
        looks = [x for x in story.looks if x.block == block and x.began >= first]
        stretches = [(first, looks)]
        for one in looks:
            later = [x for x in looks if x.began > one.began]
            stretches += [(one.began, later)] * bool(later or one.began < over)
        for start, later in stretches:
            longest_ms = max(longest_ms, min((x.ended for x in later), default=end) - start)
    return longest_ms


@given(stories())
def test_the_blind_time_is_the_longest_without_a_whole_look(story: Story) -> None:
    """At any block, from the first acknowledgement on."""
    answered = tuple(
        replace(look, place=0) for look in story.looks if look.found != Found.NO_ANSWER
    )
    story = replace(story, looks=answered)
    assert blind_ms(story) == unseen_ms(story)


WRITTEN = (Write(0, 0, 10, (5,)), Write(0, 9000, 9010, (9005,)))


def looks_every(period: int, end: int, *, place: int = 0, found: int = 0) -> list[Seen]:
    return [Seen(0, at, at + 5, found, place) for at in range(20, end, period)]


def test_one_look_a_second_leaves_a_second_and_the_length_of_a_look() -> None:
    """From the beginning of one to the end of the next."""
    assert blind_ms(Story(WRITTEN, tuple(looks_every(1000, 10_000)))) == 1005


def test_a_block_that_is_never_looked_at_is_unseen_to_the_end() -> None:
    assert blind_ms(Story(WRITTEN, ())) == 9000


def test_only_what_meets_a_window_counts() -> None:
    """Whole: also the part of it that lies outside."""
    looks = [look for look in looks_every(1000, 10_000) if not 3000 < look.began < 6000]
    story = Story(WRITTEN, tuple(looks))
    assert blind_ms(story) == 4005 - 1000 + 1000
    assert blind_ms(story, 7000, 9000) == 1005
    assert blind_ms(story, 6000, 6500) == 4005


def test_a_look_that_waits_for_a_dead_path_shows_nothing() -> None:
    """The other path is looked at meanwhile, so the time counts."""
    map_waits = Seen(0, 1000, 4000, found=0)
    other = [look for look in looks_every(1000, 10_000, place=2) if look.began > 3900]
    story = Story(WRITTEN, (Seen(0, 20, 25, 0), Seen(0, 30, 35, 0, 2), map_waits, *other))
    assert blind_ms(story) == 4000 - 30


def test_while_nobody_is_answered_nothing_can_be_seen() -> None:
    """Map and path both wait, or fail at once: that time is taken off."""
    before = (Seen(0, 990, 995, 0), Seen(0, 991, 996, 0, 2))
    failing = [Seen(0, at, at + 1, Found.NO_ANSWER, 2) for at in range(1000, 4000, 500)]
    waits = Seen(0, 1000, 4000, found=0)
    after = (Seen(0, 4000, 4005, 0, 2), *looks_every(1000, 10_000)[4:])
    assert blind_ms(Story(WRITTEN, (*before, waits, *failing, *after)), 0, 3500) == 990 - 10 + 5
    alone = (*before, waits, *after)
    assert blind_ms(Story(WRITTEN, alone), 0, 3500) > 3000


def test_while_other_looks_at_the_map_are_answered_it_can_be_seen() -> None:
    """One chunk waits for a dead path there, and its blocks could be read all the same."""
    before = (Seen(0, 990, 995, 0), Seen(1, 991, 996, Found.BLANK))
    waits = Seen(0, 1000, 4000, found=0)
    others = [Seen(1, at, at + 5, Found.BLANK) for at in range(1100, 4000, 300)]
    after = tuple(looks_every(1000, 10_000)[4:])
    assert blind_ms(Story(WRITTEN, (*before, waits, *after)), 0, 3500) == 995 - 10
    seen = blind_ms(Story(WRITTEN, (*before, waits, *others, *after)), 0, 3500)
    assert seen == 4025 - 1000 - 100


def test_a_write_is_under_watch_if_no_gap_meets_its_time() -> None:
    """The first was overwritten before the looks ended."""
    looks = [look for look in looks_every(1000, 20_000) if look.began < 7000]
    writes = (WRITTEN[0], Write(0, 5000, 5010, (5001,)), Write(0, 18_000, 18_010, (18_005,)))
    history = Story(writes, tuple(looks)).history()
    keys = Keys(history)
    watched = under_watch(history, gaps(history, keys), keys, 2.0)
    assert watched.tolist() == [True, False, False]


def measured(story: Story, *phases: tuple[str, int, int]) -> WriteProof:
    told = replace(
        nothing_measured(),
        history=story.history(),
        phases=tuple(Phase(n, a * NS_PER_MS, b * NS_PER_MS) for n, a, b in phases),
    )
    proof = prove_writes(told)
    assert proof is not None
    return proof


def test_a_write_counts_in_the_phase_of_its_acknowledgement() -> None:
    """Those before the first phase in that one, so that none is left out."""
    writes = tuple(Write(0, at, at + 10, (at,)) for at in (0, 1000, 1995, 3000))
    looks = (Seen(0, 500, 505, 0), Seen(0, 2500, 2505, 2), Seen(0, 4000, 4005, 3))
    proof = measured(Story(writes, looks), ("before", 100, 2000), ("after", 2000, 3005))
    assert proof.phases == (PhaseProof("before", 2, 1), PhaseProof("after", 2, 2))
    assert (proof.acknowledged, proof.proven, proof.least_share) == (4, 3, 0.5)


def test_what_was_wrong_for_a_while_is_a_finding_with_when_and_where() -> None:
    """One for each block and place, however many looks saw it."""
    writes = (Write(1, 0, 10, (5,)), Write(1, 1000, 1010, (1005,)))
    looks = tuple(Seen(1, at, at + 5, found=0, place=2) for at in (1260, 1500))
    proof = measured(Story(writes, looks), ("whole", 0, 2000))
    detail = "held write 0 instead of write 1, 0.250 s after that was acknowledged, in 2 looks"
    assert proof.wrong == (BlockFinding(BLOCK, "b", Damage.LOST, detail),)


@pytest.mark.parametrize(
    ("found", "damage"), [(Found.MISDIRECTED, Damage.MISDIRECTED), (Found.EARLIER_RUN, Damage.LOST)]
)
def test_each_kind_of_damage_has_its_name(found: Found, damage: Damage) -> None:
    story = Story(WRITTEN, (Seen(0, 20, 25, found),))
    (finding,) = measured(story, ("whole", 0, 10_000)).wrong
    assert finding.damage is damage


def test_without_a_history_nothing_is_said() -> None:
    assert prove_writes(nothing_measured()) is None


def test_a_look_that_is_slow_and_answered_is_no_excuse() -> None:
    """At each place one after the other, 0.9 s each: nobody waits for a path."""
    slow = tuple(
        Seen(1, at + 450 * place, at + 450 * place + 900, 0, place)
        for place in (0, 2)
        for at in range(1000, 4000, 900)
    )
    story = Story(WRITTEN, (*looks_every(1000, 1000), *slow, *looks_every(1000, 10_000)[4:]))
    assert blind_ms(story, 0, 3500) == 4025 - 20
