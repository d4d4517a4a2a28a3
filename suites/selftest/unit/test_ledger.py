"""What was acknowledged against what is found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import WorkloadError
from harness.measurements import BlockFinding, CompletionLog
from harness.units import NS_PER_MS, NS_PER_S
from harness.workload.ledger import FoundBlock, acknowledged, compare, parse_found

BLOCK = 4096
# (completed after so many ms, latency in ms, block's number, whether it is a write)
IOS = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 5000), st.integers(0, 9), st.booleans()),
    max_size=30,
)
PROBLEMS = st.sampled_from(["torn", "blank", "no-header", "misdirected", "unreadable:5"])


def log_of(ios: list[tuple[int, int, int, bool]]) -> CompletionLog:
    columns = np.array([io[:3] for io in ios], dtype=np.int64).reshape(-1, 3)
    return CompletionLog(
        at_ns=columns[:, 0] * NS_PER_MS,
        latency_ns=columns[:, 1] * NS_PER_MS,
        offset=columns[:, 2] * BLOCK,
        size=np.full(len(ios), BLOCK, dtype=np.int64),
        is_write=np.array([io[3] for io in ios], dtype=np.bool_),
        resolution_ns=NS_PER_MS,
    )


@given(IOS)
def test_every_written_block_is_expected_and_no_other(
    ios: list[tuple[int, int, int, bool]],
) -> None:
    """By ascending offset, as the reader wants them; reads acknowledge nothing."""
    written = {number * BLOCK for _, _, number, is_write in ios if is_write}
    assert list(acknowledged(log_of(ios))) == sorted(written)


@given(
    st.lists(st.integers(1, 10**4), min_size=1, max_size=8), st.integers(-450, 450), st.integers(0)
)
def test_the_last_write_is_told_from_the_one_before_it(
    pauses_ms: list[int], early_ms: int, later_ns: int
) -> None:
    """By which of the two a header is nearer to, if they are two seconds apart or more.

    Closer ones are not told apart: a busy machine may not run a guest for as long.
    """
    ends = np.cumsum(pauses_ms).tolist()
    log = log_of([(end, 0, 3, True) for end in ends])

    def stale(written_ns: int) -> bool:
        return bool(compare(log, {3 * BLOCK: FoundBlock("ok", written_ns)}).findings)

    last_ns = ends[-1] * NS_PER_MS
    before_ns = ends[-2] * NS_PER_MS if len(ends) > 1 else last_ns - NS_PER_S
    shift_ns = (last_ns - before_ns) * early_ms // 1000
    assert stale(before_ns + shift_ns) or (len(ends) > 1 and last_ns - before_ns < 2 * NS_PER_S)
    assert not stale(last_ns + shift_ns)
    assert not stale(last_ns + later_ns)


def test_what_an_earlier_run_left_is_stale() -> None:
    """Also in a block that this run wrote only once, and late."""
    log = log_of([(10_000, 1000, 0, True), (90_000, 1000, 1, True)])
    left = FoundBlock("ok", 8 * NS_PER_S)
    assert [f.offset for f in compare(log, {0: left, BLOCK: left}).findings] == [0, BLOCK]


@given(IOS, st.integers(0, 10**12))
def test_whole_blocks_that_are_no_older_are_all_right(
    ios: list[tuple[int, int, int, bool]], newer_ns: int
) -> None:
    """A write that was never acknowledged may have arrived, too."""
    log = log_of(ios)
    found = {o: FoundBlock("ok", at + newer_ns) for o, at in acknowledged(log).items()}
    back = compare(log, found)
    assert back.findings == ()
    assert back.acknowledged == back.checked == len(found)


@given(IOS, PROBLEMS)
def test_every_problem_is_a_finding(ios: list[tuple[int, int, int, bool]], problem: str) -> None:
    """Whatever the time in the header."""
    log = log_of(ios)
    found = {offset: FoundBlock(problem, 10**18) for offset in acknowledged(log)}
    assert compare(log, found).findings == tuple(BlockFinding(o, problem) for o in found)


def test_a_block_that_was_not_read_back_is_not_counted_as_checked() -> None:
    """The check then cannot tell."""
    back = compare(log_of([(1, 1, 0, True), (2, 1, 1, True)]), {0: FoundBlock("ok", NS_PER_S)})
    assert (back.acknowledged, back.checked, back.findings) == (2, 1, ())


def test_a_block_that_was_never_acknowledged_is_not_judged() -> None:
    """It may hold anything."""
    assert compare(log_of([]), {0: FoundBlock("torn", 0)}).findings == ()


@given(st.dictionaries(st.integers(0, 2**44), st.builds(FoundBlock, PROBLEMS, st.integers(0))))
def test_the_readers_lines_are_read_back(found: dict[int, FoundBlock]) -> None:
    """One a block."""
    text = "".join(f"{o} {b.problem} {b.written_ns}\n" for o, b in found.items())
    assert parse_found(text) == found


@pytest.mark.parametrize("text", ["0 ok\n", "Traceback (most recent call last):\n", "a ok 1\n"])
def test_a_line_of_another_form_is_refused(text: str) -> None:
    """A program that crashed did not say that all is well."""
    with pytest.raises(WorkloadError, match="not a line of the read-back"):
        parse_found(text)
