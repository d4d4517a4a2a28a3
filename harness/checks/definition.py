"""What a check is: a judge of measurements, with a name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Concatenate, ParamSpec

from harness.checks.outcome import Outcome, Verdict
from harness.measurements import Measurements

Demands = ParamSpec("Demands")


@dataclass(frozen=True)
class Finding:
    """What one check found: one sentence, and the figures behind it as they will be shown.

    `numbers` are for programs: the same and more, the unit in the name, such as `stall_s`.
    `span_ns` is from when to when something can have caused it; None is the whole test.
    `crash` is the traceback of a check that crashed. `lun` is the LUN that it is about, where
    several were judged, and `initiator` the machine, where those of several were. `same_again`: it
    is unknown, and would be if the test were measured again.
    """

    check: str
    verdict: Verdict
    message: str
    figures: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    span_ns: tuple[int, int] | None = None
    crash: str = ""
    lun: str = ""
    initiator: str = ""
    same_again: bool = False

    @property
    def about(self) -> str:
        """The LUN as the testbed names its map: "second/lun1", "lun1", or "" if it is alone."""
        return "/".join(filter(None, (self.initiator, self.lun)))

    def __str__(self) -> str:
        about = f"{self.about}: " if self.about else ""
        return f"{about}{self.check}: {self.verdict}: {self.message}"


@dataclass(frozen=True)
class Check:
    """A named judge of measurements.

    `through_the_lab`: cables and disks of the lab's own can make it fail, however good the storage.
    `by_path`: it judges each planned path by itself, so that no other disk of the map excuses it.
    `by_completions`: it reads fio's log of every I/O, and fails where entries are missing.
    `by_samples`: it reads counters and states over time, and fails where samples are missing.
    """

    name: str
    judge: Callable[[Measurements], Finding]
    through_the_lab: bool = False
    by_path: bool = False
    by_completions: bool = False
    by_samples: bool = False


def check(
    name: str,
    *,
    through_the_lab: bool = False,
    by_path: bool = False,
    by_completions: bool = False,
    by_samples: bool = False,
) -> Callable[[Callable[Concatenate[Measurements, Demands], Outcome]], Callable[Demands, Check]]:
    """Make a check of a function that takes measurements first, then what is demanded of them.

    The decorated name takes the demands alone and returns a `Check`. Demands that the function
    does not have raise TypeError there, where the caller is seen, and not when the check runs.
    """

    def define(
        function: Callable[Concatenate[Measurements, Demands], Outcome],
    ) -> Callable[Demands, Check]:
        signature = inspect.signature(function)
        _, *demands = signature.parameters.values()
        signature = signature.replace(parameters=demands, return_annotation=Check)

        @wraps(function)
        def demanding(*args: Demands.args, **kwargs: Demands.kwargs) -> Check:
            signature.bind(*args, **kwargs)

            def judge(measurements: Measurements) -> Finding:
                return _named(name, function(measurements, *args, **kwargs))

            return Check(name, judge, through_the_lab, by_path, by_completions, by_samples)

        demanding.__signature__ = signature  # type: ignore[attr-defined]  # help() shows it
        return demanding

    return define


def _named(name: str, said: Outcome) -> Finding:
    return Finding(
        name,
        said.verdict,
        said.message,
        said.figures,
        said.numbers,
        said.span_ns,
        same_again=said.same_again,
    )
