"""`pathproof bench`: how long this machine takes for what."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from harness.cli.ending import undisturbed_afterwards
from harness.cli.options import Json, configured, telling
from harness.cli.text import columns
from harness.config import Loaded
from harness.steps import Listener, Spent, Step, listening, step
from harness.testbed.stage import Stage

app = typer.Typer(help="Measure how long this machine takes.", no_args_is_help=True)

_BUILDING = "Build the images in an empty cache"


@dataclass(frozen=True)
class Times:
    """Seconds that each stage took.

    `image_s` is a look into the cache if `image_cached`, else a build. `cold_s` is what a new
    testbed takes once its images are there: the sum of preparations (earlier testbeds,
    acceleration, libvirt), boot, configuration and first I/O.
    """

    image_s: float
    image_cached: bool
    prepare_s: float
    boot_s: float
    configuration_s: float
    first_io_s: float
    cold_s: float
    accel: str


class Stopwatch(Listener):
    """When each stage began and ended, as time.monotonic() has it."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.built = False

    def started(self, step: Step) -> None:
        if step.title in {*Stage, _BUILDING}:
            self.began[step.title] = step.started_at
        elif step.parent is not None and step.parent.title in {Stage.IMAGES, _BUILDING}:
            self.built = True  # whatever is in the cache makes no step of its own

    def finished(self, step: Step, error: BaseException | None) -> None:
        if step.title in self.began:
            self.ended[step.title] = time.monotonic()

    def took(self, title: str) -> float:
        """Seconds; 0 for a stage that did not happen."""
        return self.ended[title] - self.began[title] if title in self.ended else 0.0


def times(watch: Stopwatch, began: float, accel: str) -> Times:
    """The stages of a run that began at `began` and was seen by `watch` to its end."""
    looking_s, building_s = watch.took(Stage.IMAGES), watch.took(_BUILDING)
    booting, configuring, io, end = (
        watch.began[Stage.START],
        watch.ended[Stage.BOOT],
        watch.began[Stage.FIRST_IO],
        watch.ended[Stage.ALL],
    )
    prepare_s = booting - began - looking_s - building_s
    return Times(
        image_s=round(building_s or looking_s, 3),
        image_cached=not watch.built,
        prepare_s=round(prepare_s, 3),
        boot_s=round(configuring - booting, 3),
        configuration_s=round(io - configuring, 3),
        first_io_s=round(end - io, 3),
        cold_s=round(prepare_s + end - booting, 3),
        accel=accel,
    )


@app.callback()
def bench() -> None:
    """Measure how long this machine takes."""


@app.command("provision")
@configured()
def provision(
    loaded: Loaded,
    ctx: typer.Context,
    *,
    as_json: Json = False,
    fresh_images: Annotated[
        bool, typer.Option("--fresh-images", help="Build the images first, in an empty cache.")
    ] = False,
) -> None:
    """Make a testbed, from nothing to verified I/O on every path, and remove it again."""
    began = time.monotonic()
    from harness.testbed.provision import provisioner

    watch = Stopwatch()
    with telling(ctx), listening(watch):
        if fresh_images:
            _build(loaded)
        with provisioner(loaded.config) as lab, lab.testbed(), undisturbed_afterwards():
            accel = lab.accel.accel
    measured = times(watch, began, accel)
    if as_json:
        typer.echo(json.dumps(asdict(measured), indent=2))
        return
    typer.echo(columns(list(_rows(measured))))


def _build(loaded: Loaded) -> None:
    """Build both images in a folder that is removed afterwards, by the next run if need be."""
    from harness.config.image import load_image
    from harness.hypervisor.image import ImageStore
    from harness.testbed.folder import claimed

    definition = load_image(loaded.config.machines.image)
    with claimed("images") as folder, step(_BUILDING, Spent.PROVISIONING):
        ImageStore(folder.path / "cache", loaded.config.machines.mirror).ensure_all(definition)


def _rows(measured: Times) -> list[tuple[str, str, str]]:
    cached = "found in the cache" if measured.image_cached else "built"
    lines = (
        ("images", measured.image_s, cached),
        ("preparations", measured.prepare_s, "earlier testbeds, acceleration, libvirt"),
        ("boot", measured.boot_s, f"both machines until they answer SSH, under {measured.accel}"),
        ("configuration", measured.configuration_s, "target, initiator, sessions, map"),
        ("first I/O", measured.first_io_s, "verified, and read over each path"),
        ("cold", measured.cold_s, "all of this but the images"),
    )
    return [(name, f"{seconds:7.1f} s", what) for name, seconds, what in lines]
