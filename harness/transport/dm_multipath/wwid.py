"""One LUN's identity in the forms of the kernel, of udev, of multipath-tools and of device-mapper.

Sources: scsi_vpd_lun_id() in drivers/scsi/scsi_lib.c of the kernel; scsi_id(8),
udev_replace_whitespace() and udev_replace_chars() in systemd; parse_vpd_pg83() in
libmultipath/discovery.c; mangle_string() in libdm.
"""

from __future__ import annotations

import re

# What the kernel's %pE makes of bytes that cannot be printed; of others three octal digits.
_ESCAPES = dict(zip(b"\0\a\x1b\f\n\r\t\v", "0aefnrtv", strict=True))
_UNESCAPED = {letter: chr(byte) for byte, letter in _ESCAPES.items()}
_PRINTABLE = range(0x20, 0x7F)
# All others udev replaces by "_", and libdm by "\xNN".
_OTHER_SIGNS = re.compile(r"[^0-9A-Za-z#+.:=@_-]")


def has_wwid(wwid: str, multipath: str) -> bool:
    """Whether the kernel's form of a WWID and multipath-tools' form mean the same.

    Of a T10 identifier the kernel escapes what cannot be printed, and scsi_id shows a binary one
    in hexadecimal. Of a SCSI name string the kernel shows all, an array's own name perhaps among
    it, in capitals.
    """
    kind, _, text = wwid.partition(".")
    match kind:
        case "naa":
            return multipath == f"3{text.lower()}"
        case "eui":
            return multipath == f"2{text.lower()}"
        case "t10":
            return multipath in _t10_forms(text) or _escaped(multipath.removeprefix("1")) == text
    return False


def _t10_forms(text: str) -> set[str]:
    """What multipathd may have of a T10 identifier that the kernel shows as `text`.

    From udev; by itself, where udev has nothing; and as it is. The first two have no NULs at the
    end, and one "_" for white space between words; udev replaces other signs, too.
    """
    plain = re.sub(r"\\([0-7]{3}|[0aefnrtv])", _unescaped, text).rstrip("\0")
    own = "_".join(f"1{plain}".split())
    return {f"1{text}", text, own, _OTHER_SIGNS.sub("_", own)}


def _unescaped(match: re.Match[str]) -> str:
    said = match[1]
    return _UNESCAPED[said] if said in _UNESCAPED else chr(int(said, 8))


def _escaped(hexadecimal: str) -> str | None:
    """Bytes as %pE prints them, or None if it isn't bytes."""
    try:
        raw = bytes.fromhex(hexadecimal)
    except ValueError:
        return None
    return "".join(
        chr(byte) if byte in _PRINTABLE else "\\" + _ESCAPES.get(byte, f"{byte:03o}")
        for byte in raw
    )


def as_pattern(wwid: str) -> str:
    """The extended regular expression (regex(7)) that fits one WWID, as multipath.conf wants it."""
    return "^" + re.sub(r"[.+]", r"[\g<0>]", wwid) + "$"


def map_name(wwid: str) -> str:
    """What the device mapper calls the map of that WWID; its file in /dev/mapper has this name."""
    return _OTHER_SIGNS.sub(lambda sign: f"\\x{ord(sign[0]):02x}", wwid)
