"""`pathproof cache`: what is listed, and what goes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cache import Store
from harness.cli.app import app


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image, used long ago, that a snapshot needs, and a newer image; 100 kB each."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATHPROOF_CACHE_LIMIT", "1GiB")
    base = tmp_path / "pathproof"
    images, snapshots = Store(base, "images"), Store(base, "snapshots")
    put(images, "old", "debian-12, target", used=1)
    put(snapshots, "snap", "lio on debian-12", used=2, needs="images/old")
    put(images, "new", "debian-13, target", used=3)
    return base


def put(store: Store, key: str, about: str, *, used: int, needs: str = "") -> None:
    with store.making(key, Path.is_dir) as draft:
        assert draft is not None
        (draft / "about.txt").write_text(about)
        (draft / "needs").write_text(needs)
        (draft / "data").write_bytes(os.urandom(100_000))
    os.utime(store.base / "locks" / store.kind / key, (used, used))


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["cache", *words])
    return result.exit_code, result.output


def listed() -> list[str]:
    return [entry["key"] for entry in json.loads(run("ls", "--json")[1])["entries"]]


def test_entries_are_listed_with_their_total(cache: Path) -> None:
    """The least recently used first."""
    with Store(cache, "snapshots").using("snap"):
        lines = run("ls")[1].splitlines()
    assert lines[0].split() == ["KIND", "KEY", "WHAT", "SIZE", "LAST", "USED"]
    assert [line.split()[1] for line in lines[1:4]] == ["old", "new", "snap"]
    assert "debian-12, target" in lines[1]
    assert lines[1].endswith("days ago")
    assert lines[3].endswith("in use")
    assert lines[4].endswith(" of 1.0 GiB")


def test_a_program_gets_numbers(cache: Path) -> None:
    listing = json.loads(run("ls", "--json")[1])
    first = listing["entries"][0]
    assert first["key"] == "old"
    assert (first["kind"], first["about"], first["in_use"]) == (
        "images",
        "debian-12, target",
        False,
    )
    assert first["used_at"] == 1
    assert listing["limit_bytes"] == 2**30
    assert listing["total_bytes"] == sum(entry["size_bytes"] for entry in listing["entries"])


def test_the_limit_decides_what_goes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot before the image it needs."""
    assert run("prune")[1].startswith("0 B freed")
    status, text = run("prune", "--limit", "150kB")
    assert status == 0
    assert "snapshots/snap is gone: lio on debian-12\nimages/old is gone" in text
    assert listed() == ["new"]
    monkeypatch.setenv("PATHPROOF_CACHE_LIMIT", "1kB")
    assert run("prune")[0] == 0
    assert listed() == []


def test_what_is_in_use_stays(cache: Path) -> None:
    with Store(cache, "snapshots").using("snap"):
        assert run("prune", "--all")[0] == 0
        assert listed() == ["old", "snap"]


def test_half_made_entries_of_the_dead_go_too(cache: Path) -> None:
    (cache / "building/snapshots/key-x").mkdir(parents=True)
    run("prune")
    assert list(cache.glob("building/*/*")) == []


def test_an_empty_cache_says_so(cache: Path) -> None:
    run("prune", "--all")
    assert run("ls") == (0, f"nothing in {cache}\n0 B of 1.0 GiB\n")


@pytest.mark.parametrize("words", [["--limit", "many"], ["--limit", "1GiB", "--all"]])
def test_what_makes_no_sense_is_refused(words: list[str]) -> None:
    assert run("prune", *words)[0] == 2
