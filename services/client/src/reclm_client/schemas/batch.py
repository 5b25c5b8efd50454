"""The lines of the answer to a batch: one for each row, in order."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from reclm_client.schemas.fields import is_none
from reclm_client.schemas.problem import Problem
from reclm_client.schemas.profile import Profile
from reclm_client.schemas.score import Score


@dataclass(frozen=True, slots=True)
class ItemLine:
    """What became of one item; `error` where it was not stored."""

    row: int
    id: Annotated[str | None, Field(description="As the row gives it; null if it gives none.")]
    status_code: int
    error: Annotated[Problem | None, Field(exclude_if=is_none)] = None


@dataclass(frozen=True, slots=True)
class ProfileLine(ItemLine):
    """The answer to one row: a profile or a problem."""

    profile: Annotated[Profile | None, Field(exclude_if=is_none)] = None


@dataclass(frozen=True, slots=True)
class ScoreLine(ItemLine):
    """The answer to one row: a ranking or a problem. `id` is the row's `user_id`."""

    score: Annotated[Score | None, Field(exclude_if=is_none)] = None
