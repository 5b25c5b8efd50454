"""What endpoints work with: made by the app's lifespan, found on the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from fastapi import Request

    from services.profiles.api.health import Dependency
    from services.profiles.cache.service import ProfileService
    from services.profiles.refresh.recorder import Recorder
    from services.profiles.refresh.worker import Refresher
    from services.profiles.scoring.registry import Registry
    from services.profiles.scoring.service import ScoringService
    from services.profiles.settings import Settings
    from services.profiles.stores.base import Catalogue
    from services.profiles.telemetry import Metrics


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a running service that endpoints call."""

    settings: Settings
    profiles: ProfileService
    catalogue: Catalogue
    scoring: ScoringService
    scorers: Registry
    recorder: Recorder
    refresher: Refresher
    metrics: Metrics
    dependencies: tuple[Dependency, ...]


def parts_of(request: Request) -> Parts:
    """Returns the parts of the service that a request came to."""
    return cast("Parts", request.app.state.parts)
