"""The user guide keeps up with the code: keys, options, names, links."""

from __future__ import annotations

import builtins
import dis
import json
import re
import subprocess
import sys
import textwrap
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
import typer
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

import harness.checks
import harness.faults
from harness.cli.app import app
from harness.config import Config
from harness.config.networks import PortalConfig
from harness.config.overrides import OVERRIDES
from harness.config.ready import topology_names
from harness.faults.catalogue import WORDS
from harness.faults.table import markdown
from harness.hypervisor.connection import connect
from harness.measurements import Damage
from harness.plugin.options import add_options

TOP = Path(__file__).resolve().parents[3]
DOCS = TOP / "docs"
PAGES = [TOP / "README.md", TOP / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
# Where users look things up: neither what has changed nor why it was decided.
GUIDE = [page for page in PAGES if page.name not in {"CHANGELOG.md", "decisions.md"}]
EXAMPLES = [TOP / "README.md", DOCS / "configuration.md", DOCS / "callouts.md"]
_COLUMN = 40  # where the explanations begin in the block of layers
NO_DEFAULT = {"none", "required"}


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key with its field; `N` stands for a place in a list, `NAME` for one in a table."""
    for name, field in model.model_fields.items():
        if field.exclude:
            continue
        key = prefix + name
        inner = [
            one
            for one in (field.annotation, *get_args(field.annotation))
            if isinstance(one, type) and issubclass(one, BaseModel)
        ]
        if not inner or inner == [PortalConfig]:  # which may be an address, and no table
            yield key, field
            continue
        origin = getattr(field.annotation, "__origin__", None)
        place = {tuple: ".N", dict: ".NAME"}.get(origin, "") if origin else ""
        yield from fields(inner[0], f"{key}{place}.")


def documented() -> dict[str, str]:
    """Key -> default, as the page on configuration has them."""
    text = (DOCS / "configuration.md").read_text()
    rows = re.findall(r"^\| `([a-z][\w.]*)` \| ([^|]+) \|", text, re.MULTILINE)
    return {key: default.strip().strip("`") for key, default in rows}


def anchors(page: Path) -> set[str]:
    """What headings can be linked to, as GitHub forms it."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_key_is_documented() -> None:
    """No page tells of keys that are gone."""
    assert documented().keys() == dict(fields(Config)).keys()


def test_every_ready_topology_is_documented() -> None:
    """By a row of the table and a section, and there are no others."""
    text = (DOCS / "topologies.md").read_text()
    _, _, ready = text.partition("\n## Ready ones\n")
    ready, _, _ = ready.partition("\n## ")
    rows = re.findall(r"^\| `([\w-]+)` \|", ready, re.MULTILINE)
    sections = re.findall(r"^### (.+)$", ready, re.MULTILINE)
    assert sorted(rows) == topology_names()
    assert sections == rows


def test_every_key_of_a_portal_is_documented() -> None:
    """In the list below the table: it may also be an address alone."""
    text = (DOCS / "configuration.md").read_text()
    (rows,) = re.findall(
        r"^A portal is an address.*?\n\n((?:- .*\n)+)", text, re.MULTILINE | re.DOTALL
    )
    assert [name for name in PortalConfig.model_fields if f"`{name}`" not in rows] == []


@pytest.mark.parametrize(
    ("key", "field"), list(fields(Config)), ids=lambda v: v if isinstance(v, str) else ""
)
def test_documented_defaults_are_the_defaults(key: str, field: FieldInfo) -> None:
    """Read as a file's value would be."""
    says = documented()[key]
    if says in NO_DEFAULT:
        assert field.is_required() if says == "required" else field.default is None
        return
    kind: Any = field.annotation
    for constraint in field.metadata:
        kind = Annotated[kind, constraint]
    assert TypeAdapter(kind).validate_python(says) == field.default


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_examples_are_valid(page: Path) -> None:
    """Whoever copies one gets a testbed and no error."""
    examples = re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    assert examples
    for example in examples:
        Config.model_validate(tomllib.loads(example))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_whole_file_on_any_page_is_a_testbed(page: Path) -> None:
    """One with networks describes all of it, and is copied as it is."""
    examples = re.findall(r"^ *```toml\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)
    for example in map(textwrap.dedent, examples):
        if example.count("[[networks]]") > 1:
            Config.model_validate(tomllib.loads(example))


def test_the_pages_on_other_machines_have_a_whole_file_for_each() -> None:
    """An array with VMs, an array with a standing initiator, a system libvirt with networks."""
    found = set()
    for page in ("external.md", "system-libvirt.md"):
        text = (DOCS / page).read_text()
        examples = re.findall(r"^ *```toml\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
        for example in map(textwrap.dedent, examples):
            if example.count("[[networks]]") > 1:
                config = Config.model_validate(tomllib.loads(example))
                found.add((page, config.target.kind, config.initiator.machine))
    assert found == {
        ("external.md", "external", "vm"),
        ("external.md", "external", "ssh"),
        ("system-libvirt.md", "lio", "vm"),
    }


def test_libvirt_takes_the_network_on_the_page(tmp_path: Path) -> None:
    """By its test driver; its name is that of a fabric's network on the same page."""
    text = (DOCS / "system-libvirt.md").read_text()
    (example,) = re.findall(r"^```xml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    with connect("test:///default", tmp_path) as connection:
        network = connection.libvirt.networkDefineXML(example)
        assert f'network = "{network.name()}"' in text
        assert f'bridge = "{network.bridgeName()}"' in text
        assert len(network.bridgeName()) < 16  # IFNAMSIZ, with the zero at its end


def test_what_the_page_calls_defaults_is_default() -> None:
    """Networks and profiles are written out as TOML."""
    text = (DOCS / "configuration.md").read_text()
    examples = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spelled = [e for e in examples if "[[networks]]" in e or "[profiles.fast]" in e]
    assert len(spelled) == 2
    for example in spelled:
        assert Config.model_validate(tomllib.loads(example)) == Config()


def test_every_option_is_documented() -> None:
    """Of pytest's group `Pathproof`, in a table of the page on configuration."""
    parser = pytest.Parser(_ispytest=True)
    add_options(parser)
    group = parser.getgroup("pathproof")
    tables = re.findall(r"^\|.*`--.*$", (DOCS / "configuration.md").read_text(), re.MULTILINE)
    told = {option for row in tables for option in re.findall(r"`(--[\w-]+)", row)}
    names = [name for option in group.options for name in option.names()]
    assert len(names) > len(OVERRIDES)
    assert set(names) - told == set()


def test_help_names_a_key_only_where_a_file_may_have_it() -> None:
    """That data may be lost is said on the command line, each time."""
    told = {override.option: override.help for override in OVERRIDES}
    assert told["--accel"].endswith("(overrides hypervisor.accel)")
    assert "overrides" not in told["--erase"]
    keys = {key for key, _ in fields(Config)}
    assert {override.key for override in OVERRIDES if override.in_files} <= keys
    assert {override.key for override in OVERRIDES if not override.in_files} & keys == set()


@pytest.mark.parametrize(
    "example",
    re.findall(
        r"^```python\n(.*?)^```",
        (DOCS / "writing-tests.md").read_text(),
        re.MULTILINE | re.DOTALL,
    ),
    ids=lambda example: example.split("\n", 1)[0],
)
def test_a_python_example_is_python_and_imports_what_it_uses(example: str) -> None:
    """One that defines something is a whole file; else it is a part of a test."""
    code = compile(example, "example", "exec")
    if "def " not in example:
        return
    names: dict[str, Any] = {}
    exec(code, names)
    inner = [one for one in code.co_consts if isinstance(one, types.CodeType)]
    used = {
        instruction.argval
        for one in inner
        for instruction in dis.get_instructions(one)
        if instruction.opname == "LOAD_GLOBAL"
    }
    assert used
    assert used - names.keys() - set(dir(builtins)) == set()


def test_the_readme_leads_to_every_page() -> None:
    text = (TOP / "README.md").read_text().partition("## Read on")[2]
    assert [page.name for page in DOCS.glob("*.md") if f"](docs/{page.name})" not in text] == []


def test_a_report_can_be_rendered_again_as_the_page_says(tmp_path: Path) -> None:
    """The very line, on the results of one test."""
    text = (DOCS / "reports.md").read_text()
    (program,) = re.findall(r'^\./bootstrap python -c "(.+)"$', text, re.MULTILINE)
    results = tmp_path / "results"
    results.mkdir()
    result = {"uuid": "1", "name": "one", "fullName": "one", "status": "passed", "stop": 1}
    (results / "1-result.json").write_text(json.dumps(result))
    program = re.sub(r"'reports/out/[^']+'", repr(str(tmp_path)), program)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=TOP,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (str(tmp_path / "report.html"), "")
    assert (tmp_path / "html/index.html").exists()


def test_every_command_is_documented() -> None:
    """Of `pathproof`, those of its groups, too, in the table at the top of the page."""
    table = (DOCS / "command-line.md").read_text().partition("\nBefore the command")[0]
    commands = list(_commands(typer.main.get_command(app)))
    assert {("doctor",), ("cache", "ls"), ("images", "list")} <= set(commands)
    rows = {words: " ".join([*words[:-1], rf"\[?{words[-1]}(?![\w-])"]) for words in commands}
    unknown = [
        words
        for words, row in rows.items()
        if not re.search(rf"^\| `pathproof {row}", table, re.MULTILINE)
    ]
    assert unknown == []


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of each command that is no group."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name)


def test_the_table_of_faults_is_that_of_the_catalogue() -> None:
    """To print it anew: see docs/writing-tests.md."""
    text = (DOCS / "faults.md").read_text()
    (table,) = re.findall(r"^\| fault \| family \|.*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    assert table == markdown()
    assert "`Together(" in text


def test_every_word_that_chooses_faults_is_documented() -> None:
    """But for names of kinds, which are in the table above."""
    text = (DOCS / "faults.md").read_text().partition("## Choosing faults")[2]
    words = WORDS - {kind.name for kind in harness.faults.CATALOGUE}
    assert [word for word in words if f"`{word}`" not in text.partition("\n## ")[0]] == []


def test_every_check_is_documented() -> None:
    """By its name, or by what the report calls it."""
    text = "".join(page.read_text() for page in GUIDE)
    others = {"judge", "judge_each", "together"}
    checks = [n for n in harness.checks.__all__ if n[0].islower() and n not in others]
    assert len(checks) > 5
    assert [
        c for c in checks if f"`{c}" not in text and f"*{c.replace('_', ' ')}" not in text
    ] == []


def test_every_kind_of_damage_is_documented() -> None:
    """In the table of findings, by the word that the report uses."""
    text = (DOCS / "measuring.md").read_text()
    assert [kind for kind in Damage if f"| `{kind}` |" not in text] == []


def planted() -> str:
    """The sources of the suite of planted defects."""
    files = (TOP / "suites/selftest/defects").glob("*.py")
    return "".join(file.read_text() for file in files)


def test_every_detection_has_a_plant() -> None:
    """What a run noted of a plant that is gone, or has another name now, is no longer earned."""
    table = (DOCS / "detection.md").read_text().partition("\n|---|---|---|---|\n")[2]
    plants = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    assert plants
    assert [plant for plant in plants if f'"{plant}"' not in planted()] == []


def test_plants_that_are_named_before_the_table_are_there() -> None:
    """Those after which no I/O goes on, or no write."""
    page = (DOCS / "detection.md").read_text()
    told = page.partition(" For five plants this is not possible:\n")[2].partition(
        "\nNot planted:"
    )[0]
    names = [re.sub(r"\s+", " ", name) for name in re.findall(r"\*([^*]+)\*", told)]
    assert len(names) == 5 + 4
    assert [name for name in names if f'"{name}"' not in planted()] == []


def test_every_check_has_caught_a_plant() -> None:
    """The page says so; a row is lost where a run does not find its plant any more."""
    page = (DOCS / "detection.md").read_text()
    sources = "".join(file.read_text() for file in (TOP / "harness/checks").glob("*.py"))
    checks = set(re.findall(r'^@check\("([^"]+)"', sources, re.MULTILINE))
    assert checks
    assert [check for check in checks if f'"{check}"' not in planted()] == []
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| (?:fail|unknown) \|", page, re.MULTILINE)
    assert checks - set(rows) == set()


def test_every_layer_is_documented() -> None:
    """The layers are those of import-linter's contract."""
    contracts = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(c for c in contracts["contracts"] if c["id"] == "layers")["layers"]
    (block, *_) = re.findall(
        r"^```\n(.*?)^```", (DOCS / "architecture.md").read_text(), re.MULTILINE | re.DOTALL
    )
    # Only the first column: what follows is prose, in which most of these words occur, too.
    text = "\n".join(line[:_COLUMN] for line in block.splitlines())
    modules = re.findall(r"\w+", " ".join(layers))
    assert [module for module in modules if not re.search(rf"\b{module}\b", text)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Within the checkout; other addresses are not asked for."""
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}"


def test_pictures_load_nothing() -> None:
    """No script, and no address but names of XML vocabularies."""
    for picture in DOCS.glob("*.svg"):
        text = picture.read_text()
        assert not re.search(r"<(script|image|foreignObject)\b|@import", text)
        assert re.findall(r'(?:href|src)="([^#"][^"]*)"', text) == []
        assert re.findall(r"url\((?!#)", text) == []


def test_an_example_has_one_name_on_every_page() -> None:
    """A testbed's file that README names is described somewhere, and is no image definition."""
    guide = "\n".join(page.read_text() for page in DOCS.glob("*.md"))
    images = set(re.findall(r'^image = "(.+)"', guide, re.MULTILINE))
    files = re.findall(r"--testbed (\S+\.toml)", (TOP / "README.md").read_text())
    assert files
    assert images
    for file in files:
        assert f"--testbed {file}" in guide
        assert file not in images
