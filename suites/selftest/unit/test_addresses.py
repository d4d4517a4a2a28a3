"""Who has an address on a network: real frames over a bridge, in network namespaces."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Config
from harness.deadline import Deadline, poll
from harness.errors import MachineError, PreflightFailed
from harness.machine import LocalMachine, Process
from harness.provision import address_claims as addresses
from harness.provision import arp_probe
from harness.provision.address_claims import Held, held_addresses
from harness.steps import Listener, Step, listening
from harness.topology import Topology, plan
from suites.selftest import needs

SOURCE = Path(arp_probe.__file__).read_text()
HURRY = 20.0  # the program's waits are shorter by this
TARGET, INITIATOR = "172.16.1.1", "172.16.1.101"
SWITCH = """
ip link add br0 type bridge
ip link set br0 up
for n in 0 1 2; do
  ip link add nic$n type veth peer name port$n
  ip link set port$n master br0 up
done
"""


def hurried(source: str) -> str:
    """The program with shorter waits."""
    waits = r"^(LONGEST_START_S|PROBE_EVERY_S|SILENCE_S|ANNOUNCE_EVERY_S|AGAIN_S) = ([\d.]+)$"
    text, count = re.subn(
        waits, lambda found: f"{found[1]} = {float(found[2]) / HURRY}", source, flags=re.MULTILINE
    )
    assert count == 5
    return text


class Host(LocalMachine):
    """A network namespace with one NIC, or with a bridge; it lives as long as a process there."""

    def __init__(self, name: str, pid: int) -> None:
        super().__init__(name)
        self.pid = pid
        self.weak = False  # yields to all that begin at the same time

    def start(
        self, argv: Sequence[str], *, on_line: Callable[[bytes], None] | None = None
    ) -> Process:
        source = hurried(SOURCE)
        if self.weak:
            source = source.replace("os.urandom(8).hex()", "'z'")
        inside = [source if word == SOURCE else word for word in argv]
        return super().start(
            ["nsenter", f"--net=/proc/{self.pid}/ns/net", *inside], on_line=on_line
        )


@pytest.fixture(scope="module")
def network() -> Iterator[list[Host]]:
    """Three hosts on one bridge, each with a NIC `nic0`."""
    if why := needs.no_namespaces():
        pytest.skip(why)
    with ExitStack() as stack:
        hosts = []
        for name in ("switch", "one", "two", "three"):
            process = stack.enter_context(
                subprocess.Popen(
                    ["unshare", "--net", "sh", "-c", "echo there; exec sleep 600"],
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "there\n"
            hosts.append(Host(name, process.pid))
        switch, *others = hosts
        switch.sh(SWITCH)
        for number, host in enumerate(others):
            switch.sh(f"ip link set nic{number} netns {host.pid}")
            host.sh(f"ip link set nic{number} name nic0 up")
        yield others


@pytest.fixture
def hosts(network: list[Host]) -> Iterator[list[Host]]:
    yield network
    for host in network:
        host.weak = False
        host.sh("ip address flush dev nic0; ip neigh flush dev nic0")


def topology(run: str) -> Topology:
    """With a cable, and a bridge where testbeds meet."""
    cable, bridged = Config().networks
    return plan(Config(networks=(cable, bridged.model_copy(update={"bridge": "br0"}))), run)


class Said(Listener):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def progressed(self, step: Step, message: str, fraction: float | None) -> None:
        self.texts.append(message)


class Run:
    """A testbed of a run that wants the addresses on a host."""

    def __init__(self, host: Host, name: str) -> None:
        self.host, self.name = host, name
        self.topology = topology(name)
        self.enough = threading.Event()
        self.has = threading.Event()
        self.held = Held()
        self.thread = threading.Thread(target=self._hold, daemon=True)

    def _hold(self) -> None:
        with held_addresses(self.host, self.topology, {"b": "nic0"}, self.name) as self.held:
            self.has.set()
            self.enough.wait(20)

    def end(self) -> None:
        self.enough.set()
        self.thread.join(20)
        assert not self.thread.is_alive()


def soon(condition: Callable[[], object]) -> None:
    poll(lambda: bool(condition()), what="it", deadline=Deadline.after(20), every_s=0.02)


def test_addresses_in_a_vlan_are_asked_for_in_the_vlan() -> None:
    """By the device on the NIC, whose own frames have no tag."""
    cable, bridged = Config().networks
    tagged = bridged.model_copy(update={"bridge": "br0", "vlan": 7})
    claim = addresses._claim(plan(Config(networks=(cable, tagged))), {"b": "nic0"}, "it")
    assert list(claim["nics"]) == ["nic0.7"]


def test_the_second_waits_and_says_for_whom(hosts: list[Host]) -> None:
    """Each is on a host of its own. The second goes on when the first has ended."""
    first, second = Run(hosts[0], "lab-1"), Run(hosts[1], "lab-2")
    hosts[0].weak = True  # which does not count any more once it has the addresses
    said = Said()
    first.thread.start()
    assert first.has.wait(20)
    assert first.held.wanted_at is None
    with listening(said):
        second.thread.start()
        soon(lambda: said.texts)
        assert not second.has.is_set()
        assert re.match(
            rf"({TARGET}|{INITIATOR}) is in use by lab-1 \(.*; pid \d+ of \w+; since .*\) on ",
            said.texts[-1],
        )
        assert first.held.wanted
        first.end()
        assert second.has.wait(20)
    second.end()


def test_whose_they_are_is_known_after_the_nic_was_down(hosts: list[Host]) -> None:
    """A fault leaves it so."""
    first, second = Run(hosts[0], "lab-1"), Run(hosts[1], "lab-2")
    first.thread.start()
    assert first.has.wait(20)
    for state in ("down", "up"):
        hosts[0].sh(f"ip link set nic0 {state}")
        # The kernel may take up to a second to tell the bridge (net/core/link_watch.c).
        soon(partial(_is_now, hosts[0], state))
    said = Said()
    with listening(said):
        second.thread.start()
        soon(lambda: any(" in use by lab-1 " in text for text in said.texts))
    first.end()
    assert second.has.wait(20)
    second.end()


def _is_now(host: Host, operstate: str) -> bool:
    return _operstate(host) == operstate


def _operstate(host: Host) -> str:
    return (
        host.sh('ip -json link show nic0 | grep -o \'"operstate":"[A-Z]*\'')
        .stdout[13:]
        .strip()
        .lower()
    )


def test_a_nic_that_is_down_while_addresses_are_announced_does_no_harm(hosts: list[Host]) -> None:
    """They were free, and are held: the program goes on."""
    program = (
        "import os, sys\n"
        "names = {'__name__': 'arp'}\n"
        "exec(sys.argv[1], names)\n"
        "said = names['Claim']('me', {'nic0': {'172.16.1.1': '52:54:00:00:00:01'}}).have()\n"
        "while next(said) != {'free': True}: pass\n"
        "os.system('ip link set nic0 down')\n"
        "print(next(said, 'announced'))\n"
    )
    argv = ["python3", "-I", "-S", "-c", program, SOURCE]
    heard: list[bytes] = []
    try:
        with hosts[0].background(argv, on_line=heard.append) as process:
            done = process.wait(20)
    finally:
        hosts[0].sh("ip link set nic0 up")
        soon(lambda: _is_now(hosts[0], "up"))
    assert (done.status, heard) == (0, [b"announced\n"]), done.stderr


@pytest.mark.parametrize("attempt", range(3))
def test_of_two_that_begin_at_once_one_goes_on(hosts: list[Host], attempt: int) -> None:
    """By lot, and never both."""
    both = [Run(hosts[0], "lab-1"), Run(hosts[1], "lab-2")]
    for one in both:
        one.thread.start()
    soon(lambda: any(one.has.is_set() for one in both))
    (winner,) = [one for one in both if one.has.is_set()]
    (loser,) = [one for one in both if one is not winner]
    assert not loser.has.wait(0.5)
    winner.end()
    assert loser.has.wait(20)
    loser.end()


@pytest.mark.parametrize("address", [TARGET, INITIATOR])
def test_what_is_no_testbed_is_not_waited_for(
    hosts: list[Host], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """A computer that just has the address: a kept testbed, or something of somebody else."""
    monkeypatch.setattr(addresses, "_STRANGER_S", 0.3)
    hosts[2].sh(f"ip address add {address}/24 dev nic0")
    mac = hosts[2].sh("ip -oneline link show nic0").stdout.partition("ether ")[2].split()[0]
    nics = {"b": "nic0"}
    with (
        pytest.raises(PreflightFailed, match=f"{address} is in use by {mac}") as caught,
        held_addresses(hosts[0], topology("lab"), nics, "lab"),
    ):
        pytest.fail("both have it")
    assert "pathproof ps" in caught.value.problems[0].cure


def test_neighbours_learn_the_new_mac_address(hosts: list[Host]) -> None:
    """They may have kept the one of the testbed before, which no longer answers."""
    hosts[2].sh("ip address add 172.16.1.50/24 dev nic0")
    for address in (TARGET, INITIATOR):
        hosts[2].sh(f"ip neigh add {address} lladdr 52:54:00:aa:aa:aa dev nic0 nud stale")
    run = Run(hosts[0], "lab-1")
    link = run.topology.link("b")
    run.thread.start()
    assert run.has.wait(20)
    wanted = {f"{TARGET} lladdr {link.target_mac}", f"{INITIATOR} lladdr {link.initiator_mac}"}

    def known() -> set[str]:
        lines = hosts[2].sh("ip neigh show dev nic0").stdout.splitlines()
        return {" ".join(line.split()[:3]) for line in lines}

    soon(lambda: wanted <= known())
    run.end()


def test_a_host_that_cannot_ask_says_why(hosts: list[Host]) -> None:
    nics = {"b": "nic9"}
    with (
        pytest.raises(MachineError, match="No such device"),
        held_addresses(hosts[0], topology("lab"), nics, "lab"),
    ):
        pytest.fail("nothing was asked")


@given(st.binary(max_size=80), st.booleans())
def test_no_frame_ends_the_program(frame: bytes, is_arp: bool) -> None:
    """Others send what they like."""
    head = b"\xff" * 6 + b"\x52" * 6 + (b"\x08\x06\x00\x01\x08\x00\x06\x04" if is_arp else b"")
    found = arp_probe.subject(head + frame, set())
    assert found is None or (len(found[0]), len(found[1])) == (4, 6)
