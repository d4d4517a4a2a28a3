"""The command line as a whole: help, messages, exit statuses, the configuration it prints."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from harness import __version__
from harness.cli import ending
from harness.cli.app import app, explain
from harness.cli.text import age, columns
from harness.config import Config, load
from harness.errors import HypervisorError, ImageError
from harness.faults import losses
from harness.guest_images.store import BuiltImage, ImageStore
from harness.testbed.guest_disks import serials
from harness.topology import Role, plan
from suites.selftest.unit.config_file import OTHER, network, two_networks


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATHPROOF_STATE", str(tmp_path / "state"))
    return CliRunner()


def test_help_imports_nothing_that_takes_long() -> None:
    """Whoever asks for help waits for it."""
    slow = "paramiko", "numpy", "libvirt", "allure_commons", "matplotlib", "cryptography"
    script = (
        "import sys; from harness.cli.app import app\n"
        f"print([name for name in {slow!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


def test_every_command_explains_itself(runner: CliRunner) -> None:
    """Each with the options that the tests have, where it makes a testbed."""
    benches = ("bench provision", "bench stall", "bench overhead", "bench clean")
    for command in ("doctor", "up", "config", "faults", "images build", *benches):
        text = runner.invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"}).output
        assert "--testbed" in text, command
        assert "--hypervisor-uri" in text, command
    for command in ("ps", "ssh", "down", "images"):
        assert runner.invoke(app, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("", ["--verbose", "--quiet", "--version"]),
        ("config", ["--json", "--toml"]),
        ("down", ["--all"]),
        ("reap", ["--kept"]),
        ("cache prune", ["--all"]),
        ("bench provision", ["--json", "--fresh-images"]),
    ],
)
def test_a_flag_takes_no_value(runner: CliRunner, command: str, flags: list[str]) -> None:
    """Its help does not look as if it took one, either."""
    text = runner.invoke(app, [*command.split(), "--help"], env={"COLUMNS": "100"}).output
    lines = [line for line in text.splitlines() if any(f" {flag} " in line for flag in flags)]
    assert len(lines) == len(flags)
    assert "<" not in "".join(lines)


def test_what_takes_no_value_shows_none(runner: CliRunner) -> None:
    """Neither `--help` itself nor a flag; all commands are looked at."""
    waiting: list[tuple[str, ...]] = [()]
    seen = 0
    while waiting:
        words = waiting.pop()
        command = typer.main.get_command(app)
        for word in words:
            command = command.commands[word]  # type: ignore[attr-defined]  # of a group
        waiting += [(*words, name) for name in getattr(command, "commands", ())]
        text = runner.invoke(app, [*words, "--help"]).output
        assert "<bool>" not in text, words
        assert "--help" in text, words
        seen += 1
    assert seen > 20


def test_each_command_that_ends_with_status_1_is_told(runner: CliRunner) -> None:
    """As the page on the commands has them."""
    page = (Path(__file__).parents[3] / "docs/command-line.md").read_text()
    (row,) = re.findall(r"^\| 1 \| (.*) \|$", page, re.MULTILINE)
    told = re.findall(r"`([a-z ]+)`: ", row)
    assert told == ["doctor", "bench stall", "bench overhead", "bench clean"]
    text = " ".join(runner.invoke(app, ["--help"]).output.split())
    assert [command for command in told if command not in text] == []


def test_the_version_is_told(runner: CliRunner) -> None:
    assert runner.invoke(app, ["--version"]).output == f"pathproof {__version__}\n"


def test_a_wrong_key_is_one_message_without_a_traceback(runner: CliRunner, tmp_path: Path) -> None:
    """It names the file, the key and what is allowed."""
    (tmp_path / "pathproof.toml").write_text('[machines]\nmemry = "1GiB"\n')
    result = runner.invoke(app, ["config"])
    assert result.exit_code == 2
    assert result.stderr.startswith("pathproof: pathproof.toml: unknown key 'machines.memry'")
    assert "Traceback" not in result.stderr
    assert "Traceback" in runner.invoke(app, ["-v", "config"]).stderr


def test_an_error_of_the_operating_system_is_a_message_too(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is not a defect of the harness."""

    def full() -> None:
        raise OSError(28, "No space left on device", "/cache/disk")

    monkeypatch.setattr("harness.cli.testbeds.all_folders", full)
    result = runner.invoke(app, ["ps"])
    assert result.exit_code == 2
    assert "pathproof: /cache/disk: No space left on device" in result.stderr


def test_several_errors_at_once_are_all_told() -> None:
    """Both machines may fail; a defect among them is not explained away."""
    group = ExceptionGroup("both", [ImageError("one", hint="do this"), HypervisorError("two")])
    assert explain(group) == ["one\nhint: do this", "two"]
    assert explain(ExceptionGroup("both", [ImageError("one"), TypeError("a defect")])) is None
    hiding = ImageError("it could not be cleaned up")
    hiding.__context__ = TypeError("a defect")
    assert explain(hiding) is None


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_once_and_cleaning_up_is_left_in_peace(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, status: int
) -> None:
    """The second Ctrl-C of an impatient person must not leave machines behind."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    cleaned = []

    def interrupted() -> list[object]:
        try:
            os.kill(os.getpid(), number)
            return []
        finally:
            os.kill(os.getpid(), number)
            cleaned.append(True)

    monkeypatch.setattr("harness.cli.testbeds.all_folders", interrupted)
    before = signal.getsignal(number)
    result = runner.invoke(app, ["ps"])
    assert (result.exit_code, cleaned) == (status, [True])
    assert "cleaning up" in result.stderr
    assert signal.getsignal(number) == before


def test_an_ignored_signal_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """nohup(1) means it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending.ending_politely():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_after_the_work_is_done_waits_for_the_cleaning_up() -> None:
    """An interrupt of the last act would leave half of it."""
    with ending.ending_politely():
        with ending.undisturbed_afterwards():
            pass
        os.kill(os.getpid(), signal.SIGINT)


def test_config_names_the_origin_of_each_value(runner: CliRunner, tmp_path: Path) -> None:
    """Default, file or option."""
    (tmp_path / "pathproof.toml").write_text("[machines]\ncpus = 2\nmemory = '1GiB'\n")
    text = runner.invoke(app, ["config", "--profile", "stock"]).output
    assert re.search(r"^machines\.cpus +2 +pathproof\.toml$", text, re.MULTILINE)
    assert re.search(r"^machines\.memory +\S+ \(1\.0 GiB\) +pathproof\.toml$", text, re.MULTILINE)
    assert re.search(r"^initiator\.profile +stock +--profile$", text, re.MULTILINE)
    assert re.search(r"^machines\.mirror +- +default$", text, re.MULTILINE)
    assert re.search(r"^hypervisor\.fork +true +default$", text, re.MULTILINE)


def test_config_shows_the_size_of_each_lun_as_other_sizes(
    runner: CliRunner, tmp_path: Path
) -> None:
    """In bytes, and with a unit for people."""
    (tmp_path / "pathproof.toml").write_text("[[luns]]\nsize = '300MiB'\n[[luns]]\nsize = '1GiB'\n")
    text = runner.invoke(app, ["config"]).output
    assert re.search(r"^luns\.0\.size +314572800 \(300\.0 MiB\) ", text, re.MULTILINE)
    assert re.search(r"^luns\.1\.size +1073741824 \(1\.0 GiB\) ", text, re.MULTILINE)


def test_config_ends_with_what_its_values_come_to(runner: CliRunner, tmp_path: Path) -> None:
    """Names, addresses, LUNs, and each loss that the suite would try."""
    (tmp_path / "pathproof.toml").write_text(
        network('"10.1.0.1", "10.1.0.2"', name="left") + OTHER.replace('"b"', '"right"')
    )
    text = runner.invoke(app, ["config"]).output
    rows = [line.split() for line in text.partition("\nPATH ")[2].splitlines()]
    assert ["left1", "left", "10.1.0.101", "left1", "10.1.0.1:3260"] in rows
    assert ["right", "right", "10.2.0.101", "right", "10.2.0.1:3260"] in rows
    assert ["lun0", "9.3", "GiB"] in rows
    assert ["LinkDown(left)", "left1,", "left2"] in rows
    topology = plan(load().config)
    told = [row[0] for row in rows if row and row[0].endswith(")")]
    assert told == [loss.name for loss in losses(topology, lambda _: True)]


def test_config_says_which_losses_this_lab_has_no_means_for(
    runner: CliRunner, tmp_path: Path
) -> None:
    """Their tests are skipped."""
    (tmp_path / "pathproof.toml").write_text(f'[target]\nkind = "external"\n{two_networks()}')
    text = runner.invoke(app, ["config"]).output
    assert re.search(r"^SilentDrop\(a\) +a +it needs commands on the target", text, re.MULTILINE)
    assert re.search(r"^InitiatorDrop\(a\) +a$", text, re.MULTILINE)
    assert re.search(r"^lun0 +the only one there$", text, re.MULTILINE)


def test_config_as_json_has_value_and_origin(runner: CliRunner) -> None:
    values = json.loads(runner.invoke(app, ["config", "--json", "--name", "other"]).output)
    assert values["name"] == {"value": "other", "origin": "--name"}
    assert values["machines.memory"] == {"value": 768 * 2**20, "origin": "default"}


def test_config_as_toml_is_the_same_configuration_again(runner: CliRunner, tmp_path: Path) -> None:
    """What is printed can be kept in a file, changed and used."""
    file = tmp_path / "again.toml"
    file.write_text(runner.invoke(app, ["config", "--toml", "--accel", "tcg"]).output)
    given = {"hypervisor.accel": ("tcg", "--accel")}
    assert load(file).config == load(options=given).config


@pytest.mark.parametrize("role", list(Role))
def test_config_as_xml_is_the_domain_of_a_machine(
    role: Role, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One document, by the options that were given; the other role has its own."""
    image = BuiltImage("f", Path("/i/d"), Path("/i/kernel"), Path("/i/initrd"), "root=/dev/vda", "")
    monkeypatch.setattr(ImageStore, "find", lambda *_: image)
    options = ["--accel", "tcg", "--name", "mine", "--hypervisor-uri", "qemu:///system"]
    domain = ET.fromstring(runner.invoke(app, ["config", "--xml", role, *options]).stdout)
    assert (domain.get("type"), domain.findtext("name")) == ("qemu", f"mine-{role}")
    assert domain.findtext("os/kernel") == "/i/kernel"
    config = Config()
    disks = [str(source.get("file")) for source in domain.iterfind("devices/disk/source")]
    assert disks == [
        f"/TESTBED/{role}-{serial}.qcow2" for serial in serials(role, config.target, plan(config))
    ]
    wires = [nic.attrib for nic in domain.iterfind("devices/interface/source")]
    assert [wire["port"] for wire in wires] == ["20003", "20004"]


def test_config_as_xml_says_what_it_needs(runner: CliRunner, tmp_path: Path) -> None:
    """An image that is built, and a machine that is made."""
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    unbuilt = runner.invoke(app, ["config", "--xml", "target", "--accel", "tcg"], env=home)
    assert unbuilt.exit_code == 2
    assert "the image debian-12 of the target is not built" in unbuilt.stderr
    assert "pathproof images build" in unbuilt.stderr
    (tmp_path / "array.toml").write_text(
        '[target]\nkind = "external"\n[initiator]\nmachine = "local"\n'
    )
    none = runner.invoke(app, ["config", "--xml", "initiator", "--testbed", "array.toml"])
    assert "no VM is made for the initiator" in none.stderr
    both = runner.invoke(app, ["config", "--xml", "target", "--toml"])
    assert both.exit_code == 2
    assert "one of --json, --toml and --xml" in both.stderr


def test_columns_line_up_and_nothing_is_cut() -> None:
    """A pipe must get every character, at any width of the terminal."""
    long = "x" * 300
    assert columns([("NAME", "AGE"), (long, "1 s")]).splitlines()[1] == f"{long}  1 s"


def test_ages_are_told_in_one_unit() -> None:
    told = [age(s) for s in (-1, 59, 60, 3599, 3600, 86400, 172800)]
    assert told == ["0 s", "59 s", "1 min", "59 min", "1 h", "24 h", "2 days"]
