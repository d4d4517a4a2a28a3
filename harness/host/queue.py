"""A queue for places of which there are few: who has them, who waits, whose turn it is.

    FOLDER/NAME.0, NAME.1, …           a place, flock'd by the process that is named in it
    FOLDER/NAME.waits-TIME-PID-NUMBER  a ticket, flock'd by the process that waits

The kernel frees a place when its process dies. Those that wait come first come, first served: a
worker that goes from one test to the next does not overtake them. The folder may belong to
several users: then its files can be written by all of them, and what they say is not believed.
"""

from __future__ import annotations

import itertools
import json
import os
import pwd
import re
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.deadline import Deadline, poll
from harness.errors import ConfigError
from harness.locks import Mode, make_locked, try_lock
from harness.steps import Spent, progress, step
from harness.units import format_seconds

PATIENCE_S = 24 * 3600.0
_LONGEST = 4096  # of what a file says
_FOR_ALL = 0o666  # users

_numbers = itertools.count()


@dataclass(frozen=True)
class Holder:
    """A process that has a place. `since` as time.time() has it, `doing` is its test or command."""

    what: str
    doing: str
    pid: int
    user: str
    since: float

    def __str__(self) -> str:
        began = time.strftime("%H:%M:%S", time.localtime(self.since))
        return f"{self.what} ({self.doing}; pid {self.pid} of {self.user}; since {began})"

    @property
    def lasting(self) -> str:
        """The same, and for how long by now."""
        return f"{self} for {format_seconds(max(0.0, time.time() - self.since))}"


def this_process(what: str) -> Holder:
    """This process, which is about to have a place for `what`."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return Holder(what, test or command, os.getpid(), _user(), time.time())


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


@dataclass(frozen=True)
class Queue:
    """For `places` things that testbeds need, of which `title` says what one is.

    All who want one give the same folder and name. `limit` says why there are no more.
    """

    folder: Path
    name: str
    places: int
    title: str
    limit: str = ""

    @contextmanager
    def turn(self, what: str) -> Iterator[None]:
        """Wait until one of the places is free, and hold it for the length of the block.

        `what` is said to those that wait meanwhile. Raises ConfigError if the folder is not for us.
        """
        with ExitStack() as held:
            with ExitStack() as waiting:
                ticket = self._ticket(waiting)
                if not self._taken(ticket, what, held):
                    self._wait(ticket, what, held)
            yield

    @property
    def someone_waits(self) -> bool:
        """Whether a living process waits for one of the places."""
        return any(_is_held(path) for path in self._tickets())

    def _wait(self, ticket: Path, what: str, held: ExitStack) -> None:
        with step(f"Wait for {self.title}", Spent.TURN):

            def taken() -> bool:
                progress(self._said(ticket))
                return self._taken(ticket, what, held)

            poll(taken, what=self.title, deadline=Deadline.after(PATIENCE_S), every_s=0.1)

    def _said(self, ticket: Path) -> str:
        """Who has the places, and how many wait ahead of `ticket`."""
        found = [_holder(self._place(number)) for number in range(self.places)]
        holders = ", ".join(holder.lasting for holder in found if holder)
        ahead = len(self._ahead(ticket))
        said = [self.limit, f"held by {holders or 'somebody'}"]
        if ahead:
            said.append(f"{ahead} {'waits' if ahead == 1 else 'wait'} ahead")
        return "; ".join(filter(None, said))

    def _taken(self, ticket: Path, what: str, held: ExitStack) -> bool:
        """Whether it is the turn of `ticket`, and a place is this process's now."""
        if self._ahead(ticket):
            return False
        for number in range(self.places):
            with ExitStack() as attempt:
                descriptor = _opened(self._place(number))
                attempt.callback(os.close, descriptor)
                if not try_lock(descriptor):
                    continue
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(asdict(this_process(what))).encode(), 0)
                attempt.callback(os.ftruncate, descriptor, 0)
                held.enter_context(attempt.pop_all())
                return True
        return False

    def _place(self, number: int) -> Path:
        return self.folder / f"{self.name}.{number}"

    def _ticket(self, waiting: ExitStack) -> Path:
        """A new one, the last of all."""
        order = f"{time.monotonic_ns():020}-{os.getpid()}-{next(_numbers)}"
        path = self.folder / f"{self.name}.waits-{order}"
        with _explained(path):
            waiting.callback(os.close, make_locked(path, _FOR_ALL))
        waiting.callback(path.unlink, missing_ok=True)
        return path

    def _ahead(self, ticket: Path) -> list[Path]:
        """The tickets of living processes that were there before; those of the dead are removed."""
        before = [path for path in self._tickets() if path.name < ticket.name]
        alive = []
        for path in before:
            if _is_held(path):
                alive.append(path)
            else:
                with suppress(OSError):  # in a folder of several users it is its owner's to remove
                    path.unlink()
        return alive

    def _tickets(self) -> list[Path]:
        prefix = f"{self.name}.waits-"
        return sorted(path for path in self.folder.iterdir() if path.name.startswith(prefix))


def printable(text: str) -> str:
    """What others wrote, without control characters, which a terminal would obey."""
    return re.sub(r"[^\x20-\x7e]", "?", text)


def _holder(place: Path) -> Holder | None:
    """Who has a place by what its file says; None if it says nothing that makes sense."""
    try:
        with place.open("rb") as file:
            said = json.loads(file.read(_LONGEST))
        texts = {key: printable(str(said[key])) for key in ("what", "doing", "user")}
        return Holder(pid=int(said["pid"]), since=float(said["since"]), **texts)
    except (OSError, ValueError, KeyError, TypeError):  # other users may write it
        return None


def _is_held(ticket: Path) -> bool:
    """Whether its process is alive; one that cannot be looked at is taken for alive."""
    try:
        descriptor = os.open(ticket, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return not try_lock(descriptor, Mode.SHARED)
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """A file that every user who may enter its folder can write; made if missing.

    Not by O_CREAT alone: the kernel refuses that for another user's file in a folder like /var/tmp
    (fs.protected_regular, proc_sys_fs(5)).
    """
    with _explained(path):
        while True:
            with suppress(FileNotFoundError):
                return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            with suppress(FileExistsError):
                return make_locked(path, _FOR_ALL)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Raises ConfigError for what the file system refuses."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", hint="testbeds take turns by this file: let it be written"
        ) from None
