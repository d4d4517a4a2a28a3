"""What a run had to do without: no I/O, only the words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness import errors
from harness.errors import HarnessError, summary

LackingName = Literal["forks", "kvm", "report", "capability", "fault", "handler", "results"]
_USE_KVM = "use a host where KVM works"
_REQUIRED = {"forks": "forks are", "kvm": "KVM is", "report": "a report is"}


@dataclass(frozen=True)
class Lacking:
    """One thing that a run had to do without, and that the user did not switch off.

    `reason` says in one line why, `cure` what to do about it.
    """

    name: LackingName
    reason: str
    cure: str

    @classmethod
    def because(cls, name: LackingName, error: BaseException) -> Lacking:
        """What an error tells of it."""
        return cls(name, summary(error), errors.cure(error))


def no_kvm(reason: str, cure: str = "", *, untried: bool = False) -> Lacking:
    """Machines are emulated, since `reason`; `cure` is what helps here, "" if nothing does.

    If KVM is `untried` it may be used all the same.
    """
    ways = [cure or _USE_KVM, *(["`--accel kvm` uses KVM untried"] if untried else [])]
    return Lacking("kvm", reason, "; ".join([*ways, "`--accel tcg` says that emulation is wanted"]))


def no_kvm_as_required(reason: str, cure: str = "") -> Lacking:
    """KVM is required and does not work, since `reason`; `cure` as for `no_kvm`."""
    ways = f"{cure or _USE_KVM}, or leave `kvm` out of what is required"
    return Lacking("kvm", reason, ways)


def no_results(missing: int, of: int) -> Lacking:
    """The run ended before every test had a result, as after Ctrl-C."""
    have = "has" if missing == 1 else "have"
    return Lacking("results", f"{missing} of {of} tests {have} none", "run those again")


def as_error(required: Lacking) -> HarnessError:
    """The error for something that was required and is lacking."""
    what = f"{_REQUIRED[required.name]} required and lacking"
    return HarnessError(f"{what}: {required.reason}", hint=required.cure)
