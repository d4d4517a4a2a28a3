"""`pathproof up`, `ps`, `down` and `reap`: testbeds that outlive the command."""

from __future__ import annotations

import socket
import time
from enum import StrEnum
from typing import Annotated

import typer

from harness.cli.ending import undisturbed_afterwards
from harness.cli.options import NAME, configured, is_quiet, telling
from harness.cli.text import age, columns
from harness.config import Loaded
from harness.errors import ConfigError
from harness.host.folder import Folder, Manifest, UnreadableManifest, all_folders
from harness.typed import typed
from harness.units import format_seconds, format_size

_ANSWERS_S = 0.5


class State(StrEnum):
    """What a testbed is, as far as its folder tells."""

    IN_USE = "in use"
    KEPT = "kept"
    ENDED = "kept, ended"
    LEFT = "left behind"
    UNREADABLE = "cannot be read"


def state_of(folder: Folder) -> State:
    """ENDED if a kept testbed's machines are gone, as after a restart of this host.

    Another host is not asked.
    """
    if folder.owned():
        return State.IN_USE
    try:
        manifest = folder.manifest()
    except UnreadableManifest:
        return State.UNREADABLE
    if manifest is None or not manifest.kept:
        return State.LEFT
    return State.KEPT if all(map(_listens, _ports(manifest))) else State.ENDED


def choose(name: str | None, folders: list[Folder]) -> Folder:
    """The one that `name`, or the beginning of a name, means; None means the only one.

    Raises ConfigError that lists what there is.
    """
    exact = [folder for folder in folders if folder.name == name]
    found = exact or [f for f in folders if name is None or f.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    if not folders:
        raise ConfigError("there is no testbed", hint="`pathproof up` makes one")
    known = ", ".join(folder.name for folder in folders)
    if name is None:
        raise ConfigError(f"there is more than one testbed; say which: {known}")
    problem = "means more than one testbed" if found else "is no testbed's name"
    raise ConfigError(f"{name!r} {problem}; there are: {known}")


@configured(NAME)
def up(loaded: Loaded, ctx: typer.Context) -> None:
    """Make a testbed and keep it: machines, target, paths and map, verified by I/O."""
    from harness.provision.provisioner import provisioner

    began = time.monotonic()
    with telling(ctx), provisioner(loaded.config) as lab, lab.testbed() as testbed:
        with undisturbed_afterwards():
            lab.keep()
        name, maps = lab.resources.folder.name, testbed.maps
    if is_quiet(ctx):
        typer.echo(name)
        return
    took = format_seconds(time.monotonic() - began)
    portals = ", ".join(str(one.portal) for one in testbed.topology.portals)
    serves = f"{', '.join(testbed.topology.target_iqns)} at {portals}"
    has_target = loaded.config.target.is_made
    first, *others = (
        f"the map {f'of {one.lun.name} ' if len(maps) > 1 else ''}is {one.device}" for one in maps
    )
    rows = [
        (typed(f"pathproof ssh {name} initiator"), first),
        *(("", other) for other in others),
        (
            typed(f"pathproof ssh {name} target") if has_target else "the target is external:",
            serves,
        ),
        (typed(f"pathproof down {name}"), "removes it"),
    ]
    typer.echo(f"{name} is up after {took} and stays until it is taken down:")
    typer.echo("\n".join(f"  {line}" for line in columns(rows).splitlines()))


def ps() -> None:
    """List your testbeds: kept, in use by a run, or left behind by one that was killed."""
    folders = all_folders()
    if not folders:
        typer.echo("no testbeds")
        return
    header = ("NAME", "STATE", "AGE", "MEMORY", "NETWORKS (TARGET - INITIATOR)", "SSH PORTS")
    typer.echo(columns([header, *map(_row, folders)]))


def down(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Which; its beginning will do. Default: the only one.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", metavar="", help="All that are not in use.")
    ] = False,
) -> None:
    """End kept testbeds and those left behind. What a run is using stays."""
    from harness.host import folder
    from harness.provision.abandoned import end_domains

    if everything and name:
        raise typer.BadParameter("give a name or --all, not both")
    one = None if everything else _to_end(name)
    with telling(ctx):
        ended = folder.reap(end_domains, kept_too=True, name=one)
    if not is_quiet(ctx):
        typer.echo("\n".join(f"{gone} is gone" for gone in ended) or "nothing to end")


def reap(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Only this one; its beginning will do.")
    ] = None,
    kept: Annotated[bool, typer.Option("--kept", metavar="", help="Kept testbeds, too.")] = False,
) -> None:
    """Clean up after runs that were killed. What is in use or was kept stays."""
    from harness.faults import heal_left_behind
    from harness.guest_images.store import remove_unfinished
    from harness.host import folder
    from harness.provision.abandoned import end_domains

    one = None if name is None else _to_end(name)
    with telling(ctx):
        gone = folder.reap(end_domains, kept_too=kept, name=one)
        unfinished = [] if one else remove_unfinished(folder.cache_folder())
        healed = [] if one else heal_left_behind()
    if is_quiet(ctx):
        return
    for what in [*gone, *map(str, unfinished)]:
        typer.echo(f"{what} is gone")
    for fault in healed:
        typer.echo(f"{fault} is healed")
    for left in all_folders():
        if one in {None, left.name} and state_of(left) in {State.KEPT, State.ENDED}:
            end = typed(f"pathproof down {left.name}")
            typer.echo(f"{left.name} was kept and stays; `{end}` removes it")
    if not (gone or unfinished or healed):
        typer.echo("nothing was left behind")


def _to_end(name: str | None) -> str | None:
    """The full name of the testbed to end; None if there is none at all and none was named."""
    folders = all_folders()
    if name is None:
        folders = [folder for folder in folders if not folder.owned()]
        if not folders:
            return None
    folder = choose(name, folders)
    if folder.owned():
        raise ConfigError(
            f"{folder.name} is in use by a running process", hint="end that, and it is removed"
        )
    return folder.name


def _row(folder: Folder) -> tuple[str, ...]:
    since = age(time.time() - folder.claimed_at)
    state = state_of(folder)
    manifest = None if state is State.UNREADABLE else folder.manifest()
    if manifest is None:
        return (folder.name, state, since, "-", "-", "-")
    networks = ", ".join(f"{name} {ends}" for name, ends in manifest.networks.items())
    ports = ", ".join(f"{role} {address.port}" for role, address in manifest.machines.items())
    memory = format_size(manifest.memory) if manifest.memory else "-"
    return (folder.name, state, since, memory, networks or "-", ports or "-")


def _ports(manifest: Manifest) -> list[int]:
    return [address.port for address in manifest.machines.values() if not address.proxy]


def _listens(port: int) -> bool:
    """Whether QEMU's forward is there; it accepts at once, whatever the guest does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_ANSWERS_S):
            return True
    except OSError:
        return False
