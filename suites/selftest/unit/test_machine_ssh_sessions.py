"""More commands at once than one connection to a machine takes."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from queue import Queue
from typing import Any

import paramiko
import pytest

from harness.concurrency import side_by_side
from harness.errors import MachineError
from harness.machine import SshMachine
from harness.machine import ssh as ssh_module
from suites.selftest.unit.sshd import NEEDS_SSHD, Sshd, children, connected, runs, sshd_in

pytestmark = NEEDS_SSHD


@pytest.mark.parametrize("max_sessions", [1, 3])
def test_more_commands_at_once_than_a_connection_takes(tmp_path: Path, max_sessions: int) -> None:
    """Each connection takes as many as sshd allows, and no connection is made without need."""
    commands, connections = 2 * max_sessions + 1, 4 if max_sessions == 1 else 3
    with sshd_in(tmp_path, max_sessions=max_sessions) as sshd, ExitStack() as stack:
        machine = connected(sshd.endpoint)
        stack.callback(machine.close)
        for _ in range(commands):
            stack.enter_context(machine.background(["sleep", "60"]))
        assert machine.run(["echo", "one more"]).stdout == "one more\n"
        assert len(children(sshd.process.pid)) == connections


def test_commands_that_start_at_the_same_time_share_new_connections(tmp_path: Path) -> None:
    """One that waits for a connection to be made uses it, too."""
    with sshd_in(tmp_path, max_sessions=4) as sshd:
        machine = connected(sshd.endpoint)
        script = "sleep 1; echo done"
        done = side_by_side(*(lambda: machine.sh(script).stdout for _ in range(12)))
        assert done == ["done\n"] * 12
        assert len(machine._clients) == 3
        machine.close()
        with pytest.raises(MachineError, match="connection lost"):
            machine.run(["true"])


def test_a_command_beside_a_full_connection_can_be_ended(tmp_path: Path) -> None:
    """A signal is a command of its own, which needs a channel."""
    with sshd_in(tmp_path, max_sessions=1) as sshd:
        machine = connected(sshd.endpoint)
        pids: Queue[bytes] = Queue()
        with machine.background(["sh", "-c", "echo $$; exec sleep 60"], on_line=pids.put):
            pid = int(pids.get(timeout=20))
            assert runs(pid)
        assert not runs(pid)
        machine.close()


def test_a_connection_that_is_lost_is_used_no_more(tmp_path: Path) -> None:
    """The machine is lost once none is left."""
    with sshd_in(tmp_path, max_sessions=1) as sshd:
        machine = connected(sshd.endpoint)
        with machine.background(["sleep", "60"]):
            assert machine.run(["echo", "beside"]).stdout == "beside\n"
            _, newest = machine._clients
            transport_of(newest).close()
            assert machine.run(["echo", "still there"]).stdout == "still there\n"
            assert newest not in machine._clients
            sshd.drop_connections()
        with pytest.raises(MachineError, match="connection lost"):
            machine.run(["true"])


def test_a_connection_that_is_lost_as_it_is_asked_is_used_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one takes the command."""
    with sshd_in(tmp_path, max_sessions=1) as sshd:
        machine = connected(sshd.endpoint)
        with machine.background(["sleep", "60"]):
            machine.run(["true"])
        transport = transport_of(machine._clients[1])

        def open_session(**_: object) -> object:
            transport.close()
            raise EOFError

        monkeypatch.setattr(transport, "open_session", open_session)
        assert machine.run(["echo", "by the first"]).stdout == "by the first\n"
        assert len(machine._clients) == 1
        machine.close()


def test_a_login_for_one_more_command_ends_with_the_time_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for an answer that does not come."""
    with sshd_in(tmp_path, max_sessions=1) as sshd:
        machine = connected(sshd.endpoint)
        with machine.background(["sleep", "60"]):
            monkeypatch.setattr(ssh_module, "_ANSWER_TIMEOUT_S", 0.3)
            monkeypatch.setattr(ssh_module, "_BANNER_TIMEOUT_S", 8.0)
            os.kill(sshd.process.pid, signal.SIGSTOP)
            started = time.monotonic()
            with pytest.raises(MachineError, match="no answer within 0 s"):
                machine.run(["true"])
            assert time.monotonic() - started < 15


def test_a_connection_that_is_made_while_all_are_closed_is_closed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would close it later."""
    made: list[paramiko.SSHClient] = []
    login = ssh_module._login

    def log_in(client: paramiko.SSHClient, *given: Any) -> None:
        login(client, *given)
        made.append(client)
        machine.close()

    with sshd_in(tmp_path, max_sessions=1) as sshd:
        machine = connected(sshd.endpoint)
        with machine.background(["sleep", "60"]):
            monkeypatch.setattr(ssh_module, "_login", log_in)
            with pytest.raises(MachineError, match="connection lost: closed"):
                machine.run(["true"])
        (client,) = made
        assert client.get_transport() is None


def transport_of(client: paramiko.SSHClient) -> paramiko.Transport:
    transport = client.get_transport()
    assert transport is not None
    return transport


def test_a_machine_that_allows_no_session_says_what_to_change(tmp_path: Path) -> None:
    """Login succeeds there, and no command runs."""
    with sshd_in(tmp_path, max_sessions=0) as sshd:
        machine: SshMachine = connected(sshd.endpoint)
        with pytest.raises(MachineError, match="even a new connection refuses") as refused:
            machine.run(["true"])
        assert "MaxSessions" in (refused.value.hint or "")
        machine.close()


def test_an_sshd_is_killed_even_if_its_connections_cannot_be_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that waited for it would hang; and what ended meanwhile has no children."""
    monkeypatch.setattr(Sshd, "drop_connections", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError), sshd_in(tmp_path) as sshd:
        pass
    assert sshd.process.returncode == -signal.SIGKILL
    assert children(sshd.process.pid) == []
