"""Which acknowledged writes are proven, in each phase; and how well the blocks were watched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.analysis.blind_time import gaps, longest, under_watch, windows_round
from harness.analysis.recovery import back_ns
from harness.analysis.register import Keys, judge_register
from harness.measurements import BlockFinding, Damage, Found, Measurements, WriteHistory
from harness.units import NS_PER_S

ROUND_A_FAULT_S = 5.0
LONGEST_BLIND_S = 2.0
_DAMAGE = {
    Found.EARLIER_RUN: Damage.LOST,
    Found.BLANK: Damage.BLANK,
    Found.FOREIGN: Damage.FOREIGN,
    Found.MISDIRECTED: Damage.MISDIRECTED,
    Found.TORN: Damage.TORN,
    Found.UNREADABLE: Damage.UNREADABLE,
}


def rounded(share: float) -> float:
    """To six places, and 1 only if it is all."""
    return share if share == 1 else min(round(share, 6), 0.999999)


@dataclass(frozen=True)
class PhaseProof:
    """The writes acknowledged in one phase, and how many of them are proven."""

    phase: str
    acknowledged: int
    proven: int

    @property
    def share(self) -> float:
        """1 if nothing was written."""
        return self.proven / self.acknowledged if self.acknowledged else 1.0


@dataclass(frozen=True)
class WriteProof:
    """What all looks at all blocks show. `wrong` has one finding for each block and place.

    `blind_s` is the blind time round the faults, or of the whole test if it had none, for what is
    seen over every path; `watched` counts the writes whose blocks were never unseen for longer than
    LONGEST_BLIND_S.
    """

    phases: tuple[PhaseProof, ...]
    wrong: tuple[BlockFinding, ...]
    blind_s: float
    acknowledged: int
    proven: int
    watched: int
    looks: int

    @property
    def share(self) -> float:
        """Of the acknowledged writes, those that are proven."""
        return self.proven / self.acknowledged if self.acknowledged else 1.0

    @property
    def least_share(self) -> float:
        """Of the phase with the lowest."""
        return min((phase.share for phase in self.phases), default=self.share)

    @property
    def watched_share(self) -> float:
        """Of the acknowledged writes, those under watch."""
        return self.watched / self.acknowledged if self.acknowledged else 1.0


def prove_writes(measurements: Measurements) -> WriteProof | None:
    """None if it is not known what was written."""
    history = measurements.history
    if history is None:
        return None
    keys = Keys(history)
    register = judge_register(history)
    unseen = gaps(history, keys)
    faults = [(fault.injected_ns, back_ns(measurements, fault)) for fault in measurements.faults]
    whole = [(keys.zero_ns, int(history.looks.ended_ns.max(initial=keys.zero_ns + 1)))]
    windows = windows_round(faults, ROUND_A_FAULT_S) or whole
    done = history.writes.acknowledged
    watched = under_watch(history, unseen, keys, LONGEST_BLIND_S)
    return WriteProof(
        phases=_by_phase(measurements, history, register.proven),
        wrong=_findings(history, register.wrong.nonzero()[0].tolist(), register.instead),
        blind_s=longest(unseen, keys, windows),
        acknowledged=int(done.sum()),
        proven=int(register.proven.sum()),
        watched=int(watched.sum()),
        looks=len(history.looks),
    )


def _by_phase(
    measurements: Measurements, history: WriteHistory, proven: np.ndarray
) -> tuple[PhaseProof, ...]:
    """A write belongs to the phase of its acknowledgement; nothing is before the first phase."""
    if not measurements.phases:
        return ()
    done = history.writes.acknowledged
    starts = [phase.start_ns for phase in measurements.phases]
    of = np.searchsorted(starts, history.writes.acknowledged_ns[done], side="right") - 1
    of = np.maximum(of, 0)
    count = len(starts)
    acknowledged = np.bincount(of, minlength=count).tolist()
    seen = np.bincount(of[proven[done]], minlength=count).tolist()
    names = (phase.name for phase in measurements.phases)
    return tuple(map(PhaseProof, names, acknowledged, seen))


def _findings(
    history: WriteHistory, wrong: list[int], instead: np.ndarray
) -> tuple[BlockFinding, ...]:
    """The first wrong look at each block and place, with how many there were."""
    looks = history.looks
    first: dict[tuple[int, int], int] = {}
    counts: dict[tuple[int, int], int] = {}
    for look in sorted(wrong, key=lambda n: int(looks.began_ns[n])):
        where = int(looks.offset[look]), int(looks.place[look])
        first.setdefault(where, look)
        counts[where] = counts.get(where, 0) + 1
    return tuple(
        _finding(history, look, int(instead[look]), counts[where]) for where, look in first.items()
    )


def _finding(history: WriteHistory, look: int, instead: int, count: int) -> BlockFinding:
    looks = history.looks
    found = int(looks.found[look])
    damage = _DAMAGE[Found(found)] if found < 0 else Damage.LOST
    held = f"write {found}" if found >= 0 else "an earlier run's write"
    told = f"instead of write {instead}"
    if damage is Damage.LOST:
        told = f"held {held} {told}"
    done_ns = int(history.writes.acknowledged_ns[instead])
    age_s = (int(looks.began_ns[look]) - done_ns) / NS_PER_S
    acknowledged = done_ns <= int(looks.began_ns[look])
    when = f"{age_s:.3f} s after that was acknowledged" if acknowledged else "which was seen before"
    detail = f"{told}, {when}, in {count} look"
    place = looks.places[int(looks.place[look])]
    return BlockFinding(int(looks.offset[look]), place, damage, detail + "s" * (count != 1))
