"""Gives tgtd its accounts, over its own socket; runs on the target by itself, Python 3.6.

`tgtadm` takes a password as an argument, where everybody on the machine can see it. Standard
input has an account a line, its name, a blank and its secret. tgtd's refusal ends it with a
reason that has the name only.

Source: struct tgtadm_req and tgtadm_rsp in usr/tgtadm.h, account_mgmt() in usr/mgmt.c of tgt.
"""

import os
import socket
import struct
import sys

SOCKET = os.environ.get("TGT_IPC_SOCKET", "/var/run/tgtd/socket") + ".0"
OP_NEW = 0
MODE_ACCOUNT = 7
# mode, op, lld, len, tid, sid, lun, cid, host_no, device_type, ac_dir, pack, force
REQUEST = struct.Struct("@ii64sIiQQIIIIII")
RESPONSE = struct.Struct("@II")  # err, len


def add(user: str, secret: str) -> int:
    """Add an account. Returns tgtd's error number, 0 for success."""
    text = f"user={user},password={secret}".encode() + b"\0"
    size = REQUEST.size + len(text)
    head = REQUEST.pack(MODE_ACCOUNT, OP_NEW, b"iscsi", size, *[0] * 9)
    with socket.socket(socket.AF_UNIX) as tgtd:
        tgtd.connect(SOCKET)
        tgtd.sendall(head + text)
        answer = tgtd.recv(RESPONSE.size, socket.MSG_WAITALL)
    error, _ = RESPONSE.unpack(answer)
    return int(error)


def main() -> None:
    """Add every account."""
    for line in sys.stdin:
        user, secret = line.split()
        error = add(user, secret)
        if error:
            sys.exit(f"tgtd refuses the account {user}: error {error}")


if __name__ == "__main__":
    main()
