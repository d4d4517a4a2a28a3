"""CHAP credentials: where they come from, and what is refused before anything is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Config, Loaded, load
from harness.config.credentials import VARIABLES, ChapConfig, Confidential
from harness.errors import ConfigError

FILE = """
[incoming]
user = "me"
secret = "correct-horse"
"""
BOTH = FILE + '[outgoing]\nuser = "you"\nsecret = "battery-staple"\n'


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without anybody's pathproof.toml, and no credentials of the user's."""
    monkeypatch.chdir(tmp_path)
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)


def written(content: str, name: str = "chap.toml", mode: int = 0o600) -> Path:
    file = Path(name)
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    file.chmod(mode)
    return file


def loaded(content: str = FILE, kind: str = "lio", mode: int = 0o600) -> Loaded:
    file = written(content, mode=mode)
    return load(
        None,
        {
            "target.kind": (kind, "--target"),
            "target.credentials": (str(file), "--credentials"),
        },
    )


def complaint(content: str = FILE, kind: str = "lio", mode: int = 0o600) -> ConfigError:
    with pytest.raises(ConfigError) as refusal:
        loaded(content, kind, mode)
    return refusal.value


def secret(length: int) -> str:
    return FILE.replace("correct-horse", "x" * length)


def test_without_credentials_there_is_no_chap() -> None:
    """The built-in testbed lets its initiator in by name."""
    assert load().config.target.chap is None


def test_a_file_has_one_direction_or_both() -> None:
    """The initiator proves itself; the target does in return if it is told how."""
    one = loaded().config.target.chap
    assert one is not None
    assert (one.incoming.user, one.incoming.revealed) == ("me", "correct-horse")
    assert one.outgoing is None
    both = loaded(BOTH).config.target.chap
    assert both is not None
    assert both.outgoing is not None
    assert (both.outgoing.user, both.outgoing.revealed) == ("you", "battery-staple")


def test_a_file_is_found_beside_the_one_that_names_it() -> None:
    """Wherever the run is started."""
    written(FILE, "lab/chap.toml")
    testbed = written('[target]\ncredentials = "chap.toml"\n', "lab/bed.toml")
    assert load(testbed).config.target.chap is not None


def test_the_environment_may_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI does that. A file that is named goes first."""
    for variable, text in zip(VARIABLES.values(), ("a", "b" * 12, "c", "d" * 12), strict=True):
        monkeypatch.setenv(variable, text)
    chap = load().config.target.chap
    assert chap is not None
    assert chap.outgoing is not None
    assert (chap.incoming.user, chap.outgoing.revealed) == ("a", "d" * 12)
    by_file = loaded().config.target.chap
    assert by_file is not None
    assert by_file.incoming.user == "me"


def test_half_an_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variable that is missing."""
    monkeypatch.setenv("PATHPROOF_CHAP_SECRET", "x" * 12)
    with pytest.raises(ConfigError, match="the environment: PATHPROOF_CHAP_USER: Field required"):
        load()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644])
def test_a_file_that_others_can_touch_is_refused(mode: int) -> None:
    """With the command that mends it."""
    error = complaint(mode=mode)
    assert error.message == f"chap.toml: others can read these credentials (mode {mode:04o})"
    assert error.hint.startswith("chmod 600 chap.toml")


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_is_taken(mode: int) -> None:
    """Also one that cannot be written to."""
    assert loaded(mode=mode).config.target.chap is not None


def test_a_missing_file_is_named() -> None:
    """By the path that was looked at."""
    with pytest.raises(ConfigError, match=r"missing\.toml: No such file"):
        load(None, {"target.credentials": ("missing.toml", "--credentials")})


def test_secrets_in_the_configuration_itself_are_refused() -> None:
    """It is printed, attached and sent to other hosts."""
    file = written('[target.chap.incoming]\nuser = "me"\nsecret = "correct-horse"\n', "own.toml")
    with pytest.raises(ConfigError, match="secrets do not belong into this file") as refusal:
        load(file)
    assert "target.credentials" in refusal.value.hint


@pytest.mark.parametrize("kind", ["lio", "tgt", "iet"])
@pytest.mark.parametrize(("length", "taken"), [(11, False), (12, True), (255, True), (256, False)])
def test_our_targets_want_secrets_of_96_bits(kind: str, length: int, taken: bool) -> None:
    """No secret may have more than 255 characters."""
    if taken:
        loaded(secret(length), kind)
        return
    assert (
        f"chap.toml: target.chap: incoming.secret: {length} characters; {kind} takes 12 to 255"
        in complaint(secret(length), kind).message
    )


def test_both_secrets_must_differ() -> None:
    """Otherwise a challenge could be sent back as its own answer."""
    same = BOTH.replace("battery-staple", "correct-horse")
    assert "are the same" in complaint(same).message


def test_tgt_knows_each_user_once() -> None:
    """Its accounts are named by their users; LIO keeps two places."""
    same = BOTH.replace('"you"', '"me"')
    assert "tgt has one of each" in complaint(same, "tgt").message
    loaded(same, "lio")


@pytest.mark.parametrize("text", ["NULL-and-void", "NULLNULLNULL"])
def test_lio_means_nothing_by_null(text: str) -> None:
    """It would switch CHAP off, and every login would succeed."""
    assert "begins with NULL" in complaint(FILE.replace("correct-horse", text)).message
    loaded(FILE.replace("correct-horse", text), "tgt")


@given(st.text(min_size=12, max_size=40).filter(lambda text: "NULL" not in text))
def test_what_a_file_on_the_way_would_take_for_something_else_is_refused(text: str) -> None:
    """Blanks end a value, commas separate parameters, quotes and # are not always data."""
    chap = ChapConfig.model_validate({"incoming": {"user": "me", "secret": text}})
    plain = text.isascii() and text.isprintable() and not set(" \"'#\\,") & set(text)
    assert (chap.problem("lio") is None) is plain


def test_confidential_bytes_are_bytes_that_do_not_show() -> None:
    """They are sent as they are."""
    data = Confidential(b"correct-horse")
    assert data == b"correct-horse"
    assert repr(data) == str(data) == "<13 confidential bytes>"
    assert f"{Config()} {data!r}".count("horse") == 0
