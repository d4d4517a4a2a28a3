"""Other sessions, maps, disks and settings of a machine that a run shares.

Scripts for the array and for the machine of the lab in test_existing.py; each runs once, as root.
"""

from __future__ import annotations

TARGET = "iqn.2026-01.net.lab:vm-disks"
PORTALS = ("fd00:16::1", "fd00:17::1")
# Settings of its own: how often multipathd looks, two sessions for each portal, no scan for disks.
POLLING_S = 10
FIO = "/srv/fio"  # a newer one than the machine's own
FAST_IO_FAIL_S = 7  # of the other array alone; multipath-tools' default is 5

# A second array in the same box, of another vendor, which is served over IPv6.
ON_ARRAY = f"""
set -e
nic() {{ ip -4 -oneline address | awk -v address="$1/" 'index($4, address) == 1 {{ print $2 }}'; }}
ip address add {PORTALS[0]}/64 dev "$(nic 172.16.0.1)" nodad
ip address add {PORTALS[1]}/64 dev "$(nic 172.16.1.1)" nodad
python3 - <<'END'
from glob import glob
from rtslib_fb import FabricModule, FileIOStorageObject, LUN, NetworkPortal, Target, TPG

disk = FileIOStorageObject("vm-disks", "/srv/vm-disks", 64 << 20)
(vendor,) = glob("/sys/kernel/config/target/core/fileio_*/vm-disks/wwn/vendor_id")
with open(vendor, "w") as file:
    file.write("LABCORP")
group = TPG(Target(FabricModule("iscsi"), "{TARGET}"), 1)
for name, value in dict(
    authentication=0, generate_node_acls=1, cache_dynamic_acls=1, demo_mode_write_protect=0
).items():
    group.set_attribute(name, value)
LUN(group, 0, disk)
for portal in {PORTALS!r}:
    NetworkPortal(group, "[" + portal + "]", 3260)
group.enable = True
END
"""

# Kernel side only, as when iscsid dies between a session and its connection: struct iscsi_uevent
# in include/scsi/iscsi_if.h. It stays in state FREE, and has no target's name.
_SESSION_WITHOUT_CONNECTION = """
import socket, struct
NETLINK_ISCSI, CREATE_SESSION = 8, 11
with open("/sys/class/iscsi_transport/tcp/handle") as file:
    handle = int(file.read())
event = struct.pack("=IIQIHH", CREATE_SESSION, 0, handle, 1, 128, 32).ljust(136, b"\\0")
message = struct.pack("=IHHII", 16 + len(event), CREATE_SESSION, 1, 1, 0) + event
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ISCSI)
netlink.bind((0, 0))
netlink.send(message)
netlink.recv(4096)
"""

ON_MACHINE = f"""
set -e
nic() {{ ip -4 -oneline address | awk -v address="$1/" 'index($4, address) == 1 {{ print $2 }}'; }}
ip address add fd00:16::101/64 dev "$(nic 172.16.0.101)" nodad
ip address add fd00:17::101/64 dev "$(nic 172.16.1.101)" nodad
cat >/etc/multipath.conf <<'END'
defaults {{
    find_multipaths  no
    polling_interval {POLLING_S}
}}
devices {{
    device {{
        vendor           "LABCORP"
        product          ".*"
        fast_io_fail_tmo {FAST_IO_FAIL_S}
        no_path_retry    5
    }}
}}
END
systemctl restart multipathd.service
for portal in {" ".join(PORTALS)}; do
  iscsiadm --mode node --targetname {TARGET} --portal "[$portal]:3260" --op new
  iscsiadm --mode node --targetname {TARGET} --portal "[$portal]:3260" --login
done
sed -i 's/^node.session.nr_sessions = .*/node.session.nr_sessions = 2/' /etc/iscsi/iscsid.conf
sed -i 's/^node.session.scan = .*/node.session.scan = manual/' /etc/iscsi/iscsid.conf
python3 - <<'END'
{_SESSION_WITHOUT_CONNECTION}
END
mv /usr/bin/fio {FIO}
printf '#!/bin/sh\\necho fio-3.28\\n' >/usr/bin/fio
chmod 755 /usr/bin/fio
truncate -s 16M /srv/other-disk
mkfs.ext4 -q -F /srv/other-disk
mkdir -p /mnt/other
mount -o loop,errors=continue /srv/other-disk /mnt/other
until [ "$(dmsetup status --target multipath | grep -oE ':[0-9]+ A ' | wc -l)" = 2 ]; do
  sleep 0.5
done
"""

# Waits for the fault, and then lets another map lose a path and another disk show an error.
TROUBLE = """
cat >/srv/trouble <<'END'
until nft list tables | grep -q pathproof_drop; do sleep 0.3; done
map=$(multipath -ll | awk '/LABCORP/ { print $1 }')
disk=$(dmsetup table "$map" | grep -o '[0-9]*:[0-9]*' | head -n 1)
dmsetup message "$map" 0 "fail_path $disk"
loop=$(findmnt --noheadings --output SOURCE /mnt/other)
echo planted >"/sys/fs/ext4/${loop##*/}/trigger_fs_error"
END
setsid -f sh -eu /srv/trouble </dev/null >/srv/trouble.log 2>&1
"""
HAPPENED = "dmesg | grep -E 'Failing path|EXT4-fs error|session[0-9]+: '; cat /srv/trouble.log"
