"""The cache: entries whole or not at all, in use or removable; with real processes that die."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import harness
from harness.cache import Store, entries, prune, size_limit
from harness.errors import ConfigError
from harness.units import GIB

FILES = 40

PRELUDE = f"""
import sys
from pathlib import Path
from harness.cache import Store

def whole(path):
    return path.is_dir() and len(list(path.glob("part*"))) == {FILES}

def fill(draft):
    for number in range({FILES}):
        (draft / f"part{{number}}").write_text("x" * 100)

store = Store(Path(sys.argv[1]), "snapshots")
"""
MAKE_AND_REMOVE = """
print("begun", flush=True)
while True:
    with store.making("k", whole) as draft:
        if draft:
            fill(draft)
    store.remove("k")
"""
REMOVE = """
print("begun", flush=True)
store.remove("k")
sys.stdin.read()
"""
USE_UNTIL_TOLD = """
with store.using("k") as path:
    print(path, flush=True)
    sys.stdin.read()
"""
USE_OR_MAKE = """
for _ in range(60):
    with store.using("k") as path:
        if path:
            assert whole(path), list(path.iterdir())
            continue
    with store.making("k", whole) as draft:
        if draft:
            fill(draft)
"""
REMOVE_OFTEN = """
import time
for _ in range(100):
    store.remove("k")
    time.sleep(0.005)
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def spawn(base: Path, script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, str(base)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(harness.__file__).parent.parent,
    )


@contextmanager
def another(base: Path, script: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has begun; killed with -9 at the end of the block."""
    with spawn(base, script) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


def put(store: Store, key: str, *, size: int = 0, needs: str = "", used: float = 0) -> Path:
    """Make an entry, last used at `used` seconds of the epoch."""
    with store.making(key, lambda _: False) as draft:
        assert draft is not None
        (draft / "data").write_bytes(os.urandom(size))
        (draft / "about.txt").write_text(f"what {key} is\nand more\n")
        if needs:
            (draft / "needs").write_text(needs + "\n")
    os.utime(store.base / "locks" / store.kind / key, (used, used))
    return store.path(key)


def names(base: Path) -> list[str]:
    return [entry.name for entry in entries(base)]


def test_an_entry_appears_when_it_is_whole(base: Path) -> None:
    store = Store(base, "images")
    with store.making("k", Path.is_dir) as draft:
        assert draft is not None
        (draft / "data").write_text("all")
        assert not store.path("k").exists()
    assert (store.path("k") / "data").read_text() == "all"
    assert list((base / "building/images").iterdir()) == []
    assert base.stat().st_mode & 0o777 == 0o700


def test_one_that_is_whole_is_not_made_again(base: Path) -> None:
    store = Store(base, "images")
    put(store, "k")
    with store.making("k", Path.is_dir) as draft:
        assert draft is None
    assert (store.path("k") / "data").exists()


def test_what_fails_leaves_nothing(base: Path) -> None:
    store = Store(base, "images")

    def fail(draft: Path) -> None:
        (draft / "data").write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError), store.making("k", Path.is_dir) as draft:
        fail(draft or base)
    assert list((base / "building/images").iterdir()) == []
    assert names(base) == []


def test_what_is_missing_is_not_there_to_use(base: Path) -> None:
    with Store(base, "images").using("k") as path:
        assert path is None


def test_a_maker_killed_at_any_instant_leaves_all_or_nothing(base: Path) -> None:
    """It makes and removes the entry over and over; the next one finds it usable each time."""
    store = Store(base, "snapshots")
    for number in range(15):
        with another(base, MAKE_AND_REMOVE):
            time.sleep(0.004 * number)
        found = store.path("k")
        assert not found.exists() or len(list(found.glob("part*"))) == FILES
        store.remove_drafts()
        assert list(base.glob("building/*/*")) == []
        assert store.remove("k")


def test_a_remover_killed_at_any_instant_leaves_all_or_nothing(base: Path) -> None:
    """A large entry, so that its removal takes some 20 ms."""
    store, parts = Store(base, "snapshots"), 1000
    for number in range(10):
        store.path("k").mkdir(parents=True, exist_ok=True)
        for part in range(parts):
            (store.path("k") / f"part{part}").touch()
        with another(base, REMOVE):
            time.sleep(0.002 * number)
        found = store.path("k")
        assert not found.exists() or len(list(found.iterdir())) == parts
        store.remove_drafts()
        assert list(base.glob("building/*/*")) == []


def test_what_is_used_is_not_removed_until_its_user_dies(base: Path) -> None:
    store = Store(base, "snapshots")
    put(store, "k")
    with another(base, USE_UNTIL_TOLD) as user:
        assert entries(base)[0].in_use
        assert not store.remove("k")
        assert prune(base, 0) == []
        user.kill()
        user.wait()
        assert not entries(base)[0].in_use
        assert store.remove("k")
    assert names(base) == []


def test_several_use_it_at_once(base: Path) -> None:
    store = Store(base, "snapshots")
    put(store, "k")
    with another(base, USE_UNTIL_TOLD), store.using("k") as path:
        assert path == store.path("k")


def test_users_makers_and_removers_do_not_meet(base: Path) -> None:
    """Whoever gets an entry to use gets a whole one, however often it goes and comes."""
    scripts = [USE_OR_MAKE, USE_OR_MAKE, USE_OR_MAKE, REMOVE_OFTEN]
    processes = [spawn(base, script) for script in scripts]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert list((base / "building/snapshots").iterdir()) == []


def test_waiting_for_a_user_can_be_given_up(base: Path) -> None:
    store = Store(base, "snapshots")
    put(store, "k")

    def give_up(_seconds: float) -> None:
        raise TimeoutError

    with (
        another(base, USE_UNTIL_TOLD),
        pytest.raises(TimeoutError),
        store.making("k", lambda _: False, pause=give_up),
    ):
        pytest.fail("it is in use")


def test_a_file_held_open_is_use(base: Path) -> None:
    """A machine that was kept has no owner with a lock, but reads its disk."""
    store = Store(base, "images")
    disk = put(store, "k") / "data"
    with subprocess.Popen(["tail", "-f", disk]) as reader:
        while not entries(base)[0].in_use:
            time.sleep(0.01)
        assert not store.remove("k")
        reader.kill()
    assert store.remove("k")


def test_one_made_anew_takes_those_that_need_it_along(base: Path) -> None:
    """They were made upon other bytes, also if the name is the same."""
    images, snapshots = Store(base, "images"), Store(base, "snapshots")
    put(images, "i")
    put(snapshots, "s", needs="images/i")
    put(snapshots, "other", needs="images/j")
    put(images, "i")
    assert sorted(names(base)) == ["images/i", "snapshots/other"]


def test_the_least_recently_used_go_first(base: Path) -> None:
    store = Store(base, "images")
    for key, used in (("a", 4), ("b", 1), ("c", 3), ("d", 2)):
        put(store, key, size=100_000, used=used)
    with store.using("b"):
        pass
    size = entries(base)[0].size_bytes
    assert size >= 100_000
    assert prune(base, 4 * size) == []
    assert [entry.key for entry in prune(base, 2 * size)] == ["d", "c"]
    assert names(base) == ["images/a", "images/b"]


def test_what_needs_an_entry_goes_before_it(base: Path) -> None:
    """The image is older here; alone it would leave a snapshot without a disk."""
    put(Store(base, "images"), "i", used=1)
    put(Store(base, "snapshots"), "s", needs="images/i", used=5)
    put(Store(base, "snapshots"), "t", needs="snapshots/s\nimages/i", used=6)
    put(Store(base, "images"), "j", used=3)
    size = min(entry.size_bytes for entry in entries(base))
    removed = [entry.name for entry in prune(base, size)]
    assert removed == ["snapshots/t", "snapshots/s", "images/i"]


def test_an_entry_stays_as_long_as_one_that_needs_it_is_used(base: Path) -> None:
    put(Store(base, "images"), "i", used=1)
    snapshots = Store(base, "snapshots")
    put(snapshots, "s", needs="images/i", used=2)
    with snapshots.using("s"):
        assert prune(base, 0) == []


def test_entries_say_what_they_are(base: Path) -> None:
    before = time.time() - 1
    path = put(Store(base, "snapshots"), "s", needs="images/i", used=5)
    (entry,) = entries(base)
    assert (entry.kind, entry.key, entry.path) == ("snapshots", "s", path)
    assert entry.about == "what s is"
    assert entry.needs == {"images/i"}
    assert entry.used_at == 5
    assert entry.made_at > before
    assert not entry.in_use


def test_an_empty_cache_has_no_entries(base: Path) -> None:
    assert entries(base) == []
    assert prune(base, 0) == []
    assert not base.exists()


def test_the_limit_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATHPROOF_CACHE_LIMIT", raising=False)
    assert size_limit() == 20 * GIB
    monkeypatch.setenv("PATHPROOF_CACHE_LIMIT", "3GiB")
    assert size_limit() == 3 * GIB
    monkeypatch.setenv("PATHPROOF_CACHE_LIMIT", "lots")
    with pytest.raises(ConfigError, match="PATHPROOF_CACHE_LIMIT: 'lots' is not a size"):
        size_limit()


MAKE_SLOWLY_AND_USE = """
import time
with store.making("k", whole) as draft:
    if draft:
        time.sleep(1)
        fill(draft)
with store.using("k") as path:
    print(path, flush=True)
    sys.stdin.read()
"""


def test_those_who_waited_use_what_was_made_beside_its_maker(base: Path) -> None:
    """The maker goes on using it for a whole run; the others must not wait for that."""
    processes = [spawn(base, MAKE_SLOWLY_AND_USE) for _ in range(4)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == str(base / "snapshots/k")
    finally:
        for process in processes:
            process.kill()
            process.communicate()
