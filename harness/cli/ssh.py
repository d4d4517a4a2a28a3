"""`pathproof ssh`: a shell or a command on a machine of a testbed."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.testbeds import choose
from harness.errors import ConfigError, MachineError
from harness.host.folder import Address, all_folders
from harness.topology import Role

_ROLES = tuple(role.value for role in Role)
_KNOWN_HOSTS = "known_hosts"


def ssh(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME] target|initiator|MACHINE [-- COMMAND …]",
            help="The testbed (the beginning of its name will do; default: the only one), the "
            "machine, and a command to run there instead of a shell. For a further initiator give "
            "both names, such as `pathproof-5a9205 second`. A command of one word is read by the "
            "shell over there; several words arrive as they are.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Log in as root, with the client's key and the host key that the image was built with."""
    name, role, command = parse(words or [])
    client = shutil.which("ssh")
    if client is None:
        raise MachineError(
            "the OpenSSH client `ssh` is not installed",
            hint="./bootstrap installs it (Debian: openssh-client)",
        )
    folder = choose(name, all_folders())
    manifest = folder.manifest()
    if manifest is None or role not in manifest.machines:
        known = ", ".join(manifest.machines) if manifest is not None else ""
        raise ConfigError(
            f"{folder.name} has no {role}" + (f"; there are {known}" if known else " yet"),
            hint="`pathproof ps` lists testbeds",
        )
    address = manifest.machines[role]
    known_hosts = folder.path / _KNOWN_HOSTS
    known_hosts.write_text(
        "".join(known_host(machine) for machine in manifest.machines.values()), encoding="ascii"
    )
    # Nothing may stand between the terminal and ssh: it takes the place of this process.
    os.execv(client, argv(address, known_hosts, command))  # noqa: S606  # a list, no shell


def parse(words: Sequence[str]) -> tuple[str | None, str, tuple[str, ...]]:
    """The testbed's name if given, the machine, the command.

    Raises typer.BadParameter, which shows the usage.
    """
    named = len(words) > 0 and words[0] not in _ROLES
    name, rest = (words[0], words[1:]) if named else (None, words)
    if not rest or rest[0] == "--":
        raise typer.BadParameter(
            f"which machine? {', '.join(_ROLES)}, or, after the name of a testbed, one of its "
            "further initiators"
        )
    role, *command = rest
    if command[:1] == ["--"]:
        del command[0]
    return name, role, tuple(command)


def known_host(address: Address) -> str:
    """A line of known_hosts (sshd(8)) that pins a machine's key."""
    return f"[127.0.0.1]:{address.port} {address.host_key}\n"


def argv(address: Address, known_hosts: Path, command: Sequence[str] = ()) -> list[str]:
    """The command that logs in, trusting the pinned host key and offering one key only.

    It owes nothing to this user's own settings.
    """
    return [
        *("ssh", "-F", "none"),
        *("-p", str(address.port)),
        *("-o", f'IdentityFile="{address.private_key}"'),
        *("-o", "IdentitiesOnly=yes"),
        *("-o", "BatchMode=yes"),
        *("-o", "StrictHostKeyChecking=yes"),
        *("-o", f'UserKnownHostsFile="{known_hosts}"'),
        *("-o", "GlobalKnownHostsFile=/dev/null"),
        *(("-o", f"ProxyCommand={_escaped(address.proxy)}") if address.proxy else ()),
        "root@127.0.0.1",
        *([command[0] if len(command) == 1 else shlex.join(command)] if command else []),
    ]


def _escaped(proxy: Sequence[str]) -> str:
    """A command as ProxyCommand takes it: for a shell, where % begins a token (ssh_config(5))."""
    return shlex.join(proxy).replace("%", "%%")
