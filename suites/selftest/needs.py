"""What no package brings: rights, devices, the system of the host. Tests say here what they need.

Only for these reasons may a test of the harness's own be skipped in CI.
"""

import os
import subprocess

ROOT = "needs root"
ROOT_WITH_NAMESPACES = "needs root that may make mount namespaces (CAP_SYS_ADMIN)"
ROOT_WITH_KMSG = "needs root and a writable /dev/kmsg"
BLOCK_DEVICE = "needs a block device"
VLANS = "needs a kernel that has VLANs (8021q)"
STACKED_DEVICES = "needs a kernel that has VLANs, macvlans and bonds"
KVM_DEVICE = "needs a /dev/kvm, though not one that works"
DIRECT_IO = "needs a /var/tmp that takes O_DIRECT"
DEBIAN = "needs a host with Debian, whose release the fresh machine has"

NO_PACKAGE_BRINGS = frozenset(
    {
        *(ROOT, ROOT_WITH_NAMESPACES, ROOT_WITH_KMSG, BLOCK_DEVICE, VLANS, KVM_DEVICE, DIRECT_IO),
        *(STACKED_DEVICES, DEBIAN),
    }
)


def no_namespaces() -> str:
    """Why this process may make no mount namespace; empty if it may, which is tried.

    Raises FileNotFoundError where unshare is missing: every Debian has it (util-linux).
    """
    if os.geteuid() != 0:
        return ROOT
    made = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return ROOT_WITH_NAMESPACES if made.returncode else ""
