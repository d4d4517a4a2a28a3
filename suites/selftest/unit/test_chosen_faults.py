"""`pytest --faults` and `pathproof faults`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from suites.selftest.unit.small_suite import run_suite

TESTS = """
import pytest
from harness.faults import LinkDown, SilentDrop

def test_a_loss(loss):
    pass

def test_without_a_fault():
    pass

@pytest.mark.parametrize("loss", [LinkDown("a"), LinkDown("b"), "none"], ids=["a", "b", "none"])
def test_its_own(loss):
    pass

@pytest.mark.parametrize("kind", [LinkDown, SilentDrop])
def test_a_kind(kind):
    pass
"""
OWN = [f"test_its_own[{value}]" for value in ("a", "b", "none")]
OF_A_KIND = ["test_a_kind[LinkDown]", "test_a_kind[SilentDrop]"]


WORDS = ("initiator", "InitiatorDrop", "inside", "packet", "silent", "usual")


def collected(folder: Path, *options: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    said = run_suite(folder, TESTS, "--collect-only", "-q", *options).stdout.splitlines()
    return [line.rpartition("::")[2] for line in said if "::" in line]


def test_without_the_option_everything_is_run(tmp_path: Path) -> None:
    """Each loss of the testbed, and what has none."""
    kinds = ("LinkDown", "PeerLinkDown", "SilentDrop", "InitiatorDrop")
    labels = [f"{place}-{kind}" for kind in kinds for place in "ab"]
    every = [f"test_a_loss[{label}]" for label in labels]
    assert collected(tmp_path) == [*every, "test_without_a_fault", *OWN, *OF_A_KIND]


def test_with_every_fault_that_there_is(tmp_path: Path) -> None:
    """Beside the usual ones, and beside the tests of none."""
    usual, every = collected(tmp_path / "usual"), collected(tmp_path / "full", "--full")
    assert set(usual) < set(every)
    assert "test_a_loss[a-LinkFlaps]" in set(every) - set(usual)
    assert "test_a_loss[b-target-PacketLoss]" in every
    assert "test_a_loss[a-RequestsHeld]" not in every  # under which sound storage may fail


def test_every_fault_and_some_is_a_contradiction(tmp_path: Path) -> None:
    done = run_suite(tmp_path, TESTS, "--full", "--faults", "link")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--full is every fault, and --faults chooses some" in done.stderr


def test_with_it_only_tests_of_the_chosen_faults_are_run(tmp_path: Path) -> None:
    """Also where a test has values of its own, or tries a kind."""
    assert collected(tmp_path, "--faults", "LinkDown and not b-LinkDown") == [
        *("test_a_loss[a-LinkDown]", "test_its_own[a]", "test_a_kind[LinkDown]")
    ]


def test_a_word_that_no_fault_is_known_by_is_refused(tmp_path: Path) -> None:
    """Before anything is collected, with how to find the words."""
    done = run_suite(tmp_path, TESTS, "--faults", "slient")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--faults: no fault is known by the word 'slient'" in done.stderr
    assert "pathproof faults" in done.stderr


def listed(*options: str) -> str:
    done = CliRunner().invoke(app, ["faults", *options])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_faults_are_listed_with_what_they_hit_and_their_words() -> None:
    """Place by place."""
    header, *rows = listed("--topology", "four").splitlines()
    assert header.split("  ")[0] == "FAULT"
    told = {row.split()[0]: row for row in rows}
    assert len(told) == len(rows)
    assert {"SilentDrop(b2)", "OneByOne(all-but-one)", "AddressRemoved(b)"} <= told.keys()
    assert told["LinkDown(a)"].split() == [
        *("LinkDown(a)", "link", "unreachable", "a1,", "a2"),
        *("a-LinkDown", "hypervisor", "initiator", "link", "LinkDown", "silent", "unreachable"),
        "usual",
    ]


def test_only_those_that_were_chosen_are_listed() -> None:
    rows = listed("--faults", "usual and packet and target").splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["SilentDrop(a)", "SilentDrop(b)"]
    done = CliRunner().invoke(app, ["faults", "--faults", "slient"])
    assert done.exit_code == 2
    assert "'slient'" in done.output


CALLOUTS = """
[[callouts]]
name = "port"
links = ["a", "b"]
each = true
inject = ["switch", "{link}", "down"]
heal = ["switch", "{link}", "up"]

[[callouts]]
name = "slow"
paths = ["b"]
effect = "degraded"
inject = ["array", "throttle"]
heal = ["array", "unthrottle"]
"""


def test_callouts_are_listed_and_run_as_any_other_fault(tmp_path: Path) -> None:
    """Each with its own name, among the usual ones."""
    own = tmp_path / "own.toml"
    own.write_text(CALLOUTS)
    header, *rows = listed("--testbed", str(own), "--faults", "callout").splitlines()
    assert [row.split()[:3] for row in rows] == [
        ["Callout(port-a)", "callout", "unreachable"],
        ["Callout(port-b)", "callout", "unreachable"],
        ["Callout(slow)", "callout", "degraded"],
    ]
    (told,) = json.loads(listed("--testbed", str(own), "--json", "--faults", "port-b-Callout"))
    assert told == {
        "name": "Callout(port-b)",
        "test": "port-b-Callout",
        "kind": "Callout",
        "family": "callout",
        "effects": ["unreachable"],
        "paths": ["b"],
        "needs": ["commands of the user's own"],
        "words": ["Callout", "callout", "port-b-Callout", "silent", "unreachable", "usual"],
        "description": "a command of the user's own breaks link b: switch b down",
        "skipped_because": "",
    }
    assert header
    ids = [f"test_a_loss[{one}-Callout]" for one in ("port-a", "port-b", "slow")]
    assert set(ids) <= set(collected(tmp_path / "usual", "--testbed", str(own)))
    only = collected(tmp_path / "chosen", "--testbed", str(own), "--faults", "callout")
    assert only == ids


def test_what_this_lab_has_no_means_for_is_listed_with_the_reason(tmp_path: Path) -> None:
    """For people and for programs."""
    array = tmp_path / "array.toml"
    networks = "".join(
        f"[[networks]]\nname = '{name}'\nsubnet = '10.0.{number}.0/24'\n"
        f"portals = ['10.0.{number}.1']\ninitiator = '10.0.{number}.2'\nbridge = 'br{number}'\n"
        for number, name in enumerate("ab")
    )
    array.write_text(f"[target]\nkind = 'external'\n{networks}".replace("'", '"'))
    because = "it needs commands on the target, and the target is external"
    (row,) = listed("--testbed", str(array), "--faults", "a-SilentDrop").splitlines()[1:]
    assert row.endswith(because)
    told = json.loads(listed("--testbed", str(array), "--json", "--faults", "usual and packet"))
    assert {one["name"]: one["skipped_because"] for one in told} == {
        "SilentDrop(a)": because,
        "SilentDrop(b)": because,
        "InitiatorDrop(a)": "",
        "InitiatorDrop(b)": "",
    }
    assert told[2] == {
        "name": "InitiatorDrop(a)",
        "test": "a-InitiatorDrop",
        "kind": "InitiatorDrop",
        "family": "packet",
        "effects": ["silent"],
        "paths": ["a"],
        "needs": ["commands on the initiator"],
        "words": ["a-InitiatorDrop", *WORDS],
        "description": told[2]["description"],
        "skipped_because": "",
    }
