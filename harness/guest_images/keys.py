"""SSH keys: one pair for the client, one for each image's host."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from harness.errors import ImageError


@dataclass(frozen=True)
class KeyPair:
    """An ed25519 pair: `private` in OpenSSH's format, `public` as `ssh-ed25519 AAAA…`."""

    private: bytes
    public: str


def new_key_pair() -> KeyPair:
    """A fresh pair from the system's random source."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return KeyPair(private, _public(key))


def ensure_key(path: Path) -> KeyPair:
    """The pair whose private half is at `path` (0600); it is made if it is missing.

    Processes that race for it all get the same pair. Raises ImageError if the file holds no
    ed25519 key.
    """
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-") as fresh:
            fresh.write(new_key_pair().private)
            fresh.flush()
            # Another process may be first; its key is complete, since a link is atomic.
            with suppress(FileExistsError):
                path.hardlink_to(fresh.name)
    private = path.read_bytes()
    try:
        key = load_ssh_private_key(private, password=None)
    except (ValueError, TypeError) as error:  # TypeError: it has a password
        raise ImageError(f"{path}: not an SSH key: {error}", hint=f"remove {path}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ImageError(f"{path}: not an ed25519 key", hint=f"remove {path}")
    return KeyPair(private, _public(key))


def _public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
