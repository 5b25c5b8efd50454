"""The versions of profiles side by side: this process's own, and those that others run or ran.

During an upgrade services of two versions share one store. Each reads what the other has written, as
`stale`, and only the newer one replaces it. Which one is newer is decided in the store, by the order
in which the versions that run were started (`ProfileStore.announce`).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from services.profiles.errors import StoreUnavailable, WritesFail
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.profiles.domain.profile import ProfileVersion
    from services.profiles.stores.base import ProfileStore

_ALIVE_S = 30.0


class Versions:
    """What is known of versions.

    Args:
        store: Where they are announced.
        tenant: Whose profiles this process makes.
        own: The version that this process generates.
        alive_s: How long a process that says nothing more counts as running.
    """

    def __init__(
        self, *, store: ProfileStore, tenant: str, own: ProfileVersion, alive_s: float = _ALIVE_S
    ) -> None:
        self._store = store
        self._tenant = tenant
        self._alive_s = alive_s
        self._documents = {own.digest(): own.to_json()}
        self._running: dict[bytes, int] = {}
        self._gone: set[bytes] = set()
        self.own = own
        self.digest = own.digest()
        self.document = own.to_json()

    async def document_of(self, digest: bytes) -> bytes | None:
        """Returns the JSON of a version, None if the store does not know it."""
        document = self._documents.get(digest)
        if document is None:
            document = await self._store.get_version(self._tenant, digest)
            if document is not None:
                self._documents[digest] = document
        return document

    async def newer(self, digest: bytes) -> bool:
        """Returns whether a version is newer than this process's own, and running.

        True also while the store takes no writes and so cannot say: nothing can be replaced then.
        """
        if digest not in self._running and digest not in self._gone:
            try:
                await self._announce(starting=False)
            except WritesFail:
                return True
            if digest not in self._running:
                self._gone.add(digest)  # until the next time that all are read
        return self._running.get(digest, 0) > self._running.get(self.digest, 0)

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Announces the own version, and follows the others', while the body runs."""
        ended = asyncio.Event()
        task = asyncio.create_task(self._follow(ended))
        try:
            yield
        finally:
            ended.set()
            await task

    async def _follow(self, ended: asyncio.Event) -> None:
        starting = True
        while not ended.is_set():
            try:
                await self._announce(starting=starting)
                starting = False
            except StoreUnavailable as error:
                LOGGER.warning("versions were not read", extra={"data": {"why": error.detail}})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._alive_s / 3):
                    await ended.wait()

    async def _announce(self, *, starting: bool) -> None:
        self._running = await self._store.announce(
            self._tenant, self.own, starting=starting, alive_s=self._alive_s
        )
        self._gone.clear()
