"""Logins: what either end asks for is in force on every path, or the run ends before it writes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.config.iet import IetOptions
from harness.config.negotiation import LoginOptions, Negotiation
from harness.errors import PreflightFailed
from harness.preflight import require_fit, run
from harness.target import target_for
from harness.testbed import Testbed
from harness.topology import Role
from harness.transport import IscsiInitiator

OFFERS = LoginOptions(
    header_digest="CRC32C",
    data_digest="CRC32C",
    initial_r2t=True,
    max_recv_data_segment_length=32768,
    max_xmit_data_segment_length=4096,
    max_burst_length=131072,
    first_burst_length=32768,
)
# A second tgtd serves the same file there, and the first one sends every login to it.
_REDIRECT = r"""
systemd-run --quiet --unit=second-tgt --property=Type=notify --property=KillSignal=SIGKILL \
  tgtd --foreground --control-port 1 --iscsi "portal=$2"
second() { tgtadm --control-port 1 --lld iscsi --mode "$@"; }
second target --op new --tid 1 --targetname "$1"
second logicalunit --op new --tid 1 --lun 1 --bstype rdwr --backing-store /srv/pathproof/lun0.img
second target --op bind --tid 1 --initiator-address ALL
while read -r name value; do
  tgtadm --lld iscsi --mode target --op update --tid 1 --name "$name" --value "$value"
done <<END
RedirectAddress ${2%:*}
RedirectPort ${2#*:}
RedirectReason Temporary
END
"""


@pytest.fixture(autouse=True)
def _settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the preflight give up soon: what was planted does not go away by itself."""
    monkeypatch.setattr(run, "_UNCHANGED_S", 5.0)


def initiator(testbed: Testbed, negotiation: Negotiation) -> IscsiInitiator:
    """The first initiator, which asks for these values."""
    machine, own = testbed.machine(Role.INITIATOR), testbed.topology.of(Role.INITIATOR)
    profile, wwids = testbed.config.profile, testbed.initiator.wwids
    grouping = testbed.config.initiator.path_grouping_policy
    return IscsiInitiator(machine, own, profile, wwids, grouping=grouping, negotiation=negotiation)


def test_what_the_initiator_asks_for_is_in_force(logged_out: Testbed) -> None:
    """Every path has the values that the initiator asked for.

    IET does digests only if its own options allow them.
    """
    iet = IetOptions()
    if logged_out.target.kind == "iet":
        iet = IetOptions(header_digest="None,CRC32C", data_digest="None,CRC32C")
        config = logged_out.config.target.model_copy(update={"iet": iet})
        target_for(config, logged_out.machine(Role.TARGET), logged_out.topology).configure()
    asking = initiator(logged_out, Negotiation.of(iet, OFFERS))
    asking.log_in()
    require_fit(asking)


def test_what_was_asked_of_the_target_alone_is_found_lacking(logged_out: Testbed) -> None:
    """A digest that was asked of the target only is found missing from each session."""
    asked = Negotiation.of(IetOptions(header_digest="CRC32C"), LoginOptions())
    unaware = initiator(logged_out, asked)
    unaware.log_in()
    with pytest.raises(PreflightFailed) as caught:
        require_fit(unaware)
    for path in logged_out.initiator.topology.paths:
        says = f"HeaderDigest of the session of path {path.name} is None instead of CRC32C"
        assert says in caught.value.message


def test_a_login_that_is_redirected_is_found(logged_out: Testbed) -> None:
    """A login that ends at another portal, where no fault would hit it, is found."""
    if logged_out.target.kind != "tgt":
        pytest.skip(f"a target of kind {logged_out.target.kind} is not made to redirect logins")
    elsewhere = replace(logged_out.topology.portals[-1].portal, port=3261)
    argv = ["sh", "-euc", _REDIRECT, "sh", logged_out.topology.target_iqn, str(elsewhere)]
    logged_out.machine(Role.TARGET).run(argv, timeout_s=60)
    logged_out.initiator.log_in()
    with pytest.raises(PreflightFailed) as caught:
        require_fit(logged_out.initiator)
    for path in logged_out.initiator.topology.paths:
        portal, name = path.portal.portal, path.name
        says = f"the login to {portal} of path {name} was redirected to {elsewhere}"
        assert says in caught.value.message
