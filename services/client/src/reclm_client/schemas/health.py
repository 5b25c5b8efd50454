"""Whether the process answers, and whether the service can work."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from reclm_client.schemas.fields import is_none
from reclm_client.schemas.profile import ProfileVersion


@dataclass(frozen=True, slots=True)
class Health:
    """The process answers."""

    status: Literal["ok"] = "ok"


@dataclass(frozen=True, slots=True)
class Dependency:
    """How one thing that the service depends on is doing; a `degraded` store takes no writes."""

    status: Literal["up", "degraded", "down"]
    latency_ms: float
    error: Annotated[str | None, Field(exclude_if=is_none)] = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the service can work; `degraded` means that hits are served and misses are not.

    Where the service has keys, all but `status` is for callers with one, and None for others.
    """

    status: Literal["ready", "degraded", "unready"]
    dependencies: Annotated[Mapping[str, Dependency] | None, Field(exclude_if=is_none)] = None
    version: Annotated[
        ProfileVersion | None,
        Field(exclude_if=is_none, description="What the service makes profiles with now."),
    ] = None
