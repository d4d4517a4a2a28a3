"""libvirt in this process, as far as it is the process's and not a connection's."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import HypervisorError


class Library:
    """libvirt in this process: loaded once, with one event loop, and one embedded root for life."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: threading.Thread | None = None
        self.embedded_root: Path | None = None

    @contextmanager
    def loaded(self, log: Path) -> Iterator[None]:
        """Nothing else in this process opens a connection during the block.

        Errors come as exceptions, warnings go to `log`, and a thread runs libvirt's event loop.
        libvirt looks at LIBVIRT_LOG_OUTPUTS once, when it is loaded, which is therefore here and
        not when this module is. What the user set there is left alone.
        """
        with self._lock:
            if self._events is None:
                self._events = self._load(log)
            yield

    def require_free_for(self, root: Path) -> None:
        """Raises HypervisorError if the embedded driver has another root."""
        if self.embedded_root not in {None, root}:
            raise HypervisorError(
                f"{root}: this process already opened libvirt's root {self.embedded_root}, and "
                "the embedded driver allows one in the life of a process",
                hint="share the root, with domain names that differ, or use a process for each",
            )

    @staticmethod
    def _load(log: Path) -> threading.Thread:
        users = os.environ.get("LIBVIRT_LOG_OUTPUTS")
        os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", f"3:file:{log}")
        try:
            import libvirt
        finally:
            if users is None:
                del os.environ["LIBVIRT_LOG_OUTPUTS"]
        # libvirt-python prints every error to standard error unless it has somewhere to go.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        events = threading.Thread(target=_run_events, name="libvirt events", daemon=True)
        events.start()
        return events


def _run_events() -> None:
    import libvirt

    while True:
        libvirt.virEventRunDefaultImpl()


library = Library()  # a global: libvirt has one event loop and one embedded driver a process
