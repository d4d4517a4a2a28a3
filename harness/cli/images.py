"""`pathproof images`: what guests boot from."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import configured, telling
from harness.cli.plain import App
from harness.cli.text import age, columns
from harness.config import Loaded
from harness.units import format_seconds, format_size

app = App(help="List guest images, or build them.", invoke_without_command=True)


@app.callback()
def images(ctx: typer.Context) -> None:
    """List guest images, or build them: docs/images.md says how to define your own."""
    if ctx.invoked_subcommand is None:
        listing()


@app.command("list")
@configured()
def list_images(loaded: Loaded) -> None:
    """List the definitions in images/, and whether each is built."""
    listing(loaded.config.machines.image, loaded.config.machines.mirror)


@app.command("build")
@configured()
def build(
    loaded: Loaded,
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="A name in images/ or a path. Default: the configured.")
    ] = None,
) -> None:
    """Build both machines' images, as far as they are not in the cache."""
    from harness.config.image import load_image
    from harness.guest_images.store import ImageStore
    from harness.host.folder import cache_folder

    began = time.monotonic()
    definition = load_image(name or loaded.config.machines.image)
    with telling(ctx):
        built = ImageStore(cache_folder(), loaded.config.machines.mirror).ensure_all(definition)
    took = format_seconds(time.monotonic() - began)
    typer.echo(f"{definition.name} is ready after {took}:")
    typer.echo(columns([(f"  {role}", str(image.disk.parent)) for role, image in built.items()]))


def listing(wanted: str | None = None, mirror: str | None = None) -> None:
    """One line per definition and role; `wanted` may be one that does not lie in images/."""
    from harness.config.image import IMAGES, load_image
    from harness.guest_images.store import ImageStore
    from harness.host.folder import cache_folder
    from harness.topology import Role

    store = ImageStore(cache_folder(), mirror)
    names = sorted(file.stem for file in IMAGES.glob("*.toml"))
    if wanted is not None and wanted not in names:
        names.append(wanted)
    rows: list[tuple[str, ...]] = [("IMAGE", "MACHINE", "BUILT", "SIZE", "FOLDER")]
    for name in names:
        definition = load_image(name)
        for role in Role:
            image = store.find(definition, role)
            if image is None:
                rows.append((name, role, "no", "-", "-"))
                continue
            folder = image.disk.parent
            since = f"{age(time.time() - folder.stat().st_mtime)} ago"
            rows.append((name, role, since, format_size(_used(folder)), str(folder)))
    typer.echo(columns(rows))


def _used(folder: Path) -> int:
    """Bytes on disk; the file system in an image has holes."""
    return sum(file.stat().st_blocks * 512 for file in folder.iterdir())
