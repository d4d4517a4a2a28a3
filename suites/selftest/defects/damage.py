"""Damage behind the target's back, to blocks of the first LUN: programs that run on the target."""

from __future__ import annotations

import json
from typing import Any

from harness.target.base import storage_path
from harness.testbed import Testbed
from harness.topology import Role
from harness.workload import Area

_REST_S = 0.5  # fio reads each block back soon after it was written, and is not to find this

# What the programs begin with: the blocks of an area, read from what the target keeps of it.
_BLOCKS = """
import json, os, random, sys, time
what = json.loads(sys.argv[1])
block, offset, size = what["block"], what["offset"], what["size"]
fd = os.open(what["storage"], os.O_RDWR)
begun = time.monotonic()

def read():
    data = os.pread(fd, size, offset)
    return [data[at:at + block] for at in range(0, size, block)]

def put(number, content):
    os.pwrite(fd, content, offset + number * block)

def is_written(content):
    return content[:2] == b"\\xca\\xac"

"""

# Alters blocks once, as its arguments say, and prints the offsets of those that it really changed,
# and that were as it had left them when it mended them, or else at once.
_PROGRAM = """
kind, wanted = what["kind"], what["blocks"]

def torn(old, new):
    half = len(new) // 2
    return new[:half] + (old[half:] if old[half:] != new[half:] else bytes(half))

def altered(old, new):
    makes = {"tear": torn, "blank": lambda _, new: bytes(len(new)),
             "noise": lambda _, new: os.urandom(len(new))}
    return makes[kind](old, new) if kind in makes else old

def candidates(old, new):
    if what["cold"]:
        every = range(len(new))
        return [n for n in every if is_written(new[n])] or list(every)
    legible = new if kind in ("tear", "blank", "noise") else old
    return [n for n in range(len(new)) if new[n] != old[n] and is_written(legible[n])]

older = read()
while kind == "lose" and time.monotonic() < begun + 60 and not all(map(is_written, older)):
    time.sleep(0.5)
    older = read()
for _ in range(60):
    time.sleep(what["wait"])
    newer = read()
    chosen = candidates(older, newer)
    if kind in ("lose", "swap", "misdirect") or len(chosen) >= wanted:
        break
if kind in ("swap", "misdirect"):
    written = [n for n in range(len(newer)) if is_written(newer[n])]
    one, other = written[0], written[len(written) // 2]
    wrong = {other: newer[one]} if kind == "misdirect" else {one: newer[other], other: newer[one]}
else:
    wrong = {n: altered(older[n], newer[n]) for n in chosen[:wanted or None]}
if what["rest"]:
    time.sleep(what["rest"])
    now = read()
    wrong = {n: content for n, content in wrong.items() if now[n] == newer[n]}
wrong = {n: content for n, content in wrong.items() if content != newer[n]}
for n, content in wrong.items():
    put(n, content)
time.sleep(what["mend"])
now = read()
there = [n for n, content in wrong.items() if now[n] == content]
for n in there if what["mend"] else ():
    put(n, newer[n])
print(json.dumps([offset + n * block for n in there]))
"""


def damage(
    testbed: Testbed,
    kind: str,
    area: Area,
    *,
    wait_s: float = 0,
    mend_s: float = 0,
    blocks: int = 0,
    cold: bool = False,
) -> list[int]:
    """Change blocks of the first LUN behind the target, and say where those are that it changed.

    `tear`, `blank` and `noise` are for blocks that were written in the last `wait_s`, or before
    that if they are `cold`, where nobody writes any more: half a block stays as it was before, is
    zero or is by chance. `lose`: once all were written they are again what they were before
    `wait_s`; `replay`: the same for those that had been written before, once there are as many;
    `swap`: two change places; `misdirect`: one is what was written to another.

    After `mend_s` those that were not written meanwhile get their right content again. At most
    `blocks` are changed, all if that is 0.
    """
    fresh = kind in {"tear", "blank", "noise"} and not cold
    what = _blocks_of(testbed, area) | {
        "kind": kind,
        "wait": wait_s,
        "mend": mend_s,
        "blocks": blocks,
        "cold": cold,
        "rest": _REST_S if fresh else 0,
    }
    argv = ["python3", "-I", "-S", "-c", _BLOCKS + _PROGRAM, json.dumps(what)]
    said = testbed.machine(Role.TARGET).run(argv, timeout_s=61 * wait_s + mend_s + 120).stdout
    return [int(at) for at in json.loads(said)]


# Alters blocks again and again, some at a time, and prints of each which it was and whether what it
# made of it was there until it was mended, or to be overwritten.
_AGAIN_AND_AGAIN = """
chance = random.Random(what["seed"])
said = []
while len(said) < what["count"]:
    older = read()
    time.sleep(1)
    newer = read()
    written = [n for n in range(len(newer)) if is_written(older[n]) and is_written(newer[n])]
    changed = [n for n in written if newer[n] != older[n]]
    if what["kind"] == "swap":
        one, other = chance.sample(written, 2)
        wrong = {one: newer[other], other: newer[one]}
    else:
        wrong = {n: older[n] for n in chance.sample(changed, min(2, len(changed)))}
    for n, content in wrong.items():
        put(n, content)
    time.sleep(what["lasts"])
    now = read()
    for n, content in wrong.items():
        stayed = now[n] == content
        if stayed and what["kind"] != "lose":
            put(n, newer[n])
        said.append([offset + n * block, stayed])
print(json.dumps(said))
"""


def damage_again_and_again(
    testbed: Testbed, kind: str, area: Area, *, count: int, lasts_s: float, seed: int
) -> list[int]:
    """Change single blocks of the first LUN behind the target at random moments, and say which.

    `stale`: a block is what it was one write ago, and right again after `lasts_s`. `swap`: two
    blocks are in each other's place for so long. `lose`: a write of the last second is undone, for
    good. Blocks that were written meanwhile do not count, as they were wrong for less time.
    """
    what = _blocks_of(testbed, area) | {
        "kind": kind,
        "lasts": lasts_s,
        "count": count,
        "seed": seed,
    }
    argv = ["python3", "-I", "-S", "-c", _BLOCKS + _AGAIN_AND_AGAIN, json.dumps(what)]
    timeout_s = count * (lasts_s + 10) + 60
    said = testbed.machine(Role.TARGET).run(argv, timeout_s=timeout_s).stdout
    return [offset for offset, stayed in json.loads(said) if stayed]


# Notes the blocks at the first line that it hears; some time after the second it writes those again
# that were written since, and prints the offsets of those that it really changed.
_LATE = """
input()
older = read()
input()
time.sleep(what["late"])
newer = read()
late = [n for n in range(len(newer)) if newer[n] != older[n] and is_written(older[n])]
for n in late:
    put(n, older[n])
now = read()
print(json.dumps([offset + n * block for n in late if now[n] == older[n]]), flush=True)
"""


def late_writes(testbed: Testbed, area: Area, *, late_s: float) -> list[str]:
    """A command for the target that replays writes, so long after the second line that it hears.

    They are those that were there when it heard the first one, and have been overwritten since.
    """
    what = _blocks_of(testbed, area) | {"late": late_s}
    return ["python3", "-I", "-S", "-c", _BLOCKS + _LATE, json.dumps(what)]


def _blocks_of(testbed: Testbed, area: Area) -> dict[str, Any]:
    return {
        "storage": storage_path(testbed.config.target, testbed.topology.luns[0]),
        "block": testbed.config.workload.block_size,
        "offset": area.offset,
        "size": area.size,
    }
