"""A machine that is there already, with everything in place or with one thing that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from harness.config import Config
from harness.config.profiles import FAST
from harness.errors import MachineError
from harness.machine import Process
from harness.topology import plan
from harness.transport.devices import SURVEY_SCRIPT
from harness.transport.existing import ExistingInitiator
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

WWID = "360014057043dfe0435de773ca03bbf04"
TOOLS = """\
user 0
version python3 Python 3.6.8
version wipefs wipefs from util-linux 2.32.1
version fio fio-3.36
"""
LOOK = """\
## files of open-iscsi
## files of multipath-tools
/etc/multipath
## services
iscsid.service inactive
multipathd.service active
## disks
vda
"""
LOCAL = (Path(__file__).parent / "recorded/multipath-0.8.5-t.txt").read_text()
# To a command that it lacks; the layout is that of do_genhelp() in multipathd/cli.c of 0.7.7.
HELP = """\
show config local: Missing argument
multipath-tools v0.7.7 (05/11, 2018)
CLI commands reference:
 list|show paths
"""
ADDRESSES = """\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
3: eth1    inet 172.16.0.101/24 scope global eth1\\       valid_lft forever preferred_lft forever
4: eth2    inet 172.16.1.101/24 scope global eth2\\       valid_lft forever preferred_lft forever
"""


def config() -> Config:
    return Config.model_validate(
        {"target": {"kind": "external", "wwid": WWID}, "initiator": {"machine": "local"}}
    )


class Lockable(ScriptedMachine):
    """A machine with a lock, which may be held by another."""

    def __init__(self, answer: Callable[[Asked], Answer], *, locked: bool) -> None:
        super().__init__(answer)
        self.locked = locked

    @contextmanager
    def background(
        self, argv: Sequence[str], *, on_line: Callable[[bytes], None] | None = None
    ) -> Iterator[Process]:
        assert argv[0] == "flock"
        assert on_line
        if not self.locked:
            on_line(b"held\n")
        yield cast(Process, SimpleNamespace(running=not self.locked))


class Host:
    """A machine with everything in place, or with one thing that is not."""

    def __init__(
        self,
        *,
        tools: str = TOOLS,
        multipathd: tuple[str, ...] = (LOCAL,),
        looks: tuple[str, ...] = (),
        locked: bool = False,
        records: bool = False,
        devices: str = "",
        addresses: str = ADDRESSES,
        traces: bool = False,
    ) -> None:
        self.tools = tools
        self.multipathd = list(multipathd)
        self.looks = list(looks)
        self.records = records
        self.record_text = ""
        self.devices = devices
        self.addresses = addresses
        self.traces = traces
        self.undoing: Answer | MachineError = Answer()
        self.machine = Lockable(self.answer, locked=locked)

    def answer(self, asked: Asked) -> Answer:
        if asked.argv[0] == "sh":
            return self._answer_script(asked.argv[2])
        if asked.argv[:3] == ("iscsiadm", "--mode", "node"):
            return Answer(self.record_text, status=0 if self.records else 21)
        if asked.argv == ("multipathd", "show", "config", "local"):
            said, *later = self.multipathd
            self.multipathd = later or [said]
            return Answer(said)
        if asked.argv[0] == "ip":
            return Answer(self.addresses)
        if asked.argv[0] == "test":
            return Answer(status=0 if self.traces else 1)
        return Answer("ok\n" if asked.argv == ("multipathd", "reconfigure") else "")

    def _answer_script(self, script: str) -> Answer:
        if "drop_in=$1" in script:
            if isinstance(self.undoing, MachineError):
                raise self.undoing
            return self.undoing
        if "--enghelp" in script:
            return Answer(self.tools)
        if SURVEY_SCRIPT in script:
            return Answer(f"--\n{self.devices}")
        if "part()" in script:
            return Answer(self.looks.pop(0) if self.looks else LOOK)
        return Answer()

    def initiator(self) -> ExistingInitiator:
        return ExistingInitiator(self.machine, plan(config()), FAST, (WWID,))

    def asked(self) -> list[str]:
        return [" ".join(asked.argv) for asked in self.machine.asked]
