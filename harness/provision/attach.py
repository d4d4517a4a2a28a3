"""Sessions on every portal and maps of their disks, which may be written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.config import Config
from harness.errors import InitiatorError, PreflightFailed, Problem
from harness.lacking import Lacking
from harness.preflight import Asked, End, claim, require_fit, require_wired
from harness.target import Target
from harness.topology import Role
from harness.transport import Attachment, Initiator, PathDisk


@dataclass(frozen=True)
class Attached:
    """What there is once all is logged in.

    `paths` are those of each LUN's map by its name, `kernel` is the version of the initiator's
    kernel, `lacking` what the testbed does without.
    """

    paths: Mapping[str, Sequence[PathDisk]]
    kernel: str
    lacking: tuple[Lacking, ...] = ()


def attach(
    config: Config,
    target: Target,
    initiator: Initiator,
    nics: Mapping[str, str],
    others: Sequence[End] = (),
) -> Attached:
    """Log in, pass the preflight, and wait for the maps. Raises PreflightFailed, with each cure.

    `nics`: the initiator's name of the NIC at each link. The NICs of `others` are examined beside
    those of the initiator.
    """
    initiator.bind(nics)
    ends = (End(Role.INITIATOR, initiator.machine, nics), *others)
    try:
        initiator.log_in()
    except InitiatorError:
        require_wired(initiator.topology, ends)  # of a portal that does not answer it is the cause
        raise
    target.require_logins()
    facts = require_fit(initiator, serials=[lun.serial for lun in config.every_lun], ends=ends)
    initiator.wait_for_maps()
    kernel = initiator.machine.run(["uname", "-r"]).stdout.strip()
    luns = zip(target.topology.luns, initiator.attachments, strict=True)
    paths = {lun.name: attachment.paths() for lun, attachment in luns}
    if not config.target.is_made:
        claim_each(initiator.attachments, config)
    return Attached(paths, kernel, facts.lacking)


def claim_each(attachments: Sequence[Attachment], config: Config) -> None:
    """Claim every LUN, whatever becomes of another. Raises PreflightFailed for all that fail."""
    problems: list[Problem] = []
    for attachment, lun in zip(attachments, config.every_lun, strict=True):
        try:
            claim(attachment, Asked.of(config, lun))
        except PreflightFailed as error:
            problems += error.problems
    if problems:
        raise PreflightFailed(problems)
