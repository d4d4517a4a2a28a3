"""What exactly one image consists of, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from harness.config.image import ImageDefinition, is_one_line
from harness.errors import ImageError
from harness.guest_images import BUILDING
from harness.guest_images import scripts as image_scripts
from harness.own_code import digest_of
from harness.topology import Role

CMDLINE = ("root=/dev/vda", "rw", "console=ttyS0")


@dataclass(frozen=True)
class GuestFile:
    """A file of the guest, owned by root; `mode` as in chmod(2)."""

    destination: str
    mode: int
    content: bytes


@dataclass(frozen=True)
class Recipe:
    """A definition resolved for one role: every file read, every choice made."""

    definition: str
    role: Role
    suite: str
    architecture: str | None
    packages: tuple[str, ...]
    local_packages: tuple[Path, ...]
    size: int
    cmdline: str
    files: tuple[GuestFile, ...]
    enable: tuple[str, ...]
    mask: tuple[str, ...]
    mask_generators: tuple[str, ...]
    leave_out: tuple[str, ...]
    extra_sources: tuple[str, ...]
    client_key: str
    mirror: str | None

    def fingerprint(self) -> str:
        """24 hex digits that change with anything that determines the image's content.

        Not part of it: what the package mirror holds today, and where the definition lies.
        """
        facts = [
            digest_of(*BUILDING),
            self.role,
            self.suite,
            self.architecture,
            self.packages,
            [_digest(_read(path)) for path in self.local_packages],
            self.size,
            self.cmdline,
            [(f.destination, f.mode, _digest(f.content)) for f in self.files],
            self.enable,
            self.mask,
            self.mask_generators,
            self.leave_out,
            [s if is_one_line(s) else _digest(_read(Path(s))) for s in self.extra_sources],
            self.client_key,
            self.mirror,
        ]
        return _digest(json.dumps(facts).encode())[:24]


def recipe_for(
    definition: ImageDefinition, role: Role, *, client_key: str, mirror: str | None = None
) -> Recipe:
    """What `definition` means for `role`. Reads the files it names; ImageError if one is gone."""
    packages, local = definition.packages, definition.local_packages
    is_target = role is Role.TARGET
    own = packages.target if is_target else packages.initiator
    own_local = local.target if is_target else local.initiator
    return Recipe(
        definition=str(definition.file),
        role=role,
        suite=definition.suite,
        architecture=definition.architecture,
        packages=tuple(sorted({definition.kernel, *image_scripts.PACKAGES, *packages.base, *own})),
        local_packages=tuple(dict.fromkeys((*local.base, *own_local))),
        size=definition.size,
        cmdline=" ".join((*CMDLINE, *definition.cmdline)),
        files=tuple(
            GuestFile(added.destination, int(added.mode, 8), _read(added.source))
            for added in definition.files
            if role.value in added.roles
        ),
        enable=definition.services.enable,
        mask=definition.services.mask,
        mask_generators=definition.services.mask_generators,
        leave_out=definition.leave_out,
        extra_sources=definition.extra_sources,
        client_key=client_key,
        mirror=mirror,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}") from None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
