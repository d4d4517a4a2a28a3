"""Whether frames of full size pass to an address and back in one piece; runs on the initiator.

Python 3.6, no imports but the standard library; it takes root.

    python3 echo.py PROBES

PROBES is JSON: [[DEVICE, ADDRESS, SIZE], ...], SIZE being that of the IP packet in bytes, headers
included. Each address is sent a small echo request and one of that size, which must not be cut into
fragments, as by `ping -M do -s`. It prints one JSON object a line:

    {"device": DEVICE, "address": ADDRESS, "answer": ANSWER}

    whole       the answer had that size, and came as one packet
    fragments   the answer had that size, and came in pieces: ping(8) would not tell
    lost        small ones are answered, and that one is not
    too large   this machine's own MTU does not let it out
    silent      small ones are not answered either

Sources: ip(7) for IP_MTU_DISCOVER, packet(7), RFC 792, RFC 4443.
"""

import json
import os
import socket
import struct
import sys
import threading
import time
from typing import Any, Optional

TRIES = 3
ANSWER_S = 1.0
SMALL = 84
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, DO = 10, 23, 2
IPV4, IPV6 = 0x0800, 0x86DD
ICMP, ICMPV6, FRAGMENT = 1, 58, 44
ICMP_HEADER = struct.Struct("!BBHHH")


def checksum(data: bytes) -> int:
    """RFC 1071; `data` has an even length."""
    total = 0  # type: int
    for (word,) in struct.iter_unpack("!H", data):
        total += word
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Probe:
    """Echo requests from one device to one address."""

    def __init__(self, device: str, address: str, size: int) -> None:
        self.device, self.address, self.size = device, address, size
        self.v6 = ":" in address
        family = socket.AF_INET6 if self.v6 else socket.AF_INET
        protocol = ICMPV6 if self.v6 else ICMP
        self.packed = socket.inet_pton(family, address)
        self.id = struct.unpack("!H", os.urandom(2))[0]
        self.out = socket.socket(family, socket.SOCK_RAW, protocol)
        self.out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        if self.v6:
            self.out.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, DO)
        else:
            self.out.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, DO)
        # What a raw socket of IP is given was put together again; frames show the pieces.
        kind = IPV6 if self.v6 else IPV4
        self.seen = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(kind))
        self.seen.bind((device, kind))

    def request(self, size: int) -> bytes:
        """An echo request that makes an IP packet of `size` bytes; the kernel adds its header."""
        body = bytes((size - (40 if self.v6 else 20) - ICMP_HEADER.size) // 2 * 2)
        kind = 128 if self.v6 else 8
        header = ICMP_HEADER.pack(kind, 0, 0, self.id, size)
        if self.v6:
            return header + body  # the kernel fills in the checksum: RFC 3542 section 3.1
        return ICMP_HEADER.pack(kind, 0, checksum(header + body), self.id, size) + body

    def answer_to(self, size: int) -> str:
        """How the request of that size is answered: whole, fragments, too large, or ""."""
        packet = self.request(size)
        for _ in range(TRIES):
            try:
                self.out.sendto(packet, (self.address, 0))
            except OSError as error:
                if error.errno == 90:  # EMSGSIZE
                    return "too large"
            until = time.monotonic() + ANSWER_S
            while time.monotonic() < until:
                self.seen.settimeout(max(0.01, until - time.monotonic()))
                try:
                    frame = self.seen.recv(65536)
                except OSError:  # a timeout, or the device went down
                    break
                said = self.read6(frame, size) if self.v6 else self.read4(frame, size)
                if said:
                    return said
        return ""

    def read4(self, packet: bytes, size: int) -> Optional[str]:
        if len(packet) < 28 or packet[9] != ICMP or packet[12:16] != self.packed:
            return None
        start = (packet[0] & 15) * 4
        pieces = struct.unpack_from("!H", packet, 6)[0]
        if pieces & 0x1FFF:
            return None  # not the first piece, and so without a header of ICMP
        if not self.is_answer(packet, start, 0, size):
            return None
        return "fragments" if pieces & 0x2000 else "whole"

    def read6(self, packet: bytes, size: int) -> Optional[str]:
        if len(packet) < 56 or packet[8:24] != self.packed:
            return None
        if packet[6] == FRAGMENT:
            first = struct.unpack_from("!H", packet, 42)[0] >> 3 == 0
            cut = packet[40] == ICMPV6 and first and self.is_answer(packet, 48, 129, size)
            return "fragments" if cut else None
        return "whole" if packet[6] == ICMPV6 and self.is_answer(packet, 40, 129, size) else None

    def is_answer(self, packet: bytes, start: int, kind: int, size: int) -> bool:
        if len(packet) < start + ICMP_HEADER.size:
            return False
        found = ICMP_HEADER.unpack_from(packet, start)
        return (found[0], found[3], found[4]) == (kind, self.id, size)

    def run(self, answers: Any) -> None:
        answer = "silent"
        if self.answer_to(SMALL):
            answer = self.answer_to(self.size) or "lost"
        answers.append({"device": self.device, "address": self.address, "answer": answer})


def main() -> None:
    answers = []  # type: Any
    probes = [Probe(*one) for one in json.loads(sys.argv[1])]
    threads = [threading.Thread(target=probe.run, args=(answers,)) for probe in probes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
