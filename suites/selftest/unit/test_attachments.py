"""Several LUNs on one initiator: each has its own map, and nothing of it is left."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.config import Config
from harness.config.profiles import FAST
from harness.errors import InitiatorError
from harness.topology import plan
from harness.transport import IscsiInitiator
from harness.transport.dm_multipath.multipath_conf import (
    DROP_IN,
    WWIDS,
    render_conf,
    render_drop_in,
)
from harness.transport.existing import _UNDO_SCRIPT, ExistingInitiator
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

TOPOLOGY = plan(Config())
FIRST, SECOND = "360014057043dfe0435de773ca03bbf04", "36001405ab1fe0435de773ca03bbf0400"
IQN = TOPOLOGY.target_iqn
# Both sessions reach a disk of each LUN.
SURVEY = "".join(
    f"session{number}|{IQN}|LOGGED_IN|172.16.{number}.1|3260|default|1|1|1"
    f"|172.16.{number}.101|{disk}|8:{16 * place}|naa.{wwid[1:]}\n"
    for number in (0, 1)
    for place, disk, wwid in (
        (number, f"sd{'ac'[number]}", FIRST),
        (number + 2, f"sd{'bd'[number]}", SECOND),
    )
) + (
    "--\n"
    + "".join(
        f"device|{disk}|8:{number}|2048||||{wwid}||naa.{wwid[1:]}\n"
        for number, (disk, wwid) in enumerate(
            (("sda", FIRST), ("sdc", FIRST), ("sdb", SECOND), ("sdd", SECOND))
        )
    )
)


def initiator(answer: str = "") -> tuple[IscsiInitiator, ScriptedMachine]:
    machine = ScriptedMachine(lambda _: Answer(answer))
    return IscsiInitiator(machine, TOPOLOGY, FAST, (FIRST, SECOND)), machine


def test_each_lun_has_a_disk_on_every_path() -> None:
    """A session leads to all of them."""
    one, other = initiator(SURVEY)[0].attachments
    assert [path.disk for path in one.paths()] == ["sda", "sdc"]
    assert [path.disk for path in other.paths()] == ["sdb", "sdd"]
    assert (one.device, other.device) == (f"/dev/mapper/{FIRST}", f"/dev/mapper/{SECOND}")


def test_maps_are_made_of_these_luns_alone() -> None:
    """A disk of the machine itself must never end up in a map."""
    conf = render_conf([FIRST, SECOND], FAST)
    (allowed,) = re.findall(r"blacklist_exceptions \{\n(.*?)\n\}", conf, re.DOTALL)
    assert allowed.split() == ["wwid", f'"^{FIRST}$"', "wwid", f'"^{SECOND}$"']


def test_logging_out_flushes_every_map() -> None:
    """Before the sessions end: a map without a path would queue for ever."""
    one, machine = initiator()
    one.log_out()
    asked = [" ".join(each.argv) for each in machine.asked]
    flushed = [n for n, line in enumerate(asked) if "multipath -f" in line]
    ended = [n for n, line in enumerate(asked) if line.endswith("--logout")]
    assert [asked[n].split()[-1] for n in flushed] == [one.device for one in one.attachments]
    assert max(flushed) < min(ended)


def test_every_lun_of_a_run_that_was_killed_is_undone(tmp_path: Path) -> None:
    """Queueing ends on all of them before fio is killed, and the WWID that was new is forgotten."""
    drop_in, wwids, tools = tmp_path / "pathproof.conf", tmp_path / "wwids", tmp_path / "tools"
    drop_in.write_text(
        render_drop_in({FIRST: True, SECOND: False}, [IQN], "multibus", active=["x"])
    )
    wwids.write_text(f"/{FIRST}/\n/{SECOND}/\n")
    tools.mkdir()
    for wwid in (FIRST, SECOND):
        (tmp_path / wwid).touch()
    for name in ("multipath", "multipathd", "dmsetup", "pkill"):
        (tools / name).write_text(f"#!/bin/sh\necho {name} $* >>{tmp_path}/log; echo ok\n")
    for name in ("iscsiadm", "nft", "systemctl", "pgrep", "sleep"):
        (tools / name).write_text("#!/bin/sh\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    script = _UNDO_SCRIPT.replace(WWIDS, str(wwids)).replace("/dev/mapper", str(tmp_path))
    script = script.replace("/run/pathproof", str(tmp_path / "run"))
    argv = ["/bin/sh", "-uc", script, "sh", str(drop_in)]
    done = subprocess.run(argv, env={"PATH": f"{tools}:/usr/bin:/bin"}, check=False)
    said = (tmp_path / "log").read_text().splitlines()
    assert [" ".join(line.split()[:2]) for line in said[:5]] == [
        *["multipathd disablequeueing", "dmsetup message"] * 2,
        "pkill -f",
    ]
    assert said[5:7] == [f"multipath -f -R 10 {FIRST}", f"multipath -f -R 10 {SECOND}"]
    assert wwids.read_text() == f"/{FIRST}/\n"
    assert done.returncode == 0
    assert not drop_in.exists()


@pytest.mark.parametrize("there", [FIRST, SECOND])
def test_no_lun_that_a_machine_has_already_is_taken_over(there: str) -> None:
    """Whichever it is: somebody else uses it."""
    machine = ScriptedMachine(lambda _: Answer(f"--\ndevice|sdx|8:0|2048||||{there}||\n"))
    one = ExistingInitiator(machine, TOPOLOGY, FAST, (FIRST, SECOND))
    with pytest.raises(InitiatorError, match=f"has the LUN {there} already: sdx"):
        one.require_unused()


def test_an_existing_machine_learns_every_lun_before_its_disks_appear() -> None:
    """Of those that it knew nothing is added, so that nothing of them is taken away."""

    def answer(asked: Asked) -> Answer:
        if asked.argv[0] == "grep":
            return Answer(status=0 if f"/{FIRST}/" in asked.argv else 1)
        return Answer("ok\n" if asked.argv[0] == "multipathd" else "## services\n")

    class Files(ScriptedMachine):
        written = ""

        def write_files(self, files: Mapping[str, object], **_: object) -> None:
            self.written = str(files[DROP_IN])

    machine = Files(answer)
    ExistingInitiator(machine, TOPOLOGY, FAST, (FIRST, SECOND)).configure()
    assert machine.written.splitlines()[2:4] == [f"# lun {FIRST} known", f"# lun {SECOND} new"]
    added = [asked.argv[-1] for asked in machine.asked if ">>" in " ".join(asked.argv)]
    assert added == [SECOND]


@pytest.mark.parametrize(
    ("disks", "in_map", "disk"),
    [
        (("sdb", "sdc"), ("sdb",), "sdb"),
        (("sdb", "sdc"), ("sdc",), "sdc"),
        (("sdb", "sdc"), ("sdb", "sdc"), None),
        (("sdb", "sdc"), (), None),
        (("sdb",), (), "sdb"),
        ((), (), None),
    ],
)
def test_of_two_disks_of_a_path_the_one_in_the_map_is_the_path(
    disks: tuple[str, ...], in_map: tuple[str, ...], disk: str | None
) -> None:
    """The other died, or is not taken in; where that does not decide, it is not known."""
    session = f"session2|{IQN}|LOGGED_IN|172.16.1.1|3260|default|1|1|1|172.16.1.101|"
    lines = [
        *(f"{session}{name}|8:{n}|naa.{FIRST[1:]}" for n, name in enumerate(disks)),
        *("--", *(f"device|{name}|8:{n}|1||||{FIRST}||" for n, name in enumerate(disks))),
        f"device|dm-0|253:0|1|{' '.join(in_map)}|{FIRST}|mpath-{FIRST}|||",
    ]
    found = initiator("\n".join(lines) + "\n")[0].attachments[0].paths_in_use()
    assert {path: one.disk for path, one in found.items()} == ({"b": disk} if disk else {})
