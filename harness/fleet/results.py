"""Files from a worker to its controller, in messages of a size that no connection minds.

A message is the file's name, a piece of its content, and whether more pieces follow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

CHUNK = 1 << 20
Message = tuple[str, bytes, bool]


def send_results(folder: Path, send: Callable[[Message], object]) -> None:
    """Send what is new in `folder`, which is then empty. Raises what `send` does."""
    if not folder.is_dir():
        return
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        with file.open("rb") as content:
            piece = content.read(CHUNK)
            while following := content.read(CHUNK):
                send((file.name, piece, True))
                piece = following
            send((file.name, piece, False))
        file.unlink()


class Receiver:
    """Writes one worker's files into `folder`, where each appears complete or not at all."""

    def __init__(self, folder: Path, *, worker: str) -> None:
        self._folder = folder
        self._worker = worker
        self.problem = ""

    def take(self, message: Message) -> None:
        """Take in a message. `problem` says in one line what could not be written."""
        name, piece, more = message
        if Path(name).name != name or name.startswith("."):
            self.problem = f"{self._worker}: sent a result with the name {name!r}; not taken"
            return
        draft = self._folder / f"{name}.{self._worker}.tmp"
        try:
            with draft.open("ab") as file:
                file.write(piece)
            if not more:
                draft.replace(self._folder / name)
        except OSError as error:
            self.problem = f"{self._worker}: result {name} could not be kept: {error.strerror}"
