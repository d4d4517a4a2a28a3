"""A golden snapshot: a whole testbed, saved at one instant while it ran; forks are made of it.

    snapshots/KEY/snapshot.json         what determined it, and every other file's size and digest
    snapshots/KEY/MACHINE.memory        memory and devices, as libvirt saves them
    snapshots/KEY/MACHINE-DISK.qcow2    the disks, which forks read through to

KEY is a digest of everything that determines the content, so a snapshot is never out of date:
it has another name. What is in the folder is believed only after every byte was compared with
its digest, once per process; afterwards, before each fork, the files' times must not have changed.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.concurrency import side_by_side
from harness.config import Config
from harness.errors import HypervisorError
from harness.guest_images.store import BuiltImage
from harness.own_code import digest_of
from harness.provision import SHAPING
from harness.steps import step
from harness.testbed.lun_layout import Layout
from harness.topology import Role, plan
from harness.transport import PathDisk

RECORD = "snapshot.json"
_CPU_INFO = Path("/proc/cpuinfo")
_PROCESSOR = (  # of x86, then of Arm
    *("vendor_id", "model name", "stepping", "microcode", "flags"),
    *("CPU implementer", "CPU variant", "CPU part", "CPU revision", "Features"),
)


class Damaged(HypervisorError):
    """A snapshot is not what was made; another one must be."""


@dataclass(frozen=True)
class Golden:
    """A snapshot that was found undamaged.

    `nics`: by machine, its name of each data NIC. `paths`: by the name of the map.
    """

    folder: Path
    nics: Mapping[str, Mapping[str, str]]
    paths: Mapping[str, tuple[PathDisk, ...]]
    environment: Mapping[str, str]
    identities: Mapping[str, tuple[int, ...]]

    def require_untouched(self) -> None:
        """Raise Damaged if a file was written to since it was found undamaged."""
        for name, identity in self.identities.items():
            if _identity(self.folder / name) != identity:
                raise Damaged(f"snapshot {self.folder.name}: {name} was changed")


def memory_file(folder: Path, machine: str) -> Path:
    """Where a machine's memory is."""
    return folder / f"{machine}.memory"


def disk_file(folder: Path, machine: str, serial: str) -> Path:
    """Where a machine's disk of that serial is."""
    return folder / f"{machine}-{serial}.qcow2"


def determinants(
    config: Config, images: Mapping[Role, BuiltImage], accel: str, versions: Mapping[str, str]
) -> dict[str, Any]:
    """Everything that determines a testbed's state, as JSON has it."""
    described = config.model_dump(
        mode="json",
        exclude={"budget", "callouts", "hypervisor", "measure_again", "profiles", "require"},
    )
    described["profile"] = config.profile.model_dump(mode="json")
    described["workload"] = asdict(Layout.planned(config.workload, plan(config)).fill())
    return {
        "testbed": described,
        "images": {role.value: str(image.disk) for role, image in images.items()},
        "acceleration": accel,
        "versions": dict(versions),
        "processor": _processor(),
        "kernel": platform.release(),
        "code": digest_of(*SHAPING),
    }


def key_of(determined_by: Mapping[str, Any]) -> str:
    """The name of the snapshot that `determined_by` determines."""
    return _digest_of(determined_by)[:24]


def seal(
    folder: Path,
    determined_by: Mapping[str, Any],
    nics: Mapping[str, Mapping[str, str]],
    paths: Mapping[str, Sequence[PathDisk]],
    environment: Mapping[str, str],
) -> None:
    """Write down what `folder` holds; nothing in it is written from then on."""
    with step("Note the snapshot's digests"):
        contents = sorted(folder.glob("*.memory")) + sorted(folder.glob("*.qcow2"))
        digests = side_by_side(*(lambda f=file: _digest(f) for file in contents))
    record: dict[str, Any] = {
        "determined_by": determined_by,
        "nics": nics,
        "paths": {name: [asdict(path) for path in of_map] for name, of_map in paths.items()},
        "environment": environment,
        "files": {
            file.name: {"size": file.stat().st_size, "sha256": digest}
            for file, digest in zip(contents, digests, strict=True)
        },
    }
    record["sha256"] = _digest_of(record)
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    for file in (*contents, folder / RECORD):
        file.chmod(0o400)


def opened(folder: Path, determined_by: Mapping[str, Any]) -> Golden:
    """The snapshot in `folder`, every byte of it compared. Raises Damaged with the reason."""
    try:
        record = json.loads((folder / RECORD).read_text())
        if record.pop("sha256") != _digest_of(record):
            raise ValueError("other content")  # noqa: TRY301  # told like all else below
        recorded_by, contents = record["determined_by"], dict(record["files"])
        nics = {machine: dict(names) for machine, names in record["nics"].items()}
        paths: dict[str, tuple[PathDisk, ...]] = {
            name: tuple(PathDisk(**path) for path in of_map)
            for name, of_map in record["paths"].items()
        }
        environment = dict(record["environment"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # any content
        raise Damaged(f"snapshot {folder.name}: {RECORD} cannot be used: {error!r}") from None
    if differing := _differing(recorded_by, determined_by):
        raise Damaged(f"snapshot {folder.name} is of another {', another '.join(differing)}")
    with step("Compare the snapshot with its digests"):
        identities = {name: _identity(folder / name) for name in contents}
        checks = [(lambda n=name: _problem(folder / n, contents[n])) for name in contents]
        problems = [problem for problem in side_by_side(*checks) if problem]
    if problems:
        raise Damaged(f"snapshot {folder.name}: {'; '.join(problems)}")
    return Golden(folder, nics, paths, environment, identities)


def is_whole(folder: Path, determined_by: Mapping[str, Any]) -> bool:
    """Whether `opened` would succeed."""
    try:
        opened(folder, determined_by)
    except Damaged:
        return False
    return True


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def _problem(file: Path, expected: Mapping[str, Any]) -> str:
    """What is wrong with a file, or nothing."""
    try:
        size = file.stat().st_size
        if size != expected["size"]:
            return f"{file.name} has {size} bytes instead of {expected['size']}"
        return "" if _digest(file) == expected["sha256"] else f"{file.name} has other content"
    except OSError as error:
        return f"{file.name}: {error.strerror}"


def _digest_of(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(file: Path) -> str:
    with file.open("rb") as opened_file:
        return hashlib.file_digest(opened_file, "sha256").hexdigest()


def _identity(file: Path) -> tuple[int, ...]:
    """What changes whenever somebody writes to a file; a missing one has none."""
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _processor() -> str:
    """The model and the abilities of this host's processor (proc(5), /proc/cpuinfo)."""
    lines = _CPU_INFO.read_text().partition("\n\n")[0].splitlines()
    return "; ".join(line for line in lines if line.startswith(_PROCESSOR))
