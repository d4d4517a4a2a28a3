"""The map of a LUN as tests see it, and waiting for its paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from harness.deadline import Deadline
from harness.errors import CutShort, TimedOut
from harness.observe import MapSample, Observer, Sample
from harness.steps import Spent, step
from harness.testbed.io_session import IoSession
from harness.topology import Lun
from harness.transport import Attachment, PathDisk

# Seen: 2 to 4 s plus a login until a session is back, then the path has to be looked at. Nothing is
# ever judged by this.
_PATHS_TIMEOUT_S = 120.0


class MapView:
    """The map of one LUN: its paths are the disks that they had when the testbed was last ready."""

    def __init__(
        self,
        observer: Observer,
        lun: Lun,
        attachment: Attachment,
        paths: Sequence[PathDisk],
        io: Callable[[], IoSession | None],
    ) -> None:
        self._observer = observer
        self.lun = lun
        self.attachment = attachment
        self.paths = tuple(paths)
        self._io = io

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
    ) -> Sample:
        """Wait until this map has that many paths in each state; see `wait_for_paths`."""
        return wait_for_paths(
            *(self._observer, [self], self._io()),
            active=active,
            failed=failed,
            timeout_s=timeout_s,
            spent_on=spent_on,
        )


def wait_for_paths(
    observer: Observer,
    maps: Sequence[MapView],
    io: IoSession | None,
    *,
    active: int,
    failed: int,
    timeout_s: float | None,
    spent_on: Spent,
) -> Sample:
    """Wait until each of the maps has that many paths in each state.

    By default for 120 s, or longer if the settings in force allow paths more time. Raises
    CutShort with what was there instead: I/O ends there, and is judged as it is.
    """
    return _wait_for_maps(
        *(observer, maps, io),
        lambda one: one.count_paths("active") == active and one.count_paths("failed") == failed,
        what=f"{active} active and {failed} failed paths",
        timeout_s=timeout_s,
        spent_on=spent_on,
    )


def wait_until_lost(
    observer: Observer,
    maps: Sequence[MapView],
    io: IoSession | None,
    paths: Sequence[str],
    *,
    of: int,
) -> None:
    """Wait until each of the maps, which have `of` paths, has as many fewer active ones.

    They may have failed, or left the map. Waits as long as `wait_for_paths`, and raises as that.
    A map that could not be read has no number, and says nothing.
    """
    _wait_for_maps(
        *(observer, maps, io),
        lambda one: bool(one.number) and one.count_paths("active") <= of - len(paths),
        what=f"the loss of paths {', '.join(paths)}",
        timeout_s=None,
        spent_on=Spent.WAITING,
    )


def _wait_for_maps(
    observer: Observer,
    maps: Sequence[MapView],
    io: IoSession | None,
    met: Callable[[MapSample], bool],
    *,
    what: str,
    timeout_s: float | None,
    spent_on: Spent,
) -> Sample:
    if timeout_s is None:
        timeout_s = max(_PATHS_TIMEOUT_S, io.patience_s if io else 0.0)
    allowed_s = timeout_s if io is None else io.watchdog.left(at_most_s=timeout_s)
    cutting_short = _cutting_short() if io is None else io.cutting_short()
    names = [one.attachment.map_name for one in maps]
    with step(f"Wait for {what}", spent_on), cutting_short:
        return observer.wait_for(
            lambda sample: all(met(sample.map(name)) for name in names),
            what=what,
            deadline=Deadline.after(allowed_s),
        )


@contextmanager
def _cutting_short() -> Iterator[None]:
    try:
        yield
    except TimedOut as error:
        raise CutShort(error.message) from None
