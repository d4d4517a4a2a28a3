"""`pathproof faults`: what can be broken here, and by which words tests choose of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import Json, configured
from harness.cli.text import columns
from harness.config import Config, Loaded
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.faults import PlannedFault

_HEADER = ("FAULT", "FAMILY", "EFFECT", "PATHS THAT IT HITS", "WORDS")


@configured()
def faults(
    loaded: Loaded,
    *,
    expression: Annotated[
        str | None,
        typer.Option("--faults", metavar="EXPRESSION", help="Only these, as pytest takes it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the faults that the testbed can have, each with the words that select it."""
    from harness.faults import planned, select
    from harness.testbed.means import possible
    from harness.topology import plan

    config = loaded.config
    every = planned(plan(config), possible(config))
    if expression is not None:
        try:
            every = select(every, expression)
        except ConfigError as error:
            raise typer.BadParameter(str(error), param_hint="--faults") from None
    told = [_told(one, config) for one in every]
    typer.echo(json.dumps(told, indent=2) if as_json else _table(told))


def _told(one: PlannedFault, config: Config) -> dict[str, Any]:
    """A fault for programs; `skipped_because` is empty where it is possible."""
    from harness.testbed.means import lacking
    from harness.topology import plan

    return {
        "name": one.fault.name,
        "test": one.label,
        "kind": one.kind.name,
        "family": one.kind.family,
        "effects": sorted(one.fault.effects),
        "paths": list(one.fault.hits(plan(config))),
        "needs": sorted(one.fault.needs),
        "words": sorted(one.words, key=lambda word: (word.lower(), word)),
        "description": one.fault.description,
        "skipped_because": lacking(config, one.fault.needs),
    }


def _table(told: Sequence[dict[str, Any]]) -> str:
    rows = [
        (
            one["name"],
            one["family"],
            ", ".join(one["effects"]),
            ", ".join(one["paths"]) or "none",
            " ".join(one["words"]),
            one["skipped_because"],
        )
        for one in told
    ]
    why = "SKIPPED BECAUSE" if any(one["skipped_because"] for one in told) else ""
    return columns([(*_HEADER, why), *rows])
