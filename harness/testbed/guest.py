"""One machine of a testbed with all that belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.machine import Machine
from harness.observe import Observer

if TYPE_CHECKING:
    from harness.hypervisor.domain import Domain


@dataclass(frozen=True)
class Guest:
    """One machine of the testbed with all that belongs to it.

    `nics`: the name of each data NIC in the machine by its name in the topology. An
    existing machine has no domain.
    """

    machine: Machine
    observer: Observer
    domain: Domain | None
    nics: Mapping[str, str]
