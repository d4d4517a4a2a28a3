"""What `--require` tries on this host, with real machines that take a second each."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.config import Config
from harness.config.fleet import HostConfig
from harness.errors import CommandTimedOut, HarnessError, HypervisorError, MachineError
from harness.fleet import Ready, prepare
from harness.fleet.prepare import Unmet, try_required
from harness.hypervisor import helper, trial
from harness.hypervisor.accel import Kvm
from harness.lacking import Lacking, no_kvm_as_required
from harness.plugin.required import refuse_unmet
from harness.provision import requirements
from harness.provision.requirements import Answer
from suites.selftest import needs

ROOT = Path(__file__).parents[3]
NO_NAMESPACES = needs.no_namespaces()
KVM = Kvm(usable=False, proven=True, reason="/dev/kvm is missing")
FORKS = Config.model_validate({"require": "forks", "hypervisor": {"accel": "tcg"}})


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Testbeds and cache of this test alone, on a short path, since sockets are below it."""
    with tempfile.TemporaryDirectory(prefix="pathproof-", dir="/tmp") as folder:
        names = {"PATHPROOF_STATE": f"{folder}/s", "XDG_CACHE_HOME": f"{folder}/c"}
        for name, value in names.items():
            monkeypatch.setenv(name, value)
        yield names


def test_a_machine_is_saved_and_restored_and_its_cable_carries(places: dict[str, str]) -> None:
    """By the connection and the domain XML that testbeds use; nothing is left afterwards."""
    program = """
import sys
from pathlib import Path
from types import SimpleNamespace
from harness.config.uri import EMBEDDED
from harness.hypervisor.connection import connect
from harness.hypervisor.trial import try_machine
from harness.host.folder import claimed
with claimed("trial") as folder, connect(EMBEDDED, folder.root) as connection:
    print(try_machine(connection, folder.path, "tcg"))
    print([domain.name() for domain in connection.libvirt.listAllDomains()])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["Trial(fork=None, cable=None)", "[]"], (
        done.stdout + done.stderr
    )
    assert list(Path(places["PATHPROOF_STATE"]).glob("trial-*")) == []


def test_a_host_that_has_all_lacks_nothing(places: dict[str, str]) -> None:
    assert requirements.ask(FORKS) == []


def test_nothing_is_tried_where_nothing_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report is none of its business."""
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("something was tried"))
    assert requirements.ask(Config()) == []
    assert requirements.ask(Config.model_validate({"require": "report"})) == []


@pytest.mark.skipif(bool(NO_NAMESPACES), reason=NO_NAMESPACES)
def test_a_missing_helper_of_libvirt_is_one_error_before_any_test(
    places: dict[str, str], tmp_path: Path
) -> None:
    """Hidden from this run alone; the file and its package are named."""
    file = helper.find()
    assert file is not None
    (tmp_path / "empty").touch()
    suite = tmp_path / "suites" / "failover"
    suite.mkdir(parents=True)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["harness.plugin"]\n')
    (suite / "test_loss.py").write_text("def test_passes(): pass\n")
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-euc", script, "sh", tmp_path / "empty", file,
         sys.executable, "-m", "pytest", "--rootdir", tmp_path, "-p", "no:cacheprovider",
         "suites", "--require", "forks", "--accel", "tcg"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), **places},
    )  # fmt: skip
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout + done.stderr
    (error, hint) = [line for line in done.stderr.splitlines() if line][-2:]
    assert error.startswith(
        "ERROR: forks are required and lacking: pathproof-trial: libvirt could not save it: "
    )
    assert f"cannot execute binary {file}" in error
    assert hint == (
        f"hint: {file} is missing or cannot be run; ./bootstrap installs it (Debian: "
        "libvirt-daemon-common or libvirt-daemon)"
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert "passed" not in done.stdout


def test_all_that_is_lacking_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """KVM and forks, each with cause and cure."""
    monkeypatch.setattr(requirements, "_kvm", lambda _: KVM)
    failure = HypervisorError("libvirt could not save it\nits log", hint="./bootstrap")
    monkeypatch.setattr(requirements, "_fork_problem", lambda *_: failure)
    config = Config.model_validate({"require": "forks,kvm"})
    assert requirements.examine_here(config).lacking == (
        no_kvm_as_required("/dev/kvm is missing"),
        Lacking("forks", "libvirt could not save it", "./bootstrap"),
    )


def test_kvm_that_runs_only_a_small_program_so_far_is_warned_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The image is not built yet, so the guest's kernel was not tried."""
    unproven = Kvm(usable=True, proven=False, reason="KVM runs a 64-bit test program")
    monkeypatch.setattr(requirements, "_kvm", lambda _: unproven)
    (warning,) = requirements.examine_here(Config.model_validate({"require": "kvm"})).warnings
    assert "the guest image is not built yet" in warning
    monkeypatch.setattr(requirements, "_fork_problem", lambda *_: None)
    assert requirements.examine_here(Config.model_validate({"require": "forks"})) == Answer()


def test_an_image_is_found_from_the_folder_that_the_run_is_in(
    places: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A package of the same name in that folder is not taken for Pathproof."""
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").write_text("raise SystemExit('not this one')")
    (tmp_path / "mine.toml").write_text('suite = "mine"\nzzz = 1\n')
    monkeypatch.chdir(tmp_path)
    config = Config.model_validate({"require": "kvm", "machines": {"image": "mine.toml"}})
    with pytest.raises(HarnessError, match=r"^mine\.toml: ") as refused:
        requirements.ask(config)
    assert "zzz" in refused.value.message


def test_forks_are_tried_without_a_look_at_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which plays no part in it."""
    monkeypatch.setattr(requirements, "examine_kvm", lambda *_, **__: KVM)
    monkeypatch.setattr(requirements, "_fork_problem", lambda *_: None)
    machines = {"image": "nowhere/mine.toml"}
    forks = Config.model_validate({"require": "forks", "machines": machines})
    assert requirements.examine_here(forks) == Answer()


def test_an_answer_that_is_none_is_an_error() -> None:
    """The login shell of a fleet's host may print a greeting."""
    with pytest.raises(HarnessError, match="no answer, but: Welcome"):
        requirements.parse_answer("Welcome!")


def test_all_that_is_lacking_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order in which it was found."""
    found = [
        no_kvm_as_required("/dev/kvm is missing"),
        Lacking("forks", "no helper", "./bootstrap"),
    ]
    monkeypatch.setattr(requirements, "ask", lambda _: found)
    config = Config.model_validate({"require": "forks,kvm"})
    with pytest.raises(pytest.UsageError) as error:
        refuse_unmet(config, makes_report=False, makes_testbeds=True)
    assert str(error.value) == (
        "KVM is required and lacking: /dev/kvm is missing\n"
        "hint: use a host where KVM works, or leave `kvm` out of what is required\n"
        "forks are required and lacking: no helper\nhint: ./bootstrap"
    )
    refuse_unmet(config, makes_report=True, makes_testbeds=False)  # a fleet's hosts are tried


def test_a_cable_that_carries_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A packet filter may drop what goes over loopback."""
    monkeypatch.setattr(trial, "_FRAME_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as far_end:
        said = trial._cable_problem(far_end, lambda: None)
        assert said is not None
        assert said.message.startswith("a cable carried nothing")


def peer(end: socket.socket, sends: bytes, *, resets: bool = False) -> socket.socket:
    """What QEMU is to the end of a cable; a reset is what is seen when it is killed."""
    near = socket.create_connection(end.getsockname())
    if sends:
        near.sendall(sends)
    if resets:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    near.close()
    return near


@pytest.mark.parametrize(
    ("sends", "resets", "message"),
    [
        (b"", False, "a cable carried something else than was sent: nothing"),
        (b"x" * 18, False, f"a cable carried something else than was sent: {b'x'.hex() * 18}"),
        (b"", True, "a cable broke: [Errno 104] Connection reset by peer"),
    ],
    ids=["closed", "something else", "reset"],
)
def test_a_cable_that_breaks_is_an_error_and_no_traceback(
    sends: bytes, resets: bool, message: str
) -> None:
    """QEMU may end at any moment."""
    with socket.create_server(("127.0.0.1", 0)) as end:
        peer(end, sends, resets=resets)
        said = trial._cable_problem(end, lambda: None)
    assert said is not None
    assert said.message == message


def test_no_port_at_all_is_an_error_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may open no more files gets no port."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(HypervisorError, match="Too many open files"), trial._listening():
        pass


def test_a_cable_is_tried_also_where_no_machine_can_be_saved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The machine is gone afterwards."""
    gone: list[str] = []

    def refuse(_: Path) -> None:
        raise HypervisorError("no helper")

    machine = SimpleNamespace(pause=lambda: None, save=refuse, destroy=lambda: gone.append("trial"))
    broken = HypervisorError("a cable carried nothing")
    monkeypatch.setattr(trial, "start", lambda *_: machine)
    monkeypatch.setattr(trial, "_cable_problem", lambda *_: broken)
    connection: Any = SimpleNamespace(is_embedded=True)
    tried = trial.try_machine(connection, tmp_path, "tcg")
    assert tried.fork is not None
    assert (tried.fork.message, tried.cable, gone) == ("no helper", broken, ["trial"])


@pytest.mark.parametrize("how", ["hangs", "dies", "chatters"])
def test_a_host_of_a_fleet_where_the_trial_itself_fails_ends_the_run_too(how: str) -> None:
    """It may lack what is required just as well; left out in silence, it would never be mended."""
    said = SimpleNamespace(stdout="Welcome!")
    hung = CommandTimedOut(machine="two", argv=["x"], stdout="", stderr="", elapsed_s=120.0)
    errors = {"hangs": hung, "dies": MachineError("two: exit status 1")}

    def run(argv: list[str], **_: object) -> SimpleNamespace:
        if error := errors.get(how):
            raise error
        return said

    machine: Any = SimpleNamespace(run=run)
    with pytest.raises(Unmet, match=r"^two: what the run requires could not be tried: "):
        try_required(machine, "two", ["python"], FORKS)


def test_a_host_of_a_fleet_that_lacks_what_is_required_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While one that cannot be reached merely takes no part."""
    hosts = [HostConfig.model_validate({"address": name}) for name in ("one", "two", "three")]
    unmet = Unmet("two: forks are required and lacking: no helper\nhint: ./bootstrap")
    ends: dict[str, HarnessError] = {"two": unmet, "three": MachineError("no route")}

    def prepared(host: HostConfig, *_: object) -> Ready:
        if error := ends.get(host.address):
            raise error
        unused: Any = None
        return Ready(host, unused, unused, unused, "python", unused, slots=1)

    monkeypatch.setattr(import_module("harness.fleet.prepare"), "_prepare", prepared)
    travelling: Any = None
    with pytest.raises(Unmet) as error:
        prepare(hosts, travelling)
    assert str(error.value) == "two: forks are required and lacking: no helper\nhint: ./bootstrap"
    del ends["two"]
    ready, refused = prepare(hosts, travelling)
    assert [len(ready), len(refused)] == [2, 1]
