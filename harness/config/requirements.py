"""What a run must not be without (`require`), and where it cannot be required; pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from harness.config.uri import is_embedded

Requirement = Literal["forks", "kvm", "report"]


def _requirements(value: Any) -> Any:
    """`forks,report` as a list; raises ValueError that names the words that are allowed."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        return value  # validation will name the wrong type
    words = [word.strip() for word in words]
    if words in ([], ["nothing"]):
        return []
    allowed = get_args(Requirement)
    if unknown := [word for word in words if word not in allowed]:
        raise ValueError(
            f"{', '.join(map(repr, unknown))} cannot be required; what can: {', '.join(allowed)}, "
            "several with a comma between them, such as 'forks,report', or 'nothing'"
        )
    return list(dict.fromkeys(words))


Requirements = Annotated[tuple[Requirement, ...], BeforeValidator(_requirements)]


def why_no_forks(
    *, fork: bool, has_secrets: bool, is_external: bool, is_shared: bool, uri: str
) -> str:
    """Why testbeds are never forked; empty if they may be."""
    if not fork:
        return "hypervisor.fork is false"
    if has_secrets:
        return "a snapshot would keep the CHAP secrets"
    if is_external:
        return "the target is external, and its LUN cannot be forked"
    if is_shared:
        return "a snapshot would have addresses of a network that others use (bridge, network)"
    if not is_embedded(uri):
        return f"{uri} is shared, and forks of one machine have one name and one UUID"
    return ""


def why_no_kvm(*, accel: str, uri: str, makes_machines: bool) -> str:
    """Why KVM cannot be required; empty if it can be."""
    if not makes_machines:
        return "the initiator is an existing machine, and no VM is made"
    if accel == "tcg":
        return "hypervisor.accel is 'tcg'"
    if accel == "auto" and (host := urlsplit(uri).hostname):
        return f"KVM cannot be tried on {host}; write hypervisor.accel = 'kvm' if it works there"
    return ""
