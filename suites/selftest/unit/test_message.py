"""Lines of the resident program: garbled ones are lost, those that are whole are understood."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.machine import LocalMachine
from harness.observe import Observer
from harness.observe.message import parse_line

SAMPLE: dict[str, Any] = {
    "sample": 1,
    "disks": {"sda": ["8 0 16 0 8 0 16 0 0 0 0", "running"]},
    "maps": {"lun": {"dm": "2 0 0 0 1 1 A 0 1 2 8:0 A 0 0 1", "number": "253:0", "where": {}}},
    "carriers": {},
    "changes": {},
    "nics": {},
    "beats": {},
    "ahead": 0,
    "cpu": 0,
}


def test_a_whole_line_is_known_by_its_kind() -> None:
    """Each that the resident program's own description has."""
    for kind, message in (
        ("hello", {"hello": 1}),
        ("kernel", {"kernel": [1, 3, 5, "BUG: x"], "error": 2}),
        ("lost", {"lost": 3}),
        ("sample", SAMPLE),
        ("pong", {"pong": 17, "time": 1}),
        ("awake", {"awake": 1}),
        ("read", {"read": {"sda": 1}}),
    ):
        assert parse_line(json.dumps(message).encode()) == (kind, message)


@pytest.mark.parametrize("missing", [key for key in SAMPLE if key != "sample"])
def test_a_part_of_a_sample_is_garbled(missing: str) -> None:
    """Counted, and nothing of it is taken."""
    observer = Observer(LocalMachine())
    part = {key: value for key, value in SAMPLE.items() if key != missing}
    observer.hear(json.dumps(part).encode())
    assert (observer._seen.lost, observer._seen.samples) == (1, [])
    observer.hear(json.dumps(SAMPLE).encode())
    assert (observer._seen.lost, len(observer._seen.samples)) == (1, 1)


@pytest.mark.parametrize(
    "line",
    [
        *(b'{"kernel": [1], "error": 1}', b'{"kernel": 1, "error": 1}', b'{"kernel": [1,2,3,"x"]}'),
        *(b'{"pong": 1}', b'{"what": 1}', b"[]", b"null", b'"x"', b"{", b"\xff", b""),
    ],
)
def test_what_is_no_message_is_garbled(line: bytes) -> None:
    """Whoever listens goes on listening."""
    observer = Observer(LocalMachine())
    observer.hear(line)
    assert observer._seen.lost == 1


def test_a_whole_sample_that_is_not_understood_is_no_garbled_line() -> None:
    """What the harness believes of the kernel is wrong then: that is never passed over."""
    observer = Observer(LocalMachine())
    odd = SAMPLE | {"disks": {"sda": ["8 0 16", "running"]}}
    with pytest.raises(IndexError):
        observer.hear(json.dumps(odd).encode())
