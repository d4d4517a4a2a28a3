"""Keys without effect, and demands that two ends can never agree upon: refused, with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config import Config, load
from harness.config.iet import IetOptions
from harness.config.negotiation import KEYS, LoginOptions, Negotiation
from harness.errors import ConfigError
from harness.transport.iscsi import iscsiadm

STANDING = """
initiator.machine = "local"
target.kind = "external"
"""
TWO = """
[[networks]]
name = "a"
subnet = "10.0.0.0/24"
portals = ["10.0.0.1"]
initiator = "10.0.0.2"
{0}
[[networks]]
name = "b"
subnet = "10.0.1.0/24"
portals = ["10.0.1.1"]
initiator = "10.0.1.2"
"""

IN_IPV6 = """
[[networks]]
name = "v6"
subnet = "fd00::/64"
portals = ["fd00::1"]
initiator = "fd00::2"
{0}
"""


def complaint(tmp_path: Path, text: str, **options: tuple[object, str]) -> str:
    file = tmp_path / "own.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, {key.replace("__", "."): value for key, value in options.items()})
    return caught.value.message.replace(str(file), "own.toml")


IET = 'target.kind = "iet"\n'
NO_DATA = "initiator.iscsi.immediate_data = false"


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("target.iet.wthreads = 4", "target.iet.wthreads", "only a target of kind 'iet' has it"),
        ("target.iet.initial_r2t = false", "target.iet.initial_r2t", "target.kind is 'lio'"),
        (
            f"target.iet.max_sessions = 4\n{STANDING}",
            "target.iet.max_sessions",
            "target.kind is 'external'",
        ),
        (f"{IET}target.iet.max_sessions = 1", "target.iet.max_sessions", "less than the 2 paths"),
        (f"{IET}target.iet.nop_timeout_s = 5", "target.iet.nop_timeout_s", "sends no NOP-In"),
        (
            TWO.format('libvirt_network = "n"'),
            "network a, libvirt_network",
            "the embedded libvirt has no networks",
        ),
        (
            f"{IET}target.iet.header_digest = 'CRC32C'\ninitiator.iscsi.header_digest = 'None'",
            "initiator.iscsi.header_digest",
            "nothing in common",
        ),
        (
            "initiator.iscsi.first_burst_length = 65536\ninitiator.iscsi.max_burst_length = 4096",
            "initiator.iscsi.first_burst_length",
            "65536 is more than max_burst_length, 4096",
        ),
        (
            f"{IET}target.iet.initial_r2t = true\ntarget.iet.first_burst_length = 4096\n{NO_DATA}",
            "target.iet.first_burst_length",
            "nothing is sent without being asked for",
        ),
        (
            f'{IET}topology = "ports"',
            "network a, portal 2, port",
            "ietd(8) listens at one port, which is target.port",
        ),
        (
            f"{IET}target.port = 3261\n" + TWO.format("").replace("0.1.1", "0.1.1:3262"),
            "network b, portal 1, port",
            "ietd(8) listens at one port",
        ),
        (
            IN_IPV6.format('bridge = "br0"') + TWO.format(""),
            "network v6, subnet",
            "makes sure of addresses by ARP, which is for IPv4",
        ),
        (STANDING + TWO.format("vlan = 5"), "network a, vlan", "have their VLANs already"),
        (f"{STANDING}hypervisor.accel = 'tcg'", "hypervisor.accel", "'local', and no VM is made"),
        (f"{STANDING}hypervisor.uri = 'qemu:///system'", "hypervisor.uri", "no VM is made"),
        (f"{STANDING}machines.memory = '2GiB'", "machines.memory", "no VM is made"),
        (
            f"{STANDING}initiator.iqn = 'iqn.2026-01.io.pathproof:other'",
            "initiator.iqn",
            "keeps its own initiator name",
        ),
        (
            STANDING + TWO.format("").replace('"10.0.0.2"', '["10.0.0.2", "10.0.0.3"]'),
            "network a, initiator",
            "one such record for all NICs",
        ),
        (STANDING + TWO.format('bridge = "br0"'), "network a, bridge", "has NICs of its own"),
        (
            f"{STANDING}initiator.profile = 'own'\nprofiles.own.fast_io_fail_s = 5",
            "profiles.own.fast_io_fail_s",
            "whose multipathd keeps its own",
        ),
        (
            f"{STANDING}profiles.fast.polling_interval_s = 5",
            "profiles.fast.polling_interval_s",
            "whose multipathd keeps its own",
        ),
    ],
)
def test_a_key_without_effect_is_refused(text: str, key: str, reason: str, tmp_path: Path) -> None:
    """With file, key and reason."""
    says = complaint(tmp_path, text)
    assert says.startswith(f"own.toml: {key}: ")
    assert reason in says


def test_the_option_that_takes_the_effect_away_is_not_blamed(tmp_path: Path) -> None:
    """The file has the key; an option may be the one without effect, too."""
    text = f"{IET}target.iet.wthreads = 4\n"
    says = complaint(tmp_path, text, target__kind=("tgt", "--target"))
    assert says.startswith("own.toml: target.iet.wthreads: ")
    says = complaint(tmp_path, STANDING, hypervisor__accel=("tcg", "--accel"))
    assert says.startswith("--accel: hypervisor.accel: ")


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{IET}target.iet.max_sessions = 2",
        f"{IET}target.iet.max_sessions = 0",
        f"{IET}target.iet.nop_interval_s = 5\ntarget.iet.nop_timeout_s = 5",
        STANDING,
        f"{STANDING}hypervisor.fork = false",
        f"{STANDING}initiator.profile = 'stock'",
        f"{STANDING}initiator.profile = 'own'\nprofiles.own.noop_out_interval_s = 5",
        'topology = "ports"',
        'topology = "ports"\ntarget.kind = "tgt"',
        f"{IET}target.port = 3261\n" + TWO.format(""),
        f"{IET}" + TWO.format("").replace("0.1.1", "0.1.1:3260"),
        IN_IPV6.format("") + TWO.format(""),
        f"{STANDING}" + TWO.format("mtu = 9000"),
        "hypervisor.uri = 'qemu:///system'\n" + TWO.format('libvirt_network = "n"'),
    ],
)
def test_what_has_its_effect_is_taken(text: str, tmp_path: Path) -> None:
    """All defaults are taken, too: `pathproof config --toml` prints them."""
    file = tmp_path / "own.toml"
    file.write_text(text)
    config = load(file).config
    assert Config.model_validate(config.model_dump()) == config


def negotiated(target: dict[str, Any], initiator: dict[str, Any]) -> dict[str, str]:
    one, other = IetOptions.model_validate(target), LoginOptions.model_validate(initiator)
    return dict(Negotiation.of(one, other).demanded)


@pytest.mark.parametrize(
    ("target", "initiator", "comes_about"),
    [
        ({}, {}, {}),
        ({"header_digest": "CRC32C"}, {}, {"HeaderDigest": "CRC32C"}),
        ({}, {"data_digest": "None"}, {"DataDigest": "None"}),
        ({"header_digest": "None,CRC32C"}, {}, {}),
        ({"header_digest": "None,CRC32C"}, {"header_digest": "CRC32C,None"}, {}),
        (
            {"header_digest": "None,CRC32C"},
            {"header_digest": "CRC32C"},
            {"HeaderDigest": "CRC32C"},
        ),
        ({"initial_r2t": True}, {"initial_r2t": False}, {"InitialR2T": "Yes"}),
        ({"initial_r2t": False}, {"initial_r2t": False}, {"InitialR2T": "No"}),
        ({"immediate_data": True}, {"immediate_data": False}, {"ImmediateData": "No"}),
        ({"max_burst_length": 4096}, {"max_burst_length": 512}, {"MaxBurstLength": "512"}),
        ({"max_outstanding_r2t": 4}, {}, {"MaxOutstandingR2T": "4"}),
        # Each end says what it can receive: the target's word bounds what the initiator sends.
        ({"max_recv_data_segment_length": 512}, {}, {"MaxXmitDataSegmentLength": "512"}),
        (
            {"max_recv_data_segment_length": 4096},
            {"max_xmit_data_segment_length": 512},
            {"MaxXmitDataSegmentLength": "512"},
        ),
        ({"max_xmit_data_segment_length": 512}, {}, {}),
        (
            {"max_xmit_data_segment_length": 512},
            {"max_recv_data_segment_length": 4096},
            {"MaxRecvDataSegmentLength": "4096"},
        ),
        ({"wthreads": 4, "default_time2wait_s": 3}, {}, {}),
    ],
)
def test_what_two_ends_agree_upon(
    target: dict[str, Any], initiator: dict[str, Any], comes_about: dict[str, str]
) -> None:
    """By RFC 7143 section 13; what one end alone asks for must come about as it is."""
    assert negotiated(target, initiator) == comes_about


def test_records_hold_what_is_to_be_offered() -> None:
    """Under open-iscsi's names: digests and segments are a connection's, the rest the session's."""
    offers = LoginOptions(
        header_digest="CRC32C,None",
        max_xmit_data_segment_length=4096,
        initial_r2t=True,
        first_burst_length=32768,
    )
    assert iscsiadm.node_settings(Config().profiles["stock"], offers) == {
        "node.conn[0].iscsi.HeaderDigest": "CRC32C,None",
        "node.conn[0].iscsi.MaxXmitDataSegmentLength": "4096",
        "node.session.iscsi.InitialR2T": "Yes",
        "node.session.iscsi.FirstBurstLength": "32768",
    }


@pytest.mark.parametrize("name", LoginOptions.model_fields)
def test_every_option_of_a_login_has_its_name(name: str) -> None:
    """None can be set and forgotten."""
    value: Any = {"digest": "CRC32C", "length": 4096}.get(name.rpartition("_")[2], 1)
    offers = LoginOptions.model_validate({name: value})
    ((setting, _),) = iscsiadm.node_settings(Config().profiles["stock"], offers).items()
    assert setting.rpartition(".")[2] == KEYS[name]
    assert list(Negotiation.of(IetOptions(), offers).demanded) == [KEYS[name]]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("target.port = 22\n", "target.port"),
        (TWO.format("").replace('"10.0.1.1"', '"10.0.1.1:22"'), "network b, portal 1, port"),
    ],
)
def test_the_port_of_ssh_is_none_of_a_target_that_is_made(
    tmp_path: Path, text: str, key: str
) -> None:
    """An array has no SSH there."""
    says = f"own.toml: {key}: 22 is that of SSH on the target; give another port"
    assert complaint(tmp_path, text) == says
    if key == "target.port":
        text += TWO.format("")
    file = tmp_path / "array.toml"
    file.write_text(STANDING + text)
    assert load(file).config.target.kind == "external"
