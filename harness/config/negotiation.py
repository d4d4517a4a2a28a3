"""What a session must have negotiated, by what each end is configured to offer; pure.

Sources: RFC 7143 section 13 for how each key is decided; usr/login.c of open-iscsi for what the
initiator makes of the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from harness.config.base import Model
from harness.config.iet import IetOptions

OfferedDigest = Literal["None", "CRC32C", "None,CRC32C", "CRC32C,None"]


class LoginOptions(Model):
    """What open-iscsi offers at login; None leaves the machine's own value.

    Lengths are in bytes; open-iscsi rounds them down to a multiple of 4, and replaces one that is
    out of range by its default.
    """

    header_digest: OfferedDigest | None = Field(
        None, description="what the target may choose from, the preferred one first"
    )
    data_digest: OfferedDigest | None = None
    initial_r2t: bool | None = None
    immediate_data: bool | None = None
    max_recv_data_segment_length: int | None = Field(None, ge=512, le=16777212, multiple_of=4)
    max_xmit_data_segment_length: int | None = Field(None, ge=512, le=16777212, multiple_of=4)
    max_burst_length: int | None = Field(None, ge=512, le=16777212, multiple_of=4)
    first_burst_length: int | None = Field(None, ge=512, le=16777212, multiple_of=4)
    max_outstanding_r2t: int | None = Field(None, ge=1, le=65535)


# The options by their names in a login (RFC 7143 section 13). Records of open-iscsi and ietd.conf
# have the same names.
KEYS: Mapping[str, str] = {
    "header_digest": "HeaderDigest",
    "data_digest": "DataDigest",
    "initial_r2t": "InitialR2T",
    "immediate_data": "ImmediateData",
    "max_recv_data_segment_length": "MaxRecvDataSegmentLength",
    "max_xmit_data_segment_length": "MaxXmitDataSegmentLength",
    "max_burst_length": "MaxBurstLength",
    "first_burst_length": "FirstBurstLength",
    "max_outstanding_r2t": "MaxOutstandingR2T",
}
_DIGESTS = ("header_digest", "data_digest")
# How two ends that both say something agree.
_DECIDED: Mapping[str, Callable[[Sequence[int]], int]] = {
    "initial_r2t": any,
    "immediate_data": all,
    "max_recv_data_segment_length": min,
    "max_xmit_data_segment_length": min,
    "max_burst_length": min,
    "first_burst_length": min,
    "max_outstanding_r2t": min,
}


@dataclass(frozen=True)
class Negotiation:
    """What the initiator offers at login, and what a session must have come to.

    `demanded` has values by the names that they have in a login, as the initiator sees them.
    """

    offers: LoginOptions = field(default_factory=LoginOptions)
    demanded: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, target: IetOptions, initiator: LoginOptions) -> Negotiation:
        """If only one end has a value configured, the session must come to that very value.

        The other end could prevent that. Raises ValueError, which names a key of the configuration,
        if the two can never agree.
        """
        values = dict(_agreed(target, initiator))
        if problem := _contradiction(values):
            end = "target.iet" if initiator.first_burst_length is None else "initiator.iscsi"
            raise ValueError(f"{end}.first_burst_length: {problem}")
        return cls(initiator, {KEYS[name]: as_text(value) for name, value in values.items()})


def as_text(value: object) -> str:
    """A value as it stands in a login, and in open-iscsi's records."""
    if isinstance(value, bool):
        return "Yes" if value else "No"
    return str(value)


def _agreed(target: IetOptions, initiator: LoginOptions) -> Iterator[tuple[str, int | str]]:
    for name in _DIGESTS:
        if chosen := _digest(name, getattr(initiator, name), getattr(target, name)):
            yield name, chosen
    for name, decide in _DECIDED.items():
        here, there = getattr(initiator, name), _of_target(target, name)
        said = [value for value in (here, there) if value is not None]
        if said:
            yield name, type(said[0])(decide(said))


def _of_target(target: IetOptions, name: str) -> int | None:
    """A target's word on what the initiator calls `name`.

    Each end says what it can receive. What the target sends is bounded by a limit of its own, too,
    which is not negotiated.
    """
    if name == "max_recv_data_segment_length":
        return None
    if name == "max_xmit_data_segment_length":
        return target.max_recv_data_segment_length
    found: int | None = getattr(target, name)
    return found


def _digest(name: str, initiator: str | None, target: str | None) -> str | None:
    """The one value that both have; None if it is not known or there are several.

    Of several the target takes the first in the initiator's list by RFC 7143, and its own favourite
    if it is IET or tgt (digest_set_val() in their param.c).
    """
    if initiator is None or target is None:
        said = initiator or target
        return None if said is None or "," in said else said
    common = [one for one in initiator.split(",") if one in target.split(",")]
    if not common:
        raise ValueError(
            f"initiator.iscsi.{name}: the initiator offers {initiator} and the target, by "
            f"target.iet.{name}, {target}: they have nothing in common"
        )
    return common[0] if len(common) == 1 else None


def _contradiction(values: Mapping[str, object]) -> str:
    """Why a first burst of that length can never be; empty if it can."""
    first, longest = values.get("first_burst_length"), values.get("max_burst_length")
    if isinstance(first, int) and isinstance(longest, int) and first > longest:
        return f"{first} is more than max_burst_length, {longest} (RFC 7143 section 13.14)"
    is_useless = values.get("initial_r2t") is True and values.get("immediate_data") is False
    if first is not None and is_useless:
        return (
            "with initial_r2t = true and immediate_data = false nothing is sent without being "
            "asked for; leave it out"
        )
    return ""
