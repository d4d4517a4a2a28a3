"""A machine over SSH, against a real sshd on loopback."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness.concurrency import side_by_side
from harness.deadline import Deadline
from harness.errors import CommandFailed, CommandTimedOut, MachineError, TimedOut
from harness.machine import SshEndpoint, SshMachine
from harness.machine import ssh as ssh_module

SSHD = Path("/usr/sbin/sshd")
# Anybody's; nothing in these tests has its private half.
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
USER = pwd.getpwuid(os.getuid()).pw_name

pytestmark = pytest.mark.skipif(
    not SSHD.exists(), reason="needs /usr/sbin/sshd (Debian: openssh-server)"
)


def new_key(file: Path, kind: str = "ed25519") -> str:
    """Make a key pair; its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", file], check=True)
    return " ".join(file.with_suffix(".pub").read_text().split()[:2])


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@dataclass(frozen=True)
class Sshd:
    """A running sshd, and how to log in to it."""

    endpoint: SshEndpoint
    process: subprocess.Popen[bytes]
    folder: Path

    def drop_connections(self) -> None:
        """Kill what serves the connections, as if the machine had died."""
        for pid in children(self.process.pid):
            os.kill(pid, signal.SIGKILL)

    def freeze(self) -> None:
        """Stop what serves the connections, as if the machine stood still."""
        for pid in children(self.process.pid):
            for process in (pid, *children(pid)):
                os.kill(process, signal.SIGSTOP)


@contextmanager
def sshd_in(folder: Path, kind: str = "ed25519") -> Iterator[Sshd]:
    host_key = new_key(folder / "host", kind)
    (folder / "authorized_keys").write_text(new_key(folder / "client") + "\n")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True, mode=0o755)  # it insists, and nobody makes it
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\nMaxSessions 50\n"
    )
    argv = [str(SSHD), "-D", "-e", "-f", str(folder / "config")]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=log) as process,
    ):
        endpoint = SshEndpoint("127.0.0.1", port, USER, folder / "client", host_key)
        sshd = Sshd(endpoint, process, folder)
        try:
            yield sshd
        finally:
            sshd.drop_connections()  # what is frozen would outlive it
            process.kill()


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd_in(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def connected(endpoint: SshEndpoint) -> SshMachine:
    return SshMachine.connect("guest", endpoint, Deadline.after(20))


@pytest.fixture(scope="module")
def machine(sshd: Sshd) -> Iterator[SshMachine]:
    connection = connected(sshd.endpoint)
    yield connection
    connection.close()


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_command_is_a_list_and_arrives_as_it_is(machine: SshMachine) -> None:
    """SSH knows only shell lines; the quoting is ours."""
    done = machine.run(["printf", "%s|", "$HOME", "a b", "'; exit 3 #", "*", "", "ü\n"])
    assert done.stdout == "$HOME|a b|'; exit 3 #|*||ü\n|"
    assert (done.status, done.stderr) == (0, "")


def test_a_failure_tells_status_and_both_streams(machine: SshMachine) -> None:
    """As on this host."""
    with pytest.raises(CommandFailed, match="guest: sh -euc") as failure:
        machine.sh("echo out; echo err >&2; exit 3")
    assert failure.value.status == 3
    assert (failure.value.stdout, failure.value.stderr) == ("out\n", "err\n")


def test_a_program_that_is_not_there_is_named(machine: SshMachine) -> None:
    """By the shell on the other side."""
    with pytest.raises(CommandFailed, match=r"no-such-program.*not found") as failure:
        machine.run(["no-such-program"])
    assert failure.value.status == 127


def test_a_timeout_kills_the_remote_command(machine: SshMachine) -> None:
    """It must not go on writing to a disk that the next test uses."""
    started = time.monotonic()
    with pytest.raises(CommandTimedOut) as late:
        machine.sh("echo $$; exec sleep 60", timeout_s=0.5)
    assert time.monotonic() - started < 4
    assert not runs(int(late.value.stdout))


def test_a_command_that_does_not_read_its_input_still_times_out(machine: SshMachine) -> None:
    """A full window must not hold up the clock."""
    started = time.monotonic()
    with pytest.raises(CommandTimedOut):
        machine.run(["sleep", "60"], stdin=b"x" * 8_000_000, timeout_s=0.5)
    assert time.monotonic() - started < 4


def test_all_streams_may_be_large_at_once(machine: SshMachine) -> None:
    """More than any window or pipe holds, in every direction."""
    data = os.urandom(3_000_000)
    done = machine.sh("head -c 3000000 /dev/zero >&2 & head -c 3000000 /dev/zero; wait")
    assert (len(done.stdout_bytes), len(done.stderr_bytes)) == (3_000_000, 3_000_000)
    assert machine.run(["cat"], stdin=data).stdout_bytes == data


def test_commands_share_the_connection(machine: SshMachine) -> None:
    """They run at once, each with its own output."""
    started = time.monotonic()
    answers = side_by_side(
        *((lambda n=n: machine.sh(f"sleep 0.3; echo {n}").stdout) for n in range(8))
    )
    assert answers == [f"{n}\n" for n in range(8)]
    assert time.monotonic() - started < 2.4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_the_remote_command(machine: SshMachine, number: signal.Signals) -> None:
    """And only that: a negative status says that it was ended by one."""
    with machine.background(["sleep", "60"]) as process:
        assert process.running
        process.signal(number)
        assert process.wait(5).status < 0
        assert not process.running


def test_a_remote_command_may_answer_a_signal(machine: SshMachine) -> None:
    """fio finishes its I/O on SIGINT and ends by itself."""
    script = "trap 'echo asked; exit 0' INT; echo ready; while :; do sleep 0.05; done"
    heard: list[bytes] = []
    with machine.background(["sh", "-c", script], on_line=heard.append) as process:
        while not heard:
            time.sleep(0.01)
        process.signal(signal.SIGINT)
        assert process.wait(5).status == 0
    assert heard == [b"ready\n", b"asked\n"]


def test_a_background_command_ends_with_its_block(machine: SshMachine) -> None:
    """On the other side, not only here."""
    heard: list[bytes] = []
    with machine.background(["sh", "-c", "echo $$; exec sleep 60"], on_line=heard.append):
        while not heard:
            time.sleep(0.01)
    assert not runs(int(heard[0]))


def test_files_go_there_and_come_back(machine: SshMachine, tmp_path: Path) -> None:
    """Any bytes, several in one go, odd names."""
    content: dict[str, str | bytes] = {
        f"{tmp_path}/new/{n}": os.urandom(70_000) for n in ("a b", "ü")
    }
    machine.write_files(content, mode=0o600)
    assert machine.download(list(content)) == content
    assert machine.read_file(f"{tmp_path}/new/a b") == content[f"{tmp_path}/new/a b"]


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
    assert 0.4 < time.monotonic() - started < 3


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
    """And closing twice is fine."""
    machine = connected(sshd.endpoint)
    machine.close()
    machine.close()
    with pytest.raises(MachineError, match="connection lost"):
        machine.run(["true"])


@pytest.fixture
def freezing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Sshd, SshMachine]]:
    """A machine that will stand still, and is waited for only briefly."""
    with sshd_in(tmp_path) as sshd:
        machine = connected(sshd.endpoint)
        monkeypatch.setattr(ssh_module, "_ANSWER_TIMEOUT_S", 0.5)
        yield sshd, machine
        machine.close()


def test_a_machine_that_stands_still_is_given_up(freezing: tuple[Sshd, SshMachine]) -> None:
    """The first command waits, those that run end, and later ones do not wait any more."""
    sshd, machine = freezing
    running = machine.start(["sleep", "60"])
    sshd.freeze()
    started = time.monotonic()
    with pytest.raises(MachineError, match="guest: connection lost: no answer within 0 s"):
        machine.run(["true"])
    assert 0.4 < time.monotonic() - started < 3
    with pytest.raises(MachineError, match="connection lost: while sleep ran"):
        running.wait(10)
    again = time.monotonic()
    with pytest.raises(MachineError, match="guest: connection lost: no answer within 0 s"):
        machine.run(["true"])
    assert time.monotonic() - again < 0.3


def test_a_machine_that_stands_still_as_a_command_starts_is_given_up(
    freezing: tuple[Sshd, SshMachine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The channel is open, and the command is never confirmed."""
    sshd, machine = freezing
    transport = machine._client.get_transport()
    assert transport is not None
    opened = transport.open_session(timeout=5)

    def open_session(**_: object) -> object:
        sshd.freeze()
        return opened

    monkeypatch.setattr(transport, "open_session", open_session)
    started = time.monotonic()
    with pytest.raises(MachineError, match="guest: connection lost: no answer within 0 s"):
        machine.run(["true"])
    assert 0.4 < time.monotonic() - started < 3


def test_input_that_nobody_takes_is_given_up(
    machine: SshMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the window is full; the machine is well, and goes on."""
    monkeypatch.setattr(ssh_module, "_ANSWER_TIMEOUT_S", 0.5)
    with machine.background(["sleep", "60"]) as process:
        started = time.monotonic()
        with pytest.raises(MachineError, match="sleep reads no input: room for more: not within"):
            process.send(b"x" * 8_000_000)
        assert 0.4 < time.monotonic() - started < 3
    assert machine.run(["echo", "well"]).stdout == "well\n"


def test_a_connection_that_is_full_is_given_up(tmp_path: Path) -> None:
    """Its buffers hold what the machine does not take, and even a small request finds no room."""
    timeout_s = 1.0
    with sshd_in(tmp_path) as sshd, pytest.MonkeyPatch.context() as patient:
        patient.setattr(ssh_module, "_ANSWER_TIMEOUT_S", timeout_s)
        machine = connected(sshd.endpoint)
        processes = [machine.start(["sleep", "60"]) for _ in range(12)]
        sshd.freeze()

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
