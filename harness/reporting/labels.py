"""The labels by which the report sorts tests: what is tested, how much it matters, where it ran."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import pytest
from allure_commons.types import LabelType

_MARK = "allure_label"
EPICS = {
    "failover": "I/O survives path loss",
    "throughput": "What the paths deliver",
    "conformance": "The target keeps to the protocol",
    "chaos": "Many faults at random",
    "soak": "Hours under load",
    "selftest": "The harness itself",
}
SEVERITIES = {"failover": "critical", "chaos": "critical", "selftest": "minor"}


def label_tests(items: Iterable[pytest.Item], *, host: str = "") -> None:
    """Give every test its epic, feature, story, severity and layer; call when collected.

    A suite's folder gives the epic, the fault (parameter `kind`, by its id) or else the module's
    first line the feature, and the test's own first line the story. What a test says of itself
    with `allure.epic` and the like comes first. `host` names the initiator.
    """
    for item in items:
        suite = _suite(item)
        wanted = {
            LabelType.EPIC: EPICS.get(suite, suite.capitalize()),
            LabelType.FEATURE: _fault(item) or _first_line(getattr(item, "module", None)),
            LabelType.STORY: _first_line(getattr(item, "function", None)),
            LabelType.SEVERITY: SEVERITIES.get(suite, "normal"),
            "layer": "unit" if "unit" in item.path.parts else "real machines",
            LabelType.HOST: host,
        }
        said = {mark.kwargs.get("label_type") for mark in item.iter_markers(_MARK)}
        for name, value in wanted.items():
            if value and name not in said:
                item.add_marker(pytest.mark.allure_label(value, label_type=name))


def title_of(item: pytest.Item) -> str:
    """What the report calls a test: its first line with every parameter, else its name."""
    story = _first_line(getattr(item, "function", None))
    callspec = getattr(item, "callspec", None)
    if not story:
        return item.name
    return f"{story} [{callspec.id}]" if callspec is not None else story


def _suite(item: pytest.Item) -> str:
    parts = item.path.parts
    after = parts.index("suites") + 1 if "suites" in parts[:-2] else len(parts) - 2
    return parts[after]


def _fault(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)  # of a pytest.Function that is parametrised
    kind = callspec.params.get("kind") if callspec is not None else None
    name = getattr(kind, "__name__", kind)
    return str(name) if name else ""


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0].rstrip(".") if thing else ""
