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
from contextlib import suppress
from typing import List

SG_IO = 0x2285
SG_HEADER = struct.Struct("@iiBBHIPPPIIiPBBBBHHiII0P")
FROM_DEVICE = -3
SENSE_SIZE = 32
UNTOLD = "?"
ANSWER_SIZE = 252
TIMEOUT_MS = 5000
INQUIRY, SERVICE_ACTION_IN = 0x12, 0x9E
READ_CAPACITY = 0x10
SERIAL_PAGE, IDENTIFICATION_PAGE = 0x80, 0x83
OF_THE_LUN = 0  # the association of a designator; others are of the port or of the target
NAMES = (1, 2, 3, 8)  # T10 vendor ID, EUI-64, NAA and SCSI name string: kinds that name a LUN


def identity(device: str) -> List[str]:
    """What the LUN is called by, its serial number, and its size: UNTOLD what it does not tell.

    Raises OSError if the device tells neither names nor a serial number.
    """
    fd = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
    try:
        names = designators(known(fd, inquiry_for(IDENTIFICATION_PAGE)))
        serial = known(fd, inquiry_for(SERIAL_PAGE))[4:].split(b"\0")[0]
        size = known(fd, bytes([SERVICE_ACTION_IN, READ_CAPACITY, *[0] * 11, 32, 0, 0]))
        if not (names or serial):
            ask(fd, inquiry_for(IDENTIFICATION_PAGE))  # says why
    finally:
        os.close(fd)
    last, block = struct.unpack_from(">QI", size.ljust(12, b"\0"))
    return [
        "names %s" % " ".join(names) if names else UNTOLD,
        "serial number %s" % ascii(serial.decode("latin-1").strip()) if serial else UNTOLD,
        "%d blocks of %d bytes" % (last + 1, block) if block else UNTOLD,
    ]


def known(fd: int, command: bytes) -> bytes:
    """What the device answers, if it does. A unit attention is over once it was told."""
    with suppress(OSError):
        return ask(fd, command)
    with suppress(OSError):
        return ask(fd, command)
    return b""


def inquiry_for(page: int) -> bytes:
    """The command that asks for a page of vital product data."""
    return bytes([INQUIRY, 1, page, 0, ANSWER_SIZE, 0])


def designators(page: bytes) -> List[str]:
    """Those of the LUN itself, in hexadecimal and sorted: each path has others of its port.

    Some arrays call those of a port the LUN's, so only the kinds that name a LUN count. One that is
    cut off counts as none.
    """
    found = []
    at, until = 4, min(len(page), 4 + int.from_bytes(page[2:4], "big"))
    while at + 4 <= until:
        end = at + 4 + page[at + 3]
        of_lun = page[at + 1] >> 4 & 3 == OF_THE_LUN and page[at + 1] & 15 in NAMES
        if of_lun and end <= until:
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
