"""ietd.conf and the allow files: what is asked for, and what ietd would make of it."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from harness.config.credentials import ChapConfig, Credentials
from harness.config.iet import IetOptions
from harness.errors import ConfigError
from harness.target.iet import conf
from harness.target.iet.conf import Unit, WantedTarget, render_allow, render_conf

IQN = "iqn.2009-11-11.widodh.storage:iscsi-001"
DISK = Unit(0, "fileio", "/srv/f0.img", scsi_id="0123456789abcdef", scsi_sn="serial-1")


def read_back(text: str) -> dict[str, dict[str, str]]:
    """The LUNs' parameters, read as ietd and its module do: words, then commas, then `=`."""
    luns = {}
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n") or line.lstrip().startswith("#"):
            continue
        keyword, *words = line.split()
        if keyword == "Lun":
            number, parameters = words
            luns[number] = dict(part.split("=", 1) for part in parameters.split(","))
    return luns


def test_one_target_one_disk() -> None:
    """The topology that kind `iet` was made for."""
    options = IetOptions(header_digest="None,CRC32C", nop_interval_s=30, immediate_data=False)
    assert render_conf([WantedTarget(IQN, (DISK,), options)]) == (
        "# Written by Pathproof.\n"
        f"Target {IQN}\n"
        "Lun 0 Path=/srv/f0.img,Type=fileio,IOMode=wt,"
        "ScsiId=0123456789abcdef,ScsiSN=serial-1,BlockSize=512\n"
        "NOPInterval 30\n"
        "ImmediateData No\n"
        "HeaderDigest None,CRC32C\n"
    )


def test_several_units_of_every_type() -> None:
    """nullio has no path, blockio no cache."""
    units = (
        DISK,
        Unit(1, "blockio", "/dev/vdb", io_mode="ro", block_size=4096),
        Unit(2, "nullio", size=10 << 20, block_size=512, scsi_id="null"),
    )
    assert read_back(render_conf([WantedTarget(IQN, units)])) == {
        "0": {
            "Path": "/srv/f0.img",
            "Type": "fileio",
            "IOMode": "wt",
            "ScsiId": "0123456789abcdef",
            "ScsiSN": "serial-1",
            "BlockSize": "512",
        },
        "1": {"Path": "/dev/vdb", "Type": "blockio", "IOMode": "ro", "BlockSize": "4096"},
        "2": {"Type": "nullio", "Blocks": "20480", "ScsiId": "null", "BlockSize": "512"},
    }


def chap(user: str, secret: str, outgoing: Credentials | None = None) -> ChapConfig:
    return ChapConfig(incoming=Credentials(user=user, secret=SecretStr(secret)), outgoing=outgoing)


def test_accounts_belong_to_their_target_or_to_discovery() -> None:
    """What stands before the first target is for discovery."""
    mutual = chap("joe", "joe-secret", Credentials(user="me", secret=SecretStr("my-secret")))
    targets = [WantedTarget(IQN, (DISK,), chap=mutual)]
    text = render_conf(targets, chap("finder", "finder-secret"))
    assert text.splitlines()[1:5] == [
        "IncomingUser finder finder-secret",
        f"Target {IQN}",
        "IncomingUser joe joe-secret",
        "OutgoingUser me my-secret",
    ]
    shown = conf.without_secrets(text)
    assert "-secret" not in shown
    assert shown.splitlines()[3:5] == ["IncomingUser joe (hidden)", "OutgoingUser me (hidden)"]
    assert "Lun 0 Path=/srv/f0.img," in shown


def test_a_secret_is_not_repeated() -> None:
    """Neither where it is refused nor where it is part of something."""
    target = WantedTarget(IQN, (DISK,), chap=chap("joe", "a secret"))
    with pytest.raises(ConfigError) as caught:
        render_conf([target])
    assert "a secret" not in str(caught.value)
    assert "a secret" not in repr(target)


TEXTS = st.text(st.characters(max_codepoint=0x100), min_size=1, max_size=40)


@given(path=TEXTS, scsi_id=TEXTS, serial=TEXTS)
def test_what_is_written_is_what_ietd_reads(path: str, scsi_id: str, serial: str) -> None:
    """What ietd would skip or cut without a word is refused."""
    unit = Unit(3, "fileio", path, scsi_id=scsi_id, scsi_sn=serial)
    try:
        text = render_conf([WantedTarget(IQN, (unit,))])
    except ConfigError:
        return
    read = read_back(text)["3"]
    assert (read["Path"], read["ScsiId"], read["ScsiSN"]) == (path, scsi_id, serial)


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        (Unit(0, "fileio"), "needs a path"),
        (Unit(0, "blockio", "/dev/vdb", io_mode="wb"), "no cache"),
        (Unit(0, "nullio", "/dev/vdb", size=512), "neither path nor mode"),
        (Unit(0, "nullio"), "size in whole blocks"),
        (Unit(0, "nullio", size=1000, block_size=4096), "size in whole blocks"),
        (Unit(0, "fileio", "/x", scsi_id="0123456789abcdefg"), "more than 16"),
        (Unit(0, "fileio", "/x", scsi_sn="s" * 33), "more than 32"),
        (Unit(0, "fileio", "/a,b"), "no comma in 'Path=/a,b'"),
        (Unit(0, "fileio", "/a b"), "no space"),
        (Unit(0, "fileio", "/" + "a" * 4096), "no line of more than 4095"),
    ],
)
def test_a_unit_that_iet_would_not_serve_is_refused(unit: Unit, reason: str) -> None:
    """With its reason."""
    with pytest.raises(ConfigError, match=reason):
        render_conf([WantedTarget(IQN, (unit,))])


def test_every_option_has_its_keyword() -> None:
    """Otherwise it would be accepted and have no effect."""
    assert conf.KEYWORDS.keys() == IetOptions.model_fields.keys()


@pytest.mark.parametrize(
    ("name", "value"),
    [("nop_interval_s", 91), ("wthreads", 0), ("max_recv_data_segment_length", 262145)],
)
def test_a_number_that_iet_would_change_is_refused(name: str, value: int) -> None:
    """IET takes the minimum instead."""
    with pytest.raises(ValidationError):
        IetOptions.model_validate({name: value})


def test_all_comes_last() -> None:
    """ietd stops at the first line that names the target or ALL."""
    portals = [IPv4Address("172.16.0.1"), IPv4Address("172.16.1.1")]
    assert render_allow({"ALL": ["ALL"], IQN: portals}) == (
        f"{IQN} 172.16.0.1, 172.16.1.1\nALL ALL\n"
    )


@pytest.mark.parametrize(
    ("scsi_id", "wwid"),
    [
        ("lun0id", "149455400000000006c756e30696400000000000000000000"),
        ("0123456789abcdef", "1494554000000000030313233343536373839616263646566"),
    ],
)
def test_the_wwid_is_known_before_anything_runs(scsi_id: str, wwid: str) -> None:
    """These are the names under which maps of real targets appeared."""
    assert conf.wwid_of(scsi_id) == wwid
