"""Whether this host has what a run requires, found out by doing it, before the first test.

libvirt's embedded driver allows a process one root in its life, which belongs to the testbeds.
So machines are tried in a process of its own: `python -P -m harness.provision.requirements`, which
takes the configuration as JSON and answers as JSON: what is lacking, or why it could not be tried.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import harness
from harness.config import Config
from harness.config.image import load_image
from harness.errors import HarnessError, HypervisorError
from harness.guest_images.store import ImageStore
from harness.host.folder import cache_folder, claimed
from harness.hypervisor.accel import Kvm, examine_kvm, lacking_as_required
from harness.hypervisor.connection import connect
from harness.hypervisor.elsewhere import other_host
from harness.hypervisor.qemu_user import qemu_user
from harness.hypervisor.trial import try_machine
from harness.lacking import Lacking
from harness.steps import warn
from harness.topology import Role

# For Python to run, where this package is on its path. -P: not that of a folder that happens to
# have the same name below the current one.
PROGRAM = ("-P", "-m", __name__)
TRIED = frozenset({"forks", "kvm"})
TIMEOUT_S = 120.0
_DOCTOR = "`pathproof doctor` goes through it step by step"
_IMAGE_NOT_BUILT = (
    "KVM is required, and only a small program was tried: the guest image is not built yet. "
    "The guest's kernel is tried when the first testbed is made (`pathproof images build` makes "
    "the image now)"
)


@dataclass(frozen=True)
class Answer:
    """What a host lacks of what is required, and what to warn of."""

    lacking: tuple[Lacking, ...] = ()
    warnings: tuple[str, ...] = ()


def ask(config: Config) -> list[Lacking]:
    """What this host lacks of what `config` requires of it, tried in a process of its own.

    The report generator is not looked at. Raises HarnessError if it could not be tried.
    """
    if not TRIED.intersection(config.require):
        return []
    top = Path(harness.__file__).parent.parent
    # The current folder stays: paths in the configuration are relative to it.
    path = os.pathsep.join(filter(None, [str(top), os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            [sys.executable, *PROGRAM],
            input=config.model_dump_json(),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            env=os.environ | {"PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired:
        raise HypervisorError(
            f"what this host can do was not found out within {TIMEOUT_S:.0f} s", hint=_DOCTOR
        ) from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise HypervisorError(f"what this host can do could not be found out: {last}", hint=_DOCTOR)
    answer = parse_answer(done.stdout)
    for warning in answer.warnings:
        warn(warning)
    return list(answer.lacking)


def parse_answer(text: str) -> Answer:
    """What PROGRAM answers. Raises HarnessError with its words if it could not try."""
    try:
        answer = json.loads(text)
    except ValueError:
        raise HarnessError(f"no answer, but: {text.strip() or 'nothing'}", hint=_DOCTOR) from None
    if "error" in answer:
        raise HarnessError(answer["error"]["message"], hint=answer["error"]["hint"])
    return Answer(tuple(Lacking(**one) for one in answer["lacking"]), tuple(answer["warnings"]))


def examine_here(config: Config) -> Answer:
    """What of `config.require` this host lacks; opens a libvirt root, so once in a process."""
    if other_host(config.hypervisor.uri) is not None:
        return Answer()  # forks are impossible there, and KVM is taken at its owner's word
    kvm = _kvm(config)
    found, warnings = [], []
    if "kvm" in config.require:
        if lacking := lacking_as_required(kvm):
            found.append(lacking)
        elif not kvm.proven:
            warnings.append(_IMAGE_NOT_BUILT)
    if "forks" in config.require:
        try:
            problem = _fork_problem(config, "kvm" if kvm.usable else "tcg")
        except HarnessError as error:
            problem = error
        if problem is not None:
            found.append(Lacking.because("forks", problem))
    return Answer(tuple(found), tuple(warnings))


def _kvm(config: Config) -> Kvm:
    """The guest's kernel is tried only where KVM is required; a fork needs no more than a program.

    Raises HarnessError if the image definition cannot be read.
    """
    if config.hypervisor.accel == "tcg":
        return Kvm(usable=False, proven=True, reason="TCG, as configured")
    kernel = None
    if "kvm" in config.require:
        store = ImageStore(cache_folder(), config.machines.mirror)
        image = store.find(load_image(config.machines.image), Role.INITIATOR)
        kernel = image.kernel if image else None
    return examine_kvm(
        cache_folder(),
        kernel=kernel,
        user=qemu_user(config.hypervisor.uri),
        again="kvm" in config.require or config.hypervisor.accel == "kvm",
    )


def _fork_problem(config: Config, accel: Literal["kvm", "tcg"]) -> HarnessError | None:
    capabilities = cache_folder() / "libvirt-capabilities"
    with (
        claimed("trial") as folder,
        connect(config.hypervisor.uri, folder.root, capabilities_cache=capabilities) as opened,
    ):
        return try_machine(opened, folder.path, accel).fork


def _answer(question: str) -> Mapping[str, Any]:
    try:
        return asdict(examine_here(Config.model_validate_json(question)))
    except HarnessError as error:
        return {"error": {"message": error.message, "hint": error.hint}}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_answer(sys.stdin.read())))
