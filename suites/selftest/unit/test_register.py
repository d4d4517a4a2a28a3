"""Each block is a register: what a look may find, what it must not, and what it proves."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.register import judge_register
from harness.measurements import NEVER_NS, Found, LookLog, WriteHistory, WriteLog
from harness.units import NS_PER_MS
from suites.selftest.unit.register_history import (
    Seen,
    Story,
    Write,
    being_written,
    overwritten_before,
    stories,
    written_before,
)

DAMAGE = [Found.EARLIER_RUN, Found.BLANK, Found.FOREIGN, Found.MISDIRECTED, Found.UNREADABLE]


@given(stories())
def test_whatever_a_correct_storage_does_is_not_wrong(story: Story) -> None:
    """In whichever order it applies what is under way, and however often."""
    assert not judge_register(story.history()).wrong.any()


@given(stories(), st.data())
def test_every_overwritten_write_that_a_look_finds_is_wrong(
    story: Story, data: st.DataObject
) -> None:
    """Lost, stale or replayed: the look began after a later write was acknowledged."""
    plants = [
        (n, w)
        for n, look in enumerate(story.looks)
        for w, write in enumerate(story.writes)
        if write.block == look.block and overwritten_before(story, w, look)
    ]
    if plants:
        look, write = data.draw(st.sampled_from(plants))
        register = judge_register(story.changed(look, write).history())
        assert register.wrong[look]
        instead = story.writes[register.instead[look]]
        assert instead.block == story.looks[look].block
        assert instead.issued > (story.writes[write].acknowledged or 0)


@given(stories(), st.sampled_from(DAMAGE), st.data())
def test_damage_is_wrong_once_a_write_was_acknowledged(
    story: Story, damage: Found, data: st.DataObject
) -> None:
    """Swapped, blank, of an earlier run: never allowed then, and always before."""
    if story.looks:
        look = data.draw(st.integers(0, len(story.looks) - 1))
        changed = story.changed(look, damage)
        if written_before(story, story.looks[look]):
            assert judge_register(changed.history()).wrong[look]


@given(stories(), st.data())
def test_a_torn_block_is_wrong_unless_it_is_being_written(
    story: Story, data: st.DataObject
) -> None:
    """Half of a write may be there until it is acknowledged."""
    if story.looks:
        n = data.draw(st.integers(0, len(story.looks) - 1))
        look = story.looks[n]
        wrong = judge_register(story.changed(n, Found.TORN).history()).wrong[n]
        if being_written(story, look):
            assert not wrong
        elif written_before(story, look):
            assert wrong


@given(stories())
def test_a_write_is_proven_by_a_look_after_its_acknowledgement(story: Story) -> None:
    """Which found just that write; a later one proves only itself."""
    proven = judge_register(story.history()).proven.tolist()
    assert proven == [
        write.acknowledged is not None
        and any(look.found == n and look.began >= write.acknowledged for look in story.looks)
        for n, write in enumerate(story.writes)
    ]


def test_once_a_newer_write_was_seen_an_older_one_is_wrong() -> None:
    """Though the newer one was not acknowledged yet."""
    writes = (Write(0, 0, 5, (1,)), Write(0, 10, None, (11,)))
    seen = (Seen(0, 12, 13, found=1), Seen(0, 14, 15, found=0, place=2))
    assert judge_register(Story(writes, seen).history()).wrong.tolist() == [False, True]
    assert not judge_register(Story(writes, seen[1:]).history()).wrong.any()


def test_a_write_that_was_never_acknowledged_may_come_at_any_time() -> None:
    """It was given up, and three were acknowledged since."""
    writes = (Write(0, 0, None, ()), Write(0, 10, 15, (11,)), Write(0, 20, 25, (21,)))
    assert not judge_register(Story(writes, (Seen(0, 80, 81, found=0),)).history()).wrong.any()


def test_the_newest_write_counts_though_an_older_one_was_acknowledged_last() -> None:
    """The third was under way from before the first was acknowledged."""
    writes = (Write(0, 0, 3, (1,)), Write(0, 5, 6, (5,)), Write(0, 2, 10, (4,)))
    looks = (Seen(0, 12, 13, found=0), Seen(0, 12, 13, found=2))
    assert judge_register(Story(writes, looks).history()).wrong.tolist() == [True, False]


def test_what_happens_at_the_same_time_may_have_happened_in_either_order() -> None:
    """The second write was issued as the first was acknowledged; a look began as it was itself."""
    at_once = (Write(0, 0, 5, (1,)), Write(0, 5, 9, (6,)))
    assert not judge_register(Story(at_once, (Seen(0, 20, 21, 0),)).history()).wrong.any()
    apart = (Write(0, 0, 5, (1,)), Write(0, 6, 9, (6,)))
    assert not judge_register(Story(apart, (Seen(0, 9, 10, 0),)).history()).wrong.any()
    assert judge_register(Story(apart, (Seen(0, 10, 11, 0),)).history()).wrong.all()


@pytest.mark.parametrize("looks", [0, 1])
def test_without_writes_nothing_is_wrong(looks: int) -> None:
    """Nor proven."""
    seen = [Seen(0, 1, 2, Found.BLANK)] * looks
    register = judge_register(Story((), tuple(seen)).history())
    assert register.wrong.tolist() == [False] * looks
    assert len(register.proven) == 0


def test_a_hundred_thousand_writes_are_judged_in_well_below_a_second() -> None:
    """With as many looks; the simulation judges thousands of such histories."""
    count = 100_000
    chance = np.random.default_rng(1)
    at_ns = np.arange(count, dtype=np.int64) * NS_PER_MS
    block = chance.integers(0, 1000, count) * 4096
    newest: dict[int, int] = {}
    found = np.empty(count, dtype=np.int64)
    for number, offset in enumerate(block.tolist()):
        found[number] = newest.get(offset, int(Found.BLANK))
        newest[offset] = number
    done_ns = at_ns + NS_PER_MS // 2
    done_ns[-5:] = NEVER_NS
    looks = LookLog(("map",), np.zeros_like(at_ns), block, found, at_ns - 10, at_ns - 5)
    history = WriteHistory(WriteLog(block, at_ns, done_ns), looks)
    start = time.perf_counter()
    register = judge_register(history)
    assert time.perf_counter() - start < 2  # 0.1 s on an idle core
    assert not register.wrong.any()
    assert 0.98 < register.proven.mean() < 1
