"""What callouts may have broken: written down before that is done, until it is healed.

    /var/tmp/pathproof-UID/.callouts/switch-port-3fa9c1.json    (mode 0600)

A record has all that is needed to heal, whatever the configuration says by then. It is locked by
the process that wrote it, and the kernel releases it when that dies: so a record that is not locked
is of a run that was killed, and whoever finds it heals. No other fault needs one: what breaks VMs
ends with them, and what is done to machines can be undone whether it is there or not.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from harness.deadline import Deadline, poll
from harness.errors import FaultError, HarnessError, as_one, defects
from harness.faults.own_command import MARK, OwnCommand
from harness.host.folder import CALLOUTS, base
from harness.locks import locked_folder, make_locked, try_lock
from harness.steps import Spent, step, warn

_SUFFIX = ".json"
_ENDING_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Record:
    """How a fault is healed, and what shows that it is, if anything does."""

    fault: str
    heal: OwnCommand
    confirm_healed: OwnCommand | None

    def undo(self, mark: str) -> None:
        """Heal, and see it healed. Raises FaultError or TimedOut."""
        self.heal.succeed(mark)
        if self.confirm_healed:
            self.confirm_healed.wait_for_success(mark)


# A global: as a lock ends with its descriptor, a process must keep that for as long as it may heal.
_own: dict[Path, tuple[int, Record]] = {}


def note(record: Record) -> str:
    """Write a record, unless this process has one of that fault; returns its mark.

    Once this returns it is on the disk. Raises FaultError if it cannot be written.
    """
    for path in _own_of(record.fault):
        return path.name
    name = re.sub(r"[^\w-]+", "-", record.fault).strip("-").lower()
    path = base() / CALLOUTS / f"{name}-{secrets.token_hex(3)}{_SUFFIX}"
    try:
        _write(path, record)
    except OSError as error:
        raise FaultError(
            f"{record.fault} is not injected, as how to heal it cannot be written down: {error}"
        ) from error
    return path.name


def _write(path: Path, record: Record) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = make_locked(path, 0o600)
    with ExitStack() as failed:
        failed.callback(os.close, descriptor)
        failed.callback(path.unlink)
        os.write(descriptor, json.dumps(asdict(record)).encode())
        os.fsync(descriptor)
        _sync(path.parent)
        failed.pop_all()
    _own[path] = descriptor, record


def heal(fault: str) -> None:
    """Run the command that heals what this process broke. Raises FaultError."""
    for path in _own_of(fault):
        _, record = _own[path]
        record.heal.succeed(path.name)
        if not record.confirm_healed:
            _forget(path)


def confirm_healed(fault: str) -> None:
    """See healed what this process broke. Raises FaultError or TimedOut."""
    for path in _own_of(fault):
        _, record = _own[path]
        if record.confirm_healed:
            record.confirm_healed.wait_for_success(path.name)
        _forget(path)


def heal_left_behind(faults: Collection[str] | None = None) -> list[str]:
    """Heal what runs that were killed have left, and this one; returns the names of the faults.

    Those of other processes that live stay. `faults` restricts it to these. Raises HarnessError,
    after trying all, for those that could not be healed: they are tried again the next time.
    """
    folder = base() / CALLOUTS
    if not folder.is_dir():
        return []
    healed: list[str] = []
    failures: list[HarnessError] = []
    with locked_folder(folder):  # so that who comes meanwhile finds it done
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            try:
                healed += _healed(path, faults)
            except HarnessError as error:
                failures.append(error)
    if failures:
        raise as_one(failures)
    return healed


def _healed(path: Path, faults: Collection[str] | None) -> Iterator[str]:
    """The fault of a record that was to be healed, and is."""
    if path in _own:
        _, record = _own[path]
        if faults is None or record.fault in faults:
            _undo(path, record)
            yield record.fault
        return
    try:
        opened = path.open("rb")
    except FileNotFoundError:  # its owner has healed it
        return
    with opened as file:
        if not try_lock(file) or not path.exists():
            return
        found = _read(path, file)
        if found is None:
            path.unlink()
        elif faults is None or found.fault in faults:
            warn(f"{found.fault} was left behind by a run that was killed; it is healed first")
            _end_commands(path.name)
            _undo(path, found)
            yield found.fault


def _undo(path: Path, record: Record) -> None:
    try:
        with step(f"Heal {record.fault}, which was left behind", Spent.PROVISIONING):
            record.undo(path.name)
    except HarnessError as error:
        if defects(error):
            raise
        raise FaultError(
            f"{record.fault} was left behind, and could not be healed: {error.message}",
            hint=f"the next run tries again; or heal it yourself, then remove {path}",
        ) from error
    _forget(path)


def _read(path: Path, file: IO[bytes]) -> Record | None:
    """None if its owner died before it was written, and so before anything was broken."""
    try:
        raw = json.loads(file.read())
    except ValueError:
        return None
    try:
        confirm = raw["confirm_healed"]
        return Record(raw["fault"], _command(raw["heal"]), _command(confirm) if confirm else None)
    except (KeyError, TypeError) as error:  # any content
        raise FaultError(
            f"{path} cannot be read, so it is unknown what a killed run has broken: {error!r}",
            hint="see what it says, heal that, then remove it",
        ) from None


def _command(raw: Mapping[str, Any]) -> OwnCommand:
    return OwnCommand(**{**raw, "argv": tuple(raw["argv"])})


def _own_of(fault: str) -> list[Path]:
    return [path for path, (_, record) in _own.items() if record.fault == fault]


def _forget(path: Path) -> None:
    """Its lock ends last: until then, who finds it finds it owned."""
    path.unlink(missing_ok=True)
    _sync(path.parent)
    if path in _own:
        descriptor, _ = _own.pop(path)
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _end_commands(mark: str) -> None:
    """End what a killed run had started, or it would break something once that is healed."""

    def ended() -> bool:
        found = list(_processes_with(f"{MARK}={mark}".encode()))
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found

    poll(ended, what=f"the end of commands of {mark}", deadline=Deadline.after(_ENDING_TIMEOUT_S))


def _processes_with(variable: bytes) -> Iterator[int]:
    """Processes that have it in their environment; those of other users are not looked at."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it is over, or another user's
            if variable in (process / "environ").read_bytes().split(b"\0"):
                yield int(process.name)
