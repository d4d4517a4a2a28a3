"""`pathproof bench stall`: one case from measurements, the table, the JSON, the exit status."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, cast

import pytest
from typer.testing import CliRunner

from harness.analysis import breakdown as breakdowns
from harness.analysis.breakdown import Breakdown
from harness.analysis.stall import worst_stall
from harness.cli.app import app
from harness.cli.bench import stall as bench_stall
from harness.cli.bench.stall import Case, as_told, case, chosen_faults, table
from harness.config import Config
from harness.faults import (
    InitiatorDrop,
    LinkDown,
    LinkFlaps,
    PeerLinkDown,
    SilentDrop,
    Together,
)
from harness.measurements import FaultRecord, Measurements
from suites.selftest.unit.synthetic_failover import STALL_S, failover, nothing_measured

KINDS = (LinkDown, PeerLinkDown, SilentDrop, InitiatorDrop)


class Part(NamedTuple):
    """It has as much of `harness.analysis.breakdown.Part` as is shown."""

    layer: str
    seconds: float
    uncertainty_s: float


FAULT = "SilentDrop(a)"
PARTS = (Part("open-iscsi", 2.0, 0.002), Part("dm-multipath", STALL_S - 2.0, 0.002))


def good() -> Measurements:
    """A failover in which nothing is wrong and everything was seen."""
    measured = failover()
    return replace(
        measured, kernel_logs=tuple(replace(log, lost=0) for log in measured.kernel_logs)
    )


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    """What the stall is taken apart into; none if the list is emptied."""
    found = list(PARTS)

    def breakdown(measurements: Measurements, fault: FaultRecord) -> Breakdown | None:
        assert fault in measurements.faults
        missing = () if len(found) == len(PARTS) else ("path failed",)
        stall = worst_stall(measurements, start_ns=fault.injected_ns)
        if not found or not stall:
            return None
        outage = cast("tuple[breakdowns.Part, ...]", tuple(found))
        return Breakdown(fault.name, stall, outage, (), missing, tolerance_s=0.0029)

    monkeypatch.setattr("harness.analysis.breakdown.breakdown", breakdown)
    return found


def test_a_case_has_stall_budget_and_parts(parts: list[Part]) -> None:
    """Each under the name that the JSON promises."""
    told = as_told([case("fast", FAULT, good())])
    (one,) = told["cases"]
    assert one.pop("longest_io_s") == pytest.approx(STALL_S, abs=0.01)
    assert one | {"resolution_s": 0.0} == {
        "profile": "fast",
        "fault": "SilentDrop(a)",
        "stall_s": STALL_S,
        "stream": "random writes",
        "budget_s": 4,
        "terms": {"noop_out_interval": 1, "noop_out_timeout": 1, "recovery_tmo": 1, "slack": 1},
        "max_stall_s": None,
        "parts": [
            {"layer": "open-iscsi", "seconds": 2.0, "uncertainty_s": 0.002},
            {"layer": "dm-multipath", "seconds": 0.94, "uncertainty_s": 0.002},
        ],
        "missing": [],
        "sum_of_parts_s": STALL_S,
        "tolerance_s": 0.0029,
        "resolution_s": 0.0,
        "clock_uncertainty_s": 0.0019,
        "verdict": "pass",
        "why": "",
    }
    assert 0 < one["resolution_s"] < 0.02
    assert told["all_passed"]
    assert told["parts_add_up"]
    json.dumps(told)


@pytest.mark.parametrize(("off_s", "adds_up"), [(0.0028, True), (0.003, False), (-0.003, False)])
def test_parts_add_up_within_the_clocks_uncertainty_and_the_grain_of_the_log(
    parts: list[Part], off_s: float, adds_up: bool
) -> None:
    """They are 1.9 and 1 ms here."""
    parts[0] = parts[0]._replace(seconds=parts[0].seconds + off_s)
    told = as_told([case("fast", FAULT, good())])
    assert told["parts_add_up"] is adds_up
    assert told["all_passed"]


def test_a_stall_that_could_not_be_taken_apart_does_not_add_up(parts: list[Part]) -> None:
    parts.clear()
    told = as_told([case("fast", FAULT, good())])
    assert not told["parts_add_up"]
    assert (told["cases"][0]["parts"], told["cases"][0]["sum_of_parts_s"]) == ([], None)


def test_parts_that_could_not_be_told_apart_do_not_add_up(parts: list[Part]) -> None:
    """One part that covers two is as long as both, and is not added."""
    one, other = parts
    parts[:] = [one._replace(seconds=one.seconds + other.seconds)]
    told = as_told([case("fast", FAULT, good())])
    assert not told["parts_add_up"]
    assert told["cases"][0]["missing"] == ["path failed"]


def test_a_stall_beyond_its_budget_is_told(parts: list[Part]) -> None:
    """With the reason that the check gives."""
    measured = good()
    (fault,) = measured.faults
    short = replace(fault.budget, terms=fault.budget.terms[-1:])
    told = as_told([case("fast", FAULT, replace(measured, faults=(replace(fault, budget=short),)))])
    assert told["cases"][0]["verdict"] == "fail"
    assert "2.94" in told["cases"][0]["why"]
    assert not told["all_passed"]


def test_a_fault_without_effect_is_no_pass(parts: list[Part]) -> None:
    """Its stall is within every budget, and says nothing."""
    measured = good()
    busy = tuple(replace(c, path="a") for c in measured.counters)
    found = case("fast", FAULT, replace(measured, counters=busy))
    assert found.verdict == "unknown"
    assert "no effect" in found.why


def test_the_table_has_lines_for_each_case(parts: list[Part]) -> None:
    """What does not add up is marked; none is wider than a terminal."""
    whole = case("fast", FAULT, replace(good(), max_stall_s=3.5))
    parts.pop()
    unsure = case("stock", "SilentDrop(a) + SilentDrop(b)", good())
    told = table([whole, replace(unsure, why="it is not known " * 20)]).splitlines()
    grain = f"{told[1].split()[8]} ms"
    terms = "noop_out_interval 1 + noop_out_timeout 1 + recovery_tmo 1 + slack 1"
    assert [" ".join(line.split()) for line in told[:6]] == [
        "PROFILE FAULT STALL BUDGET SUM OF PARTS RESOLUTION VERDICT",
        f"fast SilentDrop(a) 2.940 s 4.000 s 2.940 s {grain} pass",
        "parts: open-iscsi 2.000 + dm-multipath 0.940",
        "longest I/O: 2.944 s",
        f"budget: {terms}; max_stall 3.5",
        f"stock SilentDrop(a) + SilentDrop(b) 2.940 s 4.000 s 2.000 s (!) {grain} pass",
    ]
    assert "  not seen: path failed" in told
    assert max(map(len, told)) <= 100


def test_i_o_that_was_cut_short_before_its_fault_is_told(parts: list[Part]) -> None:
    """Nothing was injected, and all the other cases go on."""
    nothing = replace(nothing_measured(), cut_short="fio gave up")
    for measured in (nothing, replace(good(), faults=(), cut_short="fio gave up")):
        found = case("fast", FAULT, measured)
        assert (found.verdict, found.stall_s, found.parts_add_up) == ("unknown", None, False)
        assert "no fault was injected" in found.why
        assert "fio gave up" in table([found])
        json.dumps(as_told([found]))


def test_every_fault_is_measured_unless_some_are_chosen() -> None:
    """At the first link or portal, and the loss of all."""
    every, left_out = chosen_faults((), Config())
    assert every == [
        *(kind("a") for kind in KINDS),
        Together((SilentDrop("a"), SilentDrop("b"))),
    ]
    assert left_out == {}
    assert chosen_faults(("Together", "LinkDown"), Config()) == ([every[-1], every[0]], {})
    assert chosen_faults(("LinkFlaps",), Config()) == ([LinkFlaps("a")], {})


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """The description of a testbed with an external target."""
    networks = "".join(
        f"""
[[networks]]
name = "{name}"
subnet = "10.0.{number}.0/24"
portals = ["10.0.{number}.1"]
initiator = "10.0.{number}.2"
bridge = "br{number}"
"""
        for number, name in enumerate("ab")
    )
    file = tmp_path / "array.toml"
    wwid = "360014057043dfe0435de773ca03bbf04"
    file.write_text(f'[target]\nkind = "external"\nwwid = "{wwid}"\n{networks}')
    return file


def test_what_the_testbed_has_no_means_for_is_left_out_and_told(
    measured: list[tuple[str, str]], parts: Sequence[Part], external: Path
) -> None:
    """An array's cables cannot be pulled; all its paths are lost at the initiator's end."""
    status, output = run("--profile", "fast", "--json", "--testbed", str(external))
    told = json.loads(output)
    assert status == 0
    assert [fault for _, fault in measured] == [
        *("LinkDown(a)", "InitiatorDrop(a)", "InitiatorDrop(a) + InitiatorDrop(b)"),
    ]
    assert sorted(told["left_out"]) == ["PeerLinkDown(a)", "SilentDrop(a)"]
    _, output = run("--profile", "fast", "--testbed", str(external))
    assert output.splitlines()[-1] == (
        "SilentDrop(a): not possible here: it needs commands on the target, and the target is "
        "external"
    )


def test_a_fault_that_was_asked_for_and_is_impossible_is_refused(
    measured: list[tuple[str, str]], external: Path
) -> None:
    """Before a testbed is made."""
    status, output = run("--fault", "PeerLinkDown", "--testbed", str(external))
    assert status == 2
    words = " ".join(output.replace("│", " ").split())
    assert "PeerLinkDown(a) is not possible here: it needs the hypervisor's end" in words
    assert measured == []


class Lab:
    """A provisioner whose testbeds are names of profiles."""

    def __init__(self, profile: str = "") -> None:
        self.profile = profile

    def with_profile(self, profile: str) -> nullcontext[Lab]:
        return nullcontext(Lab(profile))

    @contextmanager
    def testbed(self) -> Iterator[str]:
        yield self.profile


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str]]:
    """What `bench stall` measures, on no testbed: each profile and fault."""
    asked: list[tuple[str, str]] = []

    def failed_over(testbed: str, fault: SimpleNamespace, seed: int) -> Measurements:
        asked.append((testbed, fault.name))
        return good()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.provision.provisioner.provisioner", lambda _: nullcontext(Lab()))
    monkeypatch.setattr(bench_stall, "_failover", failed_over)
    return asked


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["--quiet", "bench", "stall", *arguments])
    return done.exit_code, done.output


def test_both_profiles_are_measured_unless_one_is_given(
    measured: list[tuple[str, str]], parts: Sequence[Part]
) -> None:
    """Every fault under each of them."""
    status, output = run("--json")
    faults = len(KINDS) + 1
    assert (status, len(json.loads(output)["cases"])) == (0, 2 * faults)
    assert [profile for profile, _ in measured] == ["fast"] * faults + ["stock"] * faults
    measured.clear()
    run("--profile", "stock", "--fault", "LinkDown")
    assert measured == [("stock", "LinkDown(a)")]


def test_the_exit_status_tells_of_parts_that_do_not_add_up(
    measured: list[tuple[str, str]], parts: list[Part]
) -> None:
    """After the table was printed."""
    parts.clear()
    status, output = run("--fault", "LinkDown")
    assert status == 1
    assert output.startswith("PROFILE")


def test_the_exit_status_tells_of_a_stall_beyond_its_budget(
    monkeypatch: pytest.MonkeyPatch, measured: list[tuple[str, str]], parts: list[Part]
) -> None:
    def too_long(profile: str, fault: str, measurements: Measurements) -> Case:
        return replace(case(profile, fault, measurements), verdict="fail")

    monkeypatch.setattr(bench_stall, "case", too_long)
    assert run("--fault", "LinkDown", "--profile", "fast")[0] == 1


def test_an_unknown_fault_is_refused_with_those_that_there_are() -> None:
    status, output = run("--fault", "Earthquake")
    assert status == 2
    assert "'Earthquake' is none of LinkDown" in output
