"""What travels to a host, named by its content."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigError
from harness.machine.local import LocalMachine

# Enough for `./bootstrap` to make the virtual environment. It is kept apart from the code, so
# that a changed test costs a host a second and not a new environment.
ENVIRONMENT = tuple(
    Path(name)
    for name in (
        "bootstrap",
        "requirements.txt",
        "requirements-build.txt",
        "pyproject.toml",
        "LICENSE",
        "harness/__init__.py",
    )
)
_LEFT_OUT = {"node_modules", "__pycache__"}
_REPORTS = Path("reports/out")


@dataclass(frozen=True)
class Parcel:
    """A tar archive; equal content has an equal name, and `last` is in it if all of it is."""

    name: str
    archive: bytes
    last: str


def pack(kind: str, top: Path, files: Iterable[Path]) -> Parcel:
    """A parcel of `files`, which are relative to `top`; named `KIND-DIGEST`."""
    digest = hashlib.sha256()
    packed = io.BytesIO()
    last = ""
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file in sorted(files):
            last = file.as_posix()
            member = tar.gettarinfo(top / file, arcname=last)
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            content = (top / file).read_bytes() if member.isreg() else b""
            executable = bool(member.mode & 0o100)
            member.mode = 0o755 if executable else 0o644
            tar.addfile(member, io.BytesIO(content))
            for part in (last, str(executable), member.linkname, hashlib.sha256(content)):
                text = part if isinstance(part, str) else part.hexdigest()
                digest.update(text.encode() + b"\0")
    return Parcel(f"{kind}-{digest.hexdigest()[:16]}", packed.getvalue(), last)


def working_tree(top: Path) -> list[Path]:
    """The files of a checkout, relative to it: what git tracks or would, else all but the makings.

    Raises ConfigError if `top` is no checkout of Pathproof, with nothing to make it run.
    """
    missing = [str(file) for file in ENVIRONMENT if not (top / file).is_file()]
    if missing:
        raise ConfigError(
            f"{top} cannot travel to other hosts: {', '.join(missing)} missing",
            hint="run the suites inside a checkout, where ./bootstrap is",
        )
    known = _known_to_git(top)
    if not known.issuperset(ENVIRONMENT):  # no git, no checkout, or inside an unrelated one
        known = set(_plain_tree(top))
    return sorted(file for file in known if (top / file).is_symlink() or (top / file).is_file())


def _known_to_git(top: Path) -> set[Path]:
    """What git tracks or would; nothing where git is not installed or does not know the folder."""
    if shutil.which("git") is None:
        return set()
    listed = LocalMachine().run(
        [
            *("git", "-C", str(top), "ls-files", "-z"),
            *("--cached", "--others", "--exclude-standard"),
        ],
        check=False,
    )
    return {Path(os.fsdecode(name)) for name in listed.stdout_bytes.split(b"\0") if name}


def _plain_tree(top: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(top):
        here = Path(folder).relative_to(top)
        folders[:] = [
            name
            for name in folders
            if name not in _LEFT_OUT
            and not name.startswith(".")
            and not name.endswith(".egg-info")
            and here / name != _REPORTS
        ]
        yield from (here / name for name in files)
