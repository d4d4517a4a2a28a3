"""The simulation of planted damage: what it plants, and how often that is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.analysis.confidence import share_limits
from harness.analysis.power import (
    Changed,
    Lost,
    Plant,
    Replayed,
    Stale,
    Swapped,
    Torn,
    measure_power,
    parse_history,
    render_history,
    synthetic_history,
)
from harness.analysis.power.content import Content
from harness.analysis.register import judge_register
from harness.cli.app import app
from harness.cli.bench.power import shape_of_a_test
from harness.errors import ConfigError, HarnessError
from harness.measurements import Found, LookLog, WriteHistory, WriteLog
from harness.units import NS_PER_S

TRIALS = 60


def made_up(seed: int) -> WriteHistory:
    """As the command makes it."""
    return synthetic_history(seed, shape_of_a_test())


def small(*more: int) -> WriteHistory:
    """Block 0 is written at 1 s and 5 s, block 4096 at 2 s; each is looked at once a second.

    Block 4096 is written once more at each of those seconds.
    """
    seconds = np.arange(0, 10, dtype=np.int64)
    offset = np.repeat([0, 4096], len(seconds))
    began = np.tile(seconds, 2) * NS_PER_S + NS_PER_S // 2
    writes = WriteLog(
        offset=np.array([0, 4096, 0, *(4096 for _ in more)]),
        issued_ns=np.array([1, 2, 5, *more]) * NS_PER_S - 1000,
        acknowledged_ns=np.array([1, 2, 5, *more]) * NS_PER_S,
    )
    found = Content.of(writes).at(offset, began)
    place = np.zeros_like(offset)
    return WriteHistory(writes, LookLog(("map",), place, offset, found, began, began + 1000))


def test_a_block_holds_the_newest_write_that_took_effect() -> None:
    """Before the first write it holds what an earlier run left there."""
    content, second = Content.of(small().writes), NS_PER_S
    offsets, times = np.array([0, 0, 0, 4096, 4096]), np.array([0, 1, 7, 1, 2]) * second
    assert content.at(offsets, times).tolist() == [Found.EARLIER_RUN, 0, 2, Found.EARLIER_RUN, 1]
    assert content.at(np.array([0, 4096]), 7 * second, before=1).tolist() == [
        0,
        Found.EARLIER_RUN,
    ]
    lost = np.array([False, False, True])
    assert Content.of(small().writes, without=lost).at(np.array([0]), 7 * second).tolist() == [0]


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (Lost(seconds=0), {0, Found.EARLIER_RUN}),
        (Lost(seconds=1), {0, Found.EARLIER_RUN}),
        (Stale(seconds=2), {0, Found.EARLIER_RUN}),
        (Replayed(seconds=2), {0, Found.EARLIER_RUN}),
        (Swapped(seconds=2), {Found.MISDIRECTED}),
        (Torn(seconds=2), {Found.TORN}),
        (Changed(), {Found.FOREIGN}),
    ],
)
def test_a_plant_changes_what_looks_find_and_nothing_else(plant: Plant, found: set[int]) -> None:
    """And only for as long as it lasts."""
    history, chance = small(), np.random.default_rng(5)
    for _ in range(20):
        damaged = plant.into(history, chance)
        assert damaged is not None
        assert damaged.writes is history.writes
        changed = damaged.looks.found != history.looks.found
        assert set(damaged.looks.found[changed].tolist()) <= found
        times = history.looks.began_ns[changed]
        if plant.seconds and len(times) and not isinstance(plant, Lost):
            assert times.max() - times.min() < plant.seconds * NS_PER_S
        if changed.any():
            assert judge_register(damaged).wrong.any()


def test_damage_that_a_write_would_mend_is_not_planted() -> None:
    """Block 0 is written at 5 s: what is torn there is so before that write, or after it."""
    history, chance = small(9), np.random.default_rng(2)
    seen = set()
    for _ in range(60):
        damaged = Torn(seconds=2).into(history, chance)
        assert damaged is not None
        changed = (damaged.looks.found != history.looks.found) & (history.looks.offset == 0)
        seen.add(frozenset((history.looks.began_ns[changed] > 5 * NS_PER_S).tolist()))
    assert seen == {frozenset(), frozenset({False}), frozenset({True})}


def test_damage_on_one_path_is_not_seen_elsewhere() -> None:
    history = made_up(3)
    damaged = Torn(blocks=40, seconds=5, place=2).into(history, np.random.default_rng(1))
    assert damaged is not None
    changed = damaged.looks.found != history.looks.found
    assert set(history.looks.place[changed].tolist()) == {2}


def test_a_made_up_history_is_that_of_a_storage_that_keeps_its_promise() -> None:
    """With an outage, in which path a gives no answer; and the same for the same seed."""
    history = made_up(1)
    register = judge_register(history)
    assert not register.wrong.any()
    assert register.proven[history.writes.acknowledged].mean() > 0.999
    assert (history.looks.found == Found.NO_ANSWER).any()
    again = made_up(1)
    assert np.array_equal(again.looks.found, history.looks.found)
    assert not np.array_equal(made_up(2).writes.offset, history.writes.offset)


def test_what_the_judge_is_asked_for_is_found() -> None:
    """A loss of a second of writes, one block that is wrong for 2 s, a cold block that changed."""
    asked = (Lost(seconds=1), Stale(seconds=2), Replayed(seconds=2), Swapped(seconds=2), Changed())
    table = measure_power([made_up(1), made_up(2)], TRIALS, 1, asked)
    assert [rate.no_room for rate in table.rates] == [0] * len(asked)
    assert all(rate.share >= 0.95 for rate in table.rates), table
    assert table.rates[0].share == table.rates[-1].share == 1


def test_without_the_looks_of_the_sweep_it_is_not_found() -> None:
    """What is mended in time leaves no trace in the read-back at the end."""
    history = made_up(1)
    looks = history.looks
    last = looks.began_ns >= looks.began_ns.max()
    columns = ("place", "offset", "found", "began_ns", "ended_ns")
    part = {name: getattr(looks, name)[last] for name in columns}
    blind = replace(history, looks=LookLog(looks.places, **part))
    stale, cold = measure_power([blind], TRIALS, 1, (Stale(seconds=2), Changed())).rates
    assert stale.share == 0
    assert cold.share == 1


def test_the_slower_the_sweep_the_less_is_found() -> None:
    shape = shape_of_a_test()
    shares = []
    for period_s in (1.0, 8.0):
        written = tuple(replace(one, period_s=period_s) for one in shape.written)
        slow = synthetic_history(1, replace(shape, written=written))
        shares.append(measure_power([slow], TRIALS, 1, (Torn(seconds=2),)).rates[0].share)
    assert shares[0] > 0.95
    assert shares[1] < 0.6


def test_a_history_with_damage_tells_nothing_of_the_judge() -> None:
    history = made_up(1)
    damaged = Torn(blocks=20, seconds=5).into(history, np.random.default_rng(1))
    assert damaged is not None
    with pytest.raises(HarnessError, match="wrong looks already"):
        measure_power([damaged], 1, 1)


def test_a_history_without_room_is_told() -> None:
    """Nothing was acknowledged, or every block was busy."""
    none = small()
    nothing = replace(
        none.writes, acknowledged_ns=np.full_like(none.writes.acknowledged_ns, np.iinfo("i8").max)
    )
    for plant in (Lost(), Lost(seconds=0), Stale(), Torn(), Changed(), Swapped(blocks=3)):
        assert plant.into(replace(none, writes=nothing), np.random.default_rng(1)) is None
    (rate,) = measure_power([none], 5, 1, (Swapped(blocks=3),)).rates
    assert (rate.planted, rate.no_room, rate.share) == (0, 5, 0)
    assert (rate.limits.low, rate.limits.high) == (0, 1)


def test_limits_of_a_share_hold_the_truth() -> None:
    """One of a hundred is what each limit may miss."""
    rng = np.random.default_rng(1)
    counts = rng.binomial(200, 0.9, 2000)
    limits = [share_limits(int(count), 200) for count in counts]
    assert sum(one.low > 0.9 for one in limits) / 2000 <= 0.012
    assert sum(one.high < 0.9 for one in limits) / 2000 <= 0.012
    assert share_limits(4603, 4603).low == pytest.approx(0.999, abs=1e-5)


def test_a_history_is_the_same_from_its_file(tmp_path: Path) -> None:
    history = made_up(1)
    read = parse_history(render_history(history), "one.npz")
    assert read.looks.places == history.looks.places
    assert np.array_equal(read.looks.found, history.looks.found)
    assert np.array_equal(read.writes.acknowledged_ns, history.writes.acknowledged_ns)
    for content in (b"", b"PK\x03\x04", b"no"):
        with pytest.raises(ConfigError, match=r"one\.npz is no recorded history"):
            parse_history(content, "one.npz")


def test_the_command_prints_a_line_for_each_kind(tmp_path: Path) -> None:
    file = tmp_path / "one.npz"
    file.write_bytes(render_history(made_up(1)))
    command = ["bench", "power", "--trials", "3", "--history", str(file)]
    first = CliRunner().invoke(app, command)
    lines = first.output.splitlines()
    assert lines[0].startswith("1 history with ")
    assert lines[1].split()[:2] == ["DAMAGE", "SIZE"]
    assert "acknowledged writes lost" in lines[2]
    assert CliRunner().invoke(app, command).output == first.output
    told = CliRunner().invoke(app, [*command, "--json"])
    assert '"share": 1.0' in told.output
    missing = CliRunner().invoke(app, [*command[:-1], str(tmp_path / "none")])
    assert missing.exit_code != 0
