"""The hosts that a run is spread over, read from TOML and validated."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from harness.config.base import Model
from harness.config.kinds import require_kind
from harness.config.load import config_error
from harness.config.toml import parse_toml
from harness.errors import ConfigError

_ADDRESS = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][\w.-]*)@)?"
    r"(?:(?P<name>[A-Za-z0-9][\w.-]*)|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]*(:[A-Za-z0-9][A-Za-z0-9._-]*)?")


def _address(text: str) -> str:
    found = _ADDRESS.fullmatch(text)
    if not found or not 0 < int(found["port"] or 22) < 65536:
        raise ValueError(
            f"{text!r} is not an address; write name, user@name:port, [IPv6]:port, "
            "or an alias of your ssh configuration"
        )
    return text


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError(f"{text!r} is not a label; write a word such as 'kvm' or 'bridge:san-a'")
    return text


class HostConfig(Model):
    """A host where workers run, each with testbeds of that host's own hypervisor."""

    address: Annotated[str, AfterValidator(_address)] = Field(
        description="'user@name:port', or an alias of the ssh configuration"
    )
    name: str = Field(
        "",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,31})?$",
        description="what reports and progress call it; without it, the address's name",
    )
    slots: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        "auto", description="how many tests run there at once; 'auto' is decided there"
    )
    labels: tuple[Annotated[str, AfterValidator(_label)], ...] = Field(
        (), description="what tests may ask for with `@pytest.mark.host`"
    )
    ssh_config: Path | None = Field(
        None, description="instead of ~/.ssh/config; relative to the folder of this file"
    )
    bootstrap_timeout_s: float = Field(
        900, gt=0, description="how long `./bootstrap` may take there the first time"
    )

    @property
    def user(self) -> str | None:
        return self._part("user")

    @property
    def host_name(self) -> str:
        return self._part("name") or self._part("ipv6") or ""

    @property
    def port(self) -> int | None:
        port = self._part("port")
        return int(port) if port else None

    @property
    def shown_as(self) -> str:
        """The name in reports and progress."""
        return self.name or self.host_name

    def _part(self, group: str) -> str | None:
        found = _ADDRESS.fullmatch(self.address)
        return found[group] if found else None


class FleetConfig(Model):
    """All hosts of a fleet."""

    hosts: tuple[HostConfig, ...] = ()

    @model_validator(mode="after")
    def _hosts_differ(self) -> Self:
        if not self.hosts:
            raise ValueError("hosts: there are none; add a [[hosts]] with an address")
        for address, count in Counter(host.address for host in self.hosts).items():
            if count > 1:
                raise ValueError(f"hosts: {count} have the address {address!r}; give it once")
        for name, count in Counter(host.shown_as for host in self.hosts).items():
            if count > 1:
                raise ValueError(f"hosts: {count} are called {name!r}; give each a name of its own")
        return self


def load_fleet(file: Path) -> FleetConfig:
    """The fleet that `file` describes; its `ssh_config`s are absolute.

    Raises ConfigError that names the file, the key and what is allowed.
    """
    try:
        raw = parse_toml(file.read_text())
    except OSError as error:
        raise ConfigError(
            f"{file}: {error.strerror}", hint="give an existing file to --fleet"
        ) from None
    except ValueError as error:  # UnicodeDecodeError is one, too
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    require_kind(raw, "fleet", file)
    try:
        fleet = FleetConfig.model_validate(raw)
    except ValidationError as error:
        message = config_error(error, FleetConfig, {}, str(file)).message
        raise ConfigError(message, hint="docs/fleet.md describes every key") from None
    return FleetConfig(hosts=tuple(_located(file, place, h) for place, h in enumerate(fleet.hosts)))


def _located(file: Path, place: int, host: HostConfig) -> HostConfig:
    if host.ssh_config is None:
        return host
    found = (file.parent / host.ssh_config.expanduser()).resolve()
    if not found.is_file():
        raise ConfigError(
            f"{file}: hosts.{place}.ssh_config: no file {found}",
            hint=f"the path is relative to {file.parent.resolve()}",
        )
    return host.model_copy(update={"ssh_config": found})
