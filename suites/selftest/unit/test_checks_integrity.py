"""I/O errors and damaged blocks are told, and what was not seen is left open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.analysis.write_proof import rounded
from harness.checks import (
    Verdict,
    data_intact,
    no_io_errors,
)
from harness.checks.proof import percent
from harness.measurements import (
    MAP,
    BlockFinding,
    Damage,
    FioErrors,
    Measurements,
    ReadBack,
    WriteHistory,
)
from suites.selftest.unit.judged import (
    READ_BACK,
    busy_host,
    found,
    good,
    watched_writes,
    with_kernel_line,
    with_stream,
    without_io,
)
from suites.selftest.unit.synthetic_failover import (
    END,
    HEALED,
    failover,
)


@pytest.mark.parametrize(
    ("errors", "text"),
    [
        (FioErrors(5, 1, 0), "had 1 I/O errors (errno 5)"),
        (FioErrors(0, 3, 0), "had 3 I/O errors"),
        (FioErrors(110, 0, 0), "errno 110"),
        (FioErrors(84, 1, 2), "verification failed 2 times"),
    ],
)
def test_an_error_that_fio_saw_fails(errors: FioErrors, text: str) -> None:
    """Its own error number is enough."""
    measured = with_stream(good(), "probe", lambda s: replace(s, errors=errors))
    finding = found(no_io_errors(), measured)
    assert finding.verdict is Verdict.FAIL
    assert text in finding.message
    assert "'probe'" in finding.message


def test_an_error_on_the_map_fails() -> None:
    """fio may have tried again and seen none."""
    text = "I/O error, dev dm-0, sector 8"
    finding = found(no_io_errors(), with_kernel_line(good(), text))
    assert finding.verdict is Verdict.FAIL
    assert f"initiator kernel: {text} (2023-11-14T23:36:47.000Z)" in finding.message


def test_an_error_on_a_path_is_what_a_fault_looks_like() -> None:
    """Only the map must not have any."""
    measured = with_kernel_line(good(), "I/O error, dev sda, sector 8")
    assert found(no_io_errors(), measured).verdict is Verdict.PASS


def test_lost_records_of_a_kernel_log_leave_it_open() -> None:
    """The one that matters may be among them; but an error that was seen was seen."""
    assert found(no_io_errors(), replace(good(), kernel_logs=failover().kernel_logs)).message == (
        "2 records of the target's kernel log were lost"
    )
    measured = with_kernel_line(failover(), "I/O error, dev dm-0, sector 8")
    assert found(no_io_errors(), measured).verdict is Verdict.FAIL


def test_errors_are_open_where_the_map_was_not_seen() -> None:
    """Then it is not known whose map an error in the log is on."""
    finding = found(no_io_errors(), replace(good(), path_states=()))
    assert finding.verdict is Verdict.UNKNOWN
    assert "which map" in finding.message


def test_a_stream_that_did_nothing_in_a_phase_leaves_it_open() -> None:
    """No error and no I/O is no good run; unless every path was meant to be dead."""
    measured = with_stream(good(), "probe", lambda s: without_io(s, HEALED, END))
    finding = found(no_io_errors(), measured)
    assert (finding.verdict, finding.message) == (
        Verdict.UNKNOWN,
        "job 'probe' did no I/O in phase 'after'",
    )
    before, during, after = measured.phases
    excused = replace(measured, phases=(before, during, replace(after, io_expected=False)))
    assert found(no_io_errors(), excused).verdict is Verdict.PASS


def test_no_kernel_log_leaves_it_open() -> None:
    """No one looked."""
    assert found(no_io_errors(), replace(good(), kernel_logs=())).verdict is Verdict.UNKNOWN


def damaged(*findings: BlockFinding, **changes: Any) -> Measurements:
    return replace(good(), read_back=replace(READ_BACK, findings=findings, **changes))


def test_a_wrong_block_fails_with_its_place() -> None:
    """Where it was read, what is wrong, and how many of each kind; one is enough."""
    measured = damaged(
        BlockFinding(4096, MAP, Damage.TORN),
        BlockFinding(8192, MAP, Damage.BLANK),
        BlockFinding(8192, "b", Damage.LOST, "holds write 3 instead of 9"),
        checked={MAP: 18},
    )
    finding = found(data_intact(), measured)
    assert finding.verdict is Verdict.FAIL
    assert finding.message.startswith(
        "2 of 20 acknowledged blocks are wrong (1 torn, 1 blank, 1 lost): torn at offset 4096 "
        "(map); blank at offset 8192 (map); lost at offset 8192 (b): holds write 3 instead of 9;"
    )
    assert {"wrong": "2", "torn": "1", "lost": "1"}.items() <= finding.figures.items()


@pytest.mark.parametrize("place", [MAP, "a", "b"])
@pytest.mark.parametrize("damage", Damage)
def test_any_damage_anywhere_fails(place: str, damage: Damage) -> None:
    """Wherever the block was read, even if another path could not be."""
    measured = damaged(BlockFinding(0, place, damage), away={"b": "gone"})
    assert found(data_intact(), measured).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("back", "why"),
    [
        (None, "nothing was read back"),
        (ReadBack(0, 0, {MAP: 0, "a": 0, "b": 0}), "no write was acknowledged"),
        (
            replace(READ_BACK, checked={MAP: 19, "a": 20, "b": 20}),
            "only 19 of 20 blocks were read back from map",
        ),
        (
            replace(READ_BACK, checked={MAP: 20, "a": 20}),
            "only 0 of 20 blocks were read back from b",
        ),
        (
            replace(READ_BACK, checked={MAP: 20, "a": 20}, away={"b": "the disk is blocked"}),
            "b could not be read back: the disk is blocked",
        ),
    ],
)
def test_a_read_back_that_is_missing_empty_or_partial_leaves_it_open(
    back: ReadBack | None, why: str
) -> None:
    """What was not looked at may be wrong."""
    finding = found(data_intact(), replace(good(), read_back=back))
    assert (finding.verdict, finding.message) == (Verdict.UNKNOWN, why)


@pytest.mark.parametrize("blocks", [1, 19, 21])
def test_a_read_back_of_other_blocks_than_were_written_leaves_it_open(blocks: int) -> None:
    """Whole by itself; but all writes together came to 20 blocks."""
    back = ReadBack(blocks, blocks, {MAP: blocks, "a": blocks, "b": blocks})
    finding = found(data_intact(), replace(good(), read_back=back))
    assert (finding.verdict, finding.message) == (
        Verdict.UNKNOWN,
        f"the read-back knows of {blocks} acknowledged blocks, and the record of all writes of 20",
    )


def test_writes_that_fio_did_not_verify_leave_it_open() -> None:
    """They say nothing by which they could be checked."""
    measured = with_stream(good(), "random writes", lambda s: replace(s, verified=False))
    finding = found(data_intact(), replace(measured, read_back=None))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.startswith("nothing was verified: job 'random writes'")
    assert finding.same_again
    findings = [BlockFinding(n * 4096, MAP, Damage.FOREIGN) for n in range(20)]
    foreign = damaged(*findings, verified=0).read_back
    headless = found(data_intact(), replace(measured, read_back=foreign))
    assert "verification was off" in headless.message
    assert headless.same_again
    assert not found(data_intact(), replace(good(), read_back=None)).same_again


@pytest.mark.parametrize(
    ("verified", "foreign", "verdict"),
    [
        (0, 20, Verdict.UNKNOWN),
        (1, 20, Verdict.FAIL),  # then the blocks had headers once
        (0, 19, Verdict.FAIL),  # and the last one still has
    ],
)
def test_blocks_without_any_header_leave_it_open_unless_they_had_one(
    verified: int, foreign: int, verdict: Verdict
) -> None:
    """fio writes just that if its verification is switched off."""
    findings = [BlockFinding(n * 4096, MAP, Damage.FOREIGN) for n in range(foreign)]
    finding = found(data_intact(), damaged(*findings, verified=verified))
    assert finding.verdict is verdict
    assert ("verification was off" in finding.message) == (verdict is Verdict.UNKNOWN)


def test_writes_that_are_proven_pass_with_their_share_and_the_blind_time() -> None:
    finding = found(data_intact(), good())
    assert finding.verdict is Verdict.PASS
    assert "100 % of 580 acknowledged writes are proven" in finding.message
    assert finding.message.endswith(
        "round the faults no wrong content could have gone unseen for more than 1.0 s, if it is "
        "seen over every path"
    )
    assert finding.numbers["writes_proven"] == 1
    assert finding.numbers["blind_s"] == pytest.approx(1.002)
    assert finding.figures["writes proven, phase 'during'"] == "280 of 280"


@pytest.mark.parametrize(("path", "phase"), [("a", "before"), ("b", "during"), ("a", "after")])
def test_a_path_that_the_sweep_saw_nothing_over_leaves_it_open(path: str, phase: str) -> None:
    """What only that path shows was not seen then. One in reserve is left alone."""
    measured = good()
    stretch = measured.phase(phase)
    history = measured.history
    assert stretch is not None
    assert history is not None
    looks = history.looks
    unseen = (looks.began_ns >= stretch.start_ns) & (looks.ended_ns <= stretch.end_ns)
    unseen &= looks.place == looks.places.index(path)
    moved = replace(looks, place=np.where(unseen, 0, looks.place))
    blind = replace(measured, history=replace(history, looks=moved))
    finding = found(data_intact(), blind)
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message == f"the sweep saw nothing over path {path} in phase {phase!r}"
    states = tuple(replace(look, reserve=frozenset(path)) for look in blind.path_states)
    assert found(data_intact(), replace(blind, path_states=states)).verdict is Verdict.PASS


def test_what_was_wrong_for_a_while_fails_though_the_end_is_right() -> None:
    """Two looks at one block found what had been overwritten."""
    history = watched_writes()
    looks = history.looks
    block = np.flatnonzero(looks.offset == 4096)
    older = looks.found.copy()
    older[block[10:12]] = looks.found[block[8]]
    measured = replace(good(), history=replace(history, looks=replace(looks, found=older)))
    finding = found(data_intact(), measured)
    assert finding.verdict is Verdict.FAIL
    assert finding.message.startswith(
        "1 block was wrong while the I/O went on (2 lost): lost at offset 4096 (map): "
        "held write 141 instead of write 181, "
    )
    assert found(data_intact(), replace(measured, read_back=None)).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("history", "why"),
    [
        (None, "it is not known which writes were proven"),
        (watched_writes(period_ms=1500), "only "),
        (watched_writes(blocks=100, period_ms=3000), "a wrong content could have gone unseen for"),
        (replace(watched_writes(), failure="the sweep failed: gone"), "the sweep failed: gone"),
        (replace(watched_writes(), swept=False), "no sweep ran: it needs verified writes"),
    ],
)
def test_writes_that_are_not_proven_well_enough_leave_it_open(
    history: WriteHistory | None, why: str
) -> None:
    """Overwritten before any look, blocks unseen for too long, or no sweep."""
    finding = found(data_intact(), replace(good(), history=history))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.startswith(why)


@pytest.mark.parametrize(("steal", "cure"), [(0.25, False), (0.5, True)])
def test_a_busy_host_is_named_where_blocks_were_unseen(steal: float, cure: bool) -> None:
    """It makes the sweep late; whether anything can be done about it depends on how busy it was."""
    blind = replace(good(), history=watched_writes(blocks=100, period_ms=3000))
    message = found(data_intact(), replace(blind, processors=busy_host(steal))).message
    held_back = f"the host held back {steal:.0%} of the processor time that the machines wanted"
    assert held_back in message
    assert ("run it again with less beside it" in message) is cure


def test_blind_time_is_told_of_what_every_path_shows() -> None:
    """What one path alone shows is found less surely."""
    blind = replace(good(), history=watched_writes(blocks=100, period_ms=3000))
    for measured in (good(), blind):
        finding = found(data_intact(), measured)
        assert "if it is seen over every path" in finding.message
        assert finding.figures["blind time"].endswith("if it is seen over every path")


def test_a_share_that_is_rounded_is_all_only_if_it_is() -> None:
    assert [rounded(share) for share in (1.0, 0.99999999, 0.5)] == [1, 0.999999, 0.5]


def test_what_nobody_wrote_to_and_has_changed_fails() -> None:
    """As the filled area that was blanked, or a block that went far astray."""
    finding = found(data_intact(), damaged(changed=(BlockFinding(65536, MAP, Damage.CHANGED),)))
    assert finding.verdict is Verdict.FAIL
    assert finding.message == (
        "where no test writes to, 1 block is not as before: changed at offset 65536 (map)"
    )


def test_what_nobody_wrote_to_and_was_not_compared_leaves_it_open() -> None:
    finding = found(data_intact(), damaged(not_compared="what should not change: gone"))
    assert (finding.verdict, finding.message) == (Verdict.UNKNOWN, "what should not change: gone")


def test_a_share_of_writes_is_all_of_them_only_if_it_is() -> None:
    assert [percent(share) for share in (1, 0.99999, 0.5)] == ["100 %", "99.99 %", "50.00 %"]


def test_io_that_was_cut_short_never_passes() -> None:
    """It may have been fine as far as it went."""
    cut = replace(good(), cut_short="fio ended early")
    assert found(no_io_errors(), cut).verdict is Verdict.UNKNOWN


def test_errors_of_our_own_making_are_told_as_such() -> None:
    """I/O that hangs for ever is the storage's failure; the error number is not."""
    measured = with_stream(good(), "probe", lambda s: replace(s, errors=FioErrors(5, 1, 0)))
    forced = found(no_io_errors(), replace(measured, errors_forced=True))
    assert forced.verdict is Verdict.FAIL
    assert forced.message.startswith("I/O hung, and failed once queueing was ended: fio job")
    assert "hung" not in found(no_io_errors(), measured).message


def test_io_that_does_not_even_fail_when_it_is_made_to_fails() -> None:
    finding = found(no_io_errors(), replace(good(), errors_forced=True, streams=()))
    assert finding.verdict is Verdict.FAIL
    assert finding.message == "I/O hung, and did not even fail without queueing"


def test_what_fio_found_to_differ_is_counted_once_and_not_called_our_doing() -> None:
    """It tells a total, and not of which job."""
    measured = good()
    for name in ("probe", "random writes"):
        measured = with_stream(measured, name, lambda s: replace(s, errors=FioErrors(84, 3, 3)))
    finding = found(no_io_errors(), replace(measured, errors_forced=True))
    assert finding.message.startswith(
        "fio's verification failed 3 times, in job 'random writes' and 'probe'; I/O hung"
    )
