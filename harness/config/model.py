"""The configuration's frozen models; every default here equals the built-in testbed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from harness.config.base import Model
from harness.config.callouts import CalloutConfig, require_callouts
from harness.config.credentials import ChapConfig
from harness.config.effects import changed, require_effects
from harness.config.guest_room import require_room
from harness.config.iet import IetOptions
from harness.config.initiators import FurtherInitiator, require_initiators
from harness.config.iqn import iqn_problem
from harness.config.luns import (
    MOST_LUNS,
    LunConfig,
    Size,
    Wwid,
    require_luns,
    require_target_names,
)
from harness.config.negotiation import LoginOptions
from harness.config.network_rules import (
    require_apart_from_management,
    require_controllers,
    require_each_portal_once,
    require_independent,
    require_names_apart,
    require_routes,
)
from harness.config.networks import ControllerConfig, NetworkConfig, default_networks
from harness.config.profiles import FAST, STOCK, Profile
from harness.config.requirements import Requirements, why_no_forks, why_no_kvm
from harness.units import KIB, MIB, format_size

TargetKind = Literal["lio", "tgt", "iet", "external"]
PathGrouping = Literal[
    "failover", "multibus", "group_by_serial", "group_by_prio", "group_by_node_name"
]


class HypervisorConfig(Model):
    """The libvirt end."""

    uri: str = Field(
        "embedded",
        description="'embedded' (a private libvirt, no daemon, no root) or any libvirt URI",
    )
    accel: Literal["auto", "kvm", "tcg"] = Field(
        "auto", description="'auto' proves KVM by a probe boot and falls back to TCG"
    )
    fork: bool = Field(
        True, description="fork testbeds from a snapshot; false boots each of them cold"
    )
    testbeds: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="how many run at once; 'auto' is one a core as far as memory goes"
    )


class MachineConfig(Model):
    """What every guest is made of."""

    image: str = Field("debian-12", description="name of a definition in images/, or a path")
    mirror: str | None = Field(None, description="package mirror for image builds")
    cpus: int = Field(1, ge=1, le=64)
    memory: Size = Field(768 * MIB, ge=256 * MIB)
    boot_timeout_s: float = Field(300, gt=0, description="until a guest answers SSH")


class TargetConfig(Model):
    """The iSCSI target, or all targets of one machine, and the LUN."""

    kind: TargetKind = Field("lio", description="which target software serves the LUN")
    iqn: str = "iqn.2026-01.io.pathproof:storage"
    backstore: Literal["fileio", "block"] = Field(
        "fileio", description="a file in the target's file system, or its second disk"
    )
    write_cache: Literal["write-through", "write-back"] = Field(
        "write-through", description="when a write is acknowledged: once it is stored, or at once"
    )
    lun_size: Size = Field(10_000_000_000, ge=8 * MIB, multiple_of=512)
    port: int = Field(3260, ge=1, le=65535)
    iet: IetOptions = IetOptions()
    wwid: Wwid | None = Field(
        None, description="an external target's LUN, as multipath calls it; else nothing is written"
    )
    serial: str | None = Field(None, description="unit serial number of an external target's LUN")
    credentials: Path | None = Field(
        None, description="file with CHAP names and secrets, which only its owner can read"
    )
    chap: ChapConfig | None = Field(
        None, exclude=True, description="what `credentials` or the environment hold"
    )
    erase: str | None = Field(
        None, exclude=True, description="WWID of an external LUN whose data may be lost, this once"
    )

    @property
    def is_made(self) -> bool:
        """Whether Pathproof makes the target, and so its LUN; else it is external."""
        return self.kind != "external"

    @model_validator(mode="after")
    def _lun_is_named_where_it_is_external(self) -> Self:
        for key in ("wwid", "serial", "erase"):
            if self.is_made and getattr(self, key) is not None:
                raise ValueError(f"{key} is that of an external LUN; kind {self.kind!r} makes one")
        for key in ("backstore", "write_cache", "lun_size"):
            if not self.is_made and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(
                    f"{key}: nothing is configured on an external target; leave it out"
                )
        return self


def _without_comment(key: object) -> object:
    """A public key as OpenSSH keeps it in a file, whose third word is a comment: sshd(8)."""
    return " ".join(key.split()[:2]) if isinstance(key, str) else key


class SshConfig(Model):
    """How to reach an existing machine."""

    host: str
    port: int = Field(22, ge=1, le=65535)
    user: str = "root"
    key: Path = Field(description="the private key to log in with")
    host_key: Annotated[str, BeforeValidator(_without_comment)] = Field(
        pattern=r"^ssh-ed25519 \S+$",
        description="the machine's own: the line in ssh_host_ed25519_key.pub there; no other is "
        "accepted",
    )


class InitiatorConfig(Model):
    """open-iscsi and multipath-tools.

    An existing machine keeps its own initiator name.
    """

    iqn: str = "iqn.2026-01.io.pathproof:initiator"
    profile: str = Field("fast", description="which of [profiles] sets the timeouts")
    fio: str = Field(
        "fio",
        pattern=r"^(fio|(/[\w.+-]+)+)$",
        description="the fio to run there, by its path if the one in PATH is older than 3.31",
    )
    machine: Literal["vm", "ssh", "local"] = Field(
        "vm",
        description="a VM that is made for the run, a machine that is there, or this very host",
    )
    ssh: SshConfig | None = None
    path_grouping_policy: PathGrouping = Field(
        "multibus",
        description="of the map: how multipath-tools makes path groups (multipath.conf(5))",
    )
    iscsi: LoginOptions = LoginOptions()

    @property
    def is_made(self) -> bool:
        """Whether it is a VM that is made for the testbed; else it is an existing machine."""
        return self.machine == "vm"

    @model_validator(mode="after")
    def _reached_as_it_says(self) -> Self:
        if self.machine == "ssh" and self.ssh is None:
            raise ValueError('machine = "ssh" needs [initiator.ssh] with host, key and host_key')
        if self.machine != "ssh" and self.ssh is not None:
            raise ValueError('[initiator.ssh] has an effect with machine = "ssh" only')
        return self


class WorkloadConfig(Model):
    """How much of the LUN is written, and how fast."""

    region: Size = Field(
        64 * MIB, ge=16 * MIB, description="bytes at the start of the LUN that a test may use"
    )
    block_size: Size = Field(4 * KIB, ge=4 * KIB, le=4 * MIB, multiple_of=4 * KIB)
    depth: int = Field(4, ge=1, le=256)
    write_iops: int = Field(80, ge=1, description="pace of the verified writes")
    read_iops: int = Field(50, ge=1, description="pace of the verified reads")
    probe_iops: int = Field(150, ge=100, description="pace of the depth-1 probe")
    second_look_s: float = Field(
        0, ge=0, le=3600, description="all is read back once more after that time; 0 for never"
    )
    limit_s: float = Field(
        900, gt=0, description="I/O that is not over by then is ended, and judged as it is"
    )


class BudgetConfig(Model):
    """The time that is allowed in addition to what the settings allow."""

    slack_s: float = Field(
        1.0,
        ge=0,
        description="for timers that fire up to a tick late and for the guest to be scheduled",
    )
    max_stall_s: float | None = Field(
        None, gt=0, description="the longest stall accepted, whatever the settings allow"
    )


class Config(Model):
    """A testbed as the user describes it."""

    name: str = Field("pathproof", pattern=r"^[a-z][a-z0-9-]{0,23}$")
    require: Requirements = Field(
        (), description="what a run may not do without: forks, kvm, report; else it is an error"
    )
    measure_again: int = Field(
        1, ge=0, le=9, description="how often a test whose verdict is unknown is run again"
    )
    hypervisor: HypervisorConfig = HypervisorConfig()
    machines: MachineConfig = MachineConfig()
    topology: str | None = Field(
        None,
        description="name of a ready topology, in place of networks, controllers, luns, initiators",
    )
    networks: tuple[NetworkConfig, ...] = Field(default_factory=default_networks)
    controllers: tuple[ControllerConfig, ...] = ()
    luns: tuple[LunConfig, ...] = Field(
        (), max_length=MOST_LUNS, description="in place of the one LUN of [target]"
    )
    target: TargetConfig = TargetConfig()
    initiator: InitiatorConfig = InitiatorConfig()
    initiators: tuple[FurtherInitiator, ...] = Field(
        (), description="further machines beside that of [initiator], which all have its settings"
    )
    callouts: tuple[CalloutConfig, ...] = Field(
        (), description="faults that commands of the user's own inject and heal"
    )
    profiles: dict[str, Profile] = Field(default_factory=dict, validate_default=True)
    workload: WorkloadConfig = WorkloadConfig()
    budget: BudgetConfig = BudgetConfig()

    @field_validator("profiles")
    @classmethod
    def _builtin_profiles_are_there(cls, profiles: dict[str, Profile]) -> dict[str, Profile]:
        return {"fast": FAST, "stock": STOCK} | profiles

    @property
    def profile(self) -> Profile:
        """The timeouts in force."""
        return self.profiles[self.initiator.profile]

    @property
    def every_lun(self) -> tuple[LunConfig, ...]:
        """The LUNs in the list, or the one of [target] if there is no list."""
        target = self.target
        one = LunConfig(size=target.lun_size, wwid=target.wwid, serial=target.serial)
        return self.luns or (one,)

    @property
    def has_builtin_profile(self) -> bool:
        """Whether the timeouts are as they come, and not described by the user."""
        return self.profile in (FAST, STOCK)

    @property
    def cannot_fork(self) -> str:
        """Why testbeds of this configuration are never forked; empty if they may be."""
        return why_no_forks(
            fork=self.hypervisor.fork,
            has_secrets=self.target.chap is not None,
            is_external=not self.target.is_made,
            is_shared=any(network.segment for network in self.networks),
            uri=self.hypervisor.uri,
        )

    @model_validator(mode="after")
    def _requirements_can_be_met(self) -> Self:
        if "forks" in self.require and self.cannot_fork:
            raise ValueError(f"require: there are no forks with this testbed: {self.cannot_fork}")
        why = why_no_kvm(
            accel=self.hypervisor.accel,
            uri=self.hypervisor.uri,
            makes_machines=self.initiator.is_made,
        )
        if "kvm" in self.require and why:
            raise ValueError(f"require: KVM cannot be required of this testbed: {why}")
        return self

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        require_independent(self.networks)
        require_each_portal_once(self.networks, self.target.port)
        require_routes(self.networks)
        require_controllers(self.networks, self.controllers)
        return self

    @model_validator(mode="after")
    def _luns_fit(self) -> Self:
        require_luns(self.target, self.luns, changed(self.target))
        require_target_names(self.target, self.luns, self.networks, changed(self.target))
        return self

    @model_validator(mode="after")
    def _initiators_fit(self) -> Self:
        require_initiators(self)
        require_names_apart(self.networks, self.initiators)
        if self.initiator.is_made:
            require_apart_from_management(self.networks, self.initiators)
        return self

    @model_validator(mode="after")
    def _callouts_fit(self) -> Self:
        require_callouts(self)
        return self

    @model_validator(mode="after")
    def _machines_have_room(self) -> Self:
        require_room(self)
        return self

    @model_validator(mode="after")
    def _target_accepts_its_names(self) -> Self:
        # LIO takes names of initiators only as it takes its own; tgt and IET admit any of these.
        mine = "lio" if self.target.is_made else "external"
        initiators = {"initiator.iqn": self.initiator.iqn}
        for number, one in enumerate(self.initiators):
            initiators[f"initiators.{number}.iqn"] = one.iqn_beside(self.initiator.iqn)
        for key, iqn in initiators.items():
            if problem := iqn_problem(iqn, mine):
                raise ValueError(f"{key}: {iqn!r} {problem}")
        named = {"target.iqn": self.target.iqn}
        for number, network in enumerate(self.networks):
            for place, portal in enumerate(network.portals):
                if portal.iqn is not None:
                    named[f"networks.{number}.portals.{place}.iqn"] = portal.iqn
        for number, lun in enumerate(self.luns):
            if lun.target_iqn is not None:
                named[f"luns.{number}.target_iqn"] = lun.target_iqn
        for key, iqn in named.items():
            if problem := iqn_problem(iqn, self.target.kind):
                raise ValueError(f"{key}: {iqn!r} {problem}")
        return self

    @model_validator(mode="after")
    def _external_target_can_be_reached(self) -> Self:
        if not self.initiator.is_made:
            if self.target.is_made:
                raise ValueError(
                    f"initiator.machine: {self.initiator.machine!r} reaches no target VM, whose "
                    'networks are the hypervisor\'s own; it needs target.kind = "external"'
                )
            return self
        for network in self.networks:
            if not (self.target.is_made or network.segment):
                raise ValueError(
                    f"networks: {network.name} is on the lab's own cables, which lead to "
                    "no external target; give 'bridge' or 'libvirt_network'"
                )
        return self

    @model_validator(mode="after")
    def _target_accepts_its_credentials(self) -> Self:
        chap = self.target.chap
        if chap and (problem := chap.problem(self.target.kind)):
            raise ValueError(f"target.chap: {problem}")
        return self

    @model_validator(mode="after")
    def _profile_exists(self) -> Self:
        if self.initiator.profile not in self.profiles:
            raise ValueError(
                f"initiator.profile: {self.initiator.profile!r} is not defined; "
                f"there are {', '.join(sorted(self.profiles))}"
            )
        return self

    @model_validator(mode="after")
    def _workload_fits(self) -> Self:
        smallest = min(lun.size or 0 for lun in self.every_lun)
        if self.target.is_made and self.workload.region > smallest:
            key = "its size in [[luns]]" if self.luns else "target.lun_size"
            raise ValueError(
                f"workload.region: {format_size(self.workload.region)} do not fit the LUN of "
                f"{format_size(smallest)}; make {key} larger or the region smaller"
            )
        return self

    @model_validator(mode="after")
    def _every_key_has_its_effect(self) -> Self:
        require_effects(self)
        return self
