"""Which LUN a disk is, as the disk itself says now: asked past everything that the kernel keeps.

It runs on the initiator, before `keeper.py` in one piece (`harness.workload.programs`): Python 3.6,
no imports but the standard library.

Sources: SPC-4, 7.8.6 (device identification, page 83h) and 7.8.15 (unit serial number, page 80h);
SBC-3, 5.16 (READ CAPACITY (16)); include/scsi/sg.h in the kernel for SG_IO.
"""

import fcntl
import os
import struct
from array import array
from typing import List

SG_IO = 0x2285
SG_HEADER = struct.Struct("@iiBBHIPPPIIiPBBBBHHiII0P")
FROM_DEVICE = -3
SENSE_SIZE = 32
ANSWER_SIZE = 252
TIMEOUT_MS = 5000
INQUIRY, SERVICE_ACTION_IN = 0x12, 0x9E
READ_CAPACITY = 0x10
SERIAL_PAGE, IDENTIFICATION_PAGE = 0x80, 0x83
OF_THE_LUN = 0  # the association of a designator; others are of the port or of the target


def identity(device: str) -> str:
    """What the LUN is called by, its serial number, its last block and the size of one, in words.

    Raises OSError if the device does not answer, or knows no SCSI.
    """
    fd = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
    try:
        names = designators(inquiry(fd, IDENTIFICATION_PAGE))
        serial = inquiry(fd, SERIAL_PAGE)[4:].split(b"\0")[0].decode("ascii", "replace").strip()
        size = ask(fd, bytes([SERVICE_ACTION_IN, READ_CAPACITY, *[0] * 11, 32, 0, 0]))
        last, block = struct.unpack_from(">QI", size)
    finally:
        os.close(fd)
    return "names %s, serial number %s, %d blocks of %d bytes" % (
        " ".join(names) or "none",
        serial or "none",
        last + 1,
        block,
    )


def inquiry(fd: int, page: int) -> bytes:
    """A page of vital product data, as long as it says that it is."""
    answer = ask(fd, bytes([INQUIRY, 1, page, 0, ANSWER_SIZE, 0]))
    return answer[: 4 + int.from_bytes(answer[2:4], "big")]


def designators(page: bytes) -> List[str]:
    """Those of the LUN itself, in hexadecimal and sorted: each path has others of its port."""
    found = []
    at = 4
    while at + 4 <= len(page):
        end = at + 4 + page[at + 3]
        if page[at + 1] >> 4 & 3 == OF_THE_LUN:
            found.append("%x:%s" % (page[at + 1] & 15, page[at + 4 : end].hex()))
        at = end
    return sorted(found)


def ask(fd: int, command: bytes) -> bytes:
    """Send one SCSI command, and give what the device answers. Raises OSError if it refuses."""
    sent, answer = array("B", command), array("B", bytes(ANSWER_SIZE))
    sense = array("B", bytes(SENSE_SIZE))
    header = bytearray(
        SG_HEADER.pack(
            *(ord("S"), FROM_DEVICE, len(command), SENSE_SIZE, 0, ANSWER_SIZE),
            *(answer.buffer_info()[0], sent.buffer_info()[0], sense.buffer_info()[0]),
            *(TIMEOUT_MS, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        )
    )
    fcntl.ioctl(fd, SG_IO, header)
    status, _, _, _, host, driver = SG_HEADER.unpack(header)[13:19]
    if status or host:
        raise OSError("SCSI status %#x, host %#x, driver %#x" % (status, host, driver))
    return answer.tobytes()
