"""`pytest --fleet` over real hosts, which are really killed: sshd on 127.0.0.1, no machines."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest

from harness.deadline import Deadline, poll
from harness.fleet.parcel import working_tree
from suites.selftest.fleet.rig import TOP, Host, Rig, missing, rig

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

TESTS = """
import os, time
from pathlib import Path
import pytest
from harness.steps import attach, step

HOME = Path.home()

@pytest.fixture(scope="session")
def bed():
    yield
    with step("Remove"):
        time.sleep(float((HOME / "removal_s").read_text()) if (HOME / "removal_s").exists() else 0)
    (HOME / f"removed-{os.getpid()}").touch()
"""

PLAIN = """
@pytest.mark.parametrize("number", range(6))
def test_plain(bed, number):
    time.sleep(0.5)
    attach("home", str(HOME))
    attach("large", "x" * 2_500_000 if number == 0 else "")

@pytest.mark.parametrize("number", range(2))
@pytest.mark.host("two")
def test_picky(bed, number):
    time.sleep(0.1)
    attach("home", str(HOME))
"""

SLOW = """
@pytest.mark.parametrize("number", range(2))
def test_slow(bed, number):
    with step("Be slow"):
        (HOME / "running").touch()
        time.sleep(60)
"""

WAITS_ON_TWO = """
def test_quick(bed):
    pass

def test_waits_on_two(bed):
    (HOME / "running").touch()
    time.sleep(60 if HOME.parent.name == "two" else 5)
"""

DIES_ONCE = """
import signal

def test_dies_once(bed):
    try:
        (HOME / "died").touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
"""


class MakeRig(Protocol):
    """Hosts by name, with a slot each unless said otherwise."""

    def __call__(self, *names: str, slots: int = 1) -> Rig: ...


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[MakeRig]:
    with ExitStack() as running:

        def make(*names: str, slots: int = 1) -> Rig:
            (tmp_path / "rig").mkdir()
            return running.enter_context(rig(tmp_path / "rig", names, slots=slots))

        yield make


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout without git and without suites."""
    for file in working_tree(TOP):
        if file.parts[0] != "suites":
            copy = tmp_path / "checkout" / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TOP / file, copy)
    return tmp_path / "checkout"


class Run:
    """`pytest --fleet`, started."""

    def __init__(self, checkout: Path, rig: Rig, tests: str, *options: str) -> None:
        self._checkout = checkout
        suite = checkout / "suites" / "failover"
        suite.mkdir(parents=True)
        (suite / "test_it.py").write_text(TESTS + tests)
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
                *("--fleet", str(rig.file), *(options or ("suites/failover",))),
            ],
            cwd=checkout, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(checkout), "PYTEST_ADDOPTS": ""},
        )  # fmt: skip
        self.said = ""

    def end(self, *, status: int) -> str:
        """What it said in all."""
        self.said, _ = self.process.communicate(timeout=300)
        assert self.process.returncode == status, self.said
        return self.said

    @property
    def results(self) -> list[dict[str, Any]]:
        paths = self._checkout.glob("reports/out/2*/results/*-result.json")
        return [json.loads(path.read_text()) for path in paths]

    def evidence(self, result: dict[str, Any], name: str) -> str:
        """An attachment of a result."""
        (source,) = [one["source"] for one in result["attachments"] if one["name"] == name]
        (path,) = self._checkout.glob(f"reports/out/2*/results/{source}")
        return path.read_text()

    def each_once(self, tests: str) -> None:
        """Every test is in the summary and in the results, once, and passed."""
        names = Counter(one["fullName"] + str(one.get("parameters")) for one in self.results)
        assert set(names.values()) == {1}, names
        assert {one["status"] for one in self.results} == {"passed"}
        assert re.search(rf"=+ {len(self.results)} passed[,1 rerun]* in", self.said), self.said
        assert len(self.results) == {PLAIN: 8, WAITS_ON_TWO: 2, DIES_ONCE: 1, SLOW: 2}[tests]


def thread(result: dict[str, Any]) -> str:
    (worker,) = [one["value"] for one in result["labels"] if one["name"] == "thread"]
    return str(worker)


def wait_for(file: Path) -> None:
    poll(file.exists, what=f"the file {file}", deadline=Deadline.after(180))


def home(rig: Rig, name: str) -> Path:
    return rig.file.parent / name / "home"


def removed(rig: Rig, name: str) -> int:
    """How many workers of a host removed what they had made."""
    return len(list(home(rig, name).glob("removed-*")))


def test_tests_are_spread_and_their_results_come_back(make_rig: MakeRig, checkout: Path) -> None:
    """Each once, from its own host, however large; to hosts with the labels that it asks for."""
    made = make_rig("one", "two")
    run = Run(checkout, made, PLAIN, str(checkout / "suites" / "failover"))
    said = run.end(status=0)
    run.each_once(PLAIN)
    assert "fleet: one 1 slot, two 1 slot" in said
    for result in run.results:
        worker = thread(result).partition("-")[0]
        assert run.evidence(result, "home") == str(home(made, worker))
        assert worker == "two" or "picky" not in result["fullName"]
    assert {thread(one) for one in run.results} == {"one-1", "two-1"}
    plain = [one for one in run.results if one["fullName"].endswith("test_plain")]
    assert sorted(len(run.evidence(one, "large")) for one in plain) == [0] * 5 + [2_500_000]
    assert (removed(made, "one"), removed(made, "two")) == (1, 1)
    for host in made.hosts:
        assert list(host.fleet.glob("run-*/results/*/*")) == []
        said = subprocess.check_output(
            [*host.ssh, str(host.fleet / "pathproof"), "reap"], stderr=subprocess.STDOUT, text=True
        )
        assert "nothing" in said


def test_what_is_required_is_tried_on_each_host(checkout: Path) -> None:
    """By the code that travelled; a host that has it takes part as ever."""
    with (
        tempfile.TemporaryDirectory(prefix="pp-", dir="/tmp") as short,
        rig(Path(short), ("one", "two")) as made,
    ):
        run = Run(checkout, made, PLAIN, "--require", "forks", "suites/failover")
        run.end(status=0)
        run.each_once(PLAIN)
        for host in made.hosts:
            assert list(host.fleet.parent.glob("libvirt-capabilities/*.xml"))
            assert list(host.state.glob("trial-*")) == []


def test_a_host_that_lacks_what_is_required_ends_the_run(make_rig: MakeRig, checkout: Path) -> None:
    """Before any test; here the path of its testbeds is too long for libvirt's sockets."""
    run = Run(checkout, make_rig("one", "two"), PLAIN, "--require", "forks", "suites/failover")
    said = run.end(status=pytest.ExitCode.USAGE_ERROR)
    assert re.search(
        r"^ERROR: one: forks are required and lacking: libvirt's root /\S+ is \d+ bytes", said, re.M
    )
    assert re.search(
        r"^two: forks are required and lacking: libvirt's root /\S+ is \d+ bytes", said, re.M
    )
    assert said.count("hint: keep testbeds in a directory with a shorter path") == 2
    assert "Traceback" not in said
    assert "passed" not in said
    assert run.results == []


def test_a_host_that_dies_costs_no_test(make_rig: MakeRig, checkout: Path) -> None:
    """What it ran and what it was to run next are run elsewhere, and it is named once."""
    made = make_rig("one", "two")
    run = Run(checkout, made, WAITS_ON_TWO + PLAIN.replace('"two"', '"one"'))
    wait_for(home(made, "two") / "running")
    made.hosts[1].kill()
    said = run.end(status=0)
    assert re.search(r"=+ 10 passed, 1 rerun in", said)
    assert len({one["historyId"] for one in run.results}) == len(run.results) == 10
    lost = r"^two was lost after \d+ s: cannot be reached: .*Connection refused$"
    assert len(re.findall(lost, said, re.MULTILINE)) == 2  # when it happens, and in the end
    assert "replacing crashed worker" not in said


def test_the_last_test_of_a_host_that_dies_runs_elsewhere(
    make_rig: MakeRig, checkout: Path
) -> None:
    """All others have ended by then."""
    made = make_rig("one", "two")
    run = Run(checkout, made, WAITS_ON_TWO.replace("def test_waits", "\ndef test_waits"))
    wait_for(home(made, "two") / "running")
    poll(lambda: removed(made, "one") == 1, what="the end of one", deadline=Deadline.after(60))
    made.hosts[1].kill()
    run.end(status=0)
    run.each_once(WAITS_ON_TWO)
    assert {thread(one) for one in run.results} == {"one-1", "one-2"}


def test_a_host_that_falls_silent_is_noticed(make_rig: MakeRig, checkout: Path) -> None:
    """Its connections are not closed."""
    made = make_rig("one", "two")
    run = Run(checkout, made, WAITS_ON_TWO)
    wait_for(home(made, "two") / "running")
    made.hosts[1].freeze()
    frozen_at = time.monotonic()
    said = run.end(status=0)
    assert time.monotonic() - frozen_at < 35  # 21 until it is given up, 5 for the test elsewhere
    run.each_once(WAITS_ON_TWO)
    assert len(re.findall(r"^two was lost after", said, re.MULTILINE)) == 2


def test_without_a_host_left_tests_are_errors(make_rig: MakeRig, checkout: Path) -> None:
    """Those that ran count, the others are named, and the run does not wait for ever."""
    made = make_rig("one", "two")
    run = Run(checkout, made, SLOW)
    for host in made.hosts:
        wait_for(home(made, host.name) / "running")
    for host in made.hosts:
        host.kill()
    said = run.end(status=1)
    assert re.search(r"=+ 2 errors, 2 rerun in", said)
    assert [one["status"] for one in run.results] == ["broken", "broken"]


def test_a_worker_that_dies_is_replaced_on_its_host(make_rig: MakeRig, checkout: Path) -> None:
    made = make_rig("one")
    run = Run(checkout, made, DIES_ONCE)
    said = run.end(status=0)
    run.each_once(DIES_ONCE)
    assert [thread(one) for one in run.results] == ["one-2"]
    assert "was lost" not in said


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_without_its_controller_a_worker_removes_what_it_made(
    make_rig: MakeRig, checkout: Path, number: signal.Signals
) -> None:
    """However long that takes: execnet alone would allow 10 s. Ctrl-C waits until it is done."""
    made = make_rig("one", "two")
    for host in made.hosts:
        (home(made, host.name) / "removal_s").write_text("17")
    run = Run(checkout, made, SLOW)
    for host in made.hosts:
        wait_for(home(made, host.name) / "running")
    os.killpg(run.process.pid, number)
    if number == signal.SIGINT:
        assert "KeyboardInterrupt" in run.end(status=2)
        assert (removed(made, "one"), removed(made, "two")) == (1, 1), run.said
    else:
        run.end(status=-number)
    for host in made.hosts:
        poll(
            partial(_all_is_removed, host),
            what=f"{host.name} with nothing but sshd",
            deadline=Deadline.after(30),
            last_seen=lambda: run.said,
        )


def _all_is_removed(host: Host) -> bool:
    removed = list((host.folder / "home").glob("removed-*"))
    return len(removed) == 1 and host.processes() == [host.sshd.pid]


def test_a_host_that_cannot_be_prepared_is_left_out(make_rig: MakeRig, checkout: Path) -> None:
    """With the cause, and a cure; the others do its work."""
    made = make_rig("one")
    with made.file.open("a") as file:
        file.write('[[hosts]]\naddress = "nobody@127.0.0.1:1"\nname = "gone"\n')
    run = Run(checkout, made, DIES_ONCE)
    said = run.end(status=0)
    run.each_once(DIES_ONCE)
    assert re.search(r"^gone took no part: .*Connection refused$", said, re.MULTILINE)
    assert re.search(r"^hint: `ssh .* nobody@127.0.0.1 true` must work", said, re.MULTILINE)


def test_without_any_host_nothing_runs(tmp_path: Path, checkout: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text('[[hosts]]\naddress = "nobody@127.0.0.1:1"\n')
    run = Run(checkout, Rig((), file), PLAIN)
    said = run.end(status=4)
    assert "no host of the fleet can be used:" in said
    assert "Connection refused" in said
