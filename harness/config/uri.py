"""What a libvirt URI says by itself (https://libvirt.org/uri.html); pure."""

from __future__ import annotations

EMBEDDED = "embedded"


def is_embedded(uri: str) -> bool:
    """Whether `uri` is libvirt's embedded driver, as it is configured or as libvirt writes it."""
    return uri == EMBEDDED or uri.startswith("qemu:///embed")
