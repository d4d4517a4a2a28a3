"""All that checks tell: figures for readers, numbers for programs, and no more than fits."""

from __future__ import annotations

import traceback
from dataclasses import replace

import numpy as np
import pytest

from harness.checks import (
    Outcome,
    Verdict,
    cables_sound,
    check,
    data_intact,
    kernel_sound,
    no_io_errors,
)
from harness.measurements import (
    MAP,
    BlockFinding,
    Damage,
    FioErrors,
    KernelMessage,
    Measurements,
    ReadBack,
)
from harness.units import NS_PER_MS
from suites.selftest.unit.judged import (
    READ_BACK,
    found,
    good,
    watched_writes,
    with_stream,
)
from suites.selftest.unit.synthetic_failover import END, INJECTED, START
from suites.selftest.unit.test_lab_cables import with_cable


def test_a_cable_is_told_with_all_that_it_carried() -> None:
    """What was sent, lost and dropped is what was counted since the first sample."""
    measured = with_cable()
    ends = tuple(
        replace(
            one,
            frames_sent=one.frames_sent + 1000,
            bytes_sent=one.bytes_sent + 500_000,
            dropped_sending=np.arange(len(one.at_ns)) * 0 + 7,
            dropped_receiving=np.arange(len(one.at_ns)) * 0 + 9,
        )
        for one in measured.cable_ends
    )
    finding = found(cables_sound(), replace(measured, cable_ends=ends))
    initiator, _ = ends
    frames = int(initiator.frames_sent[-1] - initiator.frames_sent[0])
    assert finding.verdict is Verdict.PASS
    assert finding.numbers["b_initiator_to_target_frames"] == frames
    assert finding.numbers["b_initiator_to_target_bytes"] == 100 * frames
    assert finding.numbers["b_initiator_to_target_longest_wait_s"] == 0
    assert finding.figures["cable b, initiator to target"].startswith(
        f"of {frames} frames sent ({100 * frames / 1024:.1f} KiB) "
    )
    assert finding.figures["cable b, initiator to target"].endswith("longest wait 0 ms")
    for end in ("initiator", "target"):
        assert finding.numbers[f"b_initiator_to_target_dropped_by_{end}"] == 0
        assert finding.numbers[f"b_target_to_initiator_dropped_by_{end}"] == 0


def test_frames_that_a_nic_dropped_are_counted_at_its_end_and_in_its_direction() -> None:
    measured = with_cable()
    initiator, target = measured.cable_ends
    dropped = np.where(initiator.at_ns > INJECTED, 12, 7)
    dropped[-1] = 20
    spoilt = replace(initiator, dropped_sending=dropped)
    numbers = found(cables_sound(), replace(measured, cable_ends=(spoilt, target))).numbers
    assert numbers["b_initiator_to_target_dropped_by_initiator"] == 13
    assert numbers["b_initiator_to_target_dropped_by_target"] == 0
    assert numbers["b_target_to_initiator_dropped_by_initiator"] == 0


def test_a_cable_that_was_watched_for_four_fifths_was_watched() -> None:
    """Of 29 s; then for a little less."""
    measured = with_cable()
    at_ns = np.arange(START, END + 1, 100 * NS_PER_MS, dtype=np.int64)
    for gap_ms, verdict in ((5800, Verdict.PASS), (5900, Verdict.UNKNOWN)):
        seen = (at_ns <= INJECTED) | (at_ns >= INJECTED + gap_ms * NS_PER_MS)
        ends = tuple(
            replace(
                one,
                at_ns=at_ns[seen],
                **{
                    name: np.interp(at_ns[seen], one.at_ns, getattr(one, name)).astype(np.int64)
                    for name in ("frames_sent", "frames_received", "bytes_sent", "bytes_received")
                },
                **{  # type: ignore[arg-type]  # arrays by their names
                    name: np.zeros(int(seen.sum()), dtype=np.int64)
                    for name in ("dropped_sending", "dropped_receiving", "carrier_changes")
                },
                beats=np.arange(int(seen.sum())),
                carrier=np.ones(int(seen.sum()), dtype=np.bool_),
            )
            for one in measured.cable_ends
        )
        finding = found(cables_sound(), replace(measured, cable_ends=ends))
        assert finding.verdict is verdict, finding.message
        assert ("was watched for 80% of the time only" in finding.message) is (
            verdict is Verdict.UNKNOWN
        )


def test_errors_that_were_none_are_told_as_none() -> None:
    finding = found(no_io_errors(), good())
    done = sum(len(one.completions) for one in good().streams)
    assert finding.message == f"{done} I/Os completed, none with an error"
    assert finding.figures == {"I/Os": str(done), "errors": "0"}
    assert finding.numbers == {"ios": done, "errors": 0}


def failing(*errors: FioErrors) -> Measurements:
    """Jobs with these errors."""
    one = good().streams[0]
    streams = [replace(one, name=f"job{n}", errors=error) for n, error in enumerate(errors)]
    return replace(good(), streams=tuple(streams))


def test_an_error_number_without_a_count_is_one_error() -> None:
    assert found(no_io_errors(), failing(FioErrors(5, 0, 0))).message == (
        "fio job 'job0' had 1 I/O errors (errno 5)"
    )


def test_the_first_five_of_many_errors_are_told() -> None:
    """The rest says nothing new."""
    message = found(no_io_errors(), failing(*[FioErrors(5, 1, 0)] * 7)).message
    assert message.split("; ") == [f"fio job 'job{n}' had 1 I/O errors (errno 5)" for n in range(5)]


def test_of_io_that_hung_each_error_is_told_once() -> None:
    hung = replace(failing(*[FioErrors(5, 1, 0)] * 3), errors_forced=True)
    assert found(no_io_errors(), hung).message == (
        "I/O hung, and failed once queueing was ended: fio job 'job0' had 1 I/O errors (errno 5); "
        "fio job 'job1' had 1 I/O errors (errno 5); fio job 'job2' had 1 I/O errors (errno 5)"
    )


@pytest.mark.parametrize("missing", ["streams", "phases"])
def test_without_io_or_without_phases_nothing_was_measured(missing: str) -> None:
    blind = replace(good(), **{missing: ()})  # type: ignore[arg-type]  # both are tuples
    assert found(no_io_errors(), blind).message == "no I/O was measured"


def test_intact_data_is_told_with_what_was_read_back_and_what_was_proven() -> None:
    back = replace(READ_BACK, compared=12, identity="names 3:60 1", again_after_s=90)
    finding = found(data_intact(), replace(good(), read_back=back))
    assert {
        "acknowledged blocks": "20",
        "read back": "map 20, a 20, b 20",
        "compared pieces that no test writes to": "12",
        "the LUN": "names 3:60 1",
        "read once more after": "90 s",
        "writes proven": "580 of 580 (100 %)",
    }.items() <= finding.figures.items()
    numbers = {"acknowledged_blocks": 20, "wrong_blocks": 0, "writes_acknowledged": 580}
    assert numbers.items() <= finding.numbers.items()
    bare = found(data_intact(), good()).figures
    assert bare["the LUN"] == "it does not tell which it is"
    assert "read once more after" not in bare


def spoilt(count: int, place: str = MAP, damage: Damage = Damage.LOST) -> tuple[BlockFinding, ...]:
    return tuple(BlockFinding(4096 * n, place, damage) for n in range(count))


def test_the_first_five_of_many_wrong_blocks_are_told() -> None:
    back = replace(READ_BACK, findings=spoilt(7))
    finding = found(data_intact(), replace(good(), read_back=back))
    assert finding.message == "7 of 20 acknowledged blocks are wrong (7 lost): " + "; ".join(
        f"lost at offset {4096 * n} (map)" for n in range(5)
    )
    assert finding.numbers == {"acknowledged_blocks": 20, "wrong_blocks": 7}


@pytest.mark.parametrize(
    ("count", "told"),
    [(1, "1 block is not as before: "), (2, "2 blocks are not as before: ")],
)
def test_what_has_changed_is_told_by_how_much(count: int, told: str) -> None:
    back = replace(READ_BACK, changed=spoilt(count, damage=Damage.CHANGED))
    finding = found(data_intact(), replace(good(), read_back=back))
    assert finding.message.startswith(f"where no test writes to, {told}changed at offset 0 (map)")
    assert finding.numbers == {"changed_blocks": count}


@pytest.mark.parametrize(("blocks", "told"), [(1, "1 block was"), (2, "2 blocks were")])
def test_what_was_wrong_for_a_while_is_told_by_how_many(blocks: int, told: str) -> None:
    history = watched_writes()
    looks = history.looks
    older = looks.found.copy()
    for block in range(1, blocks + 1):
        mine = np.flatnonzero(looks.offset == 4096 * block)
        older[mine[10]] = looks.found[mine[8]]
    was = replace(good(), history=replace(history, looks=replace(looks, found=older)))
    finding = found(data_intact(), was)
    assert finding.message.startswith(f"{told} wrong while the I/O went on ({blocks} lost)")
    assert finding.numbers["wrong_for_a_time"] == blocks


@pytest.mark.parametrize(("count", "all_foreign"), [(1, True), (2, True), (0, False)])
def test_a_single_block_without_a_header_tells_that_verification_was_off(
    count: int, all_foreign: bool
) -> None:
    back = ReadBack(count, 0, {MAP: count, "a": count, "b": count})
    back = replace(back, findings=spoilt(count, damage=Damage.FOREIGN))
    message = found(data_intact(), replace(good(), read_back=back)).message
    assert ("verification was off" in message) is all_foreign


def test_blocks_that_are_foreign_over_a_path_alone_had_their_headers() -> None:
    """Or were wrong otherwise through the map."""
    for findings in (
        spoilt(20, place="a", damage=Damage.FOREIGN),
        spoilt(20, damage=Damage.TORN),
    ):
        back = replace(READ_BACK, findings=findings)
        assert found(data_intact(), replace(good(), read_back=back)).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("back", "why"),
    [
        (None, "what nobody writes to was not compared at the end"),
        (replace(READ_BACK, not_compared="the target was gone"), "the target was gone"),
    ],
)
def test_an_initiator_that_only_reads_needs_what_nobody_writes_to(
    back: ReadBack | None, why: str
) -> None:
    reader = replace(good(), read_only=True, read_back=back)
    finding = found(data_intact(), reader)
    assert (finding.verdict, finding.message) == (Verdict.UNKNOWN, why)
    whole = found(data_intact(), replace(reader, read_back=READ_BACK))
    assert whole.verdict is Verdict.PASS


def test_a_check_that_crashes_is_told_with_the_line_that_crashed() -> None:
    """The innermost one, of several."""

    def inner() -> Outcome:
        raise ZeroDivisionError

    def between() -> Outcome:
        return inner()

    @check("crashes")
    def crashes(measurements: Measurements) -> Outcome:
        return between()

    line = inner.__code__.co_firstlineno + 1
    assert f"(test_checks_told.py, line {line})" in found(crashes(), good()).message
    assert traceback.__name__ in found(crashes(), good()).crash.lower()


def told_by_kernels(*texts: str) -> Measurements:
    log, other = good().kernel_logs
    messages = tuple(KernelMessage(INJECTED, 3, text) for text in texts)
    return replace(good(), kernel_logs=(replace(log, messages=messages), other))


def test_the_first_five_signs_of_trouble_are_told_whatever_lies_between() -> None:
    harmless = "scsi host2: iSCSI Initiator over TCP/IP"
    oopses = [f"Oops: {n:04} [#1]" for n in range(7)]
    finding = found(kernel_sound(), told_by_kernels(oopses[0], harmless, *oopses[1:]))
    told = [text.partition(" (20")[0] for text in finding.message.split("; ")]
    assert told == [f"initiator: {text}" for text in oopses[:5]]
    assert finding.figures["signs of trouble"] == "7"
    assert finding.numbers == {
        "records_initiator": 8,
        "records_target": 0,
        "signs_of_trouble": 7,
    }


def test_streams_of_which_nothing_is_wrong_hide_none_that_is() -> None:
    measured = with_stream(good(), "probe", lambda s: replace(s, errors=FioErrors(5, 2, 0)))
    assert found(no_io_errors(), measured).message == "fio job 'probe' had 2 I/O errors (errno 5)"
