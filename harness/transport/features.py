"""What a disk says it can do, asked with sg3-utils.

Sources: sg_inq(8), sg_vpd(8), sg_rtpg(8), sg_persist(8); SPC-4 and SBC-3 for what the answers mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.errors import InitiatorError

# Takes the disk's device file. After each answer the exit status: commands that a target does
# not know fail.
FEATURES_SCRIPT = r"""
ask() { echo "== $1"; shift; status=0; "$@" 2>&1 || status=$?; echo "-- $status"; }
ask inquiry sg_inq "$1"
ask provisioning sg_vpd --page=lbpv "$1"
ask limits sg_vpd --page=bl "$1"
ask groups sg_rtpg --decode "$1"
ask keys sg_persist --in --read-keys "$1"
"""
_ANSWER = re.compile(r"^== (\w+)\n(.*?)^-- (\d+)$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Features:
    """A disk's own account. `access_states` are those of its target port groups, in their order."""

    vendor: str
    product: str
    alua: bool
    access_states: tuple[str, ...]
    persistent_reservations: bool
    unmap: bool
    compare_and_write: bool


def features_argv(disk: str) -> list[str]:
    """Ask a disk, by its name, all of it."""
    return ["sh", "-c", FEATURES_SCRIPT, "sh", f"/dev/{disk}"]


def parse_features(text: str) -> Features:
    """Features from FEATURES_SCRIPT's output. Raises InitiatorError if there was no INQUIRY."""
    answers = {name: said for name, said, status in _ANSWER.findall(text) if status == "0"}
    if "inquiry" not in answers:
        raise InitiatorError(f"the disk answers no INQUIRY: {text.strip()[:300] or 'nothing'}")
    inquiry = answers["inquiry"]
    states = re.findall(
        r"^\s*target port group asymmetric access state\s*: 0x[0-9a-f]+ \((.+)\)$",
        answers.get("groups", ""),
        re.MULTILINE,
    )
    return Features(
        vendor=_text(inquiry, "Vendor identification"),
        product=_text(inquiry, "Product identification"),
        alua=_number(inquiry, r"TPGS=") > 0 and bool(states),
        access_states=tuple(states),
        persistent_reservations="keys" in answers,
        unmap=_number(answers.get("provisioning", ""), r"\(LBPU\): ") > 0,
        compare_and_write=_number(answers.get("limits", ""), r"Maximum compare and write length: ")
        > 0,
    )


def _text(answer: str, name: str) -> str:
    found = re.search(rf"^ *{name}: (.*)$", answer, re.MULTILINE)
    return found[1].strip() if found else ""


def _number(answer: str, before: str) -> int:
    found = re.search(rf"{before}(\d+)", answer)
    return int(found[1]) if found else 0
