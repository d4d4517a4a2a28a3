"""The controller of a fleet: xdist's session, which also knows hosts, and that they die."""

from __future__ import annotations

import os
import shlex
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import execnet
import pytest
from xdist.dsession import DSession
from xdist.scheduler import LoadScheduling
from xdist.workermanage import NodeManager, WorkerController

from harness.config.fleet import FleetConfig
from harness.config.load import DEFAULT_FILE
from harness.errors import HarnessError
from harness.fleet import Ready, Receiver, Refused, Travelling, prepare
from harness.fleet.parcel import ENVIRONMENT, pack, working_tree
from harness.plugin.run import KEY
from harness.plugin.workers import RESULTS
from harness.schedule import Labels
from harness.steps import Spent, step

LIFELINE = "pathproof_lifeline"  # key of xdist's `workerinput`
RESTARTS = 4  # of crashed workers for each slot, as xdist has it for `-n`
ANSWER_S = 5.0  # how long a host may take that let a worker die
ARGUMENTS = "arguments"
TESTBED = "testbed.toml"
_BROKEN = (OSError, EOFError, execnet.HostNotFound, execnet.RemoteError)


@dataclass
class Host:
    """A host of this run; `lost` tells why it is given up, empty as long as it is not."""

    ready: Ready
    workers: list[WorkerController] = field(default_factory=list)
    started: int = 0
    lost: str = ""

    @property
    def free_slots(self) -> int:
        """How many more workers may take tests here."""
        return self.ready.slots - sum(not worker.shutting_down for worker in self.workers)


class FleetSession(DSession):
    """Workers on the hosts of a fleet, each with testbeds of its host's own hypervisor.

    A worker that died is replaced on its host. If the host does not answer any more, it is given
    up, and wherever a slot is free another worker takes the place.
    """

    def __init__(self, config: pytest.Config, fleet: FleetConfig) -> None:
        super().__init__(config)
        self._run = config.stash[KEY]
        self._id = uuid.uuid4().hex[:8]
        self._fleet = fleet
        self._hosts: list[Host] = []
        self._host_of: dict[str, Host] = {}
        self._refused: list[Refused] = []
        self._receivers: list[Receiver] = []
        self._said = config.invocation_params
        try:
            self._within = self._said.dir.relative_to(config.rootpath).as_posix()
        except ValueError:
            raise pytest.UsageError(
                f"--fleet: {self._said.dir} is not below {config.rootpath}, which travels to the "
                "hosts; run pytest there"
            ) from None

    def labels_of(self, spec: execnet.XSpec) -> Labels:
        """The labels of the host behind a gateway."""
        return frozenset(self._host_of[str(spec.id)].ready.config.labels)

    def pytest_report_header(self) -> str:
        names = ", ".join(host.shown_as for host in self._fleet.hosts)
        return f"fleet: {len(self._fleet.hosts)} hosts ({names})"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Prepare the hosts and start their workers. Raises UsageError if there is none."""
        self._session = session
        try:
            ready, self._refused = prepare(self._fleet.hosts, self._travelling())
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from error
        self._hosts = [Host(one) for one in ready]
        slots = [host for host in self._hosts for _ in range(host.ready.slots)]
        self.report_line(
            "fleet: " + ", ".join(f"{one.name} {_counted(one.slots, 'slot')}" for one in ready)
        )
        self.config.option.tx = ["ssh"] * len(slots)  # counted by xdist's schedulers
        if self.config.option.maxworkerrestart is None:
            self._max_worker_restart = RESTARTS * len(slots)
        self._let_arguments_travel()
        self.nodemanager = NodeManager(self.config)
        self.nodemanager.roots = []  # the code is there already
        with step("Start the workers", Spent.PROVISIONING):
            for host in slots:
                self._start(host)
        if not self._active_nodes:
            raise pytest.UsageError("\n".join(self._told()))
        self.config.option.tx = ["ssh"] * len(self._active_nodes)

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        """A worker's results come back to this process, which writes them."""
        lifeline = node.gateway.newchannel()
        node.workerinput[LIFELINE] = lifeline
        if self._run.results is None:
            return
        receiver = Receiver(self._run.results, worker=node.gateway.id)
        self._receivers.append(receiver)
        lifeline.setcallback(receiver.take)
        run = self._host_of[node.gateway.id].ready.run
        node.workerinput[RESULTS] = str(run / "results" / node.gateway.id)

    def loop_once(self) -> None:
        """Run xdist's loop once. If all workers are gone, start another one first."""
        if not self._active_nodes:
            self._start_where_free()
        if self._active_nodes:
            super().loop_once()
        elif self._session is not None and self._session.testscollected:
            self.triggershutdown()  # who never ran is reported
        else:
            self.shouldstop = "no host of the fleet is left"

    def worker_workerfinished(self, node: WorkerController) -> None:
        """An interrupt on a host, such as its shutdown, is no interrupt of the run."""
        if node.workeroutput["exitstatus"] == pytest.ExitCode.INTERRUPTED:
            self.worker_errordown(node, "interrupted on its host")
        else:
            super().worker_workerfinished(node)

    def worker_errordown(self, node: WorkerController, error: object | None) -> None:
        """xdist replaces the worker, except on a host that is gone."""
        host = self._host_of[node.gateway.id]
        if not host.lost:
            try:
                host.ready.machine.reach(["true"], timeout_s=ANSWER_S)
            except HarnessError as unreachable:
                self._give_up(host, unreachable)
        if not host.lost:
            super().worker_errordown(node, error)
            return
        self.config.hook.pytest_testnodedown(node=node, error=error)
        assert self.sched is not None
        with suppress(KeyError):  # it never came so far
            running = self.sched.remove_node(node)
            if running:
                self.handle_crashitem(running, node)
        self._active_nodes.remove(node)
        self._do_without(node)

    def _clone_node(self, node: WorkerController) -> WorkerController:
        """Replaces xdist's, which keeps neither the name nor the host; its result is not used."""
        if not self._start(self._host_of[node.gateway.id]):
            self._do_without(node)
        return node

    def _do_without(self, node: WorkerController) -> None:
        """Go on when a worker is not replaced on its host."""
        assert isinstance(self.sched, LoadScheduling)
        known = self.sched.node2collection
        if node not in known:  # the others must not wait for its tests
            self.sched.numnodes = max(1, self.sched.numnodes - 1)
            if known and self.sched.collection_is_completed:
                self.sched.schedule()
        if not self.sched.tests_finished:
            self.shuttingdown = False
            self._start_where_free()

    def _start_where_free(self) -> None:
        free = [host for host in self._hosts if not host.lost and host.free_slots > 0]
        for host in sorted(free, key=lambda host: -host.free_slots):
            if self._start(host):
                return

    def _start(self, host: Host) -> bool:
        """Start a worker, or give the host up."""
        host.started += 1
        worker = f"{host.ready.name}-{host.started}"
        self._host_of[worker] = host
        spec = execnet.XSpec(host.ready.gateway(worker, within=self._within))
        assert self.nodemanager is not None
        try:
            with _interrupts_kept_from_children():
                node = self.nodemanager.setup_node(spec, self.queue.put)
        except _BROKEN as error:
            self._give_up(host, error)
            return False
        host.workers.append(node)
        self._active_nodes.add(node)
        return True

    def _give_up(self, host: Host, error: Exception) -> None:
        passed_s = time.time() - self._run.began
        cause = str(error).partition("\n")[0].removeprefix(f"{host.ready.name}: ")
        host.lost = (
            f"{host.ready.name} was lost after {passed_s:.0f} s: {cause or type(error).__name__}"
        )
        self.report_line("\n" + host.lost)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        super().pytest_terminal_summary(terminalreporter)
        for line in self._told():
            terminalreporter.write_line(line)

    def _told(self) -> list[str]:
        """What the user must know of the hosts."""
        return [
            *(f"{one.config.shown_as} took no part: {one.error}" for one in self._refused),
            *(host.lost for host in self._hosts if host.lost),
            *(one.problem for one in self._receivers if one.problem),
        ]

    def _travelling(self) -> Travelling:
        top = self.config.rootpath
        with step("Pack the code", Spent.PROVISIONING):
            code = pack("code", top, working_tree(top))
            environment = pack("environment", top, ENVIRONMENT)
        arguments = [*shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), *self._said.args]
        lines = [relative(str(one), top=top, here=self._said.dir) for one in arguments]
        files = {}
        file = self.config.getoption("testbed") or DEFAULT_FILE
        if file.exists():
            files[TESTBED] = file.read_text()
            lines.append(f"--testbed={self._run_folder / TESTBED}")
        files[ARGUMENTS] = "".join(f"{line}\n" for line in lines)
        return Travelling(self._id, code, environment, files, self._run.config, within=self._within)

    @property
    def _run_folder(self) -> PurePosixPath:
        """The folder of this run on each host, as seen from where its workers run."""
        depth = 1 + len(PurePosixPath(self._within).parts)
        return PurePosixPath(*[".."] * depth, f"run-{self._id}")

    def _let_arguments_travel(self) -> None:
        """Put the arguments into a file, as xdist refuses paths; all but -p may be in one."""
        plugins = self.config.known_args_namespace.plugins
        self.config.invocation_params = pytest.Config.InvocationParams(
            args=[f"@{self._run_folder / ARGUMENTS}", *(f"-p{name}" for name in plugins)],
            plugins=self._said.plugins,
            dir=self._said.dir,
        )


def relative(argument: str, *, top: Path, here: Path) -> str:
    """The argument with the absolute path of something below `top` made relative to `here`."""
    option, equals, value = argument.partition("=")
    if not argument.startswith("--"):
        option, equals, value = "", "", argument
    path, colons, test = value.partition("::")
    if not Path(path).is_absolute() or not Path(path).is_relative_to(top):
        return argument
    return option + equals + os.path.relpath(path, here) + colons + test


@contextmanager
def _interrupts_kept_from_children() -> Iterator[None]:
    """Ctrl-C in a terminal reaches all of its processes, and must not end an `ssh`.

    Through it workers are asked to end, and say what they did. One that comes now is served later.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
