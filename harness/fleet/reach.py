"""The command `ssh` for a host of the fleet."""

from __future__ import annotations

from harness.config.fleet import HostConfig
from harness.machine.remote import OPTIONS, RemoteHost


def destination(host: HostConfig) -> list[str]:
    """The arguments of `ssh` that name a host, none of which has a space."""
    return [*_options(host), _name(host)]


def remote_host(host: HostConfig) -> RemoteHost:
    """The host as a machine."""
    config = ["-F", str(host.ssh_config)] if host.ssh_config is not None else []
    return RemoteHost(host.shown_as, ["ssh", *config, *_options(host)], _name(host))


def _options(host: HostConfig) -> list[str]:
    return [*OPTIONS, *(["-p", str(host.port)] if host.port else [])]


def _name(host: HostConfig) -> str:
    return f"{host.user}@{host.host_name}" if host.user else host.host_name
