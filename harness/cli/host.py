"""What this host has: programs, rights, room. Looks only, and changes nothing."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness.cli.diagnosis import Diagnosis, Level
from harness.errors import HarnessError
from harness.hypervisor import helper
from harness.units import MIB, format_size

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # where an ordinary user's PATH does not lead
_TIMEOUT_S = 10
_QEMU_ITSELF = 100 * MIB  # of memory, beside what it gives to its guest


class Program(NamedTuple):
    """A program, the Debian package that brings it, what it is for, who can do without it."""

    name: str
    package: str
    purpose: str
    needed: bool = True
    builds: bool = False


PROGRAMS = (
    Program("qemu-system-x86_64", "qemu-system-x86", "runs the machines"),
    Program("qemu-img", "qemu-utils", "makes their disks"),
    Program(
        helper.NAME,
        helper.PACKAGE,
        "saves and restores machines, or else every testbed is booted",
        needed=False,
    ),
    Program("mmdebstrap", "mmdebstrap", "builds images", builds=True),
    Program("mount", "mount", "builds images", builds=True),
    Program("mkfs.ext4", "e2fsprogs", "builds images", builds=True),
    Program("gpg", "gpg", "checks packages for images", builds=True),
    Program("fio", "fio", "makes I/O where this host is the initiator", needed=False),
    Program("ip", "iproute2", "finds the NICs where this host is the initiator", needed=False),
    Program("ssh", "openssh-client", "logs in for `pathproof ssh`", needed=False),
)


def which(program: str) -> str | None:
    """The program's path, also if it is one of the administrator's or of libvirt's own."""
    if program == helper.NAME:
        return helper.find()
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")


def programs(*, images_built: bool) -> Iterator[Diagnosis]:
    """One line for each program; those that build images matter only until they are built."""
    for program in PROGRAMS:
        path = which(program.name)
        if path is not None:
            yield Diagnosis(Level.OK, program.name, path)
            continue
        needed = program.needed and not (program.builds and images_built)
        yield Diagnosis(
            Level.PROBLEM if needed else Level.WARNING,
            program.name,
            f"is not installed; it {program.purpose}",
            f"./bootstrap installs it (Debian: {program.package})",
        )


def rootless_builds(*, images_built: bool) -> Diagnosis:
    """Whether image builds may make the namespaces that they live in (mmdebstrap(1), unshare)."""
    subject = "image builds"
    bad = Level.WARNING if images_built else Level.PROBLEM
    if os.geteuid() == 0:
        if _works("unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "true"):
            return Diagnosis(Level.OK, subject, "as root, in namespaces of their own")
        return Diagnosis(
            bad, subject, "root may not make namespaces here", "use a container with CAP_SYS_ADMIN"
        )
    user = getpass.getuser()
    if which("newuidmap") is None:
        return Diagnosis(
            bad, subject, "newuidmap is not installed", "./bootstrap installs it (Debian: uidmap)"
        )
    for file, option in (("/etc/subuid", "--add-subuids"), ("/etc/subgid", "--add-subgids")):
        if not has_subordinates(_read(file), user, os.getuid()):
            fix = f"as root `usermod {option} 100000-165535 {user}`"
            return Diagnosis(bad, subject, f"{file} grants {user} no subordinate ids", fix)
    if not _works("unshare", "--user", "true"):
        return Diagnosis(
            bad, subject, "unprivileged user namespaces are switched off", _namespaces()
        )
    return Diagnosis(Level.OK, subject, "without root, in a user namespace")


def has_subordinates(text: str, user: str, number: int) -> bool:
    """Whether subuid(5) grants `user` enough ids: `alice:100000:65536`."""
    for line in text.splitlines():
        owner, _, rest = line.strip().partition(":")
        count = rest.partition(":")[2]
        if owner in {user, str(number)} and count.isdigit() and int(count) >= 65536:
            return True
    return False


def _namespaces() -> str:
    """The switch that is off, each known from one family of distributions."""
    for switch, off, on in (
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
        ("user.max_user_namespaces", "0", "15000"),
    ):
        if _read(f"/proc/sys/{switch.replace('.', '/')}").strip() == off:
            return f"as root `sysctl {switch}={on}`"
    return "ask whoever runs this machine to allow them"


def room(place: Path, subject: str, needed: int, why: str, *, bad: Level, fix: str) -> Diagnosis:
    """Free space in `place`, which need not exist yet."""
    existing = next(p for p in (place, *place.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    text = f"{format_size(free)} free in {place}; {why} {format_size(needed)}"
    return Diagnosis(
        Level.OK if free >= needed else bad, subject, text, "" if free >= needed else fix
    )


def disk(cache: Path, testbeds: Path, *, images_built: bool) -> Iterator[Diagnosis]:
    """Room for images and for testbeds, by the very limits that they keep to."""
    from harness.guest_images.build import NEEDED as FOR_IMAGES
    from harness.host.folder import NEEDED as FOR_TESTBED

    bad = Level.WARNING if images_built else Level.PROBLEM
    other_cache = "free some space, or name another cache in XDG_CACHE_HOME"
    yield room(cache, "image cache", FOR_IMAGES, "a build needs", bad=bad, fix=other_cache)
    scratch = Path(tempfile.gettempdir())
    other_scratch = "free some space, or name another folder in TMPDIR"
    if not images_built:
        yield room(scratch, "scratch", FOR_IMAGES, "a build needs", bad=bad, fix=other_scratch)
    yield room(
        testbeds,
        "testbeds",
        FOR_TESTBED,
        "one needs",
        bad=Level.PROBLEM,
        fix="free some space, or name another folder in PATHPROOF_STATE",
    )


def memory(per_machine: int, machines: int) -> Diagnosis:
    """The memory of all machines that a run makes against what is there: proc_meminfo(5)."""
    facts = {
        line.partition(":")[0]: int(line.split()[1]) * 1024
        for line in _read("/proc/meminfo").splitlines()
        if len(line.split()) > 1
    }
    needed = machines * (per_machine + _QEMU_ITSELF)
    free, total = facts.get("MemAvailable", 0), facts.get("MemTotal", 0)
    take = "1 machine takes" if machines == 1 else f"{machines} machines take"
    text = f"{format_size(free)} available; {take} up to {format_size(needed)}"
    fix = "end something, or give them less: machines.memory"
    if total < needed:
        return Diagnosis(Level.PROBLEM, "memory", text, fix)
    return Diagnosis(Level.OK if free >= needed else Level.WARNING, "memory", text, fix)


def cores() -> Diagnosis:
    """Each machine wants one for itself."""
    count = len(os.sched_getaffinity(0))
    if count >= 2:
        return Diagnosis(Level.OK, "cores", f"{count}")
    text = "1; the machines share it, and times will vary"
    return Diagnosis(Level.WARNING, "cores", text, "give this machine a second one")


def report_generator(*, required: bool = False) -> Diagnosis:
    """Node and Allure, found out by rendering a report; without them results are kept as data."""
    from harness.reporting.html import find_node, try_generator

    subject = "HTML report"
    try:
        try_generator()
    except HarnessError as error:
        level = Level.PROBLEM if required else Level.WARNING
        return Diagnosis(level, subject, error.message, error.hint)
    return Diagnosis(Level.OK, subject, f"Allure 3 made one, with {find_node()}")


def _works(*argv: str) -> bool:
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _read(file: str) -> str:
    try:
        return Path(file).read_text(errors="replace")
    except OSError:
        return ""
