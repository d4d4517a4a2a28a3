"""`pathproof config`: what holds, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, get_args

import tomli_w
import typer
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from harness.cli.options import NAME, Json, configured
from harness.cli.text import columns
from harness.config import Config, Loaded
from harness.config.load import Setting
from harness.units import format_size, parse_size

_ALSO = (
    "`suites/failover` tries each of these losses. It also takes away each path in turn, and all "
    "paths at once."
)


@configured(NAME)
def config(
    loaded: Loaded,
    *,
    as_json: Json = False,
    as_toml: Annotated[
        bool, typer.Option("--toml", metavar="", help="Print a file that `--testbed` takes.")
    ] = False,
    domain: Annotated[
        str | None,
        typer.Option(
            "--xml", help="Print the libvirt domain of a machine: target, initiator, or another."
        ),
    ] = None,
) -> None:
    """Print the effective configuration, with the origin of each value."""
    if [as_json, as_toml, domain is not None].count(True) > 1:
        raise typer.BadParameter("one of --json, --toml and --xml")
    if domain is not None:
        from harness.provision.preview import domain_xml

        typer.echo(domain_xml(loaded.config, domain))
        return
    if as_toml:
        # The networks stand there themselves, and are not given beside a ready topology.
        stated = loaded.config.model_dump(mode="json", exclude_none=True, exclude={"topology"})
        typer.echo(tomli_w.dumps(stated), nl=False)
        return
    settings = list(loaded.settings())
    if as_json:
        values = {s.key: {"value": s.value, "origin": s.origin} for s in settings}
        typer.echo(json.dumps(values, indent=2))
        return
    sizes = set(_sizes(loaded.config))
    rows = [(s.key, _shown(s, is_size=s.key in sizes), s.origin) for s in settings]
    typer.echo(columns([("KEY", "VALUE", "ORIGIN"), *rows]))
    typer.echo(f"\n{_testbed(loaded.config)}")


def _testbed(config: Config) -> str:
    """What the values come to: the paths and LUNs, and what the tests take away."""
    from harness.faults import losses
    from harness.testbed.means import lacking, possible
    from harness.topology import plan

    topology = plan(config)
    made = config.target.is_made
    paths = [
        (one.name, one.link.name, f"{one.link.address}", one.portal.name, f"{one.portal.portal}")
        for one in topology.paths
    ]
    luns = [
        (one.name, format_size(one.lun.size) if made else one.lun.wwid or "the only one there")
        for one in topology.maps
    ]
    every = losses(topology, possible(config))
    tried = [
        (loss.name, ", ".join(loss.hits(topology)), lacking(config, loss.needs)) for loss in every
    ]
    why = "SKIPPED BECAUSE" if any(reason for *_, reason in tried) else ""
    header = ("LOSS", "PATHS THAT IT TAKES", why)
    tables = [
        columns([("PATH", "LINK", "INITIATOR", "PORTAL", "TARGET"), *paths]),
        columns([("LUN", "SIZE" if made else "WWID"), *luns]),
        columns([header, *tried]),
    ]
    return "\n\n".join(tables) + f"\n\n{_ALSO}"


def _shown(setting: Setting, *, is_size: bool) -> str:
    if setting.value is None:
        return "-"
    if is_size and isinstance(setting.value, int):
        return f"{setting.value} ({format_size(setting.value)})"
    return setting.value if isinstance(setting.value, str) else json.dumps(setting.value)


def _sizes(model: BaseModel, prefix: str = "") -> Iterator[str]:
    """The dotted keys of all values that may be written with a unit, such as `768MiB`."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _sizes(value, f"{prefix}{name}.")
        elif isinstance(value, tuple):
            for number, one in enumerate(value):
                if isinstance(one, BaseModel):
                    yield from _sizes(one, f"{prefix}{name}.{number}.")
        elif _is_size(field):
            yield prefix + name


def _is_size(field: FieldInfo) -> bool:
    """Of a value that may be None the type is one of several."""
    of_types = [getattr(one, "__metadata__", ()) for one in get_args(field.annotation)]
    return any(BeforeValidator(parse_size) in found for found in (field.metadata, *of_types))
