"""POSIX extended regular expressions, as the C library has them: regcomp(3)."""

from __future__ import annotations

import ctypes
from functools import cache

_REG_EXTENDED = 1  # glibc's and musl's regex.h
_REGEX_T_SIZE = 1024  # ample: 64 bytes in glibc


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def found_in(pattern: str, text: str) -> bool:
    r"""Whether a text has something that matches; never if the pattern is not a valid one.

    Python's `re` differs in both ways: it knows no `[[:digit:]]`, and takes `\d` for a digit.
    """
    compiled = ctypes.create_string_buffer(_REGEX_T_SIZE)
    libc = _libc()
    if libc.regcomp(compiled, pattern.encode(), _REG_EXTENDED) != 0:
        return False
    try:
        return bool(libc.regexec(compiled, text.encode(), 0, None, 0) == 0)
    finally:
        libc.regfree(compiled)
