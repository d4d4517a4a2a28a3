"""The shell by which faults act on daemons, sessions and disks, run with tools that stand in."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.config import Config
from harness.config.ready import ready_topologies
from harness.topology import Topology, plan
from harness.transport import Daemon
from harness.transport.fault_shell import IscsiFaultShell

TWO = plan(Config())
WWID, OTHER = "36001405aaaa", "36001405bbbb"
SYSTEMCTL = """#!/bin/sh
cd {folder}
echo "$*" >>told
case "$*" in
"show --property=Restart --value "*) cat restart ;;
"show --property=MainPID --value "*) cat pid ;;
"is-active --quiet "*) [ "$(cat pid)" != 0 ] ;;
"kill --signal=KILL "*) echo 0 >pid ;;
"reset-failed "*) exit 1 ;;
"start "*) echo 77 >pid ;;
"restart "*) cat next >pid ;;
esac
"""
SAYS = """#!/bin/sh
cd {folder}
echo "{tool} $*" >>told
head -n 1 {tool}.says
[ $(wc -l <{tool}.says) = 1 ] || sed -i 1d {tool}.says
"""


class Bench:
    """A folder with tools that stand in, what they were told, and files of a machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tool("systemctl", SYSTEMCTL)
        self.tool("sleep", "#!/bin/sh\nexit 0\n")
        self.write("restart", "no\n")
        self.write("pid", "812\n")
        self.write("next", "913\n")
        for tool in ("multipathd", "iscsiadm"):
            self.tool(tool, SAYS)
            self.write(f"{tool}.says", "ok\n")

    def tool(self, name: str, text: str) -> None:
        self.write(
            f"bin/{name}", text.replace("{folder}", str(self.folder)).replace("{tool}", name)
        )
        (self.folder / "bin" / name).chmod(0o755)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, name: str) -> str:
        return (self.folder / name).read_text().strip()

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """As `Machine.sh` does, in this folder instead of the machine's."""
        for place in ("/sys/", "/run/"):
            script = script.replace(place, f"{self.folder}{place}")
        path = {"PATH": f"{self.folder}/bin:/usr/bin:/bin"}
        return subprocess.run(
            ["sh", "-euc", script], env=path, capture_output=True, text=True, check=False
        )

    def done(self, script: str) -> str:
        done = self.run(script)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def told(self) -> list[str]:
        return (self.folder / "told").read_text().splitlines()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def shell(topology: Topology = TWO, wwids: tuple[str, ...] = (WWID,)) -> IscsiFaultShell:
    return IscsiFaultShell(topology, wwids)


DROP_IN = "run/systemd/system/{}.service.d/pathproof.conf"
UNITS = {Daemon.LOGIN: "iscsid", Daemon.PATHS: "multipathd"}


@pytest.mark.parametrize("daemon", Daemon)
def test_a_daemon_that_is_killed_is_away(bench: Bench, daemon: Daemon) -> None:
    """Where its unit leaves it at that, nothing else is changed."""
    bench.done(shell().kill(daemon))
    assert bench.told[-1] == f"kill --signal=KILL {UNITS[daemon]}.service"
    assert bench.done(shell().process(daemon)) == "0\n"
    assert not (bench.folder / "run").exists()


def test_a_daemon_that_its_unit_would_start_again_stays_away(bench: Bench) -> None:
    """Until it is mended; systemd is told before it is killed."""
    bench.write("restart", "on-failure\n")
    bench.done(shell().kill(Daemon.PATHS))
    assert bench.read(DROP_IN.format("multipathd")) == "[Service]\nRestart=no"
    assert bench.told[1:] == ["daemon-reload", "kill --signal=KILL multipathd.service"]
    bench.write("multipathd.says", "pid 77 idle\n")
    bench.done(shell().mend(Daemon.PATHS))
    assert not (bench.folder / DROP_IN.format("multipathd")).parent.exists()
    assert bench.told[3:6] == [
        "daemon-reload",
        "is-active --quiet multipathd.service",
        "reset-failed multipathd.service",
    ]
    assert bench.read("pid") == "77"


def test_a_daemon_that_runs_is_not_touched_by_mending(bench: Bench) -> None:
    """Before each test it is tried, whether there was a fault or not."""
    bench.done(shell().mend(Daemon.LOGIN))
    assert bench.told == ["is-active --quiet iscsid.service"]


def test_mending_waits_until_the_daemon_is_ready(bench: Bench) -> None:
    """But not for ever: whether it is ready is confirmed by itself."""
    bench.write("pid", "0\n")
    bench.write("multipathd.says", "pid 77 configure\npid 77 configure\npid 77 running\n")
    bench.done(shell().mend(Daemon.PATHS))
    assert bench.told[-4:] == ["start multipathd.service", *["multipathd show daemon"] * 3]
    bench.write("pid", "0\n")
    bench.write("multipathd.says", "pid 77 configure\n")
    bench.done(shell().mend(Daemon.PATHS))


@pytest.mark.parametrize(("process", "status"), [("913", 0), ("812", 1), ("0", 1)])
def test_a_restart_has_to_bring_another_process(bench: Bench, process: str, status: int) -> None:
    bench.write("next", f"{process}\n")
    assert bench.run(shell().restart(Daemon.PATHS)).returncode == status
    assert bench.told.count("restart multipathd.service") == 1


SESSION = """\
\t\tSID: {}
\t\tiSCSI Connection State: LOGGED IN
\t\tiSCSI Session State: {}
\t\tInternal iscsid Session State: {}
"""
KNOWN = SESSION.format(1, "LOGGED_IN", "NO CHANGE")


@pytest.mark.parametrize(
    ("sessions", "status"),
    [
        (KNOWN + KNOWN, 0),
        (KNOWN + SESSION.format(2, "LOGGED_IN", "Unknown"), 1),
        (KNOWN + SESSION.format(2, "FAILED", "REOPEN"), 1),
        (KNOWN + SESSION.format(2, "FREE", "NO CHANGE"), 1),
        ("Target: iqn.2026-01.io.pathproof:storage (non-flash)\n", 1),
    ],
    ids=["all known", "one not found yet", "one logs in", "one is free", "none"],
)
def test_the_login_daemon_is_ready_once_it_has_every_session(
    bench: Bench, sessions: str, status: int
) -> None:
    """One that has just started says nothing of those that it has not found yet."""
    bench.write("sessions", sessions)
    bench.tool("iscsiadm", "#!/bin/sh\ncat {folder}/sessions\n")
    assert bench.run(shell().is_ready(Daemon.LOGIN)).returncode == status
    bench.tool("iscsiadm", "#!/bin/sh\ncat {folder}/sessions; exit 21\n")
    assert bench.run(shell().is_ready(Daemon.LOGIN)).returncode == 1


@pytest.mark.parametrize(
    ("says", "status"),
    [
        *(("pid 77 idle", 0), ("pid 77 running", 0), ("pid 77 configure", 1)),
        *(("timeout", 1), ("", 1)),
    ],
)
def test_the_path_daemon_is_ready_once_it_has_its_maps(
    bench: Bench, says: str, status: int
) -> None:
    bench.write("multipathd.says", f"{says}\n")
    assert bench.run(shell().is_ready(Daemon.PATHS)).returncode == status


def test_an_order_to_reconfigure_is_given_again_as_long_as_the_daemon_is_busy(
    bench: Bench,
) -> None:
    """Any other answer than `ok` is none."""
    bench.write("multipathd.says", "timeout\nfail\nok\n")
    bench.done(shell().reconfigure())
    assert bench.told == ["multipathd reconfigure"] * 3
    for says, times in (("timeout", 5), ("permission denied", 1)):
        bench.write("told", "")
        bench.write("multipathd.says", f"{says}\n")
        done = bench.run(shell().reconfigure())
        assert (done.returncode, done.stderr) == (1, f"multipathd reconfigure: {says}\n")
        assert len(bench.told) == times


def test_each_session_with_the_testbeds_targets_is_scanned(bench: Bench) -> None:
    """And none of others."""
    four = plan(Config.model_validate(ready_topologies()["two-targets"]))
    bench.done(shell(four).rescan())
    assert bench.told == [
        f"iscsiadm --mode node --targetname {iqn} --rescan" for iqn in four.target_iqns
    ]
    assert len(bench.told) == 2


def disk(bench: Bench, session: int, name: str, number: str, wwid: str, state: str) -> None:
    """A disk of a session: one in sysfs, and what udev knows of it."""
    files = {"dev": number, "size": "2048"}
    files |= {"device/wwid": f"naa.{wwid[1:]}", "device/state": state}
    for file, text in files.items():
        bench.write(f"sys/block/{name}/{file}", f"{text}\n")
    bench.write(f"run/udev/data/b{number}", f"E:ID_SERIAL={wwid}\n")
    block = bench.folder / f"sys/class/iscsi_session/session{session}/device/target{session}:0:0"
    block = block / f"{session}:0:0:{name}/block"
    block.mkdir(parents=True)
    (block / name).symlink_to(bench.folder / "sys/block" / name)


def session(bench: Bench, number: int, address: str, iqn: str = TWO.target_iqn) -> None:
    base = f"sys/class/iscsi_session/session{number}"
    connection = f"{base}/device/connection{number}:0/iscsi_connection/connection{number}:0"
    files = {f"{base}/targetname": iqn, f"{base}/state": "LOGGED_IN"}
    files |= {f"{base}/ifacename": "default", f"{base}/recovery_tmo": "1"}
    files |= {f"{connection}/{name}": "1" for name in ("recv_tmo", "ping_tmo")}
    files |= {f"{connection}/persistent_address": address}
    files |= {f"{connection}/persistent_port": "3260"}
    for file, text in files.items():
        bench.write(file, f"{text}\n")


@pytest.fixture
def machine(bench: Bench) -> Bench:
    """Two paths with a disk of the LUN each, one of another LUN, and a session of others."""
    session(bench, 1, "172.16.0.1")
    session(bench, 2, "172.16.1.1")
    session(bench, 3, "172.16.0.1", "iqn.2026-01.com.example:theirs")
    disk(bench, 1, "sda", "8:0", WWID, "running")
    disk(bench, 1, "sdb", "8:16", OTHER, "offline")
    disk(bench, 2, "sdc", "8:32", WWID, "running")
    disk(bench, 3, "sdd", "8:48", WWID, "offline")
    bench.write("told", "")
    return bench


def disks(bench: Bench) -> Mapping[str, Mapping[str, str]]:
    return shell().disks(bench.done(shell().show_disks()))


def state(bench: Bench, name: str) -> str:
    return bench.read(f"sys/block/{name}/device/state")


def test_the_disks_of_a_path_are_those_of_the_luns_alone(machine: Bench) -> None:
    assert disks(machine) == {"a": {"sda": "running"}, "b": {"sdc": "running"}}


def test_a_disk_that_is_offline_is_the_one_that_was_meant(machine: Bench) -> None:
    machine.write("sys/block/sdc/device/state", "transport-offline\n")  # its session's doing
    machine.done(shell().take_offline(["sda"]))
    assert disks(machine) == {"a": {"sda": "offline"}, "b": {"sdc": "transport-offline"}}
    machine.done(shell().bring_disks_back())
    assert disks(machine) == {"a": {"sda": "running"}, "b": {"sdc": "transport-offline"}}
    assert [state(machine, name) for name in ("sdb", "sdd")] == ["offline", "offline"]
    assert machine.told == []


def test_a_disk_is_deleted_by_its_own_file(machine: Bench) -> None:
    machine.done(shell().delete(["sdc"]))
    assert machine.read("sys/block/sdc/device/delete") == "1"
    assert not (machine.folder / "sys/block/sda/device/delete").exists()


def test_a_session_that_lacks_a_disk_is_scanned(machine: Bench) -> None:
    """And only that one."""
    block = "sys/class/iscsi_session/session2/device/target2:0:0/2:0:0:sdc/block/sdc"
    (machine.folder / block).unlink()
    machine.done(shell().bring_disks_back())
    assert machine.told == ["iscsiadm --mode session --sid 2 --rescan"]


def test_a_session_has_a_disk_of_each_lun_of_its_target(machine: Bench) -> None:
    """Where there are two LUNs each session should have two."""
    luns = {"luns": [{"size": "256MiB"}, {"size": "256MiB"}]}
    two = plan(Config.model_validate(luns))
    machine.done(shell(two, (WWID, OTHER)).bring_disks_back())
    assert state(machine, "sdb") == "running"
    assert machine.told == ["iscsiadm --mode session --sid 2 --rescan"]


def test_a_machine_without_sessions_has_nothing_to_bring_back(bench: Bench) -> None:
    bench.done(shell().bring_disks_back())
    assert not (bench.folder / "told").exists()
