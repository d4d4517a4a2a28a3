"""From nothing to a verdict on an external target, as its owner goes through it.

The array is a machine of another testbed, on bridges of this host, which somebody has made into a
target by hand: a LUN with a file system, served by tgtd under an array's name. It takes root.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from suites.selftest import needs

BRIDGES = ("pptest-a", "pptest-b")
LOG_OUT = "multipath -F; iscsiadm --mode node --logoutall=all"
IQN = "iqn.1992-04.com.example:Array-1"
DISK = "/srv/disk"
BY_HAND = f"""
set -e
targetctl clear
truncate -s 256M {DISK}
mkfs.ext4 -q -L payroll {DISK}
tgtd
until tgtadm --lld iscsi --mode sys --op show >/dev/null 2>&1; do sleep 0.2; done
tgtadm --lld iscsi --mode target --op new --tid 1 --targetname {IQN}
tgtadm --lld iscsi --mode logicalunit --op new --tid 1 --lun 1 --backing-store {DISK}
tgtadm --lld iscsi --mode target --op bind --tid 1 --initiator-address ALL
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason=needs.ROOT)


def described(target: str, initiator: int, head: str = "") -> str:
    networks = "".join(
        f'[[networks]]\nname = "{name}"\nsubnet = "172.16.{n}.0/24"\nportals = ["172.16.{n}.1"]\n'
        f'initiator = "172.16.{n}.{initiator}"\nbridge = "{bridge}"\n'
        for n, (name, bridge) in enumerate(zip("ab", BRIDGES, strict=True))
    )
    return f"{head}[target]\n{target}\n{networks}"


def pathproof(*arguments: str) -> str:
    program = Path(sys.executable).parent / "pathproof"
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


@dataclass(frozen=True)
class Array:
    """A target that serves, and a file that describes it to whoever tests it."""

    name: str
    file: Path

    def digest(self) -> str:
        """Of all that is on its LUN."""
        return pathproof("ssh", self.name, "target", "--", "sha256sum", DISK)

    def tested(self, wwid: str | None, *options: str) -> str:
        """What a run says, without a fault and with one."""
        named = f'kind = "external"\niqn = "{IQN}"\n' + (f'wwid = "{wwid}"' if wwid else "")
        self.file.write_text(described(named, 102))
        argv = [sys.executable, "-m", "pytest", "suites/failover", "--no-report", "--exitfirst"]
        argv += ["-k", "clean or a-LinkDown", "--testbed", str(self.file), *options]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        sys.stdout.write(done.stdout)
        return done.stdout


@pytest.fixture
def array(tmp_path: Path) -> Iterator[Array]:
    with ExitStack() as stack:
        for bridge in BRIDGES:
            subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
            stack.callback(subprocess.run, ["ip", "link", "delete", bridge], check=True)
            subprocess.run(["ip", "link", "set", bridge, "up"], check=True)
        served = tmp_path / "served.toml"
        head = 'name = "array"\n[hypervisor]\nfork = false\n'
        served.write_text(described('lun_size = "256MiB"', 101, head))
        name = pathproof("--quiet", "up", "--testbed", str(served)).strip()
        stack.callback(pathproof, "down", name)
        pathproof("ssh", name, "initiator", "--", LOG_OUT)
        pathproof("ssh", name, "target", "--", BY_HAND)
        yield Array(name, tmp_path / "array.toml")


def test_from_nothing_to_a_verdict(array: Array) -> None:
    """Told what there is, refused for what is on it, erased once, and ever after by its mark."""
    offered = re.search(r'`wwid = "(\w+)"` in \[target\]', array.tested(None))
    assert offered
    wwid = offered[1]
    before = array.digest()
    refused = array.tested(wwid)
    assert f"the LUN {wwid} has data: ext4 labelled 'payroll' at offset 1080" in refused
    assert array.digest() == before
    assert "2 passed" in array.tested(wwid, "--erase", wwid)
    assert "2 passed" in array.tested(wwid)
