"""Kill runs with SIGKILL at random instants, clean up after each, and count what is left.

    python -m suites.selftest.crash.kill_trial --rounds 50 --seed 1

A kept testbed stands beside the runs and must be alive after each of them. Testbeds and
snapshots lie in a folder of the trial's own; of the user's cache only images are read. The
exit status is 1 if anything was left or the kept testbed died. docs/crash-safety.md says more.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import IO

import harness
from harness.host.folder import SLOTS
from harness.hypervisor.ports import CANDIDATES
from suites.selftest.private_cache import make_private_cache

TOP = Path(harness.__file__).parent.parent
ONE_TEST = "suites/failover/test_path_loss.py::test_io_survives_a_loss[a-LinkDown]"
WORKERS_END_S = 180.0
LOOPBACK = "0100007F"  # 127.0.0.1 as /proc/net has it


@dataclass(frozen=True)
class Left:
    """What is left of runs, besides the kept testbed; each one named."""

    qemus: list[str]
    processes: list[str]
    sockets: list[str]
    ports: list[str]
    overlays: list[str]
    folders: list[str]
    drafts: list[str]
    locks: list[str]

    def __bool__(self) -> bool:
        return any(asdict(self).values())

    def __str__(self) -> str:
        named = [f"{kind}: {', '.join(found)}" for kind, found in asdict(self).items() if found]
        return "; ".join(named) or "nothing"


@dataclass(frozen=True)
class Place:
    """Where the trial's testbeds, snapshots and kept testbed are."""

    folder: Path
    kept: str = ""

    @property
    def state(self) -> Path:
        return self.folder / "s"

    @property
    def cache(self) -> Path:
        return self.folder / "c" / "pathproof"

    @property
    def environment(self) -> dict[str, str]:
        """PATHPROOF_STATE also marks every process that a run starts, but not QEMU."""
        own = {"PATHPROOF_STATE": str(self.state), "XDG_CACHE_HOME": str(self.cache.parent)}
        return os.environ | own

    def forget_snapshots(self) -> None:
        """Let the next run make one. The kept testbed goes on reading what it has open."""
        shutil.rmtree(self.cache / "snapshots", ignore_errors=True)

    def left(self) -> Left:
        """Look at processes, sockets, files and locks as the kernel has them."""
        own = {pid: line for pid, line in _command_lines().items() if self._is_own(pid, line)}
        foreign = {inode for pid in _command_lines() if pid not in own for inode in _sockets(pid)}
        state = str(self.state)
        paths = [path for path in self.state.rglob("*") if not self._is_kept(path)]
        return Left(
            qemus=[str(pid) for pid, line in own.items() if _is_qemu(line)],
            processes=[f"{pid} {line[:60]}" for pid, line in own.items() if not _is_qemu(line)],
            sockets=[
                name
                for inode, name in _unix_sockets()
                if (name.startswith(state) and not self._is_kept(Path(name)))
                or (name.startswith("@pathproof/") and inode not in foreign)
            ],
            ports=[name for inode, name in _ports() if inode not in foreign],
            overlays=[str(path) for path in paths if path.suffix == ".qcow2"],
            folders=[path.name for path in paths if path.parent == self.state],
            drafts=[str(path) for path in self.cache.glob("building/*/*")],
            locks=list(self._locks()),
        )

    def _is_kept(self, path: Path) -> bool:
        own = self.state / self.kept if self.kept else None
        return path == self.state / SLOTS or own in {path, *path.parents}

    def _is_own(self, pid: int, line: str) -> bool:
        if self.kept and f"{self.state}/{self.kept}/" in line:
            return False
        if f"{self.folder}/" in line:
            return True
        with suppress(OSError):
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            return os.fsencode(f"PATHPROOF_STATE={self.state}") in environment
        return False

    def _locks(self) -> Iterator[str]:
        """`1: FLOCK  ADVISORY  WRITE 4711 fe:00:16041019 0 EOF` (proc(5), /proc/locks)."""
        files = {}
        for path in (*self.state.rglob("*"), *self.cache.glob("locks/*/*")):
            if path.is_file() and not self._is_kept(path):
                status = path.stat()
                major, minor = os.major(status.st_dev), os.minor(status.st_dev)
                files[f"{major:02x}:{minor:02x}:{status.st_ino}"] = path
        for line in Path("/proc/locks").read_text().splitlines():
            for word in line.split():
                if word in files:
                    yield str(files[word])


def _is_qemu(line: str) -> bool:
    return "qemu" in line.split(maxsplit=1)[0]


def _command_lines() -> dict[int, str]:
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if line.strip():  # neither a zombie nor the kernel's own
                found[int(process.name)] = line
    return found


def _sockets(pid: int) -> Iterator[str]:
    """The inodes of a process's sockets: its descriptors lead to `socket:[626002]`."""
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                name = str(descriptor.readlink())
                if name.startswith("socket:["):
                    yield name.removeprefix("socket:[").removesuffix("]")


def _unix_sockets() -> Iterator[tuple[str, str]]:
    """Inode and name: `0000000009edfc29: 00000003 00000000 00000000 0001 03 626901 @name`."""
    for line in Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]:
        columns = line.split(maxsplit=7)
        if len(columns) == 8:
            yield columns[6], columns[7]


def _ports() -> Iterator[tuple[str, str]]:
    """Inode and name: `0: 0100007F:5181 00000000:0000 0A 0:0 00:0 0 0 0 626002 …` (proc(5))."""
    for kind in ("tcp", "udp"):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            columns = line.split()
            address, port = columns[1].split(":")
            waits_only = columns[9] == "0"
            if address == LOOPBACK and int(port, 16) in CANDIDATES and not waits_only:
                yield columns[9], f"{kind} {int(port, 16)}"


def _pathproof(place: Place, *arguments: str, check: bool = True) -> str:
    """Run the command and return what it printed. Raises CalledProcessError."""
    done = subprocess.run(
        [sys.executable, "-c", "from harness.cli import main; main()", *arguments],
        env=place.environment,
        cwd=TOP,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if check else subprocess.DEVNULL,
        text=True,
        check=check,
    )
    return done.stdout.strip()


def _start(place: Place, arguments: Sequence[str], log: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments, "--no-report", "-p", "no:cacheprovider"],
        env=place.environment,
        cwd=TOP,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _duration_s(place: Place, arguments: Sequence[str]) -> float:
    """How long a run takes that nothing disturbs. Raises CalledProcessError if it is broken.

    A test that fails is no obstacle: beside a kept testbed, throughput may well not recover.
    """
    began = time.monotonic()
    with (place.folder / "log").open("w") as log:
        status = _start(place, arguments, log).wait()
    said = (place.folder / "log").read_text()
    if status not in {0, 1} or "ERROR " in said:
        sys.stderr.write(said)
        raise subprocess.CalledProcessError(status, ["pytest", *arguments])
    return time.monotonic() - began


def _workers(controller: int) -> list[int]:
    """The processes that execnet started for pytest-xdist."""
    found = []
    for pid, line in _command_lines().items():
        with suppress(OSError):
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if int(after_name[1]) == controller and "exec(eval(sys.stdin.readline()))" in line:
                found.append(pid)
    return found


def _killed(place: Place, arguments: Sequence[str], instant_s: float, choose: random.Random) -> str:
    """Run until the instant, kill, and say who was killed and while doing what."""
    with (place.folder / "log").open("w") as log:
        run = _start(place, arguments, log)
        with suppress(subprocess.TimeoutExpired):
            run.wait(instant_s)
        workers = _workers(run.pid)
        victim = choose.choice([run.pid, *workers])
        had_ended = run.poll() is not None
        if not had_ended:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        if victim == run.pid:
            run.wait()
        # A worker ends by itself when it has no controller, and lives for others to wait for.
        deadline = time.monotonic() + WORKERS_END_S
        while set(workers) & _command_lines().keys() and time.monotonic() < deadline:
            time.sleep(0.1)
        run.wait(WORKERS_END_S)
    lines = [line.strip() for line in (place.folder / "log").read_text().splitlines()]
    doing = next((line for line in reversed(lines) if line), "before the first line")
    if had_ended:
        return "no process, the run had ended"
    return f"{'pytest' if victim == run.pid else 'a worker'}, after: {doing[:60]}"


def _is_alive(place: Place) -> bool:
    """Whether the kept testbed can be logged in to, and its map has not lost a path."""
    try:
        map_state = _pathproof(place, "ssh", place.kept, "initiator", "--", "multipath", "-ll")
    except subprocess.CalledProcessError:
        return False
    return map_state.count("active ready running") >= 2


def _instants(rounds: int, choose: random.Random) -> list[float]:
    """Fractions of a run's length: one at random in each of `rounds` equal parts, shuffled."""
    instants = [(number + choose.random()) / rounds for number in range(rounds)]
    choose.shuffle(instants)
    return instants


@contextmanager
def _place() -> Iterator[Place]:
    """A folder with a short name, for libvirt's sockets, and the user's images in its cache."""
    place = Place(Path(tempfile.mkdtemp(prefix="ppk-", dir="/var/tmp")))
    make_private_cache(place.cache)
    try:
        yield place
    finally:
        _pathproof(place, "down", "--all", check=False)
        shutil.rmtree(place.folder)


def _round(place: Place, arguments: Sequence[str], instant_s: float, choose: random.Random) -> Left:
    doing = _killed(place, arguments, instant_s, choose)
    before = place.left()
    began = time.monotonic()
    _pathproof(place, "-q", "reap")
    took_s = time.monotonic() - began
    left = place.left()
    _say(
        f"  killed after {instant_s:.2f} s: {doing}\n"
        f"  there were {len(before.qemus)} QEMUs, {len(before.folders)} folders, "
        f"{len(before.drafts)} drafts; after reaping for {took_s:.1f} s: {left}"
    )
    return left


def trial(rounds: int, seed: int, arguments: Sequence[str], fresh_every: int) -> bool:
    """Whether nothing was left after any round, and the kept testbed lived through all."""
    choose = random.Random(seed)
    totals: Counter[str] = Counter()
    with _place() as empty:
        place = replace(empty, kept=_pathproof(empty, "-q", "up", "--name", "kept"))
        _say(f"{place.kept} is kept; two runs that nothing disturbs")
        place.forget_snapshots()
        fresh_s, length_s = _duration_s(place, arguments), _duration_s(place, arguments)
        _say(f"one takes {length_s:.1f} s, and {fresh_s:.1f} s with a new snapshot")
        for number, instant in enumerate(_instants(rounds, choose), 1):
            fresh = bool(fresh_every) and number % fresh_every == 0
            if fresh:
                place.forget_snapshots()
            _say(f"round {number}{', with a new snapshot' if fresh else ''}")
            left = _round(place, arguments, instant * (fresh_s if fresh else length_s), choose)
            totals.update({kind: len(found) for kind, found in asdict(left).items()})
            if not _is_alive(place):
                totals["kept testbeds that died"] += 1
                break
    _say(f"\nleft after {number} rounds with seed {seed}:")
    for kind in [*(kind.name for kind in fields(Left)), "kept testbeds that died"]:
        _say(f"  {kind:24} {totals[kind]}")
    return not totals.total()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(words: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="pytest -n; kills any of them")
    parser.add_argument(
        "--fresh-every", type=int, default=5, help="every so many rounds without a snapshot"
    )
    parser.add_argument("pytest", nargs="*", help=f"what to run (default: {ONE_TEST})")
    given = parser.parse_args(words)
    arguments = given.pytest or [ONE_TEST]
    if given.workers:
        arguments = [*arguments, "-n", str(given.workers)]
    return 0 if trial(given.rounds, given.seed, arguments, given.fresh_every) else 1


if __name__ == "__main__":
    sys.exit(main())
