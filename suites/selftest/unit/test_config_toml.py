"""TOML that is odd: each is refused as a mistake, with its key, and without a traceback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.config.fleet import load_fleet
from harness.config.toml import parse_toml
from harness.errors import ConfigError
from suites.selftest.unit.config_file import complaint, refusal

MANY = "9" * 5000
TOP = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without anybody's pathproof.toml."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[topology]\nname = "x"\n', "own.toml: topology: {'name': 'x'} is none of "),
        ("[topology]\n", "own.toml: topology: {} is none of "),
        ('[[topology]]\nname = "x"\n', "own.toml: topology: [{'name': 'x'}] is none of "),
        ("[[topology]]\n", "own.toml: topology: [{}] is none of "),
        (f"[workload]\nregion = '{'9' * 400}GB'\n", "own.toml: workload.region: '999"),
        (f"[workload]\nregion = {'9' * 400}\n", "own.toml: not valid TOML: workload.region: the "),
        (f"[workload]\nregion = {MANY}\n", "own.toml: not valid TOML: workload.region: the "),
        (f"[workload]\nregion = 0x{MANY}\n", "own.toml: not valid TOML: workload.region: the "),
        ('[target]\ncredentials = "~x-y/x"\n', "own.toml: target.credentials: '~x-y/x' is not a"),
        ('[target]\ncredentials = "\\u0000x"\n', "own.toml: target.credentials: '\\x00x' is not a"),
        (f"name = {'[' * 5000}\n", "own.toml: not valid TOML: arrays or tables are nested"),
    ],
)
def test_what_is_odd_is_refused_with_its_key(text: str, says: str) -> None:
    assert complaint(text).startswith(says)


def test_a_wrong_key_leads_to_the_page_that_has_every_key() -> None:
    """And to no command that would refuse the same file for the same mistake."""
    for text in ("[target]\nkimd = 'lio'\n", "[target]\nkind = 'nothing'\n"):
        hint = refusal(text).hint
        assert "`pathproof config" not in hint
        (page,) = re.findall(r"docs/[\w-]+\.md", hint)
        assert "| `target.kind` |" in (TOP / page).read_text()


ONE = 'name = "a"\nsubnet = "10.1.0.0/24"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[initiators]\nprofile = 'stock'\n", "own.toml: initiators: there may be several, so "),
        (f"[networks]\n{ONE}", "own.toml: networks: there may be several, so write [[networks]] "),
        (f"[networks]\n{ONE}" * 2, "hint: there may be several, so write [[networks]] instead "),
        (f"[networks]\n{ONE}[[networks]]\n{ONE}", "hint: there may be several, so write [[net"),
        ("[[target]]\nkind = 'lio'\n", "there is only one, so write [target] instead of [[ta"),
        ("[[networks]]\n[target\n", "own.toml: not valid TOML: Expected"),
    ],
)
def test_wrong_brackets_are_named_with_the_right_ones(text: str, says: str) -> None:
    """Single ones are for a table, double ones for one of several."""
    error = str(refusal(text))
    assert says in error
    assert "[target\n" not in text or "so write" not in error


def test_who_means_the_one_initiator_is_told_its_name() -> None:
    """[[initiators]] are further ones."""
    assert "or [initiator] for the one" in complaint("[initiators]\nprofile = 'stock'\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[machines]\nimage = 3\n", "machines.image: must be text, in quotes (got 3)"),
        ("machines = 3\n", "machines: must be a table (got 3)"),
        ("networks = 3\n", "networks: must be a list (got 3)"),
        ("[initiator.ssh]\nhost = 'h'\nkey = 'k'\n", "initiator.ssh.host_key: is missing"),
        ("luns = [" + "{}, " * 17 + "]", "luns: must have at most 16 items"),
        ("[target]\nbackstore = 'tape'\n", "target.backstore: must be 'fileio' or 'block'"),
    ],
)
def test_what_a_value_must_be_is_said_in_plain_words(text: str, says: str) -> None:
    assert says in complaint(text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f"a = {MANY}", "a"),
        (f"[one]\nx = 1\n[[ two.three ]]\n b-c = [1, {MANY}]\n[four]\n", "two.three.b-c"),
        (f"[one]\nx = [\n{MANY},\n]\n", "line 3"),
        (f"x = {'1_' * 4999}1", "x"),
        (f"[[one]]\nx = 1\n[[one]]\nx = [0, {1 << 63}]\n", "one.1.x.1"),
        (f"x = {-(1 << 70)}", "x"),
        (f"x = {-(1 << 63) - 1}", "x"),
        (f"# {MANY}\ny = '#' # {MANY}\nx = {MANY}", "x"),
        (f'y = "{MANY}\\"{MANY}"\nw = [\'{MANY}\', """{MANY}\n"{MANY}"""]\nx = {MANY}', "x"),
    ],
)
def test_a_number_that_is_too_large_is_found(text: str, where: str) -> None:
    """By its key, or by its line if that has none."""
    with pytest.raises(ValueError, match="integers of 64 bits") as refused:
        parse_toml(text)
    assert str(refused.value).partition(": ")[0] == where


@pytest.mark.parametrize("number", [(1 << 63) - 1, -(1 << 63)])
def test_the_largest_numbers_of_toml_are_taken(number: int) -> None:
    assert parse_toml(f"x = {number}") == {"x": number}


@pytest.mark.parametrize("levels", [50, 900, 3000])
@pytest.mark.parametrize("first", ["a", "topology", "workload", "target.credentials"])
def test_what_is_nested_too_deeply_is_refused(levels: int, first: str) -> None:
    """However deep: neither the parser nor anything after it gives up with a traceback."""
    text = f"{first}{'.a' * levels} = 1\n"
    assert complaint(text) == "own.toml: not valid TOML: arrays or tables are nested too deeply"


def test_every_kind_of_file_is_read_so() -> None:
    file = Path("fleet.toml")
    file.write_text(f"[[hosts]]\nslots = {MANY}\n")
    with pytest.raises(ConfigError, match=r"^fleet\.toml: not valid TOML: hosts\.slots: "):
        load_fleet(file)
