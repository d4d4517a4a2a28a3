"""A device that breaks and mends by commands of the user's own: real ones, in a folder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from harness.config import Config
from harness.config.callouts import CalloutConfig
from harness.faults import Callout, Lab
from harness.topology import plan

# Each says what it was called for, and then does it.
SCRIPT = """#!/bin/sh
echo "$1" >>said
case $1 in
down) touch broken;;
up) rm -f broken;;
is-down) test -e broken || { echo 'port 7 is up' >&2; exit 3; };;
is-up) test ! -e broken || { echo 'port 7 is down' >&2; exit 3; };;
late-down) (sleep 0.5; touch broken) >/dev/null 2>&1 & ;;
half) touch broken; echo 'half of it' ; echo 'no such port' >&2; exit 4;;
hang) touch broken; sleep 60;;
count) wc -l <said;;
*) echo "what is $1?" >&2; exit 2;;
esac
"""


class Device:
    """What its commands have done so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "device"
        self.script.write_text(SCRIPT)
        self.script.chmod(0o755)

    def is_broken(self) -> bool:
        return (self.folder / "broken").exists()

    @property
    def said(self) -> list[str]:
        """What it was told to do, one after the other."""
        file = self.folder / "said"
        return file.read_text().split() if file.exists() else []

    def configured(self, inject: str = "down", heal: str = "up", **more: Any) -> CalloutConfig:
        """A callout at link a; commands of `more` are words of the script, too."""
        words = {"inject": inject, "heal": heal}
        words |= {key: more.pop(key) for key in tuple(more) if isinstance(more[key], str)}
        effect = words.pop("effect", "unreachable")
        commands = {key: ("./device", word) for key, word in words.items()}
        given = {"name": "port", "links": ("a",), "folder": self.folder, "effect": effect}
        return CalloutConfig.model_validate(given | commands | more)

    def callout(self, inject: str = "down", heal: str = "up", **more: Any) -> Callout:
        return Callout(self.configured(inject, heal, **more))


def lab_of(*callouts: CalloutConfig) -> Lab:
    """A lab that has a topology alone."""
    config = Config.model_validate({"callouts": [one.model_dump() for one in callouts]})
    return cast(Lab, SimpleNamespace(topology=plan(config)))
