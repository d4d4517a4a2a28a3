"""Queues of traffic control: what `tc` says of them, and that they are removed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from harness.config import Config
from harness.config.ready import ready_topologies
from harness.errors import CommandFailed, LabCannot
from harness.faults import (
    AnswersHeld,
    Corruption,
    Delay,
    Duplication,
    Jitter,
    Lab,
    Means,
    PacketLoss,
    RateLimit,
    Reordering,
    RequestsHeld,
)
from harness.faults.impaired import Impaired
from harness.faults.qdisc import Qdisc, parse_qdisc, removing
from harness.topology import Role, plan
from suites.selftest.means import means_of
from suites.selftest.unit.scripted_machine import Answer, ScriptedMachine

KINDS: tuple[type[Impaired], ...] = (
    *(PacketLoss, Delay, Jitter, Reordering, Duplication, Corruption, RateLimit),
)
TBF = (Path(__file__).parent / "recorded" / "tc-6.1.0-tbf.txt").read_text()
FOUR = plan(Config.model_validate(ready_topologies()["four"]))


def told(kind: str, *, packets: int = 90, waiting: int = 2) -> str:
    """As iproute2 6.1 prints a queue."""
    return (
        f"qdisc {kind} a5a5: root refcnt 2 limit 1000\n"
        f" Sent 11208 bytes {packets} pkt (dropped 3, overlimits 7 requeues 0) \n"
        f" backlog {waiting}Kb {waiting}p requeues 0\n"
    )


def connection(more: str, *, link: str = "101", portal: str = "1", rtt: float = 51.0) -> str:
    """On network a, as the initiator sees it."""
    ends = f"172.16.0.{link}%ens16:40312 172.16.0.{portal}:3260"
    return f"0 0 {ends} cubic rtt:{rtt}/3 bytes_acked:5000 data_segs_out:800 {more} rcv_space:1\n"


def lab(*answers: Answer) -> tuple[Lab, ScriptedMachine, list[str]]:
    """Machines that answer in turn, and always as the last time in the end; and who was asked."""
    left, asked = list(answers), []
    machine = ScriptedMachine(lambda _: left.pop(0) if len(left) > 1 else left[0])

    def named(name: str) -> ScriptedMachine:
        asked.append(name)
        return machine

    found = SimpleNamespace(topology=FOUR, machine=named, nic=lambda name, link: f"{name}-{link}")
    return cast(Lab, found), machine, asked


@pytest.mark.parametrize(
    ("text", "queue"),
    [
        (told("netem"), Qdisc("netem", 90, 2)),
        (TBF, Qdisc("tbf", 0, 0)),
        (told("plug").replace("limit 1000", ""), Qdisc("plug", 90, 2)),
        (told("netem").replace("a5a5:", "8001:"), None),
        (told("netem").replace(" root ", " parent 1:1 "), None),
        ("qdisc noqueue 0: root refcnt 2 \n", None),
        ("", None),
    ],
)
def test_a_faults_queue_is_known_by_its_handle(text: str, queue: Qdisc | None) -> None:
    """Whatever else there is on the NIC."""
    others = "qdisc fq_codel 0: parent 1:2 limit 10240p\n Sent 5 bytes 1 pkt (dropped 9, "
    others += "overlimits 0 requeues 0) \n backlog 0b 0p requeues 0\n"
    assert parse_qdisc(others + text) == queue


@pytest.mark.parametrize("kind", KINDS)
def test_both_ends_of_each_link_can_be_worse(kind: type[Impaired]) -> None:
    """What either sends, on its own machine; by means of its own."""
    every = kind.everywhere(FOUR, lambda _: True)
    assert [fault.where for fault in every] == ["a", "b", "a-target", "b-target"]
    assert [fault.machine(FOUR) for fault in every] == ["initiator"] * 2 + ["target"] * 2
    assert all(fault.hits(FOUR) == (f"{fault.link}1", f"{fault.link}2") for fault in every)
    assert all(fault.disturbs(FOUR) == (fault.link,) for fault in every)
    assert {need for fault in every for need in fault.needs} == {
        Means.INITIATOR_NIC,
        Means.TARGET_GUEST,
    }


def test_a_queue_is_put_on_the_nic_of_its_end() -> None:
    for at, machine in ((Role.INITIATOR, "initiator"), (Role.TARGET, "target")):
        bed, scripted, asked = lab(Answer())
        PacketLoss("b", at).inject(bed)
        assert asked == [machine]
        (call,) = scripted.asked
        assert " ".join(call.argv) == (
            f"tc qdisc replace dev {machine}-b root handle a5a5: netem loss 2%"
        )


def test_each_end_is_limited_below_what_it_sends() -> None:
    """The target sends more. Another kind has the same queue at both ends."""
    limits = {at: RateLimit("a", at) for at in Role}
    for at, rate in ((Role.INITIATOR, "2mbit"), (Role.TARGET, "10mbit")):
        bed, scripted, _ = lab(Answer())
        limits[at].inject(bed)
        assert f"tbf rate {rate} " in " ".join(scripted.asked[0].argv)
        assert f"(tc: tbf rate {rate} " in limits[at].description
    assert Delay("a", Role.TARGET).own_queue == Delay("a").own_queue == "netem delay 50ms"


def test_a_kernel_without_that_queue_skips_the_test() -> None:
    """With what is missing. Any other failure is one."""
    bed, *_ = lab(Answer(stderr="Error: Specified qdisc kind is unknown.\n", status=2))
    with pytest.raises(LabCannot, match="the kernel of the initiator has no sch_netem"):
        Delay("a").inject(bed)
    bed, *_ = lab(Answer(stderr='Cannot find device "ens16"\n', status=1))
    with pytest.raises(CommandFailed):
        Delay("a").inject(bed)


@pytest.mark.parametrize(
    ("kind", "queue", "acts"),
    [
        (PacketLoss, told("netem"), True),
        (PacketLoss, told("netem", packets=0), False),
        (RateLimit, told("tbf"), True),
        (RateLimit, told("tbf", packets=0), False),
        (RequestsHeld, told("plug"), True),
        (AnswersHeld, told("plug", waiting=0), False),
    ],
)
def test_a_fault_is_confirmed_by_frames_in_its_queue(
    kind: type[PacketLoss | RequestsHeld], queue: str, acts: bool
) -> None:
    """That it is there alone proves nothing."""
    parsed = parse_qdisc(queue)
    assert parsed is not None
    assert kind("a").acted(parsed) is acts


@pytest.mark.parametrize(
    ("kind", "more", "count"),
    [
        (PacketLoss, "retrans:0/12 dsack_dups:4", 8),
        (Corruption, "retrans:0/12 dsack_dups:4", 8),
        (Duplication, "retrans:0/4 dsack_dups:12", 8),
        (Reordering, "dsack_dups:4 reord_seen:5", 5),
        (Delay, "", 5000),
        (Jitter, "", 5000),
        (RateLimit, "", 5000),
    ],
)
def test_tcp_says_of_the_very_paths_what_is_wrong(
    kind: type[Impaired], more: str, count: int
) -> None:
    """The queue is seen beside it; connections of others do not count."""
    others = connection("retrans:0/99 dsack_dups:99 reord_seen:99", portal="9")
    bed, *_ = lab(Answer(f"{told('netem')}\n{others}{connection(more)}"))
    seen = means_of(kind("a"), bed)
    name = f"{kind.__name__}(a)"
    assert (seen[name].missing, seen[name].count, seen[name].grows) == ("", 90, False)
    shown = seen[f"{name} on its paths"]
    assert (shown.count, shown.out_of) == (count, 800)
    assert shown.grows
    assert shown.restarts
    assert bool(shown.least_share) == bool(more)


def test_the_end_that_sends_is_asked() -> None:
    """The target's connections are the other way round."""
    one = "0 0 172.16.0.1:3260 172.16.0.101:40312 cubic rtt:1/1 retrans:0/8 rcv_space:1\n"
    bed, _, asked = lab(Answer(f"{told('netem')}\n{one}"))
    seen = means_of(PacketLoss("a", Role.TARGET), bed)
    assert seen["PacketLoss(a-target) on its paths"].count == 8
    assert asked == ["target"]


def test_both_paths_of_a_link_count_together() -> None:
    both = connection("retrans:0/3") + connection("retrans:0/4", portal="2")
    bed, *_ = lab(Answer(f"{told('netem')}\n{both}"))
    assert means_of(PacketLoss("a"), bed)["PacketLoss(a) on its paths"].count == 7
    assert means_of(PacketLoss("a"), bed)["PacketLoss(a) on its paths"].out_of == 1600


@pytest.mark.parametrize("kind", [Delay, Jitter, RateLimit])
def test_a_round_trip_as_short_as_before_shows_no_delay(
    kind: type[Delay | Jitter | RateLimit],
) -> None:
    """A connection that carries nothing may still have it: another one is enough."""
    quick, late = connection("", rtt=2.0), connection("", portal="2", rtt=48.0)
    bed, *_ = lab(Answer(f"{told('netem')}\n{quick}"), Answer(f"{told('netem')}\n{quick}{late}"))
    name = f"{kind.__name__}(a) on its paths"
    assert means_of(kind("a"), bed)[name].count == 0
    assert means_of(kind("a"), bed)[name].count == 5000


def test_without_a_connection_tcp_says_nothing() -> None:
    """The path is lost at that moment."""
    bed, *_ = lab(Answer(f"{told('netem')}\n"))
    assert means_of(PacketLoss("a"), bed)["PacketLoss(a) on its paths"].count is None


def test_a_queue_that_is_gone_is_missing() -> None:
    bed, *_ = lab(Answer("qdisc noqueue 0: root refcnt 2\n\n"))
    missing = "the queue of NIC initiator-a of the initiator is gone"
    assert means_of(PacketLoss("a"), bed)["PacketLoss(a)"].missing == missing


def test_frames_are_held_as_long_as_some_wait() -> None:
    """At the end that sends them."""
    bed, _, asked = lab(Answer(told("plug")), Answer(told("plug", waiting=0)), Answer(""))
    held = AnswersHeld("a")
    assert means_of(held, bed)["AnswersHeld(a)"].count == 2
    says = "NIC target-a of the target holds no frames"
    assert means_of(held, bed)["AnswersHeld(a)"].missing == says
    assert means_of(held, bed)["AnswersHeld(a)"].missing == says
    assert set(asked) == {"target"}


# Says of the NIC what is in `queue`. Once the queue is released a frame leaves with each look.
TC = """#!/bin/sh
echo "tc $*" >>calls
case "$*" in
*" release_indefinite") touch released;;
"qdisc delete "*) echo "qdisc noqueue 0: root refcnt 2 " >queue;;
"-s qdisc show "*)
  left=$(cat left); echo " backlog 120b ${left}p requeues 0"
  [ ! -e released ] || echo $((left - 1)) >left;;
"qdisc show "*) cat queue;;
esac
"""


def removed(folder: Path, queue: str, left: int = 0) -> tuple[int, Sequence[str]]:
    """What the shell calls on a NIC with that queue, and its exit status."""
    (folder / "tc").write_text(TC)
    (folder / "tc").chmod(0o755)
    (folder / "sleep").write_text("#!/bin/sh\n")
    (folder / "sleep").chmod(0o755)
    (folder / "queue").write_text(f"{queue}\n")
    (folder / "left").write_text(f"{left}\n")
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-euc", removing("ens16")], cwd=folder, env=environment, check=False
    )
    return done.returncode, (folder / "calls").read_text().splitlines()


@pytest.mark.parametrize(
    "queue", ["qdisc noqueue 0: root refcnt 2 ", "qdisc netem 8001: root refcnt 2 limit 1000", ""]
)
def test_what_is_none_of_a_faults_is_left_alone(tmp_path: Path, queue: str) -> None:
    assert removed(tmp_path, queue) == (0, ["tc qdisc show dev ens16"])


@pytest.mark.parametrize("kind", ["netem", "tbf"])
def test_a_faults_queue_is_removed(tmp_path: Path, kind: str) -> None:
    status, calls = removed(tmp_path, f"qdisc {kind} a5a5: root refcnt 2 limit 1000")
    assert (status, calls[1:]) == (0, ["tc qdisc delete dev ens16 root"])
    assert (tmp_path / "queue").read_text() == "qdisc noqueue 0: root refcnt 2 \n"


def test_frames_that_were_held_leave_before_their_queue_does(tmp_path: Path) -> None:
    """Those that wait in a queue that is removed are lost."""
    status, calls = removed(tmp_path, "qdisc plug a5a5: root refcnt 2 ", left=3)
    assert status == 0
    assert calls[1] == "tc qdisc change dev ens16 root handle a5a5: plug release_indefinite"
    assert calls[2:-1] == ["tc -s qdisc show dev ens16"] * 4
    assert calls[-1] == "tc qdisc delete dev ens16 root"
