"""Mutation testing: `./bootstrap tox -e mutation`, or `python -m suites.selftest.mutation`.

Every module that `modules.toml` names gets one small change after the other. A unit test must fail
with each, or `survivors.toml` says why none does. Results are kept in `.mutation/`: a run goes on
where the last one ended, and tries again what holds no longer.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from suites.selftest.mutation import page
from suites.selftest.mutation.child import TOP
from suites.selftest.mutation.reach import TestsFailed, reach_of
from suites.selftest.mutation.scoring import LEAST, Scored, Scoring, module_name
from suites.selftest.mutation.survivors import as_entry, explained
from suites.selftest.mutation.trial import Unfit

_KEPT = TOP / ".mutation"
_CHOICE = Path(__file__).parent / "modules.toml"


def main() -> int:
    """Exit status 0 if all chosen modules are complete, and good; else 1, also for want of time."""
    asked = _arguments()
    ends = time.monotonic() + asked.seconds
    if asked.again:
        shutil.rmtree(_KEPT, ignore_errors=True)
    choice = tomllib.loads(_CHOICE.read_text())
    paths = choice["modules"]
    modules = {module_name(path): path for path in paths}
    reach = reach_of(choice["tests"], modules, _KEPT / "reach.json", asked.workers)
    scoring = Scoring(reach, explained(), _KEPT, asked.workers, ends)
    scored: list[Scored] = []
    chosen = [path for path in paths if not asked.modules or _is_asked(path, asked.modules)]
    for path in chosen:
        if time.monotonic() >= ends:  # to make its mutants takes seconds
            break
        scored.append(scoring.score(path))
        _say(page.row(scored[-1]))
    if asked.update_docs:
        page.update(paths, [one for one in scored if one.complete])
    return _told(scored, chosen[len(scored) :])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m suites.selftest.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="only these, such as stall or checks/stall")
    parser.add_argument(
        "--seconds",
        type=float,
        default=float("inf"),
        help="stop after that time; as long as mutants are left, the exit status is 1",
    )
    parser.add_argument("--again", action="store_true", help="forget what earlier runs found")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="mutants at a time")
    parser.add_argument(
        "--update-docs", action="store_true", help="write the figures into docs/mutation.md"
    )
    return parser.parse_args()


def _is_asked(path: str, words: Sequence[str]) -> bool:
    name = path.removesuffix(".py")
    return any(f"/{name}".endswith(f"/{word.removesuffix('.py')}") for word in words)


def _told(scored: Sequence[Scored], left: Sequence[str]) -> int:
    """Say what is not as it must be, and return the exit status; for some no time was left."""
    for one in scored:
        for mutant in one.unexplained:
            _say(f"\n# {mutant.operator}, line {mutant.span[0][0]}\n{as_entry(one.path, mutant)}")
        for what in one.idle:
            _say(f"\n{one.path}: survivors.toml explains what does not survive: {what}")
    _say("")
    for one in scored:
        if not one.complete:
            tried = f"{len(one.results)} of {len(one.mutants)} mutants were tried"
            tests = f"; {len(one.unproven)} tests are still to pass without one"
            _say(f"{one.path}: {tried}{tests if one.unproven else ''}")
        elif one.killed < LEAST * len(one.mutants):
            _say(f"{one.path}: fewer than {LEAST:.0%} of its mutants were killed")
    if left:
        _say(f"no time was left for {len(left)} modules, from {left[0]} on")
    _say(page.summary(scored))
    return 0 if all(one.good for one in scored) and not left else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (TestsFailed, Unfit) as problem:
        sys.exit(str(problem))
