"""verdict.json: what it holds, that its schema is the documented one, that every test has one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness.checks import Check, Finding, Judgement, Verdict, data_intact, judge, paths_restored
from harness.checks.judgement import worst
from harness.errors import ReportError
from harness.lacking import Lacking
from harness.measurements import MAP, BlockFinding, Damage, Measurements, ReadBack
from harness.plugin.attempts import Attempts
from harness.plugin.run import Run
from harness.reporting.blame import Blame
from harness.reporting.verdict_document import (
    Judged,
    VerdictDocument,
    schema_text,
    verdict_document,
)
from harness.reporting.verdict_files import file_name, gather_verdicts
from harness.units import NS_PER_S
from suites.selftest.unit.synthetic_failover import STALL_S, START, failover, nothing_measured

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = ROOT / "docs" / "verdict.schema.json"
TEST = "suites/failover/test_path_loss.py::test_io[a-LinkDown]"
BEGAN = datetime(2026, 3, 14, 2, 0, 7, tzinfo=UTC)
PASS, FAIL, UNKNOWN = Verdict


def crash(_: Measurements) -> Finding:
    raise ZeroDivisionError("on purpose")


def judged(measured: Measurements, *verdicts: Verdict) -> Judged:
    return Judged(measured, Judgement(tuple(Finding(str(v), v, "because") for v in verdicts)))


def document(*parts: Judged, blamed: Blame | None = None) -> VerdictDocument:
    ahead_ns = int(BEGAN.timestamp()) * NS_PER_S - START
    return verdict_document(
        TEST, parts, environment={"Kernel": "6.1"}, wall_ahead_ns=ahead_ns, blamed=blamed
    )


def written(*parts: Judged) -> dict[str, Any]:
    content = json.loads(document(*parts).text)
    assert isinstance(content, dict)
    return content


def test_the_documented_schema_is_that_of_the_code() -> None:
    """To write it anew: `schema_text()` into docs/verdict.schema.json; see docs/verdict.md."""
    assert SCHEMA.read_text() == schema_text()


def test_the_documented_example_is_a_document() -> None:
    """Of this version, with every key."""
    (example,) = re.findall(
        r"^```json\n(.*?)^```", (ROOT / "docs" / "verdict.md").read_text(), re.MULTILINE | re.DOTALL
    )
    parsed = VerdictDocument.model_validate_json(example)
    assert json.loads(parsed.text) == json.loads(example)


def test_a_failover_is_told_in_seconds_since_it_began() -> None:
    """What was judged, what was broken and when, how long I/O stood still, how well it is known."""
    torn = BlockFinding(0, MAP, Damage.TORN)
    back = ReadBack(9, 9, {MAP: 9, "a": 9}, (torn,), {"b": "offline"})
    measured = replace(failover(), read_back=back)
    checks = data_intact(), paths_restored(), Check("crashes", crash)
    content = written(Judged(measured, judge(measured, *checks)))
    assert content["schema"] == 3
    assert content["harness"] == harness.__version__
    assert content["test"] == TEST
    assert content["verdict"] == "fail"
    assert datetime.fromisoformat(content["began"]) == BEGAN
    assert content["environment"] == {"Kernel": "6.1"}
    (one,) = content["judgements"]
    assert [(check["name"], check["verdict"]) for check in one["checks"]] == [
        ("data intact", "fail"),
        ("paths restored", "pass"),
        ("crashes", "unknown"),
    ]
    assert "crashed: ZeroDivisionError('on purpose')" in one["checks"][2]["message"]
    assert one["checks"][0]["figures"]["wrong"] == "1"
    assert one["checks"][0]["numbers"] == {"acknowledged_blocks": 9, "wrong_blocks": 1}
    assert one["read_back"] == {
        "acknowledged": 9,
        "checked": {"map": 9, "a": 9},
        "away": {"b": "offline"},
        "wrong": {"torn": 1},
        "again_after_s": 0,
    }
    (fault,) = one["faults"]
    times = {name: seconds for name, seconds in fault.items() if re.search("(ed|d)_s$", name)}
    assert times == {
        "injected_s": 6,
        "confirmed_s": 6.05,
        "healed_s": 20,
        "healing_confirmed_s": 20.1,
    }
    assert [(part["layer"], round(part["seconds"], 3)) for part in fault["parts"]] == [
        ("detection", 1.98),
        ("session recovery", 0.92),
        ("device mapper", 0.01),
        ("resubmission", 0.03),
    ]
    assert fault["parts"][0]["ends"] == "connection error"
    assert [part["layer"] for part in fault["recovery"]][:1] == ["session login"]
    assert (fault["stall_s"], fault["missing"]) == (STALL_S, [])
    assert one["max_stall_s"] is None
    assert 0 < one["resolution_s"] < 0.02
    assert fault["budget_s"] == sum(term["seconds"] for term in fault["budget"]) == 4
    assert [(p["name"], p["start_s"], p["end_s"]) for p in one["phases"]] == [
        ("before", 0, 6),
        ("during", 6, 20),
        ("after", 20, 29),
    ]
    (probe,) = (stall for stall in one["stalls"] if stall["stream"] == "probe")
    assert [longest["stream"] for longest in one["longest_ios"]] == ["random writes", "probe"]
    assert one["longest_ios"][1]["seconds"] == pytest.approx(probe["seconds"], abs=0.01)
    assert fault["longest_io_s"] == pytest.approx(fault["stall_s"], abs=0.01)
    assert probe["seconds"] == pytest.approx(STALL_S)
    assert probe["start_s"] == pytest.approx(6)
    assert one["clocks"] == [
        {"machine": "initiator", "at_s": 0, "ahead_s": 1, "uncertainty_s": 0.0019}
    ]


def test_a_fault_that_was_never_healed_has_no_time_of_healing() -> None:
    """It is not long before the test began."""
    measured = failover()
    unhealed = replace(measured.faults[0], healed_ns=0, healing_confirmed_ns=0)
    content = written(judged(replace(measured, faults=(unhealed,)), UNKNOWN))
    (fault,) = content["judgements"][0]["faults"]
    assert (fault["healed_s"], fault["healing_confirmed_s"]) == (None, None)


def test_several_judgements_share_one_zero() -> None:
    """That of the first stretch of I/O, whichever is given first."""
    measured = failover()
    earlier = replace(
        measured,
        clocks=tuple(replace(c, at_ns=c.at_ns - 5 * NS_PER_S) for c in measured.clocks),
        phases=(),
    )
    content = written(judged(measured, PASS), judged(earlier, FAIL))
    later, first = content["judgements"]
    assert (first["clocks"][0]["at_s"], later["clocks"][0]["at_s"]) == (0, 5)
    assert later["phases"][0]["start_s"] == 5
    assert [one["verdict"] for one in content["judgements"]] == ["pass", "fail"]
    assert content["verdict"] == "fail"


def test_a_test_that_measured_nothing_began_at_no_known_time() -> None:
    """It is unknown, and still a document."""
    content = written(judged(nothing_measured()))
    assert (content["began"], content["verdict"]) == (None, "unknown")


@given(
    st.lists(st.lists(st.sampled_from(Verdict), max_size=3), min_size=1, max_size=3),
    st.sampled_from([None, Blame.STORAGE, Blame.UNKNOWN]),
)
def test_the_verdict_is_the_worst_of_all(
    verdicts: list[list[Verdict]], blamed: Blame | None
) -> None:
    """Also of what the test itself asserts after its checks have passed."""
    said = {None: PASS, Blame.STORAGE: FAIL, Blame.UNKNOWN: UNKNOWN}[blamed]
    parts = [judged(nothing_measured(), *some) for some in verdicts]
    expected = worst([said, *(part.judgement.verdict for part in parts)])
    assert document(*parts, blamed=blamed).verdict is expected


@given(st.lists(st.text(min_size=1), unique=True, max_size=5))
def test_every_test_has_a_file_name_of_its_own(tests: list[str]) -> None:
    """Safe wherever the report is copied to."""
    names = [file_name(test) for test in tests]
    assert len(set(names)) == len(tests)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_\[\]-][A-Za-z0-9_.\[\]-]*\.json", name)
        assert len(name) < 200


def test_a_file_name_tells_which_test_it_is_of() -> None:
    expected = r"suites_failover_test_path_loss\.py_test_io\[a-LinkDown\]-[0-9a-f]{8}\.json"
    assert re.fullmatch(expected, file_name(TEST))
    assert "/" not in file_name("../" * 100)


def result(folder: Path, uuid: str, **attachments: str) -> None:
    """A result of Allure with attachments of these names and contents."""
    listed = []
    for number, (name, content) in enumerate(attachments.items()):
        source = f"{uuid}-{number}-attachment.json"
        (folder / source).write_text(content)
        listed.append({"name": name.replace("_", "."), "source": source})
    (folder / f"{uuid}-result.json").write_text(json.dumps({"attachments": listed}))


def test_verdicts_are_gathered_from_the_results(tmp_path: Path) -> None:
    """Other attachments, and tests that were not judged, have none."""
    text = document(judged(failover(), PASS)).text
    result(tmp_path, "a", verdict_json=text, fio_json="{}")
    result(tmp_path, "b", fio_json="{}")
    (tmp_path / "c-result.json").write_text("{}")
    gather_verdicts(tmp_path, tmp_path / "verdicts")
    (gathered,) = (tmp_path / "verdicts").iterdir()
    assert gathered.name == file_name(TEST)
    assert gathered.read_text() == text


def test_an_attempt_that_does_not_count_is_gathered_elsewhere(tmp_path: Path) -> None:
    """Who reads all files of the folder finds one for each test."""
    first = document(judged(failover(), UNKNOWN)).text
    last = verdict_document(
        TEST,
        [judged(failover(), PASS)],
        environment={},
        wall_ahead_ns=0,
        earlier=[["too busy", "too few reads"]],
    )
    assert last.attempt == 2
    assert last.earlier[0].reasons == ("too busy", "too few reads")
    result(tmp_path, "a", verdict_json=first)
    result(tmp_path, "b", verdict_json=last.text)
    for uuid in "ab":
        file = tmp_path / f"{uuid}-result.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "uuid": uuid}))
    gather_verdicts(tmp_path, tmp_path / "verdicts", earlier={"a"})
    (counts,) = (tmp_path / "verdicts").glob("*.json")
    (other,) = (tmp_path / "verdicts").glob("*/*.json")
    assert (counts.name, counts.read_text()) == (file_name(TEST), last.text)
    assert other.name == file_name(TEST).replace(".json", "-attempt-1.json")
    assert other.parent.name == "earlier"
    assert other.read_text() == first


def test_what_was_lacking_in_the_end_is_in_every_gathered_verdict(tmp_path: Path) -> None:
    """A report generator that breaks does so after the last test; each thing is there once."""
    result(tmp_path, "a", verdict_json=document(judged(failover(), PASS)).text)
    broken = Lacking("report", "Allure ended with exit status 1", "./bootstrap")
    for _ in range(2):
        gather_verdicts(tmp_path, tmp_path / "verdicts", without=[broken, broken])
    (gathered,) = (tmp_path / "verdicts").iterdir()
    assert json.loads(gathered.read_text())["without"] == [
        {"name": "report", "reason": broken.reason, "cure": broken.cure}
    ]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"test": 1}'])
def test_a_verdict_that_cannot_be_read_is_told(tmp_path: Path, content: str) -> None:
    """Rather than left out in silence."""
    result(tmp_path, "a", verdict_json=content)
    with pytest.raises(ReportError, match="verdict that cannot be read"):
        gather_verdicts(tmp_path, tmp_path / "verdicts")


CONFTEST = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
pytest_plugins = ["harness.plugin"]
"""
TESTS = '''
"""Losing a path."""
import pytest
from harness.checks import Check, Finding, Verdict, paths_restored
from harness.errors import TimedOut
from suites.selftest.unit.synthetic_failover import failover

def saying(verdict):
    return Check("says", lambda _: Finding("says", Verdict(verdict), "because"))

@pytest.mark.parametrize("verdict", ["pass", "fail", "unknown"])
def test_judged(judge, verdict):
    judge(failover(), paths_restored(), saying(verdict)).require()

def test_judged_twice(judge):
    judge(failover(), saying("pass")).require()
    judge(failover(), saying("pass")).require()

@pytest.mark.parametrize("verdict", ["fail", "unknown"])
def test_forgets_to_require(judge, verdict):
    judge(failover(), saying("pass")).require()
    judge(failover(), saying(verdict))

def test_asserts_more(judge):
    judge(failover(), saying("pass")).require()
    assert 1 == 2

def test_breaks_after_judging(judge):
    judge(failover(), saying("pass")).require()
    raise TimedOut("no answer")

def test_not_judged():
    pass
'''


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_a_run_leaves_a_document_of_every_test_that_was_judged(
    tmp_path: Path, options: Sequence[str]
) -> None:
    """In a folder of the run, and in the report; a test that the lab broke has none."""
    suite = tmp_path / "suites" / "failover"
    suite.mkdir(parents=True)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (suite / "test_loss.py").write_text(TESTS)
    argv = [sys.executable, "-m", "pytest", "--rootdir", str(tmp_path), "-p", "no:cacheprovider",
            "suites", *options]  # fmt: skip
    done = subprocess.run(
        argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert "3 failed, 3 passed, 3 errors" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("judged, but not required (`.require()`)") >= 2
    (folder,) = tmp_path.glob("reports/out/2*/")
    found = {}
    for file in (folder / "verdicts").glob("*.json"):
        one = VerdictDocument.model_validate_json(file.read_text())
        assert file.name == file_name(one.test)
        found[one.test.partition("::")[2]] = (one.verdict.value, len(one.judgements))
    measured_again = len([verdict for verdict, _ in found.values() if verdict == "unknown"])
    assert found == {
        "test_judged[pass]": ("pass", 1),
        "test_judged[fail]": ("fail", 1),
        "test_judged[unknown]": ("unknown", 1),
        "test_judged_twice": ("pass", 2),
        "test_forgets_to_require[fail]": ("fail", 2),
        "test_forgets_to_require[unknown]": ("unknown", 2),
        "test_asserts_more": ("fail", 1),
    }
    results = [json.loads(p.read_text()) for p in folder.glob("results/*-result.json")]
    attached = [a for r in results for a in r.get("attachments", []) if a["name"] == "verdict.json"]
    assert [a["type"] for a in attached] == ["application/json"] * (len(found) + measured_again)


@pytest.mark.parametrize(
    ("blamed", "left"),
    [(None, True), (Blame.STORAGE, True), (Blame.LAB, False), (Blame.DEFECT, False)],
)
def test_a_test_that_was_cut_off_leaves_no_document(blamed: Blame | None, left: bool) -> None:
    """By the lab or by a programming error: what it judged until then is not all of it."""
    run: Any = SimpleNamespace(
        judged=[judged(failover(), PASS)], _environment={}, lacking=[], attempts=Attempts()
    )
    document = Run.take_verdict(run, TEST, blamed)
    assert (document is not None, run.judged) == (left, [])
