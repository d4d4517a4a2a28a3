"""multipath-tools: its configuration file and what its daemon answers.

Sources: multipath.conf(5), multipathd(8).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined

from harness.config.model import PathGrouping, Profile
from harness.errors import InitiatorError
from harness.initiator.wwid import as_pattern

CONF = "/etc/multipath.conf"
CONF_FOLDER = "/etc/multipath/conf.d"
DROP_IN = f"{CONF_FOLDER}/pathproof.conf"
WWIDS = "/etc/multipath/wwids"


@dataclass(frozen=True)
class Stanza:
    """How multipathd recognises a target kind: SCSI vendor and product, as regular expressions."""

    vendor: str
    product: str


STANZAS = {
    "lio": Stanza("LIO-ORG", ".*"),
    "tgt": Stanza("IET", "VIRTUAL-DISK"),
    "iet": Stanza("IET", "VIRTUAL-DISK"),  # multipath-tools has no built-in entry for it
}

# Queueing, so that losing all paths is a pause and not an error. find_multipaths: Debian's default
# makes no map at all.
_TEMPLATE = """\
# Written by Pathproof.
defaults {
    user_friendly_names no
    find_multipaths     greedy
{%- if profile.polling_interval_s is not none %}
    polling_interval    {{ profile.polling_interval_s }}
    max_polling_interval {{ profile.polling_interval_s }}
{%- endif %}
}
blacklist {
    wwid ".*"
}
blacklist_exceptions {
    wwid "{{ pattern }}"
}
{%- if stanzas %}
devices {
{%- for stanza in stanzas %}
    device {
        vendor               "{{ stanza.vendor }}"
        product              "{{ stanza.product }}"
        path_grouping_policy {{ grouping }}
        path_selector        "service-time 0"
        path_checker         tur
        failback             immediate
        no_path_retry        queue
        {%- if profile.fast_io_fail_s is not none %}
        fast_io_fail_tmo     {{ profile.fast_io_fail_s }}
        {%- endif %}
    }
{%- endfor %}
}
{%- else %}
overrides {
    path_grouping_policy {{ grouping }}
    failback             immediate
    no_path_retry        queue
    {%- if profile.fast_io_fail_s is not none %}
    fast_io_fail_tmo     {{ profile.fast_io_fail_s }}
    {%- endif %}
}
{%- endif %}
"""


def flush_argv(device: str) -> list[str]:
    """Take a map apart by its device file, if it is there.

    udev may have a look at it once more after the last write: it is tried again for 10 s.
    """
    flush = 'exec multipath -f -R 10 "${1##*/}"'
    return ["sh", "-c", f'[ ! -e "$1" ] || {flush}', "sh", device]


def render_conf(
    wwid: str, profile: Profile, grouping: PathGrouping = "multibus", *, ours: bool = True
) -> str:
    """multipath.conf for one LUN; everything else is left alone by its WWID.

    For a target that is not `ours`, multipath-tools' own entry for the array holds, but for what
    is demanded of every map.
    """
    stanzas = list(dict.fromkeys(STANZAS.values())) if ours else []
    template = Environment(undefined=StrictUndefined, autoescape=False).from_string(_TEMPLATE)  # noqa: S701  # not HTML
    return template.render(
        pattern=as_pattern(wwid), profile=profile, grouping=grouping, stanzas=stanzas
    )


def render_drop_in(
    wwid: str,
    iqns: Iterable[str],
    grouping: PathGrouping,
    *,
    known: bool,
    active: Iterable[str],
) -> str:
    """What is added to the configuration of a machine that is not ours: one LUN, and no other.

    It also says what is to be undone, whether the machine has `known` the WWID before, and which
    units were `active`.
    """
    targets = "\n".join(f"# target {iqn}" for iqn in iqns)
    return f"""\
# Written by Pathproof for the length of a run.
{targets}
# lun {wwid} {"known" if known else "new"}
# active {" ".join(active)}
blacklist_exceptions {{
    wwid "{as_pattern(wwid)}"
}}
multipaths {{
    multipath {{
        wwid                 "{wwid}"
        alias                "{wwid}"
        path_grouping_policy {grouping}
        path_selector        "service-time 0"
        failback             immediate
        no_path_retry        queue
    }}
}}
"""


def parse_fast_io_fail(config: str) -> int | None:
    """The `fast_io_fail_tmo` in force by `multipathd show config local`; None if it is off.

    That lists only the device sections which fit a device that is there. Overrides go before
    these, those of a protocol first, and these before defaults (multipath.conf(5)). None also if
    sections for several devices differ: then nothing is demanded.
    multipathd writes it over `recovery_tmo` of each session (sysfs_set_session_tmo() in
    libmultipath/discovery.c). Raises InitiatorError if no section has it.
    """
    found: dict[str, set[str]] = {}
    blocks: list[str] = []
    protocol = ""
    for line in config.splitlines():
        key, _, value = line.strip().partition(" ")
        if value == "{":
            blocks.append(key)
            protocol = ""
        elif key == "}":
            blocks.pop()
        elif key == "type":
            protocol = value.strip('"')
        elif key == "fast_io_fail_tmo" and not ("protocol" in blocks and protocol != "scsi:iscsi"):
            section = "protocol" if "protocol" in blocks else blocks[0]
            found.setdefault(section, set()).add(value.strip('"'))
    for section in ("protocol", "overrides", "devices", "defaults"):
        if section in found:
            values = found[section]
            return int(*values) if len(values) == 1 and min(values).isdecimal() else None
    raise InitiatorError("multipathd's configuration has no fast_io_fail_tmo")


@dataclass(frozen=True)
class MapPath:
    """One path as multipathd sees it: dm's state ("active"), and the path checker's ("ready")."""

    name: str
    device: str
    dm_state: str
    checker_state: str


@dataclass(frozen=True)
class Map:
    """A multipath map: WWID, device-mapper name ("dm-0") and paths."""

    wwid: str
    dm_name: str
    paths: tuple[MapPath, ...]


def parse_maps(text: str) -> list[Map]:
    """Maps from `multipathd show maps json`. Raises InitiatorError for anything else."""
    try:
        return [
            Map(
                wwid=entry["uuid"],
                dm_name=entry["sysfs"],
                paths=tuple(
                    MapPath(p["dev"], p["dev_t"], p["dm_st"], p["chk_st"])
                    for group in entry["path_groups"]
                    for p in group["paths"]
                ),
            )
            for entry in json.loads(text)["maps"]
        ]
    except (ValueError, KeyError, TypeError) as error:  # JSON of another shape
        raise InitiatorError(f"multipathd's answer is not a list of maps: {error!r}") from None
