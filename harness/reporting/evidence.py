"""Lays what was measured in one test before the reader, in the order of the questions asked."""

from __future__ import annotations

from collections.abc import Iterable

from harness import steps
from harness.analysis.breakdown import Breakdown, Part, breakdown, listed
from harness.analysis.fault_effect import GRACE_NS, carried_during
from harness.analysis.fault_waits import longest_during
from harness.analysis.power import render_history
from harness.analysis.stall import LongIo, Stall, Wait
from harness.budget import shown_limit, shown_setting
from harness.checks import Finding
from harness.measurements import FaultRecord, Measurements
from harness.reporting.kernel_log_text import kernel_log_text
from harness.reporting.series import Axis
from harness.reporting.timeline_csv import table, throughput_csv, timeline_csv
from harness.reporting.timeline_plot import render_timeline
from harness.units import MIB, NS_PER_MS, NS_PER_S, format_seconds

LONGEST_NOTE = 200
_LEFT_OUT = (
    f"but for {format_seconds(GRACE_NS / NS_PER_S)} at its start and round each path failure"
)


def attach_evidence(measurements: Measurements, findings: Iterable[Finding] = ()) -> None:
    """Attach picture, tables and logs to the current step.

    Works on any measurements, however incomplete: what was not measured is left out. Call it
    before a verdict is required, so that a failing test has its evidence.
    """
    found = tuple(findings)
    if found:
        steps.attach("findings", findings_markdown(found), "text/markdown")
    for finding in found:
        if finding.crash:
            steps.attach(f"traceback of {finding.check}", finding.crash)
    steps.attach("failover timeline", render_timeline(measurements), "image/svg+xml")
    steps.attach("events", timeline_csv(measurements), "text/csv")
    steps.attach("throughput over time", throughput_csv(measurements), "text/csv")
    if measurements.path_states:
        steps.attach("path states by phase", path_states_csv(measurements), "text/csv")
    if measurements.counters:
        steps.attach("bytes per path and phase", path_bytes_csv(measurements), "text/csv")
    if measurements.faults:
        steps.attach("stall and budget", stall_markdown(measurements), "text/markdown")
    steps.attach("settings and clocks", settings_markdown(measurements), "text/markdown")
    if measurements.history:
        content = render_history(measurements.history)
        steps.attach("writes and looks", content, "application/x-npz")
    for log in measurements.kernel_logs:
        steps.attach(f"kernel log of {log.machine}", kernel_log_text(log, measurements))


def findings_markdown(findings: Iterable[Finding]) -> str:
    """What every check found, with its figures."""
    marks = {"pass": "✓ pass", "fail": "✗ FAIL", "unknown": "? unknown"}
    rows = [
        (
            marks.get(str(finding.verdict), str(finding.verdict)),
            finding.check,
            finding.message,
            "; ".join(f"{name}: {value}" for name, value in finding.figures.items()),
        )
        for finding in findings
    ]
    return _markdown(("verdict", "check", "what it saw", "figures"), rows)


def path_states_csv(measurements: Measurements) -> str:
    """State of every path at the beginning and the end of each phase."""
    paths = sorted({path for seen in measurements.path_states for path in seen.states})
    axis = Axis.of(measurements)
    rows = []
    for phase in measurements.phases:
        inside = [
            seen
            for seen in measurements.path_states
            if phase.start_ns <= seen.at_ns <= phase.end_ns
        ]
        for name, seen in zip(("begins", "ends"), (inside[:1], inside[-1:]), strict=True):
            at = f"{axis.seconds(seen[0].at_ns):.2f}" if seen else ""
            states = [seen[0].states.get(path, "absent") if seen else "not seen" for path in paths]
            rows.append((f"{phase.name} {name}", at, *states))
    return table(("moment", "seconds", *paths), rows)


def path_bytes_csv(measurements: Measurements) -> str:
    """MiB that each path carried in each phase, and while each fault was in force.

    By its own counters. The latter is what *fault took effect* judges: a phase begins before its
    fault acts, and ends after it was healed.
    """
    rows = []
    for phase in measurements.phases:
        carried = [c.between(phase.start_ns, phase.end_ns) for c in measurements.counters]
        rows.append((f"all of phase {phase.name!r}", f"{phase.seconds:.2f}", *_in_mib(carried)))
    for fault in measurements.faults:
        carried = [carried_during(measurements, fault, c) for c in measurements.counters]
        lasted_s = (fault.ordered_ns - fault.confirmed_ns) / NS_PER_S
        rows.append((f"{fault.name} in force, {_LEFT_OUT}", f"{lasted_s:.2f}", *_in_mib(carried)))
    names = [f"path {c.path} ({', '.join(c.disks)}) MiB" for c in measurements.counters]
    return table(("stretch", "seconds", *names), rows)


def _in_mib(carried: Iterable[int | None]) -> list[str]:
    return ["not seen" if moved is None else f"{moved / MIB:.2f}" for moved in carried]


def stall_markdown(measurements: Measurements) -> str:
    """The parts of each fault's stall, how a path came back, and the terms of its budget."""
    sections = []
    for fault in measurements.faults:
        text = f"#### {fault.name}\n\n{fault.description}\n\n"
        if parts := breakdown(measurements, fault):
            header = ("part", "from", "to", "seconds", "uncertainty, ms", "allowed, s", "by")
            rows = _outage_rows(parts, fault)
            total = (f"{parts.wait.seconds:.3f}", "", shown_limit(fault.budget.seconds), "sum")
            rows.append((f"**{_named(parts.wait)}**", "", "", *total))
            if longest := longest_during(measurements, fault, LongIo):
                took = (f"{longest.seconds:.3f}", "", shown_limit(fault.budget.seconds), "sum")
                rows.append((f"**longest I/O, of {longest.stream}**", "", "", *took))
            rows += [
                (f"after healing: {layer}", *row) for layer, *row in map(_part_row, parts.recovery)
            ]
            text += _markdown(header, rows) + "\n"
            if parts.missing:
                text += f"Not seen in time: {', '.join(parts.missing)}.\n\n"
        else:
            text += "No I/O waited for its paths.\n\n"
        terms = [
            (t.name, t.shown, t.source, "; ".join(filter(None, (t.why, t.cure))))
            for t in fault.budget.terms
        ]
        terms.append(("**budget**", f"**{shown_limit(fault.budget.seconds)}**", "sum", ""))
        if (most_s := measurements.max_stall_s) is not None:
            why = "the longest stall accepted, whatever the settings allow"
            if fault.io_stops:
                why += "; I/O could not go on before, so it counts from healing on"
            terms.append(("**max_stall**", f"**{most_s:g}**", "--max-stall", why))
        text += _markdown(("term of the budget", "seconds", "read from", "why"), terms)
        sections.append(text)
    return "\n".join(sections)


def _named(wait: Wait) -> str:
    if isinstance(wait, Stall):
        return f"stall of {wait.stream}"
    return f"one I/O of {wait.stream}, while others of it went on"


def _outage_rows(parts: Breakdown, fault: FaultRecord) -> list[tuple[str, ...]]:
    """A share is shown once, with the first of the parts that have it together."""
    slack = [term for term in fault.budget.terms if term.name == "slack"]
    used_s = sum(part.seconds for part in parts.outage if set(part.terms) & set(slack))
    left_s = sum(term.seconds for term in slack) - used_s
    rows = []
    for share in parts.shares:
        for number, part in enumerate(share.parts):
            *cells, _, source = _part_row(part)
            allowed = ""
            if share.terms and number == 0:
                allowed = shown_limit(sum(term.seconds for term in share.terms))
                if share.over_s > 0:
                    judged = "within slack" if share.over_s <= left_s else "beyond its share"
                    allowed += f" + {format_seconds(share.over_s)}, {judged}"
            if len(share.parts) > 1:
                others = listed([one.layer for one in share.parts if one is not part])
                source += f", shared with {others}"
            rows.append((*cells, allowed, source))
    return rows


def _part_row(part: Part) -> tuple[str, ...]:
    return (
        part.layer,
        str(part.begins),
        str(part.ends),
        f"{part.seconds:.3f}",
        f"± {part.uncertainty_s * 1000:.1f}",
        "" if part.allowed_s is None else shown_limit(part.allowed_s),
        part.source,
    )


def settings_markdown(measurements: Measurements) -> str:
    """Effective session settings, what was negotiated, and how well the clocks are known."""
    parts = []
    if measurements.settings:
        timeouts = [{t.name: t.seconds for t in one.timeouts} for one in measurements.settings]
        names = list(dict.fromkeys(name for each in timeouts for name in each))
        rows = [
            (one.path, *(shown_setting(each[name]) if name in each else "" for name in names))
            for one, each in zip(measurements.settings, timeouts, strict=True)
        ]
        header = ("path", *(f"{name}, s" for name in names))
        parts.append("#### Effective session settings\n\n" + _markdown(header, rows))
    if keys := list(dict.fromkeys(key for one in measurements.settings for key in one.negotiated)):
        rows = [
            (one.path, one.connected_to, *(one.negotiated.get(key, "") for key in keys))
            for one in measurements.settings
        ]
        header = ("path", "connected to", *keys)
        parts.append("#### What each session negotiated\n\n" + _markdown(header, rows))
    if measurements.clocks:
        axis = Axis.of(measurements)
        rows = [
            (
                clock.machine,
                f"{axis.seconds(clock.at_ns):.2f}",
                f"{clock.offset_ns / NS_PER_S:.6f}",
                f"± {clock.uncertainty_ns / NS_PER_MS:.2f}",
            )
            for clock in measurements.clocks
        ]
        header = ("machine", "measured at, s", "ahead of the host, s", "uncertainty, ms")
        parts.append("#### Clocks\n\n" + _markdown(header, rows))
    notes = {name: text for name, text in measurements.notes.items() if _is_short(text)}
    if notes:
        parts.append("#### Notes\n\n" + _markdown(("what", "value"), list(notes.items())))
    return "\n".join(parts) or "nothing was recorded\n"


def _markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = tuple(header)
    lines = [titles, tuple("---" for _ in titles), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _is_short(note: str) -> bool:
    """Longer ones, such as rendered configuration, are attachments of their own."""
    return len(note) <= LONGEST_NOTE and "\n" not in note.strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")
