"""Reserves addresses on networks that others use, once all are free; runs on a guest by itself.

Python 3.6, no imports but the standard library; it takes root.

    python3 arp_probe.py CLAIM

CLAIM is JSON: {"who": TEXT, "nics": {NIC: {ADDRESS: MAC, ...}, ...}}, all addresses of a testbed
with the MAC address that each will have. The NICs are up, and have none of the addresses yet. It
prints one JSON object a line:

    {"used": ADDRESS, "by": MAC, "who": TEXT}   in use, or will be soon; a testbed says who it is
    {"free": true}                              all were free, and are reserved from now on
    {"wanted": TEXT}                            another testbed, which is TEXT, waits for them

Addresses are probed and announced as RFC 5227 says. Testbeds also tell each other who they are, in
frames of their own (IEEE 802's local experimental EtherType), to which others pay no attention. Of
two that probe at once the one with the smaller token goes on. After `free` it answers to other
testbeds until its standard input ends. It does not look for conflicts any more.
"""

import json
import os
import random
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Any, Dict, Iterator, Optional, Set, Tuple

ARP = 0x0806
TESTBEDS = 0x88B5
BROADCAST = b"\xff" * 6
NO_ADDRESS = bytes(4)
REQUEST = 1
HEADER = struct.Struct("!6s6sH")
PACKET = struct.Struct("!HHBBH6s4s6s4s")  # RFC 826, for IPv4 over Ethernet
LONGEST_NAME = 300  # characters of who has an address; a frame has room for the rest, too

# RFC 5227 section 1.1: PROBE_WAIT, PROBE_NUM, PROBE_MIN, ANNOUNCE_WAIT, ANNOUNCE_NUM and _INTERVAL.
LONGEST_START_S = 1.0
PROBES = 3
PROBE_EVERY_S = 1.0
SILENCE_S = 2.0
ANNOUNCEMENTS = 2
ANNOUNCE_EVERY_S = 2.0
AGAIN_S = 2.0


def packed_mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def shown_mac(mac: bytes) -> str:
    return ":".join("%02x" % byte for byte in mac)


def arp(mac: bytes, sender: bytes, asked: bytes) -> bytes:
    """A request for `asked`: a probe by NO_ADDRESS, an announcement if `asked` is the sender."""
    packet = PACKET.pack(1, 0x0800, 6, 4, REQUEST, mac, sender, bytes(6), asked)
    return HEADER.pack(BROADCAST, mac, ARP) + packet


def subject(frame: bytes, own_macs: Set[bytes]) -> Optional[Tuple[bytes, bytes]]:
    """The address that a frame of ARP claims or probes, and by which MAC; None if neither."""
    if len(frame) < HEADER.size + PACKET.size:
        return None
    fields = PACKET.unpack_from(frame, HEADER.size)
    kind, mac, sender, asked = fields[:5], fields[5], fields[6], fields[8]
    if kind[:4] != (1, 0x0800, 6, 4) or mac in own_macs:
        return None
    if sender != NO_ADDRESS:
        return sender, mac
    return (asked, mac) if kind[4] == REQUEST else None


def say(message: Dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class Nic:
    """One NIC: `addresses` are those to have there, with the MAC address of each."""

    def __init__(self, name: str, addresses: Dict[str, str]) -> None:
        self.addresses = {socket.inet_aton(a): packed_mac(mac) for a, mac in addresses.items()}
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP))
        self.socket.bind((name, ARP))
        self.others = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(TESTBEDS))
        self.others.bind((name, TESTBEDS))
        self.mac = self.socket.getsockname()[4]

    def probe(self) -> None:
        for address in self.addresses:
            self.socket.send(arp(self.mac, NO_ADDRESS, address))

    def announce(self) -> None:
        for address, mac in self.addresses.items():
            self.socket.send(arp(mac, address, address))

    def tell(self, message: Dict[str, Any]) -> None:
        about = [socket.inet_ntoa(address) for address in self.addresses]
        macs = [shown_mac(mac) for mac in self.addresses.values()]
        text = json.dumps(dict(message, about=about, macs=macs)).encode()
        self.others.send(HEADER.pack(BROADCAST, self.mac, TESTBEDS) + text)


class Claim:
    """All NICs, and what was heard in this round: address -> (MAC, who)."""

    def __init__(self, who: str, nics: Dict[str, Dict[str, str]]) -> None:
        self.who = who
        self.token = os.urandom(8).hex()
        self.nics = [Nic(name, addresses) for name, addresses in nics.items()]
        self.own_macs = {mac for nic in self.nics for mac in (nic.mac, *nic.addresses.values())}
        self.held = False
        self.over = False
        self.used: Dict[str, Tuple[str, str]] = {}
        self.yielding: Set[str] = set()  # MAC addresses of testbeds that yield to this one

    def tell(self, nic: Nic, asks: bool) -> None:
        nic.tell(
            {"who": self.who[:LONGEST_NAME], "token": self.token, "held": self.held, "asks": asks}
        )

    def listen(self, seconds: float) -> None:
        """Hear what comes within that time; until standard input ends, if that is earlier."""
        until = time.monotonic() + seconds
        while not self.over:
            left = until - time.monotonic()
            if left <= 0:
                return
            sockets = [s.fileno() for nic in self.nics for s in (nic.socket, nic.others)]
            readable = select.select([0, *sockets], [], [], left)[0]
            for nic in self.nics:
                # A NIC that is taken down says so once by an error; when it is up, it goes on.
                if nic.others.fileno() in readable:  # first, since it says who the others are
                    with suppress(OSError):
                        self.hear_testbed(nic, nic.others.recv(65536))
                if nic.socket.fileno() in readable:
                    with suppress(OSError):
                        self.hear_arp(nic, nic.socket.recv(65536))
            if 0 in readable and not os.read(0, 65536):
                self.over = True

    def hear_arp(self, nic: Nic, frame: bytes) -> None:
        found = subject(frame, self.own_macs)
        if found is None or found[0] not in nic.addresses:
            return
        address, mac = socket.inet_ntoa(found[0]), shown_mac(found[1])
        if mac not in self.yielding:
            self.used.setdefault(address, (mac, ""))

    def hear_testbed(self, nic: Nic, frame: bytes) -> None:
        try:
            said = json.loads(frame[HEADER.size :].rstrip(b"\0").decode())
            token, who, held, asks = said["token"], said["who"], said["held"], said["asks"]
            about = set(said["about"]) & {socket.inet_ntoa(one) for one in nic.addresses}
            macs = [*said["macs"], shown_mac(frame[6:12])]
            stronger = bool(held) or str(token) < self.token
        except (ValueError, KeyError, TypeError):  # others send what they like
            return
        if token == self.token or not about:
            return
        if self.held and asks:
            say({"wanted": str(who)})
        if self.held or not stronger:
            self.yielding.update(macs)
        else:
            for address in about:
                self.used[address] = (macs[0], str(who))
        if asks:
            self.tell(nic, asks=False)

    def have(self) -> Iterator[Dict[str, Any]]:
        """Probe until all addresses are free, then announce them; what is to be printed."""
        while not self.over:
            self.used.clear()
            self.yielding.clear()
            self.listen(random.uniform(0, LONGEST_START_S))
            for _ in range(PROBES):
                for nic in self.nics:
                    self.tell(nic, asks=True)
                    nic.probe()
                self.listen(PROBE_EVERY_S)
                if self.used:
                    break
            else:
                self.listen(SILENCE_S)
            if not self.used:
                break
            for address, (mac, who) in self.used.items():
                yield {"used": address, "by": mac, "who": who}
            self.listen(AGAIN_S)
        if self.over:
            return
        self.held = True
        yield {"free": True}
        for _ in range(ANNOUNCEMENTS):
            for nic in self.nics:
                with suppress(OSError):  # a NIC that is down just then
                    nic.announce()
            self.listen(ANNOUNCE_EVERY_S)


def main() -> None:
    claim = Claim(**json.loads(sys.argv[1]))
    for message in claim.have():
        say(message)
    while not claim.over:
        claim.listen(3600.0)


if __name__ == "__main__":
    main()
