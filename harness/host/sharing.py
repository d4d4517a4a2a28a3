"""What only one testbed at a time can have, whoever asks: addresses on a network, an array's LUN.

Their queues are in /var/tmp/pathproof-shared, which all users of this host share. Between hosts
addresses are told apart on the network itself (`harness.provision.address_claims`).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from harness.config import Config
from harness.errors import ConfigError
from harness.host.queue import Queue
from harness.hypervisor.elsewhere import other_host
from harness.topology import plan

_FOLDER = Path("/var/tmp/pathproof-shared")  # noqa: S108  # for every user, as /var/tmp is
_FOR_ALL = 0o1777
Bridges = Mapping[str, str]
NONE_KNOWN: Bridges = MappingProxyType({})


@dataclass(frozen=True)
class Shared:
    """One such thing: `title` is for people; equal ones have the same `key`."""

    title: str
    key: str


def shared_by(config: Config, bridges: Bridges = NONE_KNOWN) -> tuple[Shared, ...]:
    """What a testbed of this configuration would have to itself, in a fixed order.

    `bridges` are those of libvirt's networks, by name, as far as they are known.
    """
    found = (*_addresses(config, bridges), *_of_array(config))
    return tuple(sorted(found, key=lambda one: one.key))


def why_alone(config: Config) -> str:
    """Why there is one testbed of this configuration at a time; empty if there may be more."""
    if not config.target.is_made:
        return "two runs on one LUN would spoil each other's data"
    if networks := [network.name for network in plan(config).shared]:
        addresses = f"its addresses on networks {', '.join(networks)}"
        return f"{addresses}: only one testbed at a time can use them"
    return ""


def queues(config: Config, bridges: Bridges = NONE_KNOWN) -> list[Queue]:
    """The queues for all that is shared; who enters all of them in this order cannot deadlock.

    `bridges` as for `shared_by`.
    """
    things = shared_by(config, bridges)
    if not things:
        return []
    folder = _folder()
    return [
        Queue(folder, hashlib.sha256(one.key.encode()).hexdigest()[:16], 1, one.title)
        for one in things
    ]


def _addresses(config: Config, bridges: Bridges) -> Iterator[Shared]:
    """Every address that a VM of this run gets on a network where others may be.

    A network is its bridge, which another testbed may name directly. One that has none (a pool of
    NICs), or whose bridge libvirt does not tell, goes by its own name: then two testbeds meet on
    the wire only, by ARP (`harness.provision.address_claims`).
    """
    topology = plan(config)
    for network in topology.shared:
        bridge = network.bridge or bridges.get(network.libvirt_network or "")
        segment = f"bridge {bridge}" if bridge else network.segment
        for machine in topology.guests:
            for address in network.addresses(machine):
                title = f"{address} on {segment}"
                yield Shared(title, f"{_where(config)} {title}")


def _where(config: Config) -> str:
    """The host or the network namespace in which a bridge's name means one bridge."""
    host = other_host(config.hypervisor.uri)
    if host is not None:
        return host.name
    return str(Path("/proc/self/ns/net").readlink())


def _of_array(config: Config) -> Iterator[Shared]:
    """The LUNs, and the initiator's name, for a second login with it ends the first one's session.

    Sources of the latter: RFC 7143 section 6.3.5; open-iscsi's ISIDs are the same on all machines.
    """
    target = config.target
    if target.is_made:
        return
    for wwid in (lun.wwid for lun in config.every_lun if lun.wwid):
        yield Shared(f"LUN {wwid}", f"LUN {wwid}")
    if config.initiator.is_made:
        for iqn in sorted({name.lower() for name in plan(config).target_iqns}):
            title = f"{config.initiator.iqn} at {iqn}"
            yield Shared(title, title)


def _folder() -> Path:
    """Made if missing. Raises ConfigError if it is not for all users."""
    with suppress(FileExistsError):
        _FOLDER.mkdir()
    status = _FOLDER.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
        _FOLDER.chmod(_FOR_ALL)  # whatever the umask
    if stat.S_ISLNK(status.st_mode) or stat.S_IMODE(_FOLDER.stat().st_mode) != _FOR_ALL:
        raise ConfigError(
            f"{_FOLDER} is not open to all users of this host, who take turns by it",
            hint=f"`chmod 1777 {_FOLDER}`, if it is a folder",
        )
    return _FOLDER
