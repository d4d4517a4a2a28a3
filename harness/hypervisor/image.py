"""Guest images, built once and kept in a content-addressed cache."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path

from harness.config.image import ImageDefinition
from harness.errors import ConfigError
from harness.hypervisor.image_build import DISK, INITRD, KERNEL, build, remove_scratch
from harness.hypervisor.image_process import BuildStopped
from harness.hypervisor.image_recipe import Recipe, recipe_for
from harness.hypervisor.keys import KeyPair, ensure_key, new_key_pair
from harness.steps import Spent, progress, step
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
        self._mirror = mirror
        self._builder = builder

    @property
    def client_key(self) -> Path:
        """The private key that every image admits as root; made on first use."""
        self._client_key_pair()
        return self._cache / "id_ed25519"

    def ensure(self, definition: ImageDefinition, role: Role) -> BuiltImage:
        """The image of `definition` for `role`, from the cache or built now.

        Raises ImageError if it cannot be built, ConfigError if the cache is unusable.
        """
        return self._ensure(self._recipe(definition, role), threading.Event())

    def find(self, definition: ImageDefinition, role: Role) -> BuiltImage | None:
        """The image of `definition` for `role` if it was built before. Raises as `ensure`."""
        return _whole_image(self._cache / "images" / self._recipe(definition, role).fingerprint())

    def ensure_all(self, definition: ImageDefinition) -> dict[Role, BuiltImage]:
        """Both roles' images, built side by side. The first failure calls off the other build."""
        recipes = [self._recipe(definition, role) for role in Role]
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
        for error in sorted(failures, key=lambda error: isinstance(error, BuildStopped)):
            raise error
        return {
            recipe.role: future.result() for recipe, future in zip(recipes, futures, strict=True)
        }

    def _recipe(self, definition: ImageDefinition, role: Role) -> Recipe:
        return recipe_for(
            definition, role, client_key=self._client_key_pair().public, mirror=self._mirror
        )

    def _ensure(self, recipe: Recipe, stop: threading.Event) -> BuiltImage:
        fingerprint = recipe.fingerprint()
        folder = self._cache / "images" / fingerprint
        if image := _whole_image(folder):
            return image
        title = f"build the {recipe.role} image of {Path(recipe.definition).stem}"
        with step(title, Spent.PROVISIONING), self._locked(fingerprint, stop):
            if image := _whole_image(folder):
                return image  # another process built it while this one waited
            return self._build(recipe, folder, stop)

    def _build(self, recipe: Recipe, folder: Path, stop: threading.Event) -> BuiltImage:
        """Build under another name and rename: a folder in `images` is always whole."""
        building = self._folder("building")
        self._remove_killed_builds(building, folder.name)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=building))
        try:
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
            unfinished.rename(self._folder("images") / folder.name)
        finally:
            _remove(unfinished)
        image = _whole_image(folder)
        assert image is not None, folder
        return image

    def _remove_killed_builds(self, building: Path, own: str) -> None:
        """Remove what builds left behind whose lock nobody holds; `own` is held by this one."""
        for remains in building.iterdir():
            fingerprint = remains.name.partition("-")[0]
            with (self._folder("locks") / fingerprint).open("w") as lock:
                try:
                    if fingerprint != own:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue  # that build is running
                _remove(remains)

    def _client_key_pair(self) -> KeyPair:
        return ensure_key(self._folder(".") / "id_ed25519")

    def _folder(self, name: str) -> Path:
        folder = self._cache / name
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(13, "not writable")
            if folder.stat().st_mode & 0o077:
                folder.chmod(0o700)
        except OSError as error:
            raise ConfigError(
                f"image cache {folder}: {error.strerror}",
                hint="choose a folder of your own, or give this one to your user",
            ) from None
        return folder

    @contextmanager
    def _locked(self, name: str, stop: threading.Event) -> Iterator[None]:
        """Hold the lock of one fingerprint; it is let go when the process ends, however it does."""
        with (self._folder("locks") / name).open("w") as lock:
            waiting = False
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not waiting:
                        progress("another process is building this image; waiting for it")
                    waiting = True
                    if stop.wait(0.2):
                        raise BuildStopped("the image build was called off") from None
            yield


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
