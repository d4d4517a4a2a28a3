"""The LUNs of a target: the one that [target] describes, or a list."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from harness.config.base import Model
from harness.units import MIB, parse_size

if TYPE_CHECKING:
    from harness.config.model import TargetConfig
    from harness.config.networks import NetworkConfig

MOST_LUNS = 16
# Of a T10 identifier udev leaves "#+-.:=@_" as they are, and multipathd itself all but blanks.
_WWID = re.compile(r"(?!naa\.|eui\.|t10\.)[0-9A-Za-z][\w.:#+=@,-]{7,}", re.ASCII)


# NAA type 6 as arrays show it (FC-LS, SPC-5 section 7.7.6.6.5); multipath-tools puts a 3 before it.
_NAA = re.compile(r"3?(?P<bare>6[0-9a-f]{31})", re.IGNORECASE | re.ASCII)


def _wwid(text: str) -> str:
    digits = text.removeprefix("0x").replace(":", "")
    if (naa := _NAA.fullmatch(digits)) and text != (meant := f"3{naa['bare'].lower()}"):
        raise ValueError(f"{text!r} is {meant} to multipath-tools; write that")
    if not _WWID.fullmatch(text):
        raise ValueError(
            f"{text!r} is no WWID of multipath-tools, such as 360014057043dfe0435de773ca03bbf04; "
            "of the kernel's `naa.6…` it is the digits, with a 3 before them"
        )
    return text


Size = Annotated[int, BeforeValidator(parse_size), Field(gt=0)]
Wwid = Annotated[str, AfterValidator(_wwid)]


class LunConfig(Model):
    """One of several LUNs: how large it is to be made, or which one of an external target it is."""

    size: Size | None = Field(
        None, ge=8 * MIB, multiple_of=512, description="of a LUN that Pathproof makes"
    )
    wwid: Wwid | None = Field(None, description="an external target's LUN, as multipath calls it")
    serial: str | None = Field(None, description="unit serial number of an external target's LUN")
    target_iqn: str | None = Field(
        None, description="name of the target that has it, where it is not target.iqn"
    )
    initiators: tuple[str, ...] | None = Field(
        None, min_length=1, description="the machines that see it; else every initiator does"
    )
    read_only: tuple[str, ...] | None = Field(
        None, description="those of them that may not write to it; only kind 'lio' can do that"
    )


def require_luns(target: TargetConfig, luns: Sequence[LunConfig], changed: Sequence[str]) -> None:
    """Raises ValueError, which begins with the key, for a list that does not fit the target.

    `changed` are those keys of the target that have another value than the default.
    """
    if luns:
        for key in ("wwid", "serial", "lun_size"):
            if key in changed:
                own = "size" if key == "lun_size" else key
                raise ValueError(
                    f"target.{key}: it is for one LUN; with [[luns]] each has its own {own!r}"
                )
    for number, lun in enumerate(luns):
        wanted, foreign = ("size", ("wwid", "serial")) if target.is_made else ("wwid", ("size",))
        if getattr(lun, wanted) is None:
            raise ValueError(
                f"luns.{number}.{wanted}: is missing; with target.kind {target.kind!r} each of "
                "[[luns]] has one"
            )
        for key in foreign:
            if getattr(lun, key) is not None:
                why = (
                    f"kind {target.kind!r} makes its LUNs"
                    if target.is_made
                    else "nothing is configured on an external target"
                )
                raise ValueError(f"luns.{number}.{key}: {why}; leave it out")
    for key in ("wwid", "serial"):
        named = Counter(getattr(lun, key) for lun in luns)
        for number, lun in enumerate(luns):
            value = getattr(lun, key)
            if value is not None and named[value] > 1:
                raise ValueError(f"luns.{number}.{key}: two LUNs have {value!r}; each has its own")
    wwids = [lun.wwid for lun in luns] or [target.wwid]
    if target.erase is not None and target.erase not in wwids:
        which = ", ".join(wwid for wwid in wwids if wwid) or "is not given"
        key = "the WWIDs in [[luns]] are" if luns else "target.wwid"
        raise ValueError(
            f"--erase names {target.erase}, and {key} {which}: both must name the LUN whose data "
            "may be lost"
        )


def require_target_names(
    target: TargetConfig,
    luns: Sequence[LunConfig],
    networks: Sequence[NetworkConfig],
    changed: Sequence[str],
) -> None:
    """Raises ValueError, which begins with the key, for names of targets that contradict.

    `changed` are those keys of the target that have another value than the default.
    """
    named = {n: lun.target_iqn for n, lun in enumerate(luns) if lun.target_iqn is not None}
    first = min(named, default=None)
    for number, network in enumerate(networks):
        for place, portal in enumerate(network.portals):
            if portal.iqn is not None and first is not None:
                raise ValueError(
                    f"luns.{first}.target_iqn: networks.{number}.portals.{place}.iqn names the "
                    "target at that portal, for all LUNs. An array has a name for each portal, or "
                    "one for each group of LUNs; give one of the two"
                )
    if named and len(named) == len(luns) and "iqn" in changed and target.iqn not in named.values():
        raise ValueError(
            f"target.iqn: no LUN is in the target {target.iqn}: each of [[luns]] has another "
            "target_iqn; leave it out"
        )
    every = {
        f"networks.{number}.portals.{place}.iqn": portal.iqn
        for number, network in enumerate(networks)
        for place, portal in enumerate(network.portals)
        if portal.iqn is not None
    }
    every |= {f"luns.{n}.target_iqn": lun.target_iqn or target.iqn for n, lun in enumerate(luns)}
    spelled: dict[str, str] = {}
    for key, iqn in every.items():
        if (known := spelled.setdefault(iqn.lower(), iqn)) != iqn:
            raise ValueError(
                f"{key}: {iqn!r} and {known!r} are one name, as capitals do not count in it "
                "(RFC 7143 section 4.2.7); write it in one way"
            )
