"""What a killed run has broken by commands of the user's own is healed by the next one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

import harness
from harness.cli.app import app
from harness.concurrency import side_by_side
from harness.config import Config
from harness.deadline import Deadline, poll
from harness.errors import BrokenTestbed, FaultError, SeveralFailed
from harness.faults import heal_callouts, heal_everything, heal_left_behind
from harness.provision.abandoned import remove_abandoned
from harness.provision.supply import Testbeds
from harness.steps import Listener, listening
from suites.selftest.unit.own_commands import Device, lab_of

HOLD = """
import json, sys, types
from harness.config.callouts import CalloutConfig
from harness.faults import Callout
fault = Callout(CalloutConfig.model_validate_json(sys.argv[1]))
fault.inject(types.SimpleNamespace())
print("in force", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


@pytest.fixture(autouse=True)
def records(own_state: Path) -> Path:
    """Where it is noted how to heal."""
    return own_state / ".callouts"


class Warnings(Listener):
    def __init__(self) -> None:
        self.said: list[str] = []

    def warned(self, message: str) -> None:
        self.said.append(message)


@contextmanager
def another_run(
    device: Device, inject: str = "down", **more: str
) -> Iterator[subprocess.Popen[str]]:
    """A process that has injected the callout, or is about to; in the end it is killed."""
    own = device.configured(inject, **more)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, own.model_dump_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(harness.__file__).parent.parent,
    ) as process:
        try:
            poll(device.is_broken, what="it is broken", deadline=Deadline.after(60))
            if inject != "hang":
                assert process.stdout is not None
                assert process.stdout.readline() == "in force\n"
            yield process
        finally:
            process.kill()


def killed(device: Device, inject: str = "down", **more: str) -> None:
    """As by `kill -9`, with all that it did."""
    with another_run(device, inject, **more) as process:
        process.send_signal(signal.SIGKILL)


def test_what_a_killed_run_broke_is_healed_by_the_next(device: Device, records: Path) -> None:
    """It says so; then there is nothing left to do."""
    killed(device)
    assert device.is_broken()
    warnings = Warnings()
    with listening(warnings):
        heal_callouts(lab_of(device.configured()).topology)
    assert (device.is_broken(), device.said) == (False, ["down", "up"])
    (said,) = warnings.said
    assert said.startswith("Callout(port) was left behind by a run that was killed")
    assert list(records.iterdir()) == []
    assert heal_left_behind() == []


def test_it_is_healed_as_it_was_noted_whatever_is_configured_now(device: Device) -> None:
    """Also if the configuration has no such callout any more: by `pathproof reap`."""
    killed(device)
    heal_callouts(lab_of(device.configured(heal="nonsense")).topology)
    assert not device.is_broken()
    killed(device)
    done = CliRunner().invoke(app, ["reap"])
    assert (done.exit_code, device.is_broken()) == (0, False)
    assert "Callout(port) is healed" in done.output


def test_whoever_makes_machines_heals_whatever_is_left(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And goes on if that fails, as it may be of another testbed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    killed(device)
    killed(device, heal="nonsense")
    warnings = Warnings()
    with listening(warnings):
        remove_abandoned()
    assert not device.is_broken()
    assert "Callout(port) was left behind, and could not be healed" in warnings.said[-1]


def test_those_of_other_testbeds_are_left_to_these(device: Device) -> None:
    """A device that is gone must not keep every run from starting."""
    killed(device)
    heal_callouts(lab_of(device.configured().model_copy(update={"name": "other"})).topology)
    assert device.is_broken()
    heal_callouts(lab_of().topology)
    assert device.is_broken()


def test_a_command_that_a_killed_run_had_started_is_ended_first(device: Device) -> None:
    """Or it would break something after that was healed."""
    killed(device, "hang")
    assert "hang" in _running()
    assert heal_left_behind() == ["Callout(port)"]
    assert "hang" not in _running()
    assert device.said == ["hang", "up"]


def _running() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_what_a_living_run_has_broken_stays(device: Device) -> None:
    """It heals itself."""
    with another_run(device):
        assert heal_left_behind() == []
        heal_callouts(lab_of(device.configured()).topology)
        assert device.is_broken()
    assert heal_left_behind() == ["Callout(port)"]


def test_many_come_at_once_and_one_heals(device: Device) -> None:
    killed(device)
    healed = side_by_side(*[heal_left_behind] * 4)
    assert sorted(map(len, healed)) == [0, 0, 0, 1]
    assert device.said == ["down", "up"]


def test_what_cannot_be_healed_is_told_and_tried_again(device: Device, records: Path) -> None:
    """With what to do by hand. Others are healed."""
    killed(device, heal="nonsense")
    killed(device, heal="up")
    with pytest.raises(FaultError) as raised:
        heal_left_behind()
    assert "Callout(port) was left behind, and could not be healed" in raised.value.message
    assert "what is nonsense?" in raised.value.message
    (record,) = records.iterdir()
    assert f"heal it yourself, then remove {record}" in raised.value.hint
    assert not device.is_broken()
    killed(device, heal="nonsense")
    with pytest.raises(SeveralFailed):
        heal_left_behind()


def test_a_run_does_not_begin_on_what_cannot_be_healed(device: Device) -> None:
    """Each test says why at once."""
    killed(device, heal="nonsense")
    config = Config.model_validate({"callouts": [device.configured().model_dump()]})
    with Testbeds(config) as testbeds:
        with pytest.raises(FaultError, match="could not be healed"), testbeds.lent():
            pytest.fail("a testbed was lent")
        with pytest.raises(BrokenTestbed, match="could not be healed"), testbeds.lent():
            pytest.fail("a testbed was lent")


def test_a_killed_run_is_seen_healed_where_something_shows_it(device: Device) -> None:
    killed(device, confirm_healed="is-up")
    assert heal_left_behind() == ["Callout(port)"]
    assert device.said == ["down", "up", "is-up"]


def test_what_this_run_could_not_heal_is_healed_before_its_next_test(
    device: Device, records: Path
) -> None:
    """Though it is alive."""
    fault = device.callout(confirm_healed="is-up")
    lab = lab_of(fault.own)
    fault.inject(lab)
    fault.heal(lab)
    assert len(list(records.iterdir())) == 1
    heal_everything(lab, lambda one: one == fault)
    assert device.said == ["down", "up", "up", "is-up"]
    assert list(records.iterdir()) == []


def test_a_record_without_content_is_of_a_run_that_broke_nothing(records: Path) -> None:
    records.mkdir(parents=True)
    for content in ("", '{"fault": "Callo'):
        (records / "callout-port-000000.json").write_text(content)
        assert heal_left_behind() == []
        assert list(records.iterdir()) == []


def test_a_record_of_another_version_is_left_with_what_to_do(records: Path) -> None:
    records.mkdir(parents=True)
    record = records / "callout-port-000000.json"
    record.write_text(json.dumps({"fault": "Callout(port)"}))
    with pytest.raises(FaultError, match="it is unknown what a killed run has broken") as raised:
        heal_left_behind()
    assert "remove it" in raised.value.hint
    assert record.exists()
