"""Make hosts ready to run workers: code, environment, what travels with this run.

    ~/.cache/pathproof/fleet/               or below XDG_CACHE_HOME of that host
        code-DIGEST/                        the checkout
        environment-DIGEST/                 what ./bootstrap needs, and the .venv that it made
        run-ID/                             arguments, configuration and results of one run
        pathproof                           the command, with the code that was sent last

A folder appears under its name when it is complete. What was not used for two weeks is removed.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from harness.concurrency import side_by_side
from harness.config import Config
from harness.config.fleet import HostConfig
from harness.errors import CommandTimedOut, HarnessError, MachineError
from harness.fleet.parcel import Parcel
from harness.fleet.reach import destination, remote_host
from harness.lacking import as_error
from harness.machine.remote import RemoteHost
from harness.provision.requirements import PROGRAM, TIMEOUT_S, TRIED, parse_answer
from harness.steps import Spent, step, warn

KEPT_DAYS = 14
SEND_TIMEOUT_S = 300.0

_LOOK = """
umask 077
folder=${XDG_CACHE_HOME:-$HOME/.cache}/pathproof/fleet
mkdir -p "$folder"
cd "$folder"
days=$1
shift
touch -c "$@"
find . -mindepth 1 -maxdepth 1 -mtime "+$days" -exec rm -rf {} +
pwd -P
for name; do
    test ! -d "$name" || printf '%s\\n' "$name"
done
"""

_UNPACK = """
umask 077
cd "$1"
draft=$(mktemp -d draft-XXXXXX)
trap 'rm -rf "$draft"' EXIT
tar --extract --no-same-owner --directory="$draft" --file=-
test -e "$draft/$3"
mv -T "$draft" "$2" 2>/dev/null || test -d "$2"
"""

_COUNT_PLACES = """
import sys
from harness.config import Config
from harness.host.slots import limit_for
print(limit_for(Config.model_validate_json(sys.stdin.read())).testbeds)
"""


@dataclass(frozen=True)
class Travelling:
    """What goes to every host. `files` are those of this run alone, by name in its folder.

    Workers run in the folder `within` the code.
    """

    run: str
    code: Parcel
    environment: Parcel
    files: Mapping[str, str]
    config: Config
    within: str = "."


@dataclass(frozen=True)
class Ready:
    """A host that can run workers, `slots` at once. `folder` is the fleet's, on that host."""

    config: HostConfig
    machine: RemoteHost
    folder: PurePosixPath
    code: PurePosixPath
    python: str
    run: PurePosixPath
    slots: int

    @property
    def name(self) -> str:
        return self.config.shown_as

    def gateway(self, worker: str, *, within: str) -> str:
        """Where execnet is to start a worker: in the folder `within` the code."""
        parts = {
            "ssh": " ".join(destination(self.config)),
            "ssh_config": self.config.ssh_config,
            "python": self.python,
            "chdir": self.code / within,
            "id": worker,
        }
        return "//".join(f"{key}={value}" for key, value in parts.items() if value is not None)


class Unmet(HarnessError):
    """A host lacks what the run requires of every host."""


@dataclass(frozen=True)
class Refused:
    """A host that takes no part, and why."""

    config: HostConfig
    error: HarnessError


def prepare(
    hosts: Sequence[HostConfig], travelling: Travelling
) -> tuple[list[Ready], list[Refused]]:
    """Make all hosts ready side by side.

    Raises MachineError if that succeeds with none, and Unmet if one lacks what is required.
    """
    machines = [remote_host(host) for host in hosts]
    try:
        results = side_by_side(
            *(
                partial(_try, host, machine, travelling)
                for host, machine in zip(hosts, machines, strict=True)
            )
        )
        ready = [result for result in results if isinstance(result, Ready)]
        refused = [result for result in results if isinstance(result, Refused)]
        _refuse_unmet(refused)
    except BaseException:
        for machine in machines:
            machine.close()
        raise
    if not ready:
        raise MachineError(
            "no host of the fleet can be used:\n" + "\n".join(str(one.error) for one in refused)
        )
    for one in refused:
        warn(f"{one.config.shown_as} takes no part: {one.error}")
    return ready, refused


def _refuse_unmet(refused: Sequence[Refused]) -> None:
    """Raise Unmet, for all hosts at once; each of its lines names the host."""
    if unmet := [str(one.error) for one in refused if isinstance(one.error, Unmet)]:
        raise Unmet("\n".join(unmet))


def _try(host: HostConfig, machine: RemoteHost, travelling: Travelling) -> Ready | Refused:
    try:
        with step(f"Prepare {host.shown_as}", Spent.PROVISIONING):
            return _prepare(host, machine, travelling)
    except HarnessError as error:
        return Refused(host, error)


def _prepare(host: HostConfig, machine: RemoteHost, travelling: Travelling) -> Ready:
    parcels = (travelling.environment, travelling.code)
    with step("Reach it"):
        names = [parcel.name for parcel in parcels]
        looked = machine.reach(["sh", "-euc", _LOOK, "sh", str(KEPT_DAYS), *names])
        where, *there = looked.stdout.splitlines()
        folder = PurePosixPath(where)
    for parcel in parcels:
        if parcel.name not in there:
            with step(f"Send {parcel.name.partition('-')[0]}"):
                machine.run(
                    ["sh", "-euc", _UNPACK, "sh", where, parcel.name, parcel.last],
                    stdin=parcel.archive,
                    timeout_s=SEND_TIMEOUT_S,
                )
    bootstrap = folder / travelling.environment.name / "bootstrap"
    code = folder / travelling.code.name
    with step("Make its environment"):
        _bootstrap(machine, bootstrap, host.bootstrap_timeout_s)
    # First on the path, before the empty package that the environment was made with.
    within = ["env", f"PYTHONPATH={code}", str(bootstrap)]
    with step("Count its places for testbeds"):
        counted = machine.run(
            [*within, "python", "-c", _COUNT_PLACES],
            stdin=travelling.config.model_dump_json().encode(),
        )
    if TRIED.intersection(travelling.config.require):
        with step("Try what the run requires"):
            # Where its workers will run: paths in the configuration are relative to that.
            there = ["sh", "-euc", 'cd "$0"; exec "$@"', str(code / travelling.within), *within]
            try_required(machine, host.shown_as, [*there, "python"], travelling.config)
    run = folder / f"run-{travelling.run}"
    launcher = f'#!/bin/sh\nexec {shlex.join([*within, "pathproof"])} "$@"\n'
    files = {str(run / name): content for name, content in travelling.files.items()}
    machine.write_files({**files, str(folder / "pathproof"): launcher}, mode=0o700)
    return Ready(
        config=host,
        machine=machine,
        folder=folder,
        code=code,
        python=shlex.join([*within, "python"]),
        run=run,
        slots=int(counted.stdout) if host.slots == "auto" else host.slots,
    )


def try_required(machine: RemoteHost, name: str, python: Sequence[str], config: Config) -> None:
    """Try forks and KVM on a host, as far as they are required.

    Raises Unmet if something is lacking, and also if it could not be tried.
    """
    try:
        tried = machine.run(
            [*python, *PROGRAM],
            stdin=config.model_dump_json().encode(),
            timeout_s=TIMEOUT_S,
        )
        answer = parse_answer(tried.stdout)
    except HarnessError as error:
        raise Unmet(
            f"{name}: what the run requires could not be tried: {error.message}", hint=error.hint
        ) from None
    for warning in answer.warnings:
        warn(f"{name}: {warning}")
    if answer.lacking:
        raise Unmet("\n".join(f"{name}: {as_error(one)}" for one in answer.lacking))


def _bootstrap(machine: RemoteHost, bootstrap: PurePosixPath, timeout_s: float) -> None:
    try:
        machine.run([str(bootstrap), "true"], timeout_s=timeout_s)
    except CommandTimedOut as error:
        raise MachineError(
            error.message, hint="a slow mirror needs a longer bootstrap_timeout_s in the fleet file"
        ) from None
