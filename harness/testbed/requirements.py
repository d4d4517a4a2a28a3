"""Whether this host has what a run requires, found out by doing it, before the first test.

libvirt's embedded driver allows a process one root in its life, which belongs to the testbeds.
So machines are tried in a process of its own: `python -m harness.testbed.requirements`, which
takes the configuration as JSON and answers with what is lacking, as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import harness
from harness.config import Config
from harness.config.image import load_image
from harness.errors import HarnessError, HypervisorError
from harness.hypervisor.accel import Kvm, examine_kvm
from harness.hypervisor.connection import connect
from harness.hypervisor.elsewhere import other_host
from harness.hypervisor.image import ImageStore
from harness.hypervisor.trial import try_machine
from harness.lacking import Lacking, no_kvm
from harness.testbed.folder import cache_folder, claimed
from harness.topology import Role

COMMAND = ("python", "-m", __name__)
TIMEOUT_S = 120.0
_TRIED = {"forks", "kvm"}


def ask(config: Config) -> list[Lacking]:
    """What this host lacks of what `config` requires of it, tried in a process of its own.

    The report generator is not looked at. Raises HypervisorError if the process fails.
    """
    if not _TRIED.intersection(config.require):
        return []
    try:
        done = subprocess.run(
            [sys.executable, *COMMAND[1:]],
            input=config.model_dump_json(),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            cwd=Path(harness.__file__).parent.parent,
        )
    except subprocess.TimeoutExpired:
        raise HypervisorError(
            f"what this host can do was not found out within {TIMEOUT_S:.0f} s",
            hint="`pathproof doctor` goes through it step by step",
        ) from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise HypervisorError(
            f"what this host can do could not be found out: {last}",
            hint="`pathproof doctor` goes through it step by step",
        )
    return understood(done.stdout)


def understood(answer: str) -> list[Lacking]:
    """The answer of COMMAND."""
    return [Lacking(**one) for one in json.loads(answer)]


def lacking_here(config: Config) -> list[Lacking]:
    """What of `config.require` this host lacks; opens a libvirt root, so once in a process."""
    if other_host(config.hypervisor.uri) is not None:
        return []  # forks are impossible there, and KVM is taken at its owner's word
    kvm = _kvm(config)
    found = []
    if "kvm" in config.require and not kvm.usable:
        found.append(no_kvm(kvm.reason.removeprefix("KVM: ")))
    if "forks" in config.require:
        try:
            problem = _fork_problem(config, "kvm" if kvm.usable else "tcg")
        except HarnessError as error:
            problem = error
        if problem is not None:
            found.append(Lacking.because("forks", problem))
    return found


def _kvm(config: Config) -> Kvm:
    if config.hypervisor.accel == "tcg":
        return Kvm(usable=False, proven=True, reason="TCG, as configured")
    store = ImageStore(cache_folder(), config.machines.mirror)
    image = store.find(load_image(config.machines.image), Role.INITIATOR)
    return examine_kvm(cache_folder(), kernel=image.kernel if image else None)


def _fork_problem(config: Config, accel: Literal["kvm", "tcg"]) -> HarnessError | None:
    capabilities = cache_folder() / "libvirt-capabilities"
    with (
        claimed("trial") as folder,
        connect(config.hypervisor.uri, folder.root, capabilities_cache=capabilities) as opened,
    ):
        return try_machine(opened, folder.path, accel).fork


def _main() -> Sequence[dict[str, str]]:
    config = Config.model_validate_json(sys.stdin.read())
    return [asdict(one) for one in lacking_here(config)]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_main()))
