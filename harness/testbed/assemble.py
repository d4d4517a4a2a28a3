"""Make measurements on one clock of what the machines saw; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from harness.analysis import kernel_trouble
from harness.analysis.stall import longest_stall
from harness.analysis.without_sweep import without_sweep
from harness.measurements import (
    CableEnd,
    Ints,
    LabDisk,
    LinkTraffic,
    Measurements,
    Stream,
    Watching,
)
from harness.observe import NicSample, Observation
from harness.testbed.histories import on_host
from harness.testbed.raw import LinkEnd, Raw
from harness.timeline import Event, Happened, Timeline
from harness.topology import Role
from harness.transport import PathDisk
from harness.transport.lun_devices import LunDevices
from harness.transport.path_disks import PathDisks

_SHORTEST_STALL_S = 0.5  # shorter pauses are no event of their own


def assemble(raw: Raw) -> Measurements:
    """Put everything on the host's clock and into the form that checks and reports expect."""
    initiator = raw.observations[raw.initiator]
    streams = raw.result.streams(initiator.clock)
    disks = PathDisks.of(initiator, raw.map, raw.paths)
    history = on_host(raw.history, initiator.clock) if raw.history else None
    counters = tuple(disks.counters(path) for path in raw.paths)
    if history:
        counters = without_sweep(counters, history)
    notes = dict(raw.path_listings)
    notes |= {"fio job": raw.result.job_file, "fio report": raw.result.report_text}
    return Measurements(
        lun=raw.lun,
        initiator=raw.initiator,
        read_only=raw.read_only,
        timeline=Timeline.of(_events(raw, streams, disks)),
        phases=raw.phases,
        streams=streams,
        counters=counters,
        path_states=tuple(disks.states(raw.paths)),
        kernel_logs=tuple(o.kernel_log for o in raw.observations.values()),
        clocks=tuple(r for o in raw.observations.values() for r in o.clock.readings),
        clock_looks=tuple(look for o in raw.observations.values() for look in o.clock_looks),
        settings=raw.settings,
        planned=raw.planned,
        settings_after=raw.settings_after,
        faults=raw.faults,
        read_back=raw.read_back,
        processors=raw.processors,
        watching=tuple(_watching(o) for o in raw.observations.values()),
        notes=notes,
        cut_short=raw.cut_short,
        max_stall_s=raw.max_stall_s,
        machines=raw.machines,
        existing=raw.existing,
        errors_forced=raw.errors_forced,
        cable_ends=tuple(
            _cable_end(raw.observations[machine], link, nic)
            for link, ends in raw.cables.items()
            for machine, nic in ends.items()
            if machine in raw.observations
        ),
        lab_disks=tuple(_lab_disk(raw.observations.get(Role.TARGET), d) for d in raw.lab_disks),
        unplanned_disks=tuple(disks.unplanned()),
        history=history,
        wording=raw.transport.wording,
        traffic=tuple(_traffic(initiator, end) for end in raw.links),
        disk_errors=tuple(raw.transport.disk_errors(initiator.kernel_log, counters)),
    )


def _traffic(seen: Observation, end: LinkEnd) -> LinkTraffic:
    samples = [sample for sample in seen.samples if end.nic in sample.nics]
    counts = [sample.nics[end.nic] for sample in samples]
    return LinkTraffic(
        end.link,
        end.nic,
        end.paths,
        at_ns=seen.clock.array_to_host(np.array([s.machine_ns for s in samples], dtype=np.int64)),
        sent=np.array([c.bytes_sent for c in counts], dtype=np.int64),
        received=np.array([c.bytes_received for c in counts], dtype=np.int64),
    )


def _cable_end(seen: Observation, link: str, nic: str) -> CableEnd:
    samples = [sample for sample in seen.samples if nic in sample.nics]

    def column(read: Callable[[NicSample], int]) -> Ints:
        return np.array([read(sample.nics[nic]) for sample in samples], dtype=np.int64)

    machine_ns = np.array([sample.machine_ns for sample in samples], dtype=np.int64)
    return CableEnd(
        machine=seen.machine,
        link=link,
        at_ns=seen.clock.array_to_host(machine_ns),
        frames_sent=column(lambda counts: counts.frames_sent),
        frames_received=column(lambda counts: counts.frames_received),
        bytes_sent=column(lambda counts: counts.bytes_sent),
        bytes_received=column(lambda counts: counts.bytes_received),
        dropped_sending=column(lambda counts: counts.dropped_sending),
        dropped_receiving=column(lambda counts: counts.dropped_receiving),
        beats=column(lambda counts: counts.beats),
        carrier_changes=column(lambda counts: counts.carrier_changes),
        carrier=np.array([sample.carriers.get(nic, False) for sample in samples], dtype=np.bool_),
    )


def _lab_disk(seen: Observation | None, disk: str) -> LabDisk:
    """A disk of the target; without samples if the target died."""
    if seen is None:
        never = np.array([], dtype=np.int64)
        return LabDisk(Role.TARGET.value, disk, never, in_flight=never, completed=never)
    samples = [sample for sample in seen.samples if disk in sample.disks]
    machine_ns = np.array([sample.machine_ns for sample in samples], dtype=np.int64)
    return LabDisk(
        machine=seen.machine,
        disk=disk,
        at_ns=seen.clock.array_to_host(machine_ns),
        in_flight=np.array([s.disks[disk].in_flight for s in samples], dtype=np.int64),
        completed=np.array([s.disks[disk].completed for s in samples], dtype=np.int64),
    )


def _watching(seen: Observation) -> Watching:
    texts = {message.text for message in seen.kernel_log.messages}
    samples = np.array(
        [(s.machine_ns, s.wall_ahead_ns, s.cpu_ns) for s in seen.samples], dtype=np.int64
    ).reshape(-1, 3)
    return Watching(
        machine=seen.machine,
        start_ns=seen.clock.readings[0].at_ns,
        end_ns=seen.clock.readings[-1].at_ns,
        at_ns=seen.clock.array_to_host(samples[:, 0]),
        wall_ahead_ns=samples[:, 1],
        cpu_ns=samples[:, 2],
        wanted_per_s=seen.wanted_per_s,
        missing_marks=tuple(mark for mark in seen.marks if mark not in texts),
        died=seen.died,
    )


def _recoveries(seen: Observation, disks: PathDisks, path: PathDisk) -> Iterator[Event]:
    """A session is back when a disk of it runs again; a sample's interval is the uncertainty."""
    for (before, ran), (after, runs) in pairwise(disks.runs(path)):
        if runs and not ran:
            uncertainty_ns = seen.clock.uncertainty_ns + after.machine_ns - before.machine_ns
            at_ns = seen.clock.to_host(after.machine_ns)
            what = Happened.SESSION_RECOVERED
            yield Event(at_ns, what, "sysfs", path.path, uncertainty_ns, path.path)


def _events(raw: Raw, streams: Sequence[Stream], disks: PathDisks) -> Iterator[Event]:
    for machine, seen in raw.observations.items():
        error_ns = seen.clock.uncertainty_ns + seen.kernel_log.error_ns
        lun = disks.lun_devices() if machine == raw.initiator else LunDevices()
        yield from raw.transport.kernel_events(seen.kernel_log, lun, error_ns)
        yield from kernel_trouble.troubles(seen.kernel_log, error_ns)
    for record in raw.faults:
        yield Event(record.injected_ns, Happened.FAULT_INJECTED, "harness", record.name)
        yield Event(record.confirmed_ns, Happened.FAULT_CONFIRMED, "harness", record.name)
        yield Event(record.healed_ns, Happened.FAULT_HEALED, "harness", record.name)
        yield Event(record.healing_confirmed_ns, Happened.HEALING_CONFIRMED, "harness", record.name)
    initiator = raw.observations[raw.initiator]
    uncertainty_ns = initiator.clock.uncertainty_ns
    for path in raw.paths:
        yield from _recoveries(initiator, disks, path)
    for stream in streams:
        log = stream.completions
        if len(log) == 0:
            continue
        stall = longest_stall(log, stream.name)
        if stall is not None and stall.seconds >= _SHORTEST_STALL_S:
            yield Event(stall.end_ns, Happened.IO_RESUMED, "fio", stream.name, uncertainty_ns)
        yield Event(int(log.at_ns[0]), Happened.IO_STARTED, "fio", stream.name, uncertainty_ns)
        yield Event(int(log.at_ns[-1]), Happened.IO_ENDED, "fio", stream.name, uncertainty_ns)
