"""What an existing machine must have installed, looked at before anything is written there.

Versions: RHEL 8 and SLE 15 have Python 3.6. fio 3.31 is the first whose log of issued I/O has
times (version 3, iolog.c); `log_entries` came with 3.29, and with 3.30 `log_alternate_epoch`, which
puts the times of its other log on CLOCK_MONOTONIC. wipefs has `--json` since util-linux 2.31.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from harness.transport.dm_multipath.effective_config import Section
from harness.transport.dm_multipath.multipath_conf import CONF_FOLDER, WWIDS

# Command: package of Debian, package of RHEL and its kin.
_TOOLS = {
    "iscsiadm": ("open-iscsi", "iscsi-initiator-utils"),
    "multipath": ("multipath-tools", "device-mapper-multipath"),
    "multipathd": ("multipath-tools", "device-mapper-multipath"),
    "dmsetup": ("dmsetup", "device-mapper"),
    "fio": ("fio", "fio"),
    "python3": ("python3", "python3"),
    "nft": ("nftables", "nftables"),
    "ip": ("iproute2", "iproute"),
    "wipefs": ("util-linux", "util-linux"),
    "blockdev": ("util-linux", "util-linux"),
    "flock": ("util-linux", "util-linux"),
    "pgrep": ("procps", "procps-ng"),
    "pkill": ("procps", "procps-ng"),
    "find": ("findutils", "findutils"),
    "sed": ("sed", "sed"),
    "grep": ("grep", "grep"),
    "tar": ("tar", "tar"),
    "systemctl": ("systemd", "systemd"),
}
_OLDEST = {"python3": (3, 6), "fio": (3, 31), "wipefs": (2, 31)}
_NEWER_FIO = (
    "build a newer one (`./configure --build-static` makes one that runs anywhere), put it on the "
    'machine, and name it: fio = "/opt/fio/bin/fio" in [initiator]'
)
_NO_ENGINE = (
    "on RHEL and Fedora: `dnf install fio-engine-libaio`; one that you built needs the headers of "
    "libaio (`apt install libaio-dev`)"
)
_CURES = {
    "python3": "install a newer Python as `python3`; RHEL 8 has 3.6",
    "fio": _NEWER_FIO,
    "wipefs": "update util-linux",
}
# $1 is fio. What lacks a tool has other lines, so nothing here may fail: no -e.
_SCRIPT = """
fio=$1
echo "user $(id -u)"
for tool; do command -v "$tool" >/dev/null || echo "missing $tool"; done
echo "version python3 $(python3 --version 2>&1)"
echo "version wipefs $(wipefs --version 2>&1)"
echo "version fio $("$fio" --version 2>&1)"
"$fio" --enghelp=libaio >/dev/null 2>&1 || echo "engine"
:
"""


def tools_argv(fio: str) -> list[str]:
    """Ask a machine for all of it; `fio` is the name or the path of the one to run."""
    return ["sh", "-c", _SCRIPT, "sh", fio, *(tool for tool in _TOOLS if tool != "fio")]


def tool_problem(text: str, fio: str) -> tuple[str, str] | None:
    """The first thing that is wrong by the answer to `tools_argv`, and its cure.

    Real output, where all is well:

        user 0
        version python3 Python 3.11.2
        version wipefs wipefs from util-linux 2.38.1
        version fio fio-3.33
    """
    lines = [line.partition(" ")[::2] for line in text.splitlines()]
    users = [rest for kind, rest in lines if kind == "user"]
    if users != ["0"]:
        return f"Pathproof is user {', '.join(users)} there; root is needed", ""
    if missing := [rest for kind, rest in lines if kind == "missing"]:
        return f"{', '.join(missing)} not found", _install(missing)
    versions = dict(rest.split(" ", 1) for kind, rest in lines if kind == "version")
    for problem in _too_old(versions):
        return problem
    if ("engine", "") in lines:
        return f"{fio} has no engine libaio, or cannot load it", _NO_ENGINE
    return None


def _install(missing: list[str]) -> str:
    known = [_TOOLS[tool] for tool in missing if tool in _TOOLS]
    if len(known) < len(missing):
        return "`fio` in [initiator] is the path of a program on that machine"
    debian, red_hat = (" ".join(dict.fromkeys(names)) for names in zip(*known, strict=True))
    return f"on Debian: `apt install {debian}`; on RHEL: `dnf install {red_hat}`"


def _too_old(versions: dict[str, str]) -> Iterator[tuple[str, str]]:
    for tool, oldest in _OLDEST.items():
        said = versions.get(tool, "")
        numbers = re.search(r"\d+(\.\d+)+", said)
        version = tuple(map(int, numbers[0].split("."))) if numbers else ()
        if version[: len(oldest)] < oldest:
            needed = ".".join(map(str, oldest))
            yield f"{tool} is {said or 'unknown'}, and {needed} is needed", _CURES[tool]


def multipathd_problem(config: Mapping[str, Section]) -> tuple[str, str] | None:
    """Why the drop-in would have no effect by multipathd's configuration, and a cure.

    Up to 0.8.9 folder and file can be set; later versions may list them all the same.
    """
    for key, usual in {"config_dir": CONF_FOLDER, "wwids_file": WWIDS}.items():
        found = config["defaults"].settings.get(key, usual).removesuffix("/")
        if found != usual:
            return (
                f"multipathd goes by {found}, since `{key}` says so, and not by {usual}",
                f"take `{key}` out of multipath.conf there, and `multipathd reconfigure`",
            )
    return None
