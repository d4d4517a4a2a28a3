"""Callouts: commands of the user's own break and mend, with real commands."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from harness.budget import Effect
from harness.config import Config
from harness.config.ready import ready_topologies
from harness.errors import FaultError, HarnessError, TimedOut
from harness.faults import (
    Callout,
    Injection,
    LinkDown,
    Together,
    injected,
    least_loss_of,
    losses,
    planned,
    select,
)
from harness.faults.sampling import sample_all
from harness.steps import Attachment, Listener, Step, listening
from harness.topology import Topology, plan
from suites.selftest.unit.own_commands import Device, lab_of


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


@pytest.fixture(autouse=True)
def records(own_state: Path) -> Path:
    """Where it is noted how to heal."""
    return own_state / ".callouts"


def noted(records: Path) -> list[Path]:
    return sorted(records.glob("*")) if records.exists() else []


class Evidence(Listener):
    def __init__(self) -> None:
        self.left: dict[str, str] = {}

    def attached(self, step: Step | None, attachment: Attachment) -> None:
        self.left[attachment.name] = attachment.content.decode()


def lasts(fault: Callout) -> Injection:
    """It is injected and healed."""
    with injected(fault, lab_of(fault.own)) as injection:
        return injection


def test_its_commands_break_and_mend(device: Device, records: Path) -> None:
    """And while it is broken it is noted how to mend it, for its owner alone to read."""
    fault = device.callout(confirm="is-down", confirm_healed="is-up")
    with injected(fault, lab_of(fault.own)):
        assert device.is_broken()
        (record,) = noted(records)
        assert record.stat().st_mode & 0o077 == 0
        assert records.stat().st_mode & 0o077 == 0
    assert not device.is_broken()
    assert device.said == ["down", "is-down", "up", "is-up"]
    assert noted(records) == []


def test_that_which_confirms_is_asked_until_it_says_so(device: Device) -> None:
    """A device takes its time; the fault counts as in force from then on."""
    injection = lasts(device.callout("late-down", confirm="is-down"))
    assert device.said[:2] == ["late-down", "is-down"]
    assert device.said.count("is-down") > 1
    assert injection.confirmed_ns - injection.injected_ns > 500_000_000


def test_what_is_never_confirmed_is_healed(device: Device, records: Path) -> None:
    """With the last answer."""
    fault = device.callout(confirm="is-up", confirm_timeout_s=1)
    with pytest.raises(TimedOut) as raised:
        lasts(fault)
    assert raised.value.message == (
        "Callout(port): confirm, with exit status 0: not within 1 s; "
        "last seen: exit status 3: port 7 is down"
    )
    assert "confirm_timeout_s" in raised.value.hint
    assert (device.is_broken(), noted(records)) == (False, [])


def test_one_that_fails_half_way_is_healed(device: Device, records: Path) -> None:
    """The message has its name, its exit status and what it said last."""
    with pytest.raises(FaultError) as raised:
        lasts(device.callout("half"))
    first, command, *rest = raised.value.message.splitlines()
    assert first == "Callout(port): inject: exit status 4: no such port"
    assert command == "this host: ./device half"
    assert "  stdout: half of it" in rest
    assert device.said == ["half", "up"]
    assert (device.is_broken(), noted(records)) == (False, [])


def test_one_that_does_not_end_is_ended_and_healed(device: Device, records: Path) -> None:
    """Within its time limit."""
    began = time.monotonic()
    with pytest.raises(FaultError, match=r"Callout\(port\): inject: no end within 0.5 s") as raised:
        lasts(device.callout("hang", inject_timeout_s=0.5))
    assert time.monotonic() - began < 10
    assert raised.value.hint == "inject_timeout_s gives it more time"
    assert (device.said, device.is_broken(), noted(records)) == (["hang", "up"], False, [])


@pytest.mark.parametrize("program", ["no-such-program", "./no-such-program", "./said"])
@pytest.mark.parametrize("what", ["inject", "heal", "confirm_healed"])
def test_a_program_that_is_not_there_is_named_before_anything_is_broken(
    device: Device, records: Path, what: str, program: str
) -> None:
    """Whichever of them it is; one that may not be executed is as good as none."""
    (device.folder / "said").touch()
    own = device.configured().model_copy(update={what: (program, "7")})
    with pytest.raises(FaultError) as raised:
        lasts(Callout(own))
    assert raised.value.message == (
        f"Callout(port): {what}: there is no program {program} on this host"
    )
    assert f"in PATH; one with a / in its name, in {device.folder}" in raised.value.hint
    assert (device.said, noted(records)) == ([], [])


def test_a_program_that_is_no_program_is_named(device: Device, records: Path) -> None:
    """Its heal is run all the same: who knows what it was."""
    (device.folder / "empty").write_bytes(b"\x7fELF")
    (device.folder / "empty").chmod(0o755)
    own = device.configured().model_copy(update={"inject": ("./empty",)})
    with pytest.raises(FaultError, match=r"inject: this host: cannot start \./empty: Exec format"):
        lasts(Callout(own))
    assert (device.said, noted(records)) == (["up"], [])


def test_a_folder_that_is_not_there_is_named(device: Device, records: Path) -> None:
    """As on another host of a fleet."""
    own = device.configured().model_copy(update={"folder": Path("/no/such/folder")})
    with pytest.raises(FaultError, match="there is no folder /no/such/folder on this host"):
        lasts(Callout(own))
    assert noted(records) == []


def test_an_interrupt_ends_the_command_and_heals(device: Device, records: Path) -> None:
    """Ctrl-C and SIGTERM arrive as one, wherever the run is."""

    def interrupt() -> None:
        while not device.is_broken():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        lasts(device.callout("hang"))
    assert (device.said, device.is_broken(), noted(records)) == (["hang", "up"], False, [])


def test_one_that_cannot_be_healed_says_both(device: Device, records: Path) -> None:
    """And it is tried again by whoever comes next."""
    with pytest.raises(FaultError) as raised:
        lasts(device.callout("half", heal="nonsense"))
    assert "could not be confirmed, nor healed" in raised.value.message
    assert "Callout(port): heal: exit status 2: what is nonsense?" in raised.value.message
    assert len(noted(records)) == 1


def test_what_is_not_confirmed_to_be_healed_stays_noted(device: Device, records: Path) -> None:
    """The word of the command that heals is not believed either."""
    with pytest.raises(TimedOut, match="confirm_healed, with exit status 0"):
        lasts(device.callout(confirm_healed="is-down", confirm_healed_timeout_s=0.2))
    assert len(noted(records)) == 1


def test_healing_does_nothing_where_nothing_was_injected(device: Device) -> None:
    """What its commands do is not known, so they are not run for nothing."""
    fault = device.callout(confirm_healed="is-up")
    lab = lab_of(fault.own)
    fault.heal(lab)
    fault.confirm_healed(lab)
    assert device.said == []


def test_it_can_be_injected_again_while_it_lasts(device: Device, records: Path) -> None:
    """One note is enough, and one heals."""
    fault = device.callout()
    lab = lab_of(fault.own)
    fault.inject(lab)
    fault.inject(lab)
    assert len(noted(records)) == 1
    fault.heal(lab)
    assert (device.said, noted(records)) == (["down", "down", "up"], [])


def test_it_is_not_injected_if_it_cannot_be_noted_how_to_heal(
    device: Device, records: Path
) -> None:
    records.parent.mkdir()
    records.touch()
    with pytest.raises(FaultError, match=r"Callout\(port\) is not injected, as how to heal it"):
        lasts(device.callout())
    assert device.said == []


def test_what_its_commands_said_is_in_the_report(device: Device) -> None:
    evidence = Evidence()
    own = device.configured(confirm="is-down").model_copy(update={"heal": ("sh", "-c", "echo ok")})
    with listening(evidence):
        lasts(Callout(own))
    assert evidence.left.keys() == {
        f"Callout(port): {one}" for one in ("inject", "confirm", "heal")
    }
    assert "this host: ./device down" in evidence.left["Callout(port): inject"]
    assert "stdout: ok" in evidence.left["Callout(port): heal"]


def test_the_environment_passes_through(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are there, and in no file."""
    monkeypatch.setenv("SWITCH_PASSWORD", "s3cret")
    inject = ("sh", "-c", 'test "$SWITCH_PASSWORD" = s3cret && test -n "$PATHPROOF_CALLOUT"')
    lasts(Callout(device.configured().model_copy(update={"inject": inject})))


def test_where_paths_go_on_a_number_of_its_own_has_to_grow(device: Device) -> None:
    """Here it counts how often it was asked."""
    fault = device.callout(effect="degraded", count="count")
    lab = lab_of(fault.own)
    first, second = (sample_all(lab, [fault])[0] for _ in range(2))
    assert (first.part, first.grows, first.restarts) == ("Callout(port)", True, False)
    assert first.count is not None
    assert second.count == first.count + 1
    assert not fault.means_hidden
    assert fault.lasts_s >= 6
    assert fault.limps(lab.topology) == fault.hits(lab.topology) == ("a",)


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ("12", 12),
        ("IF-MIB::ifInDiscards.7 = Counter32: 4711", 4711),
        ('{"port": 7, "drops": 3}', 3),
    ],
)
def test_a_count_is_the_last_number_that_is_printed(device: Device, said: str, count: int) -> None:
    own = device.configured(effect="degraded", count="count")
    fault = Callout(own.model_copy(update={"count": ("echo", said)}))
    (sample,) = fault.sample_means(lab_of(fault.own))
    assert sample.count == count


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("echo", "none"), "Callout(port): count prints no number, but 'none"),
        (("sh", "-c", "echo 7; exit 5"), "Callout(port): count: exit status 5: 7"),
        (("no-such-program",), "there is no program no-such-program"),
    ],
)
def test_a_count_that_cannot_be_had_shows_nothing(
    device: Device, command: tuple[str, ...], says: str
) -> None:
    """The fault goes on, and whether it acts is unknown."""
    own = device.configured(effect="degraded", count="count")
    fault = Callout(own.model_copy(update={"count": command}))
    (sample,) = sample_all(lab_of(fault.own), [fault])
    assert sample.count is None
    assert says in sample.unseen


def test_without_a_count_nothing_but_its_paths_shows_that_it_lasts(device: Device) -> None:
    """Together with others, these show what they can."""
    fault = device.callout()
    assert fault.means_hidden
    assert list(fault.sample_means(lab_of(fault.own))) == []
    assert Together((fault, fault)).means_hidden
    assert not Together((fault, LinkDown("b"))).means_hidden


def topology(*callouts: dict[str, Any], **more: Any) -> Topology:
    commands = {"inject": ["down"], "heal": ["up"]}
    return plan(Config.model_validate({"callouts": [commands | one for one in callouts], **more}))


FOUR = topology(
    {"name": "port", "portals": ["a1", "b2"], "each": True},
    {"name": "switch", "links": ["a"], "effect": "silent"},
    {"name": "half", "controllers": ["c2"], "effect": "refused"},
    {"name": "slow", "paths": ["b1"], "effect": "degraded", "count": ["drops"]},
    **ready_topologies()["two-controllers"],
)


def test_what_it_hits_is_computed_from_the_topology() -> None:
    """By links, portals, controllers or paths."""
    hits = {one.fault.where: one.fault.hits(FOUR) for one in planned(FOUR, lambda _: True)}
    assert hits["port-a1"] == ("a1",)
    assert hits["port-b2"] == ("b2",)
    assert hits["switch"] == ("a1", "a2")
    assert hits["half"] == ("a2", "b2")
    assert hits["slow"] == ("b1",)


def test_callouts_are_among_the_usual_faults_and_chosen_by_words() -> None:
    """Under names that stay from run to run."""
    every = planned(FOUR, lambda _: True)
    labels = [one.label for one in select(every, "callout")]
    assert labels == [f"{one}-Callout" for one in ("port-a1", "port-b2", "switch", "half", "slow")]
    assert [one.label for one in select(every, "callout and silent")] == [
        *("port-a1-Callout", "port-b2-Callout", "switch-Callout")
    ]
    assert [one.label for one in select(every, "slow-callout or half-Callout")] == [
        *("half-Callout", "slow-Callout")
    ]
    assert {"callout", "usual", "degraded"} <= select(every, "slow-Callout")[0].words
    assert set(labels) <= {f"{one.where}-{type(one).__name__}" for one in losses(FOUR, _anything)}


def _anything(_: object) -> bool:
    return True


def test_only_callouts_that_disturb_a_link_excuse_its_cable() -> None:
    by_name = {one.fault.where: one.fault for one in planned(FOUR, _anything)}
    assert by_name["switch"].disturbs(FOUR) == ("a",)
    assert by_name["half"].disturbs(FOUR) == ()
    assert by_name["half"].effects == {Effect.REFUSED}


def test_its_description_says_what_is_run() -> None:
    by_name = {one.fault.where: one.fault for one in planned(FOUR, _anything)}
    assert by_name["switch"].description == "a command of the user's own breaks link a: down"
    long = topology({"name": "x", "links": ["a"], "inject": ["sh", "-c", "word " * 99]})
    (fault,) = (one for one in losses(long, _anything) if isinstance(one, Callout))
    assert len(fault.description) < 200
    assert fault.description.endswith("…")


def test_a_path_that_goes_on_is_not_taken_away_by_a_callout() -> None:
    """One that is lost may be, where nothing else takes as few."""
    portals = ["172.16.0.1", "172.16.0.2"]
    nics = [f"172.16.0.{host}" for host in (101, 102, 103)]
    network = {"name": "a", "subnet": "172.16.0.0/24", "portals": portals, "initiator": nics}
    own = {"name": "x", "paths": ["a1-nic1"]}
    alone = topology(own, networks=[network])
    lost = topology(own | {"name": "y"}, networks=[network])
    worse = topology(own | {"effect": "degraded"}, networks=[network])
    assert least_loss_of(alone, "a1-nic1", _anything) is not None
    found = least_loss_of(lost, "a1-nic1", _anything)
    assert found is not None
    assert found.name == "Callout(y)"
    other = least_loss_of(worse, "a1-nic1", _anything)
    assert other is not None
    assert not isinstance(other, Callout)


def test_a_programming_error_is_not_taken_for_a_command_that_failed(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise TypeError("x")

    monkeypatch.setattr("harness.faults.own_command.LocalMachine.run", broken)
    with pytest.raises(TypeError):
        lasts(device.callout())
    assert not issubclass(TypeError, HarnessError)
    assert sys.exception() is None
