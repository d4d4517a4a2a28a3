"""What a look at a fault's means shows, by what machines answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from harness.config import Config
from harness.errors import CommandFailed, MachineError
from harness.faults import Fault, InitiatorDrop, Lab, LinkDown, PeerLinkDown, SilentDrop, Together
from harness.observe import Observer
from harness.topology import plan
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

RECORDED = Path(__file__).parent / "recorded"
LISTING = (
    "table inet pathproof_drop_a {"
    + ((RECORDED / "nft-1.0.6-list-table.txt").read_text().partition("{")[2])
)
OTHERS = "table inet filter\n"


def lab(
    answer: Callable[[Asked], Answer] = lambda _: Answer(), *, up: bool = False
) -> tuple[Lab, list[str]]:
    """Its NICs are called after machine and link; also the machines that were looked at."""
    looked_at: list[str] = []
    machine = ScriptedMachine(answer)
    sample = SimpleNamespace(carriers={"initiator-a": up, "target-a": up})

    def observer(name: str) -> object:
        looked_at.append(name)
        return SimpleNamespace(latest=lambda _: sample)

    def asked(name: str) -> ScriptedMachine:
        looked_at.append(name)
        return machine

    found = SimpleNamespace(
        topology=plan(Config()),
        machine=asked,
        observer=observer,
        nic=lambda machine, link: f"{machine}-{link}",
    )
    return cast(Lab, found), looked_at


@pytest.mark.parametrize(
    ("fault", "machine"), [(LinkDown("a"), "initiator"), (PeerLinkDown("a"), "target")]
)
def test_a_pulled_cable_is_seen_by_its_own_end(fault: Fault, machine: str) -> None:
    """In the samples that come anyway."""
    down, looked_at = lab()
    assert fault.look(down)[fault.name].missing == ""
    assert looked_at == [machine]
    up, _ = lab(up=True)
    said = fault.look(up)[fault.name].missing
    assert said == f"NIC {machine}-a of the {machine} has a carrier"


@pytest.mark.parametrize(
    ("fault", "machine"), [(SilentDrop("a"), "target"), (InitiatorDrop("a"), "initiator")]
)
def test_a_drop_is_seen_by_its_rules_and_their_counters(fault: Fault, machine: str) -> None:
    """Once the table is gone nft lists those of others."""
    there, looked_at = lab(lambda _: Answer(LISTING))
    seen = fault.look(there)[fault.name]
    assert (seen.missing, seen.count) == ("", 1)
    assert looked_at == [machine]
    gone, _ = lab(lambda _: Answer(OTHERS))
    seen = fault.look(gone)[fault.name]
    assert seen.missing == f"nftables table pathproof_drop_a of the {machine} is gone"


def test_rules_that_could_not_be_listed_are_neither_there_nor_gone() -> None:
    """nft may be interrupted; it lists the table's name all the same, or fails."""
    unlisted, _ = lab(lambda _: Answer(f"{OTHERS}table inet pathproof_drop_a\n"))
    seen = SilentDrop("a").look(unlisted)["SilentDrop(a)"]
    assert (seen.missing, seen.count) == ("", None)
    failing, _ = lab(lambda _: Answer(stderr="netlink: No buffer space", status=1))
    with pytest.raises(CommandFailed):
        SilentDrop("a").look(failing)


def test_each_part_of_several_is_seen_by_itself() -> None:
    both = Together((LinkDown("a"), SilentDrop("b")))
    seen = both.look(lab(lambda _: Answer(OTHERS))[0])
    assert seen["LinkDown(a)"].missing == ""
    assert "pathproof_drop_b" in seen["SilentDrop(b)"].missing


def test_the_latest_sample_is_that_of_a_machine_that_was_heard_of() -> None:
    """Where nothing comes any more the last one tells nothing of now."""
    observer = Observer(ScriptedMachine())
    with pytest.raises(MachineError, match="no sample for 5 s"):
        observer.latest(5)
    observer.hear(
        b'{"sample": 7, "disks": {}, "maps": {}, "carriers": {"eth0": "1"}, "changes": {}, '
        b'"nics": {}, "beats": {}, "ahead": 0, "cpu": 0}\n'
    )
    assert observer.latest(5).carriers == {"eth0": True}
    time.sleep(0.01)
    with pytest.raises(MachineError, match="scripted: no sample"):
        observer.latest(0.001)
