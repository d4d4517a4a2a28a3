"""Commands, and whoever gives them: standard input, or a UNIX socket.

Source of what stirs the pool of randomness: random(4).
"""

import fcntl
import json
import mmap
import os
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Any, Dict, Union

from harness.observe.resident.devices import Links
from harness.observe.resident.kernel_log import KernelLog
from harness.observe.resident.sampling import Sampler
from harness.observe.resident.voice import Voice, now_ns

RNDADDENTROPY = (1 << 30) | (8 << 16) | (ord("R") << 8) | 3
RNDRESEEDCRNG = (ord("R") << 8) | 7


def obey(command: Dict[str, Any], voice: Voice, log: KernelLog, sampler: Sampler) -> None:
    if "ping" in command:
        voice.say({"pong": command["ping"], "time": now_ns()})
    elif "mark" in command:
        log.mark(command["mark"])
    elif "watch" in command:
        sampler.watch(command["watch"])
    elif "rest" in command:
        sampler.resting = command["rest"]
        voice.flush()
    elif "hold" in command:
        sampler.holding = command["hold"]
    elif "wake" in command:
        wall_ns, seed = command["wake"]
        wake(wall_ns, bytes.fromhex(seed))
        voice.say({"awake": 1})
    elif "read" in command:
        disks, size = command["read"]
        voice.say({"read": {disk: read_directly(disk, size) for disk in disks}})


def wake(wall_ns: int, seed: bytes) -> None:
    time.clock_settime(time.CLOCK_REALTIME, wall_ns / 1e9)
    with open("/dev/urandom", "wb") as pool:
        counts = struct.pack("=ii", 8 * len(seed), len(seed))
        fcntl.ioctl(pool, RNDADDENTROPY, counts + seed)
        fcntl.ioctl(pool, RNDRESEEDCRNG)


def read_directly(disk: str, size: int) -> Union[int, str]:
    try:
        descriptor = os.open("/dev/" + disk, os.O_RDONLY | os.O_DIRECT)
        try:
            with mmap.mmap(-1, size) as aligned:
                if os.readv(descriptor, [aligned]) != size:
                    return "shorter than %d bytes" % size
                return hash(aligned[:])
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.strerror or repr(error)


def watch() -> None:
    voice = Voice()
    log = KernelLog(voice)
    links = Links()
    sampler = Sampler(voice, links)
    voice.say({"hello": 1})
    try:
        listen(voice, log, sampler)
    finally:
        log.close()
        links.close()
        sampler.close()


def listen(voice: Voice, log: KernelLog, sampler: Sampler) -> None:
    links = sampler.links
    commands = b""
    while True:
        ready = select.select([0, log.fd, links.fd], [], [], sampler.pause_s())[0]
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, commands = (commands + data).split(b"\n")
            for line in lines:
                obey(json.loads(line), voice, log, sampler)
        if log.fd in ready:
            log.drain()
        if links.fd in ready:
            links.drain()
            sampler.due_ns = now_ns()
        sampler.sample()


def serve(path: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    while True:
        connection = listener.accept()[0]
        for descriptor in (0, 1):
            os.dup2(connection.fileno(), descriptor)
        connection.close()
        # A new one, with nothing unsent of the last connection.
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  # the descriptor stays
        with suppress(OSError):  # whoever was connected has gone away
            watch()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        watch()
