"""iSCSI names of targets and initiators, and which target kind accepts which.

RFC 7143 section 4.2.7 and RFC 3722 give the grammar. The kernel's LIO goes by the
standard's date form (rtslib's `normalize_wwn`), tgt by its characters (seen with tgt 1.0.85); IET
accepts any text, and an array that exists already has the name that it has, and knows initiators
by whatever name they were registered with: capitals mean the same as small letters there, also in
the type. open-iscsi makes a folder of it.
"""

from __future__ import annotations

import re

_STANDARD = re.compile(r"iqn\.\d{4}-(0[1-9]|1[0-2])(\.[a-z0-9-]+)+(:[a-z0-9.:-]+)?")
_STANDARD_SIGNS = "-.:"  # beside letters and digits
_SIGNS = {"iet": "-.:_+@", "external": "-.:_+@"}
_MAX_LENGTH = 223  # bytes, RFC 7143 section 4.2.7.1
_STRICT_KINDS = frozenset({"lio"})
_TYPES = {"external": ("iqn.", "eui.", "naa.")}


def iqn_problem(iqn: str, kind: str) -> str | None:
    """Why a target of this kind would reject `iqn`, or None if it accepts it."""
    if len(iqn.encode()) > _MAX_LENGTH:
        return f"is longer than {_MAX_LENGTH} bytes"
    types = _TYPES.get(kind, ("iqn.",))
    if not (iqn.lower() if kind == "external" else iqn).startswith(types):
        return f"does not begin with {' or '.join(map(repr, types))}"
    if iqn.lower() in types:
        return f"has nothing after {iqn!r}"
    signs = _SIGNS.get(kind, _STANDARD_SIGNS)
    if not all(c in signs or (c.isascii() and c.isalnum()) for c in iqn):
        return f"holds something else than letters and digits of ASCII, and '{signs}'"
    if kind in _STRICT_KINDS and not _STANDARD.fullmatch(iqn):
        return (
            f"is not of the form iqn.yyyy-mm.reversed.domain:name (lower case), which {kind} "
            "insists on; kinds 'iet' and 'tgt' accept it"
        )
    return None
