"""Tests that need what a target has not are skipped, with the reason."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.config import Config
from harness.errors import InitiatorError
from harness.plugin.requires import skip_unless_capable
from harness.target import KINDS, Capabilities, target_for
from harness.testbed import Testbed
from harness.testbed.probe import capabilities_of, seen_in
from harness.topology import plan
from harness.transport.features import Features
from harness.transport.path_disk import PathDisk
from suites.selftest.unit.scripted_machine import Answer, ScriptedMachine

RECORDED = Path(__file__).parent / "recorded"
LIO, TGT = ((RECORDED / f"sg3-utils-1.46-{kind}.txt").read_text() for kind in ("lio", "tgt"))
HALF = Capabilities(chap=True, unmap=True)


def item(*marked: str) -> pytest.Item:
    marks = [pytest.mark.requires(name).mark for name in marked]
    return cast(pytest.Item, SimpleNamespace(iter_markers=lambda _: marks))


def bed_with(capabilities: Capabilities = HALF) -> Testbed:
    target = SimpleNamespace(kind="tgt", capabilities=capabilities)
    return cast(Testbed, SimpleNamespace(config=Config(), target=target))


def test_a_test_that_requires_nothing_runs() -> None:
    """Whatever the target."""
    skip_unless_capable(item(), bed_with(Capabilities()))


def test_a_test_runs_where_the_target_has_all() -> None:
    """One of them would not do."""
    skip_unless_capable(item("chap", "unmap"), bed_with())


def test_a_test_is_skipped_with_what_is_lacking() -> None:
    """All of it, and only that."""
    with pytest.raises(pytest.skip.Exception) as skipped:
        skip_unless_capable(item("chap", "alua", "mutual_chap"), bed_with())
    assert skipped.value.msg == "target tgt has no alua, mutual_chap"


def test_an_unknown_capability_is_a_mistake() -> None:
    """A misspelt one would skip the test for ever."""
    with pytest.raises(ValueError, match=r"no capability aula; there are alua, "):
        skip_unless_capable(item("aula"), bed_with())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "external"])
def test_every_made_kind_can_be_asked_for_credentials(kind: str) -> None:
    """It also says what else it can."""
    config = Config.model_validate({"target": {"kind": kind}})
    target: Any = target_for(config.target, ScriptedMachine(), plan(config))
    assert target.kind == kind
    assert target.capabilities.lacking("chap", "mutual_chap", "persistent_reservations") == ()
    assert target.describe().startswith(f"{kind}, fileio, write-through")


def test_what_a_lun_tells_are_capabilities() -> None:
    """CHAP is none of its business."""
    features = Features("V", "P", True, ("active/optimized",), False, True, False)
    assert seen_in(features) == Capabilities(alua=True, unmap=True)


def array(*luns: str) -> Testbed:
    """An external target whose LUNs tell that of themselves, each over path a."""
    told = {f"/dev/sd{number}": text for number, text in enumerate(luns)}
    machine = ScriptedMachine(lambda asked: Answer(told[asked.argv[-1]]))
    maps = [
        SimpleNamespace(
            name=f"lun{number}",
            machine="initiator",
            attachment=SimpleNamespace(paths=lambda n=number: [PathDisk("a", f"sd{n}", "8:0")]),
        )
        for number, _ in enumerate(luns)
    ]
    config = SimpleNamespace(target=SimpleNamespace(kind="external", chap=None))
    bed = SimpleNamespace(config=config, maps=maps, map=maps[0], machine=lambda _: machine)
    return cast(Testbed, bed)


def test_every_lun_of_an_array_is_asked() -> None:
    """Those that contradict each other are named."""
    assert capabilities_of(array(LIO, LIO)).alua
    with pytest.raises(InitiatorError, match=r"different capabilities: lun0 over a: .*; lun1 over"):
        capabilities_of(array(LIO, TGT))
