"""How long tests took in earlier runs, from the history that Allure keeps."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from harness.errors import ReportError

LATEST = 5
_RAN_THROUGH = {"passed", "failed"}  # what broke or was skipped says nothing of the next time


def recorded_durations(history: Path) -> dict[str, float]:
    """Seconds by pytest's node id: the median of a test's latest runs, set-up not included.

    `history` is Allure 3's `history.jsonl`: one line a run, the newest last. None yet, and nothing
    is known. Raises ReportError if it is something else.
    """
    took: defaultdict[str, list[float]] = defaultdict(list)
    try:
        lines = history.read_text().splitlines()
    except FileNotFoundError:
        return {}
    for number, line in enumerate(lines, 1):
        try:
            results = list(json.loads(line)["testResults"].values())
            for result in results:
                if result["status"] in _RAN_THROUGH and (node_id := _node_id(result)):
                    took[node_id].append(result["duration"] / 1000)
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # any content
            raise ReportError(
                f"{history}: line {number} is no run of Allure 3's history: {error!r}",
                hint="move it away; the graphs and the order of tests then start anew",
            ) from error
    return {node_id: median(seconds[-LATEST:]) for node_id, seconds in took.items()}


def _node_id(result: dict[str, Any]) -> str:
    """pytest's name of a test; empty if the report gave it a title that does not tell.

    `suites.failover.test_path_loss#test_io` of the package `suites.failover.test_path_loss`, with
    the name `Writes go on [a-LinkDown]` and the story `Writes go on`, is
    `suites/failover/test_path_loss.py::test_io[a-LinkDown]`.
    """
    labels: dict[str, str] = {label["name"]: label["value"] for label in result["labels"]}
    package, story = labels.get("package", ""), labels.get("story", "")
    scope, _, function = result["fullName"].partition("#")
    name: str = result["name"]
    title = next((text for text in (story, function) if text and name.startswith(text)), None)
    if not package or title is None:
        return ""
    classes = scope.removeprefix(package).strip(".").split(".")
    parts = [package.replace(".", "/") + ".py", *filter(None, classes), function]
    return "::".join(parts) + name.removeprefix(title).strip()
