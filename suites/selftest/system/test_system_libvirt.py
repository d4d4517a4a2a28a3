"""`qemu:///system` as users have it: libvirtd and its settings untouched, QEMU as another user.

pytest suites/selftest/system                          7 minutes on two cores under emulation
pytest suites/selftest/system --whole-suite            the whole main job on each kind of network
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.deadline import Deadline, poll
from harness.host.folder import SLOTS, cache_folder
from suites.selftest import needs
from suites.selftest.system import stock
from suites.selftest.system.stock import NETWORKS, URI, StockLibvirt

pytestmark = pytest.mark.skipif(bool(stock.missing()), reason=stock.missing())

KINDS = ("cable", "network", "bridge")
ONE_TEST = "suites/failover/test_path_loss.py::test_io_survives_a_loss[a-LinkDown]"
_RUN_S = 900.0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short, and where QEMU's user can come to."""
    path = Path(tempfile.mkdtemp(prefix="pathproof-system-", dir="/var/tmp"))  # see above
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def libvirt(folder: Path) -> Iterator[StockLibvirt]:
    with stock.stock_libvirt(folder / "s") as running:
        running.make_networks(folder)
        yield running


@pytest.fixture(params=KINDS)
def testbed_file(request: pytest.FixtureRequest, folder: Path) -> Path:
    """The description of a testbed with default cables, isolated networks or bridges."""
    kind: str = request.param
    keys = {"network": 'libvirt_network = "data-{}"', "bridge": 'bridge = "br-{}"'}
    file = folder / f"{kind}.toml"
    text = f'[hypervisor]\nuri = "{URI}"\naccel = "tcg"\n'
    for number, name in enumerate(NETWORKS if kind in keys else ()):
        text += (
            f'[[networks]]\nname = "{name}"\nsubnet = "172.16.{number}.0/24"\n'
            f'portals = ["172.16.{number}.1"]\ninitiator = "172.16.{number}.101"\n'
            f"{keys[kind].format(name)}\n"
        )
    file.write_text(text)
    return file


@pytest.fixture(autouse=True)
def nothing_left(libvirt: StockLibvirt, folder: Path) -> Iterator[None]:
    """After each test: no machine, no folder of a testbed, and the cache as it was."""
    before = owners()
    yield
    assert libvirt.virsh("list", "--all").strip() == ""
    assert left(folder) == []
    assert qemus(libvirt) == ""
    assert owners() == before


def owners() -> dict[str, tuple[int, int, int]]:
    """Of everything in the cache of images: libvirt gives what it is lent to QEMU's user."""
    files = [path for path in (cache_folder() / "images").rglob("*") if path.is_file()]
    status = {str(path): path.stat() for path in files}
    return {path: (one.st_uid, one.st_gid, one.st_mode) for path, one in status.items()}


def left(folder: Path) -> list[Path]:
    """Folders of testbeds, and what is outside of them for QEMU's user."""
    places = (folder / "s", folder / "s-libvirt/testbeds")
    return [path for place in places for path in place.glob("*") if path.name != SLOTS]


def qemus(libvirt: StockLibvirt) -> str:
    return libvirt.run("pgrep", "--full", "--list-full", "^/[^ ]*qemu-system").stdout


def test_the_doctor_starts_a_machine_as_qemus_user_on_every_network(
    libvirt: StockLibvirt, testbed_file: Path
) -> None:
    done = libvirt.run("pathproof", "doctor", "--testbed", str(testbed_file))
    assert done.returncode == 0, done.stdout
    assert "starts as libvirt-qemu" in done.stdout
    told = [line for line in done.stdout.splitlines() if re.search("network [ab]", line)]
    expected = {"network": "is active", "bridge": "is up"}.get(testbed_file.stem)
    assert [expected in line for line in told if expected] == [True] * (2 if expected else 0)


@pytest.mark.skipif(not Path("/dev/kvm").exists(), reason=needs.KVM_DEVICE)
@pytest.mark.parametrize("testbed_file", ["cable"], indirect=True)
def test_a_libvirt_that_asks_qemu_anew_for_each_machine_is_named_with_its_cure(
    libvirt: StockLibvirt, testbed_file: Path
) -> None:
    """This happens where only root may use /dev/kvm; the cure makes it stop."""
    doctor = ("pathproof", "doctor", "--testbed", str(testbed_file))
    said = "libvirt asks QEMU anew before each machine what it can do, since libvirt-qemu cannot"
    libvirt.run("chmod", "600", "/dev/kvm")
    slow = libvirt.run(*doctor).stdout
    libvirt.run("sh", "-c", "chgrp kvm /dev/kvm && chmod 660 /dev/kvm")
    assert said in slow, slow
    assert "fix: as root: `chgrp kvm /dev/kvm && chmod 660 /dev/kvm`" in slow, slow
    assert said not in libvirt.run(*doctor).stdout


@pytest.mark.parametrize(
    ("attachment", "said"),
    [
        (
            'libvirt_network = "none"',
            "there is no network none at qemu:///system; it has: asleep, data-a, data-b",
        ),
        ('libvirt_network = "asleep"', "network asleep is not active"),
        ('bridge = "none"', "bridge none is not there"),
        ('bridge = "lo"', "bridge lo is no bridge of the kernel"),
        ('bridge = "br-down"', "bridge br-down is down"),
    ],
)
def test_the_doctor_names_a_network_or_bridge_that_is_not_fit(
    libvirt: StockLibvirt, folder: Path, attachment: str, said: str
) -> None:
    (folder / "asleep.xml").write_text("<network><name>asleep</name></network>")
    libvirt.virsh("net-define", str(folder / "asleep.xml"))
    libvirt.run("ip", "link", "add", "br-down", "type", "bridge")
    file = folder / "unfit.toml"
    file.write_text(
        f'[hypervisor]\nuri = "{URI}"\naccel = "tcg"\n'
        '[[networks]]\nname = "a"\nsubnet = "172.16.0.0/24"\n'
        f'portals = ["172.16.0.1"]\ninitiator = "172.16.0.101"\n{attachment}\n'
        '[[networks]]\nname = "b"\nsubnet = "172.16.1.0/24"\n'
        'portals = ["172.16.1.1"]\ninitiator = "172.16.1.101"\n'
    )
    done = libvirt.run("pathproof", "doctor", "--testbed", str(file))
    libvirt.virsh("net-undefine", "asleep")
    assert done.returncode == 1, done.stdout
    assert said in done.stdout, done.stdout


def test_io_survives_on_every_kind_of_network(
    libvirt: StockLibvirt, folder: Path, testbed_file: Path, whole_suite: bool
) -> None:
    """The host's processors are watched: a PASS needs that on a busy host."""
    reports = folder / f"reports-{testbed_file.stem}"
    what = ["suites/failover", "--testbed-scope", "session"] if whole_suite else [ONE_TEST]
    run = pytest_argv(testbed_file, *what, "--reports", str(reports))
    done = libvirt.run(*run, timeout_s=_RUN_S)
    assert done.returncode == 0, done.stdout
    verdicts = {path.resolve() for path in reports.glob("*/verdicts/*.json")}
    assert len(verdicts) == (11 if whole_suite else 1)
    assert any('"steal before"' in verdict.read_text() for verdict in verdicts)


@pytest.mark.parametrize("testbed_file", ["bridge"], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_a_run_that_was_stopped_leaves_nothing_that_reap_does_not_take(
    libvirt: StockLibvirt, folder: Path, testbed_file: Path, number: signal.Signals
) -> None:
    """While both machines run; after Ctrl-C there is nothing left for it to take."""
    with subprocess.Popen(
        libvirt.argv(pytest_argv(testbed_file, ONE_TEST, "--no-report")),
        env=libvirt.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        poll(
            lambda: len(libvirt.virsh("list", "--name").split()) == 2,
            what="both machines run",
            deadline=Deadline.after(240),
            every_s=1,
        )
        time.sleep(5)  # until they boot
        assert len(left(folder)) == 2
        libvirt.run("pkill", f"-{number.name.removeprefix('SIG')}", "--full", "pytest suites")
        output = run.communicate(timeout=120)[0]
    assert run.returncode != 0, output
    if number is signal.SIGINT:
        assert left(folder) == [], output
    done = libvirt.run("pathproof", "reap")
    assert done.returncode == 0, done.stdout


def pytest_argv(testbed_file: Path, *what: str) -> list[str]:
    return ["pytest", *what, "--testbed", str(testbed_file)]


def test_another_user_cannot_list_what_is_there_for_qemu(folder: Path) -> None:
    mode = (folder / "s-libvirt").stat().st_mode & 0o777
    assert mode == 0o711
    assert (folder / "s").stat().st_mode & 0o777 == 0o700
