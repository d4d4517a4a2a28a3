"""Faults that are settings of LIO: told to the target, confirmed, sampled and undone there."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from harness.budget import Effect
from harness.config import Config
from harness.config.model import TargetConfig
from harness.config.ready import ready_topologies
from harness.errors import TimedOut
from harness.faults import (
    Fault,
    Lab,
    LoginsRefused,
    LunsOffline,
    Means,
    PortalClosed,
    PortalRemoved,
    lio_setting,
    planned,
)
from harness.faults.lio_setting import LioSetting
from harness.testbed.means import lacking
from harness.topology import plan
from suites.selftest.means import means_of
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

TWO_CONTROLLERS = plan(Config.model_validate(ready_topologies()["two-controllers"]))
IQN = TWO_CONTROLLERS.target_iqn


def lab(answer: Callable[[Asked], Answer]) -> tuple[Lab, ScriptedMachine]:
    machine = ScriptedMachine(answer)

    def named(name: str) -> ScriptedMachine:
        assert name == "target"
        return machine

    found = SimpleNamespace(topology=TWO_CONTROLLERS, machine=named)
    return cast(Lab, found), machine


# What each shows once it is as the fault says, and as it was planned; then what is said otherwise.
CASES: list[tuple[LioSetting, str, str, str, str]] = [
    (
        LunsOffline("c1"),
        *("lun0 1\n", "lun0 0\n"),
        "lun0 is not offline behind controller c1",
        "lun0 is offline behind controller c1",
    ),
    (
        PortalRemoved("a1"),
        *("connected\n", "there\nlistens\nconnected\n"),
        "LIO has portal a1",
        "LIO lacks portal a1",
    ),
    (
        PortalClosed("a1"),
        *("", "there\nlistens\n"),
        "LIO has portal a1",
        "LIO lacks portal a1",
    ),
    (
        LoginsRefused("c2"),
        *(f"{IQN} 0\n", f"{IQN} 1\n"),
        f"the portal group of controller c2 is enabled in {IQN}",
        f"the portal group of controller c2 is not enabled in {IQN}",
    ),
]


@pytest.mark.parametrize(("fault", "changed", "planned_", "not_yet", "still"), CASES)
def test_a_setting_is_confirmed_sampled_and_healed_by_what_lio_shows(
    fault: LioSetting,
    changed: str,
    planned_: str,
    not_yet: str,
    still: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both ways."""
    monkeypatch.setattr(lio_setting, "CONFIRM_TIMEOUT_S", 0.1)
    as_changed, machine = lab(lambda _: Answer(changed))
    fault.confirm(as_changed)
    assert means_of(fault, as_changed)[fault.name].missing == ""
    with pytest.raises(TimedOut, match=still):
        fault.confirm_healed(as_changed)
    as_planned, _ = lab(lambda _: Answer(planned_))
    fault.confirm_healed(as_planned)
    assert means_of(fault, as_planned)[fault.name].missing == not_yet
    with pytest.raises(TimedOut, match=not_yet):
        fault.confirm(as_planned)
    fault.inject(as_changed)
    assert machine.asked[-1].argv[-1] == fault.changing(TWO_CONTROLLERS)
    fault.heal(as_changed)
    assert fault.undoing(as_changed) == {"target": fault.restoring(TWO_CONTROLLERS)}


@pytest.mark.parametrize(
    ("fault", "paths", "effects"),
    [
        (LunsOffline("c1"), ("a1", "b1"), {Effect.NOT_READY}),
        (PortalRemoved("a1"), (), {Effect.UNNOTICED}),
        (PortalClosed("a1"), ("a1",), {Effect.REFUSED}),
        (LoginsRefused("c2"), ("a2", "b2"), {Effect.REFUSED}),
    ],
)
def test_each_hits_what_it_says(fault: Fault, paths: tuple[str, ...], effects: set[Effect]) -> None:
    """A portal that is removed breaks no path: its sessions stay."""
    assert fault.hits(TWO_CONTROLLERS) == fault.loses(TWO_CONTROLLERS) == paths
    assert fault.effects == effects
    assert fault.needs == {Means.LIO}


def test_sessions_have_to_stay_where_only_a_portal_is_removed() -> None:
    """And end where it is closed."""
    gone, _ = lab(lambda _: Answer(""))
    said = means_of(PortalRemoved("a1"), gone)["PortalRemoved(a1)"].missing
    assert said == "no session is left at portal a1"
    left, _ = lab(lambda _: Answer("connected\n"))
    said = means_of(PortalClosed("a1"), left)["PortalClosed(a1)"].missing
    assert said == "a connection is left at portal a1"


def test_a_portal_is_closed_before_its_connections_are_ended() -> None:
    """Else they would be there again at once."""
    removing, killing = PortalClosed("a1").changing(TWO_CONTROLLERS).splitlines()
    assert removing.startswith("rmdir ")
    assert killing.startswith("ss -tnHO --kill state established src 172.16.0.1:3260 ")
    assert PortalRemoved("a1").changing(TWO_CONTROLLERS) == f"{removing}\n"
    both = {kind("a1").restoring(TWO_CONTROLLERS) for kind in (PortalRemoved, PortalClosed)}
    assert len(both) == 1  # and is run once


def test_a_portal_without_a_listener_has_not_come_back() -> None:
    back, _ = lab(lambda _: Answer("there\n"))
    told = "there\n"
    says = "nobody listens at portal a1"
    assert PortalRemoved("a1").changed(told, back.topology) == says


@pytest.mark.parametrize(
    ("kind", "because"),
    [
        ("lio", ""),
        ("tgt", "it needs LIO as the target, and the target is of kind tgt"),
        ("iet", "it needs LIO as the target, and the target is of kind iet"),
    ],
)
def test_only_lio_has_these_settings(kind: str, because: str) -> None:
    """A test with such a fault is skipped with the reason."""
    config = Config(target=TargetConfig.model_validate({"kind": kind}))
    assert lacking(config, {Means.LIO}) == because
    assert lacking(config, {Means.TARGET_VM, Means.TARGET_GUEST}) == ""


def test_an_existing_array_has_no_vm_and_no_settings() -> None:
    array = Config.model_validate(ready_topologies()["two"]).model_copy(
        update={"target": SimpleNamespace(kind="external", is_made=False)}
    )
    said = lacking(array, {Means.LIO})
    assert said == "it needs LIO as the target, and the target is external"
    assert "the hypervisor's end of the target's VM" in lacking(array, {Means.TARGET_VM})


def test_controllers_have_them_one_by_one() -> None:
    labels = [one.label for one in planned(TWO_CONTROLLERS, lambda _: True)]
    for label in ("c1-LunsOffline", "c2-LunsOffline", "c1-LoginsRefused", "a2-PortalClosed"):
        assert label in labels
