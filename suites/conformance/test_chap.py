"""CHAP: only a machine with the secret can log in, and the secret is never shown."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.config.credentials import ChapConfig, Confidential, Credentials
from harness.errors import InitiatorError
from harness.machine import Machine
from harness.target import target_for
from harness.testbed import Testbed
from harness.topology import Role
from harness.transport import IscsiInitiator
from suites.conformance.tables import CAPABILITIES

# Prints each process and file of a log that has what it looks for. The brackets keep the search
# from finding itself.
_WATCH = r"""
while :; do grep -a -o -s -h -e "$1" /proc/[0-9]*/cmdline /proc/[0-9]*/environ || :; done
"""
_LOGS = r"""
{ journalctl --no-pager; dmesg; cat /var/log/* /run/log/*/*; } 2>/dev/null | grep -a -c -e "$1" || :
"""
_LIO_GUARDS_DISCOVERY = r"""
cd /sys/kernel/config/target/iscsi/discovery_auth
read -r user secret
printf %s "$user" >userid
printf %s "$secret" >password
echo 1 >enforce_discovery_auth
"""


def _fresh(name: str) -> Credentials:
    """Credentials made for this test, with a word in the secret to search for."""
    return Credentials.model_validate({"user": name, "secret": f"Planted{secrets.token_hex(12)}"})


ONE_WAY = ChapConfig(incoming=_fresh("initiator-1"))
BOTH_WAYS = ChapConfig(incoming=_fresh("initiator-1"), outgoing=_fresh("target-1"))


def serve(testbed: Testbed, chap: ChapConfig) -> None:
    """Have the target ask for these credentials."""
    config = testbed.config.target.model_copy(update={"chap": chap})
    target_for(config, testbed.machine(Role.TARGET), testbed.topology).configure()


def initiator(testbed: Testbed, chap: ChapConfig | None) -> IscsiInitiator:
    """The first initiator, with these credentials."""
    machine, own = testbed.machine(Role.INITIATOR), testbed.topology.of(Role.INITIATOR)
    profile, wwids = testbed.config.profile, testbed.initiator.wwids
    return IscsiInitiator(machine, own, profile, wwids, chap)


@pytest.mark.requires("chap")
def test_the_right_secret_logs_in(logged_out: Testbed) -> None:
    """The right secret logs in on every path, and the map has every path."""
    serve(logged_out, ONE_WAY)
    knowing = initiator(logged_out, ONE_WAY)
    knowing.log_in()
    knowing.wait_for_maps()
    CAPABILITIES.note(logged_out.target.kind, {"CHAP": "yes"})


@pytest.mark.requires("chap")
@pytest.mark.parametrize(
    "chap",
    [
        pytest.param(None, id="no credentials"),
        pytest.param(
            ONE_WAY.model_copy(update={"incoming": _fresh("initiator-1")}), id="wrong secret"
        ),
        pytest.param(
            ChapConfig(
                incoming=ONE_WAY.incoming.model_copy(update={"user": "initiator-2"}),
            ),
            id="wrong user",
        ),
    ],
)
def test_who_does_not_know_the_secret_is_refused(
    logged_out: Testbed, chap: ChapConfig | None
) -> None:
    """An initiator without the secret is refused with one clear error, and has no session."""
    serve(logged_out, ONE_WAY)
    stranger = initiator(logged_out, chap)
    with pytest.raises(InitiatorError, match="login rejected: authorization failure"):
        stranger.log_in()
    assert stranger.sessions() == []


@pytest.mark.requires("chap")
def test_a_discovery_that_wants_the_secret_gets_it(logged_out: Testbed) -> None:
    """A discovery needs the secret; without it the initiator learns nothing of the target."""
    if logged_out.target.kind != "lio":
        pytest.skip(f"a target of kind {logged_out.target.kind} is not made to guard its discovery")
    serve(logged_out, ONE_WAY)
    user, secret = ONE_WAY.incoming.user, ONE_WAY.incoming.revealed
    logged_out.machine(Role.TARGET).run(
        ["sh", "-euc", _LIO_GUARDS_DISCOVERY],
        stdin=Confidential(f"{user} {secret}\n".encode()),
    )
    with pytest.raises(InitiatorError, match=r"discovery login to .* rejected"):
        initiator(logged_out, None).log_in()
    knowing = initiator(logged_out, ONE_WAY)
    knowing.log_in()
    knowing.wait_for_maps()


@pytest.mark.requires("mutual_chap")
def test_a_target_that_knows_its_secret_is_trusted(logged_out: Testbed) -> None:
    """The initiator accepts a target that proves that it knows its own secret."""
    serve(logged_out, BOTH_WAYS)
    knowing = initiator(logged_out, BOTH_WAYS)
    knowing.log_in()
    knowing.wait_for_maps()
    CAPABILITIES.note(logged_out.target.kind, {"mutual CHAP": "yes"})


@pytest.mark.requires("mutual_chap")
def test_a_target_with_another_secret_is_refused(logged_out: Testbed) -> None:
    """The initiator refuses a target with another secret, although its own secret is right."""
    serve(logged_out, BOTH_WAYS)
    suspicious = initiator(
        logged_out, BOTH_WAYS.model_copy(update={"outgoing": _fresh("target-1")})
    )
    with pytest.raises(InitiatorError, match=r"^portal .*: login re"):
        suspicious.log_in()
    assert suspicious.sessions() == []


@pytest.mark.requires("mutual_chap")
def test_no_process_and_no_log_of_a_machine_has_a_secret(logged_out: Testbed) -> None:
    """No process and no log of either machine shows a secret, from set-up to login."""
    machines = [logged_out.machine(role) for role in Role]
    with watching(machines[0]) as on_target, watching(machines[1]) as on_initiator:
        serve(logged_out, BOTH_WAYS)
        initiator(logged_out, BOTH_WAYS).log_in()
        for machine in machines:  # or the watch itself sees nothing
            machine.run(["sh", "-c", "sleep 2; :", "sh", "Planted-to-be-seen"])
    for seen in (on_target, on_initiator):
        assert set(seen) == {"Planted-to-be-seen"}
    for machine in machines:
        found = machine.run(["sh", "-c", _LOGS, "sh", "[P]lanted"], timeout_s=60).stdout
        assert found.strip() == "0"


@contextmanager
def watching(machine: Machine) -> Iterator[list[str]]:
    """Watch all processes for the length of the block; what is seen of secrets."""
    seen: list[str] = []
    pattern = "[P]lanted[-0-9a-z]*"
    with machine.background(
        ["sh", "-c", _WATCH, "sh", pattern], on_line=lambda line: seen.append(line.decode().strip())
    ):
        yield seen
