"""LIO, the kernel's own target: configured in one batch by `targetctl restore`.

Sources: saveconfig.json(5) of rtslib, Documentation/target/ in the kernel.
"""

from __future__ import annotations

import json
from typing import Any

from harness.config.model import TargetKind
from harness.errors import CommandFailed, TargetError
from harness.steps import Spent, attach, step
from harness.target.base import DATA_DISK, Target
from harness.target.capabilities import Capabilities
from harness.topology import Topology

SAVED = "/etc/rtslib-fb-target/pathproof.json"
BACKING_FILE = "/srv/pathproof/lun0.img"
_TIMEOUT_S = 90.0


class LioTarget(Target):
    """One backstore, one target, one portal group on the data addresses, one initiator allowed."""

    kind: TargetKind = "lio"
    vendor = "LIO-ORG"
    product = "lun0"
    capabilities = Capabilities(
        alua=True,
        persistent_reservations=True,
        unmap=True,
        write_same=True,
        compare_and_write=True,
        chap=True,
        mutual_chap=True,
    )

    @property
    def wwid(self) -> str:
        return wwid_of(self.topology.lun.serial)

    def configure(self) -> None:
        saved = json.dumps(render(self.topology, self.config.backstore), indent=2)
        lun = self.topology.lun
        with step("Configure the target (LIO)", Spent.CONFIGURATION):
            self.machine.write_files({SAVED: saved}, mode=0o600)
            attach("LIO configuration", saved, "application/json")
            script = f"targetctl restore {SAVED}"
            if self.config.backstore == "fileio":
                make_room = f"mkdir -p $(dirname {BACKING_FILE}) && truncate -s {lun.size}"
                script = f"{make_room} {BACKING_FILE}\n{script}"
            try:
                done = self.machine.sh(script, timeout_s=_TIMEOUT_S)
            except CommandFailed as error:
                raise TargetError(f"LIO refused its configuration\n{error.message}") from None
            self._compare(done.stdout + done.stderr)

    def _compare(self, said: str) -> None:
        """Compare what runs with what was asked for: a restore reports errors and goes on."""
        iqn = self.topology.target_iqn
        group = f"/sys/kernel/config/target/iscsi/{iqn}/tpgt_1"
        running = set(
            self.machine.sh(
                f"cd {group} && echo enable=$(cat enable) && ls np lun\ncat lun/lun_0/*/udev_path",
                check=False,
            ).stdout.split()
        )
        wanted = {"enable=1", "lun_0", self._backing_device()}
        wanted |= {str(fabric.portal) for fabric in self.topology.fabrics}
        if missing := wanted - running:
            raise TargetError(
                f"LIO does not run as asked: {', '.join(sorted(missing))} missing; "
                f"targetctl said: {said.strip()}"
            )

    def _backing_device(self) -> str:
        return BACKING_FILE if self.config.backstore == "fileio" else DATA_DISK


def wwid_of(serial: str) -> str:
    """The WWID of a LIO unit with that serial: NAA type 6, LIO's company id, then the serial.

    Source: spc_gen_naa_6h_vendor_specific() in drivers/target/target_core_spc.c; the leading 3
    says "NAA" in multipath-tools. `serial` has at least 25 hexadecimal digits.
    """
    digits = "".join(c for c in serial if c in "0123456789abcdef")
    return f"36001405{digits[:25]}"


def render(topology: Topology, backstore: str) -> dict[str, Any]:
    """The whole configuration in rtslib's saved form."""
    lun = topology.lun
    storage: dict[str, Any] = {
        "name": "lun0",
        "wwn": lun.serial,
        "plugin": backstore,
        "write_back": False,
    }
    if backstore == "fileio":
        storage |= {"dev": BACKING_FILE, "size": lun.size}
    else:
        storage |= {"dev": DATA_DISK, "readonly": False}
    return {
        "fabric_modules": [],
        "storage_objects": [storage],
        "targets": [
            {
                "fabric": "iscsi",
                "wwn": topology.target_iqn,
                "tpgs": [
                    {
                        "tag": 1,
                        "enable": True,
                        "attributes": {"authentication": 0, "generate_node_acls": 0},
                        "luns": [{"index": 0, "storage_object": f"/backstores/{backstore}/lun0"}],
                        "node_acls": [
                            {
                                "node_wwn": topology.initiator_iqn,
                                "mapped_luns": [{"index": 0, "tpg_lun": 0, "write_protect": False}],
                            }
                        ],
                        "portals": [
                            {
                                "ip_address": str(f.portal.address),
                                "port": f.portal.port,
                                "iser": False,
                            }
                            for f in topology.fabrics
                        ],
                    }
                ],
            }
        ],
    }
