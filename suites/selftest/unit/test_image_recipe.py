"""The fingerprint changes with everything that determines an image, and with nothing else."""

import shutil
from pathlib import Path

import pytest

from harness.config.image import load_image
from harness.guest_images.recipe import recipe_for
from harness.topology import Role

TEXT = """\
suite = "bookworm"
kernel = "linux-image-cloud-amd64"
size = "2GiB"
cmdline = ["quiet"]
leave_out = ["*/lib/modules/*/sound/*"]
local_packages = { base = ["own.deb"], target = ["module.deb"] }
extra_sources = ["own.sources", "deb file:/srv/own ./"]
[packages]
base = ["kmod", "udev"]
target = ["python3-rtslib-fb"]
initiator = ["open-iscsi"]
[services]
enable = ["ssh.service"]
mask = ["getty.target"]
mask_generators = ["systemd-sysv-generator"]
[[files]]
source = "both"
destination = "/etc/both"
[[files]]
source = "target"
destination = "/etc/target.conf"
roles = ["target"]
"""
FILES = ("own.deb", "module.deb", "own.sources", "both", "target")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "own.toml").write_text(TEXT)
    for name in FILES:
        (folder / name).write_text(f"!<arch>\n{name}")
    return folder


def fingerprint(
    folder: Path, role: Role = Role.TARGET, *, key: str = "ssh-ed25519 A", mirror: str | None = None
) -> str:
    image = load_image(str(folder / "own.toml"))
    return recipe_for(image, role, client_key=key, mirror=mirror).fingerprint()


def test_it_is_stable(folder: Path) -> None:
    assert fingerprint(folder) == fingerprint(folder)


def test_it_does_not_depend_on_where_the_definition_lies(folder: Path, tmp_path: Path) -> None:
    before = fingerprint(folder)
    moved = tmp_path / "moved"
    shutil.move(folder, moved)
    assert fingerprint(moved) == before


def test_it_does_not_depend_on_the_order_of_packages(folder: Path) -> None:
    before = fingerprint(folder)
    text = TEXT.replace('"kmod", "udev"', '"udev", "kmod"')
    (folder / "own.toml").write_text(text)
    assert fingerprint(folder) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("bookworm", "trixie"),
        ("linux-image-cloud-amd64", "linux-image-amd64"),
        ('"2GiB"', '"3GiB"'),
        ('"quiet"', '"quiet", "nosmt"'),
        ('"udev"', '"udev", "strace"'),
        ("python3-rtslib-fb", "tgt"),
        ("ssh.service", "other.service"),
        ("getty.target", "other.target"),
        ("systemd-sysv-generator", "other-generator"),
        ("*/sound/*", "*/drivers/usb/*"),
        ("/etc/both", "/etc/elsewhere"),
        ('"/etc/both"', '"/etc/both"\nmode = "0600"'),
        ("file:/srv/own", "file:/srv/other"),
        ("suite =", 'architecture = "arm64"\nsuite ='),
    ],
)
def test_it_changes_with_the_definition(folder: Path, old: str, new: str) -> None:
    before = fingerprint(folder)
    changed = TEXT.replace(old, new)
    assert changed != TEXT
    (folder / "own.toml").write_text(changed)
    assert fingerprint(folder) != before


@pytest.mark.parametrize("name", FILES)
def test_it_changes_with_the_bytes_of_each_file(folder: Path, name: str) -> None:
    before = fingerprint(folder)
    (folder / name).write_text("!<arch>\nother")
    assert fingerprint(folder) != before


def test_it_changes_with_role_key_and_mirror(folder: Path) -> None:
    prints = {
        fingerprint(folder),
        fingerprint(folder, Role.INITIATOR),
        fingerprint(folder, key="ssh-ed25519 B"),
        fingerprint(folder, mirror="http://mirror.example/debian"),
    }
    assert len(prints) == 4


def test_what_only_the_target_gets_leaves_the_initiator_alone(folder: Path) -> None:
    before = fingerprint(folder, Role.INITIATOR)
    (folder / "target").write_text("other")
    (folder / "module.deb").write_text("!<arch>\nother")
    (folder / "own.toml").write_text(TEXT.replace("python3-rtslib-fb", "tgt"))
    assert fingerprint(folder, Role.INITIATOR) == before


def test_the_command_line_names_root_and_console(folder: Path) -> None:
    recipe = recipe_for(load_image(str(folder / "own.toml")), Role.TARGET, client_key="k")
    assert recipe.cmdline == "root=/dev/vda rw console=ttyS0 quiet"


def test_each_role_gets_its_own_packages_and_those_of_both(folder: Path) -> None:
    image = load_image(str(folder / "own.toml"))
    names = {
        role: [path.name for path in recipe_for(image, role, client_key="k").local_packages]
        for role in Role
    }
    assert names == {Role.TARGET: ["own.deb", "module.deb"], Role.INITIATOR: ["own.deb"]}


def test_a_list_of_packages_is_for_both_roles(folder: Path) -> None:
    table = '{ base = ["own.deb"], target = ["module.deb"] }'
    (folder / "own.toml").write_text(TEXT.replace(table, '["own.deb", "module.deb"]'))
    image = load_image(str(folder / "own.toml"))
    for role in Role:
        packages = recipe_for(image, role, client_key="k").local_packages
        assert [path.name for path in packages] == ["own.deb", "module.deb"]
