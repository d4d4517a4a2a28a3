"""A configuration that is written to a file, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config import Loaded, load
from harness.errors import ConfigError

TWO_NETWORKS = """
[[networks]]
name = "a"
subnet = "10.1.0.0/24"
portals = ["10.1.0.1"]
initiator = "10.1.0.2"

[[networks]]
name = "b"
subnet = "{subnet}"
portals = ["{portal}"]
initiator = "10.2.0.2"
"""


def networks(subnet: str = "10.2.0.0/24", portal: str = "10.2.0.1") -> str:
    return TWO_NETWORKS.format(subnet=subnet, portal=portal)


def two_networks(more: str = "") -> str:
    """Each with one portal, and `more` in the portal's table."""
    return "".join(
        f'[[networks]]\nname = "{name}"\nsubnet = "172.16.{n}.0/24"\n'
        f'portals = [{{ address = "172.16.{n}.1"{more} }}]\n'
        f'initiator = "172.16.{n}.2"\nbridge = "br-{name}"\n'
        for n, name in enumerate("ab")
    )


def loaded(text: str, **options: tuple[object, str]) -> Loaded:
    file = Path("own.toml")
    file.write_text(text)
    return load(file, {key.replace("__", "."): value for key, value in options.items()})


def refusal(text: str, **options: tuple[object, str]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        loaded(text, **options)
    return caught.value


def complaint(text: str, **options: tuple[object, str]) -> str:
    return refusal(text, **options).message


def network(
    portals: str, initiator: str = '"10.1.0.101"', *, name: str = "a", subnet: str = "10.1.0.0/24"
) -> str:
    return (
        f'[[networks]]\nname = "{name}"\nsubnet = "{subnet}"\n'
        f"portals = [{portals}]\ninitiator = {initiator}\n"
    )


OTHER = network('"10.2.0.1"', '"10.2.0.101"', name="b", subnet="10.2.0.0/24")
V6 = {"initiator": '"fd00::101"', "subnet": "fd00::/64"}
VIA = '{{ address = "{0}", via = "{1}" }}'


def routed(address: str, via: str, initiator: str = '"10.1.0.101"') -> str:
    return network(VIA.format(address, via), initiator)
