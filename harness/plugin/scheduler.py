"""Tests on several workers: pytest-xdist asks here which of them gets what.

The controller collects no tests, so each worker tells it, over a channel of execnet, which labels
its tests need; in turn it gets the labels of its own host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import execnet
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScheduling
from xdist.workermanage import WorkerController

from harness.errors import ConfigError, ReportError
from harness.reporting.durations import recorded_durations
from harness.schedule import Case, Labels, Schedule, missing_labels

MARKER = "host(*labels): the test needs a host of the fleet with all of these labels"

_NEEDS = "pathproof_needs"
_LABELS = "pathproof_labels"

LabelsOf = Callable[[execnet.XSpec], Labels]


def register(config: pytest.Config, *, history: Path, labels_of: LabelsOf | None = None) -> None:
    """Let `harness.schedule` decide where `--dist load` is wanted, as it is by `-n`.

    `history` is Allure's, and need not exist. `labels_of` has the labels of the host behind a
    gateway; without it there is one host, and every test may run there.
    """
    config.addinivalue_line("markers", MARKER)
    workerinput = getattr(config, "workerinput", None)
    plugin = OnController(history, labels_of) if workerinput is None else OnWorker(workerinput)
    config.pluginmanager.register(plugin)


class LongestFirst(LoadScheduling):
    """`harness.schedule` in terms of xdist: tests are indices, workers are told by messages.

    A worker holds two tests: xdist's begin one only when they know the next, or are told to shut
    down, and from then on the next cannot be taken back.
    """

    def __init__(
        self,
        config: pytest.Config,
        log: Producer,
        *,
        durations: Mapping[str, float],
        needs: Mapping[str, Labels],
        labels_of: LabelsOf,
    ) -> None:
        """`durations` (seconds) and `needs` are by node id; `needs` fills while tests are found."""
        super().__init__(config, log)
        self._durations = durations
        self._needs = needs
        self._labels_of = labels_of
        self._schedule: Schedule[WorkerController] | None = None

    @property
    def tests_finished(self) -> bool:
        """Whether every worker has its tests: a single one runs when its worker shuts down."""
        if self._schedule is None:
            return self.collection_is_completed
        return not self._schedule.waiting and all(
            len(held) < 2 for held in self._schedule.queues.values()
        )

    @property
    def has_pending(self) -> bool:
        schedule = self._schedule
        return schedule is not None and bool(schedule.waiting or any(schedule.queues.values()))

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """Equal names are kept once: those of a thousand workers would take gigabytes."""
        known = next(iter(self.node2collection.values()), collection)
        super().add_node_collection(node, known if collection == known else collection)

    def schedule(self) -> None:
        """Begin when all workers have found the same tests; later, let in those that replace."""
        if self._schedule is None:
            if not self._check_nodes_have_same_collection():
                return
            self.collection = next(iter(self.node2collection.values()))
            self._schedule = Schedule([self._case(node_id) for node_id in self.collection])
            self._tell_what_no_host_can_run()
        for node in self.nodes:
            if node in self.node2collection and node not in self._schedule.queues:
                self._schedule.join(node, self._labels_of(node.gateway.spec))
        self._hand_out(self._schedule, self.nodes)

    def mark_test_complete(
        self, node: WorkerController, item_index: int, duration: float = 0
    ) -> None:
        assert self._schedule is not None
        self._schedule.finish(node, item_index)
        self._hand_out(self._schedule, [node])

    def mark_test_pending(self, item: str) -> None:
        assert self._schedule is not None
        assert self.collection is not None
        self._schedule.wait(self.collection.index(item))
        self._hand_out(self._schedule, self.nodes)

    def remove_node(self, node: WorkerController) -> str | None:
        """Take back what a worker held, which is nothing unless it died; name what it was running.

        xdist starts another worker for one that died, and asks what is to become of the test.
        """
        self.node2pending.pop(node)
        if self._schedule is None or node not in self._schedule.queues:
            return None
        died = bool(self._schedule.queues[node])
        running = self._schedule.leave(node, replaced=died)
        self._hand_out(self._schedule, self.nodes)
        assert self.collection is not None
        return None if running is None else self.collection[running]

    def _case(self, node_id: str) -> Case:
        return Case(node_id, self._needs.get(node_id, Labels()), self._durations.get(node_id))

    def _tell_what_no_host_can_run(self) -> None:
        offered = [self._labels_of(node.gateway.spec) for node in self.nodes]
        for node_id, needs in self._needs.items():
            if missing := missing_labels(needs, offered):
                _tell(self.config, f"no host can run {node_id}: missing {_listed(missing)}")

    def _hand_out(
        self, schedule: Schedule[WorkerController], nodes: Iterable[WorkerController]
    ) -> None:
        listening = [n for n in nodes if n in schedule.queues and not n.shutting_down]
        for node, index in schedule.hand_out(listening):
            with suppress(OSError):  # it died just now; what it holds comes back when xdist says so
                node.send_runtest_some([index])
        for node in listening:
            if len(schedule.queues[node]) == 1:
                node.shutdown()


class OnController:
    """Makes the scheduler, and knows the labels of hosts and tests."""

    def __init__(self, history: Path, labels_of: LabelsOf | None) -> None:
        self._history = history
        self._labels_of = labels_of
        self._needs: dict[str, Labels] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        if self._labels_of is None:
            return
        channel = node.gateway.newchannel()
        channel.setcallback(self._note_needs)
        node.workerinput[_NEEDS] = channel
        node.workerinput[_LABELS] = sorted(self._labels_of(node.gateway.spec))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(
        self, config: pytest.Config, log: Producer
    ) -> LongestFirst | None:
        if config.getvalue("dist") != "load":
            return None
        try:
            durations = recorded_durations(self._history)
        except ReportError as error:
            _tell(config, str(error))
            durations = {}
        labels_of = self._labels_of or (lambda _: Labels())
        return LongestFirst(
            config, log, durations=durations, needs=self._needs, labels_of=labels_of
        )

    def _note_needs(self, told: dict[str, list[str]]) -> None:
        self._needs.update({node_id: frozenset(labels) for node_id, labels in told.items()})


class OnWorker:
    """Tells which labels tests need, and refuses what this host cannot run."""

    def __init__(self, workerinput: Mapping[str, Any]) -> None:
        self._channel: execnet.Channel | None = workerinput.get(_NEEDS)
        self._labels = frozenset(workerinput.get(_LABELS, ()))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Before xdist tells which tests there are: then the controller knows both."""
        if self._channel is not None:
            needed = {item.nodeid: sorted(needs(item)) for item in session.items}
            self._channel.send({node_id: labels for node_id, labels in needed.items() if labels})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        missing = needs(item) - self._labels
        if self._channel is not None and missing:
            raise ConfigError(
                f"no host of the fleet can run this test: missing {_listed(missing)}",
                hint="a host's labels are in the fleet's file, a test's in `@pytest.mark.host`",
            )


def needs(item: pytest.Item) -> Labels:
    """The labels of all marks `host` of a test."""
    return frozenset(label for mark in item.iter_markers("host") for label in mark.args)


def _listed(labels: Labels) -> str:
    return ", ".join(sorted(labels))


def _tell(config: pytest.Config, line: str) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        terminal.write_line(line)
