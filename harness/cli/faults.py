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
    from harness.faults import Fault, Kind, Planned

_HEADER = ("FAULT", "FAMILY", "EFFECT", "PATHS THAT IT HITS", "WORDS")
_MARKDOWN = ("fault", "family", "effect", "what is broken", "what the initiator can see")


@configured()
def faults(
    loaded: Loaded,
    *,
    expression: Annotated[
        str | None,
        typer.Option("--faults", metavar="EXPRESSION", help="Only these, as pytest takes it."),
    ] = None,
    as_json: Json = False,
    as_markdown: Annotated[
        bool,
        typer.Option("--markdown", metavar="", help="Print all kinds, as docs/faults.md has them."),
    ] = False,
) -> None:
    """List the faults that the testbed can have, each with the words that select it."""
    from harness.faults import planned, select
    from harness.testbed.means import lacking
    from harness.topology import plan

    if as_markdown:
        typer.echo(markdown())
        return
    config = loaded.config
    every = planned(plan(config), lambda fault: not lacking(config, fault.needs))
    if expression is not None:
        try:
            every = select(every, expression)
        except ConfigError as error:
            raise typer.BadParameter(str(error), param_hint="--faults") from None
    told = [_told(one, config) for one in every]
    typer.echo(json.dumps(told, indent=2) if as_json else _table(told))


def _told(one: Planned, config: Config) -> dict[str, Any]:
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
        "words": sorted(one.words, key=str.lower),
        "description": one.fault.description,
        "skipped_because": lacking(config, one.fault.needs),
    }


def _table(told: Sequence[dict[str, Any]]) -> str:
    rows = [
        (
            one["name"],
            one["family"],
            ", ".join(one["effects"]),
            ", ".join(one["paths"]),
            " ".join(one["words"]),
            one["skipped_because"],
        )
        for one in told
    ]
    why = "SKIPPED BECAUSE" if any(one["skipped_because"] for one in told) else ""
    return columns([(*_HEADER, why), *rows])


def markdown() -> str:
    """The table of all kinds for docs/faults.md."""
    from harness.faults import CATALOGUE

    lines = [_line(_MARKDOWN), "|---" * len(_MARKDOWN) + "|"]
    return "\n".join([*lines, *(_line(_cells(kind)) for kind in CATALOGUE)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(kind: Kind) -> tuple[str, ...]:
    from harness.faults import Family

    several = kind.family is Family.SEVERAL
    effects = "those of its parts" if several else ", ".join(sorted(_example(kind).effects))
    return (f"`{kind.name}({kind.place})`", kind.family, effects, kind.breaks, kind.shows)


def _example(kind: Kind) -> Fault:
    """One of the first ready topology that can have it."""
    from harness.config.ready import ready_topologies
    from harness.topology import plan

    for described in ready_topologies().values():
        if found := kind.everywhere(plan(Config.model_validate(described)), lambda _: True):
            return found[0]
    raise ConfigError(f"no ready topology can have a {kind.name}")
