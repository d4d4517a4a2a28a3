"""Image definitions: the shipped one is sound, and mistakes are named."""

from pathlib import Path

import pytest

from harness.config.image import IMAGES, ImageDefinition, load_image
from harness.errors import ConfigError

GOOD = 'suite = "bookworm"\nkernel = "linux-image-cloud-amd64"\n'


def definition(folder: Path, text: str) -> ImageDefinition:
    file = folder / "own.toml"
    file.write_text(text)
    return load_image(str(file))


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        definition(folder, text)
    assert str(folder / "own.toml") in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("file", sorted(IMAGES.glob("*.toml")), ids=lambda file: file.stem)
def test_every_shipped_definition_is_valid(file: Path) -> None:
    assert load_image(file.stem).name == file.stem


def test_every_shipped_file_is_used_by_a_definition() -> None:
    used = {
        added.source
        for image in map(load_image, (file.stem for file in IMAGES.glob("*.toml")))
        for added in image.files
    }
    assert used == {file for file in (IMAGES / "files").rglob("*") if file.is_file()}


def test_nothing_that_logs_in_by_itself_is_enabled() -> None:
    enabled = load_image("debian-12").services.enable
    assert enabled == ("pathproof-network.service", "ssh.service")


def test_a_minimal_definition_is_enough(tmp_path: Path) -> None:
    image = definition(tmp_path, GOOD)
    assert image.packages.base == ()
    assert image.architecture is None
    assert image.file == tmp_path / "own.toml"


def test_relative_paths_start_at_the_definition(tmp_path: Path) -> None:
    (tmp_path / "hosts").touch()
    text = f'{GOOD}[[files]]\nsource = "hosts"\ndestination = "/etc/hosts"\n'
    assert definition(tmp_path, text).files[0].source == tmp_path / "hosts"


def test_one_extends_another_by_what_is_its_own(tmp_path: Path) -> None:
    """Tables are merged, lists appended, values replaced; paths stay those of each folder."""
    (tmp_path / "iet.deb").write_bytes(b"!<arch>\n")
    shipped = load_image("debian-12")
    image = definition(
        tmp_path,
        'extends = "debian-12"\nkernel = "linux-image-6.1"\nlocal_packages = ["iet.deb"]\n'
        'leave_out = ["/usr/share/perl/*"]\n[packages]\ntarget = ["iscsitarget"]\n',
    )
    assert image.kernel == "linux-image-6.1"
    assert image.packages.target == (*shipped.packages.target, "iscsitarget")
    assert image.packages.base == shipped.packages.base
    assert image.leave_out == (*shipped.leave_out, "/usr/share/perl/*")
    assert image.local_packages.base == (tmp_path / "iet.deb",)
    assert image.files == shipped.files
    assert image.cmdline == shipped.cmdline
    assert image.name == "own"


def test_a_chain_of_definitions_is_followed(tmp_path: Path) -> None:
    (tmp_path / "middle").mkdir()
    (tmp_path / "middle/a.deb").write_bytes(b"!<arch>\n")
    (tmp_path / "b.deb").write_bytes(b"!<arch>\n")
    text = 'extends = "debian-12"\n[local_packages]\ntarget = ["a.deb"]\n'
    (tmp_path / "middle/middle.toml").write_text(text)
    image = definition(tmp_path, 'extends = "middle/middle.toml"\nlocal_packages = ["b.deb"]\n')
    assert image.local_packages.target == (tmp_path / "middle/a.deb",)
    assert image.local_packages.base == (tmp_path / "b.deb",)


def test_a_definition_that_extends_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('extends = "own.toml"\n')
    by = f"own.toml: extends itself, by way of {tmp_path}"
    assert f"{by}/other.toml" in complaint(tmp_path, 'extends = "other.toml"\n')
    assert f"{by}/own.toml" in complaint(tmp_path, 'extends = "own.toml"\n')


@pytest.mark.parametrize("value", ["12", '["debian-12"]'])
def test_what_cannot_be_extended_is_named(tmp_path: Path, value: str) -> None:
    assert "is neither a name in images/ nor a path" in complaint(tmp_path, f"extends = {value}\n")


def test_an_unknown_key_is_named_with_the_allowed_ones(tmp_path: Path) -> None:
    text = complaint(tmp_path, GOOD + '[packages]\nboth = ["fio"]\n')
    assert "'packages.both'" in text
    assert "base, target, initiator" in text


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert "kernel" in complaint(tmp_path, 'suite = "bookworm"\n')


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[packages]\nbase = ["fio; reboot"]\n', "'fio; reboot' is not a package name"),
        ('[packages]\nbase = ["--force"]\n', "'--force' is not a package name"),
        ('[[files]]\nsource = "x"\ndestination = "etc/x"\n', "'etc/x' is not the absolute path"),
        ('[[files]]\nsource = "x"\ndestination = "/a/../b"\n', "is not the absolute path"),
        ('[[files]]\nsource = "x"\ndestination = "/x"\nmode = "0999"\n', "files.0.mode"),
        ('leave_out = ["usr/share/*"]\n', "'usr/share/*' matches no absolute path"),
        ('leave_out = ["/usr/share/a b/*"]\n', "leave_out.0"),
        (
            '[[files]]\nsource = "x"\ndestination = "/x"\nroles = ["array"]\n',
            "'target' or 'initiator'",
        ),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, text: str, named: str) -> None:
    assert named in complaint(tmp_path, GOOD + text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[[files]]\nsource = "gone"\ndestination = "/x"\n', "files.0.source"),
        ('local_packages = ["gone.deb"]\n', "local_packages.base.0"),
        ('[local_packages]\ntarget = ["gone.deb"]\n', "local_packages.target.0"),
        ('extra_sources = ["gone.sources"]\n', "extra_sources.0"),
    ],
)
def test_a_missing_file_is_named_before_anything_is_built(
    tmp_path: Path, text: str, key: str
) -> None:
    assert f"{key}: no file {tmp_path / 'gone'}" in complaint(tmp_path, GOOD + text)


def test_a_one_line_source_is_not_taken_for_a_file(tmp_path: Path) -> None:
    source = "deb [trusted=yes] file:/srv/own ./"
    assert definition(tmp_path, GOOD + f'extra_sources = ["{source}"]\n').extra_sources == (source,)


@pytest.mark.parametrize(
    "source",
    [
        "deb http://archive.example/debian",
        "deb http://archive.example/debian jessie",
        "deb archive.example/debian jessie main",
        "deb [trusted=yes http://archive.example/debian jessie main",
    ],
)
def test_a_source_that_apt_would_not_read_is_named(tmp_path: Path, source: str) -> None:
    text = complaint(tmp_path, GOOD + f'extra_sources = ["{source}"]\n')
    assert f"extra_sources.0: {source!r} is not 'deb [OPTIONS] URI SUITE COMPONENT…'" in text


@pytest.mark.parametrize("keyring", ["/nowhere/old.gpg", "old.gpg"])
def test_a_keyring_that_is_not_there_is_named(tmp_path: Path, keyring: str) -> None:
    (tmp_path / "old.gpg").touch()  # apt does not look beside the definition
    source = f"deb [arch=amd64 signed-by={keyring}] http://archive.example/debian jessie main"
    text = complaint(tmp_path, GOOD + f'extra_sources = ["{source}"]\n')
    assert f"extra_sources.0: signed-by={keyring} is not the absolute path of a keyring" in text


@pytest.mark.parametrize(
    "source",
    [
        "deb http://archive.example/debian jessie main contrib",
        "deb [check-valid-until=no signed-by={}] https://archive.example/debian old/updates main",
    ],
)
def test_an_old_release_may_be_a_source(tmp_path: Path, source: str) -> None:
    keyring = tmp_path / "removed.gpg"
    keyring.touch()
    line = source.format(keyring)
    assert definition(tmp_path, GOOD + f'extra_sources = ["{line}"]\n').extra_sources == (line,)


def test_a_package_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.deb").write_text("<html>404</html>")
    text = complaint(tmp_path, GOOD + 'local_packages = ["page.deb"]\n')
    assert f"local_packages.base.0: {tmp_path / 'page.deb'} is not a .deb file" in text


def test_packages_of_one_name_are_told_apart_before_one_is_lost(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "iet.deb").write_bytes(b"!<arch>\n")
    text = complaint(tmp_path, GOOD + 'local_packages = ["a/iet.deb", "b/iet.deb"]\n')
    assert f"{tmp_path / 'b/iet.deb'} has the name of {tmp_path / 'a/iet.deb'}" in text


def test_broken_toml_names_the_file(tmp_path: Path) -> None:
    assert "not valid TOML" in complaint(tmp_path, "suite = [")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"there are .*debian-12"):
        load_image("debian-99")
