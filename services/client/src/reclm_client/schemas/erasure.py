"""Erasures: who was erased, and what may still hold copies."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field


@dataclass(frozen=True, slots=True)
class Erasure:
    """A user who was erased, and when for the last time."""

    user_id: str
    erased_at: datetime


@dataclass(frozen=True, slots=True)
class ErasurePage:
    """A part of the deny list, in no order; `cursor` asks for the next one."""

    as_of: Annotated[
        datetime,
        Field(
            description="All pages together have every erasure until the time that the first one "
            "says: a minute before it was asked for."
        ),
    ]
    erasures: tuple[Erasure, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Copy:
    """Something that may hold data of an erased user for a while."""

    where: str
    until: str
    ended_by: Annotated[
        str | None, Field(description="What ends it sooner; null when nothing does.")
    ]


@dataclass(frozen=True, slots=True)
class Copies:
    """What the service knows of copies outside its own reach."""

    copies: tuple[Copy, ...]
