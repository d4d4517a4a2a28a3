"""The failover picture, its labels and the tables beside it."""

from __future__ import annotations

import csv
import io
import itertools
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from harness.analysis.power import parse_history, synthetic_history
from harness.budget import Effect
from harness.checks import Finding, Verdict
from harness.cli.bench.power import shape_of_a_test
from harness.measurements import KernelLog, KernelMessage
from harness.reporting.event_labels import Label, place
from harness.reporting.evidence import (
    attach_evidence,
    findings_markdown,
    path_bytes_csv,
    path_states_csv,
    settings_markdown,
    stall_markdown,
)
from harness.reporting.kernel_log_text import MOST_LOG_BYTES, kernel_log_text
from harness.reporting.lanes import EFFECT_COLOURS
from harness.reporting.throughput_plot import render_throughput
from harness.reporting.timeline_csv import MOST_ROWS, throughput_csv, timeline_csv
from harness.reporting.timeline_plot import render_timeline
from harness.steps import Attachment, Listener, Step, listening
from harness.timeline import Happened, Timeline
from harness.units import NS_PER_MS
from suites.selftest.unit.synthetic_failover import (
    HEALED,
    INJECTED,
    STALL_S,
    failover,
    nothing_measured,
)

SVG = "{http://www.w3.org/2000/svg}"


def texts(picture: bytes) -> list[str]:
    return [
        "".join(e.itertext()).strip() for e in ElementTree.fromstring(picture).iter(f"{SVG}text")
    ]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_picture_says_in_words_what_happened_and_when() -> None:
    """Events carry their names and seconds, paths their states, the stall its budget."""
    said = texts(render_timeline(failover()))
    assert "SilentDrop(a) · stall 2.94 s of 4.00 s allowed" in said
    assert "fault injected: SilentDrop(a) · 0.00 s" in said
    assert "connection error: a \N{MULTIPLICATION SIGN}2 · 1.98 s" in said
    assert "path failed: a · 2.91 s" in said
    assert "path reinstated: a · 17.10 s" in said
    assert said.count("active") == 3
    assert said.count("failed") == 1
    assert "Path b (sdb), MiB/s" in said
    assert "seconds since fault injection" in said
    assert any(text.startswith("budget 4.00 s (noop_out_interval 1") for text in said)


def test_a_faults_band_says_what_the_initiator_notices() -> None:
    """On the path that it hits, and in words: a colour alone says nothing."""
    measured = failover()
    (fault,) = measured.faults
    told = replace(measured, faults=(replace(fault, effects=(Effect.SILENT,)),))
    plain, said = (texts(render_timeline(one)) for one in (measured, told))
    assert said.count("silent") == 1
    assert "silent" not in plain


def test_every_effect_has_a_colour_of_its_own() -> None:
    assert set(EFFECT_COLOURS) == set(Effect)
    assert len(set(EFFECT_COLOURS.values())) == len(Effect)


def test_the_picture_is_small_and_the_same_each_time() -> None:
    """No date, no random id: a report made twice is the same report."""
    picture = render_timeline(failover())
    assert picture == render_timeline(failover())
    assert len(picture) < 300_000
    assert b"dc:date" not in picture


def test_a_run_without_a_fault_counts_from_the_start_of_io() -> None:
    """There is no budget to show then, only the longest stall."""
    said = texts(
        render_timeline(replace(failover(), faults=(), timeline=nothing_measured().timeline))
    )
    assert any(text.startswith("no fault · longest stall 2.94 s") for text in said)
    assert "seconds since the start of I/O" in said


def test_a_picture_of_nothing_is_still_a_picture() -> None:
    """A test that broke early must not lose its report to the drawing of it."""
    assert "no I/O was logged" in texts(render_timeline(nothing_measured()))


def test_an_hour_long_test_stays_within_the_size() -> None:
    """Bins widen, so that the picture does not grow with the test."""
    short = failover()
    long = replace(
        short, phases=(*short.phases, replace(short.phases[-1], end_ns=HEALED + 3600 * 10**9))
    )
    assert len(render_timeline(long)) < 300_000
    assert len(rows(throughput_csv(long))) <= MOST_ROWS


def test_no_leader_crosses_a_label() -> None:
    """A label lies below every earlier one that reaches its anchor."""
    labels = [Label(at, Happened.PATH_FAILED, "x") for at in (0.0, 1.0, 2.0, 30.0, 95.0)]
    placed = place(labels, anchor=lambda one: one.at_s, width=lambda _: 10.0, right=100.0, gap=1.0)
    assert [one.row for one in placed] == [0, 1, 2, 0, 0]
    assert placed[-1].left + 10.0 < 95.0


def test_a_crowd_of_labels_begins_a_new_staircase() -> None:
    """No two texts share a place, and the picture does not grow without end."""
    labels = [Label(float(at), Happened.PATH_FAILED, "x") for at in range(20)]
    placed = place(labels, anchor=lambda one: one.at_s, width=lambda _: 10.0, right=100.0, gap=1.0)
    assert max(one.row for one in placed) < 12
    for row in range(12):
        lefts = [one.left for one in placed if one.row == row]
        assert all(later - earlier >= 11 for earlier, later in itertools.pairwise(lefts))


def test_events_are_listed_on_the_axis_of_the_picture() -> None:
    """Seconds since the injection, negative before it."""
    listed = rows(timeline_csv(failover()))
    assert listed[0]["event"] == "I/O started"
    assert float(listed[0]["seconds"]) == -6.0
    assert {"event": "I/O resumed", "seconds": f"{STALL_S:.6f}"}.items() <= listed[7].items()


def test_throughput_is_listed_per_stream_and_path() -> None:
    """A dead path carries nothing while the other carries double."""
    during = [row for row in rows(throughput_csv(failover())) if 5 < float(row["seconds"]) < 13]
    assert {row["path a MiB/s"] for row in during} == {"0.000"}
    assert all(float(row["path b MiB/s"]) == pytest.approx(6.0, rel=0.1) for row in during)
    assert all(float(row["random writes MiB/s"]) > 1 for row in during)


def test_path_states_and_bytes_are_listed_by_phase() -> None:
    """Before, during and after, at both ends of each."""
    states = {row["moment"]: row["a"] for row in rows(path_states_csv(failover()))}
    assert states["before ends"] == "active"
    assert states["during ends"] == "failed"
    assert states["after ends"] == "active"
    carried = {row["stretch"]: row["path a (sda) MiB"] for row in rows(path_bytes_csv(failover()))}
    assert float(carried["all of phase 'before'"]) > 1
    assert float(carried["all of phase 'during'"]) == pytest.approx(0.0, abs=0.3)


def test_a_stall_and_its_budget_are_taken_apart() -> None:
    """The reader sees what took the time, and where each term of the budget was read."""
    text = stall_markdown(failover())
    assert "| recovery_tmo | 1 | sysfs |" in text
    row = "| session recovery | connection error | session recovery timed out | 0.920 | ± 0.0 | 1 |"
    assert row in text
    assert "| **stall of random writes** |  |  | 2.940 |  | 4 | sum |" in text
    assert "| after healing: reinstatement | session recovered | path reinstated | 0.900 |" in text
    assert "Not seen" not in text


def test_a_demand_on_top_of_the_budget_stands_below_it() -> None:
    """If there is one."""
    assert "| **longest I/O, of random writes** |  |  | 2.944 |  | 4 | sum |" in stall_markdown(
        failover()
    )
    assert "max_stall" not in stall_markdown(failover())
    demanded = stall_markdown(replace(failover(), max_stall_s=2.5))
    assert "| **max_stall** | **2.5** | --max-stall |" in demanded


def test_a_share_of_the_budget_is_told_once() -> None:
    """Two parts have the slack together; one that is over its own may be within it."""
    text = stall_markdown(failover())
    assert "| 0.010 | ± 0.0 | 1 | slack, shared with resubmission |" in text
    assert "| 0.030 | ± 2.9 |  | slack, shared with device mapper |" in text
    measured = failover()
    later = [
        replace(e, at_ns=e.at_ns + 50 * NS_PER_MS) if e.what is Happened.CONNECTION_ERROR else e
        for e in measured.timeline
    ]
    over = replace(measured, timeline=Timeline.of(later))
    assert "| 2.030 | ± 2.9 | 2 + 30 ms, within slack |" in stall_markdown(over)
    (fault,) = over.faults
    terms = (*fault.budget.terms[:3], replace(fault.budget.terms[3], seconds=0.05))
    strict = replace(fault, budget=replace(fault.budget, terms=terms))
    told = stall_markdown(replace(over, faults=(strict,)))
    assert "| 2 + 30 ms, beyond its share |" in told


def test_what_was_not_seen_of_a_stall_is_said() -> None:
    """It is one part with its neighbour then."""
    measured = failover()
    seen = [e for e in measured.timeline if e.what is not Happened.RECOVERY_TIMED_OUT]
    text = stall_markdown(replace(measured, timeline=Timeline.of(seen)))
    assert "| session recovery and device mapper | connection error | path failed | 0.930 |" in text
    assert "Not seen in time: session recovery timed out." in text


def test_settings_and_clocks_are_named() -> None:
    """With their unit."""
    text = settings_markdown(failover())
    assert "± 1.90" in text
    assert "queue-length 0" in text
    assert "negotiated" not in text


def test_what_was_negotiated_is_told_session_by_session() -> None:
    """With the portal at the other end of each connection."""
    measured = failover()
    one, other = measured.settings
    portal, values = "172.16.0.1:3260", {"HeaderDigest": "CRC32C", "MaxBurstLength": "4096"}
    told = replace(one, connected_to=portal, negotiated=values)
    text = settings_markdown(replace(measured, settings=(told, other)))
    assert f"| a | {portal} | CRC32C | 4096 |" in text


def test_a_kernel_log_is_cut_at_its_beginning_and_says_so() -> None:
    """What came last is what matters."""
    messages = tuple(KernelMessage(INJECTED + n, 6, "x" * 1000) for n in range(1500))
    text = kernel_log_text(KernelLog("target", messages, lost=3), failover())
    assert len(text) <= MOST_LOG_BYTES
    assert "3 records are known to be missing" in text
    assert "of 1500 records are left out" in text


def test_findings_are_told_apart_without_colour() -> None:
    """Each verdict has its sign and its word."""
    figures = {"stall": "9 s", "longest I/O": "9 s, of a read"}
    finding = Finding("a | b", Verdict.FAIL, "too\nlong", figures)
    told = "too<br>long | stall: 9 s; longest I/O: 9 s, of a read |"
    assert f"| ✗ FAIL | a \\| b | {told}" in findings_markdown([finding])


def test_the_traceback_of_a_check_that_crashed_is_attached() -> None:
    """Of each, beside the findings."""
    attached: dict[str, bytes] = {}

    class Attached(Listener):
        def attached(self, step: Step | None, attachment: Attachment) -> None:
            attached[attachment.name] = attachment.content

    crashed = Finding("data intact", Verdict.UNKNOWN, "crashed", crash="Traceback: …")
    with listening(Attached()):
        attach_evidence(failover(), [crashed, Finding("kernel sound", Verdict.PASS, "nothing")])
    assert attached["traceback of data intact"].decode() == "Traceback: …"
    assert "traceback of kernel sound" not in attached


def test_what_was_written_and_seen_can_be_simulated_again() -> None:
    """The attachment is what `bench power --history` reads."""
    attached: dict[str, bytes] = {}

    class Attached(Listener):
        def attached(self, step: Step | None, attachment: Attachment) -> None:
            attached[attachment.name] = attachment.content

    history = synthetic_history(1, shape_of_a_test())
    with listening(Attached()):
        attach_evidence(replace(failover(), history=history))
    read = parse_history(attached["writes and looks"], "attached")
    assert read.looks.found.tolist() == history.looks.found.tolist()


def test_throughput_of_phases_is_written_out() -> None:
    """Median and range stand beside the bars; a phase without samples is named."""
    said = texts(render_throughput({"both paths": [40.0, 41.0, 45.0], "one path": []}))
    assert "41.0 (40.0 to 45.0)" in said
    assert "no sample" in said
