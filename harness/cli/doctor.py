"""`pathproof doctor`: what this host can do, and what to fix."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import typer

from harness.cli.diagnosis import COLOURS, Diagnosis, Level, conclusion, mark
from harness.cli.options import configured, given, is_quiet, telling
from harness.config import Config, Loaded
from harness.typed import as_typed

_SUBJECT = 20


@configured()
def doctor(loaded: Loaded, ctx: typer.Context) -> None:
    """Say line by line what this machine can do and what to fix; status 1 if no run can work."""
    found: list[Diagnosis] = []
    with telling(ctx):
        for diagnosis in examine(loaded.config):
            found.append(diagnosis)
            if diagnosis.level is not Level.OK or not is_quiet(ctx):
                typer.echo(line(diagnosis, sys.stdout.encoding))
    typer.echo(as_typed(conclusion(found, given(ctx))))
    if any(diagnosis.level is Level.PROBLEM for diagnosis in found):
        raise typer.Exit(1)


def examine(config: Config) -> Iterator[Diagnosis]:
    """Everything that a run would use, what takes longest last."""
    from harness.cli import existing, host, lab

    if config.initiator.is_made:
        yield from _for_machines(config)
        return
    yield from existing.initiator(config)
    yield from lab.earlier_testbeds()
    yield host.report_generator(required="report" in config.require)


def _for_machines(config: Config) -> Iterator[Diagnosis]:
    """Where a run makes its own."""
    from harness.cli import host, lab
    from harness.concurrency import side_by_side
    from harness.config.sizes import sized_for
    from harness.host.folder import base, cache_folder
    from harness.host.slots import expected_accel
    from harness.topology import Role, plan

    cache = cache_folder()
    images, built = lab.images(config, cache)
    complete = len(built) == len(Role)
    yield from host.programs(images_built=complete)
    yield host.rootless_builds(images_built=complete)
    yield host.cores()
    per_machine = sized_for(config, expected_accel(config)).machines.memory
    yield host.memory(per_machine, len(plan(config).guests))
    yield from host.disk(cache, base(), images_built=complete)
    yield images
    yield from lab.earlier_testbeds()
    # Both take seconds, and half of the time each waits for a disk or for a timer.
    for diagnoses in side_by_side(
        lambda: lab.machines(config, cache, built.get(Role.INITIATOR)),
        lambda: [host.report_generator(required="report" in config.require)],
    ):
        yield from diagnoses


def line(diagnosis: Diagnosis, encoding: str | None) -> str:
    """The mark, the subject, the text; below it, what to do. Readable without colour."""
    sign = typer.style(mark(diagnosis.level, encoding), fg=COLOURS[diagnosis.level], bold=True)
    first, *others = as_typed(diagnosis.text).splitlines() or [""]
    below = [*others, *(f"fix: {part}" for part in as_typed(diagnosis.fix).splitlines())]
    if diagnosis.level is Level.OK:
        below = others
    indent = " " * (_SUBJECT + 3)
    return "\n".join(
        [f"{sign} {diagnosis.subject:<{_SUBJECT}} {first}", *(indent + one for one in below)]
    )
