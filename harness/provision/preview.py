"""The libvirt domain of a machine before there is one, for people to read."""

from __future__ import annotations

from pathlib import Path

from harness.config import Config
from harness.config.image import load_image
from harness.config.sizes import sized_for
from harness.config.uri import is_embedded
from harness.errors import ConfigError
from harness.guest_images.store import ImageStore
from harness.host.folder import cache_folder
from harness.host.qemu_host import console_name
from harness.host.slots import expected_accel
from harness.hypervisor.domain_xml import render
from harness.hypervisor.elsewhere import accel_of, other_host
from harness.provision.domain_plan import assign_ports, domain_name, domain_spec, ports_needed
from harness.provision.snapshot import disk_file
from harness.testbed.guest_disks import serials
from harness.topology import called, plan

_FOLDER = Path("/TESTBED")
_FIRST_PORT = 20001
_SAYS = (
    f"<!-- Given when a testbed is made: the folder ({_FOLDER} here), ports (from {_FIRST_PORT} on "
    "here), MAC addresses on networks that others use, a name's last digits on a shared libvirt. "
    "-->"
)


def domain_xml(config: Config, machine: str) -> str:
    """The domain that a run makes for a machine, with stand-ins for what is given only then.

    Raises ConfigError if the run makes no such VM, or the VM's image is not built.
    """
    host = other_host(config.hypervisor.uri)
    wanted = config.hypervisor.accel
    accel = expected_accel(config) if host is None else accel_of(host, wanted).accel
    config = sized_for(config, accel)
    topology = plan(config)
    known = [one.name for one in topology.machines]
    if machine not in known:
        raise ConfigError(f"there is no machine {machine!r}; there are {', '.join(known)}")
    if machine not in topology.guests:
        raise ConfigError(f"no VM is made for {called(machine)}: it is an existing one")
    definition = load_image(config.machines.image)
    image = ImageStore(cache_folder(), config.machines.mirror).find(
        definition, topology.role(machine)
    )
    if image is None:
        raise ConfigError(
            f"the image {definition.name} of {called(machine)} is not built",
            hint="`pathproof images build` builds it, and the domain names its kernel",
        )
    ports = range(_FIRST_PORT, _FIRST_PORT + ports_needed(topology))
    spec = domain_spec(
        config,
        topology,
        machine,
        name=domain_name(config.name, machine, alone=is_embedded(config.hypervisor.uri)),
        accel=accel,
        image=image,
        disks=[
            disk_file(_FOLDER, machine, serial)
            for serial in serials(machine, config.target, topology)
        ],
        wiring=assign_ports(topology, ports),
        console_log=_FOLDER / console_name(machine),
        direct_io=True,
    )
    return f"{_SAYS}\n{render(spec)}"
