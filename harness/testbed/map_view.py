"""The map of a LUN as tests see it, and waiting for the paths of maps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from harness.concurrency import side_by_side
from harness.deadline import Deadline
from harness.errors import CutShort, TimedOut
from harness.observe import MapSample, Observer
from harness.steps import Spent, step
from harness.testbed.io_session import IoSession
from harness.topology import Lun, PlannedMap
from harness.transport import Attachment, PathDisk, SeenState, look_at_access_states

# Seen: 2 to 4 s plus a login until a session is back, then the path has to be looked at. Nothing is
# ever judged by this.
_PATHS_TIMEOUT_S = 120.0


class MapView:
    """The map of one LUN on one initiator.

    Its paths are the disks that they had when the testbed was last ready.
    """

    def __init__(
        self,
        observer: Observer,
        planned: PlannedMap,
        attachment: Attachment,
        paths: Sequence[PathDisk],
        io: Callable[[], IoSession | None],
    ) -> None:
        self.observer = observer
        self.planned = planned
        self.attachment = attachment
        self.paths = tuple(paths)
        self._io = io

    @property
    def name(self) -> str:
        """What measurements and findings call it: the LUN, after the machine if there are more."""
        return self.planned.name

    @property
    def lun(self) -> Lun:
        return self.planned.lun

    @property
    def machine(self) -> str:
        """The initiator's name."""
        return self.planned.machine

    @property
    def device(self) -> str:
        """The map's device file on the initiator."""
        return self.attachment.device

    def wait_for_paths(
        self,
        *,
        active: int,
        failed: int = 0,
        timeout_s: float | None = None,
        spent_on: Spent = Spent.WAITING,
    ) -> None:
        """Wait until this map has that many paths in each state; see `wait_for_paths`."""
        wait_for_paths(
            *([self], self._io()),
            active=active,
            failed=failed,
            timeout_s=timeout_s,
            spent_on=spent_on,
        )


def wait_for_paths(
    maps: Sequence[MapView],
    io: IoSession | None,
    *,
    active: int,
    failed: int,
    timeout_s: float | None,
    spent_on: Spent,
) -> None:
    """Wait until each of the maps has that many paths in each state.

    By default for 120 s, or longer if the settings in force allow paths more time. Raises
    CutShort with what was there instead: I/O ends there, and is judged as it is.
    """
    _wait_for_maps(
        *(maps, io),
        lambda _, now: now.count_paths("active") == active and now.count_paths("failed") == failed,
        what=f"{active} active and {failed} failed paths",
        timeout_s=timeout_s,
        spent_on=spent_on,
    )


def wait_for_all_but(
    maps: Sequence[MapView], io: IoSession | None, lost: Collection[str], *, spent_on: Spent
) -> None:
    """Wait until those paths of each map that are `lost` have failed, and all others are active.

    Or have left the map, as those do whose disk is gone. Waits as long as `wait_for_paths`, and
    raises as that.
    """

    def met(of: MapView, now: MapSample) -> bool:
        failed = sum(path.path in lost for path in of.paths)
        active = len(of.paths) - failed
        seen = bool(now.number or now.paths)
        return seen and now.count_paths("active") == active and now.count_paths("failed") <= failed

    what = f"paths {', '.join(lost)} failed and all others active" if lost else "every path active"
    _wait_for_maps(maps, io, met, what=what, timeout_s=None, spent_on=spent_on)


def wait_until_lost(maps: Sequence[MapView], io: IoSession | None, paths: Sequence[str]) -> None:
    """Wait until each of the maps has as many fewer active paths as it has of these.

    They may have failed, or left the map. Waits as long as `wait_for_paths`, and raises as that.
    A map that could not be read has no number, and says nothing.
    """

    def met(of: MapView, now: MapSample) -> bool:
        left = sum(path.path not in paths for path in of.paths)
        return bool(now.number) and now.count_paths("active") <= left

    what = f"the loss of paths {', '.join(paths)}"
    _wait_for_maps(maps, io, met, what=what, timeout_s=None, spent_on=Spent.WAITING)


@contextmanager
def path_taken_away(maps: Sequence[MapView], name: str, everything: int) -> Iterator[None]:
    """Take a healthy path out of these maps of one machine for the length of the block.

    `everything` is how many paths each has.
    """
    taken: list[tuple[Attachment, str]] = []
    try:
        for one in maps:
            disk = next(path.disk for path in one.attachment.paths() if path.path == name)
            taken.append((one.attachment, disk))
            one.attachment.take_path_away(disk)
        for one in maps:
            one.wait_for_paths(active=everything - 1)
        yield
    finally:
        for attachment, disk in taken:
            attachment.give_path_back(disk)
        for one in maps:
            one.wait_for_paths(active=everything)


def access_states_of(
    maps: Sequence[MapView], paths: Collection[str]
) -> list[tuple[str, SeenState]]:
    """What the kernels of maps know of ALUA, of each disk of these paths: with the path's name."""
    found: list[tuple[str, SeenState]] = []
    for name in dict.fromkeys(one.machine for one in maps):
        own = [one for one in maps if one.machine == name]
        disks = {p.disk: p.path for one in own for p in one.paths if p.path in paths}
        seen = look_at_access_states(own[0].attachment.machine, tuple(disks))
        found += [(path, seen[disk]) for disk, path in disks.items() if disk in seen]
    return found


def _wait_for_maps(
    maps: Sequence[MapView],
    io: IoSession | None,
    met: Callable[[MapView, MapSample], bool],
    *,
    what: str,
    timeout_s: float | None,
    spent_on: Spent,
) -> None:
    """Each machine tells of its own maps; all of them are waited for at once."""
    if timeout_s is None:
        timeout_s = max(_PATHS_TIMEOUT_S, io.patience_s if io else 0.0)
    allowed_s = timeout_s if io is None else io.watchdog.left(at_most_s=timeout_s)
    deadline = Deadline.after(allowed_s)
    by_machine: dict[str, list[MapView]] = {}
    for one in maps:
        by_machine.setdefault(one.machine, []).append(one)

    def missed(own: Sequence[MapView]) -> str:
        observer = own[0].observer
        try:
            with _cutting_short() if io is None else io.cutting_short(observer):
                observer.wait_for(
                    lambda sample: all(met(o, sample.map(o.attachment.map_name)) for o in own),
                    what=what,
                    deadline=deadline,
                )
        except CutShort as error:
            return error.message
        return ""

    with step(f"Wait for {what}", spent_on):
        why = side_by_side(*((lambda own=own: missed(own)) for own in by_machine.values()))
        if any(why):
            raise CutShort("; ".join(filter(None, why)))


@contextmanager
def _cutting_short() -> Iterator[None]:
    try:
        yield
    except TimedOut as error:
        raise CutShort(error.message) from None
