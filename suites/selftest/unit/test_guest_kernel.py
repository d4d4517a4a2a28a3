"""Kernels that are unpacked once, and not at every boot."""

from __future__ import annotations

import gzip
import lzma
import struct
import zlib
from collections.abc import Callable

import pytest

from harness.guest_images.kernel import unpacked

SETUP_SECTORS = 2
PAYLOAD_AT = 100


def elf(owner: bytes = b"Xen\0", kind: int = 18) -> bytes:
    """An ELF file with one segment of notes, of which the second is that of an entry."""
    notes = struct.pack("<III", 4, 6, 6) + b"Xen\0" + b"linux\0\0\0"
    notes += struct.pack("<III", len(owner), 4, kind) + owner.ljust(4, b"\0") + b"\0\0\0\1"
    header = b"\x7fELF\x02\x01".ljust(16, b"\0") + struct.pack("<HHIQQQ", 2, 62, 1, 0, 64, 0)
    header += struct.pack("<IHHHHHH", 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(notes), 0, 4) + notes


def image(payload: bytes, *, magic: bytes = b"HdrS", version: int = 0x20F) -> bytes:
    """A bzImage that unpacks `payload`, which is followed by its size as Linux has it."""
    head = bytearray((1 + SETUP_SECTORS) * 512 + PAYLOAD_AT)
    head[0x1F1] = SETUP_SECTORS
    head[0x202:0x208] = magic + struct.pack("<H", version)
    head[0x248:0x250] = struct.pack("<II", PAYLOAD_AT, len(payload) + 4)
    return bytes(head) + payload + struct.pack("<I", 1) + b"more"


@pytest.mark.parametrize("pack", [lzma.compress, gzip.compress])
def test_the_kernel_inside_is_taken_out(pack: Callable[[bytes], bytes]) -> None:
    """As long as a hypervisor can enter it."""
    assert unpacked(image(pack(elf()))) == elf()


@pytest.mark.parametrize(
    "kernel",
    [
        image(lzma.compress(elf(owner=b"GNU\0"))),
        image(lzma.compress(elf(kind=6))),
        image(lzma.compress(b"no ELF file at all")),
        image(lzma.compress(elf())[:40]),
        image(b"\x02\x21\x4c\x18" + elf()),  # LZ4, as the cloud kernel has it
        image(lzma.compress(elf()), version=0x207),
        image(lzma.compress(elf()), magic=b"none"),
        image(zlib.compress(elf())),
        image(lzma.compress(elf()[:-30])),
        b"",
        b"MZ of another architecture",
    ],
)
def test_any_other_kernel_stays_as_it_is(kernel: bytes) -> None:
    """It boots, a little later."""
    assert unpacked(kernel) == kernel
