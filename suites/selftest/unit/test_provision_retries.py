"""Forks that fail: what is tried again, what is made anew, and what is given up.

The cache and its snapshots are real; what needs a hypervisor follows a script.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.cache import Store
from harness.concurrency import side_by_side
from harness.config import Config
from harness.errors import HarnessError
from harness.hypervisor.accel import Choice
from harness.provision import provisioner as provision
from harness.provision.provisioner import Provisioner
from harness.provision.resources import Resources
from harness.provision.snapshot import Damaged, Golden, key_of, seal
from harness.steps import Listener, listening
from harness.topology import plan

DETERMINED_BY = {"testbed": "of the script"}


def sleepy() -> None:
    raise HarnessError("the initiator does not wake", hint="give it more memory")


def sleepy_twice() -> None:
    side_by_side(sleepy, sleepy)


def damaged() -> None:
    raise Damaged("snapshot: target.memory was changed")


def defect() -> None:
    raise TypeError("a programming error")


def defect_beside_a_broken_lab() -> None:
    side_by_side(sleepy, defect)


def defect_in_a_nested_group() -> None:
    side_by_side(sleepy, defect_beside_a_broken_lab)


def defect_before_a_clean_up_that_fails() -> None:
    try:
        defect()
    finally:
        sleepy()


def works() -> None: ...


@dataclass
class Script(Listener):
    """What each fork does, in turn; `told` is what happened, `said` what was warned of."""

    tmp_path: Path
    forks: list[Callable[[], None]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    snapshots: int = 0

    def warned(self, message: str) -> None:
        self.said.append(message)

    def make_golden(
        self, _resources: object, folder: Path, determined_by: dict[str, Any], _cold: object
    ) -> None:
        self.snapshots += 1
        self.told.append(f"snapshot {self.snapshots}")
        (folder / "target.memory").write_text(f"memory {self.snapshots}")
        seal(folder, determined_by, {}, {}, {"Number": str(self.snapshots)})

    def fork(self, _resources: object, golden: Golden, stack: ExitStack) -> str:
        self.told.append(f"fork of {golden.environment['Number']}")
        stack.callback(self.told.append, "removed")
        self.forks.pop(0)()
        return "a fork"

    def boot(self, *_: object) -> str:
        self.told.append("boot")
        return "booted"

    @contextmanager
    def turn(self, *_: object) -> Iterator[None]:
        self.told.append("place taken")
        yield
        self.told.append("place given back")

    @property
    def store(self) -> Store:
        return Store(self.tmp_path, "snapshots")

    @property
    def only_forks(self) -> list[str]:
        """What happened, without places."""
        return [one for one in self.told if not one.startswith("place")]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    script = Script(tmp_path)
    monkeypatch.setattr(Provisioner, "_determinants", DETERMINED_BY)
    monkeypatch.setattr(provision, "cache_folder", lambda: tmp_path)
    for name in ("make_golden", "fork", "turn"):
        monkeypatch.setattr(provision, name, getattr(script, name))
    monkeypatch.setattr(Provisioner, "_from_nothing", script.boot)
    with listening(script):
        yield script


@contextmanager
def provisioner(**config: Any) -> Iterator[Provisioner]:
    unused: Any = object()
    made = Config.model_validate(config)
    accel = Choice("tcg", "emulation")
    qemu_host: Any = type("Host", (), {"folder": Path("/nowhere")})
    folder: Any = type("Folder", (), {"name": "lab-1"})
    resources = Resources(made, plan(made), folder, qemu_host, unused, {}, unused, accel)
    with ExitStack() as held:
        yield Provisioner(resources, held)


def lent(lab: Provisioner) -> str:
    with lab.testbed() as testbed:
        return str(testbed)


def test_one_snapshot_serves_all_forks(script: Script) -> None:
    script.forks = [works, works]
    with provisioner() as lab:
        assert [lent(lab), lent(lab)] == ["a fork", "a fork"]
    assert script.only_forks == ["snapshot 1", "fork of 1", "removed", "fork of 1", "removed"]
    assert script.said == []


def test_the_first_failure_may_be_that_of_a_busy_machine(script: Script) -> None:
    """The same snapshot is tried once more, after everything of the first try is gone."""
    script.forks = [sleepy, works]
    with provisioner() as lab:
        assert lent(lab) == "a fork"
        assert lab.lacking == ()
    assert script.told == [
        *("place taken", "snapshot 1", "place given back"),
        *("place taken", "fork of 1", "removed", "place given back"),
        *("place taken", "fork of 1", "removed", "place given back"),
    ]
    assert script.said == ["a fork failed: the initiator does not wake"]


def test_after_the_second_failure_the_snapshot_is_replaced(script: Script) -> None:
    script.forks = [sleepy, sleepy, works]
    with provisioner() as lab:
        assert lent(lab) == "a fork"
    assert [one for one in script.only_forks if one != "removed"] == [
        *("snapshot 1", "fork of 1", "fork of 1"),
        *("snapshot 2", "fork of 2"),
    ]
    assert script.said[-1] == "the snapshot is made anew"


def test_a_damaged_snapshot_is_replaced_at_once(script: Script) -> None:
    script.forks = [damaged, works]
    with provisioner() as lab:
        assert lent(lab) == "a fork"
    assert [one for one in script.only_forks if one != "removed"] == [
        *("snapshot 1", "fork of 1", "snapshot 2", "fork of 2")
    ]


def test_a_snapshot_that_others_use_is_not_replaced(script: Script) -> None:
    """It is tried once more: to them it is good enough."""
    script.forks = [damaged, works]
    with provisioner() as lab:
        lab.prepare()
        with script.store.using(key_of(DETERMINED_BY)) as path:
            assert path is not None
            assert lent(lab) == "a fork"
    assert script.snapshots == 1
    assert "the snapshot is made anew" not in script.said


def test_one_that_was_damaged_between_runs_is_made_anew(script: Script) -> None:
    """Every byte is compared before it is used."""
    script.forks = [works, works]
    with provisioner() as lab:
        lent(lab)
    memory = script.store.path(key_of(DETERMINED_BY)) / "target.memory"
    memory.chmod(0o600)
    memory.write_text("memory X")
    with provisioner() as lab:
        lent(lab)
    assert script.snapshots == 2
    assert "target.memory has other content; it is made anew" in script.said[0]


def test_after_three_failures_testbeds_are_booted_from_then_on(script: Script) -> None:
    """With the last cause and its cure; no fourth fork is tried."""
    script.forks = [sleepy, sleepy, sleepy_twice]
    with provisioner() as lab:
        assert [lent(lab), lent(lab)] == ["booted", "booted"]
        (forks,) = lab.lacking
    assert forks.name == "forks"
    assert forks.reason == (
        "3 forks in a row failed, the last one: the initiator does not wake; "
        "the initiator does not wake"
    )
    assert forks.cure == "give it more memory"
    assert script.only_forks.count("removed") == 3
    assert script.only_forks[-2:] == ["boot", "boot"]


def test_forks_that_are_required_are_not_replaced_by_booting(script: Script) -> None:
    script.forks = [sleepy, sleepy, sleepy]
    with (
        provisioner(require="forks") as lab,
        pytest.raises(
            HarnessError, match="forks are required and lacking: 3 forks in a row failed"
        ),
    ):
        lent(lab)
    assert "boot" not in script.told


@pytest.mark.parametrize(
    "wrong",
    [
        defect,
        defect_beside_a_broken_lab,
        defect_in_a_nested_group,
        defect_before_a_clean_up_that_fails,
    ],
)
def test_a_programming_error_is_not_tried_again(script: Script, wrong: Callable[[], None]) -> None:
    """It would come again; and a fork that was never tried is not given up."""
    script.forks = [wrong, works, works]
    with provisioner() as lab:
        with pytest.raises(Exception, match=r".*"):
            lent(lab)
        assert lab.lacking == ()
        assert lent(lab) == "a fork"
    assert script.snapshots == 1
    assert script.said == []
