"""Folders of runs, the environment file, and what is taken out of Allure's page."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from harness.errors import ReportError
from harness.reporting import html
from harness.reporting.environment import environment_properties, write_environment
from harness.reporting.runs import RunFolder, fresh_run, point_latest_at, prune


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    """Results are never mixed."""
    runs = [fresh_run(tmp_path) for _ in range(3)]
    assert len({run.path for run in runs}) == 3
    assert all(run.results.is_dir() for run in runs)


def test_latest_is_a_relative_link_that_is_replaced(tmp_path: Path) -> None:
    """The folder can be moved or published as it is."""
    first, second = fresh_run(tmp_path), fresh_run(tmp_path)
    point_latest_at(first)
    link = point_latest_at(second)
    assert link.readlink() == Path(second.path.name)
    assert [p.name for p in tmp_path.glob(".latest*")] == []


def test_pruning_keeps_the_newest_and_touches_nothing_else(tmp_path: Path) -> None:
    """Rendered pages go first, raw results much later, foreign folders never."""
    for number in range(5):
        run = RunFolder(tmp_path / f"2026-01-0{number}_00-00-00")
        run.results.mkdir(parents=True)
        run.site.mkdir()
        run.page.write_text("page")
    (tmp_path / "mine").mkdir()
    prune(tmp_path, keep_rendered=2, keep_results=4)
    assert sorted(p.parent.name[:10] for p in tmp_path.glob("*/report.html")) == [
        "2026-01-03",
        "2026-01-04",
    ]
    assert len(list(tmp_path.glob("*/results"))) == 4
    assert (tmp_path / "mine").is_dir()


def test_the_environment_is_escaped_as_java_reads_it(tmp_path: Path) -> None:
    """Empty values are left out."""
    text = environment_properties({"QEMU": "7.2", "a b=c": "x\\y\nz", "none": ""})
    assert text == "QEMU=7.2\na\\ b\\=c=x\\\\y\\nz\n"
    assert write_environment(tmp_path / "new", {"Kernel": "6.1"}).read_text() == "Kernel=6.1\n"


PAGE = """<body><script src="data:text/javascript;base64,QQ=="></script>
    <script async src="https://www.googletagmanager.com/gtag/js?id=G-1"></script>
    <script>
        window.dataLayer = window.dataLayer || [];
        function gtag(){dataLayer.push(arguments);}
        gtag('js', new Date());
    </script>
    <script async>window.kept = "https://example.com";</script>
    <script>window.keptToo = 1</script></body>"""


def test_the_analytics_are_taken_out_and_nothing_else() -> None:
    """Both tags go; the page's own scripts stay."""
    page = html.strip_analytics(PAGE)
    assert "gtag" not in page
    assert "window.kept" in page
    assert "window.keptToo" in page
    assert html.external_requests(PAGE) != []
    assert html.external_requests(page) == []


def test_an_external_image_or_style_is_found() -> None:
    """Whatever a browser would fetch by itself; links to click on are fine."""
    page = "<link rel=a href='//cdn.example/x.css'><img src=http://b.example/y><a href='http://c'>"
    assert html.external_requests(page) == ["//cdn.example/x.css", "http://b.example/y"]


def test_without_results_there_is_no_report(tmp_path: Path) -> None:
    """Nothing ran, so nothing is rendered and nothing is wrong."""
    assert html.generate(tmp_path, tmp_path / "out", "title") is None


def test_missing_programs_are_named_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The results stay; ./bootstrap brings what is missing."""
    (tmp_path / "x-result.json").write_text("{}")
    with pytest.raises(ReportError, match=r"Allure 3 is not installed(.|\n)*\./bootstrap"):
        html.generate(tmp_path, tmp_path / "out", "title", generator=tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ReportError, match=r"Node\.js(.|\n)*\./bootstrap"):
        html.find_node()
