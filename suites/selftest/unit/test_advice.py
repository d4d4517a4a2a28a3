"""What messages, help and docs tell people to type is there: every command and every option."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from harness.cli.app import app
from harness.plugin.options import add_options

TOP = Path(__file__).resolve().parents[3]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
SOURCES = sorted((TOP / "harness").rglob("*.py"))
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
TYPED = re.compile(r"(?<![\w./-])(pathproof|pytest)((?: +(?!-> )[^\s`|;&>]+)*)")
# Options of other programs are in texts that name the program before. What is a word of plain
# English, too, counts only in the same span of code.
OTHERS = re.compile(
    r"\b(apt-get|busybox|dmsetup|fio|journalctl|lsns|mdadm|mkdir|sg_inq|sg_persist|sg_rtpg|systemctl"
    r"|systemd-run|systemd-tmpfiles|tar|udevadm|usermod|vgchange|virsh|iscsiadm|modprobe"
    r"|rescan-scsi-bus.sh)\b"
    r"|[`/\n(](bootstrap|configure|env|find|ss|stat)\b[^`]*$"
)
# Of bootstrap, of suites/selftest/crash/kill_trial.py, and of suites/selftest/mutation.
OF_SCRIPTS = {"--with", "--workers", "--again", "--seconds"}
OF_XDIST = {"--dist", "--tx"}


def spans(text: str) -> Iterator[str]:
    """What a page shows as code: each span, and each line of each block."""
    blocks = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
    for block in blocks.findall(text):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`]+)`", blocks.sub("", text).replace("\n", " "))


def messages(node: ast.AST, *, docstrings: bool) -> Iterator[str]:
    """Every string below `node` that has words; X stands for what is filled in."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    if isinstance(node, ast.JoinedStr | ast.Constant):
        values = (part.value if isinstance(part, ast.Constant) else "X" for part in parts)
        text = "".join(map(str, values))
        if " " in text and not text.startswith("--"):
            yield text
        for part in parts:
            if isinstance(part, ast.FormattedValue):  # what is filled in may be a choice of texts
                yield from messages(part.value, docstrings=docstrings)
    elif docstrings or not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        for child in ast.iter_child_nodes(node):
            yield from messages(child, docstrings=docstrings)


def wrong_with(typed: str, of_pytest: set[str]) -> str:
    """What of a command line of `pathproof` or `pytest` is not there; empty if all is."""
    program, *words = typed.partition("#")[0].split()
    options = {found[0] for word in words if (found := OPTION.match(word))}
    if program == "pytest":
        return ", ".join(sorted(options - of_pytest))
    command: Any = typer.main.get_command(app)
    known = names_of(command)
    for word in words:
        commands = getattr(command, "commands", {})
        if word.startswith("-") or not commands:
            continue
        if not re.fullmatch(r"[a-z]+", word):  # "…", a name in capitals
            break
        if word not in commands:
            return word
        command = commands[word]
        known |= names_of(command)
    return ", ".join(sorted(options - known))


def names_of(command: Any) -> set[str]:
    return {"--help", *(name for param in command.params for name in param.opts)}


@pytest.fixture(scope="module")
def of_pytest(pytestconfig: pytest.Config) -> set[str]:
    """Its own options, those of its plugins, and those of this project."""
    parser = pytestconfig._parser
    groups = [parser._anonymous, *parser._groups]
    names = (name for group in groups for option in group.options for name in option.names())
    return {"--help", *names}


@pytest.fixture(scope="module")
def of_project() -> set[str]:
    """Every option that this project brings, and so can give advice on."""
    parser = pytest.Parser(_ispytest=True)
    add_options(parser)
    found = {name for o in parser.getgroup("pathproof").options for name in o.names()}
    waiting: list[Any] = [typer.main.get_command(app)]
    while waiting:
        command = waiting.pop()
        found |= names_of(command)
        waiting += getattr(command, "commands", {}).values()
    return found | OF_SCRIPTS | OF_XDIST


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_tells_to_type_is_there(
    page: Path, of_pytest: set[str], of_project: set[str]
) -> None:
    wrong = []
    for span in spans(page.read_text()):
        typed = [match[0] for match in TYPED.finditer(span)]
        wrong += [f"{one}: {why}" for one in typed if (why := wrong_with(one, of_pytest))]
        if span.startswith("--"):
            wrong += [name for name in OPTION.findall(span) if name not in of_project | of_pytest]
    assert wrong == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(TOP)))
def test_what_a_message_tells_to_type_is_there(
    path: Path, of_pytest: set[str], of_project: set[str]
) -> None:
    """`--alluredir` is an option of pytest's, but a run of this project would ignore it."""
    shown = "cli" in path.parts  # docstrings are `--help` there
    wrong = []
    for message in messages(ast.parse(path.read_text()), docstrings=shown):
        typed = [match[0] for match in TYPED.finditer(message)]
        wrong += [f"{one}: {why}" for one in typed if (why := wrong_with(one, of_pytest))]
        for option in OPTION.finditer(message):
            if option[0] not in of_project and not OTHERS.search(message[: option.start()]):
                wrong.append(f"{option[0]}: {message!r}")
    assert wrong == []


def test_a_message_is_found_wherever_it_is_put_together() -> None:
    """A literal, an f-string, and a choice within one; no word alone, which is an argument."""
    source = """
def f():
    "docs of f"
    return f"a {x} b" + g(f"c {'d e' if y else 'f g'}", "alone")
"""
    found = ["a X b", "c X", "d e", "f g"]
    assert sorted(messages(ast.parse(source), docstrings=False)) == found
    assert sorted(messages(ast.parse(source), docstrings=True)) == sorted([*found, "docs of f"])


def test_an_option_of_another_program_is_known_by_that_program() -> None:
    """English words are no programs."""
    for text in ("`fio ", "virsh -c qemu:///system ", "`./configure ", "as root: `find / "):
        assert OTHERS.search(text)
    for text in ("configure it by ", "`find /`, then ", "stat and env: "):
        assert not OTHERS.search(text)


def test_this_test_sees_what_is_not_there(of_pytest: set[str]) -> None:
    for typed in ("pathproof fly", "pathproof bench fly", "pathproof ps --flying", "pytest --fly"):
        assert wrong_with(typed, of_pytest)
    for typed in ("pathproof --quiet bench stall --fault X", "pathproof down NAME", "pytest -n 2"):
        assert wrong_with(typed, of_pytest) == ""
