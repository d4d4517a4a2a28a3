"""Building an image, as far as it goes without building one."""

import io
import os
import subprocess
import tarfile
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.image import IMAGES, load_image
from harness.deadline import Deadline, poll
from harness.errors import ImageError
from harness.guest_images import build as image_build
from harness.guest_images.build import check_space, exclusions, explain, overlay_tar
from harness.guest_images.keys import new_key_pair
from harness.guest_images.process import BuildFailed, BuildStopped, Progress, run_tool
from harness.guest_images.recipe import Recipe, recipe_for
from harness.guest_images.scripts import try_packages
from harness.guest_images.sources import apt_options, debian_sources
from harness.topology import Role


@pytest.fixture
def recipe() -> Recipe:
    return recipe_for(load_image("debian-12"), Role.TARGET, client_key="ssh-ed25519 CLIENT")


def test_the_overlay_carries_keys_names_and_files(recipe: Recipe) -> None:
    key = new_key_pair()
    with tarfile.open(fileobj=io.BytesIO(overlay_tar(recipe, key))) as tar:
        members = {member.name: member for member in tar.getmembers()}
        content = {name: tar.extractfile(name).read() for name in members}  # type: ignore[union-attr]
    assert content["root/.ssh/authorized_keys"] == b"ssh-ed25519 CLIENT\n"
    assert content["etc/ssh/ssh_host_ed25519_key"] == key.private
    assert members["etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    assert content["etc/hostname"] == b"target\n"
    assert members["usr/lib/pathproof/network"].mode == 0o755
    assert content["etc/ssh/sshd_config"] == (IMAGES / "files" / "sshd_config").read_bytes()
    assert {member.uid for member in members.values()} == {0}


def test_what_a_definition_leaves_out_is_not_installed(recipe: Recipe) -> None:
    """Beside what no guest has."""
    options = exclusions(replace(recipe, leave_out=("*/sound/*",)))
    assert options[-1] == "--dpkgopt=path-exclude=*/sound/*"
    assert "--dpkgopt=path-exclude=/usr/share/man/*" in options


@pytest.mark.parametrize(
    ("line", "package"),
    [
        ("E: Unable to locate package no-such-package", "no-such-package"),
        ("E: Package 'tgtt' has no installation candidate", "tgtt"),
        ("E: Couldn't find any package by glob 'fio9.9'", "fio9.9"),
        ("E: Version '9' for 'fio' was not found", "fio"),
        ("E: Release 'bookworm-backports' for 'fio' was not found", "fio"),
    ],
)
def test_an_unknown_package_is_named_with_the_definition(
    recipe: Recipe, line: str, package: str
) -> None:
    error = explain(BuildFailed("failed", ["Reading package lists...", line]), recipe)
    assert f"{recipe.definition}: no package {package} in bookworm" in str(error)


def test_a_package_that_needs_another_kernel_says_so(recipe: Recipe) -> None:
    """apt 2.6 prints this."""
    output = [
        "The following packages have unmet dependencies:",
        " iscsitarget-module : Depends: linux-image-6.1.0-99-cloud-amd64 but it is not installable",
        "E: Unable to correct problems, you have held broken packages.",
    ]
    error = explain(BuildFailed("failed", output), recipe)
    assert "iscsitarget-module needs linux-image-6.1.0-99-cloud-amd64" in error.message
    assert "its kernel" in error.hint


@pytest.mark.parametrize(
    ("status", "printed"), [(0, ""), (100, "unmet dependencies\nE: held broken packages\n")]
)
def test_what_apt_said_is_shown_if_it_refused(tmp_path: Path, status: int, printed: str) -> None:
    """A simulated installation that went well is of no interest."""
    apt = tmp_path / "apt-get"
    text = "unmet dependencies\nE: held broken packages"
    apt.write_text(f"#!/bin/sh\necho '{text}'\nexit {status}\n")
    apt.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", try_packages(["kmod", "./own.deb"]), "hook", str(tmp_path)],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "MMDEBSTRAP_APT_CONFIG": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == (printed, min(status, 1))


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("mkfs.ext4: Could not allocate block in ext2 filesystem", "raise size in"),
        ("tar: x: Cannot write: No space left on device", "free space in"),
        ("E: invalid /etc/subuid", "subordinate ids"),
        ("E: Failed to fetch http://x/y  Temporary failure resolving 'x'", "mirror reachable"),
        ("pack: 25: mkfs.ext4: not found", "./bootstrap"),
        ("E: something else", "last output"),
    ],
)
def test_the_hint_fits_the_cause(recipe: Recipe, line: str, hint: str) -> None:
    assert hint in explain(BuildFailed("failed", [line]), recipe).hint


def test_too_little_space_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_build, "NEEDED", 1 << 62)
    with pytest.raises(ImageError, match=rf"{tmp_path}: an image build needs .* are free"):
        check_space(tmp_path)


def test_messages_of_the_tools_become_progress() -> None:
    news = Progress()
    assert news.read("I: extracting archives...") == ("extracting archives", None)
    assert news.read("0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.") is None
    assert news.read("Setting up libc6:amd64 (2.36-9) ...") == ("setting up libc6", 0.5)
    assert news.read("Setting up kmod (30) ...") == ("setting up kmod", 1.0)
    assert news.read("Setting up one-more (1) ...") == ("setting up one-more", 1.0)
    assert news.read("I: /vmlinuz is now a symlink to boot/vmlinuz") is None
    assert news.read("Unpacking kmod") is None


def test_a_tool_that_fails_shows_its_last_words() -> None:
    with pytest.raises(BuildFailed, match=r"exit status 3[\s\S]*last words"):
        run_tool(
            ["sh", "-c", "printf 'last words'; exit 3"], env=os.environ, stop=threading.Event()
        )


def test_a_build_that_is_called_off_takes_its_children_along(tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    script = f"sleep 300 & echo $! >{tmp_path}/pid; wait"
    began = time.monotonic()
    with pytest.raises(BuildStopped):
        run_tool(["sh", "-c", script], env=os.environ, stop=stop)
    assert time.monotonic() - began < 10
    child = Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")
    poll(
        lambda: not child.exists() or child.read_text().split()[2] == "Z",
        what="the child's end",
        deadline=Deadline.after(5),
    )


TARGETS = """\
http://mirror.example/debian/|bookworm|Debian|main
http://mirror.example/debian/|bookworm|Debian|contrib
http://mirror.example/debian/|bookworm-updates|Debian|main
http://mirror.example/debian-security/|bookworm-security|Debian|main
https://node.example/node_20.x/|nodistro|. nodistro|main
https://vendor.example/|bookworm|Vendor|main
"""
SOURCES = [
    "deb http://mirror.example/debian/ {0} main",
    "deb http://mirror.example/debian/ {0}-updates main",
    "deb http://mirror.example/debian-security/ {0}-security main",
]


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_only_debian_itself_is_a_source(suite: str) -> None:
    assert debian_sources(TARGETS, suite) == [line.format(suite) for line in SOURCES]


def test_sources_are_known_before_the_first_update() -> None:
    unset = TARGETS.replace("|Debian|", "|$(ORIGIN)|").replace("|Vendor|", "|$(ORIGIN)|")
    assert debian_sources(unset, "bookworm") == [line.format("bookworm") for line in SOURCES]


def test_a_machine_without_debian_sources_has_none_to_lend() -> None:
    assert debian_sources("http://archive.example/ubuntu/|noble|Ubuntu|main\n", "bookworm") == []


def test_proxies_are_kept_and_hooks_are_not() -> None:
    dump = """\
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::https::CaInfo "/etc/ssl/own.pem";
Acquire::Check-Valid-Until "false";
Acquire::IndexTargets::deb::Packages::Optional "0";
DPkg::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb || true";
Dir::Cache "var/cache/apt";
"""
    assert apt_options(dump) == dump.splitlines()[:3]


def test_the_temporary_folder_is_checked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    check_space(tmp_path)
