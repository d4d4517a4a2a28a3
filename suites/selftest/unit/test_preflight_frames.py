"""Preflight: frames of the configured MTU that do not pass from one end to the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.config import load
from harness.preflight.frames import echo_argv, frame_problems, parse_echo
from harness.topology import plan

ECHO = Path(__file__).parent / "recorded" / "pathproof-echo-jumbo.txt"
NAMES = {"a": "eth0", "b": "eth1"}
TWO, JUMBO = (
    plan(load(None, {"topology": (name, "--topology")}).config) for name in ("two", "jumbo")
)


def test_frames_of_full_size_are_tried_where_an_mtu_is_configured() -> None:
    """Once for each portal, however many paths lead there."""
    assert echo_argv(TWO, NAMES) == []
    argv = echo_argv(JUMBO, NAMES)
    assert json.loads(argv[-1]) == [["eth0", "172.16.0.1", 9000], ["eth1", "172.16.1.1", 9000]]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("lost", "does not answer an echo request of 9000 bytes, though small ones (from eth1)"),
        ("fragments", "in fragments: its own MTU is smaller (from eth1)"),
        ("too large", "cannot be sent 9000 bytes in one packet"),
        ("silent", "answers no echo request at all"),
        ("", "answers no echo request at all"),
    ],
)
def test_frames_that_do_not_pass_are_told(answer: str, says: str) -> None:
    """With the portal."""
    answers = parse_echo(ECHO.read_text())
    assert list(frame_problems(JUMBO, NAMES, answers)) == []
    place = ("eth1", "172.16.1.1")
    changed = {k: v for k, v in answers.items() if k != place} | ({place: answer} if answer else {})
    (problem,) = frame_problems(JUMBO, NAMES, changed)
    assert problem.cause.startswith("172.16.1.1, the address of portal b, ")
    assert says in problem.cause
