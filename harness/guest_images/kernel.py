"""A kernel that does not unpack itself at each boot: under emulation that takes seconds."""

from __future__ import annotations

import lzma
import struct
import zlib

# The header of a bzImage; source: Documentation/arch/x86/boot.rst in Linux.
_MAGIC_AT, _MAGIC = 0x202, b"HdrS"
_VERSION_AT, _SETUP_SECTORS_AT, _PAYLOAD_AT = 0x206, 0x1F1, 0x248
_PAYLOAD_SINCE = 0x208  # the version of the boot protocol that says where the payload is
_SECTOR = 512
_XZ, _GZIP, _ELF64 = b"\xfd7zXZ\0", b"\x1f\x8b", b"\x7fELF\x02\x01"
# Program headers of an ELF file, and the note that says where a hypervisor enters the kernel:
# elf(5); XEN_ELFNOTE_PHYS32_ENTRY in include/xen/interface/elfnote.h in Linux.
_PT_NOTE = 4
_OWNER, _PHYS32_ENTRY = b"Xen\0", 18


def unpacked(kernel: bytes) -> bytes:
    """The kernel inside a bzImage, as an ELF file that QEMU starts directly.

    The file as it is, if it is packed by something else than xz or gzip, or if the kernel has no
    entry for hypervisors (CONFIG_PVH; load_elfboot() in QEMU's hw/i386/x86.c).
    """
    try:
        inside = _unpack(_payload(kernel))
        return inside if _has_entry(inside) else kernel
    except (EOFError, OSError, ValueError, struct.error, lzma.LZMAError, zlib.error):
        return kernel


def _payload(kernel: bytes) -> bytes:
    """What the kernel unpacks. Raises ValueError or struct.error if it is no bzImage."""
    (version,) = struct.unpack_from("<H", kernel, _VERSION_AT)
    magic = kernel[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)]
    if magic != _MAGIC or version < _PAYLOAD_SINCE:
        raise ValueError("no bzImage, or an old one")
    offset, length = struct.unpack_from("<II", kernel, _PAYLOAD_AT)
    start = (kernel[_SETUP_SECTORS_AT] + 1) * _SECTOR + offset
    return kernel[start : start + length]


def _unpack(payload: bytes) -> bytes:
    """Behind the packed kernel is its size, which is not part of it."""
    if payload.startswith(_XZ):
        return lzma.LZMADecompressor().decompress(payload)
    if payload.startswith(_GZIP):
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(payload)
    raise ValueError("packed by something else")


def _has_entry(elf: bytes) -> bool:
    """Whether it has the note. Raises struct.error if it ends too soon."""
    if not elf.startswith(_ELF64):
        return False
    (headers,) = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for number in range(count):
        at = headers + number * size
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", elf, at)
        if kind == _PT_NOTE and _noted(elf[offset : offset + length]):
            return True
    return False


def _noted(notes: bytes) -> bool:
    """Each note: the lengths of owner and content, its type, and both, padded to 4 bytes."""
    at = 0
    while at < len(notes):
        owner, content, kind = struct.unpack_from("<III", notes, at)
        at += 12
        if kind == _PHYS32_ENTRY and notes[at : at + owner] == _OWNER:
            return True
        at += (owner + 3) // 4 * 4 + (content + 3) // 4 * 4
    return False
