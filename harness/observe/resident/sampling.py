"""Samples of all that is watched, taken at a steady pace."""

import os
import time
from functools import partial
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

from harness.observe.resident.devices import Attribute, Heartbeat, Links, decoded
from harness.observe.resident.maps import WatchedMap, where
from harness.observe.resident.voice import Voice, now_ns

HELD_NS = 1_000_000_000


class Sampler:
    """Takes one sample of everything that is watched."""

    def __init__(self, voice: Voice, links: Links) -> None:
        self.voice = voice
        self.links = links
        self.disks: Dict[str, Tuple[Attribute, Attribute]] = {}
        self.counters = Attribute("/proc/net/dev")
        self.hearts: Dict[str, Heartbeat] = {}
        self.maps: List[WatchedMap] = []
        self.interval_ns = 0
        self.due_ns = 0
        self.resting = True
        self.holding = True
        self.held_since_ns = 0
        self.ahead_ns = 0
        self.cpu_ns = 0

    def watch(self, what: Dict[str, Any]) -> None:
        self.close()
        self.disks = {}
        self.follow(what["disks"])
        self.maps = [WatchedMap(name) for name in what["maps"]]
        self.links.watch(what["nics"])
        self.hearts = {nic: Heartbeat(nic) for nic in what["cables"]}
        self.interval_ns = what["every"]
        self.due_ns = now_ns()
        self.resting = False

    def follow(self, disks: Iterable[str]) -> None:
        """Watch these disks from the next sample on, as well."""
        for name in disks:
            if name not in self.disks:
                self.disks[name] = (
                    Attribute("/sys/block/%s/stat" % name),
                    Attribute("/sys/block/%s/device/state" % name),
                )

    def close(self) -> None:
        for stat, state in self.disks.values():
            stat.close()
            state.close()
        self.counters.close()
        for heart in self.hearts.values():
            heart.close()
        for each in self.maps:
            each.close()

    def pause_s(self) -> Optional[float]:
        """Seconds until the next sample is due; None while there are none."""
        return None if self.resting else max(0, self.due_ns - now_ns()) / 1e9

    def sample(self) -> None:
        if self.resting or now_ns() < self.due_ns:
            return
        for heart in self.hearts.values():
            heart.beat()
        now = now_ns()
        nics = self.counters.read() if self.links.nics else b""  # first: the rest may take long
        links = self.links.read()
        self.due_ns = max(self.due_ns + self.interval_ns, now - self.interval_ns)
        held = self.voice.held
        if not held:
            self.held_since_ns = now
            self.ahead_ns = wall_clock_ahead()
            self.cpu_ns = int(time.process_time() * 1e9)
        names = tuple(self.disks)
        stats = [stat.read() for stat, _ in self.disks.values()]
        states = [state.read() for _, state in self.disks.values()]
        maps = [TakenMap(each.name.decode(), each.read(), each.number, {}) for each in self.maps]
        if not held:
            maps = [each._replace(where=where(decoded(each.status))) for each in maps]
        self.follow(place[0] for each in maps for place in each.where.values())
        beats = {nic: heart.sent for nic, heart in self.hearts.items()}
        taken = Taken(
            *(now, stats, states, maps, links, nics, beats),
            *(self.ahead_ns, self.cpu_ns),
        )
        held.append(partial(told, names, tuple(self.links.nics), taken))
        if now >= self.held_since_ns + HELD_NS or not self.holding:
            self.voice.flush()


class TakenMap(NamedTuple):
    """A map as it was read: its status line, its number, and what its disks are."""

    name: str
    status: bytes
    number: int
    where: Dict[str, List[str]]


class Taken(NamedTuple):
    """A sample as it was read. What can be done later is: much is cheaper done at once."""

    at_ns: int
    stats: List[bytes]
    states: List[bytes]
    maps: List[TakenMap]
    links: List[bytes]
    nics: bytes
    beats: Dict[str, int]
    ahead_ns: int
    cpu_ns: int


def told(names: Tuple[str, ...], nics: Tuple[str, ...], taken: Taken) -> Dict[str, Any]:
    """The message of a sample of those disks and NICs."""
    links = list(map(decoded, taken.links))
    texts = zip(map(decoded, taken.stats), map(decoded, taken.states))
    return {
        "sample": taken.at_ns,
        "disks": dict(zip(names, texts)),
        "maps": {
            each.name: {
                "status": decoded(each.status),
                "number": numbered(each.number),
                "where": each.where,
            }
            for each in taken.maps
        },
        "carriers": dict(zip(nics, links)),
        "changes": dict(zip(nics, links[len(nics) :])),
        "nics": counted(taken.nics, nics),
        "beats": taken.beats,
        "ahead": taken.ahead_ns,
        "cpu": taken.cpu_ns,
    }


def numbered(number: int) -> str:
    return "%d:%d" % (os.major(number), os.minor(number)) if number else ""


def counted(table: bytes, nics: Tuple[str, ...]) -> Dict[str, str]:
    """The counters of those NICs, from the text of /proc/net/dev."""
    lines = (line.partition(":") for line in decoded(table).splitlines())
    return {name.strip(): counts for name, _, counts in lines if name.strip() in nics}


def wall_clock_ahead() -> int:
    before = now_ns()
    wall = int(time.time() * 1e9)
    return wall - (before + now_ns()) // 2
