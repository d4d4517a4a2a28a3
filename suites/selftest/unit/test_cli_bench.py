"""The stopwatch of `pathproof bench`, and the stages that it relies on."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import bench
from harness.cli.bench import Stopwatch, times
from harness.steps import listening, step
from harness.testbed import provision
from harness.testbed.stage import Stage


def seen(*, built: bool) -> tuple[Stopwatch, float]:
    """A run of the steps as provisioning takes them, 10 ms each."""
    watch, began = Stopwatch(), time.monotonic()
    with listening(watch):
        with step(Stage.IMAGES):
            if built:
                with step("build the target image of debian-12"):
                    time.sleep(0.01)
        with step(Stage.ALL):
            with step(Stage.START):
                time.sleep(0.01)
            with step(Stage.BOOT), step("Boot the target"):
                time.sleep(0.01)
            with step(Stage.CONFIGURE):
                time.sleep(0.01)
            time.sleep(0.01)
            with step(Stage.FIRST_IO):
                time.sleep(0.01)
            with step("Read over each path"):
                time.sleep(0.01)
    return watch, began


def test_every_second_is_in_one_stage() -> None:
    """The stages add up to the whole, without the images."""
    watch, began = seen(built=False)
    measured = times(watch, began, "tcg")
    parts = (measured.prepare_s, measured.boot_s, measured.configuration_s, measured.first_io_s)
    assert measured.cold_s == pytest.approx(sum(parts), abs=0.002)
    assert measured.image_cached
    for seconds in parts[1:]:
        assert seconds >= 0.02


def test_building_images_is_not_part_of_a_cold_start() -> None:
    """It is told on its own, and that it was a build."""
    watch, began = seen(built=True)
    measured = times(watch, began - 1.0, "tcg")
    assert not measured.image_cached
    assert measured.image_s >= 0.01
    assert 1.0 <= measured.prepare_s < 1.0 + measured.image_s


def test_provisioning_names_its_steps_after_the_stages() -> None:
    """A stage that no step is named after would never be measured."""
    source = Path(provision.__file__).read_text()
    for stage in Stage:
        assert f"step(Stage.{stage.name}," in source


def test_the_table_has_a_line_for_each_figure() -> None:
    watch, began = seen(built=False)
    measured = times(watch, began, "kvm")
    rows = bench._rows(replace(measured, boot_s=12.34))
    assert ("boot", "   12.3 s", "both machines until they answer SSH, under kvm") in rows
