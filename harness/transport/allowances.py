"""How long open-iscsi and dm-multipath may take until a path is given up, and until it is back.

Sources: drivers/scsi/libiscsi.c, scsi_transport_iscsi.c, scsi_error.c and scsi_lib.c in the kernel;
ISCSI_CONN_ERR_REOPEN_DELAY in open-iscsi's usr/initiator.c; multipathd's check_path().
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, isfinite

from harness.budget import BudgetTerm, Effect, Layer, Setting
from harness.measurements import SessionSettings, Timeout
from harness.transport.iscsi.settings import NOOP_OUT_INTERVAL, NOOP_OUT_TIMEOUT, RECOVERY


@dataclass(frozen=True)
class _Meaning:
    """What a timeout does; `off` is what follows where it is off, and what to do about it."""

    source: str
    why: str
    layer: Layer
    off: tuple[str, str]


_NO_NOP_OUT = (
    "no NOP-Out is sent, so a connection that falls silent is not found dead",
    "set noop_out_interval and noop_out_timeout in the node record, then log out and in",
)
_NEVER_GIVES_UP = (
    "a session that is lost keeps its I/O until it is back, however long that takes",
    "set fast_io_fail_tmo in multipath.conf to 1 or more, then `multipathd reconfigure`",
)
_MEANINGS: Mapping[str, _Meaning] = {
    NOOP_OUT_INTERVAL: _Meaning(
        "sysfs recv_tmo",
        "a NOP-Out is sent only after that long without a word from the target",
        Layer.DETECTION,
        _NO_NOP_OUT,
    ),
    NOOP_OUT_TIMEOUT: _Meaning(
        "sysfs ping_tmo",
        "the NOP-Out may be answered for that long",
        Layer.DETECTION,
        _NO_NOP_OUT,
    ),
    RECOVERY: _Meaning(
        "sysfs recovery_tmo",
        "the session may log in again for that long before its I/O is failed",
        Layer.SESSION_RECOVERY,
        _NEVER_GIVES_UP,
    ),
}


_RETRIES = 5  # SD_MAX_RETRIES in drivers/scsi/sd.h
_RESET = BudgetTerm(
    "reset",
    0,
    "RFC 9293 section 3.5.3",
    "the connection ends with the reset that answers its next packet",
    (Layer.DETECTION,),
)
_REFUSED_BY_KERNEL = BudgetTerm(
    "device state",
    0,
    "scsi_device_state_check() in drivers/scsi/scsi_lib.c",
    "what is sent to a disk that is offline, or that is removed, fails at once",
    (Layer.DETECTION,),
)
_PAUSE = BudgetTerm(
    "reopen delay",
    3,
    "open-iscsi's usr/initiator.c",
    "an attempt that failed, as when ARP got no answer, is followed by a pause",
    (Layer.LOGIN,),
)
_CONNECTION_POLLS = BudgetTerm(
    "connection polls",
    2,
    "session_conn_poll() in open-iscsi's usr/initiator.c",
    "that an attempt was refused, and that the next one is connected, is noticed once a second",
    (Layer.LOGIN,),
)
# No timeout has to run out before a path is given up, or nothing is given up.
_NOTHING_RUNS_OUT = frozenset({Effect.HELD, Effect.NOT_READY, Effect.REGROUPED, Effect.UNNOTICED})
_NOTHING_TO_COME_BACK = frozenset({Effect.HELD, Effect.REGROUPED, Effect.UNNOTICED})


@dataclass(frozen=True)
class InForce:
    """What decides how soon a healed path is used again. An `Allowances`.

    `sessions` is how many the initiator has.
    """

    login_timeout: Setting
    polling: Setting
    sessions: int = 1

    def detection_terms(self, session: SessionSettings, effect: Effect) -> tuple[BudgetTerm, ...]:
        """The next NOP-Out has to be due, its answer overdue, and recovery given up.

        A carrier that is lost is no exception: TCP keeps the connection. A reset ends it at once. A
        session that is back before recovery is given up sends its I/O again over the same path: the
        transport ends it with DID_TRANSPORT_DISRUPTED, which scsi_noretry_cmd() retries also for
        multipath. Where that is lost once more, all of it begins anew.

        A unit that is not ready says so at once (scsi_io_completion_action() fails the command).
        What is held ends with its fault.
        """
        if effect in _NOTHING_RUNS_OUT:
            return ()
        recovery = tuple(_term(one) for one in session.timeouts if one.name == RECOVERY)
        match effect:
            case Effect.DETACHED:
                return (_REFUSED_BY_KERNEL,)
            case Effect.REFUSED:
                return (_RESET, *recovery)
            case Effect.RECONNECTED:
                return (*map(self._in_turn, recovery), *self._looks)
        terms = tuple(map(_term, session.timeouts))
        if effect is not Effect.INTERRUPTED or not isfinite(session.gives_up_s):
            return terms
        again = BudgetTerm(
            "retries",
            _RETRIES * session.gives_up_s,
            "SD_MAX_RETRIES in drivers/scsi/sd.h",
            f"a session that is back in time sends its I/O over the same path again, {_RETRIES} "
            "times at most",
            (Layer.DETECTION, Layer.SESSION_RECOVERY),
        )
        return (*terms, again)

    def _in_turn(self, recovery: BudgetTerm) -> BudgetTerm:
        """The recovery of every session, one after the other.

        An iscsid that starts logs in anew on each session that it finds, and begins with the next
        one once that is done: sync_session() in usr/iscsid.c, iscsi_sync_session() in
        usr/initiator.c. What waited for one session may be sent to the next.
        """
        return replace(
            recovery,
            name=f"{recovery.name} of {self.sessions} sessions",
            seconds=self.sessions * recovery.seconds,
            why="the daemon that starts ends each session in turn and logs in anew: each may keep "
            f"I/O until {recovery.name} is over",
            layers=(Layer.DETECTION, Layer.SESSION_RECOVERY, Layer.PATH_FAILURE),
        )

    def recovery_terms(self, effect: Effect) -> tuple[BudgetTerm, ...]:
        """The session has to log in again, and multipathd to see it.

        The device mapper queues I/O meanwhile (queue_if_no_path). A map that does not queue has
        no longer stall but I/O errors. Where no machine answers ARP, or a path comes and goes, an
        attempt to log in may also fail: then open-iscsi pauses. One that is refused always fails,
        and none has to run out. Where sessions live, or are back once the fault is healed, there
        is no login to wait for, and only multipathd has to look.
        """
        if effect in _NOTHING_TO_COME_BACK:
            return ()
        login = BudgetTerm(
            self.login_timeout.name,
            self.login_timeout.seconds,
            self.login_timeout.source,
            "an attempt to log in that began during the outage may have to run out",
            (Layer.LOGIN,),
        )
        attempts: Mapping[Effect, tuple[BudgetTerm, ...]] = {
            Effect.SILENT: (login,),
            Effect.REFUSED: (_PAUSE, _CONNECTION_POLLS),
            Effect.NOT_READY: (),
            Effect.DETACHED: (),
            Effect.RECONNECTED: (),
        }
        return (*attempts.get(effect, (_PAUSE, login)), *self._looks)

    @property
    def _looks(self) -> tuple[BudgetTerm, ...]:
        """Until multipathd has looked at a path that would do."""
        return (
            BudgetTerm(
                self.polling.name,
                self.polling.seconds,
                self.polling.source,
                "multipathd looks at a failed path that often",
                (Layer.REINSTATEMENT,),
            ),
            BudgetTerm(
                "checker tick",
                1,
                "multipathd's check_path()",
                "an answer that the path checker did not have at once is fetched a second later",
                (Layer.REINSTATEMENT,),
            ),
        )

    def bears_s(self, session: SessionSettings) -> float:
        """For what the answer to a NOP-Out may take.

        That may have been sent just before the session fell silent: iscsi_has_ping_timed_out().
        """
        named = (one.seconds for one in session.timeouts if one.name == NOOP_OUT_TIMEOUT)
        return min(named, default=inf)


def _term(timeout: Timeout) -> BudgetTerm:
    meaning = _MEANINGS[timeout.name]
    layers = (meaning.layer,)
    if isfinite(timeout.seconds):
        return BudgetTerm(timeout.name, timeout.seconds, meaning.source, meaning.why, layers)
    why, cure = meaning.off
    return BudgetTerm(timeout.name, timeout.seconds, meaning.source, why, layers, cure)
