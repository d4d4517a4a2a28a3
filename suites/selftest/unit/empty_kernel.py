"""A file that QEMU takes for a kernel."""

from __future__ import annotations


def empty_kernel() -> bytes:
    """A bzImage's header (Documentation/arch/x86/boot.rst) and no code."""
    image = bytearray(4096)
    image[0x1F1] = 1  # sectors of the setup code, besides the first
    image[0x202:0x208] = b"HdrS\x0c\x02"  # protocol 2.12
    image[0x211] = 1  # loaded high
    return bytes(image)
