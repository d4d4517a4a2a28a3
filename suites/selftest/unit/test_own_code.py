"""Keys of what the harness made: which of its own code is in them."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

import harness
from harness import own_code
from harness.guest_images import BUILDING
from harness.own_code import digest_of
from harness.provision import SHAPING

TOP = Path(harness.__file__).parent
# What provisioning imports and what leaves no trace in a saved testbed: words, the recording of
# what happens, what is in the key by itself (the images), and faults, which are only healed there.
TRACELESS = {
    *("cache", "concurrency", "deadline", "errors", "faults", "guest_images", "lacking"),
    *("measurements", "own_code", "steps", "units"),
}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package, to be changed."""
    monkeypatch.setattr(own_code, "files", lambda _: tmp_path / "harness")
    return Path(shutil.copytree(TOP, tmp_path / "harness"))


@pytest.mark.parametrize("name", [*SHAPING, *BUILDING])
def test_a_change_of_any_named_code_changes_the_digest(copy: Path, name: str) -> None:
    before = digest_of(*SHAPING, *BUILDING)
    changed = copy / name
    if changed.is_dir():
        changed = max(changed.rglob("*.py"))  # perhaps in a folder of the folder
    changed.write_text(changed.read_text() + "#\n")
    assert digest_of(*SHAPING, *BUILDING) != before


def test_a_name_that_is_not_there_is_an_error() -> None:
    """Otherwise code that was moved would be missing in the key, and nothing would say so."""
    with pytest.raises(FileNotFoundError):
        digest_of("topology", "no_such_folder")


def test_whatever_provisioning_imports_is_in_the_key_of_a_snapshot_or_leaves_no_trace() -> None:
    shaping = {name.removesuffix(".py") for name in SHAPING}
    assert imported(TOP / "provision") <= shaping | TRACELESS
    assert not shaping & TRACELESS


def test_whatever_an_image_is_built_by_is_in_its_key() -> None:
    """`process` and `keys` run and make what is asked for; `recipe` is in the key itself."""
    build = ast.parse((TOP / "guest_images/build.py").read_text())
    whence = [node for node in ast.walk(build) if isinstance(node, ast.ImportFrom)]
    package = "harness.guest_images"
    used = {str(one.module).removeprefix(f"{package}.") for one in whence} | {
        name.name for one in whence if one.module == package for name in one.names
    }
    modules = {file.stem for file in (TOP / "guest_images").glob("*.py")}
    named = {Path(name).stem for name in BUILDING}
    assert used & modules - {"keys", "process", "recipe"} == named - {"build"}


def imported(folder: Path) -> set[str]:
    """What of the harness the files of a folder import, by its first name."""
    trees = [ast.parse(file.read_text()) for file in folder.glob("*.py")]
    modules = [
        node.module
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
    ]
    return {name.split(".")[1] for name in modules if name.startswith("harness.")}
