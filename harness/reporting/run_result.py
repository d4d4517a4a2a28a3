"""What all tests of a run found: for its last lines, and the front page of its report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict

from allure_commons.model2 import Status

from harness.checks import Verdict
from harness.checks.proof import IF_EVERYWHERE, percent
from harness.reporting.blame import Blame
from harness.reporting.outcomes import Outcome
from harness.reporting.stall_line import stall_limit
from harness.reporting.verdict_document import JudgementPart, VerdictDocument

_DATA = "data intact"
_SHOWN = 5
_LONGEST_TEXT = 160
_KINDS = {
    Blame.STORAGE: "failed",
    Blame.UNKNOWN: "unknown",
    Blame.LAB: "with an error of the lab",
    Blame.DEFECT: "with an error of a program",
}


class JudgedPart(TypedDict):
    """What was judged of one LUN in one test; plain data, as it travels from workers."""

    test: str  # pytest's node id
    name: str  # for readers; with the LUN if the test judged several
    bad: list[list[str]]  # of each check that did not pass its verdict, its name and its message
    data: str  # the verdict of *data intact*; "" if that was not asked
    data_text: str
    acknowledged: int
    proven: float  # the share of them; 1 only if all are
    verified_reads: int
    blind_s: float
    stalls: list[list[float | None]]  # of each stall that was judged its seconds and its limit


def judged_parts(document: VerdictDocument) -> list[JudgedPart]:
    """What the documents of tests have for the end of the run."""
    several = len({(one.initiator, one.lun) for one in document.judgements}) > 1
    return [_part(document.test, one, several=several) for one in document.judgements]


def _part(test: str, judgement: JudgementPart, *, several: bool) -> JudgedPart:
    name = test.partition("::")[2]
    data = next((check for check in judgement.checks if check.name == _DATA), None)
    writes = judgement.writes
    return JudgedPart(
        test=test,
        name=f"{name} {judgement.initiator}/{judgement.lun}" if several else name,
        bad=[
            [check.verdict.value, check.name, check.message]
            for check in judgement.checks
            if check.verdict is not Verdict.PASS
        ],
        data=data.verdict.value if data else "",
        data_text=data.message if data else "",
        acknowledged=writes.acknowledged if writes else 0,
        proven=writes.writes_proven if writes else 1.0,
        verified_reads=int(data.numbers.get("verified_reads", 0)) if data else 0,
        blind_s=writes.blind_s if writes else 0.0,
        stalls=[
            [float(check.numbers["stall_s"]), _plain(stall_limit(check.numbers))]
            for check in judgement.checks
            if "stall_s" in check.numbers
        ],
    )


class RunResult:
    """What the tests of a run judged, in those of their attempts that count."""

    def __init__(self, parts: Iterable[JudgedPart] = ()) -> None:
        self._parts = list(parts)

    def data(self, outcomes: Sequence[Outcome]) -> str:
        """Whether the tests found every byte as it was written; empty if none judged anything."""
        asked = [part for part in self._parts if part["data"]]
        if not asked:
            return "no test judged it" if self._parts else ""
        tests = _tests(asked)
        said = []
        for verdict, word in ((Verdict.FAIL, "wrong"), (Verdict.UNKNOWN, "not proven")):
            if bad := [part for part in asked if part["data"] == verdict]:
                first = f"{bad[0]['name']}: {_short(bad[0]['data_text'])}"
                said.append(f"{word} in {_tests(bad)} of {_counted(tests)} ({first})")
        good = not said
        run = sum(one.status != Status.SKIPPED for one in outcomes)
        of = f"{tests} of {_counted(run)}" if run > tests else _counted(tests)
        written = sum(part["acknowledged"] for part in asked)
        proven = sum(part["proven"] * part["acknowledged"] for part in asked)
        all_proven = all(part["proven"] == 1 for part in asked)
        if written:
            share = percent(1 if all_proven else proven / written)
            told = "all proven" if good and all_proven else f"{share} proven"
            said.append(f"{written:,} acknowledged writes in {of}, {told}")
        if reads := sum(part["verified_reads"] for part in asked):
            said.append(f"{reads:,} verified reads")
        if good:
            said.append("no byte lost" if all_proven else "no loss was seen")
        if blind_s := max(part["blind_s"] for part in asked):
            said.append(f"longest blind time {blind_s:.1f} s, {IF_EVERYWHERE}")
        return "; ".join(said)

    def findings(self) -> list[str]:
        """Each finding that is no pass, in a line: failures first."""
        bad = [(part["name"], *each) for part in self._parts for each in part["bad"]]
        bad.sort(key=lambda one: one[1] != Verdict.FAIL)
        return [f"{name}: {check}: {verdict}: {text}" for name, verdict, check, text in bad]

    def front_page(self, outcomes: Sequence[Outcome], *, complete: bool) -> dict[str, str]:
        """For the front page of the report; `complete` if every test has a result."""
        rows = {
            "Verdict": _verdict(outcomes, complete=complete),
            "Findings": self._summary(),
            "Longest stall": self._longest_stall(),
            "Data": self.data(outcomes),
        }
        return {name: text for name, text in rows.items() if text}

    def _summary(self) -> str:
        """How many findings failed and are unknown, and the first of them."""
        verdicts = [each[0] for part in self._parts for each in part["bad"]]
        if not verdicts:
            return "none failed, none unknown" if self._parts else ""
        counts = [
            f"{verdicts.count(Verdict.FAIL)} failed",
            f"{verdicts.count(Verdict.UNKNOWN)} unknown",
        ]
        lines = [_short(line) for line in self.findings()]
        more = (
            [f"and {len(lines) - _SHOWN} more: Global Attachments"] if len(lines) > _SHOWN else []
        )
        return " | ".join([", ".join(counts), *lines[:_SHOWN], *more])

    def _longest_stall(self) -> str:
        """The longest of all, and, if that is another, the one that came closest to its limit."""
        found = list(self._stalls())
        if not found:
            return ""
        longest = max(found, key=lambda one: one[0])
        closest = max(found, key=lambda one: one[0] / one[1] if one[1] else 0.0)
        told = [_stall(*longest)]
        if closest[0] != longest[0]:
            told.append(f"closest to its limit: {_stall(*closest)}")
        return " | ".join(told)

    def _stalls(self) -> Iterator[tuple[float, float | None, str]]:
        for part in self._parts:
            for seconds, limit_s in part["stalls"]:
                yield seconds or 0.0, limit_s, part["name"]


def _verdict(outcomes: Sequence[Outcome], *, complete: bool) -> str:
    """The worst of all tests, and how many there are of each kind."""
    kinds = {kind: sum(one.verdict == kind for one in outcomes) for kind in _KINDS}
    passed = sum(one.status == Status.PASSED for one in outcomes)
    skipped = sum(one.status == Status.SKIPPED for one in outcomes)
    if kinds[Blame.STORAGE]:
        worst = Verdict.FAIL
    else:
        worst = Verdict.PASS if passed and complete and not any(kinds.values()) else Verdict.UNKNOWN
    counts = [f"{count} {_KINDS[kind]}" for kind, count in kinds.items() if count]
    counts += [
        f"{count} {word}" for count, word in ((passed, "passed"), (skipped, "skipped")) if count
    ]
    return f"{worst}: of {_counted(len(outcomes))} {', '.join(counts)}" if outcomes else ""


def _plain(seconds: float | None) -> float | None:
    """No number of numpy's, which would not travel."""
    return None if seconds is None else float(seconds)


def _stall(seconds: float, limit_s: float | None, name: str) -> str:
    allowed = "without a limit" if limit_s is None else f"of {limit_s:.2f} s allowed"
    return f"{seconds:.2f} s {allowed} ({name})"


def _tests(parts: Iterable[JudgedPart]) -> int:
    return len({part["test"] for part in parts})


def _counted(tests: int) -> str:
    return f"{tests} test{'' if tests == 1 else 's'}"


def _short(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= _LONGEST_TEXT else f"{line[: _LONGEST_TEXT - 1]}…"
