"""What a libvirt URI says by itself (https://libvirt.org/uri.html); pure."""

from __future__ import annotations

from urllib.parse import urlsplit

EMBEDDED = "embedded"


def is_embedded(uri: str) -> bool:
    """Whether `uri` is libvirt's embedded driver, as it is configured or as libvirt writes it."""
    return uri == EMBEDDED or uri.startswith("qemu:///embed")


def is_system(uri: str) -> bool:
    """Whether `uri` is a system instance of libvirt, whose QEMUs run as a user of their own."""
    parts = urlsplit(uri)
    return parts.scheme.partition("+")[0] == "qemu" and parts.path == "/system"


def is_of_this_host(uri: str) -> bool:
    """Whether libvirt at `uri` runs here, as far as the URI says so."""
    return not urlsplit(uri).hostname


def is_system_here(uri: str) -> bool:
    """Whether `uri` is the system instance of libvirt on this host."""
    return is_system(uri) and is_of_this_host(uri)
