"""ietd.conf, initiators.allow and targets.allow: what IET is asked to serve, and to whom.

ietd passes over a line that it cannot read and only logs it, so what it would misread is refused
here. Sources: ietd.conf(5); plain.c, param.c and the volume types' own files of IET 1.4.20.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal

from harness.config.credentials import ChapConfig
from harness.config.iet import IetOptions
from harness.config.negotiation import KEYS, as_text
from harness.errors import ConfigError

CONF = "/etc/iet/ietd.conf"
INITIATORS_ALLOW = "/etc/iet/initiators.allow"
TARGETS_ALLOW = "/etc/iet/targets.allow"
ALL = "ALL"

KEYWORDS: Mapping[str, str] = {
    "max_sessions": "MaxSessions",
    "wthreads": "Wthreads",
    "queued_commands": "QueuedCommands",
    "nop_interval_s": "NOPInterval",
    "nop_timeout_s": "NOPTimeout",
    "default_time2wait_s": "DefaultTime2Wait",
    **KEYS,
}

_MAX_ID, _MAX_SERIAL = 16, 32  # SCSI_ID_LEN and SCSI_SN_LEN
_MAX_LINE = 4095  # bytes that ietd reads at once
_WORD = re.compile(r"[!-~]+")  # printable, without a space
_SECRET = "CHAP secret"
_DESIGNATOR = b"IET".ljust(8, b"\0")


@dataclass(frozen=True)
class Unit:
    """A logical unit: `path` is a file's, a block device's, or None for nullio.

    `scsi_id` is what initiators tell disks apart by. Without it, it follows from the target's name
    and the unit's number: two targets on one disk would show two disks. `size` is in bytes: what
    nullio is to have, and what a file or device must have.
    """

    number: int
    io_type: Literal["fileio", "blockio", "nullio"]
    path: str | None = None
    _: KW_ONLY
    io_mode: Literal["wt", "wb", "ro"] = "wt"
    scsi_id: str | None = None
    scsi_sn: str | None = None
    block_size: Literal[512, 1024, 2048, 4096] = 512
    size: int | None = None


@dataclass(frozen=True)
class WantedTarget:
    """A `Target` of ietd.conf with all that belongs to it."""

    iqn: str
    units: tuple[Unit, ...]
    options: IetOptions = field(default_factory=IetOptions)
    chap: ChapConfig | None = None


def render_conf(targets: Sequence[WantedTarget], discovery: ChapConfig | None = None) -> str:
    """ietd.conf. `discovery` is asked for by SendTargets. Raises ConfigError for what won't do."""
    lines = ["# Written by Pathproof.", *_account_lines(discovery)]
    for target in targets:
        lines += [f"Target {_word('target', target.iqn)}", *_account_lines(target.chap)]
        lines += [f"Lun {unit.number} {unit_parameters(unit)}" for unit in target.units]
        lines += [f"{name} {value}" for name, value in named(target.options).items()]
    return _text(lines)


def without_secrets(text: str) -> str:
    """ietd.conf as it may be shown."""
    return re.sub(r"^(\w+User \S+) .*$", r"\1 (hidden)", text, flags=re.MULTILINE)


def render_allow(rules: Mapping[str, Sequence[object]]) -> str:
    """initiators.allow or targets.allow: target name or ALL -> addresses, or ALL.

    ietd goes by the first line that names the target or ALL, so ALL comes last. A target that no
    line names is denied. In initiators.allow an address is the initiator's, in targets.allow the
    portal's; IPv6 stands in brackets.
    """
    ordered = sorted(rules.items(), key=lambda rule: rule[0] == ALL)
    return _text(
        [
            f"{_word('target', iqn)} {', '.join(_word('address', str(item)) for item in items)}"
            for iqn, items in ordered
        ]
    )


def unit_parameters(unit: Unit) -> str:
    """What follows a unit's number, for ietd.conf and ietadm. Raises ConfigError."""
    parameters = [f"{name}={_word(name, value)}" for name, value in _parameters(unit)]
    if wrong := [parameter for parameter in parameters if "," in parameter]:
        raise ConfigError(f"LUN {unit.number}: IET takes no comma in {wrong[0]!r}")
    return ",".join(parameters)


def named(options: IetOptions) -> dict[str, str]:
    """The options that are set, named and written as in ietd.conf."""
    return {
        KEYWORDS[name]: as_text(value)
        for name, value in options.model_dump(exclude_none=True).items()
    }


def wwid_of(scsi_id: str) -> str:
    """A unit's WWID as multipath-tools forms it: a 1 for T10, "IET", then the padded ScsiId."""
    return "1" + (_DESIGNATOR + scsi_id.encode().ljust(_MAX_ID, b"\0")).hex()


def _parameters(unit: Unit) -> Iterator[tuple[str, str]]:
    if unit.io_type == "nullio":
        if unit.path is not None or unit.io_mode != "wt":
            raise ConfigError(f"LUN {unit.number}: nullio has neither path nor mode")
        if not unit.size or unit.size % unit.block_size:
            raise ConfigError(f"LUN {unit.number}: nullio needs a size in whole blocks")
        yield "Type", unit.io_type
        yield "Blocks", str(unit.size // unit.block_size)
    else:
        if unit.path is None:
            raise ConfigError(f"LUN {unit.number}: {unit.io_type} needs a path")
        if unit.io_type == "blockio" and unit.io_mode == "wb":
            raise ConfigError(f"LUN {unit.number}: blockio has no cache to write back")
        yield "Path", unit.path
        yield "Type", unit.io_type
        yield "IOMode", unit.io_mode
    for name, text, longest in (
        ("ScsiId", unit.scsi_id, _MAX_ID),
        ("ScsiSN", unit.scsi_sn, _MAX_SERIAL),
    ):
        if text is None:
            continue
        if len(text) > longest:
            raise ConfigError(f"LUN {unit.number}: {name} {text!r} has more than {longest} letters")
        yield name, text
    yield "BlockSize", str(unit.block_size)


def _account_lines(chap: ChapConfig | None) -> list[str]:
    if chap is None:
        return []
    return [
        f"{direction}User {_word('CHAP user', one.user)} {_word(_SECRET, one.revealed)}"
        for direction, one in (("Incoming", chap.incoming), ("Outgoing", chap.outgoing))
        if one
    ]


def _word(what: str, text: str) -> str:
    """`text` if ietd reads it as one word. A secret is not repeated in the error."""
    if not _WORD.fullmatch(text):
        shown = "" if what == _SECRET else f" {text!r}"
        raise ConfigError(f"{what}{shown}: IET takes no space and no character beyond ASCII")
    return text


def _text(lines: Sequence[str]) -> str:
    """Lines with their ends: ietd ignores a last line without one."""
    if any(len(line) > _MAX_LINE for line in lines):
        raise ConfigError(f"IET reads no line of more than {_MAX_LINE} bytes")
    return "".join(f"{line}\n" for line in lines)
