"""An external target: its configuration, and a testbed without a target's machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.config import Config, load
from harness.config.model import InitiatorConfig
from harness.config.profiles import FAST
from harness.config.sizes import sized_for
from harness.errors import ConfigError, FaultError, LabCannot, MachineError
from harness.faults import (
    ControllerLost,
    InitiatorDrop,
    LinkDown,
    NetworkLost,
    PacketLoss,
    PeerLinkDown,
    SilentDrop,
    Together,
)
from harness.host.slots import limit_for
from harness.plugin.fixtures import skip_without_means
from harness.plugin.run import KEY
from harness.provision.boot import _make_disks
from harness.provision.domain_plan import assign_ports, ports_needed
from harness.provision.resources import Resources
from harness.target import ExternalTarget, NoMachine, target_for
from harness.target.external import UNNAMED
from harness.testbed.means import lacking
from harness.testbed.testbed import Testbed
from harness.topology import Role, plan
from harness.transport.dm_multipath.multipath_conf import render_conf
from harness.transport.fault_shell import IscsiFaultShell
from suites.selftest.unit.scripted_machine import ScriptedMachine

WWID = "360014057043dfe0435de773ca03bbf04"
KINDS = (LinkDown, PeerLinkDown, SilentDrop, InitiatorDrop)
NETWORKS = [
    {
        "name": name,
        "subnet": f"10.0.{number}.0/24",
        "portals": [f"10.0.{number}.1"],
        "initiator": f"10.0.{number}.2",
        "bridge": f"br{number}",
    }
    for number, name in enumerate("ab")
]


def config(**target: object) -> Config:
    return Config.model_validate(
        {"networks": NETWORKS, "target": {"kind": "external", "wwid": WWID, **target}}
    )


def complaint(tmp_path: Path, text: str, **options: tuple[object, str]) -> str:
    file = tmp_path / "own.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, {key.replace("__", "."): value for key, value in options.items()})
    return str(caught.value)


def test_only_the_initiator_is_a_guest() -> None:
    """With ports, disks and a host for one machine."""
    topology = plan(config())
    assert topology.guests == (Role.INITIATOR,)
    assert plan(Config()).guests == tuple(Role)
    assert ports_needed(topology) == 1
    assert assign_ports(topology, [40000]).ssh == {Role.INITIATOR: 40000}
    assert limit_for(config()).testbeds == 1


def test_no_disk_is_made_for_a_lun(tmp_path: Path) -> None:
    """It is there already."""
    made: list[str] = []
    qemu_host = SimpleNamespace(
        make_overlay=lambda path, _: made.append(path.name),
        make_disk=lambda path, _: made.append(path.name),
    )
    resources = SimpleNamespace(
        topology=plan(config()), qemu_host=qemu_host, image_of=lambda _: None
    )
    assert _make_disks(cast(Resources, resources), tmp_path).keys() == {Role.INITIATOR}
    assert made == ["initiator-system.qcow2"]


def test_nothing_runs_on_the_target() -> None:
    """Nor is it configured; it is known by what the configuration says."""
    target = target_for(config().target, NoMachine("the array"), plan(config()))
    assert isinstance(target, ExternalTarget)
    target.configure()
    assert target.wwids[0] == WWID
    assert WWID in target.describe()
    with pytest.raises(MachineError, match="`nft` cannot run on the array: Pathproof has no"):
        target.machine.run(["nft", "list", "tables"])


def test_a_lun_that_nobody_named_matches_no_disk() -> None:
    """Else multipathd would take on every disk of the machine."""
    nameless = config(wwid=None)
    target = target_for(nameless.target, NoMachine("the array"), plan(nameless))
    assert target.wwids[0] == UNNAMED
    assert UNNAMED not in WWID


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ({"wwid": WWID, "kind": "lio"}, "wwid is that of an external LUN; kind 'lio' makes one"),
        ({"erase": WWID, "wwid": None}, "target.wwid is not given: both must name the LUN"),
        ({"erase": "3600", "wwid": WWID}, f"--erase names 3600, and target.wwid {WWID}"),
    ],
)
def test_what_contradicts_itself_is_refused(target: Mapping[str, object], reason: str) -> None:
    """Before anything is reached."""
    with pytest.raises(ValueError, match=reason):
        config(**target)


def test_consent_to_lose_data_is_given_once(tmp_path: Path) -> None:
    """On the command line; in a file it would hold for ever."""
    text = f'[target]\nkind = "external"\nwwid = "{WWID}"\nerase = "{WWID}"\n'
    assert "give --erase WWID to the run" in complaint(tmp_path, text)


def test_consent_is_never_shown_as_a_setting() -> None:
    """Whoever copies the settings of a run must not copy that."""
    assert "erase" not in config(erase=WWID).model_dump(mode="json")["target"]


def test_a_guest_needs_a_way_to_the_target(tmp_path: Path) -> None:
    """Each of the lab's own cables ends at another guest."""
    text = f'[target]\nkind = "external"\nwwid = "{WWID}"\n'
    assert (
        "the lab's own cables, which lead to no external target; give 'bridge' or 'libvirt_network'"
        in complaint(tmp_path, text)
    )


def test_the_size_of_a_lun_that_is_not_ours_is_not_known_yet() -> None:
    """The preflight compares it with the region, which does not grow under KVM on such a LUN."""
    assert sized_for(config(), "kvm").workload == config().workload
    described = {
        "networks": NETWORKS,
        "target": {"kind": "external"},
        "workload": {"region": "1TB"},
    }
    assert Config.model_validate(described).workload.region == 10**12


def test_the_arrays_own_entry_of_multipath_tools_holds() -> None:
    """But for what is demanded of every map."""
    conf = render_conf([WWID], FAST, target_is_made=False)
    assert "devices {" not in conf
    overrides = conf[conf.index("overrides {") :]
    for line in ("fast_io_fail_tmo     1", "no_path_retry        queue"):
        assert line in overrides
    assert "overrides" not in render_conf([WWID], FAST)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_says_what_it_acts_with(kind: type[LinkDown]) -> None:
    """All is possible on a testbed of ours; at a target that is not, nothing."""
    needs = kind("a").needs
    assert needs
    assert lacking(Config(), needs) == ""
    at_the_target = kind in {PeerLinkDown, SilentDrop}
    assert bool(lacking(config(), needs)) is at_the_target


def test_several_faults_need_what_each_of_them_does() -> None:
    """One that is impossible makes all of them so."""
    both = Together((LinkDown("a"), SilentDrop("b")))
    assert both.needs == LinkDown("a").needs | SilentDrop("b").needs
    assert lacking(config(), both.needs) == (
        "it needs commands on the target, and the target is external"
    )
    assert lacking(config(), Together((LinkDown("a"), InitiatorDrop("b"))).needs) == ""


def bed_of(configuration: Config) -> Testbed:
    guest = cast(Any, SimpleNamespace(observer=None))
    attachment = SimpleNamespace(device="/dev/mapper/x")
    shell = IscsiFaultShell(plan(configuration), ("3600",))
    initiator = cast(Any, SimpleNamespace(attachments=(attachment,), for_faults=shell))
    return Testbed(
        configuration,
        plan(configuration),
        guests={Role.INITIATOR: guest},
        target=cast(Any, None),
        initiators={Role.INITIATOR: initiator},
        paths={"lun0": ()},
        environment={},
        console=str,
    )


def test_an_initiator_that_was_there_already_has_no_cable_to_pull() -> None:
    """Whoever reads of it reads a sentence."""
    existing = config().model_copy(
        update={"initiator": InitiatorConfig.model_validate({"machine": "local"})}
    )
    assert lacking(existing, LinkDown("a").needs) == (
        "it needs the hypervisor's end of the initiator's cables, and the initiator is an "
        "existing machine"
    )


def test_what_is_impossible_is_not_tried() -> None:
    """Neither injected nor healed, and told apart from what failed."""
    testbed = bed_of(config())
    assert testbed.machines == (Role.INITIATOR,)
    with pytest.raises(LabCannot, match="not possible here"), testbed.fault(SilentDrop("a")):
        pass


def test_the_least_loss_is_one_that_this_lab_has_means_for() -> None:
    """Where there is none the test is skipped, as with any fault that is impossible."""
    assert bed_of(config()).least_loss_of("b") == LinkDown("b")
    existing = config().model_copy(
        update={"initiator": InitiatorConfig.model_validate({"machine": "local"})}
    )
    assert bed_of(existing).least_loss_of("b") == InitiatorDrop("b")
    one_portal = load(None, {"topology": ("one-subnet", "--topology")}).config
    alone = existing.model_copy(update={"networks": one_portal.networks})
    with pytest.raises(LabCannot, match="takes path a-nic1 and leaves another"):
        bed_of(alone).least_loss_of("a-nic1")


def test_faults_that_overlap_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each phase and each budget is of one fault; nothing is injected."""
    done: list[str] = []
    for word in ("inject", "confirm", "heal", "confirm_healed"):
        monkeypatch.setattr(
            InitiatorDrop, word, lambda self, _, word=word: done.append(f"{word} {self.portal}")
        )
    testbed = bed_of(config())
    with (
        testbed.fault(InitiatorDrop("a")),
        pytest.raises(FaultError, match=r"InitiatorDrop\(b\) cannot .* while InitiatorDrop\(a\)"),
        testbed.fault(InitiatorDrop("b")),
    ):
        pass
    assert done == ["inject a", "confirm a", "heal a", "confirm_healed a"]
    with testbed.fault(InitiatorDrop("b")):
        pass
    assert done[-1] == "confirm_healed b"


def test_a_testbed_that_is_used_again_passes_the_preflight_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A path that came back in between has logged in anew, perhaps elsewhere."""
    done: list[str] = []
    testbed = bed_of(config())
    testbed.map.attachment.paths = tuple  # type: ignore[method-assign]  # none, as before
    for word in ("heal", "wait_for_all_but", "preflight"):
        monkeypatch.setattr(testbed, word, lambda *_, word=word, **__: done.append(word))
    testbed.make_ready()
    assert done == ["heal", "wait_for_all_but", "preflight"]


def test_a_portal_falls_silent_by_whoever_is_ours() -> None:
    """The suites lose all paths on any lab."""
    assert bed_of(config()).silent_drop("a") == InitiatorDrop("a")
    assert bed_of(Config()).silent_drop("a") == SilentDrop("a")


def test_healing_touches_only_what_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target's machine is not reached for."""
    bed = bed_of(config())
    reached: list[str] = []

    def machine(name: str) -> ScriptedMachine:
        reached.append(name)
        return ScriptedMachine()

    monkeypatch.setattr(bed, "machine", machine)
    monkeypatch.setattr(bed, "nic", lambda name, link: f"{name}-{link}")
    monkeypatch.setattr(bed, "set_link", lambda name, *_, **__: reached.append(name))
    bed.heal()
    assert set(reached) == {"initiator"}


class SilentDropOfAnother:
    """No fault, whatever it is called."""


SilentDropOfAnother.__name__ = "SilentDrop"
ARRAY = config()
EXISTING = Config.model_validate(
    {
        "networks": [
            {name: value for name, value in network.items() if name != "bridge"} | {"portals": own}
            for network, own in zip(NETWORKS, (["10.0.0.1", "10.0.0.3"], ["10.0.1.1"]), strict=True)
        ],
        "target": {"kind": "external", "wwid": WWID},
        "initiator": {"machine": "local"},
    }
)


@pytest.mark.parametrize(
    ("here", "parameters", "because"),
    [
        (ARRAY, {"kind": SilentDrop, "path": "a"}, "SilentDrop is not possible here: it needs"),
        (ARRAY, {"kind": LinkDown, "path": "a"}, ""),
        (ARRAY, {"kind": SilentDropOfAnother}, ""),
        (ARRAY, {"loss": SilentDrop("b")}, "SilentDrop is not possible here: it needs"),
        (ARRAY, {"loss": LinkDown("b")}, ""),
        (
            ARRAY,
            {"loss": Together((LinkDown("a"), SilentDrop("b")))},
            "Together is not possible here: it needs",
        ),
        (
            ARRAY,
            {"kind": ControllerLost},
            "ControllerLost is not possible here: no controller of the testbed can have it",
        ),
        (ARRAY, {"kind": PacketLoss}, ""),
        (EXISTING, {"kind": NetworkLost}, ""),
        (EXISTING, {"kind": LinkDown}, "LinkDown is not possible here: it needs"),
    ],
)
def test_a_test_of_what_is_impossible_is_skipped(
    here: Config, parameters: dict[str, object], because: str
) -> None:
    """Before a testbed is made for it, with the reason; not if one of a kind is possible."""
    request: Any = SimpleNamespace(
        config=SimpleNamespace(stash={KEY: SimpleNamespace(config=here)}),
        node=SimpleNamespace(callspec=SimpleNamespace(params=parameters)),
    )
    said = ""
    try:
        skip_without_means(request)
    except pytest.skip.Exception as skipped:
        said = str(skipped)
    assert said.startswith(because)
    assert bool(said) is bool(because)
