"""Runs tests in a forked child: with a mutant in place of a module, or traced.

The child has imported all that does not depend on the module, so it costs a fraction of a second.
Nothing on disk changes: the mutant is what the import system finds under the module's name.
"""

from __future__ import annotations

import ctypes
import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import signal
import sys
import time
import types
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

TOP = Path(__file__).resolve().parents[3]
UNIT = TOP / "suites/selftest/unit"

# A mutant may ask for any amount of memory.
_MOST_MEMORY = 4 << 30
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1  # prctl(2)
_OPTIONS = (
    *("-x", "-q", "--tb=no", "--assert=plain"),
    *("--confcutdir", str(UNIT.parent)),  # without the harness's own plugin
    *("--disable-plugin-autoload", "-p", "pytest_timeout", "-p", "no:cacheprovider"),
)


class Withheld(ImportError):
    """A module that is not to be imported yet."""


@dataclass
class Replaced(importlib.abc.MetaPathFinder):
    """Finds one module with a source of its own, or withholds it if that is None."""

    module: str
    path: Path
    source: str | None = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.module:
            return None
        if self.source is None:
            raise Withheld(fullname)
        loader = _Mutated(fullname, str(self.path), self.source)
        return importlib.util.spec_from_file_location(fullname, self.path, loader=loader)


class _Mutated(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self.source = source

    def get_code(self, fullname: str) -> types.CodeType:
        return self.source_to_code(self.source.encode(), self.path)


def preload(names: Collection[str], replaced: Replaced) -> None:
    """Import those modules that do not need the one that is to be replaced."""
    assert replaced.source is None
    for name in names:
        with suppress(Withheld):
            importlib.import_module(name)
    for name in [one for one in sys.modules if one.startswith("harness.")]:
        # Its package failed after it was there itself; it would not be an attribute of the next.
        if name.rpartition(".")[0] not in sys.modules:
            del sys.modules[name]
    assert replaced.module not in sys.modules


@dataclass(eq=False)
class Chosen:
    """Runs the chosen tests only, and notes the first that failed; none is chosen: all run.

    If one of them is not there, all of its file run: the mutant changed the names of tests.
    """

    tests: Sequence[str] = ()
    failed: str = ""

    @pytest.hookimpl
    def pytest_sessionstart(self) -> None:
        """The same examples each time, none kept, and none made smaller: a failure is enough."""
        settings.register_profile(
            "mutants",
            deadline=None,
            max_examples=30,
            derandomize=True,
            database=None,
            phases=(Phase.explicit, Phase.generate),
        )
        settings.load_profile("mutants")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        there = {item.nodeid: item for item in items}
        if self.tests and all(test in there for test in self.tests):
            items[:] = [there[test] for test in self.tests]

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


@dataclass(eq=False)
class Traced(Chosen):
    """Notes which lines of which modules each test runs, and how long it takes."""

    modules: Mapping[str, str] = field(default_factory=dict)
    lines: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _seen: set[tuple[str, int]] = field(default_factory=set)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._seen = set()
        began = time.monotonic()
        sys.settrace(self._called)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            self.seconds[item.nodeid] = time.monotonic() - began
            lines: dict[str, list[int]] = {}
            for file, line in sorted(self._seen):
                lines.setdefault(self.modules[file], []).append(line)
            self.lines[item.nodeid] = lines

    def _called(self, frame: types.FrameType, event: str, arg: object) -> Any:
        return self._line if frame.f_code.co_filename in self.modules else None

    def _line(self, frame: types.FrameType, event: str, arg: object) -> Any:
        if event == "line":
            self._seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


def run_tests(files: Sequence[str], plugin: Chosen) -> int:
    """Run them in this process, which has no other use after that."""
    os.chdir(TOP)
    return int(pytest.main([*_OPTIONS, "--rootdir", str(TOP), *files], plugins=[plugin]))


@dataclass
class Forked:
    """A child that does one thing and says one thing; it is killed after its time.

    It ends with the process that made it, however that ends. A quiet one has no streams, and the
    limits of a mutant.
    """

    act: Callable[[], object]
    limit_s: float
    quiet: bool = True

    def __post_init__(self) -> None:
        context = get_context("fork")
        self.said, saying = context.Pipe(duplex=False)
        self._began = time.monotonic()
        arguments = saying, os.getpid()
        self._process: ForkProcess = context.Process(target=self._run, args=arguments)
        self._process.start()
        saying.close()

    @property
    def too_late(self) -> bool:
        return time.monotonic() - self._began > self.limit_s

    def end(self) -> object:
        """What it said; None if it died, or was killed, before that."""
        said = None
        if self.said.poll():
            with suppress(EOFError):
                said = self.said.recv()
        self._kill()
        self._process.join()
        self.said.close()
        return said

    def _kill(self) -> None:
        """Whatever it started, too; and itself also before it has a group of its own."""
        pid = self._process.pid
        assert pid is not None
        for kill in (os.killpg, os.kill):
            with suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)

    def _run(self, saying: Connection, parent: int) -> None:
        _end_with(parent)
        os.setsid()
        if self.quiet:
            seconds = int(self.limit_s) + 1  # of a processor; if nobody is left to kill it
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nowhere, stream)
        saying.send(self.act())


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends."""
    if _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it has ended before
        os._exit(1)


def in_children(
    acts: Mapping[str, Callable[[], object]],
    limits_s: Mapping[str, float],
    workers: int,
    *,
    quiet: bool = True,
) -> Generator[tuple[str, object]]:
    """Do each thing in a child of its own, so many at a time; None for one that says nothing."""
    waiting, running = list(acts), dict[str, Forked]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                name = waiting.pop(0)
                running[name] = Forked(acts[name], limits_s[name], quiet)
            wait([one.said for one in running.values()], timeout=0.1)
            ended = [name for name, one in running.items() if one.said.poll() or one.too_late]
            for name in ended:
                yield name, running.pop(name).end()
    finally:
        for one in running.values():
            one.end()
