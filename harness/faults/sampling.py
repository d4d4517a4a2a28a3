"""Samples of the means of faults: what they show while a fault lasts, such as a table of nftables.

One command on each machine samples all that acts there: to open a channel costs more than to look,
and I/O is measured meanwhile.
"""

from __future__ import annotations

import re
import shlex
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from harness.concurrency import side_by_side
from harness.errors import FaultError, HarnessError, defects, summary
from harness.faults.base import SAMPLE_TIMEOUT_S, Fault, Lab
from harness.measurements import MeansSample
from harness.topology import Topology

# The output of each script, and after a record separator its exit status.
_OUTPUT = re.compile(r"([^\x1e]*)\x1e(\d+)\n")


class SampledByShell(Fault):
    """A fault whose means are sampled by shell on one machine."""

    @abstractmethod
    def machine(self, topology: Topology) -> str:
        """The name of that machine."""

    @abstractmethod
    def sampling(self, lab: Lab) -> str:
        """That shell. It fails if nothing can be seen."""

    @abstractmethod
    def samples_in(self, told: str, lab: Lab) -> Sequence[MeansSample]:
        """What its output shows."""

    def sample_means(self, lab: Lab) -> Sequence[MeansSample]:
        machine = lab.machine(self.machine(lab.topology))
        told = machine.sh(self.sampling(lab), timeout_s=SAMPLE_TIMEOUT_S)
        return self.samples_in(told.stdout, lab)


def sample_all(lab: Lab, parts: Iterable[Fault]) -> list[MeansSample]:
    """What the means of each part show, with no more than one command on each machine.

    If nothing can be seen of one, that is noted, and others are not lost by it.
    """
    at_ns = time.monotonic_ns()
    by_machine: dict[str, list[SampledByShell]] = {}
    others: list[Fault] = []
    for part in parts:
        if isinstance(part, SampledByShell):
            by_machine.setdefault(part.machine(lab.topology), []).append(part)
        else:
            others.append(part)
    others += [own.pop() for own in by_machine.values() if len(own) == 1]
    each = side_by_side(
        *(
            (lambda m=name, p=own: _on_machine(lab, m, p))
            for name, own in by_machine.items()
            if own
        ),
        *((lambda p=part: _noted(p, lambda: p.sample_means(lab))) for part in others),
    )
    return [replace(sample, at_ns=at_ns) for samples in each for sample in samples]


def _on_machine(lab: Lab, name: str, parts: Sequence[SampledByShell]) -> Sequence[MeansSample]:
    """Several parts, with one command."""
    try:
        script = _joined(part.sampling(lab) for part in parts)
        told = lab.machine(name).sh(script, timeout_s=SAMPLE_TIMEOUT_S)
        outputs = _OUTPUT.findall(told.stdout)
        if len(outputs) != len(parts):
            raise FaultError(f"{len(outputs)} of {len(parts)} scripts ended: {told.stderr.strip()}")
    except HarnessError as error:
        return [_unseen(part, error) for part in parts]

    def read(part: SampledByShell, text: str, status: str) -> Sequence[MeansSample]:
        if status != "0":
            raise FaultError(f"{part.name}: exit status {status}: {told.stderr.strip()}")
        return part.samples_in(text, lab)

    each = (
        _noted(part, partial(read, part, *output))
        for part, output in zip(parts, outputs, strict=True)
    )
    return list(chain.from_iterable(each))


def _noted(part: Fault, sample: Callable[[], Sequence[MeansSample]]) -> Sequence[MeansSample]:
    try:
        return sample()
    except HarnessError as error:
        return [_unseen(part, error)]


def _unseen(part: Fault, error: HarnessError) -> MeansSample:
    """Raises what is a programming error."""
    if defects(error):
        raise error
    return MeansSample(part.name, unseen=summary(error))


def _joined(scripts: Iterable[str]) -> str:
    """One script that runs each of several, and says after the output of each how it ended."""
    return "".join(
        f"status=0; sh -euc {shlex.quote(script)} || status=$?\nprintf '\\036%s\\n' $status\n"
        for script in scripts
    )
