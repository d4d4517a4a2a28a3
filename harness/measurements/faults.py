"""Faults as they were: when they were injected and healed, and what they may cost."""

from __future__ import annotations

from dataclasses import dataclass

from harness.budget import Budget, Effect


@dataclass(frozen=True)
class MeansSample:
    """What the means of a fault, or of one `part` of it, showed at one time while it lasted.

    `missing` says what of them was not in place, and is empty if all was. `count` is what they had
    done by then, such as packets dropped; None if nothing counts that. It `grows` where a path may
    go on, and nothing else proves that it is any worse: while the fault lasts, by more than
    `least_share` of what `out_of` grows by. Both `restart` if they may begin anew, as those of a
    connection do. A sample `proves` by itself that such a path is as the fault says, or does not;
    None if it is none that could. `unseen` says why nothing was seen, if so.
    """

    part: str
    at_ns: int = 0
    missing: str = ""
    count: int | None = None
    grows: bool = False
    out_of: int = 0
    least_share: float = 0.0
    restarts: bool = False
    proves: bool | None = None
    unseen: str = ""


@dataclass(frozen=True)
class FaultRecord:
    """One fault as it was: what, where, when, and the stall it may cause.

    `paths` are those that it hits; all but the `limping` carry nothing meanwhile. `links` are those
    whose cables it disturbs, so that they do not carry all that is sent.
    `io_stops` is True where I/O may wait until healing: no path is left, or it is held. The order
    to heal was given at `healing_ns`, zero if that is not known, and carried out by `healed_ns`;
    after that a path may take as long as `returning` allows until it is used again. `effects` are
    what the initiator of this record notices of it, none if it hits no path of that one.
    `means_samples` are what was seen of its means while it lasted; `means_hidden` if nothing can
    be seen of them, and its paths alone show whether it lasted. One that is `felt_at_healing`
    leaves its paths as they are until then. `stopped` are the machines that did not run meanwhile;
    `disks_held`: it held up the disks that the lab lends to the target.
    """

    name: str
    paths: tuple[str, ...]
    description: str
    injected_ns: int
    confirmed_ns: int
    healed_ns: int
    healing_confirmed_ns: int
    budget: Budget
    returning: Budget
    io_stops: bool = False
    healing_ns: int = 0
    links: tuple[str, ...] = ()
    effects: tuple[Effect, ...] = ()
    means_samples: tuple[MeansSample, ...] = ()
    limping: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    disks_held: bool = False
    means_hidden: bool = False
    felt_at_healing: bool = False

    @property
    def felt_from_ns(self) -> int:
        """From when on it explains what happens to its paths."""
        return self.ordered_ns if self.felt_at_healing else self.injected_ns

    @property
    def ordered_ns(self) -> int:
        """When it was ordered to heal; when it was healed, if that is not known."""
        return self.healing_ns or self.healed_ns
