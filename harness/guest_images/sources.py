"""Where packages come from: this machine's Debian mirrors, or the one the user names.

Third-party sources of this machine (a vendor's repository, a language's) never leak in.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.errors import ImageError

_TIMEOUT_S = 120.0  # it takes a second, on a busy machine half a minute
_FIELDS = ("REPO_URI", "RELEASE", "ORIGIN", "COMPONENT")
_RELEASE = re.compile(r"(?P<base>[a-z]+)(?P<pocket>|-updates|-security)")
_KEPT_OPTIONS = re.compile(
    r'Acquire::(?:(?:https?|ftp)::.*|Retries|Check-Valid-Until|Check-Date|ForceIPv[46]) ".*";',
    re.IGNORECASE,
)


def package_sources(suite: str, mirror: str | None, extra: Sequence[str]) -> list[str]:
    """The MIRROR arguments of mmdebstrap(1); empty means its own default."""
    if mirror is not None:
        return [mirror if mirror.startswith("deb ") else f"deb {mirror} {suite} main", *extra]
    own = debian_sources(_output("apt-get", "indextargets", *_targets_query()), suite)
    return [*own, *extra]


def debian_sources(targets: str, suite: str) -> list[str]:
    """One-line entries for `suite` from this machine's index targets.

    `targets` has one line per target, with the fields separated by `|`:

        http://mirror/debian/|bookworm-updates|Debian|main
        https://packages.example.com/apt/|stable|Example|main

    The origin is unset (`$(ORIGIN)`) before the first `apt-get update`; then the last part
    of the address must say `debian`. A machine of another Debian release lends its mirror.
    """
    lines: list[str] = []
    for target in targets.splitlines():
        uri, release, origin, component = target.split("|")
        known_as_debian = re.search(r"/debian(-security)?/*$", uri) is not None
        match = _RELEASE.fullmatch(release)
        is_debian = origin == "Debian" or (origin.startswith("$") and known_as_debian)
        if match is None or not is_debian or component != "main":
            continue
        line = f"deb {uri} {suite}{match['pocket']} main"
        if line not in lines:
            lines.append(line)
    has_base = any(line.endswith(f" {suite} main") for line in lines)
    return lines if has_base else []


def apt_options(dump: str | None = None) -> list[str]:
    """The settings of this machine's apt that downloads depend on: proxies, certificates, dates.

    `dump` is the output of `apt-config dump`; None asks apt.
    """
    text = _output("apt-config", "dump") if dump is None else dump
    return [line for line in text.splitlines() if _KEPT_OPTIONS.fullmatch(line)]


def copy_keyrings(folder: Path) -> None:
    """Put the keys that this machine trusts for Debian into `folder`, readable by all.

    Keys tied to one third-party source (`Signed-By`) are not among them.
    """
    folder.mkdir(mode=0o755)
    places = (Path("/etc/apt/trusted.gpg.d"), Path("/usr/share/keyrings"))
    for place, pattern in zip(places, ("*", "debian-archive-keyring.*"), strict=True):
        for key in sorted(place.glob(pattern)):
            if key.suffix in (".gpg", ".asc"):
                shutil.copyfile(key, folder / key.name)
                (folder / key.name).chmod(0o644)


def _targets_query() -> tuple[str, ...]:
    return ("--format", "|".join(f"$({field})" for field in _FIELDS), "Created-By: Packages")


def _output(*argv: str) -> str:
    """What a tool prints; nothing if this machine does not have it."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except OSError:
        return ""
    except subprocess.TimeoutExpired:
        raise ImageError(f"{argv[0]} does not say its settings within {_TIMEOUT_S:.0f} s") from None
    return done.stdout
