"""What was acknowledged against what is found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import WorkloadError
from harness.measurements import MAP, BlockFinding, CompletionLog, Damage, ReadBack
from harness.units import NS_PER_MS, NS_PER_S, NS_PER_US
from harness.workload.ledger import NUMBERS, Ledger, Look, Looks, parse_looks
from harness.workload.report import IssuedWrites

BLOCK = 4096
OPENED_NS = 1000 * NS_PER_S + 123_456
DEPTH = 4
LONGEST_MS = 2000  # that fio is not scheduled for
PROBLEMS = st.sampled_from(["torn", "blank", "foreign", "misdirected", "unreadable:5"])
LOOKS = st.builds(
    Look,
    st.sampled_from([MAP, "sda", "sdb"]),
    PROBLEMS,
    *([st.integers(0, 2**62)] * 3),
)


@dataclass
class Write:
    """One write as it really was; times in ns, `done_ns` is None while it is in flight."""

    number: int
    block: int
    made_ns: int
    issued_ns: int
    done_ns: int | None = None
    logged_ns: int = 0


@dataclass
class Fio:
    """fio as far as its logs go: one thread, so that it logs what it reaped before it goes on."""

    now_ns: int = OPENED_NS
    writes: list[Write] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)

    @property
    def in_flight(self) -> list[Write]:
        return [write for write in self.writes if write.done_ns is None]

    def issue(self, block: int, making_ms: float = 0.1) -> Write:
        made_ns = self.now_ns
        self.pass_ms(making_ms)
        self.writes.append(Write(len(self.writes), block, made_ns, self.now_ns))
        return self.writes[-1]

    def reap(self, write: Write, unscheduled_ms: float = 0.0) -> None:
        write.done_ns = self.now_ns
        self.pass_ms(unscheduled_ms)
        write.logged_ns = self.now_ns

    def pass_ms(self, duration_ms: float) -> None:
        self.now_ns += int(duration_ms * NS_PER_MS)

    def write(self, block: int, takes_ms: float = 5.0) -> Write:
        write = self.issue(block)
        self.pass_ms(takes_ms)
        self.reap(write)
        return write

    def verify(self, block: int) -> None:
        self.reads.append(block)

    def log(self) -> CompletionLog:
        done = sorted((w for w in self.writes if w.done_ns is not None), key=lambda w: w.logged_ns)
        rows = [(w.logged_ns, w.done_ns - w.made_ns, w.block, 1) for w in done if w.done_ns]
        rows += [(self.now_ns, NS_PER_MS, block, 0) for block in self.reads]
        columns = np.array(rows, dtype=np.int64).reshape(-1, 4)
        return CompletionLog(
            at_ns=columns[:, 0] // NS_PER_MS * NS_PER_MS,
            latency_ns=columns[:, 1],
            offset=columns[:, 2] * BLOCK,
            size=np.full(len(rows), BLOCK, dtype=np.int64),
            is_write=columns[:, 3] == 1,
            resolution_ns=NS_PER_MS,
        )

    def issued(self) -> IssuedWrites:
        after_us = [(w.issued_ns - OPENED_NS) // NS_PER_US for w in self.writes]
        return IssuedWrites(
            offset=np.array([w.block * BLOCK for w in self.writes], dtype=np.int64),
            after_ns=np.array(after_us, dtype=np.int64) * NS_PER_US,
        )

    def ledger(self) -> Ledger:
        return Ledger.of(self.log(), self.issued())

    def find(self, *looks: Look, block: int = 0) -> tuple[BlockFinding, ...]:
        return self.ledger().compare(seen({block * BLOCK: looks})).findings


def look(write: Write, place: str = MAP) -> Look:
    """The block as that write left it."""
    return Look(place, "ok", write.made_ns, write.number % NUMBERS, write.block * BLOCK)


def seen(blocks: dict[int, Sequence[Look]]) -> Looks:
    return Looks(blocks, {MAP: len(blocks)}, {})


def kinds(findings: Sequence[BlockFinding]) -> list[tuple[str, Damage]]:
    return [(finding.place, finding.damage) for finding in findings]


@st.composite
def runs(draw: st.DrawFn) -> Fio:
    """Any order of issues and completions of few blocks, on a host that is busy at any moment.

    One write at least is logged in time. A block is written again before it was acknowledged only
    if fio was never unscheduled for as long as it is between the two writes.
    """
    fio = Fio()
    fio.write(3)
    for _ in range(draw(st.integers(1, 25))):
        busy = fio.in_flight
        fio.pass_ms(draw(st.floats(0, 3000)))
        if len(busy) == DEPTH or (busy and draw(st.booleans())):
            fio.reap(draw(st.sampled_from(busy)), draw(st.floats(0, LONGEST_MS)))
        else:
            block = draw(st.integers(0, 2))
            if any(write.block == block for write in busy):
                fio.pass_ms(LONGEST_MS + 50)
            fio.issue(block, draw(st.floats(0, 40)))
    if draw(st.booleans()):
        for write in fio.in_flight:
            fio.reap(write)
    return fio


def may_be_there(fio: Fio, block: int) -> Iterator[Write]:
    """The writes to a block that nothing issued later, and acknowledged, has replaced."""
    mine = [write for write in fio.writes if write.block == block]
    for write in mine:
        later = [w for w in mine if w.number > write.number and w.done_ns is not None]
        if write.done_ns is None or all(w.issued_ns < write.done_ns for w in later):
            yield write


@given(runs())
def test_every_acknowledged_block_is_expected_and_no_other(fio: Fio) -> None:
    """By ascending offset, as the reader wants them; reads acknowledge nothing."""
    fio.verify(99)
    done = {w.block * BLOCK for w in fio.writes if w.done_ns is not None}
    assert list(fio.ledger().blocks) == sorted(done)


@given(runs())
def test_what_may_be_there_is_never_a_finding(fio: Fio) -> None:
    """However long fio was not scheduled, and in whichever order writes in flight arrived."""
    for block in range(4):
        for write in may_be_there(fio, block):
            assert fio.find(look(write), block=block) == ()


@given(runs())
def test_what_was_replaced_is_lost(fio: Fio) -> None:
    """By a write issued a grain after its acknowledgement, told by number and not by time.

    Which of two that were made within the grain of the log ended first is not known.
    """
    for write in fio.in_flight:
        fio.reap(write)
    for block in range(3):
        mine = [write for write in fio.writes if write.block == block]
        longest_ns = max((w.issued_ns - w.made_ns for w in fio.writes), default=0)
        apart = [
            write
            for write in mine
            if all(abs(w.made_ns - write.made_ns) > 2 * NS_PER_MS for w in mine if w is not write)
        ]
        for write in apart:
            if write.logged_ns + longest_ns + 25 * NS_PER_MS < mine[-1].issued_ns:
                detail = f"holds write {write.number} instead of {mine[-1].number}"
                finding = BlockFinding(block * BLOCK, MAP, Damage.LOST, detail)
                assert fio.find(look(write), block=block) == (finding,)


@given(runs(), st.integers(0, NUMBERS - 1), st.integers(-(10**6), 10**6))
def test_what_an_earlier_run_left_is_lost(fio: Fio, number: int, earlier_ms: int) -> None:
    """Whatever its number and time; also in a block that this run wrote only once, and late."""
    for write in fio.in_flight:
        fio.reap(write)
    written_ns = OPENED_NS - earlier_ms * NS_PER_MS
    for offset in fio.ledger().blocks:
        left = Look(MAP, "earlier", written_ns, number, offset)
        (finding,) = fio.find(left, block=offset // BLOCK)
        assert finding.damage is Damage.LOST
        assert finding.detail.startswith("holds an earlier run's write instead of ")


def test_writes_with_the_same_sixteen_bits_are_told_apart_by_their_time() -> None:
    """A block says only the last 16 bits of a write's number."""
    fio = Fio()
    writes = [fio.write(number % 16, takes_ms=0.4) for number in range(NUMBERS + 100)]
    details = [f.detail for n in (3, NUMBERS + 3) for f in fio.find(look(writes[n]), block=3)]
    last = NUMBERS + 99 - (NUMBERS + 99 - 3) % 16
    assert details == [f"holds write {n} instead of {last}" for n in (3, NUMBERS + 3)]
    assert fio.find(look(writes[last]), block=3) == ()


def test_a_newer_write_that_was_never_acknowledged_is_fine() -> None:
    """It was in flight when fio ended; so is what it would have replaced."""
    fio = Fio()
    acknowledged = fio.write(0)
    fio.pass_ms(500)
    assert fio.find(look(acknowledged)) == fio.find(look(fio.issue(0))) == ()


def test_a_write_that_was_never_acknowledged_may_arrive_at_any_time() -> None:
    """Stuck on a dead path, and fio gave it up: three writes were acknowledged since."""
    fio = Fio()
    stuck = fio.issue(0)
    for _ in range(3):
        fio.pass_ms(500)
        fio.write(0)
    assert fio.find(look(stuck)) == ()


def test_what_fio_read_back_is_counted_and_proves_nothing() -> None:
    """With verify_backlog fio takes any write to the block for the right one."""
    fio = Fio()
    old = fio.write(0)
    fio.pass_ms(1000)
    fio.write(0)
    fio.write(1)
    fio.verify(0)
    assert fio.ledger().compare(seen({})).verified == 1
    assert kinds(fio.find(look(old))) == [(MAP, Damage.LOST)]


def test_a_write_that_arrives_late_is_seen_by_a_second_look() -> None:
    """The first look finds all right; later an older write has come over it."""
    fio = Fio()
    old = fio.write(0)
    fio.pass_ms(1000)
    new = fio.write(0)
    first, later = seen({0: [look(new)]}), seen({0: [look(old)]})
    assert fio.ledger().compare(first).findings == ()
    assert kinds(fio.ledger().compare(first.then(later)).findings) == [(MAP, Damage.CAME_BACK)]


def test_of_two_looks_the_one_counts_that_read_less() -> None:
    """What was read only once is not proven to stay; and a path that was away once is."""
    first = Looks({}, {MAP: 5, "sda": 5}, {})
    later = Looks({}, {MAP: 4}, {"sda": "gone"})
    assert first.then(later) == Looks({}, {MAP: 4, "sda": 0}, {"sda": "gone"})


def test_what_the_map_had_at_first_and_not_in_the_end_came_back() -> None:
    """The path was read in between, and saw it already."""
    fio = Fio()
    old = fio.write(0)
    fio.pass_ms(1000)
    new = fio.write(0)
    found = fio.find(look(new), look(old, "sda"), look(old))
    assert kinds(found) == [(MAP, Damage.CAME_BACK), ("sda", Damage.LOST)]


def test_paths_that_disagree_are_told_even_if_either_is_allowed() -> None:
    """Once a newer write was read, an older one must not be."""
    fio = Fio()
    old = fio.write(0)
    newer = fio.issue(0)
    assert fio.find(look(old)) == fio.find(look(newer)) == ()
    assert fio.find(look(newer), look(old, "sdb"), look(newer)) == (
        BlockFinding(0, "sdb", Damage.LOST, "holds write 0 instead of 1"),
    )
    assert fio.find(look(old), look(newer, "sdb"), look(newer)) == ()


def test_a_whole_block_that_no_write_made_is_foreign() -> None:
    """Another fio wrote there."""
    fio = Fio()
    fio.write(1)
    write = fio.write(0)
    stranger = Look(MAP, "ok", write.made_ns, write.number + 7, 0)
    assert kinds(fio.find(stranger)) == [(MAP, Damage.FOREIGN)]


@given(st.lists(LOOKS, min_size=1, max_size=5))
def test_every_problem_is_a_finding_at_its_place(looks: list[Look]) -> None:
    """By the last look there, whatever the time in the header."""
    fio = Fio()
    fio.write(0)
    last = {found.place: found.problem.partition(":")[0] for found in looks}
    assert kinds(fio.find(*looks)) == [(place, Damage(word)) for place, word in last.items()]


def test_a_block_that_was_never_acknowledged_is_not_judged() -> None:
    """It may hold anything."""
    fio = Fio()
    fio.issue(0)
    back = fio.ledger().compare(seen({0: [Look(MAP, "torn")]}))
    assert back == ReadBack(acknowledged=0, verified=0, checked={MAP: 1})


@pytest.mark.parametrize(
    ("issued", "why"),
    [
        ([0], "2 writes completed, 1 were issued"),
        ([0, 0], f"more writes completed at offset {BLOCK} than were issued"),
    ],
)
def test_logs_that_contradict_each_other_are_refused(issued: list[int], why: str) -> None:
    """More writes that ended than that began, in all or of one block."""
    fio = Fio()
    fio.write(0)
    fio.write(1)
    after_ns = fio.issued().after_ns[: len(issued)]
    with pytest.raises(WorkloadError, match=why):
        Ledger.of(fio.log(), IssuedWrites(np.array(issued, dtype=np.int64), after_ns))


@given(
    st.dictionaries(st.integers(0, 2**44), st.lists(LOOKS, min_size=1, max_size=3)),
    st.dictionaries(st.sampled_from([MAP, "sda"]), st.integers(0, 2**40)),
    st.dictionaries(st.just("sdb"), st.sampled_from(["gone", "No such device"])),
)
def test_the_readers_lines_are_read_back(
    blocks: dict[int, Sequence[Look]], read: dict[str, int], away: dict[str, str]
) -> None:
    """One a look, one a place; a second job has nothing in it."""
    lines = ["job"]
    lines += [
        f"{x.place} {offset} {x.problem} {x.written_ns} {x.number} {x.belongs}"
        for offset, looks in blocks.items()
        for x in looks
    ]
    lines += [f"{place} read {count}" for place, count in read.items()]
    lines += [f"{place} away {why}" for place, why in away.items()]
    text = "\n".join([*lines, "job\n"])
    assert parse_looks(text) == [Looks(blocks, read, away), Looks({}, {}, {})]


@pytest.mark.parametrize(
    "text", ["map 0 ok 1\n", "Traceback (most recent call last):\n", "map a ok 1 1 1\n"]
)
def test_a_line_of_another_form_is_refused(text: str) -> None:
    """A program that crashed did not say that all is well."""
    with pytest.raises(WorkloadError, match="not a line of the read-back"):
        parse_looks(f"job\n{text}")


def test_what_precedes_the_first_job_is_refused() -> None:
    with pytest.raises(WorkloadError, match="not the beginning of a read-back: 'map read 1'"):
        parse_looks("map read 1\njob\n")
