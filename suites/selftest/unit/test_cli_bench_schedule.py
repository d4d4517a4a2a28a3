"""`pathproof bench schedule`: the table and its JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.cli.bench.schedule import RECORDED

QUICK = ["bench", "schedule", "--tests", "200", "--hosts", "1,20"]


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    return CliRunner()


def test_every_figure_is_printed_and_the_same_again(runner: CliRunner) -> None:
    """Without a history of one's own, from the recorded one; a seed says all that is random."""
    first = runner.invoke(app, [*QUICK, "--json"])
    told = json.loads(first.output)
    one, twenty = told["rows"]
    assert (told["source"], told["recorded"], told["tests"], told["seed"]) == (
        *(str(RECORDED), 9),
        *(200, 1),
    )
    assert one["ready_s"] == one["bound_s"] == one["dying_s"]
    assert (one["died"], twenty["died"]) == (0, 1)
    assert twenty["bound_s"] == pytest.approx(one["bound_s"] / 20, abs=0.1)
    assert 1 <= twenty["ready_over_bound"] < 1.2
    assert twenty["cold_s"] == pytest.approx(twenty["ready_s"] + 80, abs=0.1)
    assert twenty["dying_s"] > twenty["bound_s"]
    assert runner.invoke(app, [*QUICK, "--json"]).output == first.output
    other = json.loads(runner.invoke(app, [*QUICK, "--json", "--seed", "2"]).output)
    assert other["rows"] != told["rows"]


def test_the_table_has_a_line_for_each_number_of_hosts(runner: CliRunner) -> None:
    lines = runner.invoke(app, [*QUICK, "--slots", "2"]).output.splitlines()
    assert lines[0].startswith("200 tests drawn from 9 in ")
    assert [line.split()[0] for line in lines[1:]] == ["hosts", "1", "20"]


def test_the_own_history_comes_first(runner: CliRunner, tmp_path: Path) -> None:
    """A history without a test that ran through is refused."""
    own = tmp_path / "reports" / "out" / "history.jsonl"
    own.parent.mkdir(parents=True)
    own.write_text('{"testResults": {}}\n')
    refused = runner.invoke(app, QUICK)
    assert refused.exit_code == 2
    assert "no test that ran through" in refused.output
    assert runner.invoke(app, [*QUICK, "--history", str(RECORDED)]).exit_code == 0


@pytest.mark.parametrize("hosts", ["", "0", "1,x"])
def test_wrong_numbers_of_hosts_are_refused(hosts: str, runner: CliRunner) -> None:
    refused = runner.invoke(app, ["bench", "schedule", "--hosts", hosts])
    assert refused.exit_code == 2
    assert "no list like 1,10,100" in refused.output
