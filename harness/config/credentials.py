"""CHAP names and secrets: from a file that others cannot read, or from the environment.

They are never options, which every user of the machine sees, and never keys of the
configuration, which is printed, attached and hashed. RFC 7143 section 12.1.3 has the words.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, model_validator

from harness.config.toml import parse_toml
from harness.errors import ConfigError

VARIABLES = {
    "incoming.user": "PATHPROOF_CHAP_USER",
    "incoming.secret": "PATHPROOF_CHAP_SECRET",
    "outgoing.user": "PATHPROOF_CHAP_OUTGOING_USER",
    "outgoing.secret": "PATHPROOF_CHAP_OUTGOING_SECRET",
}
ENVIRONMENT = "the environment"

# Characters of a secret. At least 96 bits are demanded by RFC 7143 section 9.2.1; whoever runs
# an array has decided already. At most: arrays of 256 bytes in open-iscsi (AUTH_STR_MAX_LEN in
# usr/auth.h) and in LIO (MAX_PASS_LEN in target/iscsi/iscsi_target_core.h).
_SECRET_LENGTHS = {"external": (1, 255)}
_DEFAULT_LENGTHS = (12, 255)
_LONGEST_USER = 255
_HIDDEN = "********"
# What every configuration file on the way takes without quoting.
_PLAIN = re.compile(r"[!-~]+")
_SPECIAL = set("\"'#\\,")


class Confidential(bytes):
    """Bytes that hold a secret and go where they are sent; a traceback does not show them."""

    def __repr__(self) -> str:
        return f"<{len(self)} confidential bytes>"

    __str__ = __repr__


class Credentials(BaseModel):
    """A CHAP name and its secret. The secret is never shown, not even in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    user: str
    secret: SecretStr

    @property
    def revealed(self) -> str:
        """The secret, for the one place that must have it."""
        return self.secret.get_secret_value()


class ChapConfig(BaseModel):
    """`incoming`: the initiator proves itself to the target; `outgoing`: the target in return."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    incoming: Credentials
    outgoing: Credentials | None = None

    @model_validator(mode="after")
    def _secrets_differ(self) -> ChapConfig:
        if self.outgoing and self.outgoing.secret == self.incoming.secret:
            raise ValueError(
                "incoming and outgoing secret are the same, which lets anybody answer with what "
                "was just asked (RFC 7143 section 9.2.1)"
            )
        return self

    def hidden_in(self, text: str) -> str:
        """`text` without the secrets, for people to see."""
        for one in (self.incoming, self.outgoing):
            if one is not None:
                text = text.replace(one.revealed, _HIDDEN)
        return text

    def problem(self, kind: str) -> str | None:
        """Why a target of this kind, or open-iscsi, would not take these; None if they do."""
        for name, one in (("incoming", self.incoming), ("outgoing", self.outgoing)):
            if one and (problem := _problem(one, kind)):
                return f"{name}.{problem}"
        if kind == "tgt" and self.outgoing and self.outgoing.user == self.incoming.user:
            return (
                f"outgoing.user: {self.outgoing.user!r} is incoming.user, too; tgt has one of each"
            )
        return None


def _problem(credentials: Credentials, kind: str) -> str | None:
    shortest, longest = _SECRET_LENGTHS.get(kind, _DEFAULT_LENGTHS)
    length = len(credentials.revealed)
    if not shortest <= length <= longest:
        return f"secret: {length} characters; {kind} takes {shortest} to {longest}"
    if not 1 <= len(credentials.user) <= _LONGEST_USER:
        return f"user: {len(credentials.user)} characters; 1 to {_LONGEST_USER} are possible"
    for part, text in (("user", credentials.user), ("secret", credentials.revealed)):
        if not _PLAIN.fullmatch(text) or _SPECIAL & set(text):
            return f"{part}: only printable ASCII without blanks, quotes, comma, # and \\ is safe"
        if kind == "lio" and text.startswith("NULL"):
            return f"{part}: begins with NULL, by which LIO means that there is none"
    return None


def from_environment(environment: Mapping[str, str]) -> ChapConfig | None:
    """The credentials in `VARIABLES`; None if there are none.

    Raises ConfigError that names the variable that is missing.
    """
    given: dict[str, dict[str, str]] = {}
    for key, variable in VARIABLES.items():
        if text := environment.get(variable):
            direction, _, part = key.partition(".")
            given.setdefault(direction, {})[part] = text
    return _validated(given, ENVIRONMENT, VARIABLES) if given else None


def from_file(file: Path) -> ChapConfig:
    """The credentials in a TOML file with the tables `incoming` and perhaps `outgoing`.

    Raises ConfigError, which never quotes the file, if it cannot be read, or others can read it.
    """
    try:
        mode = file.stat().st_mode
        content = file.read_text()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", hint="target.credentials names it") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not valid TOML") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            f"{file}: others can read these credentials (mode {stat.S_IMODE(mode):04o})",
            hint=f"chmod 600 {file}, and change the secrets if somebody may have",
        )
    try:
        raw = parse_toml(content)
    except ValueError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    return _validated(raw, str(file), {})


def _validated(raw: Mapping[str, Any], source: str, names: Mapping[str, str]) -> ChapConfig:
    """`names`: by dotted key what the user knows it as."""
    try:
        return ChapConfig.model_validate(raw)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_input=False):
            key = ".".join(str(part) for part in problem["loc"])
            reason = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{source}: {names.get(key, key) or 'credentials'}: {reason}")
        message = "\n".join(lines)
    # Outside the handler: pydantic's own error, which holds what was read, is not to be its cause.
    raise ConfigError(message, hint="docs/targets.md shows such a file")
