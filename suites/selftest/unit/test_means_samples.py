"""What the means of faults show, by what machines answer."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from harness.config import Config
from harness.errors import CommandFailed, FaultError, MachineError
from harness.faults import (
    AddressRemoved,
    Fault,
    InitiatorDrop,
    Lab,
    LargeFramesLost,
    LinkDown,
    LinkFlaps,
    NicDown,
    PeerLinkDown,
    PeerNicDown,
    Reset,
    SilentDrop,
    Together,
)
from harness.faults.sampling import sample_all
from harness.measurements import MeansSample
from harness.observe import Observer
from harness.topology import plan
from suites.selftest.means import means_of
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
    nics = {"initiator-a": SimpleNamespace(carrier_changes=5)}
    sample = SimpleNamespace(carriers={"initiator-a": up, "target-a": up}, nics=nics)

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
    ("fault", "machine"),
    [
        *((LinkDown("a"), "initiator"), (PeerLinkDown("a"), "target")),
        *((NicDown("a"), "initiator"), (PeerNicDown("a"), "target")),
    ],
)
def test_a_nic_without_a_carrier_is_seen_by_its_own_end(fault: Fault, machine: str) -> None:
    """In the samples that come anyway."""
    down, looked_at = lab()
    assert means_of(fault, down)[fault.name].missing == ""
    assert looked_at == [machine]
    up, _ = lab(up=True)
    said = means_of(fault, up)[fault.name].missing
    assert said == f"NIC {machine}-a of the {machine} has a carrier"


@pytest.mark.parametrize(
    ("fault", "machine"), [(SilentDrop("a"), "target"), (InitiatorDrop("a"), "initiator")]
)
def test_a_drop_is_seen_by_its_rules_and_their_counters(fault: Fault, machine: str) -> None:
    """Once the table is gone nft lists those of others."""
    there, looked_at = lab(lambda _: Answer(LISTING))
    seen = means_of(fault, there)[fault.name]
    assert (seen.missing, seen.count) == ("", 1)
    assert looked_at == [machine]
    gone, _ = lab(lambda _: Answer(OTHERS))
    seen = means_of(fault, gone)[fault.name]
    assert seen.missing == f"nftables table pathproof_drop_a of the {machine} is gone"


def test_a_nic_that_is_in_no_sample_is_not_seen_to_be_down() -> None:
    found, _ = lab()
    found.observer("initiator").latest(1).carriers.clear()
    with pytest.raises(FaultError, match="samples of the initiator do not have NIC initiator-a"):
        means_of(LinkDown("a"), found)


def test_a_table_without_its_rules_does_nothing() -> None:
    """As after `nft flush table`."""
    flushed = "".join(line for line in LISTING.splitlines(True) if "packets" not in line)
    found, _ = lab(lambda _: Answer(flushed))
    seen = means_of(SilentDrop("a"), found)["SilentDrop(a)"]
    assert seen.missing == "rules of nftables table pathproof_drop_a of the target are gone"


def test_rules_that_could_not_be_listed_are_neither_there_nor_gone() -> None:
    """nft may be interrupted; it lists the table's name all the same, or fails."""
    unlisted, _ = lab(lambda _: Answer(f"{OTHERS}table inet pathproof_drop_a\n"))
    seen = means_of(SilentDrop("a"), unlisted)["SilentDrop(a)"]
    assert (seen.missing, seen.count) == ("", None)
    failing, _ = lab(lambda _: Answer(stderr="netlink: No buffer space", status=1))
    with pytest.raises(CommandFailed):
        means_of(SilentDrop("a"), failing)


def test_each_part_of_several_is_seen_by_itself() -> None:
    both = Together((Together((LinkDown("a"),)), SilentDrop("b")))
    assert both.parts == (LinkDown("a"), SilentDrop("b"))
    seen = means_of(both, lab(lambda _: Answer(OTHERS))[0])
    assert seen["LinkDown(a)"].missing == ""
    assert "pathproof_drop_b" in seen["SilentDrop(b)"].missing


NFT = """#!/bin/sh
case "$*" in
*pathproof_drop_a*) cat {folder}/listing;;
*) echo 'no buffer space' >&2; exit 1;;
esac
"""


def test_all_that_acts_on_a_machine_is_sampled_by_one_command(tmp_path: Path) -> None:
    """What cannot be seen of one part is noted; of others it is seen all the same."""
    (tmp_path / "listing").write_text(LISTING)
    (tmp_path / "nft").write_text(NFT.format(folder=tmp_path))
    (tmp_path / "nft").chmod(0o755)

    def run(asked: Asked) -> Answer:
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(asked.argv, env=path, capture_output=True, text=True, check=False)
        return Answer(done.stdout, done.stderr, done.returncode)

    machines, looked_at = lab(run)
    parts = [SilentDrop("b"), LinkDown("a"), InitiatorDrop("a"), SilentDrop("a"), Reset("b")]
    samples = {one.part: one for one in sample_all(machines, parts)}
    assert sorted(looked_at) == ["initiator", "initiator", "target"]
    assert samples.keys() == {part.name for part in parts}
    assert (samples["SilentDrop(a)"].count, samples["InitiatorDrop(a)"].count) == (1, 1)
    said = samples["SilentDrop(b)"].unseen
    assert said.startswith("SilentDrop(b): exit status 1: no buffer space")
    assert samples["Reset(b)"].unseen.startswith("Reset(b): exit status 1")
    assert samples["LinkDown(a)"] == MeansSample("LinkDown(a)", samples["SilentDrop(a)"].at_ns)


@pytest.mark.parametrize(
    "answer", [Answer(stderr="Killed", status=137), Answer(f"{LISTING}\x1e0\ntable")]
)
def test_a_command_that_fails_or_is_cut_off_shows_nothing_of_any_part(answer: Answer) -> None:
    """Not even of those that it printed: what belongs to which is not sure."""
    samples = sample_all(lab(lambda _: answer)[0], [SilentDrop("a"), SilentDrop("b")])
    assert [one.part for one in samples] == ["SilentDrop(a)", "SilentDrop(b)"]
    assert all(one.unseen and not one.missing and one.count is None for one in samples)


def test_a_programming_error_is_not_taken_for_a_part_that_cannot_be_seen() -> None:
    """Nor if an error of the lab hides it."""

    def broken(_: Asked) -> Answer:
        error = MachineError("no answer")
        error.__context__ = TypeError("x")
        raise error

    for parts in ([SilentDrop("a")], [SilentDrop("a"), SilentDrop("b")]):
        with pytest.raises(MachineError):
            sample_all(lab(broken)[0], parts)


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
    observer.hear(b'{"lost": 1}\n')  # it lives, and takes no samples
    with pytest.raises(MachineError, match="scripted: no sample"):
        observer.latest(0.001)


def test_a_link_that_flaps_is_seen_by_how_often_its_carrier_changed() -> None:
    """Whether it is up at that moment or not. A NIC that is not there counts nothing."""
    for up in (True, False):
        seen = means_of(LinkFlaps("a"), lab(up=up)[0])["LinkFlaps(a)"]
        assert (seen.missing, seen.count, seen.grows) == ("", 5, True)
    assert means_of(LinkFlaps("b"), lab()[0])["LinkFlaps(b)"].count is None


def test_what_drops_some_packets_only_must_go_on_doing_so() -> None:
    """Nothing else shows that it acts; of a drop of all of them the path itself does."""
    there, _ = lab(lambda _: Answer(LISTING))
    assert means_of(LargeFramesLost("a"), there)["LargeFramesLost(a)"].grows
    assert not means_of(SilentDrop("a"), there)["SilentDrop(a)"].grows


ADDRESSES = """\
3: initiator-a    inet 172.16.0.101/24 scope global initiator-a\\       valid_lft forever
3: initiator-a    inet6 fe80::5054:ff:fe12:3456/64 scope link \\       valid_lft forever
"""


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        (ADDRESSES, "the initiator has 172.16.0.101/24"),
        (ADDRESSES.replace("101/24", "10/24"), ""),
        (ADDRESSES.replace("/24", "/32"), ""),
        ("", ""),
    ],
)
def test_an_address_is_gone_once_its_nic_no_longer_has_it(told: str, missing: str) -> None:
    """One of another length is another."""
    initiator, looked_at = lab(lambda _: Answer(told))
    assert means_of(AddressRemoved("a"), initiator)["AddressRemoved(a)"].missing == missing
    assert looked_at == ["initiator"]


class Cables:
    """A hypervisor that notes which cable is pulled and plugged in again."""

    def __init__(self, over_after: int) -> None:
        self.topology = plan(Config())
        self.over = threading.Event()
        self.told: list[bool] = []
        self._left = over_after

    def set_link(self, machine: str, link: str, *, up: bool) -> None:
        assert (machine, link) == ("initiator", "a")
        self.told.append(up)
        self._left -= 1
        if not self._left:
            self.over.set()


@pytest.mark.parametrize(("changes", "told"), [(1, [True]), (4, [True, False, True, False])])
def test_a_link_flaps_until_it_is_over(changes: int, told: list[bool]) -> None:
    """It was pulled when it was injected; whatever comes last, healing plugs it in."""
    lab = Cables(changes)
    LinkFlaps("a", period_s=0.002, down_s=0.001).go_on(cast(Lab, lab), lab.over)
    assert lab.told == told


def test_a_link_that_is_over_at_once_does_not_flap() -> None:
    lab = Cables(0)
    lab.over.set()
    LinkFlaps("a").go_on(cast(Lab, lab), lab.over)
    assert lab.told == []
