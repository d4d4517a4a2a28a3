"""One machine as a LIO target, configured in one batch by `targetctl restore`."""

from __future__ import annotations

import json

from harness.config.credentials import Confidential
from harness.config.model import TargetKind
from harness.errors import CommandFailed, TargetError
from harness.steps import Spent, attach, step
from harness.target.base import Target, storage_script
from harness.target.capabilities import Capabilities
from harness.target.lio.look import LOOK, differences, expected, parse_look
from harness.target.lio.saveconfig import Serving, every_target, render, wwid_of
from harness.topology import Lun

SAVED = "/etc/rtslib-fb-target/pathproof.json"
_TIMEOUT_S = 90.0


class LioTarget(Target):
    """Targets with a unit for each LUN, behind portal groups on the data addresses.

    Each initiator is admitted by its IQN, and sees its own LUNs only.
    """

    kind: TargetKind = "lio"
    vendor = "LIO-ORG"
    capabilities = Capabilities(
        alua=True,
        persistent_reservations=True,
        compare_and_write=True,
        chap=True,
        mutual_chap=True,
    )

    @property
    def product(self) -> str:
        return "FILEIO" if self.config.backstore == "fileio" else "IBLOCK"

    def wwid_of(self, lun: Lun) -> str:
        return wwid_of(lun.serial)

    def configure(self) -> None:
        self.serve(*every_target(self.config, self.topology))

    def serve(self, *targets: Serving) -> None:
        """Serve these and nothing else. Raises TargetError if it is not what runs then."""
        saved = Confidential(json.dumps(render(*targets), indent=2).encode())
        with step("Configure the target (LIO)", Spent.CONFIGURATION):
            self.machine.write_files({SAVED: saved}, mode=0o600)
            chap = targets[0].chap  # all of them have the same
            shown = chap.hidden_in(saved.decode()) if chap else saved
            attach("LIO configuration", shown, "application/json")
            room = storage_script(self.config, self.topology)
            try:
                done = self.machine.sh(f"{room}targetctl restore {SAVED}", timeout_s=_TIMEOUT_S)
            except CommandFailed as error:
                raise TargetError(f"LIO refused its configuration\n{error.message}") from None
            for wanted in targets:
                self._compare(wanted, done.stdout + done.stderr)

    def _compare(self, wanted: Serving, said: str) -> None:
        """Compare what runs with what was asked for: a restore reports errors and goes on."""
        argv = ["sh", "-c", LOOK, "sh", wanted.iqn]
        look = self.machine.run(argv, stdin=expected(wanted.chap), timeout_s=_TIMEOUT_S)
        if differing := differences(wanted, parse_look(look.stdout)):
            raise TargetError(
                f"LIO does not run {wanted.iqn} as asked: {'; '.join(differing)}; "
                f"targetctl said: {said.strip() or 'nothing'}"
            )
