"""Every acknowledged write against what is found afterwards.

fio numbers its writes in the order of issue, and puts the number and the time into every block.
Its log of issued I/O has them in the same order, so each block found is known to come from one
write of this run, from an earlier run, or from neither.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import WorkloadError
from harness.measurements import BlockFinding, CompletionLog, Damage, Ints, ReadBack
from harness.units import NS_PER_MS
from harness.workload.report import IssuedWrites

# A block carries the last 16 bits of its write's number; see reader.py.
NUMBERS = 1 << 16
# fio logs in milliseconds, and issues a write some time after it made its block.
_GRAIN_NS = 20 * NS_PER_MS

_EARLIER_RUN = -1


@dataclass(frozen=True)
class Look:
    """What was found at a place; `problem` and the rest are as `reader.py` describes them."""

    place: str
    problem: str
    written_ns: int = 0
    number: int = 0
    belongs: int = 0


@dataclass(frozen=True)
class Looks:
    """All that was read back: looks by offset in the order of looking, blocks read by place.

    `away` says why a path could not be read.
    """

    blocks: Mapping[int, Sequence[Look]]
    read: Mapping[str, int]
    away: Mapping[str, str]

    def then(self, later: Looks) -> Looks:
        """With those of a second read-back: counts are of the one that read less."""
        blocks = {
            offset: [*self.blocks.get(offset, ()), *later.blocks.get(offset, ())]
            for offset in {**self.blocks, **later.blocks}
        }
        read = {
            place: min(self.read.get(place, 0), later.read.get(place, 0))
            for place in {**self.read, **later.read}
        }
        return Looks(blocks, read, {**self.away, **later.away})


def parse_looks(text: str) -> list[Looks]:
    """What `reader.py` printed, job by job. Raises WorkloadError for another form."""
    before, *jobs = re.split(r"^job\n", text, flags=re.MULTILINE)
    if before:
        raise WorkloadError(f"not the beginning of a read-back: {before.splitlines()[0]!r}")
    return [_parse_job(job) for job in jobs]


def _parse_job(text: str) -> Looks:
    blocks: dict[int, list[Look]] = {}
    read: dict[str, int] = {}
    away: dict[str, str] = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"(\S+) (\d+) (\S+) (\d+) (\d+) (\d+)", line):
            place, offset, problem, *numbers = match.groups()
            look = Look(place, problem, *map(int, numbers))
            blocks.setdefault(int(offset), []).append(look)
        elif match := re.fullmatch(r"(\S+) read (\d+)", line):
            read[match[1]] = int(match[2])
        elif match := re.fullmatch(r"(\S+) away (.+)", line):
            away[match[1]] = match[2]
        else:
            raise WorkloadError(f"not a line of the read-back: {line!r}")
    return Looks(blocks, read, away)


@dataclass(frozen=True)
class _History:
    """The writes to one block: number -> when it was issued, by ascending number.

    `last` is the last that was acknowledged. `overwritten` are those acknowledged before that one
    was issued: none of them may be found any more. Any other may have arrived after it.
    `verified`: fio read the block back while it ran, not minding which write it found.
    """

    issued_ns: Mapping[int, int]
    last: int
    overwritten: frozenset[int]
    verified: bool

    def may_be_found(self, number: int) -> bool:
        return number in self.issued_ns and number not in self.overwritten

    def written_by(self, look: Look) -> int | None:
        """The number of the write that an undamaged block comes from; None if there is none."""
        numbers = [n for n in self.issued_ns if n % NUMBERS == look.number]
        return min(numbers, key=lambda n: abs(self.issued_ns[n] - look.written_ns), default=None)


@dataclass(frozen=True)
class Ledger:
    """Who wrote what where: `blocks` by ascending offset, each with a write acknowledged."""

    begun_ns: int
    blocks: Mapping[int, _History]

    @classmethod
    def of(cls, log: CompletionLog, issued: IssuedWrites) -> Ledger:
        """The ledger of fio's two logs of one job; times are those of the machine that ran it.

        Raises WorkloadError if more writes to a block completed than were issued.
        """
        order = np.argsort(log.at_ns - log.latency_ns, kind="stable")
        writes = order[log.is_write[order]]
        started_ns = (log.at_ns - log.latency_ns)[writes]
        unfinished = len(issued.offset) - len(writes)
        if unfinished < 0:
            raise WorkloadError(f"{len(writes)} writes completed, {len(issued.offset)} were issued")
        # When fio opened its log. Too early by as long as it ever took from making a block to
        # issuing it, or for as many writes as never completed; that is safe: fewer writes count
        # as overwritten. Too late only if every write was logged that long after it completed.
        opened_ns = started_ns - issued.after_ns[unfinished:]
        begun_ns = int(opened_ns.min(initial=np.iinfo(np.int64).max))
        reads = set(log.offset[~log.is_write].tolist())
        numbers = _by_value(issued.offset)
        blocks = {}
        for offset, rows in _by_value(log.offset[writes]).items():
            mine = numbers.get(offset, np.empty(0, dtype=np.int64))
            if len(mine) < len(rows):
                raise WorkloadError(f"more writes completed at offset {offset} than were issued")
            issued_ns = begun_ns + issued.after_ns[mine]
            last = len(rows) - 1
            # Where a write was never acknowledged, it is unknown which: it may still arrive.
            complete = len(rows) == len(mine)
            gone = complete & (log.at_ns[writes[rows]] + _GRAIN_NS < issued_ns[last])
            blocks[offset] = _History(
                issued_ns=dict(zip(mine.tolist(), issued_ns.tolist(), strict=True)),
                last=int(mine[last]),
                overwritten=frozenset(mine[: len(rows)][gone].tolist()),
                verified=offset in reads,
            )
        return cls(begun_ns, blocks)

    def compare(self, looks: Looks) -> ReadBack:
        """Every block must be undamaged, in its place and current, and the same on every path."""
        findings = [
            finding
            for offset, history in self.blocks.items()
            for finding in self._judge(offset, history, looks.blocks.get(offset, ()))
        ]
        return ReadBack(
            acknowledged=len(self.blocks),
            verified=sum(history.verified for history in self.blocks.values()),
            checked=looks.read,
            findings=tuple(findings),
            away=looks.away,
        )

    def _judge(
        self, offset: int, history: _History, looks: Sequence[Look]
    ) -> Iterator[BlockFinding]:
        """What is wrong with one block, at each place by the last look there.

        No look may find an older write than one before it did, at whichever place.
        """
        newest: dict[str, int] = {}
        findings: dict[str, BlockFinding | None] = {}
        for look in looks:
            place = look.place
            number = self._write_found(history, look)
            if number is None:
                findings[place] = BlockFinding(offset, place, *_damage(look))
                continue
            findings[place] = None
            current = max(newest.values(), default=number)
            if number < current or not history.may_be_found(number):
                damage = Damage.CAME_BACK if number < newest.get(place, number) else Damage.LOST
                instead = f"instead of {max(history.last, current)}"
                what = (
                    f"write {number}" if number in history.issued_ns else "an earlier run's write"
                )
                findings[place] = BlockFinding(offset, place, damage, f"holds {what} {instead}")
            newest[place] = max(number, newest.get(place, number))
        yield from filter(None, findings.values())

    def _write_found(self, history: _History, look: Look) -> int | None:
        """The write of an undamaged block in its place; None for another block or unknown write."""
        if look.problem == "earlier":
            return _EARLIER_RUN
        if look.problem != "ok":
            return None
        return history.written_by(look)


def _damage(look: Look) -> tuple[Damage, str]:
    problem, _, number = look.problem.partition(":")
    match problem:
        case "ok":
            return Damage.FOREIGN, "undamaged, but no write to this block made it"
        case "misdirected":
            return Damage.MISDIRECTED, f"belongs at offset {look.belongs}"
        case "unreadable":
            return Damage.UNREADABLE, errno.errorcode.get(int(number), "the device ends before")
        case _:
            return Damage(problem), ""


def _by_value(values: Ints) -> dict[int, Ints]:
    """Value -> where it stands, ascending."""
    order = np.argsort(values, kind="stable")
    distinct, first = np.unique(values[order], return_index=True)
    return {int(v): part for v, part in zip(distinct, np.split(order, first[1:]), strict=False)}
