"""Settings in force are asked of the daemons, again as long as they have no answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.config import Config
from harness.config.profiles import FAST, STOCK, Profile
from harness.errors import InitiatorError, TimedOut
from harness.topology import plan
from harness.transport import IscsiInitiator, in_force
from harness.transport.dm_multipath import attachment, multipathd
from harness.transport.dm_multipath.effective_config import ScsiIdentity
from harness.transport.existing import ExistingInitiator
from harness.transport.iscsi.settings import RECOVERY
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

RECORDED = Path(__file__).parent / "recorded"
TOPOLOGY = plan(Config())
WWID = "360014057043dfe0435de773ca03bbf04"
CONFIG = (RECORDED / "multipath-0.9.4-t.txt").read_text()
MAPS = (RECORDED / "multipathd-0.9.4-maps.json").read_text()
DISK = "--\ndevice|sda|8:0|2048||||360014057043dfe0435de773ca03bbf04||x\n"
# multipath -h of Debian 12, on standard error.
USAGE = "multipath-tools v0.9.4 (12/19, 2022)\nUsage:\n  multipath [-v level]\n"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not come needs not be waited for, and there is no pause between two looks."""
    monkeypatch.setattr("harness.deadline.time.sleep", lambda _: None)
    monkeypatch.setattr(in_force, "_PATIENCE_S", 0.01)
    monkeypatch.setattr(attachment, "_MAP_TIMEOUT_S", 0.01)
    monkeypatch.setattr(multipathd, "_ORDER_TIMEOUT_S", 0.01)


def answering(
    *config: str, identity: str = "LIO-ORG \npathproof       \n4.0 \n", login_timeout: str = "30"
) -> Callable[[Asked], Answer]:
    """A machine whose multipathd gives these answers, one after another, then the last again."""
    answers: Iterator[str] = iter(config)
    last = ""

    def answer(asked: Asked) -> Answer:
        nonlocal last
        if asked.argv[0] == "multipathd":
            last = next(answers, last)
            return Answer(last)
        if asked.argv == ("multipath", "-h"):
            return Answer(stderr=USAGE, status=1)
        if asked.argv[0] == "cat":
            return Answer(identity)
        if asked.argv[0] == "iscsiadm":
            return Answer(f"# BEGIN RECORD\nnode.conn[0].timeo.login_timeout = {login_timeout}\n")
        return Answer(DISK)

    return answer


def initiator(
    answer: Callable[[Asked], Answer],
    profile: Profile = STOCK,
    kind: type[IscsiInitiator] = IscsiInitiator,
) -> IscsiInitiator:
    return kind(ScriptedMachine(answer), TOPOLOGY, profile, (WWID,))


def test_an_answer_that_is_not_whole_is_not_yet_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`timeout`, nothing, the beginning; then all of it."""
    monkeypatch.setattr(in_force, "_PATIENCE_S", 5.0)
    one = initiator(answering("timeout\n", "", CONFIG[:700], CONFIG))
    assert one.allowances().polling.seconds == 10


def test_the_last_answer_is_told() -> None:
    with pytest.raises(InitiatorError, match=r"multipathd: not within 0 s; last seen: .*timeout"):
        initiator(answering("timeout\n")).allowances()


def test_how_soon_a_path_is_used_again_is_that_of_the_machine() -> None:
    """Whatever the profile says: fast would have 1 and 3 s."""
    found = initiator(answering(CONFIG), FAST).allowances()
    assert (found.polling.name, found.polling.seconds) == ("polling_interval", 10)
    assert found.polling.source == "multipathd 0.9.4: show config"
    assert found.login_timeout.seconds == 30
    assert found.login_timeout.source == "node record of 172.16.0.1:3260"
    assert found.sessions == 2


def test_a_record_without_the_timeout_is_refused() -> None:
    with pytest.raises(InitiatorError, match=r"172\.16\.0\.1:3260 has no node"):
        initiator(answering(CONFIG, login_timeout="")).allowances()


def test_a_version_that_is_not_told_is_none() -> None:
    assert in_force.multipath_version(ScriptedMachine(lambda _: Answer("?"))) is None


def test_a_disk_is_called_what_multipathd_calls_it() -> None:
    """Blanks behind a name do not count, and a vendor may have none."""
    machine = ScriptedMachine(lambda _: Answer("        \n disk 1        \n0001\n"))
    assert in_force.scsi_identity(machine, "sda") == ScsiIdentity("", " disk 1", "0001")


def demanded(
    answer: Callable[[Asked], Answer],
    profile: Profile = STOCK,
    kind: type[IscsiInitiator] = IscsiInitiator,
) -> list[int | None]:
    planned = initiator(answer, profile, kind).planned_sessions()
    return [session.timeouts.get(RECOVERY) for session in planned]


def test_what_a_profile_leaves_alone_is_planned_as_multipathd_has_it() -> None:
    """Else nothing would notice a session that kept the 120 s of open-iscsi."""
    assert demanded(answering(CONFIG)) == [5, 5]
    assert demanded(answering(CONFIG, identity="LABCORP \nx\n1\n")) == [10, 10]
    assert demanded(answering(CONFIG), FAST) == [1, 1]


def test_an_existing_machine_has_its_own() -> None:
    """Its multipathd knows nothing of the profile."""
    assert demanded(answering(CONFIG), FAST, ExistingInitiator) == [5, 5]


def test_it_is_asked_anew_while_sessions_come_up() -> None:
    """At first no path was there, or the configuration was still the old one."""
    before = CONFIG.replace("\tfast_io_fail_tmo 5\n", "\tfast_io_fail_tmo 6\n")
    changing = initiator(answering(before, CONFIG))
    assert [one.timeouts[RECOVERY] for one in changing.planned_sessions()] == [6, 6]
    assert [one.timeouts[RECOVERY] for one in changing.planned_sessions()] == [5, 5]


def test_without_a_path_nothing_is_demanded_yet() -> None:
    """That there is none is said elsewhere."""
    assert demanded(lambda _: Answer("--\n")) == [None, None]


def test_a_map_is_waited_for_while_multipathd_is_not_to_be_understood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first 700 characters of a good answer, then the whole."""
    monkeypatch.setattr(attachment, "_MAP_TIMEOUT_S", 5.0)
    initiator(answering("timeout\n", MAPS[:700], "", MAPS)).wait_for_maps()


@pytest.mark.parametrize(
    ("said", "seen"),
    [("timeout\n", "timeout"), (MAPS[:700], "JSONDecodeError"), ('{"maps": []}', "no map")],
)
def test_a_map_that_does_not_come_is_told_with_the_last_look(said: str, seen: str) -> None:
    """Not with what was there before."""
    with pytest.raises(TimedOut, match=seen):
        initiator(answering(MAPS.replace("ready", "faulty"), said)).wait_for_maps()


def test_an_order_is_given_again_while_multipathd_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It exits with 0 all the same, and has done nothing."""
    monkeypatch.setattr(multipathd, "_ORDER_TIMEOUT_S", 5.0)
    initiator(answering("timeout\n", "ok\n")).attachments[0].give_path_back("sda")


def test_an_old_multipathd_that_is_busy_fails_to_reconfigure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(multipathd, "_ORDER_TIMEOUT_S", 5.0)
    multipathd.order(ScriptedMachine(answering("fail\n", "timeout\n", "ok\n")), "reconfigure")


@pytest.mark.parametrize(("said", "error"), [("timeout\n", TimedOut), ("fail\n", InitiatorError)])
def test_an_order_that_is_not_taken_is_an_error(said: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=said.strip()):
        initiator(answering(said)).attachments[0].take_path_away("sda")
