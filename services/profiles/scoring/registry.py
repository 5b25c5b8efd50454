"""The scorers in the folder, and the active one, which is replaced without interruption.

The store holds the name of the active scorer, so that all workers of all hosts use the same one. A
request uses one scorer from beginning to end: a swap affects the next request, and the old bundle is
freed with the last request that uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.profiles.errors import (
    BundleRefused,
    NoScorer,
    NothingToRollBack,
    ReclmError,
    ScorerNotFound,
    ScorersChanged,
    StoreUnavailable,
)
from services.profiles.garbage import settle
from services.profiles.scoring import manifest as manifests
from services.profiles.scoring import matching
from services.profiles.scoring.scorer import open_scorer
from services.profiles.stores.base import ScorerNames
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from services.profiles.domain.profile import ProfileVersion
    from services.profiles.scoring.manifest import BundleManifest
    from services.profiles.scoring.scorer import Scorer
    from services.profiles.stores.base import ActiveScorers

_AGAIN_S = 10.0
"""Pause before a bundle that could not be loaded is tried again: it may still be copied here."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A bundle in the folder: its manifest, or why it cannot be used, or both."""

    name: str
    manifest: BundleManifest | None
    refused: BundleRefused | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The scorers that this worker can use.

    Attributes:
        names: The names in the store.
        loaded: The bundle that this worker answers with.
        bundles: In order of name.
    """

    names: ScorerNames
    loaded: str | None
    bundles: list[Listed]


@dataclass(frozen=True, slots=True)
class _Failure:
    name: str
    error: ReclmError
    again: float


class Registry:
    """Keeps the active scorer loaded.

    Args:
        folder: Contains a folder for each bundle, of the bundle's name.
        store: Holds the names.
        version: The version of the service's profiles, which bundles must match.
        poll_s: How often the name of the active scorer is read.
    """

    def __init__(
        self,
        *,
        folder: Path,
        store: ActiveScorers,
        tenant: str,
        version: ProfileVersion,
        poll_s: float,
    ) -> None:
        self._folder = folder
        self._store = store
        self._tenant = tenant
        self._version = version
        self._poll_s = poll_s
        self._current: Scorer | None = None
        self._failure: _Failure | None = None
        self._changing = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Loads the active scorer, and follows the store for as long as the context is open."""
        await self._follow()
        stop = asyncio.Event()
        task = asyncio.create_task(self._watch(stop))
        try:
            yield
        finally:
            # Told to stop, not cancelled: redis-py may lose a cancellation.
            stop.set()
            await task

    def current(self) -> Scorer:
        """Returns the scorer that is loaded.

        Raises:
            NoScorer: None is active, or the active one could not be loaded.
        """
        if self._current is not None:
            return self._current
        if self._failure is not None:
            raise NoScorer(
                f"the active scorer {self._failure.name} cannot be used: "
                f"{self._failure.error.detail}"
            )
        raise NoScorer(
            "no scorer is active: export a bundle with `reclm-recommend export`, and activate it "
            "with POST /admin/scorers/{name}/activate or `reclm-serve scorers activate NAME`"
        )

    async def check(self) -> None:
        """Raises NoScorer if a scorer should be active and this worker could not load it."""
        if self._failure is not None:
            raise NoScorer(
                f"{self._failure.name} is active and cannot be used here: "
                f"{self._failure.error.detail}"
            )

    async def listing(self) -> Listing:
        """Returns the bundles in the folder, and which of them are in use.

        Raises:
            StoreUnavailable: As the store does.
        """
        names = await self._store.names(self._tenant)
        bundles = await asyncio.to_thread(self._list)
        return Listing(names, None if self._current is None else self._current.name, bundles)

    async def activate(self, name: str) -> ScorerNames:
        """Loads a bundle, and makes it the active one for all workers.

        Raises:
            ScorerNotFound: There is none of this name.
            BundleRefused: It is damaged, or does not match the service; nothing has changed.
            StoreUnavailable: As the store does; it is unknown whether anything has changed.
        """
        async with self._changing:
            scorer = await self._loaded(name)
            names = await self._store.activate(self._tenant, name)
            self._put(scorer)
        return names

    async def roll_back(self) -> ScorerNames:
        """Activates the bundle that was active before; a second call undoes this.

        Raises:
            NothingToRollBack: None was.
            ScorersChanged: Another bundle was activated meanwhile; nothing has changed.
            ScorerNotFound, BundleRefused, StoreUnavailable: As `activate` does. After the last, read
                the names first: another call would undo a roll-back that succeeded.
        """
        async with self._changing:
            names = await self._store.names(self._tenant)
            if names.previous is None:
                raise NothingToRollBack("no scorer was active before the one that is")
            scorer = await self._loaded(names.previous)
            if not await self._store.swap(self._tenant, names):
                raise ScorersChanged(
                    "another scorer was activated in the meantime; look at GET /admin/scorers, "
                    "and roll back again if that is still what you want"
                )
            self._put(scorer)
            return ScorerNames(active=names.previous, previous=names.active)

    async def _watch(self, stop: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await stop.wait()
                    return
            try:
                await self._follow()
            except Exception:  # noqa: BLE001 - logged; the worker must continue to follow
                LOGGER.exception("the active scorer cannot be followed")

    async def _follow(self) -> None:
        """Loads the active scorer, unless it is loaded or has just failed."""
        async with self._changing:
            try:
                name = (await self._store.names(self._tenant)).active
            except StoreUnavailable as error:
                # The loaded scorer continues to answer; /readyz reports that the store is down.
                LOGGER.debug("scorer names not read", extra={"data": {"why": error.detail}})
                return
            # If the store has lost the name, the loaded scorer continues to answer.
            if name is None or (self._current is not None and self._current.name == name):
                self._failure = None
                return
            failed = self._failure
            if failed and failed.name == name and time.monotonic() < failed.again:
                return
            try:
                self._put(await self._loaded(name))
            except (ScorerNotFound, BundleRefused) as error:
                self._failure = _Failure(name, error, time.monotonic() + _AGAIN_S)
                data = {"scorer": name, "why": error.detail}
                LOGGER.warning("the active scorer cannot be loaded", extra={"data": data})

    async def _loaded(self, name: str) -> Scorer:
        if self._current is not None and self._current.name == name:
            return self._current
        return await asyncio.to_thread(self._open, name)

    def _put(self, scorer: Scorer) -> None:
        self._failure = None
        if scorer is not self._current:
            self._current = scorer
            settle()
            LOGGER.info("scorer loaded", extra={"data": {"scorer": scorer.name}})

    def _open(self, name: str) -> Scorer:
        # The name is compared with those in the folder, and never used as a path.
        for folder in self._folders():
            if folder.name == name:
                return open_scorer(folder, self._version)
        raise ScorerNotFound(
            f"there is no bundle of this name in {self._folder}; GET /admin/scorers lists them"
        )

    def _list(self) -> list[Listed]:
        return [self._listed(folder) for folder in self._folders()]

    def _listed(self, folder: Path) -> Listed:
        manifest = None
        try:
            manifest = manifests.read(folder)
            matching.check(manifest, self._version)
        except BundleRefused as error:
            return Listed(folder.name, manifest, error)
        return Listed(folder.name, manifest, None)

    def _folders(self) -> list[Path]:
        """Returns the bundles' folders, without hidden ones, which are still being written."""
        try:
            return sorted(
                path
                for path in self._folder.iterdir()
                if not path.name.startswith(".") and path.is_dir()
            )
        except FileNotFoundError:
            return []
