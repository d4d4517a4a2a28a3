"""The configuration file of multipath-tools. Sources: multipath.conf(5), multipathd(8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined

from harness.config.model import PathGrouping
from harness.config.profiles import Profile
from harness.transport.dm_multipath.wwid import as_pattern

CONF = "/etc/multipath.conf"
CONF_FOLDER = "/etc/multipath/conf.d"
DROP_IN = f"{CONF_FOLDER}/pathproof.conf"
WWIDS = "/etc/multipath/wwids"
# Reads every path of every map directly, and counts those that the device mapper calls active.
READ_EVERY_PATH = """
for slave in /sys/block/dm-*/slaves/*; do
  dd if=/dev/${slave##*/} of=/dev/null bs=64k count=8 iflag=direct status=none
done
multipath -ll | grep -c 'active ready running'
"""


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

# Since then `detect_pgpolicy` sets group_by_prio where every path has ALUA, whatever
# `path_grouping_policy` says: select_pgpolicy() in libmultipath/propsel.c. An older version would
# complain of the setting at each call.
_DETECTS_SINCE = (0, 9, 6)

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
    {%- for pattern in patterns %}
    wwid "{{ pattern }}"
    {%- endfor %}
}
{%- if stanzas %}
devices {
{%- for stanza in stanzas %}
    device {
        vendor               "{{ stanza.vendor }}"
        product              "{{ stanza.product }}"
        path_grouping_policy {{ grouping }}
        {%- if detects %}
        detect_pgpolicy      no
        {%- endif %}
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
    {%- if detects %}
    detect_pgpolicy      no
    {%- endif %}
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
    wwids: Iterable[str],
    profile: Profile,
    grouping: PathGrouping = "multibus",
    *,
    target_is_made: bool = True,
    version: tuple[int, ...] | None = None,
) -> str:
    """multipath.conf for these LUNs; everything else is left alone by its WWID.

    For an external target multipath-tools' own entry for the array holds, except for what
    is demanded of every map. `version` is that of multipath-tools, None if it is not known.
    """
    detects = version is not None and version >= _DETECTS_SINCE
    stanzas = list(dict.fromkeys(STANZAS.values())) if target_is_made else []
    template = Environment(undefined=StrictUndefined, autoescape=False).from_string(_TEMPLATE)  # noqa: S701  # not HTML
    patterns = [as_pattern(wwid) for wwid in wwids]
    return template.render(
        patterns=patterns, profile=profile, grouping=grouping, stanzas=stanzas, detects=detects
    )


# Where a machine has such settings, a path that is back may be kept out of use for minutes, and no
# figure of the map tells. One setting of each family switches it off; source: multipath.conf(5).
_USED_AT_ONCE = """\
        san_path_err_threshold           no
        marginal_path_double_failed_time no
        delay_watch_checks               no
        delay_wait_checks                no
"""


def render_drop_in(
    luns: Mapping[str, bool], iqns: Iterable[str], grouping: PathGrouping, *, active: Iterable[str]
) -> str:
    """What is added to the configuration of an existing machine: these LUNs, and no others.

    It also says what is to be undone: `luns` has whether the machine knew each WWID before, and
    `active` the units that were.
    """
    lines = [
        "# Written by Pathproof for the length of a run.",
        *(f"# target {iqn}" for iqn in iqns),
        *(f"# lun {wwid} {'known' if known else 'new'}" for wwid, known in luns.items()),
        f"# active {' '.join(active)}",
        "blacklist_exceptions {",
        *(f'    wwid "{as_pattern(wwid)}"' for wwid in luns),
        "}",
        "multipaths {",
        *(_multipath_section(wwid, grouping) for wwid in luns),
        "}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _multipath_section(wwid: str, grouping: PathGrouping) -> str:
    return f"""\
    multipath {{
        wwid                 "{wwid}"
        alias                "{wwid}"
        path_grouping_policy {grouping}
        path_selector        "service-time 0"
        failback             immediate
        no_path_retry        queue
{_USED_AT_ONCE}    }}"""
