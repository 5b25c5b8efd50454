"""The scorers in the folder, and the active one, which is replaced without interruption.

The store holds name and content hash of the active scorer, so that all workers of all hosts use the
same one. A host whose folder has another content under the active name says so and does not answer
with it. A request uses one scorer from beginning to end: a swap affects the next request, and the
old bundle is freed with the last request that uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.profiles.errors import (
    BundleRefused,
    EncoderUnavailable,
    NoScorer,
    NothingToRollBack,
    OtherContent,
    ReclmError,
    ScorerNotFound,
    ScorersChanged,
    StoreUnavailable,
)
from services.profiles.garbage import settle
from services.profiles.scoring import manifest as manifests
from services.profiles.scoring import matching
from services.profiles.scoring.content import Contents
from services.profiles.scoring.scorer import open_scorer
from services.profiles.stores.base import ActiveRefs, ScorerRef
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from services.profiles.domain.profile import ProfileVersion
    from services.profiles.encoders.base import Encoder
    from services.profiles.scoring.manifest import BundleManifest
    from services.profiles.scoring.scorer import Scorer
    from services.profiles.stores.base import ActiveScorers

_AGAIN_S = 10.0
"""Pause before a bundle that could not be loaded is tried again: it may still be copied here."""

_DIMENSION_S = 2.0
"""How long the size of the encoder's vectors is waited for; without it, it is checked later."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A bundle in the folder.

    Attributes:
        content: The hash of its files; None if it cannot be read.
        manifest: None if it cannot be read.
        refused: Why the bundle cannot be used.
        conflict: Why the bundle does not answer although its name is the active one's.
    """

    name: str
    content: str | None
    manifest: BundleManifest | None
    refused: BundleRefused | None
    conflict: str | None = None

    def stands_for(self, ref: ScorerRef | None) -> bool:
        """Returns whether this is the bundle that a name and a content identify."""
        return ref is not None and self.name == ref.name and ref.content in {None, self.content}


@dataclass(frozen=True, slots=True)
class Listing:
    """The scorers that this worker can use.

    Attributes:
        refs: What the store says.
        loaded: The bundle that this worker answers with.
        bundles: In order of name.
    """

    refs: ActiveRefs
    loaded: ScorerRef | None
    bundles: list[Listed]


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why the active bundle cannot be loaded, or could not be loaded again.

    Attributes:
        here: The content under its name at that time; None if there was none to be read.
        silent: This worker must not answer at all.
        again: When to try again with the same content, by `time.monotonic`.
    """

    ref: ScorerRef
    error: ReclmError
    here: str | None
    silent: bool
    again: float


class Registry:
    """Keeps the active scorer loaded.

    Args:
        folder: Contains a folder for each bundle, of the bundle's name.
        store: Holds what is active.
        version: The version of the service's profiles, which bundles must match.
        encoder: Its vectors have the size that bundles must read.
        poll_s: How often is read what is active.
    """

    def __init__(
        self,
        *,
        folder: Path,
        store: ActiveScorers,
        tenant: str,
        version: ProfileVersion,
        encoder: Encoder,
        poll_s: float,
    ) -> None:
        self._folder = folder
        self._store = store
        self._tenant = tenant
        self._version = version
        self._encoder = encoder
        self._dimension: int | None = None
        self._poll_s = poll_s
        self._contents = Contents()
        self._current: Scorer | None = None
        self._trouble: _Trouble | None = None
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
            NoScorer: None is active, or the active one could not be loaded, or this host has another
                content under its name.
        """
        trouble = self._trouble
        if self._current is not None and not (trouble and trouble.silent):
            return self._current
        if trouble is not None:
            raise NoScorer(
                f"the active scorer {trouble.ref.name} cannot be used: {trouble.error.detail}",
                **trouble.error.data,
            )
        raise NoScorer(
            "no scorer is active: export a bundle with `reclm-recommend export`, and activate it "
            "with POST /admin/scorers/{name}/activate or `reclm-serve scorers activate NAME`"
        )

    async def check(self) -> None:
        """Raises NoScorer if this worker could not load the active scorer, or not once more."""
        trouble = self._trouble
        if trouble is not None:
            raise NoScorer(
                f"{trouble.ref.name} is active and cannot be used here: {trouble.error.detail}"
            )

    async def listing(self) -> Listing:
        """Returns the bundles in the folder, and which of them are in use.

        Raises:
            StoreUnavailable: As the store does.
        """
        refs = await self._store.refs(self._tenant)
        dimension = await self._vector_size()
        bundles = await asyncio.to_thread(self._list, dimension, refs.active)
        return Listing(refs, None if self._current is None else self._current.ref, bundles)

    async def activate(self, name: str) -> ActiveRefs:
        """Loads a bundle, and makes it the active one for all workers.

        Raises:
            ScorerNotFound: There is none of this name.
            BundleRefused: It is damaged, or does not match the service; nothing has changed.
            StoreUnavailable: As the store does; it is unknown whether anything has changed.
        """
        async with self._changing:
            scorer = await self._loaded(name)
            refs = await self._store.activate(self._tenant, scorer.ref)
            self._put(scorer)
        return refs

    async def roll_back(self) -> ActiveRefs:
        """Activates the bundle that was active before; a second call undoes this.

        Raises:
            NothingToRollBack: None was.
            ScorersChanged: Another bundle was activated meanwhile; nothing has changed.
            OtherContent: This host has another content under the name of that bundle.
            ScorerNotFound, BundleRefused, StoreUnavailable: As `activate` does. After the last, read
                what is active first: another call would undo a roll-back that succeeded.
        """
        async with self._changing:
            refs = await self._store.refs(self._tenant)
            if refs.previous is None:
                raise NothingToRollBack("no scorer was active before the one that is")
            scorer = await self._loaded(refs.previous.name, refs.previous.content)
            if not await self._store.swap(self._tenant, refs):
                raise ScorersChanged(
                    "another scorer was activated in the meantime; look at GET /admin/scorers, "
                    "and roll back again if that is still what you want"
                )
            self._put(scorer)
            return ActiveRefs(active=refs.previous, previous=refs.active)

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
                ref = (await self._store.refs(self._tenant)).active
            except StoreUnavailable as error:
                # The loaded scorer continues to answer; /readyz reports that the store is down.
                LOGGER.debug(
                    "the active scorer is not known", extra={"data": {"why": error.detail}}
                )
                return
            # If the store has lost what was active, the loaded scorer continues to answer.
            if ref is None:
                self._trouble = None
                return
            here = await asyncio.to_thread(self._here, ref.name)
            trouble = self._trouble
            if (
                trouble
                and (trouble.ref, trouble.here) == (ref, here)
                and time.monotonic() < trouble.again
            ):
                return
            try:
                scorer = await self._loaded(ref.name, ref.content)
            except (ScorerNotFound, BundleRefused) as error:
                self._fail(ref, here, error)
            else:
                self._put(scorer)

    def _here(self, name: str) -> str | None:
        """Returns the content under a name; only stats of files are read if it is as before."""
        try:
            return self._contents.of(self._folder_of(name))
        except (ScorerNotFound, BundleRefused):
            return None

    def _fail(self, ref: ScorerRef, here: str | None, error: ReclmError) -> None:
        """Remembers why the active bundle cannot be loaded; says it once."""
        current = self._current
        right = current is not None and current.ref == ref
        same_name = current is not None and current.name == ref.name
        silent = not right and (isinstance(error, OtherContent) or same_name)
        before = self._trouble
        self._trouble = _Trouble(ref, error, here, silent, time.monotonic() + _AGAIN_S)
        if before is None or (before.ref, before.error.detail) != (ref, error.detail):
            data = {
                "scorer": str(ref),
                "why": error.detail,
                "answers": None if silent or current is None else str(current.ref),
            }
            LOGGER.warning("the active scorer cannot be loaded", extra={"data": data})

    async def _loaded(self, name: str, content: str | None = None) -> Scorer:
        """Returns the scorer of a name and a content, or of the content that is there.

        Raises:
            ScorerNotFound, BundleRefused: As opening it does.
            OtherContent: The folder has another content.
        """
        dimension = None if self._is_current(name, content) else await self._vector_size()
        return await asyncio.to_thread(self._open, name, content, dimension)

    def _is_current(self, name: str, content: str | None) -> bool:
        return self._current is not None and self._current.ref == ScorerRef(name, content)

    async def _vector_size(self) -> int | None:
        """Returns how many numbers the encoder's vectors have; None while it does not answer."""
        if self._dimension is None:
            try:
                async with asyncio.timeout(_DIMENSION_S):
                    self._dimension = (await self._encoder.encode(["size"])).shape[1]
            except (EncoderUnavailable, TimeoutError) as error:
                why = str(error) or type(error).__name__
                LOGGER.warning(
                    "bundles are checked without the encoder", extra={"data": {"why": why}}
                )
        return self._dimension

    def _put(self, scorer: Scorer) -> None:
        self._trouble = None
        if scorer is not self._current:
            self._current = scorer
            settle()
            LOGGER.info("scorer loaded", extra={"data": {"scorer": str(scorer.ref)}})

    def _open(self, name: str, content: str | None, dimension: int | None) -> Scorer:
        folder = self._folder_of(name)
        here = self._contents.of(folder)
        if content not in {None, here}:
            raise _other(ScorerRef(name, content), here)
        current = self._current
        if current is not None and current.ref == ScorerRef(name, here):
            return current
        scorer = open_scorer(folder, self._version, dimension=dimension, contents=self._contents)
        if scorer.ref.content != here:
            raise _other(ScorerRef(name, here), scorer.bundle.content)
        return scorer

    def _folder_of(self, name: str) -> Path:
        # The name is compared with those in the folder, and never used as a path.
        for folder in self._folders():
            if folder.name == name:
                return folder
        raise ScorerNotFound(
            f"there is no bundle of this name in {self._folder}; GET /admin/scorers lists them"
        )

    def _list(self, dimension: int | None, active: ScorerRef | None) -> list[Listed]:
        return [self._listed(folder, dimension, active) for folder in self._folders()]

    def _listed(self, folder: Path, dimension: int | None, active: ScorerRef | None) -> Listed:
        content = manifest = refused = conflict = None
        try:
            manifest = manifests.read(folder)
            content = self._contents.of(folder)
            matching.check(manifest, self._version, dimension)
        except BundleRefused as error:
            refused = error
        if (
            content
            and active
            and active.name == folder.name
            and active.content not in {None, content}
        ):
            conflict = _other(active, content).detail
        return Listed(folder.name, content, manifest, refused, conflict)

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


def _other(ref: ScorerRef, here: str) -> OtherContent:
    return OtherContent(
        f"{ref.name} is wanted with the content {ref.content}, and this host has {here} under that "
        "name: copy the right bundle here, or activate this one for all hosts",
        wanted=ref.content,
        found=here,
    )
