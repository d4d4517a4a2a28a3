"""A secret is planted, and everything that is written, said or run is searched for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.config import Config, load
from harness.config.credentials import ChapConfig
from harness.config.model import TargetKind
from harness.config.profiles import FAST
from harness.errors import ConfigError, HarnessError, InitiatorError, TargetError
from harness.guest_images.store import BuiltImage
from harness.provision.snapshot import determinants
from harness.steps import Attachment, Listener, Step, listening
from harness.target import KINDS, Target, target_for
from harness.topology import Role, plan
from harness.transport import IscsiInitiator
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

ROOT = Path(__file__).parents[3]
PLANTED = ("Planted+Incoming/7", "Planted+Outgoing/8")
FILE = f"""
[incoming]
user = "me"
secret = "{PLANTED[0]}"

[outgoing]
user = "you"
secret = "{PLANTED[1]}"
"""
MADE = [kind for kind in KINDS if kind != "external"]


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of credentials in an otherwise empty current folder."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "chap.toml"
    file.touch(mode=0o600)
    file.write_text(FILE)
    return file


@pytest.fixture(params=MADE)
def config(credentials: Path, request: pytest.FixtureRequest) -> Config:
    options = {
        "target.kind": (request.param, "--target"),
        "target.credentials": (str(credentials), "--credentials"),
    }
    return load(None, options).config


class Everything(Listener):
    """Keeps all that steps say."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def started(self, step: Step) -> None:
        self.said.append(step.title)

    def progressed(self, step: Step, message: str, fraction: float | None) -> None:
        self.said.append(message)

    def warned(self, message: str) -> None:
        self.said.append(message)

    def attached(self, step: Step | None, attachment: Attachment) -> None:
        self.said.append(f"{attachment.name}\n{attachment.content.decode()}")

    def finished(self, step: Step, error: BaseException | None) -> None:
        if error is not None:
            self.said += ["".join(traceback.format_exception(error)), repr(error)]


@pytest.fixture
def everything() -> Iterator[Everything]:
    listener = Everything()
    with listening(listener):
        yield listener


def assert_unseen(text: str) -> None:
    for secret in PLANTED:
        assert secret not in text
        assert secret[:12] not in text  # not even what a display cuts off


def arguments(machine: ScriptedMachine) -> str:
    return str([asked.argv for asked in machine.asked])


def input_of(machine: ScriptedMachine) -> bytes:
    return b"".join(asked.stdin for asked in machine.asked)


def target_on(machine: ScriptedMachine, config: Config) -> Target:
    return target_for(config.target, machine, plan(config))


def initiator_on(machine: ScriptedMachine, config: Config) -> IscsiInitiator:
    return IscsiInitiator(machine, plan(config), FAST, ("3600",), config.target.chap)


def answers_of_a_portal(asked: Asked) -> Answer:
    """Discovery is answered; a login is refused, as with a wrong secret."""
    if "sendtargets" in asked.argv:
        topology = plan(Config())
        lines = [f"{one.portal},1 {topology.target_iqn}" for one in topology.portals]
        return Answer("\n".join(lines))
    if "--login" in asked.argv:
        return Answer(
            stderr="iscsiadm: initiator reported error (24 - iSCSI login failed due to "
            "authorization failure)",
            status=24,
        )
    return Answer()


def test_the_configuration_does_not_show_it(config: Config, credentials: Path) -> None:
    """However it is printed, dumped, sent to another host or hashed for a snapshot."""
    loaded = load(None, {"target.credentials": (str(credentials), "--credentials")})
    images = {role: BuiltImage("", Path("disk"), Path(), Path(), "", "") for role in Role}
    assert config.target.chap is not None
    assert config.target.chap.incoming.revealed == PLANTED[0]
    assert_unseen(repr(config) + str(config) + config.model_dump_json())
    assert_unseen(str([*loaded.settings(), loaded]))
    assert_unseen(json.dumps(determinants(config, images, "tcg", {})))


def test_no_target_shows_it(config: Config, everything: Everything) -> None:
    """In arguments, attachments, steps or errors; it travels by standard input."""
    machine = ScriptedMachine()
    with pytest.raises(TargetError) as error:  # nothing runs on this machine
        target_on(machine, config).configure()
    assert PLANTED[0].encode() in input_of(machine)
    assert PLANTED[1].encode() in input_of(machine)
    assert everything.said
    assert_unseen(arguments(machine) + "\n".join(everything.said) + repr(error.value))


def test_no_target_shows_it_when_the_machine_fails(config: Config, everything: Everything) -> None:
    """Whichever command it is that fails."""
    count = 0

    def fails_at(last: int) -> ScriptedMachine:
        def answer(_: Asked) -> Answer:
            nonlocal count
            count += 1
            return Answer(stderr="refused", status=int(count == last))

        return ScriptedMachine(answer)

    for last in range(1, 8):
        count = 0
        machine = fails_at(last)
        with pytest.raises(HarnessError):
            target_on(machine, config).configure()
        assert_unseen(arguments(machine))
    assert_unseen("\n".join(everything.said))


def test_the_initiator_does_not_show_it(config: Config, everything: Everything) -> None:
    """And a refused login is one clear error, of the portal that refused."""
    machine = ScriptedMachine(answers_of_a_portal)
    with pytest.raises(InitiatorError) as error:
        initiator_on(machine, config).log_in()
    assert str(error.value).startswith(
        "portal 172.16.0.1:3260 (a): login rejected: authorization failure (02/01"
    )
    assert PLANTED[0].encode() in input_of(machine)
    assert PLANTED[1].encode() in input_of(machine)
    assert_unseen(arguments(machine) + "\n".join(everything.said) + repr(error.value))


@pytest.mark.parametrize(
    "content",
    [
        FILE.replace('secret = "', 'secrets = "', 1),
        FILE.replace(f'"{PLANTED[1]}"', f'["{PLANTED[1]}"]'),
        FILE.replace(PLANTED[1], PLANTED[0]),
        FILE.replace("[outgoing]", f"[{PLANTED[1]!r}."),
        f'incoming = "{PLANTED[0]}"',
        FILE.replace("[incoming]", "incoming ="),
    ],
)
def test_a_wrong_file_is_refused_without_quoting_it(credentials: Path, content: str) -> None:
    """Nor does the error that led to it."""
    credentials.write_text(content)
    with pytest.raises(ConfigError) as error:
        load(None, {"target.credentials": (str(credentials), "--credentials")})
    shown = "".join(traceback.format_exception(error.value)) + repr(error.value)
    assert_unseen(shown)
    assert str(credentials) in error.value.message


TESTS = '''
"""What a run may do with credentials, and how it may fail."""
import logging
import pytest
from harness import steps
from harness.plugin.run import KEY
from suites.selftest.unit.test_secrets import (
    ScriptedMachine, answers_of_a_portal, initiator_on, target_on
)

@pytest.fixture
def config(pytestconfig):
    return pytestconfig.stash[KEY].config

def test_configuration(config):
    """It is printed and logged, and an assertion shows it."""
    print(config)
    logging.getLogger().warning("%r", config)
    assert config == config.target

def test_target(config):
    """The target is configured, and then it does not run."""
    target_on(ScriptedMachine(), config).configure()

def test_login(config):
    """The login is refused."""
    initiator_on(ScriptedMachine(answers_of_a_portal), config).log_in()

def test_defect(config):
    """Something in the middle breaks, with the secret in hand."""
    initiator_on(Broken(answers_of_a_portal), config).log_in()

def test_defect_of_a_target(config):
    """Likewise, with a whole configuration in hand."""
    target_on(Broken(), config).configure()

class Broken(ScriptedMachine):
    def run(self, argv, *, stdin=b"", **more):
        if stdin:
            text, part = stdin.decode(), bytes(stdin)[1:]
            raise RuntimeError("broke")
        return super().run(argv, stdin=stdin, **more)
'''


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize(
    "options",
    [["-q"], ["-v", "--tb=long"], ["-vv", "--showlocals", "--full-trace"]],
    ids=["brief", "long", "verbose"],
)
def test_nothing_that_a_run_writes_has_it(
    tmp_path: Path, credentials: Path, kind: TargetKind, options: list[str]
) -> None:
    """Terminal, results, report, verdicts: of tests that fail in every way."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "conftest.py").write_text('pytest_plugins = ["harness.plugin"]\n')
    (folder / "test_planted.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--rootdir={folder}", "-p", "no:cacheprovider",
         f"--credentials={credentials}", f"--target={kind}", "--reports=out", "--log-level=DEBUG",
         str(folder)],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=120,
        check=False,
    )  # fmt: skip
    said = done.stdout.decode() + done.stderr.decode()
    assert "1 failed, 4 errors" in said, said
    assert_unseen(said)
    written = [file for file in folder.rglob("*") if file.is_file()]
    assert any(file.name.endswith("-result.json") for file in written)
    for file in written:
        assert_unseen(file.read_bytes().decode(errors="replace"))


def test_it_would_be_found() -> None:
    """The search itself is no good if it finds nothing."""
    with pytest.raises(AssertionError):
        assert_unseen(f"password={PLANTED[1]}")
    chap = ChapConfig.model_validate(
        {
            "incoming": {"user": "me", "secret": PLANTED[0]},
            "outgoing": {"user": "you", "secret": PLANTED[1]},
        }
    )
    assert_unseen(chap.hidden_in(f"{PLANTED[0]} {PLANTED[1]}"))
