"""A cache of a trial's own, with the user's images: what it breaks there breaks nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.host.folder import cache_folder


def make_private_cache(cache: Path) -> None:
    """Fill the new folder `cache` with links to the images and with what is known of this host."""
    images = cache / "images"
    images.mkdir(parents=True)
    for image in (cache_folder() / "images").glob("*"):
        (images / image.name).symlink_to(image)
    for file in (*cache_folder().glob("id_ed25519"), *cache_folder().glob("kvm-*.json")):
        shutil.copy2(file, cache)
