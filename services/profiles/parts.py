"""The parts of a running service: what `container` makes, and endpoints and jobs work with."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from reclm_client.schemas.health import Dependency as State
from services.profiles.errors import ReclmError, WritesFail
from services.profiles.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.profiles.cache.catalogue_changes import CatalogueChanges
    from services.profiles.cache.service import ProfileService
    from services.profiles.cache.versions import Versions
    from services.profiles.refresh.recorder import Recorder
    from services.profiles.refresh.worker import Refresher
    from services.profiles.scoring.registry import Registry
    from services.profiles.scoring.service import ScoringService
    from services.profiles.settings import Settings
    from services.profiles.stores.base import Catalogue, Erasures
    from services.profiles.telemetry import Metrics

_CHECK_S = 2.0
_FRESH_S = 2.0


@dataclass(slots=True)
class Dependency:
    """Something that the service needs.

    Attributes:
        vital: Without it nothing can be answered, not even from the cache.
    """

    name: str
    check: Callable[[], Awaitable[None]]
    vital: bool
    _asked: asyncio.Task[State] | None = field(default=None, init=False, repr=False)
    _asked_at: float = field(default=0.0, init=False, repr=False)

    async def state(self) -> State:
        """Returns how the dependency is doing, or was at most two seconds ago.

        A check costs a request to another server, and anybody may ask: all share one.
        """
        now = time.monotonic()
        if self._asked is None or (self._asked.done() and now - self._asked_at > _FRESH_S):
            self._asked = asyncio.create_task(self._ask())
            self._asked_at = now
        # One who stops waiting does not take the answer from the others.
        return await asyncio.shield(self._asked)

    async def _ask(self) -> State:
        """Asks within two seconds."""
        started = time.perf_counter()
        status: Literal["up", "degraded", "down"] = "up"
        error = None
        try:
            async with asyncio.timeout(_CHECK_S):
                await self.check()
        except TimeoutError:
            status, error = "down", f"no answer within {_CHECK_S:g} s"
        except WritesFail as raised:
            status, error = "degraded", raised.detail
        except ReclmError as raised:
            status, error = "down", raised.detail
        latency_ms = round((time.perf_counter() - started) * 1000, 2)
        return State(status, latency_ms, error)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a running service that endpoints call."""

    settings: Settings
    profiles: ProfileService
    versions: Versions
    catalogue: Catalogue
    changes: CatalogueChanges
    erasures: Erasures
    scoring: ScoringService
    scorers: Registry
    recorder: Recorder
    refresher: Refresher
    metrics: Metrics
    dependencies: tuple[Dependency, ...]
    turns: Turns = field(default_factory=Turns)
