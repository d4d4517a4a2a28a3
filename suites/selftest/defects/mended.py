"""Damage past the target that is mended while I/O goes on: a program that runs on the target."""

from __future__ import annotations

import json
from typing import Any

from harness.target.base import storage_path
from harness.testbed import Testbed
from harness.topology import Role
from harness.workload import Area

# What both programs begin with: the blocks of an area, read from what the target keeps of it.
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

# Alters blocks once, as its arguments say, and prints how many it really changed, and when on
# CLOCK_MONOTONIC it was done and mended.
_PROGRAM = """
older = read()
while what["kind"] == "lose" and time.monotonic() < begun + 60 and not all(map(is_written, older)):
    time.sleep(0.5)
    older = read()
for _ in range(60):
    time.sleep(what["wait"])
    newer = read()
    changed = [n for n in range(len(newer)) if newer[n] != older[n] and is_written(older[n])]
    if what["kind"] != "replay" or len(changed) >= what["blocks"]:
        break
if what["kind"] == "swap":
    written = [n for n in range(len(newer)) if is_written(newer[n])]
    one, other = written[0], written[len(written) // 2]
    changed, older[one], older[other] = [one, other], newer[other], newer[one]
changed = changed[:what["blocks"] or len(changed)]
done = time.monotonic()
for n in changed:
    put(n, older[n])
if what["mend"]:
    time.sleep(what["mend"])
    now = read()
    for n in changed:
        if now[n] == older[n]:
            put(n, newer[n])
print(json.dumps({"changed": len(changed), "done": done, "mended": time.monotonic()}))
"""


def damage(
    testbed: Testbed,
    kind: str,
    area: Area,
    *,
    wait_s: float = 0,
    mend_s: float = 0,
    blocks: int = 0,
) -> int:
    """Change blocks of the first LUN behind the target, and say how many there were.

    `lose`: once all were written they are again what they were before `wait_s`; `replay`: the same
    for those that had been written before, once there are as many; `swap`: two change places.
    After `mend_s` those that were not written meanwhile get their right content again. At most
    `blocks` are changed, all if that is 0.
    """
    lun = testbed.topology.luns[0]
    what: dict[str, Any] = {
        "storage": storage_path(testbed.config.target, lun),
        "block": testbed.config.workload.block_size,
        "offset": area.offset,
        "size": area.size,
        "kind": kind,
        "wait": wait_s,
        "mend": mend_s,
        "blocks": blocks,
    }
    argv = ["python3", "-I", "-S", "-c", _BLOCKS + _PROGRAM, json.dumps(what)]
    said = testbed.machine(Role.TARGET).run(argv, timeout_s=61 * wait_s + mend_s + 120).stdout
    return int(json.loads(said)["changed"])


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
    what: dict[str, Any] = {
        "storage": storage_path(testbed.config.target, testbed.topology.luns[0]),
        "block": testbed.config.workload.block_size,
        "offset": area.offset,
        "size": area.size,
        "kind": kind,
        "lasts": lasts_s,
        "count": count,
        "seed": seed,
    }
    argv = ["python3", "-I", "-S", "-c", _BLOCKS + _AGAIN_AND_AGAIN, json.dumps(what)]
    timeout_s = count * (lasts_s + 10) + 60
    said = testbed.machine(Role.TARGET).run(argv, timeout_s=timeout_s).stdout
    return [offset for offset, stayed in json.loads(said) if stayed]
