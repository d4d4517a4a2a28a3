"""Sessions on every portal and a map of their disks, which may be written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.config import Config
from harness.initiator import Initiator
from harness.initiator.path_disk import PathDisk
from harness.lacking import Lacking
from harness.preflight import Asked, claim, require_fit
from harness.target import Target


@dataclass(frozen=True)
class Attached:
    """The map's paths, the version of the initiator's kernel, and what the testbed does without."""

    paths: Sequence[PathDisk]
    kernel: str
    lacking: tuple[Lacking, ...] = ()


def attach(
    config: Config, target: Target, initiator: Initiator, nics: Mapping[str, str]
) -> Attached:
    """Log in, pass the preflight, and wait for the map. Raises PreflightFailed, with each cure.

    `nics`: the initiator's name of the NIC at each link.
    """
    initiator.bind(nics)
    initiator.log_in()
    target.require_logins()
    facts = require_fit(initiator, serial=config.target.serial)
    initiator.wait_for_map()
    kernel = initiator.machine.run(["uname", "-r"]).stdout.strip()
    paths = initiator.paths()
    if not config.target.is_ours:
        claim(initiator, Asked.of(config))
    return Attached(paths, kernel, facts.handlers.lacking)
