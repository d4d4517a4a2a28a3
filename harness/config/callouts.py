"""Faults by commands of the user's own: what each hits, what is run, and for how long at most."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from harness.config.base import Model
from harness.config.network_rules import Way, ways

if TYPE_CHECKING:
    from harness.config.model import Config

# The keys that say what a callout hits, each with its placeholder.
_PLACEHOLDERS: Mapping[str, str] = {
    "links": "link",
    "portals": "portal",
    "controllers": "controller",
    "paths": "path",
}
COMMANDS = ("inject", "confirm", "count", "heal", "confirm_healed")
# `${link}` is a shell's own.
_PLACEHOLDER = re.compile(rf"(?<!\$)\{{(name|{'|'.join(_PLACEHOLDERS.values())})\}}")
_GOES_ON = frozenset({"interrupted", "degraded"})
_LONGEST_S = 3600
_EXAMPLE = '["ssh", "switch-a", "shut port 7"]'


def _no_line(value: object) -> object:
    """A command is no line of text: nothing would split it as its author meant."""
    if isinstance(value, str):
        raise ValueError(  # noqa: TRY004  # of a TypeError pydantic makes no message
            f"must be a list: the program and its arguments, such as {_EXAMPLE}; "
            'a line for a shell is ["sh", "-c", "…"]'
        )
    return value


def _runnable(argv: tuple[str, ...]) -> tuple[str, ...]:
    if not (argv and argv[0]):
        raise ValueError(f"names no program; write the program and its arguments: {_EXAMPLE}")
    if any("\0" in word for word in argv):
        raise ValueError("has a NUL in it, which no command can be given")
    return argv


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("give at least one")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{twice[0]!r} is there twice")
    return names


Argv = Annotated[tuple[str, ...], BeforeValidator(_no_line), AfterValidator(_runnable)]
Names = Annotated[tuple[str, ...], AfterValidator(_each_once)]


class CalloutConfig(Model):
    """A fault that commands of the user's own inject and heal, on the host of the harness."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,23}$", description="of the fault, in reports")
    links: Names | None = Field(None, description="the links whose paths it hits, by their names")
    portals: Names | None = Field(None, description="or the portals")
    controllers: Names | None = Field(None, description="or the controllers")
    paths: Names | None = Field(None, description="or the paths themselves")
    each: bool = Field(
        False, description="one fault for each of what is listed, in place of one that hits all"
    )
    effect: Literal["unreachable", "silent", "refused", "interrupted", "degraded"] = Field(
        "unreachable", description="what the initiator notices; its paths go on under the last two"
    )
    inject: Argv = Field(description="the command that breaks it: a list, and no shell")
    heal: Argv = Field(description="the command that mends it; it may be run more than once")
    confirm: Argv | None = Field(
        None, description="asked again until its exit status is 0: then it is broken"
    )
    confirm_healed: Argv | None = Field(
        None, description="asked again until its exit status is 0: then it is mended"
    )
    count: Argv | None = Field(
        None, description="where paths go on: prints a number that grows while the fault acts"
    )
    inject_timeout_s: float = Field(30, gt=0, le=_LONGEST_S)
    heal_timeout_s: float = Field(60, gt=0, le=_LONGEST_S)
    confirm_timeout_s: float = Field(30, gt=0, le=_LONGEST_S)
    confirm_healed_timeout_s: float = Field(60, gt=0, le=_LONGEST_S)
    lasts_s: float = Field(0, ge=0, le=_LONGEST_S, description="how long it lasts at least")
    folder: Path | None = Field(
        None, description="where its commands run; the folder of this file, or relative to it"
    )

    @property
    def hit_by(self) -> str:
        """The key that says what it hits."""
        return next(key for key in _PLACEHOLDERS if getattr(self, key) is not None)

    @property
    def hit(self) -> tuple[str, ...]:
        """The names of what it hits."""
        names: tuple[str, ...] = getattr(self, self.hit_by)
        return names

    @property
    def goes_on(self) -> bool:
        """Whether its paths may carry I/O all the same."""
        return self.effect in _GOES_ON

    def command(self, name: str) -> tuple[str, ...]:
        """One of its commands; empty if it has none of that name."""
        argv: tuple[str, ...] | None = getattr(self, name)
        return argv or ()

    def faults(self) -> tuple[CalloutConfig, ...]:
        """Itself, or one for `each`; with what the placeholders of its commands stand for."""
        if not self.each:
            return (self._filled(self.name, self.hit),)
        return tuple(self._filled(f"{self.name}-{one}", (one,)) for one in self.hit)

    def _filled(self, name: str, hit: tuple[str, ...]) -> CalloutConfig:
        values = {"name": name, _PLACEHOLDERS[self.hit_by]: ",".join(hit)}
        commands = {
            command: tuple(_PLACEHOLDER.sub(lambda found: values[found[1]], word) for word in argv)
            for command in COMMANDS
            if (argv := self.command(command))
        }
        return self.model_copy(update={**commands, "name": name, self.hit_by: hit, "each": False})

    @model_validator(mode="after")
    def _hits_something(self) -> Self:
        given = [key for key in _PLACEHOLDERS if getattr(self, key) is not None]
        if len(given) != 1:
            said = f"by {' and '.join(given)}" if given else "by nothing"
            raise ValueError(
                f"it says {said} what it hits; name that by one of {', '.join(_PLACEHOLDERS)}"
            )
        return self

    @model_validator(mode="after")
    def _placeholders_stand_for_something(self) -> Self:
        own = _PLACEHOLDERS[self.hit_by]
        for command in COMMANDS:
            for found in _PLACEHOLDER.finditer(" ".join(self.command(command))):
                if found[1] not in {"name", own}:
                    raise ValueError(
                        f"{command}: {found[0]} stands for nothing, as this callout has "
                        f"{self.hit_by}; write {{{own}}} or {{name}}"
                    )
        return self

    @model_validator(mode="after")
    def _counts_where_paths_go_on(self) -> Self:
        if self.count and not self.goes_on:
            raise ValueError(
                f"count: with effect = {self.effect!r} its paths carry nothing, and their own "
                "counters prove that; leave it out"
            )
        return self


def require_callouts(config: Config) -> None:
    """Raises ValueError, which begins with the key, for a callout that does not fit the testbed."""
    every = tuple(ways(config.networks, config.initiators))
    known = {
        "links": [way.link for way in every],
        "portals": [way.portal for way in every],
        "controllers": [controller.name for controller in config.controllers],
        "paths": [way.path for way in every],
    }
    names = Counter(one.name for table in config.callouts for one in table.faults())
    for number, callout in enumerate(config.callouts):
        for problem in (
            *_strange(callout, known[callout.hit_by]),
            *_taken(callout, names),
            *_nothing_left(callout, every),
            *_too_long(callout, config.workload.limit_s),
        ):
            raise ValueError(f"callouts.{number}{problem}")


def _strange(callout: CalloutConfig, known: Sequence[str]) -> Iterator[str]:
    for name in callout.hit:
        if name not in known:
            what = _PLACEHOLDERS[callout.hit_by]
            there = ", ".join(dict.fromkeys(known)) or "none"
            yield f".{callout.hit_by}: there is no {what} {name!r}; there are {there}"


def _taken(callout: CalloutConfig, names: Counter[str]) -> Iterator[str]:
    for one in callout.faults():
        if names[one.name] > 1:
            yield f".name: two faults would be named {one.name!r}; each has a name of its own"


def _too_long(callout: CalloutConfig, most_s: float) -> Iterator[str]:
    """I/O that is not over by then is ended, and the machines with it."""
    waits = [name for name in COMMANDS if name != "count" and callout.command(name)]
    limits_s = {f"{name}_timeout_s": getattr(callout, f"{name}_timeout_s") for name in waits}
    limits_s["lasts_s"] = callout.lasts_s
    if (sum_s := sum(limits_s.values())) >= most_s:
        longest = max(limits_s, key=lambda key: limits_s[key])
        yield (
            f".{longest}: its commands may take {sum_s:g} s in all, and I/O is ended after "
            f"workload.limit_s, {most_s:g} s; raise that, or lower this"
        )


def _nothing_left(callout: CalloutConfig, every: Sequence[Way]) -> Iterator[str]:
    """Every test of a loss needs a path that goes on."""
    part = _PLACEHOLDERS[callout.hit_by]
    for one in callout.faults():
        for machine in dict.fromkeys(way.machine for way in every):
            if all(getattr(way, part) in one.hit for way in every if way.machine == machine):
                yield f": {one.name} hits every path of {machine}; leave one to fail over to"
