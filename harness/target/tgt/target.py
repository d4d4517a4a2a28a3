"""One machine as a tgt target: tgtd is started, told what to serve, and asked whether it does.

Sources: tgtd(8), tgtadm(8); usr/spc.c of tgt for identities and the caching mode page.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from importlib.resources import files

from harness.config.credentials import Confidential
from harness.config.model import TargetConfig, TargetKind
from harness.errors import CommandFailed, TargetError
from harness.steps import Spent, attach, step
from harness.target.base import Target, storage_path, storage_script
from harness.target.capabilities import Capabilities
from harness.target.tgt.show import ShownTarget, parse_portals, parse_targets
from harness.topology import Lun, Topology

UNIT = "pathproof-tgt.service"
_TIMEOUT_S = 60.0
_FIRST_TID = 1
_FIRST_LUN = 1  # 0 is tgt's own controller

# tgtd ignores SIGTERM. What it serves is gone with it, so it is started anew each time.
_START = f"""\
systemctl stop {UNIT} 2>/dev/null || :
systemctl reset-failed {UNIT} 2>/dev/null || :
systemd-run --quiet --unit={UNIT} --property=Type=notify --property=KillSignal=SIGKILL \\
  tgtd --foreground --iscsi "$1"
"""
# Mode page 8, of which tgt takes the whole: byte 2 has WCE (0x04), the write cache. Without it
# each write is synced before it is acknowledged (bs_rdwr.c). The rest is as tgtd has it.
_CACHING = "mode_page=8:0:18:{byte}:0:0xff:0xff:0:0:0xff:0xff:0xff:0xff:0x80:0x14:0:0:0:0:0:0"
_CACHING_BYTE = {"write-through": "0x10", "write-back": "0x14"}
# As it comes, tgt refuses digests; what the initiator does not offer is not used.
_DIGESTS = [["--name", f"{part}Digest", "--value", "None,CRC32C"] for part in ("Header", "Data")]


class TgtTarget(Target):
    """Targets with the LUNs, listening on the data addresses only, for the initiators' names."""

    kind: TargetKind = "tgt"
    vendor = "IET"
    product = "VIRTUAL-DISK"
    capabilities = Capabilities(
        persistent_reservations=True,
        compare_and_write=True,
        chap=True,
        mutual_chap=True,
    )

    def wwid_of(self, lun: Lun) -> str:
        return f"3{scsi_id(lun)}"

    def configure(self) -> None:
        commands = serving(self.config, self.topology)
        with step("Configure the target (tgt)", Spent.CONFIGURATION):
            script = "\n".join(shlex.join(command) for command in commands)
            attach("tgt configuration", script)
            self._start()
            self._add_accounts()
            self._run(storage_script(self.config, self.topology) + script)
            self._compare()

    def _start(self) -> None:
        if self.machine.run(["which", "tgtd", "tgtadm"], check=False).status != 0:
            raise TargetError(
                f"{self.machine.name}: there is no tgt in this guest",
                hint="its image needs the package tgt for the target",
            )
        self._run(_START, portals(self.topology))

    def _add_accounts(self) -> None:
        """tgtd's own accounts, by standard input: no process list ever has a secret."""
        if not (chap := self.config.chap):
            return
        both = [one for one in (chap.incoming, chap.outgoing) if one]
        source = files("harness.target.tgt").joinpath("accounts.py").read_text()
        text = "".join(f"{one.user} {one.revealed}\n" for one in both)
        try:
            argv = ["python3", "-I", "-S", "-c", source]
            self.machine.run(argv, stdin=Confidential(text.encode()))
        except CommandFailed as error:
            raise TargetError(f"tgt refused CHAP: {error.stderr.strip()}") from None

    def _run(self, script: str, *arguments: str) -> str:
        try:
            argv = ["sh", "-euc", script, "sh", *arguments]
            return self.machine.run(argv, timeout_s=_TIMEOUT_S).stdout
        except CommandFailed as error:
            raise TargetError(f"tgt refused its configuration\n{error.message}") from None

    def _compare(self) -> None:
        """Raises TargetError: tgtd listens everywhere if it cannot have an address of its own."""
        shown = self._run(shlex.join(_tgtadm("target", "show")))
        listens = parse_portals(self._run(shlex.join(_tgtadm("portal", "show"))))
        wanted = {str(portal.portal) for portal in self.topology.portals}
        differing = differences(self.config, self.topology, parse_targets(shown))
        if listens != wanted:
            heard, asked = (", ".join(sorted(one)) for one in (listens, wanted))
            differing.append(f"it listens on {heard or 'nothing'} instead of {asked}")
        if differing:
            raise TargetError(f"tgt does not run as asked: {'; '.join(differing)}")


def scsi_id(lun: Lun) -> str:
    """A LUN's identity: 32 digits, of which tgt makes a designator of NAA type 6.

    Source: update_vpd_83() in usr/spc.c. The company id is 0, as tgt's own.
    """
    return f"6000000{lun.serial[:25]}"


def portals(topology: Topology) -> str:
    """tgtd's parameter for the addresses to listen on."""
    return ",".join(f"portal={portal.portal}" for portal in topology.portals)


def serving(config: TargetConfig, topology: Topology) -> list[list[str]]:
    """The commands for the targets with their LUNs, and for the initiators, which see all."""
    return [
        command
        for tid, iqn in enumerate(topology.target_iqns, start=_FIRST_TID)
        for command in _target(config, topology, str(tid), iqn)
    ]


def _initiator_iqns(topology: Topology) -> list[str]:
    return [topology.machine(name).iqn for name in topology.initiators]


def _target(config: TargetConfig, topology: Topology, tid: str, iqn: str) -> list[list[str]]:
    numbered = enumerate(topology.luns_of(iqn), start=_FIRST_LUN)
    return [
        _tgtadm("target", "new", "--tid", tid, "--targetname", iqn),
        *(command for number, lun in numbered for command in _unit(config, tid, number, lun)),
        *(_tgtadm("target", "update", "--tid", tid, *digest) for digest in _DIGESTS),
        *(
            _tgtadm("target", "bind", "--tid", tid, "--initiator-name", initiator)
            for initiator in _initiator_iqns(topology)
        ),
        *_binding(config, tid),
    ]


def _unit(config: TargetConfig, tid: str, number: int, lun: Lun) -> list[list[str]]:
    which = ["--tid", tid, "--lun", str(number)]
    identity = f"scsi_id={scsi_id(lun)},scsi_sn={lun.serial}"
    caching = _CACHING.format(byte=_CACHING_BYTE[config.write_cache])
    backing = ["--bstype", "rdwr", "--backing-store", storage_path(config, lun)]
    return [
        _tgtadm("logicalunit", "new", *which, *backing),
        _tgtadm("logicalunit", "update", *which, "--params", identity),
        _tgtadm("logicalunit", "update", *which, "--params", caching),
    ]


def _binding(config: TargetConfig, tid: str) -> list[list[str]]:
    """The commands that have a target ask for accounts that tgtd knows, by their names."""
    if not (chap := config.chap):
        return []
    account = ("account", "bind", "--tid", tid, "--user")
    commands = [_tgtadm(*account, chap.incoming.user)]
    if chap.outgoing:
        commands.append(_tgtadm(*account, chap.outgoing.user, "--outgoing"))
    return commands


def _tgtadm(mode: str, operation: str, *more: str) -> list[str]:
    return ["tgtadm", "--lld", "iscsi", "--mode", mode, "--op", operation, *more]


def differences(
    config: TargetConfig, topology: Topology, shown: Sequence[ShownTarget]
) -> list[str]:
    """What runs otherwise than it was asked for, one text each."""
    iqns = list(topology.target_iqns)
    if (has := [target.iqn for target in shown]) != iqns:
        return [f"targets are {has}, not {iqns}"]
    return [text for target in shown for text in _differences(config, topology, target)]


def _differences(config: TargetConfig, topology: Topology, target: ShownTarget) -> list[str]:
    luns, wanted = [lun for lun in target.luns if lun.number], topology.luns_of(target.iqn)
    accounts = []
    if chap := config.chap:
        accounts = [chap.incoming.user]
        accounts += [f"{chap.outgoing.user} (outgoing)"] if chap.outgoing else []
    facts: dict[str, tuple[object, object]] = {
        "state": (target.state, "ready"),
        "LUNs": ([lun.number for lun in luns], [_FIRST_LUN + n for n in range(len(wanted))]),
        "online": ([lun.online for lun in luns], [True for _ in wanted]),
        "SCSI ID": ([lun.scsi_id for lun in luns], [scsi_id(lun) for lun in wanted]),
        "SCSI SN": ([lun.scsi_sn for lun in luns], [lun.serial for lun in wanted]),
        "backing store": (
            [lun.path for lun in luns],
            [storage_path(config, lun) for lun in wanted],
        ),
        "ACL": (sorted(target.acl), sorted(_initiator_iqns(topology))),
        "accounts": (sorted(target.accounts), sorted(accounts)),
    }
    of = f" of {target.iqn}" if len(topology.target_iqns) > 1 else ""
    return [f"{k}{of} is {has}, not {want}" for k, (has, want) in facts.items() if has != want]
