"""What logins came to: read from sysfs, and compared with what was asked for."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis.sessions import login_problems
from harness.checks import Verdict, sessions_as_planned
from harness.config import Config
from harness.config.negotiation import Negotiation
from harness.config.profiles import FAST
from harness.errors import InitiatorError, PreflightFailed
from harness.measurements import SessionSettings
from harness.preflight import require_fit, run
from harness.topology import plan
from harness.transport import IscsiInitiator
from harness.transport.advice import ADVICE
from harness.transport.devices import SURVEY_SCRIPT
from harness.transport.iscsi.negotiated import LOGINS_SCRIPT, Login, parse_logins
from harness.transport.iscsi.settings import planned_session, session_settings
from harness.transport.iscsi.sysfs import SESSIONS_SCRIPT
from suites.selftest.unit.judged import found, good
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

RECORDED = Path(__file__).parent / "recorded"
SESSION = (RECORDED / "pathproof-sessions-linux-6.1.txt").read_text()
WITH_DIGESTS = (RECORDED / "pathproof-logins-linux-6.1.txt").read_text()
REDIRECTED = (RECORDED / "pathproof-logins-linux-6.1-redirected.txt").read_text()
DOWN = (RECORDED / "pathproof-logins-linux-6.1-down.txt").read_text()
NEGOTIATED = {
    "HeaderDigest": "CRC32C",
    "DataDigest": "CRC32C",
    "MaxRecvDataSegmentLength": "32768",
    "MaxXmitDataSegmentLength": "4096",
    "InitialR2T": "Yes",
    "ImmediateData": "Yes",
    "MaxOutstandingR2T": "1",
    "FirstBurstLength": "32768",
    "MaxBurstLength": "131072",
}
PORTAL = "172.16.0.1:3260"
NAMES = {"session1", "session2", "session3", "session4"}
PLAN = planned_session("a", portal=PORTAL, through="a", negotiated=NEGOTIATED)


def as_planned(negotiated: dict[str, str]) -> SessionSettings:
    return session_settings("a", 1, 1, 1, "a", connected_to=PORTAL, negotiated=negotiated)


AS_PLANNED = as_planned(NEGOTIATED)


def lost(state: str) -> SessionSettings:
    """The session in a state in which it is not logged in."""
    return replace(AS_PLANNED, through="", state=state, is_up=False)


def test_a_recorded_login_is_understood() -> None:
    """Under the names that the values have in a login."""
    assert parse_logins(WITH_DIGESTS, NAMES) == {
        "session1": Login(PORTAL, PORTAL, NEGOTIATED),
        "session2": Login("172.16.1.1:3260", "172.16.1.1:3260", NEGOTIATED),
    }


def test_a_redirected_connection_is_where_its_socket_is() -> None:
    """The record's portal is the one that sent it away."""
    (login,) = parse_logins(REDIRECTED, NAMES).values()
    assert (login.portal, login.connected_to) == (PORTAL, "172.16.1.1:3261")


def test_a_lost_connection_is_nowhere() -> None:
    """The kernel clears its digests, which says nothing of the login."""
    (login,) = parse_logins(DOWN, NAMES).values()
    assert (login.portal, login.connected_to) == (PORTAL, "")


def test_sessions_that_tell_nothing_are_passed_over() -> None:
    """Those of an HBA have no such attributes, perhaps no connection, or one over IPv6."""
    attributes = [part.partition("=")[0] for part in WITH_DIGESTS.splitlines()[0].split("|")[3:]]
    empty = "|".join(f"{name}=" for name in attributes)
    text = f"session3|:|:|{empty}\nsession4|2001:db8::2:3260|2001:db8::2:3260|{empty}\n"
    logins = parse_logins(text, NAMES)
    assert logins["session3"] == Login()
    assert logins["session4"].connected_to == "[2001:db8::2]:3260"


def test_a_line_of_another_form_is_refused() -> None:
    """Rather than read in the wrong order; unless it is about a session of somebody else."""
    odd = "session1|172.16.0.1:3260|172.16.0.1:3260\n"
    with pytest.raises(InitiatorError, match="not a line about a login"):
        parse_logins(odd, NAMES)
    assert parse_logins(odd, {"session2"}) == {}


def test_the_script_runs_behind_both_others() -> None:
    """It needs no session and no file to be there."""
    for script in (SESSIONS_SCRIPT, SURVEY_SCRIPT):
        done = subprocess.run(
            ["sh", "-euc", f"{script}\necho MARK\n{LOGINS_SCRIPT}"],
            capture_output=True,
            text=True,
            check=True,
        )
        parse_logins(done.stdout.partition("MARK\n")[2], NAMES)


def test_the_script_reads_each_session_with_and_without_a_connection(tmp_path: Path) -> None:
    """The folders are as sysfs has them; the second session never got a connection."""
    for name in ("session1", "session3"):
        (tmp_path / name / "device").mkdir(parents=True)
        (tmp_path / name / "max_burst_len").write_text("131072\n")
    connection = tmp_path / "session1/device/connection1:0/iscsi_connection/connection1:0"
    connection.mkdir(parents=True)
    for end, address in (("persistent_", "172.16.0.1"), ("", "172.16.1.1")):
        (connection / f"{end}address").write_text(f"{address}\n")
        (connection / f"{end}port").write_text("3260\n")
    (connection / "header_digest").write_text("1\n")
    script = f"{SESSIONS_SCRIPT}\necho MARK\n{LOGINS_SCRIPT}".replace(
        "/sys/class/iscsi_session", str(tmp_path)
    )
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    logins = parse_logins(done.stdout.partition("MARK\n")[2], NAMES)
    values = {"HeaderDigest": "CRC32C", "MaxBurstLength": "131072"}
    assert logins["session1"] == Login(PORTAL, "172.16.1.1:3260", values)
    assert logins["session3"] == Login(negotiated={"MaxBurstLength": "131072"})


def test_a_login_as_asked_for_is_no_problem() -> None:
    """Nor are values that were not asked for."""
    assert list(login_problems([PLAN], [AS_PLANNED])) == []
    assert list(login_problems([planned_session("a", through="a")], [AS_PLANNED])) == []


@pytest.mark.parametrize("key", NEGOTIATED)
def test_each_value_that_was_asked_for_is_compared(key: str) -> None:
    """With the key, the path and both values; an unknown one is neither right nor wrong."""
    another = replace(AS_PLANNED, negotiated=NEGOTIATED | {key: "another"})
    (problem,) = login_problems([PLAN], [another], ADVICE)
    assert problem.cause == (
        f"{key} of the session of path a is another instead of {NEGOTIATED[key]}"
    )
    assert "[initiator.iscsi]" in problem.cure
    values = {other: value for other, value in NEGOTIATED.items() if other != key}
    unknown = replace(AS_PLANNED, negotiated=values)
    (problem,) = login_problems([PLAN], [unknown])
    assert problem.cause == (
        f"{key} of the session of path a should be {NEGOTIATED[key]}, but its driver does not "
        "show it"
    )
    for after in (False, True):
        assert of(another, after=after)[0] is Verdict.FAIL
        assert of(unknown, after=after)[0] is Verdict.UNKNOWN


def test_a_first_burst_that_is_not_allowed_is_not_compared() -> None:
    """Both ends leave FirstBurstLength as it is then."""
    off = NEGOTIATED | {"ImmediateData": "No"}
    asked = replace(PLAN, negotiated=off)
    session = as_planned(off | {"FirstBurstLength": "262144"})
    assert list(login_problems([asked], [session])) == []


def test_a_session_without_connection_is_not_as_asked_for() -> None:
    """What the kernel still has of it is not in force, and what it cleared was not negotiated."""
    cleared = NEGOTIATED | {"HeaderDigest": "None"}
    for session in (
        replace(AS_PLANNED, connected_to="", negotiated=cleared),
        replace(
            AS_PLANNED, connected_to="", negotiated=cleared, through="", state="FAILED", is_up=False
        ),
        replace(
            AS_PLANNED, negotiated=cleared, state="FREE", is_up=False
        ),  # in the midst of a login
    ):
        (problem,) = login_problems([PLAN], [session])
        assert f"no connection that is logged in (its state is {session.state})" in problem.cause
        for after in (False, True):
            verdict, text = of(session, after=after)
            assert verdict is Verdict.UNKNOWN
            assert problem.cause in text


def test_the_way_of_a_session_without_connection_is_not_known() -> None:
    """Nor is it wrong."""
    (problem,) = login_problems(
        [planned_session("a")], [replace(AS_PLANNED, through="", state="x", is_up=False)]
    )
    assert "not logged in (its state is x)" in problem.cause
    gone = tuple(replace(one, through="", state="FAILED", is_up=False) for one in good().settings)
    finding = found(sessions_as_planned(), replace(good(), settings=gone))
    assert finding.verdict is Verdict.UNKNOWN
    after = found(sessions_as_planned(), replace(good(), settings_after=gone))
    assert after.verdict is Verdict.PASS  # whether they are back is for another check


def test_a_timeout_that_was_demanded_and_is_not_told_leaves_it_open() -> None:
    """No transport can leave one out and pass."""
    first, second = good().settings
    without = replace(second, timeouts=second.timeouts[:-1])
    finding = found(sessions_as_planned(), replace(good(), settings=(first, without)))
    assert finding.verdict is Verdict.UNKNOWN
    assert "recovery_tmo of the session of path b should be 1 s" in finding.message


def test_timeouts_that_changed_on_the_way_leave_it_open() -> None:
    """A later fault would be held to a limit that was no longer in force."""
    first, second = good().settings
    changed = session_settings(second.path, 0, 1, 120, second.through)
    finding = found(sessions_as_planned(), replace(good(), settings_after=(first, changed)))
    assert finding.verdict is Verdict.UNKNOWN
    assert "noop_out_interval of the session of path b was 1 s and became off" in finding.message
    assert "recovery_tmo of the session of path b was 1 s and became 120 s" in finding.message


@pytest.mark.parametrize("after", [None, (), good().settings[:1]])
def test_what_came_back_must_have_been_looked_at(
    after: tuple[SessionSettings, ...] | None,
) -> None:
    """On every path."""
    finding = found(sessions_as_planned(), replace(good(), settings_after=after))
    assert finding.verdict is Verdict.UNKNOWN
    said = "not looked at" if after is None else "path b had no session"
    assert said in finding.message


def test_a_login_that_was_redirected_is_a_problem_with_both_portals() -> None:
    """Also where it stays on the network, and nothing was asked for."""
    session = replace(AS_PLANNED, connected_to="172.16.0.1:3261")
    (problem,) = login_problems([planned_session("a", portal=PORTAL, through="a")], [session])
    assert f"login to {PORTAL} of path a was redirected to 172.16.0.1:3261" in problem.cause


def of(*changed: SessionSettings, after: bool) -> tuple[Verdict, str]:
    sessions = (*changed, replace(AS_PLANNED, path="b", through="b", connected_to="172.16.1.1:1"))
    measured = replace(
        good(),
        planned=(PLAN, replace(PLAN, path="b", through="b", portal="172.16.1.1:1")),
        settings=sessions if not after else (AS_PLANNED, *sessions[1:]),
        settings_after=sessions if after else (AS_PLANNED, *sessions[1:]),
    )
    finding = found(sessions_as_planned(), measured)
    return finding.verdict, finding.message


def test_a_path_that_came_back_has_to_be_as_before() -> None:
    """It has logged in anew."""
    assert of(AS_PLANNED, after=True)[0] is Verdict.PASS
    without = replace(AS_PLANNED, negotiated=NEGOTIATED | {"HeaderDigest": "None"})
    verdict, text = of(without, after=True)
    assert verdict is Verdict.FAIL
    assert text == (
        "once I/O was over, HeaderDigest of the session of path a is None instead of CRC32C"
    )


@pytest.mark.parametrize("after", [False, True])
def test_what_a_redirected_login_shows_proves_nothing(after: bool) -> None:
    """Before the fault or after it: which connection was broken cannot be told."""
    verdict, text = of(replace(AS_PLANNED, connected_to="172.16.1.1:3261"), after=after)
    assert verdict is Verdict.UNKNOWN
    assert "redirected to 172.16.1.1:3261" in text


def initiator(logins: str, config: str = "{}") -> IscsiInitiator:
    """One whose machine has one session, of path a."""

    def answer(asked: Asked) -> Answer:
        script = asked.argv[-1]
        if LOGINS_SCRIPT not in script:
            return Answer()
        listing = f"{SESSION}--\n" if SURVEY_SCRIPT in script else SESSION
        return Answer(f"{listing}== logins\n{logins}")

    described = Config.model_validate_json(config)
    negotiation = Negotiation.of(described.target.iet, described.initiator.iscsi)
    machine = ScriptedMachine(answer)
    return IscsiInitiator(machine, plan(described), FAST, ("3600",), negotiation=negotiation)


def test_sessions_have_their_logins() -> None:
    """Whichever way they are asked for."""
    one = initiator(WITH_DIGESTS)
    (asked,), (seen,) = one.sessions(), one.survey().sessions
    assert asked.login == seen.login == Login(PORTAL, PORTAL, NEGOTIATED)
    (settings,) = one.settings_of([asked])
    assert (settings.connected_to, settings.negotiated) == (PORTAL, NEGOTIATED)
    (failed,) = one.settings_of([replace(asked, state="FAILED")])
    assert (settings.state, settings.is_up) == ("LOGGED_IN", True)
    assert (failed.state, failed.is_up) == ("FAILED", False)


def preflight(monkeypatch: pytest.MonkeyPatch, logins: str, config: str) -> str:
    monkeypatch.setattr(run, "_UNCHANGED_S", 0.0)
    with pytest.raises(PreflightFailed) as caught:
        require_fit(initiator(logins, config))
    return str(caught.value)


def test_iet_that_lets_an_initiator_in_without_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    """It did, and every run was content."""
    config = '{"target": {"kind": "iet", "iet": {"header_digest": "CRC32C"}}}'
    says = "HeaderDigest of the session of path a is None instead of CRC32C"
    without = WITH_DIGESTS.replace("header_digest=1", "header_digest=0")
    assert says in preflight(monkeypatch, without, config)
    assert says not in preflight(monkeypatch, WITH_DIGESTS, config)


def test_a_redirected_login_ends_at_the_preflight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is before the first write."""
    redirected = REDIRECTED.replace("session3", "session1")
    assert "redirected to 172.16.1.1:3261" in preflight(monkeypatch, redirected, "{}")
