"""A file that is of another kind than the option takes: the message says which option does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from harness.config import Config, load
from harness.config.fleet import FleetConfig, load_fleet
from harness.config.image import ImageDefinition, load_image
from harness.config.kinds import KEYS, Kind
from harness.errors import ConfigError

FILES: dict[Kind, str] = {
    "testbed": '[machines]\nimage = "iet-image.toml"\n[target]\nkind = "iet"\n',
    "image": 'extends = "debian-12"\nkernel = "linux-image-6.1.0-56-cloud-amd64"\n',
    "fleet": '[[hosts]]\naddress = "a"\n',
}
LOADERS: dict[Kind, Callable[[Path], Any]] = {
    "testbed": load,
    "image": lambda file: load_image(str(file)),
    "fleet": load_fleet,
}
CURES: dict[Kind, str] = {
    "testbed": "give it to --testbed",
    "image": '`image = "iet.toml"` in [machines]',
    "fleet": "give it to --fleet",
}


@pytest.mark.parametrize("wanted", FILES)
@pytest.mark.parametrize("given", FILES)
def test_a_file_of_another_kind_is_recognised(wanted: Kind, given: Kind, tmp_path: Path) -> None:
    """README once named for --testbed what docs/iet.md called the image definition."""
    file = tmp_path / "iet.toml"
    file.write_text(FILES[given])
    if wanted == given:
        LOADERS[wanted](file)
        return
    with pytest.raises(ConfigError) as caught:
        LOADERS[wanted](file)
    assert str(file) in caught.value.message
    assert "unknown key" not in caught.value.message
    assert CURES[given] in caught.value.hint


@pytest.mark.parametrize("wanted", FILES)
def test_a_mistake_in_a_file_of_the_right_kind_is_told_as_such(
    wanted: Kind, tmp_path: Path
) -> None:
    """Also if the mistake is a key of another kind."""
    file = tmp_path / "own.toml"
    other = "size = 1\n" if wanted != "image" else 'name = "x"\n'
    file.write_text(other + FILES[wanted])
    with pytest.raises(ConfigError, match=r"unknown key '(size|name)'"):
        LOADERS[wanted](file)


@pytest.mark.parametrize(
    ("kind", "model"), [("testbed", Config), ("image", ImageDefinition), ("fleet", FleetConfig)]
)
def test_each_kind_is_known_by_all_of_its_keys(kind: Kind, model: type[BaseModel]) -> None:
    """And no two have one in common; `extends` is no key of the definition that comes of it.

    By `fabrics` an old file is known as one of a testbed, whose user is told what that is now.
    """
    assert KEYS[kind] - {"extends", "fabrics"} == model.model_fields.keys()
    assert not any(KEYS[kind] & keys for other, keys in KEYS.items() if other != kind)
