"""Machines that SSH does not reach, must not trust, or loses."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.concurrency import side_by_side
from harness.deadline import Deadline
from harness.errors import MachineError, TimedOut
from harness.machine import SshEndpoint, SshMachine
from harness.machine import ssh as ssh_module
from suites.selftest.unit.sshd import (
    HOST_KEY,
    NEEDS_SSHD,
    USER,
    Sshd,
    connected,
    new_key,
    sshd_in,
)

pytestmark = NEEDS_SSHD


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd_in(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def test_another_host_key_is_refused_at_once(sshd: Sshd, tmp_path: Path) -> None:
    """Somebody else answers there; waiting would not change that."""
    wrong = replace(sshd.endpoint, host_key=new_key(tmp_path / "other"))
    started = time.monotonic()
    with pytest.raises(MachineError, match="another host key"):
        connected(wrong)
    assert time.monotonic() - started < 5


def test_a_host_key_of_another_kind_is_not_trusted_either(tmp_path: Path) -> None:
    """The pinned key is the only one, not the only one of its kind."""
    with sshd_in(tmp_path, "ecdsa") as sshd:
        endpoint = replace(sshd.endpoint, host_key=HOST_KEY)
        with pytest.raises(MachineError, match="another host key"):
            SshMachine.connect("guest", endpoint, Deadline.after(1))


def test_another_client_key_is_refused_at_once(sshd: Sshd, tmp_path: Path) -> None:
    """With the user's name."""
    new_key(tmp_path / "other")
    started = time.monotonic()
    with pytest.raises(MachineError, match=f"login as {USER} refused"):
        connected(replace(sshd.endpoint, private_key=tmp_path / "other"))
    assert time.monotonic() - started < 5


def test_only_ed25519_host_keys_can_be_pinned(sshd: Sshd) -> None:
    """What cannot be checked is not trusted."""
    with pytest.raises(MachineError, match="only ssh-ed25519"):
        connected(replace(sshd.endpoint, host_key="ssh-rsa AAAA"))


def test_a_malformed_host_key_is_the_labs_error(sshd: Sshd) -> None:
    """Whatever is wrong with it."""
    for text in ("AAAA", "A", "A" * 68, "not base64!"):
        with pytest.raises(MachineError, match="malformed"):
            connected(replace(sshd.endpoint, host_key=f"ssh-ed25519 {text}"))


def test_a_machine_that_never_answers_is_given_up_at_the_deadline() -> None:
    """With the address, and what was last seen."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    endpoint = SshEndpoint("127.0.0.1", port, USER, Path("none"), HOST_KEY)
    started = time.monotonic()
    with pytest.raises(TimedOut, match=rf"no SSH answer on 127\.0\.0\.1:{port} .*refused"):
        SshMachine.connect("guest", endpoint, Deadline.after(0.5))
    assert 0.4 < time.monotonic() - started < 15


def test_a_machine_is_reached_through_a_proxy_that_ends_with_the_connection(sshd: Sshd) -> None:
    """Its port is not one of this host: nothing listens on port 1."""
    known = f"[127.0.0.1]:{sshd.endpoint.port} {sshd.endpoint.host_key}\n"
    (sshd.folder / "known_hosts").write_text(known)
    proxy = (
        *("ssh", "-F", "none", "-p", str(sshd.endpoint.port)),
        f"-i{sshd.endpoint.private_key}",
        f"-oUserKnownHostsFile={sshd.folder}/known_hosts",
        *("-W", f"127.0.0.1:{sshd.endpoint.port}", f"{USER}@127.0.0.1"),
    )
    machine = connected(replace(sshd.endpoint, port=1, proxy=proxy))
    assert machine.run(["echo", "through"]).stdout == "through\n"
    assert machine.run(["head", "-c", "3000000", "/dev/zero"]).stdout_bytes == bytes(3000000)
    tunnels = [thread for thread in threading.enumerate() if thread.name == "ssh proxy"]
    assert len(tunnels) == 1
    machine.close()
    tunnels[0].join(10)
    assert not tunnels[0].is_alive()


def test_a_proxy_to_a_machine_that_does_not_answer_is_ended() -> None:
    """While a guest boots there would be more and more of them."""
    talks = ("sh", "-c", "echo; exec sleep 60")
    endpoint = SshEndpoint("127.0.0.1", 1, USER, Path("none"), HOST_KEY, talks)
    with pytest.raises(TimedOut, match="banner"):
        SshMachine.connect("guest", endpoint, Deadline.after(0.1))
    for thread in threading.enumerate():
        if thread.name == "ssh proxy":
            thread.join(10)
            assert not thread.is_alive()


def test_a_proxy_that_gets_nowhere_is_named() -> None:
    endpoint = SshEndpoint("127.0.0.1", 1, USER, Path("none"), HOST_KEY, ("false", "a b"))
    with pytest.raises(TimedOut, match=r"no SSH answer on 127\.0\.0\.1:1 through `false 'a b'`"):
        SshMachine.connect("guest", endpoint, Deadline.after(0.5))
    gone = replace(endpoint, proxy=("/no/such/command",))
    with pytest.raises(TimedOut, match="No such file"):
        SshMachine.connect("guest", gone, Deadline.after(0.5))


def test_waiting_ends_early_if_the_machine_is_gone() -> None:
    """A guest that has crashed will never answer."""

    def crashed() -> None:
        raise MachineError("it crashed")

    endpoint = SshEndpoint("127.0.0.1", 1, USER, Path("none"), HOST_KEY)
    with pytest.raises(MachineError, match="it crashed"):
        SshMachine.connect("guest", endpoint, Deadline.after(60), still_there=crashed)


def test_a_lost_connection_is_the_labs_error_and_never_a_result(tmp_path: Path) -> None:
    """Several commands wait when the machine dies; each of them, and every later one, says so."""
    with sshd_in(tmp_path) as sshd:
        machine = connected(sshd.endpoint)
        processes = [machine.start(["sleep", "3"]) for _ in range(4)]

        def wait(number: int) -> MachineError:
            with pytest.raises(MachineError, match="guest: connection lost") as loss:
                processes[number].wait(10)
            return loss.value

        dropping = threading.Timer(0.2, sshd.drop_connections)
        dropping.start()
        side_by_side(*((lambda n=n: wait(n)) for n in range(4)))
        dropping.join()
        with pytest.raises(MachineError, match="connection lost"):
            machine.run(["true"])
        machine.close()
        machine.close()


def test_a_closed_connection_runs_nothing_any_more(sshd: Sshd) -> None:
    """Closing it twice is no error."""
    machine = connected(sshd.endpoint)
    machine.close()
    machine.close()
    with pytest.raises(MachineError, match="connection lost"):
        machine.run(["true"])


@pytest.fixture
def freezing(tmp_path: Path) -> Iterator[tuple[Sshd, SshMachine]]:
    """A machine that will stand still."""
    with sshd_in(tmp_path) as sshd:
        machine = connected(sshd.endpoint)
        yield sshd, machine
        machine.close()


def freeze(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine stands still, and is waited for only briefly from now on."""
    sshd.freeze()
    monkeypatch.setattr(ssh_module, "_ANSWER_TIMEOUT_S", 0.5)


def test_a_machine_that_stands_still_is_given_up(
    freezing: tuple[Sshd, SshMachine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first command waits, those that run end, and later ones do not wait any more."""
    sshd, machine = freezing
    running = machine.start(["sleep", "60"])
    freeze(sshd, monkeypatch)
    started = time.monotonic()
    with pytest.raises(MachineError, match="guest: connection lost: no answer within 0 s"):
        machine.run(["true"])
    assert 0.4 < time.monotonic() - started < 15
    with pytest.raises(MachineError, match="connection lost: while sleep ran"):
        running.wait(10)
    monkeypatch.undo()  # one that waited would take 20 s
    again = time.monotonic()
    with pytest.raises(MachineError, match="guest: connection lost: no answer within 0 s"):
        machine.run(["true"])
    assert time.monotonic() - again < 10


def test_a_machine_that_stands_still_as_a_command_starts_is_given_up(
    freezing: tuple[Sshd, SshMachine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The channel is open, and the command is never confirmed."""
    sshd, machine = freezing
    transport = machine._clients[0].get_transport()
    assert transport is not None
    opened = transport.open_session(timeout=5)

    def open_session(**_: object) -> object:
        sshd.freeze()
        return opened

    monkeypatch.setattr(transport, "open_session", open_session)
    monkeypatch.setattr(ssh_module, "_ANSWER_TIMEOUT_S", 0.5)
    started = time.monotonic()
    with pytest.raises(MachineError, match="guest: connection lost: no answer within 0 s"):
        machine.run(["true"])
    assert 0.4 < time.monotonic() - started < 15


def test_a_connection_that_is_full_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its buffers hold what the machine does not take, and even a small request finds no room."""
    with sshd_in(tmp_path) as sshd:
        with monkeypatch.context() as impatient:  # TCP takes the timeout of its connection
            impatient.setattr(ssh_module, "_ANSWER_TIMEOUT_S", 1.0)
            machine = connected(sshd.endpoint)
        processes = [machine.start(["sleep", "60"]) for _ in range(12)]
        sshd.freeze()
        monkeypatch.setattr(ssh_module, "_ANSWER_TIMEOUT_S", 1.0)

        def fill(number: int) -> MachineError:
            with pytest.raises(MachineError, match="connection lost") as loss:
                processes[number].send(b"x" * 8_000_000)
            return loss.value

        started = time.monotonic()
        side_by_side(*((lambda n=n: fill(n)) for n in range(len(processes))))
        with pytest.raises(MachineError, match="connection lost"):
            machine.run(["true"])
        assert time.monotonic() - started < 15
        machine.close()


def test_a_wait_may_end_while_the_connection_is_being_lost(tmp_path: Path) -> None:
    """Nothing is left to close then, which is no error."""
    with sshd_in(tmp_path) as sshd:
        machine = connected(sshd.endpoint)
        transport = machine._clients[0].get_transport()
        assert transport is not None
        channel = transport.open_session(timeout=5)
        before = set(threading.enumerate())
        sshd.freeze()
        transport.sock.shutdown(socket.SHUT_WR)
        with ssh_module._closed_at(Deadline.after(0.02), channel):
            for closing in set(threading.enumerate()) - before:
                closing.join(5)
        machine.close()


def test_the_end_of_a_background_command_hides_nothing(tmp_path: Path) -> None:
    """On a machine that is gone there is nothing to end, and what went wrong before is told."""
    with sshd_in(tmp_path) as sshd:
        machine = connected(sshd.endpoint)
        with machine.background(["sleep", "60"]):
            sshd.drop_connections()
        machine = connected(sshd.endpoint)

        def fail() -> None:
            with machine.background(["sleep", "60"]):
                sshd.drop_connections()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        machine.close()
