"""The program that watches from inside a machine.

It runs there by itself: Python 3.6, no imports but the standard library, nothing written to
disk. Its parts are joined when it is sent (`program`), so no two of them have a global name in
common. What it knows of maps is a part that the transport brings.

It ends when its standard input does. Given the path of a UNIX socket it stays instead, and serves
whoever connects, one after another: so it can be saved together with its machine.

It prints one JSON object a line. Samples are held back for a second and printed together, or with
whatever else is printed: each print wakes the programs on its way to the reader, on the very
processor whose I/O is measured. Times are CLOCK_MONOTONIC of the machine, in nanoseconds:

    {"hello": 1}                                                     once, when it is ready
    {"kernel": [seq, level, time, text], "error": 1500}              one record of /dev/kmsg;
                                                                     `error` bounds the time's
    {"lost": 3}                                                      records overwritten unseen
    {"sample": time, "disks": {"sdb": ["  100  0  800 ...", "running"]},    its stat and state
     "maps": {NAME: {"status": "2 0 0 0 1 1 A 0 2 2 8:16 A 0 ...",   each map's status and number
                     "number": "253:0",
                     "where": {"8:16": ["sdb", "1", "172.16.0.1:3260"]}}},
                                                                     its disks: name, number of the
                                                                     session and its origin, both
                                                                     "" if there is none; only
                                                                     with the first sample of those
                                                                     printed together
     "carriers": {"eth1": "1"},
     "nics": {"eth1": "9216 64 0 0 ..."},                        its line of /proc/net/dev
     "changes": {"eth1": "2"},                                   how often its carrier changed
     "beats": {"eth1": 17},                                      frames this program sent there
     "ahead": 1795382272000000000, "cpu": 31000000}              CLOCK_REALTIME minus
                                                                     CLOCK_MONOTONIC; processor
                                                                     time this program has had;
                                                                     both by the first sample of
                                                                     those printed together
    {"pong": 17, "time": ...}                                        answer to {"ping": 17}

Commands, one JSON object a line on standard input: `{"ping": N}`, `{"mark": TEXT}` (written
into the kernel log), `{"watch": {"disks": [...], "maps": [...], "nics": [...], "cables": [...],
"every": TIME}}` (no samples before it; the maps' disks are watched, too; into each of the cables,
by the names of their NICs, a small frame is sent before each sample), `{"rest": true}` (no samples
until it is false),
`{"hold": false}` (each sample at once until it is true), and `{"wake": [TIME, SEED]}`, for a
machine that was saved and is one of many copies now: sets the wall clock to TIME in nanoseconds and
stirs the hexadecimal SEED into the pool of randomness; answered by `{"awake": 1}`. And
`{"read": [DISKS, BYTES]}`: reads the beginning of each disk past every cache; answered by
`{"read": {DISK: digest or error text}}`, the digests good for comparing the disks of one answer.
"""

from __future__ import annotations

from importlib.resources import files

from harness.in_one_piece import joined

# In the order in which they need each other; each is a module of this folder.
PARTS = ("voice", "kernel_log", "devices", "maps", "sampling", "control")


def program(maps: str = "") -> str:
    """Its source in one piece, for `python3 -c`; `maps` is that of the transport's part."""
    folder = files("harness.observe.resident")
    sources = {part: folder.joinpath(f"{part}.py").read_text() for part in PARTS}
    if maps:
        sources["maps"] = maps
    return joined(sources.values())
