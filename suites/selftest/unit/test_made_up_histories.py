"""Made-up histories are as real ones: the same blocks, paces and looks, by the same code."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.analysis.blind_time import gaps, longest
from harness.analysis.power import synthetic_history
from harness.analysis.power.sweeping import Area, Outage, sweep
from harness.analysis.register import Keys
from harness.cli.bench.power import shape_of_a_test
from harness.config.model import WorkloadConfig
from harness.measurements import MAP
from harness.testbed.lun_layout import Layout
from harness.units import NS_PER_S
from harness.workload import sweeper as sweeper_module
from harness.workload.job import render_job_file
from harness.workload.sweep import PERIOD_S, Wanted, swept

TOOK_S = 0.006  # each look, where that is fixed


def test_made_up_histories_have_the_shape_of_real_ones() -> None:
    """That of what fio and the sweep are given in a test of the suites, and in the histories."""
    config, shape = WorkloadConfig(), shape_of_a_test()
    history = synthetic_history(1, shape)
    jobs = Layout.of(config).mixed(1)
    told: Any = Wanted({MAP: "/dev/map"}, swept(jobs), "log").told
    assert shape.block_size == told["block"]
    for written, area in zip(shape.written, told["areas"], strict=True):
        assert written.blocks * shape.block_size == area["size"]
        assert written.chunk * shape.block_size == area["chunk"]
        assert written.period_s == area["period"]
    cold, hot = shape.written
    file = render_job_file("/dev/map", jobs, "/run")
    sections = {part.split("]")[0]: part.split("\n") for part in file.split("\n[")}
    assert f"rate_iops={cold.per_s}" in sections["write"]
    assert f"iodepth={cold.depth}" in sections["write"]
    assert f"iodepth={hot.depth}" in sections["hot"]
    assert f"thinktime={hot.pause_s * 1000:.0f}ms" in sections["hot"]
    assert len(np.unique(history.looks.offset)) == cold.blocks + hot.blocks
    writes_a_second = len(history.writes) / (shape.ends_s - shape.begins_s)
    assert cold.per_s is not None
    assert cold.per_s < writes_a_second < cold.per_s + hot.depth / hot.pause_s
    quiet = history.looks.began_ns < shape.lost_s * NS_PER_S
    looks_a_second = quiet.sum() / shape.lost_s
    wanted = cold.blocks / PERIOD_S + hot.blocks / hot.period_s
    assert looks_a_second == pytest.approx(wanted, rel=0.1)


def test_a_made_up_sweep_leaves_no_block_unseen_for_long() -> None:
    """Also while a path dies: what it does not answer for is soon read elsewhere."""
    history = synthetic_history(1, shape_of_a_test())
    assert history.looks.began_ns.min() < history.writes.issued_ns.min()
    keys = Keys(history)
    unseen_s = longest(gaps(history, keys), keys, [(0, 60 * NS_PER_S)])
    assert PERIOD_S < unseen_s < 2


class Watched:
    """A place of the real program, as far as it is told what to look at; it needs no thread."""

    def __init__(self, number: int, _place: object, of: Any) -> None:
        self.number, self.sweep = number, of
        self.task: Any = None
        self.since = self.ready_at = self.answered_at = self.until = 0.0
        self.answers = self.handed_on = self.begun = False

    free = sweeper_module.Watcher.free
    hand_on = sweeper_module.Watcher.hand_on


class Virtual:
    """The condition that the real program waits for: time goes on while it waits, and only then.

    `looks` are those that began: the block, the place, and when.
    """

    def __init__(self, of: Any, outage: Outage, ends_s: float) -> None:
        self.of, self.outage, self.ends_s = of, outage, ends_s
        self.now_s = 0.0
        self.looks: list[tuple[int, int, float]] = []

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def notify_all(self) -> None:
        for one in self.of.watchers:
            if one.task and not one.begun:
                one.begun = True
                self.looks.append((one.task[1], one.number, self.now_s))
                one.until, one.answers = self.outage.answer(one.number, self.now_s, TOOK_S)

    def wait(self, timeout: float) -> None:
        """Until then, or until a look ends."""
        busy = [one for one in self.of.watchers if one.task]
        self.now_s = min([self.now_s + timeout, *(one.until for one in busy)])
        for one in busy:
            if one.until <= self.now_s:
                if one.answers:
                    one.answered_at = one.until
                    self.of.took(one.until - one.since)
                else:
                    one.hand_on()
                    one.ready_at = one.until + sweeper_module.REST_S
                one.task, one.begun = None, False
        self.of.stopping = self.now_s >= self.ends_s


def real_sweep(
    monkeypatch: pytest.MonkeyPatch, outage: Outage, ends_s: float
) -> list[tuple[int, int, float]]:
    """The looks of the program that runs on machines, without a machine."""
    jobs = swept(Layout.of(WorkloadConfig()).mixed(1))
    told = Wanted({MAP: "", "a": "", "b": ""}, jobs, "").told
    clock = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr(sweeper_module, "time", clock)
    monkeypatch.setattr(sweeper_module, "Watcher", Watched)
    monkeypatch.setattr(sweeper_module, "Place", lambda *_: SimpleNamespace(away=""))
    program: Any = sweeper_module.Sweep(told)
    program.add(1)
    program.add(2)
    program.changed = virtual = Virtual(program, outage, ends_s)
    clock.monotonic = lambda: virtual.now_s
    program.run()
    return virtual.looks


def test_a_made_up_sweep_looks_as_the_real_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the same blocks in the same places; and as often, if not at the same moment, in an outage.

    The real program is run with looks that all take the same time.
    """
    shape, ends_s = shape_of_a_test(), 21.0
    real = real_sweep(monkeypatch, shape.outage, ends_s)
    chance: Any = SimpleNamespace(exponential=lambda _: TOOK_S - 0.002)
    cold, hot = shape.written
    areas = [
        Area(0, cold.blocks, cold.chunk, cold.period_s),
        Area(cold.blocks, hot.blocks, hot.chunk, hot.period_s),
    ]
    seen = sweep(areas, 3, ends_s, shape.looking, shape.outage, chance)
    first = seen.block % cold.chunk == 0
    rows = zip(seen.began_s[first], seen.block[first], seen.place[first], strict=True)
    made_up = sorted((float(at_s), int(block), int(place)) for at_s, block, place in rows)
    base = Layout.of(WorkloadConfig()).write_area.offset
    wanted = [(at_s, (start - base) // shape.block_size, place) for start, place, at_s in real]
    before = [(block, place) for at_s, block, place in made_up if at_s < shape.lost_s]
    assert [(block, place) for at_s, block, place in wanted if at_s < shape.lost_s] == before
    assert len(before) > 200
    for start_s, end_s in ((7.0, 10.0), (10.0, 14.0), (14.0, 21.0)):
        counts = [
            np.bincount([place for at_s, _, place in looks if start_s <= at_s < end_s], minlength=3)
            for looks in (made_up, wanted)
        ]
        assert counts[0] == pytest.approx(counts[1], abs=4)
