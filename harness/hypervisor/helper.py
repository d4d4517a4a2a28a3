"""The program that libvirt starts to save and to restore a machine: where it is, who brings it.

`bootstrap` looks for the same files and installs the same package; a test holds it to that.
"""

from __future__ import annotations

import os
from glob import glob

NAME = "libvirt_iohelper"
# Debian 12 and 13; distributions with a folder for each architecture; Fedora and its relatives.
PATTERNS = (
    "/usr/lib/libvirt/libvirt_iohelper",
    "/usr/lib/*/libvirt/libvirt_iohelper",
    "/usr/libexec/libvirt_iohelper",
)
# Of Debian 13, and of Debian 12: of these two the first that apt knows.
PACKAGES = ("libvirt-daemon-common", "libvirt-daemon")
PACKAGE = " or ".join(PACKAGES)


def find() -> str | None:
    """Its path; None if there is none that can be run."""
    files = (file for pattern in PATTERNS for file in sorted(glob(pattern)))  # noqa: PTH207  # absolute patterns
    return next((file for file in files if os.access(file, os.X_OK)), None)
