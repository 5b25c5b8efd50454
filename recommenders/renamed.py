"""Options that had another name in an earlier release, and what they are called now.

A configuration with an old name is refused, and the message has the new one: taking both would
leave it open which of them counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

RENAMED: Mapping[str, str] = {"stranger_profiles": "new_user_profiles"}
"""Old name -> new name, in every YAML file and every model's options."""

REPLACED: Mapping[str, str] = {
    "epochs": "'max_steps', which counts optimiser steps",
    "validate_every": "'eval_steps', which counts optimiser steps",
}
"""Old name -> what there is instead, with another meaning of the value."""


class StrictConfig(BaseModel):
    """A configuration: immutable, and without unknown or renamed options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_renamed(cls, values: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        if isinstance(values, Mapping):
            for old, new in RENAMED.items():
                if old in values and old not in cls.model_fields:
                    raise ValueError(f"option {old!r} is now called {new!r}")
            for old, instead in REPLACED.items():
                if old in values and old not in cls.model_fields:
                    raise ValueError(f"option {old!r} is replaced by {instead}")
        return values
