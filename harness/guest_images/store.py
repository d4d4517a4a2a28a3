"""Guest images, built once and kept in a content-addressed cache."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path

from harness.cache import Store, private_folder, prune, size_limit
from harness.config.image import ImageDefinition
from harness.errors import as_one
from harness.guest_images.build import DISK, INITRD, KERNEL, build, remove_scratch
from harness.guest_images.keys import KeyPair, ensure_key, new_key_pair
from harness.guest_images.process import BuildStopped
from harness.guest_images.recipe import Recipe, recipe_for
from harness.steps import Spent, step
from harness.topology import Role

_RECORD = "image.json"

Builder = Callable[[Recipe, Path, KeyPair, threading.Event], None]


@dataclass(frozen=True)
class BuiltImage:
    """A guest ready to boot; its files are shared and must not be written to.

    `disk` is a raw ext4 file system without a partition table. `cmdline` still lacks
    `pathproof.mgmt=MAC`, which names the management NIC. `host_key` is the line
    `ssh-ed25519 AAAA…` that clients pin.
    """

    fingerprint: str
    disk: Path
    kernel: Path
    initrd: Path
    cmdline: str
    host_key: str


class ImageStore:
    """The images in `cache`, a folder that only this user may read.

    `mirror` replaces this machine's own package mirrors. `builder` makes the files of an
    image in an empty folder.
    """

    def __init__(self, cache: Path, mirror: str | None = None, *, builder: Builder = build) -> None:
        self._cache = cache.expanduser().absolute()
        self._store = Store(self._cache, "images", discard=_remove)
        self._mirror = mirror
        self._builder = builder

    @property
    def client_key(self) -> Path:
        """The private key that every image admits as root; made on first use."""
        self._client_key_pair()
        return self._cache / "id_ed25519"

    @contextmanager
    def using(
        self, definition: ImageDefinition, roles: Collection[Role] = tuple(Role)
    ) -> Iterator[dict[Role, BuiltImage]]:
        """The images of `roles`, built if need be, and safe from removal until the block ends.

        Raises ImageError if they cannot be built, ConfigError if the cache is unusable.
        """
        while True:
            images = self.ensure_all(definition, roles)
            with ExitStack() as held:
                stores = [self._store.using(image.fingerprint) for image in images.values()]
                if all(held.enter_context(store) for store in stores):
                    prune(self._cache, size_limit())
                    yield images
                    return
            # Another process removed one before this one held its lock.

    def find(self, definition: ImageDefinition, role: Role) -> BuiltImage | None:
        """The image of `definition` for `role` if it was built before. Raises as `using`."""
        return _whole_image(self._store.path(self._recipe(definition, role).fingerprint()))

    def ensure_all(
        self, definition: ImageDefinition, roles: Collection[Role] = tuple(Role)
    ) -> dict[Role, BuiltImage]:
        """The images of `roles`, built side by side. The first failure calls off the others."""
        recipes = [self._recipe(definition, role) for role in roles]
        stop = threading.Event()
        with ThreadPoolExecutor(max_workers=len(recipes)) as pool:
            # Leaving the block waits for the threads: they must hear of an interrupt before.
            try:
                futures = [
                    pool.submit(copy_context().run, self._ensure, recipe, stop)
                    for recipe in recipes
                ]
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                if not all(future.done() and not future.exception() for future in futures):
                    stop.set()
        failures = [error for future in futures if (error := future.exception())]
        if failures:
            raise as_one([e for e in failures if not isinstance(e, BuildStopped)] or failures)
        return {
            recipe.role: future.result() for recipe, future in zip(recipes, futures, strict=True)
        }

    def _recipe(self, definition: ImageDefinition, role: Role) -> Recipe:
        return recipe_for(
            definition, role, client_key=self._client_key_pair().public, mirror=self._mirror
        )

    def _ensure(self, recipe: Recipe, stop: threading.Event) -> BuiltImage:
        fingerprint = recipe.fingerprint()
        folder = self._store.path(fingerprint)

        def pause(seconds: float) -> None:
            if stop.wait(seconds):
                raise BuildStopped("the image build was called off")

        title = f"build the {recipe.role} image of {Path(recipe.definition).stem}"
        while (image := _whole_image(folder)) is None:
            with (
                step(title, Spent.PROVISIONING),
                self._store.making(fingerprint, _whole_image, pause=pause) as unfinished,
            ):
                if unfinished is not None:
                    self._build(recipe, unfinished, stop)
        return image

    def _build(self, recipe: Recipe, unfinished: Path, stop: threading.Event) -> None:
        host_key = new_key_pair()
        self._builder(recipe, unfinished, host_key, stop)
        record = {
            "definition": recipe.definition,
            "role": recipe.role,
            "suite": recipe.suite,
            "packages": recipe.packages,
            "cmdline": recipe.cmdline,
            "host_key": host_key.public,
            "sizes": {name: (unfinished / name).stat().st_size for name in _FILES},
        }
        (unfinished / _RECORD).write_text(json.dumps(record, indent=2) + "\n")
        about = f"{Path(recipe.definition).stem}, {recipe.role}\n"
        (unfinished / "about.txt").write_text(about)

    def _client_key_pair(self) -> KeyPair:
        return ensure_key(private_folder(self._cache) / "id_ed25519")


def remove_unfinished(cache: Path) -> list[Path]:
    """Remove from `cache` what killed processes were making; returns the folders."""
    images, snapshots = Store(cache, "images", discard=_remove), Store(cache, "snapshots")
    return images.remove_drafts() + snapshots.remove_drafts()


_FILES = (DISK, KERNEL, INITRD)


def _whole_image(folder: Path) -> BuiltImage | None:
    """The image in `folder`, or None if it is missing or a file is not what was built."""
    try:
        record = json.loads((folder / _RECORD).read_text())
        sizes = {name: (folder / name).stat().st_size for name in _FILES}
    except (OSError, ValueError):
        return None
    if sizes != record["sizes"]:
        return None
    return BuiltImage(
        fingerprint=folder.name,
        disk=folder / DISK,
        kernel=folder / KERNEL,
        initrd=folder / INITRD,
        cmdline=record["cmdline"],
        host_key=record["host_key"],
    )


def _remove(unfinished: Path) -> None:
    """Remove what a build left behind, in the cache and outside."""
    if unfinished.exists():
        remove_scratch(unfinished)
        shutil.rmtree(unfinished, ignore_errors=True)
