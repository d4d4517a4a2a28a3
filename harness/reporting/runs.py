"""One folder per run: raw results, the page that opens from disk, the folder for a web server."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ReportError
from harness.locks import locked_file

LATEST = "latest"
HISTORY = "history.jsonl"
KEEP_RENDERED = 60  # some 10 MB a run
KEEP_RESULTS = 600  # some 0.5 MB a run


@dataclass(frozen=True)
class RunFolder:
    """Where everything of one run lies, named by when it began."""

    path: Path

    @property
    def results(self) -> Path:
        """What allure-pytest writes."""
        return self.path / "results"

    @property
    def verdicts(self) -> Path:
        """A file per test that was judged, for machines to read."""
        return self.path / "verdicts"

    @property
    def page(self) -> Path:
        """The report in one file."""
        return self.path / "report.html"

    @property
    def site(self) -> Path:
        """The report as a folder, which needs a web server."""
        return self.path / "html"

    @property
    def history(self) -> Path:
        """What earlier runs said; one file for all runs of this place."""
        return self.path.parent / HISTORY


def fresh_run(base: Path) -> RunFolder:
    """Make an empty folder for a run under `base` (usually reports/out). Raises ReportError."""
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    try:
        base.mkdir(parents=True, exist_ok=True)
        for number in range(1, 100):
            folder = RunFolder(base / (stamp if number == 1 else f"{stamp}-{number}"))
            try:
                folder.path.mkdir()
            except FileExistsError:
                continue
            folder.results.mkdir()
            return folder
    except OSError as error:
        raise ReportError(
            f"cannot make a folder for this run's results in {base}: {error.strerror}",
            hint="name a folder that can be written to: `--reports FOLDER`",
        ) from error
    raise ReportError(f"too many runs began in {base} in the same second")


def discard_if_empty(run: RunFolder) -> None:
    """Remove the folder of a run that left nothing in it."""
    with suppress(OSError):
        run.results.rmdir()
        run.path.rmdir()


def point_latest_at(folder: RunFolder) -> Path:
    """Let the link `latest` point at this run; readers see the old one or the new one."""
    link = folder.path.parent / LATEST
    fresh = folder.path.parent / f".{LATEST}.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.path.name, target_is_directory=True)
    fresh.replace(link)
    return link


def prune(
    base: Path, *, keep_rendered: int = KEEP_RENDERED, keep_results: int = KEEP_RESULTS
) -> None:
    """Remove what is rendered of all but the newest runs, and much older runs altogether.

    Only folders that hold results are touched; raw results can be rendered again.
    """
    runs = sorted((p for p in base.iterdir() if (p / "results").is_dir()), reverse=True)
    runs = [run for run in runs if not run.is_symlink()]
    for run in runs[keep_rendered:]:
        (run / "report.html").unlink(missing_ok=True)
        shutil.rmtree(run / "html", ignore_errors=True)
    for run in runs[keep_results:]:
        shutil.rmtree(run, ignore_errors=True)


@contextmanager
def alone(base: Path) -> Iterator[None]:
    """Keep other runs from rendering here meanwhile: they share the history and the link."""
    base.mkdir(parents=True, exist_ok=True)
    with locked_file(base / ".lock"):
        yield
