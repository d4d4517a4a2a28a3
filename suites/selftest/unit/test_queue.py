"""Places of which there are few, with real threads, processes and users."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import harness
from harness.deadline import Deadline, poll
from harness.errors import ConfigError
from harness.host.queue import Queue
from harness.locks import Mode, try_lock
from harness.steps import Listener, Step, listening
from suites.selftest import needs

TOP = Path(harness.__file__).parent.parent
NOBODY = 65534
HAVE = """
import os, sys
from pathlib import Path
from harness.host.queue import Queue
place = Queue(Path(sys.argv[1]), "place", 1, "a place")
if len(sys.argv) > 2:
    os.umask(0o077)
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
with place.turn("theirs"):
    print("had", flush=True)
    sys.stdin.read()
"""


def queue(folder: Path, places: int = 1) -> Queue:
    return Queue(folder, "place", places, "a place", f"{places} at once")


@contextmanager
def another(folder: Path, *user: int) -> Iterator[subprocess.Popen[str]]:
    """A process, perhaps of another user, that has the place until its input ends."""
    argv = [sys.executable, "-c", HAVE, str(folder), *map(str, user)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TOP
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def has_it(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == "had\n"


def soon(condition: Callable[[], object]) -> None:
    poll(
        lambda: bool(condition()),
        what="what was waited for",
        deadline=Deadline.after(10),
        every_s=0.01,
    )


class Said(Listener):
    """What is said while somebody waits, by the title of the step."""

    def __init__(self) -> None:
        self.last = ""

    def progressed(self, step: Step, message: str, fraction: float | None) -> None:
        self.last = f"{step.title}: {message}"


@contextmanager
def waiting(
    place: Queue, what: str = "waiting", then: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """A thread waits for a place during the block; at its end it must get one."""
    before = set(place._tickets())

    def wait() -> None:
        with place.turn(what):
            then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    soon(lambda: set(place._tickets()) - before)
    try:
        yield
    finally:
        thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder for every user, as /var/tmp is."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o1777)
        yield folder


def test_there_is_no_more_room_than_allowed(tmp_path: Path) -> None:
    """The third waits until one of the others is done."""
    two = queue(tmp_path, 2)
    entered = threading.Event()
    first, second = two.turn("first"), two.turn("second")
    with first:
        second.__enter__()
        with waiting(two, then=entered.set):
            assert not entered.wait(0.3)
            second.__exit__(None, None, None)
        assert entered.is_set()


def test_who_waits_is_not_overtaken(tmp_path: Path) -> None:
    """A worker that is done with one test and goes on to the next has to queue."""
    one = queue(tmp_path)
    order: list[str] = []
    first = one.turn("first")
    first.__enter__()
    with waiting(one, then=lambda: order.append("second")):
        first.__exit__(None, None, None)
        with one.turn("first"):
            order.append("first again")
    assert order == ["second", "first again"]


def test_a_killed_process_frees_its_place(tmp_path: Path) -> None:
    """The kernel does it, and nothing else could."""
    with another(tmp_path) as process:
        assert has_it(process)
        process.kill()
    with queue(tmp_path).turn("own"):
        pass


def test_who_waits_is_told_for_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which testbed, in which test, which process of whom, since when; how many are ahead."""
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "suites/failover/test_x.py::test_y[a b] (setup)")
    one = queue(tmp_path)
    said = Said()
    holder = one.turn("lab-3f2a1c")
    holder.__enter__()
    with waiting(one), listening(said), waiting(one):
        who = f"lab-3f2a1c (suites/failover/test_x.py::test_y[a b]; pid {os.getpid()} of "
        soon(lambda: said.last.endswith("; 1 waits ahead"))
        assert said.last.startswith(f"Wait for a place: 1 at once; held by {who}")
        assert "; since " in said.last
        holder.__exit__(None, None, None)


def test_outside_of_tests_the_command_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pathproof up` takes a place as well."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pathproof", "up", "--name", "a b"])
    one = queue(tmp_path)
    with one.turn("lab-1"):
        assert (
            json.loads((tmp_path / "place.0").read_text())["doing"] == "pathproof up --name 'a b'"
        )
    assert (tmp_path / "place.0").read_text() == ""


def test_whether_somebody_waits_is_known(tmp_path: Path) -> None:
    """Somebody else, not who asks; those that died waiting do not count."""
    one = queue(tmp_path)
    holder = one.turn("first")
    holder.__enter__()
    with another(tmp_path) as process:
        soon(lambda: one.someone_waits)
        process.kill()
        process.wait()
    assert len(one._tickets()) == 1
    soon(lambda: not one.someone_waits)
    with waiting(one):  # not behind the dead one
        soon(lambda: one.someone_waits)
        holder.__exit__(None, None, None)
    assert one._tickets() == []


def test_a_ticket_of_the_dead_does_not_count_whatever_its_time(tmp_path: Path) -> None:
    """The clock may have been set back since."""
    dead = tmp_path / "place.waits-00000000000000000001-1-0"
    dead.touch()
    os.utime(dead, (time.time() + 3600,) * 2)
    one = queue(tmp_path)
    assert not one.someone_waits
    with one.turn("first"):
        assert one._tickets() == []


@pytest.mark.parametrize("step", ["fchmod", "link"])
def test_who_is_killed_while_a_ticket_is_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """One that other users cannot open would count as that of a living process."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    one = queue(tmp_path)
    with monkeypatch.context() as dying:
        dying.setattr(os, step, killed)
        with pytest.raises(KeyboardInterrupt), one.turn("first"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_ticket_is_locked_and_open_to_all_when_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at it never finds it in between."""
    seen: list[tuple[int, bool]] = []
    link = os.link

    def named(draft: str, path: Path) -> None:
        with Path(draft).open("rb") as file:
            locked = not try_lock(file, Mode.SHARED)
            seen.append((os.fstat(file.fileno()).st_mode & 0o777, locked))
        link(draft, path)

    monkeypatch.setattr(os, "link", named)
    before = os.umask(0o077)
    try:
        with queue(tmp_path).turn("first"):
            pass
    finally:
        os.umask(before)
    assert seen == [(0o666, True)] * 2  # the ticket and the place


@pytest.mark.parametrize(
    "content", ["", "\0", "[]", "{}", '{"what": 1, "doing": 2, "user": 3, "pid": "x", "since": 0}']
)
def test_a_place_whose_file_says_nothing_is_somebodys(tmp_path: Path, content: str) -> None:
    one = queue(tmp_path)
    said = Said()
    holder = one.turn("first")
    holder.__enter__()
    (tmp_path / "place.0").write_text(content)
    with listening(said), waiting(one):
        soon(lambda: said.last.endswith("held by somebody"))
        holder.__exit__(None, None, None)


def test_what_others_wrote_does_not_reach_the_terminal_as_it_is(tmp_path: Path) -> None:
    one = queue(tmp_path)
    said = Said()
    holder = one.turn("\x1b[2Jevil\n")
    holder.__enter__()
    with listening(said), waiting(one):
        soon(lambda: "?[2Jevil? (" in said.last)
        holder.__exit__(None, None, None)


@pytest.mark.skipif(os.getuid() != 0, reason=needs.ROOT)
def test_two_users_take_turns(public: Path) -> None:
    """In either order, whatever their umask, and each knows the other."""
    one = queue(public)
    said = Said()
    with another(public, NOBODY) as process:
        assert has_it(process)
        with listening(said), waiting(one):
            soon(lambda: f"; pid {process.pid} of nobody; since" in said.last)
            process.kill()
    (public / "place.0").unlink()  # it was theirs
    holder = one.turn("own")
    holder.__enter__()
    with another(public, NOBODY) as process:
        soon(lambda: one.someone_waits)
        holder.__exit__(None, None, None)
        assert has_it(process)


@pytest.mark.skipif(os.getuid() != 0, reason=needs.ROOT)
def test_a_file_that_is_not_for_all_is_named(public: Path) -> None:
    (public / "place.0").touch(mode=0o600)
    with another(public, NOBODY) as process:
        assert process.wait(20) != 0
    (public / "place.0").unlink()
    (public / "place.0").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match=r"place\.0"), queue(public).turn("own"):
        pytest.fail("a link was followed")
