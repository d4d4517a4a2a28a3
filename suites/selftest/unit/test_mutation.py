"""Mutation testing itself: which mutants there are, what is known of them, and how it is told."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from suites.selftest.mutation import __main__ as tool
from suites.selftest.mutation import known
from suites.selftest.mutation.known import Known
from suites.selftest.mutation.mutants import Mutant, Source, difference, kept_mutants_of, mutants_of
from suites.selftest.mutation.page import summary, updated
from suites.selftest.mutation.reach import Reach
from suites.selftest.mutation.scoring import Scored, Scoring
from suites.selftest.mutation.survivors import Explained, as_entry, explained, idle, unexplained
from suites.selftest.mutation.trial import NO_ANSWER, Result, Unfit, result_of

TOP = Path(__file__).resolve().parents[3]
CHOICE = tomllib.loads((TOP / "suites/selftest/mutation/modules.toml").read_text())


def lines(text: str) -> set[str]:
    """The lines that mutants have in place of those of a source."""
    return {mutant.now for mutant in mutants_of(text)}


def test_a_mutant_has_one_small_change() -> None:
    made = lines("def f(a: int) -> bool:\n    return a < 2 and bool(a)\n")
    assert "return a <= 2 and bool(a)" in made
    assert "return a < 3 and bool(a)" in made
    assert "return a < 2 or bool(a)" in made


def test_of_an_operator_the_nearest_and_the_opposite_are_tried() -> None:
    made = lines("def f(a, b):\n    return a < b + a\n")
    assert made == {"return a <= b + a", "return a >= b + a", "return a < b - a"}


def test_a_check_has_mutants_although_it_is_decorated() -> None:
    made = lines('@check("no stall", by_path=True)\ndef no_stall(a):\n    return a > 0\n')
    assert "return a >= 0" in made
    assert '@check("no stall", by_path=False)' in made
    assert "" in made  # without its decorator


@pytest.mark.parametrize(
    "text",
    [
        "x: int | None\n",
        "def f(a: int | None, *b: int | str, c: list[int | str]) -> int | None: ...\n",
        "def f(a, *, b): ...\n",
        "def f(a, /, b): ...\n",
        "d = {**a}\n",
        "f(*a, **b)\n",
        '"ä", x.index(a); b: "int | str"\n',
    ],
)
def test_what_never_runs_has_no_mutants(text: str) -> None:
    assert lines(text) == set()


def test_that_a_dataclass_is_frozen_has_no_mutant() -> None:
    made = lines("@dataclass(frozen=True, eq=False)\nclass A:\n    a: int | None = None\n")
    assert made == {"@dataclass(frozen=True, eq=True)", ""}


def test_a_mutant_is_a_program() -> None:
    """cosmic-ray makes a statement of an operator that begins a line of its own."""
    text = "def f(a, b):\n    return [*a, -b] if a else not b\n"
    made = [mutant.code(text) for mutant in mutants_of(text)]
    assert made
    for code in made:
        compile(code, "mutant", "exec")


def test_mutants_are_kept_with_the_source_that_they_are_of(tmp_path: Path) -> None:
    kept = tmp_path / "folder" / "m.json"
    first, second = "a = 1\n", "a = 1 + 1\n"
    for text in (first, first, second):
        assert kept_mutants_of(text, kept) == list(mutants_of(text))


def test_the_lines_of_a_difference_are_told_without_what_is_equal() -> None:
    assert difference("a\nb\nc\n", "a\n  x\nc\n") == ("b", "x")
    assert difference("a\na\nc\n", "a\nc\n") == ("a", "")
    assert difference("a\nb\n", "a\nc\nd\n") == ("b", "c d")


SOURCE = Source("""\
A = 1

def f(a,
      b=2):
    if (a and
            b):
        a = (1 +
             b)
    @cache
    def g():
        return a
    return g
""")


def test_a_line_belongs_to_its_whole_statement_but_not_to_what_is_in_it() -> None:
    assert list(SOURCE.statement(8)) == [7, 8]
    assert list(SOURCE.statement(6)) == [5, 6]
    assert list(SOURCE.statement(4)) == [3, 4]
    assert list(SOURCE.statement(11)) == [11]


def test_what_is_in_no_body_of_a_function_runs_at_import() -> None:
    assert [line for line in range(1, 13) if SOURCE.at_import(line)] == [1, 2, 3, 4]


REACH = Reach(
    lines={
        "test_a.py::slow": {"m": [5, 6]},
        "test_a.py::fast": {"m": [5]},
        "test_b.py::other": {"n": [5]},
        "test_b.py::elsewhere": {"m": [12]},
    },
    seconds={"test_a.py::slow": 2, "test_a.py::fast": 1, "test_b.py::other": 1}
    | {"test_b.py::elsewhere": 3},
    imported=(),
)


def test_a_mutant_meets_the_tests_that_run_its_statement_the_fastest_first() -> None:
    assert REACH.tests("m", SOURCE, 6) == ["test_a.py::fast", "test_a.py::slow"]
    assert REACH.tests("m", SOURCE, 11) == []


def test_what_runs_at_import_meets_all_tests_of_the_module_or_all_there_are() -> None:
    of_module = ["test_a.py::fast", "test_a.py::slow", "test_b.py::elsewhere"]
    assert REACH.tests("m", SOURCE, 1) == of_module
    assert len(REACH.tests("unused", SOURCE, 1)) == 4


MUTANTS = {
    mutant.key: mutant
    for mutant in mutants_of("def f(a):\n    return a < 2\n")
    if "2" in mutant.was
}


def mutant(now: str) -> Mutant:
    return next(one for one in MUTANTS.values() if one.now == now)


def scored(results: dict[str, bool], *reasons: Explained) -> Scored:
    """With these results, by the line of the mutant."""
    by_key = {mutant(now).key: Result(killed, "") for now, killed in results.items()}
    return Scored("harness/m.py", MUTANTS, by_key, reasons)


REASON = Explained("harness/m.py", "f", "return a < 2", ("return a <= 2",), "a is never 2")


def test_a_survivor_needs_a_reason() -> None:
    one = scored({"return a <= 2": False, "return a < 3": False, "return a >= 2": True}, REASON)
    assert [survivor.now for survivor in one.unexplained] == ["return a < 3"]
    assert (one.killed, one.explained, one.complete, one.good) == (1, 1, False, False)


def test_a_reason_for_what_does_not_survive_is_an_error() -> None:
    assert idle([mutant("return a <= 2")], [REASON]) == []
    assert idle([mutant("return a < 3")], [REASON]) == ["f: return a <= 2"]


def test_a_module_is_good_if_enough_are_killed_and_the_rest_is_explained() -> None:
    all_killed = dict.fromkeys((one.now for one in MUTANTS.values()), True)
    assert scored(all_killed).good
    assert not scored(all_killed, REASON).good
    assert not scored(all_killed | {"return a <= 2": False}, REASON).good  # one of four: too many
    assert unexplained([mutant("return a <= 2")], [REASON]) == []


def test_a_survivor_is_printed_as_an_entry_of_the_file() -> None:
    [entry] = tomllib.loads(as_entry("harness/m.py", mutant("return a <= 2")))["survivor"]
    assert Explained(**entry | {"now": tuple(entry["now"]), "reason": "a is never 2"}) == REASON


def test_results_hold_as_long_as_module_and_tests_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A survivor is tried again when a test is added; what a test killed stays killed."""
    monkeypatch.setattr(known, "UNIT", tmp_path)
    (tmp_path / "test_a.py").write_text("a")
    (tmp_path / "test_b.py").write_text("b")
    tests = ["unit/test_a.py::one", "unit/test_b.py::two"]
    killed, survived = Result(True, "unit/test_a.py::one"), Result(False, "")
    silent = Result(True, NO_ANSWER)
    of_all = {"killed": killed, "survived": survived, "silent": silent}
    Known.of(tmp_path, "m", "text").keep(of_all, dict.fromkeys(of_all, tests), [])

    def results(source: str, tests: list[str]) -> list[Result | None]:
        kept = Known.of(tmp_path, "m", source)
        return [kept.result(key, tests) for key in of_all]

    assert results("text", tests) == [killed, survived, silent]
    assert results("another", tests) == [None, None, None]
    assert results("text", [*tests, "unit/test_b.py::three"]) == [killed, None, None]
    (tmp_path / "test_b.py").write_text("c")
    assert results("text", tests) == [killed, None, None]
    (tmp_path / "test_a.py").write_text("c")
    assert results("text", tests) == [None, None, None]


def test_a_test_has_passed_without_a_mutant_as_long_as_module_and_tests_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else those of its file are to pass again."""
    monkeypatch.setattr(known, "UNIT", tmp_path)
    (tmp_path / "test_a.py").write_text("a")
    (tmp_path / "test_b.py").write_text("b")
    tests = ["unit/test_a.py::one", "unit/test_b.py::two"]
    assert Known.of(tmp_path, "m", "text").unproven(tests) == tests
    Known.of(tmp_path, "m", "text").keep({}, {}, tests)
    assert Known.of(tmp_path, "m", "text").unproven(tests) == []
    assert Known.of(tmp_path, "m", "another").unproven(tests) == tests
    more = [*tests, "unit/test_a.py::three"]
    assert Known.of(tmp_path, "m", "text").unproven(more) == [tests[0], more[2]]
    (tmp_path / "test_b.py").write_text("c")
    assert Known.of(tmp_path, "m", "text").unproven(tests) == tests[1:]


def test_a_module_is_complete_once_all_its_tests_have_passed_without_a_mutant() -> None:
    all_killed = scored(dict.fromkeys((one.now for one in MUTANTS.values()), True))
    assert all_killed.complete
    unproven = replace(all_killed, unproven=["test_a.py::one"])
    assert (unproven.complete, unproven.good) == (False, False)


@pytest.mark.parametrize("said", [(3, ""), (4, ""), (5, ""), (3, "test_a.py::one"), (2, "")])
def test_what_is_an_error_of_pytest_itself_kills_no_mutant(said: tuple[int, str]) -> None:
    """Nor does an interrupt that names no test."""
    with pytest.raises(Unfit, match="which names no test"):
        result_of(said, "m, a key")


def test_a_failure_or_a_file_that_cannot_be_collected_kills_a_mutant() -> None:
    assert result_of((0, ""), "m") == Result(False, "")
    assert result_of((1, "test_a.py::one"), "m") == Result(True, "test_a.py::one")
    assert result_of((2, "test_a.py"), "m") == Result(True, "test_a.py")
    assert result_of(None, "m") == Result(True, NO_ANSWER)


PAGE = """\
| module | mutants | killed | survivors explained | score |
| --- | ---: | ---: | ---: | ---: |
| `harness/a.py` | 10 | 9 | 1 | 90.0 % |
| `harness/gone.py` | 10 | 9 | 1 | 90.0 % |
| all of these | 20 | 18 | 2 | 90.0 % |

More.
"""


def test_the_page_gets_new_rows_in_order_and_keeps_those_of_other_modules() -> None:
    one = scored(dict.fromkeys((each.now for each in MUTANTS.values()), True))
    text = updated(PAGE, ["harness/m.py", "harness/a.py"], [one])
    assert text.splitlines()[2:] == [
        "| `harness/m.py` | 4 | 4 | 0 | 100.0 % |",
        "| `harness/a.py` | 10 | 9 | 1 | 90.0 % |",
        "| all of these | 14 | 13 | 1 | 92.9 % |",
        "",
        "More.",
    ]
    assert "4 of 4 mutants tried, 4 killed (100.0 %), 0 survive" in summary([one])


def test_when_the_time_is_over_no_module_is_begun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To make its mutants takes seconds. The run is not complete, so it fails."""
    begun: list[str] = []
    monkeypatch.setattr(tool, "reach_of", lambda *_: REACH)
    monkeypatch.setattr(Scoring, "score", lambda _, path: begun.append(path))
    monkeypatch.setattr(
        sys, "argv", ["mutation", "--seconds", "0", "checks/effect", "checks/stall"]
    )
    assert tool.main() == 1
    assert begun == []
    told = capsys.readouterr().out
    assert "no time was left for 2 modules, from harness/checks/effect.py on" in told


def test_all_checks_are_mutated_and_all_that_is_named_is_there() -> None:
    there = {str(one.relative_to(TOP)) for one in (TOP / "harness/checks").glob("[!_]*.py")}
    assert there <= set(CHOICE["modules"])
    assert all((TOP / path).is_file() for path in CHOICE["modules"])
    assert all((TOP / "suites/selftest/unit" / name).is_file() for name in CHOICE["tests"])


def test_every_reason_is_of_a_mutated_module_and_one_line_long() -> None:
    for one in explained():
        assert one.module in CHOICE["modules"]
        assert one.reason
        assert "\n" not in one.reason
