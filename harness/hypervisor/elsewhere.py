"""Libvirt URIs that lead to another host over SSH (https://libvirt.org/uri.html)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from harness.errors import ConfigError
from harness.hypervisor.accel import Choice


@dataclass(frozen=True)
class OtherHost:
    """A host as a URI names it; the command `ssh` reaches it just as libvirt does.

    `is_system`: its QEMUs run as a user of their own.
    """

    name: str
    user: str | None
    port: int | None
    command: str
    options: tuple[str, ...]
    is_system: bool

    @property
    def ssh(self) -> tuple[str, ...]:
        """The command and its options, without `destination`."""
        return (self.command, *self.options, *(("-p", str(self.port)) if self.port else ()))

    @property
    def destination(self) -> str:
        return f"{self.user}@{self.name}" if self.user else self.name


def other_host(uri: str) -> OtherHost | None:
    """The host that `uri` reaches over SSH; None if libvirt runs on this one.

    Raises ConfigError for another way to another host: there is none for disks and for SSH.
    """
    parts = urlsplit(uri)
    if not parts.hostname:
        return None
    if parts.scheme != "qemu+ssh":
        raise ConfigError(
            f"hypervisor.uri: {uri!r} leads to another host, and not over ssh",
            hint=f"write 'qemu+ssh://{parts.netloc}{parts.path}'",
        )
    asked = dict(parse_qsl(parts.query))
    options = [f"-i{asked['keyfile']}"] if "keyfile" in asked else []
    if asked.get("no_verify", "0") != "0":
        options.append("-oStrictHostKeyChecking=no")
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"hypervisor.uri: {uri!r}: {error}") from None
    return OtherHost(
        name=parts.hostname,
        user=unquote(parts.username) if parts.username else None,
        port=port,
        command=asked.get("command", "ssh"),
        options=tuple(options),
        is_system=parts.path != "/session",
    )


def accel_of(host: OtherHost, wanted: Literal["auto", "kvm", "tcg"]) -> Choice:
    """The accelerator for guests of another host, where Pathproof cannot try KVM.

    Raises ConfigError for `auto`: libvirt there says whether KVM can be opened, not
    whether it runs a guest.
    """
    if wanted == "auto":
        raise ConfigError(
            f"hypervisor.accel = 'auto' proves KVM on this host, and the guests run on {host.name}",
            hint="write 'kvm' if it is known to work there, else 'tcg' (emulation)",
        )
    return Choice(wanted, f"{wanted.upper()} on {host.name}, as configured")
