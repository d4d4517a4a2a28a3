"""Build one image without root: mmdebstrap fills a tree, mkfs.ext4 makes the disk of it."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import ImageError
from harness.guest_images import scripts as image_scripts
from harness.guest_images.kernel import unpacked
from harness.guest_images.keys import KeyPair
from harness.guest_images.process import BuildFailed, run_tool
from harness.guest_images.recipe import GuestFile, Recipe
from harness.guest_images.sources import apt_options, copy_keyrings, package_sources
from harness.steps import progress
from harness.units import GIB, format_size

DISK, KERNEL, INITRD = "disk.ext4", "kernel", "initrd"
NEEDED = 2 * GIB  # bytes for one build: the tree (0.6 GiB), its disk as large again, room to grow

_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "ext4")
_NOT_IN_GUESTS = (
    "/usr/share/man/*",
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
)
# The builder makes its own initrd; initramfs-tools would take most of a minute for its.
_NO_INITRAMFS = "/etc/kernel/postinst.d/initramfs-tools"
_HOOKS = Path("/usr/share/mmdebstrap/hooks")

_UNKNOWN_PACKAGE = re.compile(
    r"E: (?:Unable to locate package (?P<a>\S+)|Package '(?P<b>[^']+)' has no installation"
    r"|Couldn't find any package by \w+ '(?P<c>[^']+)'"
    r"|(?:Version|Release) '[^']+' for '(?P<d>[^']+)' was not)"
)
# apt names a package's first unmet dependency on the package's line.
_UNMET = re.compile(r" (?P<package>\S+) : Depends: (?P<needed>\S+)")
_NO_NETWORK = re.compile(r"(?:W|E|Err).*(?:resolv|Failed to fetch|connect|Network is unreachable)")
_FULL = re.compile(
    r"No space left on device|Could not allocate block|not enough space", re.IGNORECASE
)


def build(recipe: Recipe, folder: Path, host_key: KeyPair, stop: threading.Event) -> None:
    """Write disk, kernel and initrd of `recipe` into `folder`, which exists and is private.

    Nothing else is left behind, whatever happens. Raises ImageError, BuildStopped after `stop`.
    """
    check_space(folder)
    overlay = folder / "overlay.tar"
    overlay.write_bytes(overlay_tar(recipe, host_key))
    with _scratch(folder) as scratch:
        tree = scratch / "root"
        env = _environment(scratch)
        try:
            run_tool(_mmdebstrap(recipe, tree, scratch, overlay), env=env, stop=stop)
            progress("making the disk")
            _pack(recipe, tree, folder, env, stop)
        except BuildFailed as error:
            raise explain(error, recipe) from None
        except FileNotFoundError as error:
            raise ImageError(
                f"{error.filename} is not installed",
                hint="`./bootstrap` installs what image builds need",
            ) from None
    overlay.unlink()


def overlay_tar(recipe: Recipe, host_key: KeyPair) -> bytes:
    """The files that are laid over the packages' own, as a tar archive owned by root."""
    name = recipe.role.value
    files = [
        GuestFile("/etc/hostname", 0o644, f"{name}\n".encode()),
        GuestFile("/etc/hosts", 0o644, f"127.0.0.1 localhost\n127.0.1.1 {name}\n".encode()),
        GuestFile("/etc/ssh/ssh_host_ed25519_key", 0o600, host_key.private),
        GuestFile("/etc/ssh/ssh_host_ed25519_key.pub", 0o644, f"{host_key.public}\n".encode()),
        GuestFile("/root/.ssh/authorized_keys", 0o600, f"{recipe.client_key}\n".encode()),
        *recipe.files,
    ]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for file in files:
            entry = tarfile.TarInfo(file.destination.lstrip("/"))
            entry.mode, entry.size = file.mode, len(file.content)
            tar.addfile(entry, io.BytesIO(file.content))
    return archive.getvalue()


def check_space(folder: Path) -> None:
    """Raise ImageError unless the cache and the temporary folder have room for a build."""
    for place, remedy in (
        (folder, "free some space or choose another cache folder"),
        (Path(tempfile.gettempdir()), "free some space or set TMPDIR to a larger folder"),
    ):
        free = shutil.disk_usage(place).free
        if free < NEEDED:
            raise ImageError(
                f"{place}: an image build needs {format_size(NEEDED)}, "
                f"{format_size(free)} are free",
                hint=remedy,
            )


def explain(error: BuildFailed, recipe: Recipe) -> ImageError:
    """The failure in the user's terms where its cause can be told from the output."""
    output = "\n".join(error.output)
    names = sorted({m[m.lastgroup or 0] for m in _UNKNOWN_PACKAGE.finditer(output)})
    if names:
        return ImageError(
            f"{recipe.definition}: no package {', '.join(names)} in {recipe.suite}",
            hint="correct [packages], or add its source to extra_sources (docs/images.md)",
        )
    if unmet := [match for line in error.output if (match := _UNMET.match(line))]:
        needs = ", ".join(f"{match['package']} needs {match['needed']}" for match in unmet)
        return ImageError(
            f"{recipe.definition}: what packages need is not to be had: {needs}",
            hint="bring packages that fit the suite and its kernel (docs/images.md)",
        )
    hint = "the lines above are the last output of the build"
    if _FULL.search(output):
        hint = f"raise size in {recipe.definition}, or free space in {tempfile.gettempdir()}"
    elif "subuid" in output or "subgid" in output or "newuidmap" in output:
        hint = "give this user subordinate ids: usermod --add-subuids, --add-subgids; subuid(5)"
    elif ": not found" in output:
        hint = "`./bootstrap` installs what image builds need"
    elif _NO_NETWORK.search(output):
        hint = "is the package mirror reachable? `--mirror` or a proxy in apt's settings may help"
    return ImageError(f"{recipe.definition}: the {recipe.role} image: {error.message}", hint=hint)


def remove_scratch(folder: Path) -> None:
    """Remove the temporary tree of a build in `folder`, also one that was killed."""
    note = folder / "scratch"
    if not note.exists():
        return
    scratch = Path(note.read_text())
    if scratch.exists():
        if os.geteuid() != 0 and (scratch / "root").exists():  # owned by subordinate ids
            removal = ["mmdebstrap", "--unshare-helper", "rm", "-rf", "--", str(scratch / "root")]
            subprocess.run(removal, env=_environment(scratch), check=False, capture_output=True)
        shutil.rmtree(scratch, ignore_errors=True)
    note.unlink()


def _environment(scratch: Path) -> dict[str, str]:
    return os.environ | {
        "LC_ALL": "C",
        "HOME": str(scratch),  # no settings of this user's own apt or dpkg
        "PATH": f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin",
        "TMPDIR": str(scratch),
        "PATHPROOF_INIT": image_scripts.INIT,
    }


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder outside the private cache, where the build's user namespace may write.

    Its path is noted in `folder` first, so that a later run can clean up after a kill.
    """
    scratch = Path(tempfile.gettempdir(), f"pathproof-image-{os.urandom(8).hex()}")
    (folder / "scratch").write_text(str(scratch))
    try:
        scratch.mkdir(mode=0o700)
        scratch.chmod(0o1777)
        yield scratch
    finally:
        remove_scratch(folder)


def _mmdebstrap(recipe: Recipe, tree: Path, scratch: Path, overlay: Path) -> list[str]:
    keyrings, debs = scratch / "keyrings", scratch / "packages"
    copy_keyrings(keyrings)
    debs.mkdir(mode=0o755)
    for package in recipe.local_packages:
        shutil.copyfile(package, debs / package.name)
        (debs / package.name).chmod(0o644)
    local = [str(debs / package.name) for package in recipe.local_packages]
    settle = image_scripts.settle(recipe.enable, recipe.mask, recipe.mask_generators)
    return [
        "mmdebstrap",
        "--mode=unshare",
        "--variant=minbase",
        "--format=directory",
        "--verbose",
        f"--keyring={keyrings}",
        *([f"--architectures={recipe.architecture}"] if recipe.architecture else []),
        *(f"--aptopt={option}" for option in apt_options()),
        "--dpkgopt=force-unsafe-io",
        *exclusions(recipe),
        f"--hook-dir={_HOOKS / 'maybe-merged-usr'}",
        *([f"--hook-dir={_HOOKS / 'file-mirror-automount'}"] if _reads_folders(recipe) else []),
        f"--setup-hook={image_scripts.try_packages([*recipe.packages, *local])}",
        *(f"--include={package}" for package in (",".join(recipe.packages), *local)),
        f"--customize-hook={image_scripts.CLEAN}",
        f"--customize-hook=tar-in {overlay} /",
        f"--customize-hook={settle}",
        recipe.suite,
        str(tree),
        *package_sources(recipe.suite, recipe.mirror, recipe.extra_sources),
    ]


def exclusions(recipe: Recipe) -> list[str]:
    """Options that keep files of packages out of the root; see path-exclude in dpkg(1)."""
    patterns = (*_NOT_IN_GUESTS, _NO_INITRAMFS, *recipe.leave_out)
    return [f"--dpkgopt=path-exclude={pattern}" for pattern in patterns]


def _reads_folders(recipe: Recipe) -> bool:
    """Whether the root needs a folder of this machine while packages are installed."""
    return bool(recipe.local_packages) or any(" file:" in s for s in recipe.extra_sources)


def _pack(
    recipe: Recipe, tree: Path, folder: Path, env: dict[str, str], stop: threading.Event
) -> None:
    """Make the three files of an image out of `tree`.

    They are handed over as open descriptors: the build's user namespace may not enter the
    private `folder` by name.
    """
    helper = ["mmdebstrap", "--unshare-helper"] if os.geteuid() else []
    opened = []
    try:
        for name in (DISK, KERNEL, INITRD):
            opened.append(os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
            os.fchmod(opened[-1], 0o666)
        os.truncate(opened[0], recipe.size)
        paths = [f"/proc/self/fd/{descriptor}" for descriptor in opened]
        script = ["sh", "-c", image_scripts.PACK, "pack", str(tree), *paths, *_MODULES]
        run_tool([*helper, *script], env=env, stop=stop, pass_fds=opened)
        kernel = folder / KERNEL
        kernel.write_bytes(unpacked(kernel.read_bytes()))
        for descriptor in opened:
            os.fchmod(descriptor, 0o444)
    finally:
        for descriptor in opened:
            os.close(descriptor)
