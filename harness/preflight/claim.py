"""What is on a LUN, and marking it as Pathproof's: the only code that writes before fio."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any
from uuid import uuid4

from harness.errors import CommandTimedOut, InitiatorError, PreflightFailed, Problem, TimedOut
from harness.machine import Completed, Machine, Process
from harness.preflight import marker
from harness.preflight.consent import Answer, Asked, Contents, Scan, Signature, decide
from harness.preflight.marker import Marker, NoMarker
from harness.preflight.unmapped import Extent, samples, to_read, unmapped
from harness.steps import Spent, attach, progress, step
from harness.transport import Attachment, PathDisk
from harness.units import format_seconds, format_size

_LOOK_TIMEOUT_S = 60.0
_LOOK_INTERVAL_S = 0.5
_SILENCE_S = 120.0  # longer than the kernel's own patience with a disk, and that of path checkers


class _Reading:
    """What the reader says, line by line."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = {}
        self.heard_at = time.monotonic()

    def hear(self, line: bytes) -> None:
        if line.endswith(b"\n"):  # else it was cut off, and the reader's end says why
            self.said |= json.loads(line)
        self.heard_at = time.monotonic()

    def __getitem__(self, name: str) -> Any:
        return self.said.get(name)


def claim(attachment: Attachment, asked: Asked) -> Answer:
    """Make sure that the attached LUN may be written to, and that all its paths lead to it.

    All is found out over the first path, and the marker is written over it alone: whether the
    others lead to the same LUN is known only when they show what was written there. Raises
    PreflightFailed, with nothing written, if the LUN must not be written to; and after writing
    the marker, if a path leads elsewhere.
    """
    machine, wwid = attachment.machine, attachment.wwid
    planned = attachment.paths()
    paths = [path.disk for path in planned]
    with step("May the LUN be written to?", Spent.PROVISIONING):
        found = look(attachment, paths[0])
        decision = decide(asked, found)
        if decision.answer is Answer.PROVE:
            scan = read_in_full(attachment, paths[0], found.size)
            # Hours may have gone by.
            found = replace(look(attachment, paths[0]), scan=scan)
            decision = decide(asked, found)
        attach("what is on the LUN", _described(found, decision.answer))
    if not decision.answer.permits:
        raise PreflightFailed(decision.problems)
    if (now := attachment.paths()) != planned:
        raise PreflightFailed(
            [
                Problem(
                    f"while it was looked at, the paths to {wwid} became {_listed(now)}, from "
                    f"{_listed(planned)}",
                    "nothing was written; make sure that nothing changes them, and run it again",
                )
            ]
        )
    with step(f"Mark the LUN: {decision.answer}", Spent.PROVISIONING):
        mark(machine, Marker(uuid4(), wwid, found.size), paths)
        if decision.answer is Answer.ERASE:
            _forget_cached(machine, attachment.device)
            machine.run(["wipefs", "--all", "--quiet", attachment.device])
    return decision.answer


def look(attachment: Attachment, path: str) -> Contents:
    """What there is to see without reading all of it."""
    machine, wwid = attachment.machine, attachment.wwid
    reading = _read(attachment, path, ())
    found, no_marker = None, ""
    try:
        found = marker.unpack(bytes.fromhex(reading["head"]))
    except NoMarker as reason:
        no_marker = str(reason)
    _forget_cached(machine, _disk(path))
    answer = machine.run(["wipefs", "--no-act", "--json", _disk(path)], timeout_s=_LOOK_TIMEOUT_S)
    return Contents(
        wwid=wwid,
        size=reading["size"],
        marker=found,
        no_marker=no_marker,
        signatures=parse_signatures(answer.stdout),
        uses=(*_holders(wwid, reading["held"]), *_registered(machine, path, wwid)),
    )


def _holders(wwid: str, why_not: str | None) -> Iterator[Problem]:
    """Who uses the LUN on this machine."""
    if why_not:
        yield Problem(
            f"the map of {wwid} cannot be opened exclusively: {why_not}",
            "a program uses it: `lsblk` or `fuser -v` may say which",
        )


def _registered(machine: Machine, path: str, wwid: str) -> Iterator[Problem]:
    """Who uses the LUN on other machines, as far as the target knows: clusters register keys."""
    argv = ["sg_persist", "--in", "--read-keys", _disk(path)]
    # Not every target knows the command, nor every machine the tool.
    said = machine.sh(shlex.join(argv), timeout_s=_LOOK_TIMEOUT_S, check=False)
    if said.status == 0 and (keys := parse_keys(said.stdout)):
        yield Problem(
            f"the LUN {wwid} has persistent reservation keys: {', '.join(keys)}",
            "a cluster or another host uses it; if none does, register a key and "
            "`sg_persist --out --clear` with it",
        )


def parse_keys(text: str) -> list[str]:
    """Each key once, from `sg_persist --in --read-keys`, sg_persist(8).

    Real output, abridged:

        PR generation=0x2, 2 registered reservation keys follow:
          0xabc
          0xabc
    """
    return list(dict.fromkeys(re.findall(r"^\s+(0x[0-9a-f]+)$", text, re.MULTILINE)))


def _forget_cached(machine: Machine, device: str) -> None:
    """Drop a device from the cache, so that the next read sees what is on it.

    wipefs reads through the page cache. That of a path still has what udev read when it logged
    in, whatever was written over the map since.
    """
    machine.run(["blockdev", "--flushbufs", device], timeout_s=_LOOK_TIMEOUT_S)


def parse_signatures(text: str) -> tuple[Signature, ...]:
    """Signatures from `wipefs --json`, util-linux 2.31 or later. Raises InitiatorError.

    Real output, abridged: `{"signatures": [{"device": "sda", "offset": "0x438", "type": "ext4",
    "uuid": "dc9a5788-…", "label": "data"}]}`
    """
    if not text.strip():  # nothing was found, and the exit status says that it was looked for
        return ()
    try:
        return tuple(
            Signature(one["type"], int(one["offset"], 16), one.get("label") or "")
            for one in json.loads(text)["signatures"]
        )
    except (ValueError, KeyError, TypeError) as error:  # JSON of another shape
        raise InitiatorError(f"wipefs lists no signatures ({error!r}): {text[:200]!r}") from None


def read_in_full(attachment: Attachment, path: str, size: int) -> Scan:
    """Read a LUN until a byte is not zero. What was never written is not read, but for samples.

    At 1 GB/s 10 TB take three hours; the progress says how long it will be.
    """
    holes = unmapped(attachment.machine, _disk(path), size)
    extents = tuple(to_read(size, holes))
    wanted = _total(extents)
    spared = _total(holes) - sum(_total(samples(hole)) for hole in holes)
    with step(f"Read {format_size(wanted)} of {format_size(size)}", Spent.PROVISIONING):
        reading = _read(attachment, path, extents)
    failure = reading["failed"] or reading["held"] or ""
    return Scan(size, reading["read"], spared, reading["data"], failure)


def _total(extents: Iterable[Extent]) -> int:
    return sum(extent.size for extent in extents)


def _read(attachment: Attachment, path: str, extents: Sequence[Extent]) -> _Reading:
    """Have the reader read; raises InitiatorError if it fails, TimedOut if it falls silent."""
    source = files("harness.preflight").joinpath("reader.py").read_text()
    argv = ["python3", "-I", "-S", "-c", source, _disk(path), attachment.device]
    wanted = _total(extents)
    reading = _Reading()
    began = time.monotonic()
    with attachment.machine.background(argv, on_line=reading.hear) as process:
        process.send("".join(f"{one.offset} {one.size}\n" for one in extents).encode())
        process.close_input()
        while (ended := _ended(process)) is None:
            if time.monotonic() - reading.heard_at > _SILENCE_S:
                raise TimedOut(f"{path}: cannot be read: no answer for {_SILENCE_S:.0f} s")
            if done := reading["read"]:
                left_s = (time.monotonic() - began) * (wanted / done - 1)
                progress(f"{format_size(done)}, {format_seconds(left_s)} left", done / wanted)
    if ended.status != 0 or reading["size"] is None:
        raise InitiatorError(f"{path}: cannot be read: {ended.stderr.strip()}")
    return reading


def _ended(process: Process) -> Completed | None:
    try:
        return process.wait(_LOOK_INTERVAL_S)
    except CommandTimedOut:
        return None


def mark(machine: Machine, new: Marker, paths: Sequence[str]) -> None:
    """Write a marker over the first path and see it over each of the others.

    Raises PreflightFailed if one of them shows something else.
    """
    block = marker.pack(new)
    first, *others = paths
    machine.run(marker.write_argv(_disk(first)), stdin=block)
    astray = [path for path in (first, *others) if _head(machine, path) != block]
    if astray:
        raise PreflightFailed(
            [
                Problem(
                    f"{', '.join(astray)} do not show what was written over {first}: there are "
                    f"different LUNs with WWID {new.wwid}, or writes are lost",
                    "give each LUN an identity of its own on the target; nothing but the first "
                    f"{marker.SIZE} bytes over {first} was written",
                )
            ]
        )


def _head(machine: Machine, path: str) -> bytes:
    return machine.run(marker.read_argv(_disk(path))).stdout_bytes


def _described(found: Contents, answer: Answer) -> str:
    lines = [f"LUN {found.wwid}, {format_size(found.size)}: {answer}"]
    if found.marker is not None:
        lines.append(f"marker: {found.marker.mark} for {found.marker.wwid}")
    else:
        lines.append(f"at its beginning: {found.no_marker}")
    lines += [f"signature: {signature}" for signature in found.signatures]
    lines += [f"use: {use.cause}" for use in found.uses]
    if (scan := found.scan) is not None:
        lines.append(
            f"read: {format_size(scan.read)}, never written by the target's account: "
            f"{format_size(scan.unmapped)}, data: {scan.data_at}, failure: {scan.failure or 'none'}"
        )
    return "\n".join(lines)


def _disk(path: str) -> str:
    return f"/dev/{path}"


def _listed(paths: Sequence[PathDisk]) -> str:
    return ", ".join(map(str, paths))
