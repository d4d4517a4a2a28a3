"""How many testbeds run at once, and whose turn it is."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from harness.config import Config
from harness.errors import ConfigError
from harness.guest_images.store import ImageStore
from harness.host import sharing, slots
from harness.host.folder import all_folders
from harness.host.sharing import shared_by, why_alone
from harness.host.slots import Limit, limit_for, someone_waits, turn
from harness.hypervisor.qemu_user import QemuUser
from suites.selftest import needs

WWID = "360014057043dfe0435de773ca03bbf04"
ACCELS: tuple[Literal["kvm", "tcg"], ...] = ("tcg", "kvm")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Those of this test's own; returns the one that all users share."""
    monkeypatch.setenv("PATHPROOF_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(sharing, "_FOLDER", tmp_path / "shared")
    return tmp_path / "shared"


def on_bridges(host: int = 1, **more: Any) -> Config:
    """With a target whose addresses end in `host`; an existing initiator has NICs of its own."""
    existing = "machine" in more.get("initiator", {})
    networks: list[dict[str, Any]] = [
        {
            "name": name,
            "subnet": f"172.16.{number}.0/24",
            "portals": [f"172.16.{number}.{host}"],
            "initiator": f"172.16.{number}.{100 + host}",
        }
        | ({} if existing else {"bridge": f"br-{name}"})
        for number, name in enumerate("ab")
    ]
    return Config.model_validate({"networks": networks} | more)


def array(**initiator: Any) -> Config:
    external = {"kind": "external", "wwid": WWID}
    return on_bridges(target=external, initiator=initiator)


def titles(config: Config) -> set[str]:
    return {one.title for one in shared_by(config)}


def test_places_are_not_taken_for_testbeds() -> None:
    with turn(Config(), "lab-1"):
        assert all_folders() == []


def test_the_limit_follows_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smaller of what cores (one for each guest) and memory allow, and never none."""
    config = Config.model_validate({"hypervisor": {"accel": "tcg"}})
    pages = {"SC_PHYS_PAGES": 24 << 18, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    with ExitStack() as cores:
        for count, expected in ((1, 1), (2, 1), (8, 4), (64, 8)):
            cores.enter_context(pytest.MonkeyPatch.context()).setattr(
                "os.sched_getaffinity", lambda _, n=count: set(range(n))
            )
            assert limit_for(config).testbeds == expected
        four_each = Config.model_validate({"machines": {"cpus": 4}, "hypervisor": {"accel": "tcg"}})
        assert limit_for(four_each).testbeds == 8
        pages["SC_PHYS_PAGES"] = 1 << 18
        assert limit_for(config).testbeds == 1


def test_kvm_needs_no_room_for_translated_code_and_has_larger_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counted as they will be made: two processors and 2 GiB each, 128 MiB for QEMU itself."""
    pages = {"SC_PHYS_PAGES": 24 << 18, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    changed = Config.model_validate({"machines": {"memory": "1GiB"}})
    found = {
        accel: (limit_for(Config(), accel).testbeds, limit_for(changed, accel).testbeds)
        for accel in ACCELS
    }
    assert found == {"tcg": (8, 6), "kvm": (4, 8)}


def test_the_limit_depends_on_the_guests_kernel_and_the_user_of_qemu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What decides later is asked before: else places are counted for other machines."""
    asked: list[dict[str, object]] = []

    def expected(*_: object, **how: object) -> str:
        asked.append(how)
        return "kvm" if how["kernel"] is None else "tcg"

    image = SimpleNamespace(kernel=tmp_path / "vmlinuz")
    user = QemuUser(uid=107, gid=107)
    monkeypatch.setattr(slots, "expected", expected)
    monkeypatch.setattr(slots, "qemu_user", {"qemu:///system": user}.get)
    monkeypatch.setattr(ImageStore, "find", lambda *_: image)
    config = Config.model_validate({"hypervisor": {"uri": "qemu:///system"}})
    assert slots.expected_accel(config) == "tcg"
    monkeypatch.setattr(ImageStore, "find", lambda *_: None)
    assert slots.expected_accel(config) == "kvm"
    assert asked == [{"kernel": image.kernel, "user": user}, {"kernel": None, "user": user}]


def test_the_limit_can_be_given() -> None:
    config = Config.model_validate({"hypervisor": {"testbeds": 8}})
    assert limit_for(config) == Limit(8, "hypervisor.testbeds")
    assert str(limit_for(config)) == "8 at once (hypervisor.testbeds)"


def test_what_only_one_testbed_can_use_is_used_by_one() -> None:
    """However many the machine has room for; a testbed on cables shares nothing."""
    room: dict[str, Any] = {"hypervisor": {"testbeds": 8}}
    assert str(limit_for(on_bridges(**room))) == (
        "1 at once (its addresses on networks a, b: only one testbed at a time can use them)"
    )
    assert "spoil" in why_alone(array())
    assert why_alone(Config()) == ""
    assert shared_by(Config()) == ()


def test_on_a_network_each_address_of_a_made_machine_is_shared() -> None:
    """That of an array is its own, and so are those of an existing initiator."""
    assert titles(on_bridges()) == {
        "172.16.0.1 on bridge br-a",
        "172.16.0.101 on bridge br-a",
        "172.16.1.1 on bridge br-b",
        "172.16.1.101 on bridge br-b",
    }
    assert titles(array()) == {
        "172.16.0.101 on bridge br-a",
        "172.16.1.101 on bridge br-b",
        f"LUN {WWID}",
        "iqn.2026-01.io.pathproof:initiator at iqn.2026-01.io.pathproof:storage",
    }
    assert titles(array(machine="local")) == {f"LUN {WWID}"}


def test_a_network_and_its_bridge_are_one_segment() -> None:
    """Whichever of the two names a configuration has, libvirt knows which bridge a network is."""
    system = on_bridges(hypervisor={"uri": "qemu:///system"})
    named = system.model_dump(mode="json", exclude_unset=True)
    named["networks"][0]["libvirt_network"] = "default"
    del named["networks"][0]["bridge"]
    by_network = Config.model_validate(named)
    named["networks"][0] |= {"libvirt_network": None, "bridge": "virbr0"}
    by_bridge = Config.model_validate(named)
    assert shared_by(by_network, {"default": "virbr0"}) == shared_by(by_bridge)
    assert "172.16.0.1 on network default" in titles(by_network)
    with turn(by_bridge, "lab-1"), ExitStack() as waiting:
        queues = {queue.title: queue for queue in sharing.queues(by_network, {"default": "virbr0"})}
        assert not someone_waits(by_bridge)
        queues["172.16.0.1 on bridge virbr0"]._ticket(waiting)
        assert someone_waits(by_bridge)
        assert someone_waits(by_network, {"default": "virbr0"})
        assert not someone_waits(by_network)


def test_each_name_of_an_array_is_shared() -> None:
    """Two runs that name its ports the other way round log in to both."""
    ports = ["iqn.2010-06.net.lab:p1", "iqn.2010-06.net.lab:p2"]

    def keys(first: str, second: str) -> set[str]:
        config = array().model_dump(exclude_unset=True)
        config["target"]["iqn"] = first
        config["networks"][1]["portals"][0]["iqn"] = second
        return {one.key for one in shared_by(Config.model_validate(config)) if "iqn" in one.key}

    assert keys(*ports) == keys(ports[1].upper().replace("IQN", "iqn"), ports[0])
    assert len(keys(*ports)) == 2


def test_a_bridge_of_another_host_or_namespace_is_another_bridge() -> None:
    here = {one.key for one in shared_by(on_bridges())}
    uri = {"uri": "qemu+ssh://lab/system", "accel": "tcg"}
    there = {one.key for one in shared_by(on_bridges(hypervisor=uri))}
    assert here.isdisjoint(there)
    assert all(key.startswith("net:[") for key in here)


def test_a_testbed_waits_for_what_another_has(folders: Path) -> None:
    """The one with other addresses does not, and neither does the one on cables."""
    room: dict[str, Any] = {"hypervisor": {"testbeds": 8}}
    with turn(on_bridges(**room), "lab-1"):
        assert len(list(folders.iterdir())) == 4
        with turn(on_bridges(2, **room), "lab-2"), turn(Config.model_validate(room), "lab-3"):
            assert not someone_waits(on_bridges(**room))
            queue = sharing.queues(on_bridges(**room))[0]
            with ExitStack() as waiting:
                queue._ticket(waiting)
                assert someone_waits(on_bridges(**room))
                assert not someone_waits(on_bridges(2, **room))


def test_what_is_shared_is_waited_for_before_a_place_of_this_machine() -> None:
    """Otherwise a run that waits would keep another from a place that is not used."""
    *shared, last = slots._queues(on_bridges())
    assert (len(shared), last.name) == (4, "testbed")


def test_on_a_standing_machine_nothing_is_started_and_no_place_is_taken(tmp_path: Path) -> None:
    with turn(array(machine="local"), "lab"):
        assert not (tmp_path / "state").exists()


def test_the_shared_folder_is_for_all_users(folders: Path) -> None:
    """Whatever the umask of the first of them; also if it was killed halfway."""
    folders.mkdir(mode=0o700)
    with turn(on_bridges(), "lab"):
        assert folders.stat().st_mode & 0o7777 == 0o1777


def test_a_link_in_the_place_of_the_shared_folder_is_refused(folders: Path) -> None:
    """In /var/tmp anybody could have put it there."""
    folders.symlink_to("/var/tmp")
    with pytest.raises(ConfigError, match="is not open to all users"), turn(on_bridges(), "lab"):
        pytest.fail("it was used")


@pytest.mark.skipif(os.getuid() != 0, reason=needs.ROOT)
def test_a_shared_folder_that_its_owner_keeps_to_himself_is_refused(folders: Path) -> None:
    """Another user could not take turns."""
    folders.mkdir(mode=0o700)
    os.chown(folders, 65534, 65534)
    with pytest.raises(ConfigError, match="is not open to all users"), turn(on_bridges(), "lab"):
        pytest.fail("it was used")
