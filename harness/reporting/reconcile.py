"""Makes the results hold every test that pytest reported, once.

A worker that dies leaves tests without a result; one that was given up too early may leave a
result that does not count. What pytest reported decides. Of a test that was measured again all
attempts stay: Allure shows those before the last as its retries.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from allure_commons.model2 import TestResult
from allure_commons.types import LabelType
from allure_commons.utils import md5 as untyped_md5

from harness.errors import ReportError
from harness.reporting.blame import LABEL
from harness.reporting.labels import EPICS
from harness.reporting.outcomes import Outcome
from harness.reporting.reporter import innermost


def running_result() -> str:
    """The uuid of the result of the test that runs in this thread; empty if none is written."""
    result = innermost(TestResult)
    return str(result.uuid) if result is not None else ""


def reconcile(results: Path, outcomes: Sequence[Outcome]) -> None:
    """Drop results of no reported attempt, write those that are missing, sweep what is left over.

    A missing result is made from the outcome alone: it has no steps and no evidence. Files that
    were cut short count as missing. Raises ReportError.
    """
    try:
        every = [one for outcome in outcomes for one in (outcome, *outcome.earlier)]
        wanted = {outcome.result for outcome in every if outcome.result}
        found: dict[str, Path] = {}
        for path in results.glob("*-result.json"):
            uuid = str(_read(path).get("uuid"))
            if uuid in wanted - found.keys():
                found[uuid] = path
            else:
                path.unlink()
        for outcome in outcomes:
            if outcome.result not in found:
                # What is made has no parameters, by which Allure would know its retries.
                for alone in [one.result for one in outcome.earlier if one.result in found]:
                    found.pop(alone).unlink()
                result = _from_outcome(outcome)
                path = found[result["uuid"]] = results / f"{result['uuid']}-result.json"
                _write(path, result)
        for path in results.glob("*-container.json"):
            _keep_children(path, set(found))
        _sweep(results)
    except OSError as error:
        raise ReportError(f"cannot tidy {results}: {error.strerror}") from error


def _from_outcome(outcome: Outcome) -> dict[str, Any]:
    file, _, rest = outcome.node_id.partition("::")
    path = PurePosixPath(file)
    name, bracket, parameters = rest.partition("[")
    *classes, function = name.split("::")
    full_name = ".".join([*path.with_suffix("").parts, *classes]) + f"#{function}"
    labels = {
        LabelType.EPIC: next((EPICS[part] for part in path.parts if part in EPICS), ""),
        LabelType.PARENT_SUITE: ".".join(path.parent.parts),
        LabelType.SUITE: path.stem,
        LabelType.THREAD: outcome.worker,
        LabelType.FRAMEWORK: "pytest",
        LABEL: outcome.verdict,
    }
    return {
        "uuid": outcome.result or str(uuid4()),
        "historyId": _md5(full_name, *([parameters] if parameters else [])),
        "testCaseId": _md5(full_name),
        "fullName": full_name,
        "name": function + bracket + parameters,
        "status": outcome.status,
        "statusDetails": {"message": outcome.message} if outcome.message else {},
        "stage": "finished",
        "start": round(outcome.began_s * 1000),
        "stop": round(outcome.ended_s * 1000),
        "labels": [{"name": name, "value": value} for name, value in labels.items() if value],
    }


def _md5(*parts: str) -> str:
    """An identifier in the form that allure uses."""
    # allure_commons has no type hints.
    return str(untyped_md5(*parts))  # type: ignore[no-untyped-call]  # allure's


def _keep_children(path: Path, results: set[str]) -> None:
    """Take the tests without a result out of a fixture's record; drop a record that is of none."""
    container = _read(path)
    children = container.get("children", [])
    kept = [uuid for uuid in children if uuid in results]
    if not kept:
        path.unlink()
    elif kept != children:
        _write(path, {**container, "children": kept})


def _sweep(results: Path) -> None:
    """Remove files that were cut short, and attachments that nothing refers to."""
    used = {source for path in results.glob("*.json") for source in _sources(_read(path))}
    for path in [*results.glob("*-attachment*"), *results.glob("*.tmp")]:
        if path.name not in used:
            path.unlink()


def _sources(thing: object) -> Iterator[str]:
    """The attachments of a result and of all its steps."""
    if isinstance(thing, dict):
        if isinstance(source := thing.get("source"), str):
            yield source
        thing = list(thing.values())
    if isinstance(thing, list):
        for one in thing:
            yield from _sources(one)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
