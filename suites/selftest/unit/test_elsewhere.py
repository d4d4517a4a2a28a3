"""URIs of other hosts: what they mean to `ssh`."""

from __future__ import annotations

import pytest

from harness.errors import ConfigError
from harness.hypervisor.elsewhere import accel_of, other_host


@pytest.mark.parametrize(
    "uri", ["embedded", "qemu:///system", "qemu:///session", "qemu+unix:///system?socket=/run/a"]
)
def test_a_uri_without_a_host_means_this_one(uri: str) -> None:
    assert other_host(uri) is None


@pytest.mark.parametrize(
    ("uri", "ssh", "destination"),
    [
        ("qemu+ssh://rack1/system", ("ssh",), "rack1"),
        ("qemu+ssh://me@rack1:2222/session", ("ssh", "-p", "2222"), "me@rack1"),
        ("qemu+ssh://a%40b@[::1]/system", ("ssh",), "a@b@::1"),
        ("qemu+ssh://rack1/system?keyfile=/a%20b/key", ("ssh", "-i/a b/key"), "rack1"),
        (
            "qemu+ssh://rack1/system?no_verify=1&command=/opt/ssh&socket=/run/s",
            ("/opt/ssh", "-oStrictHostKeyChecking=no"),
            "rack1",
        ),
        ("qemu+ssh://rack1/system?no_verify=0", ("ssh",), "rack1"),
    ],
)
def test_a_host_is_reached_as_libvirt_reaches_it(
    uri: str, ssh: tuple[str, ...], destination: str
) -> None:
    host = other_host(uri)
    assert host is not None
    assert (host.ssh, host.destination) == (ssh, destination)


def test_guests_of_the_system_run_as_another_user() -> None:
    """Guests of a session's libvirt do not."""
    kinds = [other_host(f"qemu+ssh://rack1/{kind}") for kind in ("system", "session")]
    assert [host and host.is_system for host in kinds] == [True, False]


@pytest.mark.parametrize("scheme", ["qemu", "qemu+tcp", "qemu+libssh2"])
def test_another_way_to_a_host_is_refused_with_the_right_one(scheme: str) -> None:
    with pytest.raises(ConfigError, match="not over ssh") as caught:
        other_host(f"{scheme}://me@rack1:99/system")
    assert "'qemu+ssh://me@rack1:99/system'" in caught.value.hint


def test_an_impossible_port_is_told() -> None:
    with pytest.raises(ConfigError, match=r"rack1:99999.*range"):
        other_host("qemu+ssh://rack1:99999/system")


def test_kvm_of_another_host_is_asked_for_or_not_used() -> None:
    """It cannot be proven from here."""
    host = other_host("qemu+ssh://rack1/system")
    assert host is not None
    assert accel_of(host, "kvm").accel == "kvm"
    assert "TCG on rack1" in accel_of(host, "tcg").reason
    with pytest.raises(ConfigError, match="the guests run on rack1"):
        accel_of(host, "auto")
