"""The suite for LUNs that are read-only: it tries every one, of whatever size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from harness.config import Config
from harness.config.ready import ready_topologies
from harness.topology import plan
from suites.conformance import test_read_only as suite

TIB = 1 << 40
(SHARED,) = (
    one.lun
    for one in plan(Config.model_validate(ready_topologies()["two-initiators"])).maps
    if one.read_only
)


class Lab:
    """LUNs that all initiators see, of these sizes; all but the first must not write to any.

    Of what is written to the maps it keeps the first `kept` blocks, and loses the rest.
    """

    def __init__(
        self,
        *sizes: int,
        writable: Sequence[int] = (),
        readers: Sequence[str] = ("second",),
        kept: int = 9,
    ) -> None:
        self.commands: list[str] = []
        self.written = b""
        self.kept = kept
        self.writable = {f"sd{number}" for number in writable}
        self.maps = [
            SimpleNamespace(
                lun=lun,
                machine=machine,
                device=f"/dev/mapper/{lun}",
                planned=SimpleNamespace(read_only=machine in lun.read_only),
                attachment=SimpleNamespace(paths=lambda n=n: [SimpleNamespace(disk=f"sd{n}")]),
            )
            for n, size in enumerate(sizes)
            for lun in [
                replace(
                    SHARED,
                    number=n,
                    size=size,
                    initiators=("initiator", *readers),
                    read_only=tuple(readers),
                )
            ]
            for machine in lun.initiators
        ]

    def machine(self, _: str) -> Lab:
        return self

    def run(self, argv: Sequence[str], *, check: bool = True, stdin: bytes = b"") -> Any:
        self.commands.append(" ".join(argv))
        if stdin and self.kept:
            self.written, self.kept = stdin, self.kept - 1
        refused = argv[0] == "sg_raw" and argv[4].removeprefix("/dev/") not in self.writable
        return SimpleNamespace(
            status=0 if check else 1,
            stdout="",
            stderr="Write protected" if refused else "",
            stdout_bytes=self.written,
        )


def readers(lab: Lab) -> Any:
    return suite.readers.__wrapped__(lab)  # type: ignore[attr-defined]  # of a fixture


def test_every_lun_is_tried() -> None:
    """One that takes writes is found, whichever it is."""
    lab: Any = Lab(TIB, TIB)
    suite.test_what_only_reads_cannot_write(lab, readers(lab))
    suite.test_what_may_write_is_heard_by_who_only_reads(lab, readers(lab))
    for lun in ("lun0", "lun1"):
        assert sum(f"of=/dev/mapper/{lun}" in command for command in lab.commands) == 2
    lab = Lab(TIB, TIB, writable=[1])
    with pytest.raises(AssertionError):
        suite.test_what_only_reads_cannot_write(lab, readers(lab))


@pytest.mark.parametrize(
    ("size", "address"),
    [(TIB, "7f ff ff ff"), (2 * TIB, "ff ff ff ff"), (3 * TIB, "ff ff ff ff")],
)
def test_the_last_block_that_the_command_can_name_is_tried(size: int, address: str) -> None:
    """2 TiB are as far as it reaches."""
    lab: Any = Lab(size)
    suite.test_what_only_reads_cannot_write(lab, readers(lab))
    (sent,) = (command for command in lab.commands if command.startswith("sg_raw"))
    assert sent.endswith(f" 2a 00 {address} 00 00 01 00")


@pytest.mark.parametrize("names", [("second",), ("second", "third")])
def test_a_write_that_is_lost_is_noticed(names: Sequence[str]) -> None:
    """Though a block of the same writer is there, from the run before or for another reader."""
    lab: Any = Lab(TIB, readers=names, kept=len(names))
    suite.test_what_may_write_is_heard_by_who_only_reads(lab, readers(lab))
    with pytest.raises(AssertionError):
        suite.test_what_may_write_is_heard_by_who_only_reads(lab, readers(lab))
    lab = Lab(TIB, readers=names, kept=len(names) - 1)
    with pytest.raises(AssertionError):
        suite.test_what_may_write_is_heard_by_who_only_reads(lab, readers(lab))
