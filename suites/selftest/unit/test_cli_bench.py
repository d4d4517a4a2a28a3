"""The stopwatch of `pathproof bench`, and the stages that it relies on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.cli.bench import provision as bench
from harness.cli.bench.provision import Stopwatch, cold_times, times
from harness.provision import boot, configure, first_io, fork, prepare
from harness.provision import provisioner as provision
from harness.provision.step_titles import StepTitle
from harness.steps import Spent, listening, step


def seen(*, built: bool) -> tuple[Stopwatch, float]:
    """A run of the steps as provisioning takes them, 10 ms each."""
    watch, began = Stopwatch(), time.monotonic()
    with listening(watch):
        with step(StepTitle.IMAGES):
            if built:
                with step("build the target image of debian-12"):
                    time.sleep(0.01)
        with step(StepTitle.ALL):
            with step(StepTitle.START):
                time.sleep(0.01)
            with step(StepTitle.BOOT), step("Boot the target"):
                time.sleep(0.01)
            with step(StepTitle.CONFIGURE):
                time.sleep(0.01)
            time.sleep(0.01)
            with step(StepTitle.FIRST_IO):
                time.sleep(0.01)
            with step("Read over each path"):
                time.sleep(0.01)
    return watch, began


def test_every_second_is_in_one_stage() -> None:
    """The stages add up to the whole, without the images."""
    watch, began = seen(built=False)
    measured = cold_times(watch, began)
    parts = (measured.boot_s, measured.configuration_s, measured.first_io_s)
    assert measured.cold_s == pytest.approx(sum(parts), abs=0.002)
    assert measured.image_cached
    for seconds in parts:
        assert seconds >= 0.02


def test_building_images_is_not_part_of_a_cold_start() -> None:
    """It is told on its own, and that it was a build."""
    watch, began = seen(built=True)
    measured = cold_times(watch, began - 1.0)
    assert not measured.image_cached
    assert measured.image_s >= 0.01
    assert 1.0 <= measured.prepare_s < 1.0 + measured.image_s


def test_provisioning_names_its_steps_after_the_stages() -> None:
    """A stage that no step is named after would never be measured."""
    modules = (boot, configure, first_io, fork, prepare, provision)
    sources = [str(module.__file__) for module in modules]
    source = "".join(Path(file).read_text() for file in sources)
    for stage in StepTitle:
        assert f"step(StepTitle.{stage.name}," in source


def test_forks_are_compared_by_their_median() -> None:
    """One slow fork does not decide."""
    watch, began = seen(built=False)
    cold = cold_times(watch, began)
    measured = times(cold, 30.0, [cold.cold_s / 10, cold.cold_s / 10, 5.0], "tcg")
    assert measured.times_as_fast == pytest.approx(10, abs=0.1)
    assert measured.fork_s[-1] == 5.0


def test_the_table_has_a_line_for_each_figure() -> None:
    watch, began = seen(built=False)
    measured = times(cold_times(watch, began), 30.0, [2.0, 2.5, 4.0], "kvm")
    rows = {name: (seconds, what) for name, seconds, what in bench._rows(measured)}
    assert rows["boot"][1] == "both machines until they answer SSH, under kvm"
    assert rows["snapshot"][0] == "   30.0 s"
    assert rows["fork"] == (
        "    2.5 s",
        f"median of 3 (2.0 to 4.0 s): {measured.times_as_fast} times as fast",
    )


def test_without_forks_the_table_tells_of_none() -> None:
    watch, began = seen(built=False)
    measured = times(cold_times(watch, began), 0.0, [], "kvm")
    assert measured.fork_median_s is None
    assert {"snapshot", "fork"}.isdisjoint(name for name, *_ in bench._rows(measured))


def test_waiting_for_a_place_is_no_part_of_a_testbeds_time() -> None:
    """Other runs may be going on."""
    watch = Stopwatch()
    with listening(watch):
        for waits_s in (0.2, 0.0):
            with step(StepTitle.ALL, Spent.PROVISIONING):
                with step("Wait for a place", Spent.TURN):
                    time.sleep(waits_s)
                with step(StepTitle.BOOT):
                    pass
                with step(StepTitle.FIRST_IO):
                    pass
            cold = cold_times(watch, time.monotonic())
            assert cold.boot_s < 0.1
            assert cold.cold_s < 0.1
            assert watch.took(StepTitle.ALL) < 0.1
