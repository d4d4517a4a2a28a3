"""Sessions on every portal and maps of their disks, which may be written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.concurrency import side_by_side
from harness.config import Config
from harness.errors import InitiatorError, PreflightFailed, Problem
from harness.lacking import Lacking
from harness.preflight import Asked, End, claim, masking_for, require_fit, require_wired
from harness.target import Target
from harness.transport import Attachment, Initiator, PathDisk


@dataclass(frozen=True)
class Attached:
    """What there is once all is logged in.

    `paths` are those of each map by its name, `kernel` is the version of the initiators' kernel,
    `lacking` what the testbed does without.
    """

    paths: Mapping[str, Sequence[PathDisk]]
    kernel: str
    lacking: tuple[Lacking, ...] = ()


def attach(
    config: Config,
    target: Target,
    initiators: Mapping[str, Initiator],
    nics: Mapping[str, Mapping[str, str]],
    others: Sequence[End] = (),
) -> Attached:
    """Log in, pass the preflight, and wait for the maps. Raises PreflightFailed, with each cure.

    `nics`: by the initiator's name, the machine's name of the NIC at each link. The NICs of
    `others` are examined beside those of the first initiator.
    """
    first, *_ = initiators
    each = side_by_side(
        *(
            lambda n=name, o=others if name == first else (): _attach_one(
                n, initiators[n], config, target, nics[n], o
            )
            for name in initiators
        )
    )
    if not config.target.is_made:
        claim_each(initiators[first].attachments, config)
    return Attached(
        {name: disks for one in each for name, disks in one.paths.items()},
        each[0].kernel,
        tuple(dict.fromkeys(lacking for one in each for lacking in one.lacking)),
    )


def _attach_one(
    name: str,
    initiator: Initiator,
    config: Config,
    target: Target,
    nics: Mapping[str, str],
    others: Sequence[End],
) -> Attached:
    initiator.bind(nics)
    ends = (End(name, initiator.machine, nics), *others)
    try:
        initiator.log_in()
    except InitiatorError:
        require_wired(initiator.topology, ends)  # of a portal that does not answer it is the cause
        raise
    target.require_logins()
    facts = require_fit(
        initiator,
        serials=[config.every_lun[lun.number].serial for lun in initiator.topology.luns],
        ends=ends,
        masking=masking_for(name, target),
    )
    initiator.wait_for_maps()
    kernel = initiator.machine.run(["uname", "-r"]).stdout.strip()
    maps = [one for one in target.topology.maps if one.machine == name]
    attachments = zip(maps, initiator.attachments, strict=True)
    paths = {one.name: attachment.paths() for one, attachment in attachments}
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
