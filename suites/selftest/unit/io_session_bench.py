"""As much of a testbed as a block of I/O needs, without machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from harness.budget import Setting
from harness.config import Config
from harness.errors import (
    FioHangs,
    TimedOut,
)
from harness.testbed import io_session
from harness.testbed.io_session import IoSession
from harness.testbed.lun_layout import Layout
from harness.testbed.protocols import MeasuredTestbed
from harness.topology import Role, plan
from harness.transport.allowances import InForce
from harness.workload import FioRun, Job


class Observer:
    """A machine that answers, or does not."""

    def __init__(self, told: list[str], *, answering: bool = True) -> None:
        self.told = told
        self.answering = answering

    def answers(self, within_s: float) -> bool:
        return self.answering

    def begin(self, mark: str) -> None:
        pass

    ended = False

    def collect(self) -> str:
        assert self.answering
        return "seen"

    def wait_for(self, condition: object, *, what: str, deadline: Any) -> None:
        self.told.append(what)
        raise TimedOut(f"{what}: not within {deadline.allowed_s:.0f} s")


class Fio:
    """An fio whose I/O hangs until the map no longer queues."""

    def __init__(self, told: list[str]) -> None:
        self.told = told
        self.hangs = True
        self.broken = ""
        self.jobs = ()

    @property
    def running(self) -> bool:
        return True

    def require_running(self) -> None:
        pass

    def stop(self) -> None:
        self.told.append("stop fio")

    def finish(self, timeout_s: float) -> SimpleNamespace:
        self.told.append(f"wait {timeout_s:.0f} s")
        if self.hangs:
            raise FioHangs("fio hangs")
        return SimpleNamespace(broken=self.broken)

    def __enter__(self) -> Fio:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


ALLOWANCES = InForce(
    Setting("login_timeout", 3, "record"), Setting("polling_interval", 1, "multipathd")
)


PATHS = tuple(SimpleNamespace(path=path, disk=disk) for path, disk in (("a", "sda"), ("b", "sdb")))


@dataclass
class Bench:
    """As much of a testbed as a block of I/O needs, and what happened to it, in order."""

    told: list[str] = field(default_factory=list)
    standstill: str = ""
    looks: int = 0

    def __post_init__(self) -> None:
        self.config = Config()
        self.fio = Fio(self.told)
        attachment = SimpleNamespace(
            device="/dev/mapper/lun",
            map_name="lun",
            stop_queueing=self._stop_queueing,
            describe_paths=lambda: "paths",
            listing="multipath -ll",
        )
        self.topology = plan(self.config)
        (planned,) = self.topology.maps
        self.map = SimpleNamespace(planned=planned, attachment=attachment, paths=PATHS)
        self.maps = (self.map,)
        self.layout = Layout.of(self.config.workload)
        self.observers = {role: Observer(self.told) for role in Role}
        self.initiator = SimpleNamespace(allowances=lambda: ALLOWANCES)
        self.initiators = {Role.INITIATOR: self.initiator}

    @property
    def machines(self) -> tuple[Role, ...]:
        return tuple(self.observers)

    def _stop_queueing(self) -> None:
        self.told.append("no queueing")
        self.fio.hangs = False

    def session_settings(self, _: str) -> tuple[str]:
        self.looks += 1
        return (f"look {self.looks}",)

    def planned_sessions(self, _: str) -> tuple[()]:
        return ()

    def machine(self, role: Role) -> SimpleNamespace:
        return SimpleNamespace(close=lambda: self.told.append(f"close {role}"), name=role)

    def observer(self, role: Role) -> Observer:
        return self.observers[role]

    domains: ClassVar[dict[str, object]] = {}

    def domain(self, role: Role) -> SimpleNamespace:
        return SimpleNamespace(pid=None, standstill=self.standstill)

    def answers(self, role: Role, within_s: float) -> bool:
        return self.observers[role].answering

    def heal(self) -> None:
        self.told.append("heal")

    def power_off(self) -> None:
        self.told.append("power off")


def patched(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A testbed of which everything that takes real machines is stood in for."""
    bench = Bench()

    def gather(*_: object) -> dict[str, str]:
        bench.told.append("evidence")
        return {}

    def read_back(_machine: object, _map: object, _result: object, _again: float) -> str:
        bench.told.append("read back")
        return "read back"

    def assemble(_session: IoSession, of: Any, _result: object, seen: object) -> Any:
        return seen, of.reading

    monkeypatch.setattr(io_session, "gather", gather)
    monkeypatch.setattr(FioRun, "started", lambda *_, **__: bench.fio)
    monkeypatch.setattr(io_session, "read_everything_back", read_back)
    monkeypatch.setattr(IoSession, "_assemble", assemble)
    return bench


def measured(session: IoSession) -> Any:
    """What machines saw, and what was read back."""
    return session.measurements


def session_of(bench: Bench, within_s: float, jobs: Sequence[Job] = ()) -> IoSession:
    return IoSession(cast(MeasuredTestbed, bench), jobs, within_s)
