"""`pathproof bench provision`: how long this machine takes to make a testbed, stage by stage."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json, configured, telling
from harness.cli.text import columns
from harness.config import Loaded
from harness.errors import HypervisorError
from harness.provision.step_titles import StepTitle
from harness.steps import Listener, Spent, Step, listening, step

if TYPE_CHECKING:
    from harness.provision.provisioner import Provisioner

_BUILDING = "Build the images in an empty cache"


@dataclass(frozen=True)
class Cold:
    """Seconds that each stage of a testbed booted cold took; `cold_s` is their sum.

    `image_s` comes before: a look into the cache if `image_cached`, else a build. So does
    `prepare_s`, which a process pays once: earlier testbeds, acceleration, libvirt.
    """

    image_s: float
    image_cached: bool
    prepare_s: float
    boot_s: float
    configuration_s: float
    first_io_s: float
    cold_s: float


@dataclass(frozen=True)
class Times(Cold):
    """The times of a cold boot and of forks, each from the call to verified I/O on every path.

    `snapshot_s` is what making the golden snapshot took, or looking at it if it was there.
    """

    snapshot_s: float
    fork_s: tuple[float, ...]
    fork_median_s: float | None
    times_as_fast: float | None
    accel: str


class Stopwatch(Listener):
    """When each stage began and ended last, as time.monotonic() has it.

    `waited_s` is how long the last testbed waited for others to make room: no part of its time.
    """

    def __init__(self) -> None:
        self.waited_s = 0.0
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.built = False

    def started(self, step: Step) -> None:
        if step.title == StepTitle.ALL:
            self.waited_s = 0.0
        if step.title in {*StepTitle, _BUILDING}:
            self.began[step.title] = step.started_at
        elif step.parent is not None and step.parent.title in {StepTitle.IMAGES, _BUILDING}:
            self.built = True  # whatever is in the cache makes no step of its own

    def finished(self, step: Step, error: BaseException | None) -> None:
        if step.spent_on is Spent.TURN:
            self.waited_s += time.monotonic() - step.started_at
        if step.title in self.began:
            self.ended[step.title] = time.monotonic()

    def took(self, title: str) -> float:
        """Seconds; 0 for a stage that did not happen."""
        if title not in self.ended:
            return 0.0
        waited_s = self.waited_s if title == StepTitle.ALL else 0.0
        return self.ended[title] - self.began[title] - waited_s


def cold_times(watch: Stopwatch, began: float) -> Cold:
    """The stages of a cold testbed that `watch` has just seen, in a run that began at `began`."""
    looking_s, building_s = watch.took(StepTitle.IMAGES), watch.took(_BUILDING)
    start, booted, io, end = (
        watch.began[StepTitle.ALL] + watch.waited_s,
        watch.ended[StepTitle.BOOT],
        watch.began[StepTitle.FIRST_IO],
        watch.ended[StepTitle.ALL],
    )
    return Cold(
        image_s=round(building_s or looking_s, 3),
        image_cached=not watch.built,
        prepare_s=round(start - watch.waited_s - began - looking_s - building_s, 3),
        boot_s=round(booted - start, 3),
        configuration_s=round(io - booted, 3),
        first_io_s=round(end - io, 3),
        cold_s=round(end - start, 3),
    )


def times(cold: Cold, snapshot_s: float, fork_s: Sequence[float], accel: str) -> Times:
    """Everything in one."""
    middle = median(fork_s) if fork_s else None
    return Times(
        **asdict(cold),
        snapshot_s=round(snapshot_s, 3),
        fork_s=tuple(round(seconds, 3) for seconds in fork_s),
        fork_median_s=round(middle, 3) if middle else None,
        times_as_fast=round(cold.cold_s / middle, 1) if middle else None,
        accel=accel,
    )


@configured()
def provision(
    loaded: Loaded,
    ctx: typer.Context,
    *,
    as_json: Json = False,
    forks: Annotated[int, typer.Option("--forks", min=0, help="How many forks to time.")] = 3,
    fresh_images: Annotated[
        bool,
        typer.Option(
            "--fresh-images", metavar="", help="Build the images first, in an empty cache."
        ),
    ] = False,
) -> None:
    """Time a testbed booted cold and forks of a snapshot, to verified I/O on every path."""
    began = time.monotonic()
    from harness.provision.provisioner import provisioner

    watch = Stopwatch()
    with telling(ctx), listening(watch):
        if fresh_images:
            _build(loaded)
        with provisioner(loaded.config) as lab:
            with lab.cold():
                cold = cold_times(watch, began)
            snapshot_s, fork_s = _fork(lab, forks, watch)
            accel = lab.resources.accel.accel
    measured = times(cold, snapshot_s, fork_s, accel)
    if as_json:
        typer.echo(json.dumps(asdict(measured), indent=2))
        return
    typer.echo(columns(list(_rows(measured))))


def _fork(lab: Provisioner, forks: int, watch: Stopwatch) -> tuple[float, list[float]]:
    """Seconds that the snapshot took, and each fork until it was ready."""
    if not forks:
        return 0.0, []
    if reason := lab.prepare():
        raise HypervisorError(f"there can be no forks: {reason}")
    snapshot_s, fork_s = watch.took(StepTitle.ALL), []
    for _ in range(forks):
        with lab.fork():
            fork_s.append(watch.took(StepTitle.ALL))
    return snapshot_s, fork_s


def _build(loaded: Loaded) -> None:
    """Build both images in a folder that is removed afterwards, by the next run if need be."""
    from harness.config.image import load_image
    from harness.guest_images.store import ImageStore
    from harness.host.folder import claimed

    definition = load_image(loaded.config.machines.image)
    with claimed("images") as folder, step(_BUILDING, Spent.PROVISIONING):
        ImageStore(folder.path / "cache", loaded.config.machines.mirror).ensure_all(definition)


def _rows(measured: Times) -> list[tuple[str, str, str]]:
    cached = "found in the cache" if measured.image_cached else "built"
    lines = [
        ("images", measured.image_s, cached),
        ("preparations", measured.prepare_s, "earlier testbeds, acceleration, libvirt"),
        ("boot", measured.boot_s, f"both machines until they answer SSH, under {measured.accel}"),
        ("configuration", measured.configuration_s, "target, initiator, sessions, map"),
        ("first I/O", measured.first_io_s, "verified, and read over each path"),
        ("cold", measured.cold_s, "the last three: a testbed without a snapshot"),
    ]
    if measured.fork_median_s:
        spread = f"{min(measured.fork_s):.1f} to {max(measured.fork_s):.1f} s"
        compared = f"{measured.times_as_fast} times as fast"
        lines += [
            ("snapshot", measured.snapshot_s, "another cold testbed and saving it, once"),
            (
                "fork",
                measured.fork_median_s,
                f"median of {len(measured.fork_s)} ({spread}): {compared}",
            ),
        ]
    return [(name, f"{seconds:7.1f} s", what) for name, seconds, what in lines]
