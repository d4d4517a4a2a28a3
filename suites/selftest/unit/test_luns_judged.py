"""I/O on several LUNs at once: what becomes of one says nothing of another."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.checks import Verdict, data_intact, judge_each, paths_restored, together
from harness.config import load
from harness.errors import (
    CutShort,
    FioHangs,
    PreflightFailed,
    Problem,
    VerdictFailed,
    WorkloadError,
)
from harness.measurements import MAP, BlockFinding, ClockReading, Damage, KernelLog, ReadBack
from harness.observe import Clock, MapDisk, MapSample, Observation, Sample
from harness.preflight import run
from harness.reporting.verdict_document import Judged, VerdictDocument, verdict_document
from harness.steps import Spent
from harness.testbed import io_session
from harness.testbed.fio_runs import FioRuns
from harness.testbed.io_session import IoSession
from harness.testbed.lun_layout import Layout
from harness.testbed.map_view import MapView, wait_for_paths, wait_until_lost
from harness.testbed.protocols import MeasuredTestbed
from harness.testbed.watchdog import QUEUEING_S
from harness.topology import Role, plan
from harness.transport.fitness import look
from harness.transport.fitness.paths import Facts
from harness.transport.path_disk import PathDisk
from harness.transport.path_disks import PathDisks
from harness.workload import Area, FioRun, Job, JobKind
from suites.selftest.unit.judged import good
from suites.selftest.unit.small_suite import run_suite

CONFIG = load(None, {"topology": ("luns", "--topology")}).config
LUNS = plan(CONFIG).luns[:2]
MAPS = plan(CONFIG).maps[:2]
JOBS = (Job("write", JobKind.RANDOM_WRITE, Area(0, 2**20), 2**14, 4, iops=80),)
DAMAGED = replace(
    good(), lun="lun1", read_back=ReadBack(9, 9, {MAP: 9}, (BlockFinding(0, MAP, Damage.TORN),))
)

TWO_LUNS = """
from dataclasses import replace

from harness.checks import Check, Finding, Verdict
from suites.selftest.unit.synthetic_failover import failover

def damaged(measured):
    verdict = Verdict.FAIL if measured.lun == "lun1" else Verdict.PASS
    return Finding("says", verdict, "because")

def test_two_luns(judge):
    luns = {name: replace(failover(), lun=name) for name in ("lun0", "lun1")}
    judge(luns, Check("says", damaged)).require()
"""


def test_a_lun_that_is_damaged_fails_and_the_others_do_not() -> None:
    """And the whole does; each finding has the name of its LUN."""
    luns = {"lun0": good(), "lun1": DAMAGED}
    found = judge_each(luns, data_intact(), paths_restored())
    assert [one.verdict for one in found.values()] == [Verdict.PASS, Verdict.FAIL]
    whole = together(found.values())
    assert [finding.lun for finding in whole.findings] == ["lun0", "lun0", "lun1", "lun1"]
    with pytest.raises(VerdictFailed, match=r"^lun1: data intact: fail: "):
        whole.require()


def test_a_finding_has_the_lun_and_the_initiator_as_the_verdict_has_them() -> None:
    """With several initiators; in words it is the name of the map."""
    luns = {
        "initiator/lun0": good(),
        "second/lun1": replace(DAMAGED, initiator="second"),
    }
    judged = together(judge_each(luns, data_intact()).values())
    assert [(one.initiator, one.lun) for one in judged.findings] == [
        ("initiator", "lun0"),
        ("second", "lun1"),
    ]
    with pytest.raises(VerdictFailed, match=r"^second/lun1: data intact: fail: "):
        judged.require()


def test_the_only_lun_is_not_named_in_its_findings() -> None:
    """There is no other that could be meant."""
    (found,) = judge_each({"lun0": good()}, data_intact()).values()
    assert [finding.lun for finding in found.findings] == [""]


def test_a_verdict_says_of_which_lun_it_is() -> None:
    luns = {"lun0": good(), "lun1": DAMAGED}
    judged = [Judged(luns[lun], one) for lun, one in judge_each(luns, data_intact()).items()]
    document = verdict_document("a test", judged, environment={}, wall_ahead_ns=0)
    told = [(part.lun, part.verdict) for part in document.judgements]
    assert told == [("lun0", Verdict.PASS), ("lun1", Verdict.FAIL)]
    assert document.verdict is Verdict.FAIL


def test_what_several_luns_measured_is_judged_for_each(tmp_path: Path) -> None:
    """The test fails by the one that is damaged, and its document has both."""
    done = run_suite(tmp_path, TWO_LUNS)
    assert "lun1: says: fail: because" in done.stdout, done.stdout + done.stderr
    assert "lun0: says" not in done.stdout.partition("short test summary")[2]
    (file,) = tmp_path.glob("reports/out/2*/verdicts/*.json")
    parts = VerdictDocument.model_validate_json(file.read_text()).judgements
    assert [(part.lun, part.verdict) for part in parts] == [
        ("lun0", Verdict.PASS),
        ("lun1", Verdict.FAIL),
    ]


def test_each_lun_has_its_own_map_in_a_sample() -> None:
    """With its own disks on the same sessions and paths."""
    origin = "172.16.0.1:3260,default"
    maps = {
        "one": MapSample({"8:0": "active"}, number="253:0", disks={"8:0": disk("sda", origin)}),
        "two": MapSample({"8:16": "failed"}, number="253:1", disks={"8:16": disk("sdb", origin)}),
    }
    clock = Clock((ClockReading("i", 0, 0, 1),))
    sample = Sample(0, {}, maps, {}, {}, 0, 0)
    seen = Observation("i", clock, (sample,), KernelLog("i", (), 0), marks=("", ""))
    one = PathDisks.of(seen, "one", [PathDisk("a", "sda", "8:0", origin)])
    two = PathDisks.of(seen, "two", [PathDisk("a", "sdb", "8:16", origin)])
    assert (one.numbers, two.numbers) == ([{"8:0": "a"}], [{"8:16": "a"}])
    assert one.sessions == two.sessions == {"session1": "a"}
    assert one.lun_devices().has_map("253:0", 0)
    assert not one.lun_devices().has_map("253:1", 0)
    assert (sample.count_paths("active"), sample.count_paths("failed")) == (0, 0)
    assert sample.map("two").count_paths("failed") == 1


def test_paths_are_waited_for_on_every_map_at_once() -> None:
    """A map alone is waited for by itself."""
    seen: list[bool] = []

    def wait_for(condition: Callable[[Sample], bool], **_: object) -> Sample:
        for states in (("active", "failed"), ("failed", "active"), ("active", "active")):
            maps = {lun.name: MapSample({"8:0": s}) for lun, s in zip(LUNS, states, strict=True)}
            seen.append(condition(Sample(0, {}, maps, {}, {}, 0, 0)))
        return Sample(0, {}, {}, {}, {}, 0, 0)

    observer: Any = SimpleNamespace(wait_for=wait_for)
    views = [
        MapView(observer, one, cast(Any, SimpleNamespace(map_name=one.name)), (), lambda: None)
        for one in MAPS
    ]
    wait_for_paths(views, None, active=1, failed=0, timeout_s=1, spent_on=Spent.WAITING)
    views[0].wait_for_paths(active=1)
    assert seen == [False, False, True, True, False, True]


def test_a_path_is_lost_once_every_map_has_lost_it() -> None:
    """One that left a map is lost there, too; a map that could not be read says nothing."""
    lost, whole = ({"8:0": "failed", "8:1": "active"}, {"8:0": "active", "8:1": "active"})
    looks = [
        (MapSample(lost, number="1:0"), MapSample(whole, number="1:1")),
        (MapSample(lost, number="1:0"), MapSample()),
        (MapSample(lost, number="1:0"), MapSample({"8:1": "active"}, number="1:1")),
    ]
    seen: list[bool] = []

    def wait_for(condition: Callable[[Sample], bool], **_: object) -> None:
        for maps_then in looks:
            maps = {lun.name: one for lun, one in zip(LUNS, maps_then, strict=True)}
            seen.append(condition(Sample(0, {}, maps, {}, {}, 0, 0)))

    observer: Any = SimpleNamespace(wait_for=wait_for)
    disks = (PathDisk("a", "sda", "8:0"), PathDisk("b", "sdb", "8:1"))
    views = [
        MapView(observer, one, cast(Any, SimpleNamespace(map_name=one.name)), disks, lambda: None)
        for one in MAPS
    ]
    wait_until_lost(views, None, ["a"])
    assert seen == [False, False, True]


def disk(name: str, origin: str) -> MapDisk:
    return MapDisk(name, "session1", origin)


class Fio:
    """On one LUN: it may have given up, or hang until the map of its LUN no longer queues."""

    def __init__(self, *, ended: str = "", hangs: bool = False) -> None:
        self.ended = ended
        self.hangs = hangs
        self.waited_s = 0.0
        self.jobs = ()

    @property
    def running(self) -> bool:
        return not self.ended

    def require_running(self) -> None:
        if self.ended:
            raise CutShort(self.ended)

    def stop(self) -> None:
        pass

    def finish(self, timeout_s: float) -> SimpleNamespace:
        self.waited_s = timeout_s
        if self.hangs:
            raise FioHangs("fio hangs")
        return SimpleNamespace(broken="")


class Bench:
    """As much of a testbed with two LUNs as a block of I/O needs."""

    config = CONFIG
    topology = plan(CONFIG)
    machines = (Role.INITIATOR,)
    layout = Layout.planned(CONFIG.workload, plan(CONFIG))
    domains: dict[str, object] = {}  # noqa: RUF012  # never changed

    def __init__(self, *fios: Fio) -> None:
        self.fios = list(fios)
        self.started: list[tuple[str, str, int | None]] = []
        self.told: list[str] = []
        self.looks = 0
        self.maps = tuple(
            SimpleNamespace(
                planned=one,
                paths=(PathDisk("a", f"sd{number}", f"8:{number}"),),
                attachment=SimpleNamespace(
                    device=f"/dev/mapper/{one.lun}",
                    map_name=one.lun.name,
                    stop_queueing=self._stopping(one.lun.name, fio),
                    describe_paths=lambda: "paths",
                    listing="multipath -ll",
                ),
            )
            for number, (one, fio) in enumerate(zip(MAPS, fios, strict=True))
        )
        self.initiators = {Role.INITIATOR: SimpleNamespace(allowances=lambda: None)}

    def _stopping(self, lun: str, fio: Fio) -> Callable[[], None]:
        def stop() -> None:
            self.told.append(f"no queueing on {lun}")
            fio.hangs = False

        return stop

    def start(
        self, _: object, device: str, jobs: Sequence[Job], *, folder: str, program: str
    ) -> AbstractContextManager[Fio]:
        self.started.append((device, folder, jobs[0].iops if jobs else None))
        return nullcontext(self.fios[len(self.started) - 1])

    def machine(self, role: Role) -> SimpleNamespace:
        return SimpleNamespace(name=role)

    def observer(self, _: Role) -> SimpleNamespace:
        return SimpleNamespace(
            begin=lambda _: None, collect=lambda: "seen", wait_for=lambda *_, **__: None
        )

    def session_settings(self, _: str) -> tuple[()]:
        self.looks += 1
        return ()

    def planned_sessions(self, _: str) -> tuple[()]:
        return ()

    def answers(self, *_: object) -> bool:
        return True

    def heal(self) -> None:
        pass

    power_off = heal


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> Callable[[Bench], IoSession]:
    def assemble(session: IoSession, of: Any, *_: object) -> Any:
        return SimpleNamespace(
            back=of.reading, cut_short=of.cut_short or session._cut_short, forced=of.errors_forced
        )

    def begin(bench: Bench) -> IoSession:
        monkeypatch.setattr(FioRun, "started", bench.start)
        return IoSession(cast(MeasuredTestbed, bench), JOBS, 600)

    monkeypatch.setattr(io_session, "gather", lambda *_: {})
    monkeypatch.setattr(
        io_session, "read_everything_back", lambda _, of, *__: f"of {of.planned.lun}"
    )
    monkeypatch.setattr(IoSession, "_assemble", assemble)
    return begin


def test_each_lun_has_an_fio_of_its_own_with_its_share_of_the_pace(
    measuring: Callable[[Bench], IoSession],
) -> None:
    bench = Bench(Fio(), Fio())
    session = measuring(bench)
    with session.running():
        session.run_for(seconds=0.01)
    assert bench.started == [
        ("/dev/mapper/lun0", "/run/pathproof/fio/lun0", 40),
        ("/dev/mapper/lun1", "/run/pathproof/fio/lun1", 40),
    ]
    backs: Any = session.measurements_by_lun
    assert {lun: one.back for lun, one in backs.items()} == {"lun0": "of lun0", "lun1": "of lun1"}
    with pytest.raises(WorkloadError, match="2 LUNs, each with measurements of its own"):
        _ = session.measurements


def test_io_on_several_luns_runs_longer(measuring: Callable[[Bench], IoSession]) -> None:
    """Each has a share of the pace: in the same time there would be fewer I/Os to judge by."""
    session = measuring(Bench(Fio(), Fio()))
    with session.running():
        started = time.monotonic()
        session.run_for(seconds=0.4)
        assert 0.5 <= time.monotonic() - started < 5


def test_io_that_hangs_on_one_lun_is_forced_there_alone(
    measuring: Callable[[Bench], IoSession],
) -> None:
    bench = Bench(Fio(), Fio(hangs=True))
    session = measuring(bench)
    with session.running():
        session.run_for(seconds=0.01)
    assert bench.told == ["no queueing on lun1"]
    one, other = cast(Any, session.measurements_by_lun).values()
    assert (one.forced, one.cut_short) == (False, "")
    assert (other.forced, other.cut_short) == (True, "fio hangs")
    assert session.cut_short == "lun1: fio hangs"


def test_several_luns_have_more_time_to_end(measuring: Callable[[Bench], IoSession]) -> None:
    """Else a slow end would be taken for I/O that hangs, for which the storage is blamed."""
    bench = Bench(Fio(), Fio())
    session = measuring(bench)
    with session.running():
        session.run_for(seconds=0.01)
    assert [fio.waited_s for fio in bench.fios] == [pytest.approx(75, abs=1)] * 2
    session.watchdog.expire()
    assert session.watchdog.left(QUEUEING_S) == pytest.approx(25, abs=1)


def test_io_that_gives_up_on_one_lun_goes_on_on_the_others(
    measuring: Callable[[Bench], IoSession],
) -> None:
    """The block ends once none is left."""
    bench = Bench(Fio(), Fio(ended="fio ended early: EIO"))
    session = measuring(bench)
    with session.running():
        session.run_for(seconds=0.01)
    assert bench.looks == 2  # the sessions are looked at when I/O is over, too
    one, other = cast(Any, session.measurements_by_lun).values()
    assert (one.cut_short, other.cut_short) == ("", "fio ended early: EIO")
    runs = FioRuns({"lun0": cast(Any, Fio(ended="x")), "lun1": cast(Any, Fio(ended="y"))})
    with pytest.raises(CutShort, match="x; y"):
        runs.require_running()


def test_every_lun_is_looked_at_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is wrong with a session is told once."""
    asked: list[tuple[str | None, str | None]] = []

    def problems(wanted: Any, _: object) -> list[Problem]:
        asked.append((wanted.wwid, wanted.serial))
        about = Problem(f"no map of {wanted.wwid}", "")
        return [Problem("a session is astray", ""), about]

    monkeypatch.setattr(run, "_UNCHANGED_S", 0.01)
    monkeypatch.setattr(look, "facts_now", lambda _: Facts((), {}, ()))
    monkeypatch.setattr(look, "path_problems", problems)
    initiator: Any = SimpleNamespace(
        wwids=("3600a", "3600b"),
        machine=SimpleNamespace(run=lambda *_, **__: SimpleNamespace(stdout="", stderr="")),
        planned_sessions=tuple,
        topology=plan(load(None, {"topology": ("two-targets", "--topology")}).config),
        grouping="multibus",
    )
    initiator.fitness = lambda luns: look.fitness(initiator, luns)
    with pytest.raises(PreflightFailed) as caught:
        run.require_fit(initiator, serials=[None, "7"])
    assert set(asked) == {("3600a", None), ("3600b", "7")}
    causes = [problem.cause for problem in caught.value.problems]
    assert causes == ["a session is astray", "no map of 3600a", "no map of 3600b"]
