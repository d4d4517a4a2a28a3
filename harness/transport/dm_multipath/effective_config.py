"""What multipathd goes by now: `multipathd show config`, and which of it holds for a LUN.

Sources, the same from multipath-tools 0.8.5 to 0.14.3 unless named: snprint_config() in
libmultipath/print.c, find_hwe() and hwe_regmatch() in libmultipath/config.c,
select_fast_io_fail() and select_detect_pgpolicy() in libmultipath/propsel.c,
sysfs_set_session_tmo() in libmultipath/discovery.c.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from harness.budget import Setting
from harness.errors import InitiatorError
from harness.transport.dm_multipath.posix_regex import found_in

_ALWAYS_THERE = ("defaults", "devices", "overrides")  # and what may follow: multipaths
_PROTOCOL = "scsi:iscsi"
_MAX_POLLING_SINCE = (0, 10)
_COMMANDS = "CLI commands reference:"  # do_genhelp() in multipathd/cli.c


class UnknownCommand(InitiatorError):
    """multipathd answers with the list of its commands, as it does to one that it lacks."""


@dataclass(frozen=True)
class Section:
    """A section of the configuration: its settings, and the sections in it, in their order."""

    name: str
    settings: dict[str, str] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)


@dataclass(frozen=True)
class ScsiIdentity:
    """What sysfs says of a SCSI disk, which is what multipathd compares with its sections."""

    vendor: str
    model: str
    rev: str


def parse_config(text: str) -> Mapping[str, Section]:
    """Sections by their names, from `multipathd show config` or `multipath -t`.

    Raises InitiatorError for anything else, such as `timeout` (which multipathd prints with exit
    status 0) or an answer that was cut off; UnknownCommand for the list of commands.
    """
    if _COMMANDS in text:
        raise UnknownCommand(f"multipathd lacks the command: {text.partition(_COMMANDS)[0]!r}")
    top = Section("")
    within = [top]
    for line in text.splitlines():
        key, _, value = line.strip().partition(" ")
        if value == "{":
            section = Section(key)
            within[-1].sections.append(section)
            within.append(section)
        elif key == "}" and len(within) > 1:
            within.pop()
        elif len(within) > 1:
            within[-1].settings[key] = _unquoted(value)
        elif key:
            raise _not_a_configuration(text)
    sections = {section.name: section for section in top.sections}
    if len(within) > 1 or any(name not in sections for name in _ALWAYS_THERE):
        raise _not_a_configuration(text)
    return sections


def _not_a_configuration(text: str) -> InitiatorError:
    end = text.strip()[-100:] or "nothing"
    return InitiatorError(f"multipathd's answer is not its whole configuration; it ends in: {end}")


def _unquoted(value: str) -> str:
    """The value without its quotes; a quote within them is doubled."""
    inside = value.removeprefix('"').removesuffix('"')
    return inside.replace('""', '"') if inside != value else value


def recovery_demanded(config: Mapping[str, Section], of: ScsiIdentity) -> int | None:
    """The `fast_io_fail_tmo` that multipathd writes over `recovery_tmo` of a LUN's sessions.

    None if it writes nothing there: iSCSI takes neither "off" nor 0. Of `overrides` the section
    of the protocol goes first, then the rest of it, then the `device` sections that fit, the last
    of them first, then `defaults`; `multipaths` cannot have it. Raises InitiatorError if no
    section has it.
    """
    for section in _by_precedence(config, of):
        if value := section.settings.get("fast_io_fail_tmo"):
            return int(value) if value.isdecimal() and int(value) > 0 else None
    raise InitiatorError("multipathd's configuration has no fast_io_fail_tmo")


def detects_grouping(config: Mapping[str, Section], of: ScsiIdentity) -> bool:
    """Whether multipathd sets group_by_prio for a LUN with ALUA, whatever its policy is.

    That is `detect_pgpolicy` of multipath.conf(5), since 0.9.6; `multipaths` cannot have it. Older
    versions have it in no section.
    """
    for section in _by_precedence(config, of):
        if value := section.settings.get("detect_pgpolicy"):
            return value == "yes"
    return False


def _by_precedence(config: Mapping[str, Section], of: ScsiIdentity) -> Iterator[Section]:
    overrides = config["overrides"]
    yield from (one for one in overrides.sections if one.settings.get("type") == _PROTOCOL)
    yield overrides
    yield from (one for one in reversed(config["devices"].sections) if _fits(one, of))
    yield config["defaults"]


def _fits(device: Section, of: ScsiIdentity) -> bool:
    """Whether each of a `device` section's patterns is found in what the disk says of itself."""
    said = {"vendor": of.vendor, "product": of.model, "revision": of.rev}
    return all(
        found_in(device.settings[name], text)
        for name, text in said.items()
        if name in device.settings
    )


def polling(config: Mapping[str, Section], version: tuple[int, ...] | None) -> Setting:
    """How long multipathd may wait until it looks at a failed path again.

    Up to 0.9.9 that is `polling_interval`, however far it had backed off while the path was
    healthy. Since 0.10 a path that the kernel has given up first keeps the interval to which it
    had backed off, `max_polling_interval` at most: check_path() and update_path() in
    multipathd/main.c. Where the `version` is not known the longer one is taken.
    """
    name = "polling_interval"
    if version is None or version >= _MAX_POLLING_SINCE:
        name = "max_polling_interval"
    value = config["defaults"].settings.get(name, "")
    if not value.isdecimal():
        raise InitiatorError(f"multipathd's configuration has no {name} but {value!r}")
    tool = f"multipathd {'.'.join(map(str, version))}" if version else "multipathd"
    return Setting(name, int(value), f"{tool}: show config")
