"""`pathproof cache`: what is kept between runs, and how much room it may take."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from harness.cli.options import Json, is_quiet
from harness.cli.plain import App
from harness.cli.text import age, columns
from harness.units import format_size, parse_size

app = App(help="List images and snapshots, or remove them.", no_args_is_help=True)


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@app.callback()
def cache() -> None:
    """List images and snapshots, or remove them."""


@app.command("ls")
def ls(*, as_json: Json = False) -> None:
    """List what is in the cache, the least recently used first."""
    from harness.cache import entries, size_limit
    from harness.host.folder import cache_folder

    found, limit = entries(cache_folder()), size_limit()
    total = sum(entry.size_bytes for entry in found)
    if as_json:
        described = [
            {
                "kind": entry.kind,
                "key": entry.key,
                "about": entry.about,
                "path": str(entry.path),
                "size_bytes": entry.size_bytes,
                "made_at": entry.made_at,
                "used_at": entry.used_at,
                "in_use": entry.in_use,
                "needs": sorted(entry.needs),
            }
            for entry in found
        ]
        listing = {"entries": described, "total_bytes": total, "limit_bytes": limit}
        typer.echo(json.dumps(listing, indent=2))
        return
    rows = [("KIND", "KEY", "WHAT", "SIZE", "LAST USED")]
    rows += [
        (
            entry.kind,
            entry.key[:12],
            entry.about or "-",
            format_size(entry.size_bytes),
            "in use" if entry.in_use else f"{age(time.time() - entry.used_at)} ago",
        )
        for entry in found
    ]
    typer.echo(columns(rows) if found else f"nothing in {cache_folder()}")
    typer.echo(f"{format_size(total)} of {format_size(limit)}")


@app.command("prune")
def prune(
    ctx: typer.Context,
    limit: Annotated[
        int | None,
        typer.Option(
            parser=_size, metavar="SIZE", help="Leave this much. Default: PATHPROOF_CACHE_LIMIT."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", metavar="", help="Leave nothing but what is in use.")
    ] = False,
) -> None:
    """Remove what was not used for longest; what is in use stays."""
    from harness.cache import entries, size_limit
    from harness.cache import prune as prune_to
    from harness.guest_images.store import remove_unfinished
    from harness.host.folder import cache_folder

    if everything and limit is not None:
        raise typer.BadParameter("give --limit or --all, not both")
    base = cache_folder()
    remove_unfinished(base)
    removed = prune_to(base, 0 if everything else size_limit() if limit is None else limit)
    if is_quiet(ctx):
        return
    for entry in removed:
        typer.echo(f"{entry.name} is gone: {entry.about or '-'}")
    freed = sum(entry.size_bytes for entry in removed)
    left = sum(entry.size_bytes for entry in entries(base))
    typer.echo(f"{format_size(freed)} freed, {format_size(left)} left")
