"""Who answers ARP for an address, and which NICs hear each other; runs on the initiator.

Python 3.6, no imports but the standard library; it takes root.

    python3 arp.py ASKED

ASKED is JSON: [[DEVICE, OWN, ADDRESS], ...], where OWN is an address of DEVICE. Each ADDRESS is
asked for on its DEVICE three times. It prints one JSON object:

    {"asked": [[DEVICE, ADDRESS], ...], "answers": [[DEVICE, ADDRESS, MAC], ...],
     "heard": [[FROM, ON], ...]}

which has what could be asked for, as a DEVICE may be missing, down or none of Ethernet; each MAC
address that answered; and each device ON which arrived what another one, FROM, had sent.

Sources: RFC 826, packet(7).
"""

import json
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Any, Dict, List, Set, Tuple

ARP = 0x0806
ETHERNET = 1  # linux/if_arp.h
BROADCAST = b"\xff" * 6
REQUEST, REPLY = 1, 2
HEADER = struct.Struct("!6s6sH")
PACKET = struct.Struct("!HHBBH6s4s6s4s")  # RFC 826, for IPv4 over Ethernet
TIMES = 3
EVERY_S = 0.5


def shown_mac(mac: bytes) -> str:
    return ":".join("%02x" % byte for byte in mac)


class Nic:
    """A device; `asked` are the addresses to ask for, each with the device's own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: List[Tuple[bytes, bytes]] = []
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP))
        self.socket.bind((name, ARP))
        kind, self.mac = self.socket.getsockname()[3:5]
        if kind != ETHERNET:
            raise OSError("not Ethernet")

    def ask(self) -> List[bytes]:
        """The addresses that were asked for. OSError if the device is down."""
        for own, address in self.asked:
            packet = PACKET.pack(1, 0x0800, 6, 4, REQUEST, self.mac, own, bytes(6), address)
            self.socket.send(HEADER.pack(BROADCAST, self.mac, ARP) + packet)
        return [address for _, address in self.asked]


class Asking:
    """All devices, and what was heard so far."""

    def __init__(self, asked: List[List[str]]) -> None:
        self.nics: Dict[str, Nic] = {}
        for device, own, address in asked:
            with suppress(OSError):  # no such device, or none of Ethernet
                nic = self.nics.get(device) or Nic(device)
                self.nics[device] = nic
                nic.asked.append((socket.inet_aton(own), socket.inet_aton(address)))
        self.asked: Set[Tuple[str, str]] = set()
        self.answers: Set[Tuple[str, str, str]] = set()
        self.heard: Set[Tuple[str, str]] = set()

    def ask(self) -> None:
        for nic in self.nics.values():
            with suppress(OSError):
                self.asked.update((nic.name, socket.inet_ntoa(address)) for address in nic.ask())

    def hear(self, on: Nic, frame: bytes) -> None:
        if len(frame) < HEADER.size + PACKET.size:
            return
        fields = PACKET.unpack_from(frame, HEADER.size)
        kind, mac, sender = fields[4], fields[5], fields[6]
        if fields[:4] != (1, 0x0800, 6, 4) or mac == on.mac:
            return
        if kind == REPLY and sender in [address for _, address in on.asked]:
            self.answers.add((on.name, socket.inet_ntoa(sender), shown_mac(mac)))
        for nic in self.nics.values():
            if kind == REQUEST and mac == nic.mac:
                self.heard.add((nic.name, on.name))

    def listen(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            if left <= 0:
                return
            sockets = {nic.socket.fileno(): nic for nic in self.nics.values()}
            for readable in select.select(list(sockets), [], [], left)[0]:
                nic = sockets[readable]
                with suppress(OSError):  # it went down
                    self.hear(nic, nic.socket.recv(65536))


def main() -> None:
    asking = Asking(json.loads(sys.argv[1]))
    for _ in range(TIMES):
        asking.ask()
        asking.listen(EVERY_S)
    said: Any = {"answers": sorted(asking.answers), "heard": sorted(asking.heard)}
    sys.stdout.write(json.dumps({"asked": sorted(asking.asked), **said}) + "\n")


if __name__ == "__main__":
    main()
