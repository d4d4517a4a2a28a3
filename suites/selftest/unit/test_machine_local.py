"""This very host as a machine, with real processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.concurrency import side_by_side
from harness.deadline import Deadline, poll
from harness.errors import CommandFailed, CommandTimedOut, MachineError
from harness.machine import LocalMachine

MACHINE = LocalMachine()
NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=20)


def runs(pid: int) -> bool:
    """Whether it exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_command_is_a_list_and_no_shell_sees_it() -> None:
    """Whatever stands in its arguments."""
    done = MACHINE.run(["printf", "%s|", "$HOME", "a b", "'; exit 3 #", "*"])
    assert done.stdout == "$HOME|a b|'; exit 3 #|*|"
    assert (done.status, done.stderr) == (0, "")


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=5))
@settings(max_examples=25, deadline=None)
def test_every_argument_arrives_as_it_is(arguments: list[str]) -> None:
    """Spaces, quotes, line ends, any alphabet."""
    done = MACHINE.run(["printf", "%s\\0", "-", *arguments])
    assert done.stdout_bytes.decode() == "".join(a + "\0" for a in ["-", *arguments])


def test_a_failure_tells_status_and_both_streams() -> None:
    """With the machine and the command."""
    with pytest.raises(CommandFailed) as failure:
        MACHINE.sh("echo out; echo err >&2; exit 3")
    assert failure.value.status == 3
    assert (failure.value.stdout, failure.value.stderr) == ("out\n", "err\n")
    assert "this host: sh -euc" in failure.value.message


def test_a_failure_is_no_error_if_it_was_asked_for() -> None:
    """Some answers are in the status."""
    assert MACHINE.run(["false"], check=False).status == 1


def test_a_script_stops_at_its_first_failure() -> None:
    """An unset variable is a failure, too."""
    with pytest.raises(CommandFailed) as failure:
        MACHINE.sh("echo one; false; echo two")
    assert failure.value.stdout == "one\n"
    with pytest.raises(CommandFailed):
        MACHINE.sh('echo "$pathproof_unset"')


def test_a_program_that_is_not_there_is_named() -> None:
    """It is the lab that is broken."""
    with pytest.raises(MachineError, match="cannot start no-such-program"):
        MACHINE.run(["no-such-program"])


def test_commands_run_in_a_folder_and_with_variables_that_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Besides those that this process has by then; a program is looked for from that folder."""
    (tmp_path / "tell").write_text('#!/bin/sh\npwd; echo "$OWN $GIVEN"\n')
    (tmp_path / "tell").chmod(0o755)
    machine = LocalMachine(folder=tmp_path, environment={"GIVEN": "b"})
    monkeypatch.setenv("OWN", "a")
    assert machine.run(["./tell"]).stdout == f"{tmp_path}\na b\n"


def test_a_timeout_kills_the_command_and_keeps_what_it_said() -> None:
    """Within the time that it takes to end it."""
    started = time.monotonic()
    with pytest.raises(CommandTimedOut) as late:
        MACHINE.sh("echo $$; exec sleep 60", timeout_s=0.3)
    assert time.monotonic() - started < 3
    assert not runs(int(late.value.stdout))


def test_a_timeout_kills_the_children_of_the_command_too(tmp_path: Path) -> None:
    """A shell's pipeline is one command."""
    with pytest.raises(CommandTimedOut):
        MACHINE.sh(f"sleep 60 & echo $! >{tmp_path}/pid; wait", timeout_s=0.3)
    pid = int((tmp_path / "pid").read_text())
    poll(lambda: not runs(pid), what="the child's end", deadline=Deadline.after(5))


def test_a_command_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After it had its chance."""
    monkeypatch.setattr("harness.machine.base.ENDING_TIMEOUT_S", 0.3)
    with pytest.raises(CommandTimedOut) as late:
        MACHINE.sh("trap '' TERM; echo $$; while :; do sleep 0.05; done", timeout_s=0.3)
    assert not runs(int(late.value.stdout))


def test_both_streams_may_be_large_at_once() -> None:
    """Draining one before the other would wait for ever."""
    done = MACHINE.sh(
        "head -c 3000000 /dev/zero & head -c 3000000 /dev/zero >&2; wait", timeout_s=20
    )
    assert (len(done.stdout_bytes), len(done.stderr_bytes)) == (3_000_000, 3_000_000)


def test_input_and_output_may_be_large_at_once() -> None:
    """`cat` says as much as it hears."""
    data = os.urandom(3_000_000)
    assert MACHINE.run(["cat"], stdin=data, timeout_s=20).stdout_bytes == data


def test_a_command_that_does_not_read_its_input_still_times_out() -> None:
    """Much more input than a pipe holds must not hold up the clock."""
    started = time.monotonic()
    with pytest.raises(CommandTimedOut):
        MACHINE.run(["sleep", "60"], stdin=b"x" * 1_000_000, timeout_s=0.3)
    assert time.monotonic() - started < 3


def test_a_command_that_fails_before_its_input_is_read_says_why() -> None:
    """Its own words count, not the broken pipe."""
    with pytest.raises(CommandFailed, match="no room") as failure:
        MACHINE.run(["sh", "-c", "echo no room >&2; exit 4"], stdin=b"x" * 1_000_000)
    assert failure.value.status == 4


def test_a_command_sees_the_end_of_its_input() -> None:
    """Also if there is none."""
    assert MACHINE.run(["cat"], timeout_s=5).stdout == ""


def test_bytes_that_are_no_text_are_kept() -> None:
    """They are shown with replacement characters."""
    done = MACHINE.run(["printf", "\\377ok"])
    assert done.stdout_bytes == b"\xffok"
    assert done.stdout == "�ok"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_a_command_and_shows_in_its_status(number: signal.Signals) -> None:
    """The status is the negative of the signal's number."""
    with MACHINE.background(["sleep", "60"]) as process:
        process.signal(number)
        assert process.wait(5).status == -number
        assert not process.running
        process.signal(number)  # to one that has ended: nothing


def test_a_background_command_is_ended_and_reaped_with_its_block() -> None:
    """Whether the block is left by its end or by an error."""
    with pytest.raises(RuntimeError), MACHINE.background(["sleep", "60"]) as process:
        raise RuntimeError
    assert not process.running
    with MACHINE.background(["sh", "-c", "echo $$; exec sleep 60"]) as process:
        time.sleep(0.2)
    pid = int(process.wait(0).stdout)
    assert not Path(f"/proc/{pid}").exists()
    process.end()  # once more: nothing


def test_waiting_too_long_leaves_a_background_command_running() -> None:
    """Only `run` kills."""
    with MACHINE.background(["sleep", "60"]) as process:
        with pytest.raises(CommandTimedOut):
            process.wait(0.1)
        assert process.running


def test_lines_are_heard_while_the_command_runs() -> None:
    """One at a time, with their ends, in a conversation."""
    heard: list[bytes] = []
    came = threading.Event()

    def hear(line: bytes) -> None:
        heard.append(line)
        came.set()

    with MACHINE.background(["cat"], on_line=hear) as process:
        for word in (b"one\n", b"two\n"):
            came.clear()
            process.send(word)
            assert came.wait(5)
        process.close_input()
        assert process.wait(5).stdout == ""
    assert heard == [b"one\n", b"two\n"]


def test_what_a_listener_raises_is_raised_where_the_command_is_waited_for() -> None:
    """The command's output is read to its end: a full pipe would stop it."""
    heard: list[bytes] = []

    def hear(line: bytes) -> None:
        heard.append(line)
        if len(heard) == 1:
            raise TypeError("on purpose")

    process = MACHINE.start(["seq", "100000"], on_line=hear)
    with pytest.raises(TypeError, match="on purpose"):
        process.wait(20)
    assert len(heard) == 100_000


def test_what_a_listener_raises_is_raised_at_the_end_of_the_block() -> None:
    """If the command was not waited for."""
    came = threading.Event()

    def hear(_: bytes) -> None:
        came.set()
        raise TypeError("on purpose")

    def block() -> None:
        with MACHINE.background(["sh", "-c", "echo; exec sleep 60"], on_line=hear):
            assert came.wait(10)
            time.sleep(0.05)

    with pytest.raises(TypeError, match="on purpose"):
        block()


def test_sending_to_a_command_that_is_gone_is_an_error() -> None:
    """With its name."""
    with MACHINE.background(["true"]) as process:
        process.wait(5)
        with pytest.raises(MachineError, match="true reads no input"):
            process.send(b"x" * 100_000)


def test_many_commands_run_at_once() -> None:
    """Each with its own output."""
    results = side_by_side(*((lambda n=n: MACHINE.run(["echo", str(n)]).stdout) for n in range(8)))
    assert results == [f"{n}\n" for n in range(8)]


@given(files=st.dictionaries(NAMES.filter(lambda n: n not in (".", "..")), st.binary(), max_size=5))
@settings(max_examples=20, deadline=None)
def test_files_arrive_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    """Any name, any bytes, several in one go, in folders that did not exist."""
    folder = tmp_path_factory.mktemp("files") / "new" / "er"
    content: dict[str, str | bytes] = {f"{folder}/{name}": data for name, data in files.items()}
    MACHINE.write_files(content, mode=0o640)
    for name, data in files.items():
        assert (folder / name).read_bytes() == data
        assert (folder / name).stat().st_mode & 0o777 == 0o640
    if files:
        assert MACHINE.download(list(content)) == content


def test_a_backslash_in_a_name_is_a_backslash(tmp_path: Path) -> None:
    """tar would take it for the beginning of an escape."""
    content: dict[str, str | bytes] = {f"{tmp_path}/a\\1\\n": b"here"}
    MACHINE.write_files(content)
    assert MACHINE.download(list(content)) == content


def test_text_is_written_as_utf_8(tmp_path: Path) -> None:
    """Whatever the machine's locale."""
    MACHINE.write_files({f"{tmp_path}/text": "größer\n"})
    assert (tmp_path / "text").read_bytes() == "größer\n".encode()


def test_a_file_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    """Not even among others."""
    (tmp_path / "there").touch()
    with pytest.raises(CommandFailed, match="missing"):
        MACHINE.download([f"{tmp_path}/there", f"{tmp_path}/missing"])
