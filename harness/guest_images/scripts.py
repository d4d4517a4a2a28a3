"""The shell scripts of an image build, and the first process of a guest.

Those that get a root directory as `$1` run as root of the build's user namespace.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

PACKAGES = ("busybox-static",)  # the scripts below and the guest's initrd are made of it

INIT = """\
#!/bin/busybox sh
# First process of a guest: loads the drivers of its disk and NICs, then starts its system.
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
while read -r module; do
    /bin/busybox insmod "$module" || echo "pathproof: $module does not load"
done </modules
root=
init=/sbin/init
read -r cmdline </proc/cmdline
for word in $cmdline; do
    case $word in
    root=*) root=${word#root=} ;;
    init=*) init=${word#init=} ;;
    esac
done
tries=0
until [ -b "$root" ]; do
    tries=$((tries + 1))
    [ $tries -lt 3000 ] || { echo "pathproof: no root device '$root'"; exit 1; }
    /bin/busybox usleep 10000
done
/bin/busybox mount -t ext4 "$root" /root || { echo "pathproof: cannot mount $root"; exit 1; }
for directory in dev proc sys; do /bin/busybox mount --move /$directory /root/$directory; done
exec /bin/busybox switch_root /root "$init"
"""

# What runs at boot is decided by the definition, not by maintainer scripts; the host keys
# and apt settings of the build must not stay.
CLEAN = """\
set -eu
rm -rf "$1"/etc/systemd/system/*.wants "$1"/etc/ssh/ssh_host_*
rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/resolv.conf
: >"$1"/etc/machine-id
mkdir -p "$1"/root/.ssh
chmod 0700 "$1"/root/.ssh
"""

# $1 root, $2 disk, $3 kernel, $4 initrd (all three exist and are writable), from $5 on modules
PACK = """\
set -eu
root=$1 disk=$2 kernel=$3 initrd=$4
shift 4
version=$(ls "$root/lib/modules" | sort -V | tail -n 1)
[ -n "$version" ] || { echo "E: the image has no kernel modules" >&2; exit 1; }
cat "$root/boot/vmlinuz-$version" >"$kernel"
tree=$root/tmp/initrd
mkdir -p "$tree/bin" "$tree/dev" "$tree/proc" "$tree/sys" "$tree/root"
cp "$root/bin/busybox" "$tree/bin/"
printf %s "$PATHPROOF_INIT" >"$tree/init"
chmod 0755 "$tree/init"
: >"$tree/modules"
for module in "$@"; do
    chroot "$root" modprobe --set-version "$version" --show-depends "$module"
done >"$root/tmp/needed"
while read -r verb file rest; do
    name=/${file##*/}
    [ "$verb" = insmod ] && [ ! -e "$tree$name" ] || continue
    cp "$root$file" "$tree$name"
    echo "$name" >>"$tree/modules"
done <"$root/tmp/needed"
chroot "$root" sh -c 'cd /tmp/initrd && find . | busybox cpio -o -H newc 2>/dev/null' >"$initrd"
rm -rf "$tree" "$root/tmp/needed"
mkfs.ext4 -q -F -L pathproof -m 0 -d "$root" "$disk"
"""


def try_packages(packages: Sequence[str]) -> str:
    """A script that fails at once if `packages` cannot be installed together.

    Without it, mmdebstrap finds out only after the base system is installed. The index is
    there because the merged-usr hook, which runs before, has fetched it.
    """
    return (
        'said=$(env --chdir="$1" APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"'
        f" apt-get --simulate --quiet --yes install -- {shlex.join(packages)} 2>&1)"
        ' || { printf "%s\\n" "$said"; exit 1; }\n'
    )


def settle(enable: Sequence[str], mask: Sequence[str], generators: Sequence[str]) -> str:
    """A script for the root given as `$1`: `enable` starts at boot, `mask` never."""
    lines = ["set -eu", "root=$1"]
    if mask:
        lines.append(f'chroot "$root" systemctl --quiet mask -- {shlex.join(mask)}')
    if enable:
        lines.append(f'chroot "$root" systemctl --quiet enable -- {shlex.join(enable)}')
    if generators:
        lines.append('mkdir -p "$root"/etc/systemd/system-generators')
        lines.append(f"for generator in {shlex.join(generators)}; do")
        lines.append('    ln -sfn /dev/null "$root/etc/systemd/system-generators/$generator"')
        lines.append("done")
    # Once now instead of on every boot, where it would race with whoever logs in first.
    lines.append('chroot "$root" systemd-tmpfiles --create --prefix=/etc --prefix=/var')
    return "\n".join(lines) + "\n"
