"""Commands and files of a machine over SSH."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.concurrency import side_by_side
from harness.errors import CommandFailed, CommandTimedOut, MachineError
from harness.machine import SshMachine
from harness.machine import ssh as ssh_module
from suites.selftest.unit.sshd import (
    NEEDS_SSHD,
    Sshd,
    connected,
    runs,
    sshd_in,
)

pytestmark = NEEDS_SSHD


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd_in(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(scope="module")
def machine(sshd: Sshd) -> Iterator[SshMachine]:
    connection = connected(sshd.endpoint)
    yield connection
    connection.close()


def test_a_command_is_a_list_and_arrives_as_it_is(machine: SshMachine) -> None:
    """SSH knows only shell lines; the harness quotes."""
    done = machine.run(["printf", "%s|", "$HOME", "a b", "'; exit 3 #", "*", "", "ü\n"])
    assert done.stdout == "$HOME|a b|'; exit 3 #|*||ü\n|"
    assert (done.status, done.stderr) == (0, "")


def test_a_failure_tells_status_and_both_streams(machine: SshMachine) -> None:
    """It is the same as on this host."""
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
    """Nothing else ends it: a negative status says that a signal did."""
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


def test_input_that_is_not_taken_is_given_up(
    machine: SshMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the window is full; the machine is well, and goes on."""
    with machine.background(["sleep", "60"]) as process:
        with monkeypatch.context() as impatient:
            impatient.setattr(ssh_module, "_ANSWER_TIMEOUT_S", 0.5)
            started = time.monotonic()
            with pytest.raises(
                MachineError, match="sleep reads no input: room for more: not within"
            ):
                process.send(b"x" * 8_000_000)
        assert 0.4 < time.monotonic() - started < 15
    assert machine.run(["echo", "well"]).stdout == "well\n"
