"""What goes into a guest: an image definition, read from TOML and validated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
)

from harness.config.base import Model
from harness.config.kinds import require_kind
from harness.config.load import config_error
from harness.config.luns import Size
from harness.config.toml import parse_toml
from harness.errors import ConfigError
from harness.units import GIB, MIB

IMAGES = Path(__file__).resolve().parents[2] / "images"

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?([=/][A-Za-z0-9.+:~-]+)?")
_SOURCE = re.compile(
    r"deb\s+(\[(?P<options>[^\]]*)\]\s+)?[a-z][a-z+]*:\S+\s+(\S*/|\S*[^/\s](\s+[\w./-]+)+)\s*"
)
_ARCHIVE_MAGIC = b"!<arch>\n"  # deb(5)


def _package(name: str) -> str:
    if not _PACKAGE.fullmatch(name):
        raise ValueError(f"{name!r} is not a package name; write name, name=version or name/suite")
    return name


def _both_roles(packages: object) -> object:
    return {"base": packages} if isinstance(packages, list) else packages


def _absolute(path: str) -> str:
    if not path.startswith("/") or path.endswith("/") or ".." in path.split("/"):
        raise ValueError(f"{path!r} is not the absolute path of a file")
    return path


def _pattern(pattern: str) -> str:
    if not re.fullmatch(r"[/*]\S*", pattern):
        raise ValueError(f"{pattern!r} matches no absolute path; write /usr/share/doc/* or */doc/*")
    return pattern


def _beside(path: Path, info: ValidationInfo) -> Path:
    """`path` as the definition means it."""
    assert info.context is not None
    file: Path = info.context["file"]
    return (file.parent / path.expanduser()).absolute()


def _source(source: str, info: ValidationInfo) -> str:
    return source if is_one_line(source) else str(_beside(Path(source), info))


RoleName = Literal["target", "initiator"]
Pattern = Annotated[str, AfterValidator(_pattern)]
Package = Annotated[str, AfterValidator(_package)]
File = Annotated[Path, AfterValidator(_beside)]
Source = Annotated[str, AfterValidator(_source)]


class Packages(Model):
    """Packages by name; recommended packages are not installed along with them."""

    base: tuple[Package, ...] = Field((), description="in both roles")
    target: tuple[Package, ...] = ()
    initiator: tuple[Package, ...] = ()


class LocalPackages(Model):
    """`.deb` files that the user has; they win over older ones of the same name."""

    base: tuple[File, ...] = Field((), description="in both roles")
    target: tuple[File, ...] = ()
    initiator: tuple[File, ...] = ()


class AddedFile(Model):
    """A file copied into the guest, owned by root."""

    source: File = Field(description="relative to the folder of the definition")
    destination: Annotated[str, AfterValidator(_absolute)]
    mode: str = Field("0644", pattern=r"^0?[0-7]{3,4}$", description="octal")
    roles: tuple[RoleName, ...] = Field(("target", "initiator"), min_length=1)


class Services(Model):
    """Units of systemd. Only what is in `enable` starts by itself, whatever packages ask for."""

    enable: tuple[str, ...] = ()
    mask: tuple[str, ...] = Field((), description="can never start, not even as a dependency")
    mask_generators: tuple[str, ...] = Field((), description="see systemd.generator(7)")


class ImageDefinition(Model):
    """Both roles' images. Paths are absolute, once read relative to the definition's folder."""

    suite: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="release codename")
    architecture: str | None = Field(
        None, pattern=r"^[a-z][a-z0-9-]*$", description="as dpkg names it; default: this machine's"
    )
    kernel: Package = Field(description="the kernel's package")
    size: Size = Field(2 * GIB, ge=512 * MIB, description="of the root file system")
    cmdline: tuple[str, ...] = Field((), description="added to the kernel command line")
    packages: Annotated[Packages, BeforeValidator(_both_roles)] = Packages()
    files: tuple[AddedFile, ...] = ()
    leave_out: tuple[Pattern, ...] = Field(
        (), description="files of packages that are not installed: path-exclude of dpkg(1)"
    )
    services: Services = Services()
    local_packages: Annotated[LocalPackages, BeforeValidator(_both_roles)] = LocalPackages()
    extra_sources: tuple[Source, ...] = Field(
        (), description="one-line 'deb …' entries, or the path of a deb822 .sources file"
    )

    _file: Path = PrivateAttr(default=Path("image.toml"))

    def model_post_init(self, context: Any) -> None:
        if context is not None:
            self._file = context["file"]

    @property
    def file(self) -> Path:
        """Where this definition was read from."""
        return self._file

    @property
    def name(self) -> str:
        """The definition's short name, such as `debian-12`."""
        return self._file.stem


def load_image(name: str) -> ImageDefinition:
    """The definition called `name` in images/, or at that path if it ends in `.toml`.

    Raises ConfigError that names the file, the key and what is allowed.
    """
    return _load(name, Path(), ())


def _load(name: str, folder: Path, extending: tuple[Path, ...]) -> ImageDefinition:
    """`extending` are the files that led here, each by its key `extends`."""
    file = folder / Path(name).expanduser() if name.endswith(".toml") else IMAGES / f"{name}.toml"
    if file.resolve() in extending:
        raise ConfigError(f"{file}: extends itself, by way of {extending[-1]}")
    raw = _read(file, name)
    require_kind(raw, "image", file)
    if isinstance(base := raw.pop("extends", None), str):
        extended = _load(base, file.parent, (*extending, file.resolve()))
        raw = _merged(extended.model_dump(mode="json", exclude_unset=True), raw)
    elif base is not None:
        raise ConfigError(f"{file}: extends: {base!r} is neither a name in images/ nor a path")
    try:
        definition = ImageDefinition.model_validate(raw, context={"file": file})
    except ValidationError as error:
        message = config_error(error, ImageDefinition, {}, str(file)).message
        raise ConfigError(message, hint="docs/images.md describes every key") from None
    _check_files(definition)
    return definition


def _read(file: Path, name: str) -> dict[str, Any]:
    try:
        return parse_toml(file.read_text())
    except OSError as error:
        known = ", ".join(sorted(f.stem for f in IMAGES.glob("*.toml")))
        raise ConfigError(
            f"image {name!r}: {file}: {error.strerror}",
            hint=f"there are {known}; or give the path of a .toml file (docs/images.md)",
        ) from None
    except ValueError as error:  # UnicodeDecodeError is one, too
        raise ConfigError(f"{file}: not valid TOML: {error}") from None


def _merged(base: Any, own: Any) -> Any:
    """`own` in front of `base`: tables are merged, lists appended, other values replaced."""
    match base, own:
        case dict(), dict():
            both = {key: _merged(base[key], own[key]) for key in base.keys() & own.keys()}
            return base | own | both
        case list(), list():
            return base + own
        case dict(), list():  # as in `local_packages`
            return _merged(base, _both_roles(own))
        case _:
            return own


def _check_files(definition: ImageDefinition) -> None:
    """Raise ConfigError for each key whose file is missing or is not what it should be."""
    problems = [
        f"{definition.file}: {key}: {problem}"
        for key, problem in (
            *_problems_of_files(definition),
            *_problems_of_packages(definition),
            *_problems_of_sources(definition),
        )
    ]
    if problems:
        raise ConfigError(
            "\n".join(problems), hint="paths are relative to the folder of the definition"
        )


def _problems_of_files(definition: ImageDefinition) -> Iterator[tuple[str, str]]:
    for number, added in enumerate(definition.files):
        if not added.source.is_file():
            yield f"files.{number}.source", f"no file {added.source}"


def _problems_of_packages(definition: ImageDefinition) -> Iterator[tuple[str, str]]:
    names: dict[str, Path] = {}  # they are laid into one folder
    for role, files in definition.local_packages:
        for number, file in enumerate(files):
            key = f"local_packages.{role}.{number}"
            if not file.is_file():
                yield key, f"no file {file}"
            elif file.suffix != ".deb" or not _begins_with(file, _ARCHIVE_MAGIC):
                yield key, f"{file} is not a .deb file that can be read"
            elif names.setdefault(file.name, file) != file:
                yield key, f"{file} has the name of {names[file.name]}"


def _problems_of_sources(definition: ImageDefinition) -> Iterator[tuple[str, str]]:
    for number, source in enumerate(definition.extra_sources):
        key = f"extra_sources.{number}"
        if not is_one_line(source):
            if not Path(source).is_file():
                yield key, f"no file {source}, nor does it begin with 'deb '"
            continue
        match = _SOURCE.fullmatch(source)
        if match is None:
            yield key, f"{source!r} is not 'deb [OPTIONS] URI SUITE COMPONENT…' (sources.list(5))"
            continue
        options = dict(option.partition("=")[::2] for option in (match["options"] or "").split())
        keyring = options.get("signed-by", "")
        if keyring and not (keyring.startswith("/") and Path(keyring).is_file()):
            yield key, f"signed-by={keyring} is not the absolute path of a keyring"


def is_one_line(source: str) -> bool:
    """Whether `source` is an entry as in sources.list(5), not the path of a file."""
    return source.startswith("deb ")


def _begins_with(file: Path, magic: bytes) -> bool:
    try:
        with file.open("rb") as content:
            return content.read(len(magic)) == magic
    except OSError:
        return False
