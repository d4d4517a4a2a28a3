"""tgt: what it is told, what it shows, and how it gets its accounts."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from harness.config import Config
from harness.config.credentials import ChapConfig
from harness.errors import TargetError
from harness.target.tgt.show import ShownTarget, parse_portals, parse_targets
from harness.target.tgt.target import TgtTarget, differences, portals, scsi_id, serving
from harness.topology import plan
from suites.selftest.unit.scripted_machine import ScriptedMachine

RECORDED = Path(__file__).parent / "recorded"
MUTUAL = ChapConfig.model_validate(
    {
        "incoming": {"user": "me", "secret": "correct-horse"},
        "outgoing": {"user": "you", "secret": "battery-staple"},
    }
)
# As the recording was made.
CONFIG = Config.model_validate({"target": {"kind": "tgt", "lun_size": "64MiB", "chap": MUTUAL}})
TOPOLOGY = plan(CONFIG)


def shown() -> list[ShownTarget]:
    return parse_targets((RECORDED / "tgt-1.0.85-targets.txt").read_text())


def told(**target: Any) -> str:
    config = Config.model_validate({"target": {"kind": "tgt", **target}})
    commands = serving(config.target, plan(config))
    return "\n".join(" ".join(command) for command in commands)


def test_what_runs_as_asked_has_no_differences() -> None:
    """As tgtd really showed it."""
    assert differences(CONFIG.target, TOPOLOGY, shown()) == []


def test_a_shown_target_is_understood() -> None:
    """Its LUN 0 is tgt's own controller."""
    (target,) = shown()
    assert (target.tid, target.iqn, target.state) == (1, CONFIG.target.iqn, "ready")
    assert [(lun.number, lun.kind) for lun in target.luns] == [(0, "controller"), (1, "disk")]
    assert target.accounts == ("me", "you (outgoing)")
    assert target.acl == (CONFIG.initiator.iqn,)


def test_no_target_at_all_is_shown_as_nothing() -> None:
    """tgtd without targets prints nothing."""
    assert parse_targets("") == []
    assert "targets are []" in differences(CONFIG.target, TOPOLOGY, [])[0]


@pytest.mark.parametrize(
    "text", ["tgtadm: can't connect to tgt daemon\n", "Target 1: iqn.x\n    LUN information:\n"]
)
def test_another_form_is_refused(text: str) -> None:
    """Rather than read as a target without accounts, say."""
    with pytest.raises(TargetError, match="tgt"):
        parse_targets(text)


def test_where_tgtd_listens_is_read() -> None:
    """Without an address of its own it listens on all: that is seen."""
    real = parse_portals((RECORDED / "tgt-1.0.85-portals.txt").read_text())
    assert real == {str(portal.portal) for portal in TOPOLOGY.portals}
    fallen_back = parse_portals("Portal: [::]:3260,1\nPortal: 0.0.0.0:3260,1\n")
    assert fallen_back == {"[::]:3260", "0.0.0.0:3260"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"state": "offline"}, "state is offline, not ready"),
        ({"accounts": ()}, "accounts is [], not ['me', 'you (outgoing)']"),
        ({"acl": ("ALL",)}, "ACL is ['ALL']"),
        ({"luns": ()}, "LUNs is [], not [1]"),
    ],
)
def test_what_runs_otherwise_is_told(changed: dict[str, Any], says: str) -> None:
    """A target without accounts would let anybody in, and every test would pass."""
    (target,) = shown()
    assert says in "; ".join(differences(CONFIG.target, TOPOLOGY, [replace(target, **changed)]))


def test_the_wwid_is_that_of_the_designator() -> None:
    """tgt makes a number of the SCSI ID and puts NAA type 6 in its first digit."""
    target = TgtTarget(CONFIG.target, ScriptedMachine(), TOPOLOGY)
    assert len(scsi_id(TOPOLOGY.luns[0])) == 32
    assert int(scsi_id(TOPOLOGY.luns[0]), 16) >> 124 == 6
    assert target.wwids[0] == "360000007043dfe0435de773ca03bbf04"


def test_tgtd_listens_on_the_data_addresses_only() -> None:
    """As one parameter: of several options tgtd takes the last."""
    assert portals(TOPOLOGY) == "portal=172.16.0.1:3260,portal=172.16.1.1:3260"


def test_a_volatile_cache_is_there_only_if_it_was_asked_for() -> None:
    """tgtd's own default has one."""
    assert "mode_page=8:0:18:0x10:" in told()
    assert "mode_page=8:0:18:0x14:" in told(write_cache="write-back")


def test_digests_are_the_initiators_choice() -> None:
    """As it comes, tgt ends a login that insists on them."""
    for part in ("Header", "Data"):
        assert f"--name {part}Digest --value None,CRC32C" in told()


def test_a_disk_may_be_served() -> None:
    """As a file is."""
    assert "--backing-store /dev/disk/by-id/virtio-lun0" in told(backstore="block")


def test_no_command_has_a_secret() -> None:
    """Arguments are what everybody sees; they name accounts."""
    commands = str(serving(CONFIG.target, TOPOLOGY))
    assert "'--user', 'you', '--outgoing'" in commands
    assert "horse" not in commands
    assert "staple" not in commands


def test_accounts_travel_by_the_socket(tmp_path: Path) -> None:
    """In a request as tgtadm sends it: struct tgtadm_req, then the parameters with their NUL."""
    requests: list[bytes] = []

    def tgtd() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                requests.append(connection.recv(4096))
                connection.sendall(bytes(8))

    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}.0")
        listener.listen()
        server = threading.Thread(target=tgtd, daemon=True)
        server.start()
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", source()],
            input=b"me correct-horse\nyou battery-staple\n",
            env={"TGT_IPC_SOCKET": str(path)},
            check=True,
        )
        server.join()
    first = requests[0]
    assert first[:8] == bytes([7, 0, 0, 0, 0, 0, 0, 0])
    assert first[8:13] == b"iscsi"
    assert int.from_bytes(first[72:76], sys.byteorder) == len(first)
    assert [one.partition(b"user=")[2] for one in requests] == [
        b"me,password=correct-horse\0",
        b"you,password=battery-staple\0",
    ]


def test_a_refused_account_is_named_without_its_secret(tmp_path: Path) -> None:
    """As one that is there already."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}.0")
        listener.listen()

        def refuse() -> None:
            with listener.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(bytes([14, 0, 0, 0, 8, 0, 0, 0]))

        threading.Thread(target=refuse, daemon=True).start()
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", source()],
            input=b"me correct-horse\n",
            env={"TGT_IPC_SOCKET": str(path)},
            capture_output=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, b"tgtd refuses the account me: error 14\n")


def source() -> str:
    return files("harness.target.tgt").joinpath("accounts.py").read_text()
