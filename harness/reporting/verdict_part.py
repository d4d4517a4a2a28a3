"""What every part of verdict.json has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Its JSON has null for an infinite number."""

    model_config = ConfigDict(
        frozen=True,
        use_attribute_docstrings=True,
        field_title_generator=lambda name, _: name,
    )
