"""What every model of the configuration is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Model(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _a_number_is_neither_true_nor_false(cls, value: Any, info: ValidationInfo) -> Any:
        """Python has `true` for 1, so that `vlan = true` would be VLAN 1."""
        if isinstance(value, bool):
            kinds = list(type_parts(cls.model_fields[str(info.field_name)].annotation))
            if bool not in kinds and (int in kinds or float in kinds):
                raise ValueError("must be a number")
        return value


def type_parts(annotation: object) -> Iterator[object]:
    """A type and all that it is made of: of `tuple[Annotated[X, …], …]`, X among them."""
    yield annotation
    for part in get_args(annotation):
        yield from type_parts(part)
