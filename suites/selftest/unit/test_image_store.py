"""The image cache: built once, whole or not at all, private."""

import fcntl
import re
import stat
import threading
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from harness.cache import entries, prune
from harness.concurrency import side_by_side
from harness.config.image import ImageDefinition, load_image
from harness.errors import ConfigError, ImageError
from harness.guest_images.build import DISK, INITRD, KERNEL
from harness.guest_images.keys import KeyPair
from harness.guest_images.process import BuildStopped
from harness.guest_images.recipe import Recipe
from harness.guest_images.store import BuiltImage, ImageStore, remove_unfinished
from harness.steps import Listener, Step, listening
from harness.topology import Role


class Builder:
    """Makes small images and counts them; `before` runs first in each build."""

    def __init__(self, before: Callable[[Recipe, Path, threading.Event], None] | None = None):
        self.built: list[Role] = []
        self._before = before

    def __call__(
        self, recipe: Recipe, folder: Path, host_key: KeyPair, stop: threading.Event
    ) -> None:
        if self._before:
            self._before(recipe, folder, stop)
        for name in (DISK, KERNEL, INITRD):
            (folder / name).write_text(f"{name} for {recipe.role} {host_key.public}")
        self.built.append(recipe.role)


@pytest.fixture
def image(tmp_path: Path) -> ImageDefinition:
    file = tmp_path / "own.toml"
    file.write_text('suite = "bookworm"\nkernel = "linux-image-cloud-amd64"\n')
    return load_image(str(file))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def target_image(store: ImageStore, image: ImageDefinition) -> BuiltImage:
    return store.ensure_all(image, [Role.TARGET])[Role.TARGET]


def test_an_image_is_built_once(cache: Path, image: ImageDefinition) -> None:
    builder = Builder()
    first = target_image(ImageStore(cache, builder=builder), image)
    again = target_image(ImageStore(cache, builder=builder), image)
    assert first == again
    assert builder.built == [Role.TARGET]
    assert first.host_key.startswith("ssh-ed25519 ")
    assert first.host_key in first.disk.read_text()


def test_both_roles_have_images_of_their_own(cache: Path, image: ImageDefinition) -> None:
    images = ImageStore(cache, builder=Builder()).ensure_all(image)
    assert set(images) == set(Role)
    assert images[Role.TARGET].host_key != images[Role.INITIATOR].host_key
    assert images[Role.TARGET].disk != images[Role.INITIATOR].disk


def test_images_in_use_stay_and_others_make_room(
    cache: Path, image: ImageDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is less than anything takes."""
    monkeypatch.setenv("PATHPROOF_CACHE_LIMIT", "1B")
    (cache / "images/other").mkdir(parents=True)
    with ImageStore(cache, builder=Builder()).using(image) as images:
        assert {entry.key for entry in entries(cache)} == {i.fingerprint for i in images.values()}
        assert {entry.about for entry in entries(cache)} == {"own, target", "own, initiator"}
        assert prune(cache, 0) == []
    assert len(prune(cache, 0)) == 2


def test_an_image_removed_before_its_use_is_built_again(
    cache: Path, image: ImageDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the end of its build and its use no process holds its lock."""
    builder = Builder()
    store = ImageStore(cache, builder=builder)
    ensure_all = store.ensure_all

    def robbed(definition: ImageDefinition, roles: Collection[Role]) -> dict[Role, BuiltImage]:
        images = ensure_all(definition, roles)
        if len(builder.built) == len(Role):
            prune(cache, 0)
        return images

    monkeypatch.setattr(store, "ensure_all", robbed)
    with store.using(image) as images:
        assert all(built.disk.exists() for built in images.values())
    assert len(builder.built) == 2 * len(Role)


def test_an_image_that_is_not_needed_is_not_built(cache: Path, image: ImageDefinition) -> None:
    """Of an external target there is none."""
    builder = Builder()
    with ImageStore(cache, builder=builder).using(image, [Role.INITIATOR]) as images:
        assert images.keys() == {Role.INITIATOR}
    assert builder.built == [Role.INITIATOR]


def test_what_killed_processes_were_making_is_removed(cache: Path, tmp_path: Path) -> None:
    """Of both kinds, with the tree of an image build."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for kind in ("images", "snapshots"):
        (cache / "building" / kind / "key-x").mkdir(parents=True)
    (cache / "building/images/key-x/scratch").write_text(str(scratch))
    assert len(remove_unfinished(cache)) == 2
    assert not scratch.exists()
    assert list(cache.glob("building/*/*")) == []
    assert remove_unfinished(cache) == []


def _take_a_while(stop: threading.Event) -> None:
    stop.wait(0.5)


def test_those_who_come_at_once_share_one_build(cache: Path, image: ImageDefinition) -> None:
    builder = Builder(lambda _recipe, _folder, stop: _take_a_while(stop))
    ensure = [lambda: target_image(ImageStore(cache, builder=builder), image) for _ in range(3)]
    first, *others = side_by_side(*ensure)
    assert others == [first, first]
    assert builder.built == [Role.TARGET]


def test_waiting_for_another_build_is_told(cache: Path, image: ImageDefinition) -> None:
    told: list[str] = []
    building, waited = threading.Event(), threading.Event()

    class Told(Listener):
        def progressed(self, step: Step, message: str, fraction: float | None) -> None:
            told.append(message)
            waited.set()

    def slow(_recipe: Recipe, _folder: Path, _stop: threading.Event) -> None:
        building.set()
        assert waited.wait(10)

    store = ImageStore(cache, builder=Builder(slow))

    def second() -> None:
        assert building.wait(10)
        target_image(store, image)

    with listening(Told()):
        side_by_side(lambda: target_image(store, image), second)
    assert len(told) == 1
    assert re.fullmatch(r"another process makes or uses images/\w+; waiting for it", told[0])


@pytest.mark.parametrize("error", [ImageError("no"), KeyboardInterrupt()])
def test_a_build_that_fails_leaves_nothing(
    cache: Path, image: ImageDefinition, error: BaseException
) -> None:
    def fail(_recipe: Recipe, folder: Path, _stop: threading.Event) -> None:
        (folder / DISK).write_text("half")
        raise error

    with pytest.raises(type(error)):
        target_image(ImageStore(cache, builder=Builder(fail)), image)
    assert not list((cache / "building/images").iterdir())
    assert not list(cache.glob("images/*"))


def test_an_image_that_was_cut_short_is_built_again(cache: Path, image: ImageDefinition) -> None:
    builder = Builder()
    store = ImageStore(cache, builder=builder)
    disk = target_image(store, image).disk
    disk.write_bytes(disk.read_bytes()[:-1])
    target_image(store, image)
    assert builder.built == [Role.TARGET] * 2


def test_remains_of_a_killed_build_are_removed(
    cache: Path, image: ImageDefinition, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    (scratch / "root" / "etc").mkdir(parents=True)
    remains = cache / "building/images/0123456789ab-x"
    remains.mkdir(parents=True)
    (remains / "scratch").write_text(str(scratch))
    target_image(ImageStore(cache, builder=Builder()), image)
    assert not remains.exists()
    assert not (scratch / "root").exists()


def test_a_running_build_of_another_image_is_left_alone(
    cache: Path, image: ImageDefinition
) -> None:
    running = cache / "building/images/0123456789ab-x"
    running.mkdir(parents=True)
    (cache / "locks/images").mkdir(parents=True)
    with (cache / "locks/images/0123456789ab").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        target_image(ImageStore(cache, builder=Builder()), image)
    assert running.exists()


def test_the_first_failure_calls_off_the_other_build(cache: Path, image: ImageDefinition) -> None:
    stopped: list[bool] = []

    def build(recipe: Recipe, _folder: Path, stop: threading.Event) -> None:
        if recipe.role is Role.TARGET:
            raise ImageError("no such package")
        stopped.append(stop.wait(10))
        raise BuildStopped("called off")

    with pytest.raises(ImageError, match="no such package"):
        ImageStore(cache, builder=Builder(build)).ensure_all(image)
    assert stopped == [True]


def test_the_cache_and_its_key_are_private(cache: Path) -> None:
    cache.mkdir(mode=0o755)
    key = ImageStore(cache).client_key
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")


def test_those_who_need_the_key_at_once_get_the_same(cache: Path) -> None:
    def key() -> bytes:
        return ImageStore(cache).client_key.read_bytes()

    keys = side_by_side(*[key] * 8)
    assert len(set(keys)) == 1
    assert [path.name for path in cache.iterdir()] == ["id_ed25519"]


def test_making_a_store_touches_nothing(cache: Path) -> None:
    ImageStore(cache)
    assert not cache.exists()


def test_a_cache_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/cache.*\n?.*hint: choose a folder"):
        _ = ImageStore(tmp_path / "file" / "cache").client_key


def test_a_spoilt_key_is_named(cache: Path) -> None:
    cache.mkdir()
    (cache / "id_ed25519").write_text("rubbish")
    with pytest.raises(ImageError, match="id_ed25519: not an SSH key"):
        _ = ImageStore(cache).client_key
