"""The host's end of the resident program: asks, listens, and keeps what a test needs."""

from __future__ import annotations

import itertools
import json
import secrets
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.deadline import Deadline
from harness.errors import CommandTimedOut, HarnessError, MachineError, TimedOut
from harness.machine import Machine, Process
from harness.measurements import ClockReading, KernelLog, KernelMessage
from harness.observe.clock import Clock, Exchange, reading
from harness.observe.message import parse_line
from harness.observe.resident import program
from harness.observe.sample import NO_MAPS, MapProbe, Observation, Sample, Watch, parse_sample
from harness.units import NS_PER_S

_LAST_WORDS_S = 1.0  # of a program that takes no command any more
ANSWER_TIMEOUT_S = 20.0
READ_TIMEOUT_S = 30.0
SEED_BYTES = 64
LOOK_EXCHANGES = 3
EXCHANGES = 40  # the best of 60 was 1.9 ms under TCG; 40 come close and take 0.2 s

_HASTE = 1.02  # so that the promise is kept though a sample may come late
_SOCKET = "/run/pathproof-observer"


@dataclass
class _Seen:
    samples: list[Sample] = field(default_factory=list)
    kernel: list[tuple[int, int, str]] = field(default_factory=list)
    clocks: list[ClockReading] = field(default_factory=list)
    clock_looks: list[ClockReading] = field(default_factory=list)
    kernel_error_ns: int = 0
    lost: int = 0


class Observer:
    """Talks to the resident program of one machine. Made by `observing`."""

    def __init__(self, machine: Machine, maps: MapProbe = NO_MAPS) -> None:
        self.machine = machine
        self._maps = maps
        self._changed = threading.Condition()
        self._seen = _Seen()
        self._pongs: dict[int, tuple[int, int]] = {}
        self._ready = False
        self._awake = False
        self._heard_ns = 0
        self._sampled_ns = 0
        self._read: dict[str, int | str] = {}
        self._numbers = itertools.count(1)
        self._waiting = 0
        self._begin_mark = ""
        self._watched = Watch()
        self._process: Process | None = None

    def attach(self, process: Process) -> None:
        """Take over the resident program and wait until it is ready."""
        self._process = process
        self._wait(
            lambda: self._ready, "the observer's start", Deadline.after(ANSWER_TIMEOUT_S * 3)
        )

    def watch(self, what: Watch) -> None:
        """Say what the samples shall hold from now on."""
        self._watched = what
        every_ns = int(NS_PER_S / what.at_least_per_s / _HASTE)
        self._send({"watch": asdict(what) | {"every": every_ns}})

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Stop the samples for the length of the block; the kernel log is still followed."""
        self._send({"rest": True})
        try:
            yield
        finally:
            self._send({"rest": False})

    def wake(self) -> None:
        """Tell a machine that was saved what time it is, and make its randomness its own."""
        self._awake = False
        self._send({"wake": [time.time_ns(), secrets.token_hex(SEED_BYTES)]})
        self._wait(lambda: self._awake, "the clock to be set", Deadline.after(ANSWER_TIMEOUT_S))

    def read_directly(self, disks: Sequence[str], size: int) -> dict[str, int]:
        """Read the first `size` bytes of each disk past every cache; digests, to be compared.

        Raises MachineError naming the disks that could not be read, TimedOut if one hangs.
        """
        self._read = {}
        self._send({"read": [list(disks), size]})
        self._wait(
            lambda: bool(self._read), f"to read {', '.join(disks)}", Deadline.after(READ_TIMEOUT_S)
        )
        if failed := [
            f"{disk}: {text}" for disk, text in self._read.items() if isinstance(text, str)
        ]:
            raise MachineError(f"{self.machine.name}: cannot read {'; '.join(failed)}")
        return {disk: int(digest) for disk, digest in self._read.items()}

    def begin(self, mark: str) -> None:
        """Forget what was seen so far, read the clock, and write `mark` into the kernel log."""
        with self._changed:
            self._seen = _Seen()
        self.read_clock()
        self._begin_mark = mark
        self._mark(mark)

    def collect(self) -> Observation:
        """Read the clock again and give what was seen since `begin`.

        A mark is written into the kernel log and waited for, so that the log is complete. If the
        observer no longer answers, that is said in `died`, and what it saw until then is given.
        """
        end_mark = f"pathproof: collected {next(self._numbers)}"
        died = ""
        try:
            self.read_clock()
            self._mark(end_mark)
        except (MachineError, TimedOut) as error:
            if not self._seen.clocks:
                raise
            died = error.message
        with self._changed:
            seen = self._seen
            samples, kernel = tuple(seen.samples), tuple(seen.kernel)
            clock = Clock(tuple(sorted(seen.clocks, key=lambda r: r.at_ns)))
            lost, error_ns = seen.lost, seen.kernel_error_ns
            clock_looks = tuple(seen.clock_looks)
        messages = tuple(
            KernelMessage(clock.to_host(at_ns), level, text) for at_ns, level, text in kernel
        )
        return Observation(
            self.machine.name,
            clock,
            samples,
            KernelLog(self.machine.name, messages, lost, error_ns),
            marks=(self._begin_mark, end_mark),
            wanted_per_s=self._watched.at_least_per_s,
            died=died,
            clock_looks=clock_looks,
        )

    def read_clock(self) -> ClockReading:
        """Measure the machine's clock against the host's."""
        exchanges = [self._ping(ANSWER_TIMEOUT_S) for _ in range(EXCHANGES)]
        result = reading(self.machine.name, exchanges)
        with self._changed:
            self._seen.clocks.append(result)
        return result

    def look_at_clock(self, within_s: float) -> None:
        """Note where the machine's clock is; less exact than a reading, and much quicker.

        Raises TimedOut if it takes longer than `within_s`.
        """
        deadline = Deadline.after(within_s)
        with self._changed:
            seen = self._seen
        exchanges = [self._ping(deadline.remaining_s) for _ in range(LOOK_EXCHANGES)]
        with self._changed:
            seen.clock_looks.append(reading(self.machine.name, exchanges))

    def answers(self, within_s: float) -> bool:
        """Whether the machine is alive: was heard of lately, or else answers within that time."""
        if time.monotonic_ns() - self._heard_ns < within_s * NS_PER_S:
            return True
        try:
            self._ping(within_s)
        except (MachineError, TimedOut):
            return False
        return True

    def latest(self, within_s: float) -> Sample:
        """The last sample; nothing is asked. It was taken up to a second before it came.

        Raises MachineError if it came longer than `within_s` ago.
        """
        with self._changed:
            silent_s = (time.monotonic_ns() - self._sampled_ns) / NS_PER_S
            if not self._seen.samples or silent_s > within_s:
                raise MachineError(f"{self.machine.name}: no sample for {within_s:g} s")
            return self._seen.samples[-1]

    @property
    def ended(self) -> bool:
        """Whether the resident program is gone; its machine may well be alive."""
        return self._process is not None and not self._process.running

    @property
    def kernel_texts(self) -> tuple[str, ...]:
        """The kernel log since `begin` as far as it was heard; nothing is asked."""
        with self._changed:
            return tuple(text for _, _, text in self._seen.kernel)

    def wait_for(
        self,
        condition: Callable[[Sample], bool],
        *,
        what: str,
        deadline: Deadline,
        hint: str = "",
    ) -> Sample:
        """Wait for a sample, taken from now on, that meets `condition`.

        Raises TimedOut with the last sample seen, MachineError if the resident program ended.
        """
        try:
            with self._promptly(deadline):
                return self._wait_for_sample(condition, what, deadline)
        except TimedOut:
            last = self._seen.samples[-1] if self._seen.samples else None
            raise TimedOut(
                f"{self.machine.name}: {what}: not within {deadline.allowed_s:.0f} s; "
                f"last seen: {last}",
                hint=hint,
            ) from None

    @contextmanager
    def _promptly(self, deadline: Deadline) -> Iterator[None]:
        """Pass on each later sample at once, for the length of the block."""
        with self._changed:
            self._waiting += 1
        try:
            self._send({"hold": False})
            if not deadline.expired:  # whatever was held comes before the answer
                self._ping(deadline.remaining_s)
            yield
        finally:
            with self._changed:
                self._waiting -= 1
                last = not self._waiting
            with suppress(MachineError):
                if last:
                    self._send({"hold": True})

    def _wait_for_sample(
        self, condition: Callable[[Sample], bool], what: str, deadline: Deadline
    ) -> Sample:
        with self._changed:
            start = len(self._seen.samples)
            seen = self._seen
        found: list[Sample] = []

        def look() -> bool:
            nonlocal start
            fresh = seen.samples[start:]
            start += len(fresh)
            found.extend(s for s in fresh if condition(s))
            return bool(found)

        self._wait(look, what, deadline)
        return found[0]

    def _ping(self, timeout_s: float) -> Exchange:
        number = next(self._numbers)
        asked_ns = time.monotonic_ns()
        self._send({"ping": number})
        self._wait(lambda: number in self._pongs, "the answer to a ping", Deadline.after(timeout_s))
        answered_ns, machine_ns = self._pongs.pop(number)
        return Exchange(asked_ns, answered_ns, machine_ns)

    def _mark(self, text: str) -> None:
        self._send({"mark": text})
        try:
            self._wait(
                lambda: any(seen == text for _, _, seen in self._seen.kernel),
                f"the mark {text!r} in the kernel log",
                Deadline.after(ANSWER_TIMEOUT_S),
            )
        except TimedOut as error:
            raise TimedOut(
                error.message,
                hint="`sysctl kernel.printk_devkmsg` must be `on` or `ratelimit` on that machine",
            ) from None

    def _send(self, command: dict[str, Any]) -> None:
        if self._process is None:
            raise MachineError(f"{self.machine.name}: the observer was not started")
        try:
            self._process.send(json.dumps(command).encode() + b"\n")
        except MachineError as error:  # it may have ended just now, and says why
            words = self._obituary(_LAST_WORDS_S)
            if not words:
                raise
            raise MachineError(f"{self.machine.name}: the observer ended{words}") from error

    def _wait(self, condition: Callable[[], bool], what: str, deadline: Deadline) -> None:
        with self._changed:
            while not condition():
                if deadline.expired:
                    raise TimedOut(
                        f"{self.machine.name}: {what}: not within {deadline.allowed_s:.0f} s"
                        f"{self._obituary()}"
                    )
                self._changed.wait(min(1.0, deadline.remaining_s))
                if self.ended:
                    raise MachineError(f"{self.machine.name}: the observer ended{self._obituary()}")

    def _obituary(self, timeout_s: float = 0) -> str:
        if self._process is None:
            return ""
        try:
            return f": {self._process.wait(timeout_s).stderr.strip()}"
        except (CommandTimedOut, HarnessError):
            return ""

    def hear(self, line: bytes) -> None:
        """Take in one line that the resident program printed.

        One that is garbled is counted as lost. What else goes wrong is wrong with the harness.
        """
        heard_ns = time.monotonic_ns()
        self._heard_ns = heard_ns
        with self._changed:
            try:
                kind, message = parse_line(line)
            except ValueError:
                self._seen.lost += 1  # what it said is not known
            else:
                self._take_in(kind, message, heard_ns)
            self._changed.notify_all()

    def _take_in(self, kind: str, message: dict[str, Any], heard_ns: int) -> None:
        match kind:
            case "pong":
                self._pongs[message["pong"]] = (heard_ns, message["time"])
            case "kernel":
                _, level, at_ns, text = message["kernel"]
                self._seen.kernel.append((at_ns, level, text))
                self._seen.kernel_error_ns = max(self._seen.kernel_error_ns, message["error"])
            case "lost":
                self._seen.lost += message["lost"]
            case "sample":
                self._sampled_ns = heard_ns
                self._seen.samples.append(parse_sample(message, self._maps))
            case "read":
                self._read = message["read"]
            case "awake":
                self._awake = True
            case "hello":
                self._ready = True


def _resident_argv(maps: MapProbe, *arguments: str) -> Sequence[str]:
    """The command line of the resident program: its source travels as an argument."""
    return ["python3", "-I", "-S", "-u", "-c", program(maps.source), *arguments]


def leave_resident(machine: Machine, maps: MapProbe = NO_MAPS) -> None:
    """Start a resident program that outlives this connection, and the machine's being saved.

    `observing` with `resident` finds it. Starting one takes a cold machine 0.6 s, finding one
    0.2 s.
    """
    command = shlex.join(_resident_argv(maps, _SOCKET))
    machine.sh(f"setsid -f {command} </dev/null >/dev/null 2>&1")
    with observing(machine, maps, resident=True):
        pass


@contextmanager
def observing(
    machine: Machine, maps: MapProbe = NO_MAPS, *, resident: bool = False
) -> Iterator[Observer]:
    """Watch a machine until the block ends. Needs Python 3.6 or later there.

    `maps` is how the transport looks at maps. `resident`: by the program that `leave_resident` left
    there, with the same `maps`. Needs socat(1).
    """
    observer = Observer(machine, maps)
    found = ["socat", "STDIO", f"UNIX-CONNECT:{_SOCKET},retry=50,interval=0.2"]
    argv = found if resident else _resident_argv(maps)
    with machine.background(argv, on_line=observer.hear) as process:
        observer.attach(process)
        yield observer
