"""Makes profiles in this process with the service's own parts: the model server, Redis, no HTTP."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic_core import from_json

from reclm_client.calls import encode
from reclm_client.schemas.item import CatalogueItem
from reclm_client.schemas.profile import ProfileRequest
from services.backfill.errors import Misconfigured
from services.backfill.makers import Made, PushedBack, RowFailed, Version
from services.common.errors import ArtifactError
from services.profiles.container import assemble
from services.profiles.domain.parsing import parse
from services.profiles.domain.requests import profile_request
from services.profiles.errors import (
    EncoderRefused,
    EncoderUnavailable,
    ModelRefused,
    ModelUnavailable,
    Overloaded,
    ReclmError,
    StoreUnavailable,
)
from services.profiles.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from reclm_client import Item, Kind
    from services.backfill.rows import ProfileRow
    from services.profiles.parts import Parts
    from services.profiles.settings import Settings

_REFUSED = (ModelRefused, EncoderRefused)
_PASSING = (Overloaded, ModelUnavailable, EncoderUnavailable, StoreUnavailable)

_ERASED_AT_ONCE = 10_000


class DirectMaker:
    """Profiles from the parts that the service is made of.

    Args:
        settings: As the service's.
        kind: Of all profiles.
    """

    def __init__(self, *, settings: Settings, kind: Kind) -> None:
        self._settings = settings
        self._kind: Kind = kind
        self._stack = contextlib.AsyncExitStack()
        self._metrics = Metrics()
        self._made: Parts | None = None

    async def __aenter__(self) -> Self:
        """Loads the encoder and the tokenizer.

        Raises:
            Misconfigured: The settings leave something out, or name a folder that holds no model.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                self._made = await assemble(self._settings, self._metrics, stack)
                await stack.enter_async_context(self._made.changes.following())
            except (ValueError, EncoderUnavailable) as error:
                raise Misconfigured(str(error)) from error
            except ArtifactError as error:
                raise Misconfigured(f"RECLM_MODEL_PATH: {error}") from error
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Lets generations under way finish, and closes all connections."""
        await self._stack.aclose()

    @property
    def _parts(self) -> Parts:
        if self._made is None:
            raise RuntimeError("the maker has not been entered")
        return self._made

    async def version(self) -> Version:
        """Returns the version of the settings."""
        version = self._parts.profiles.version
        return Version(version.digest().hex(), asdict(version))

    @property
    def online_wait_s(self) -> float:
        """What callers of the service have waited of late, as its processes tell each other."""
        return self._parts.profiles.online_wait_s

    async def make(self, row: ProfileRow, *, max_age_s: float | None) -> Made:
        """Does what the service does for one request."""
        settings = self._settings
        asked = ProfileRequest(row.id, row.history, max_age_s=max_age_s, background=True)
        try:
            request = profile_request(
                parse(encode(asked), ProfileRequest),
                self._kind,
                tenant=settings.tenant,
                max_history=settings.max_history,
            )
            answer = await self._parts.profiles.profile(request)
        except ReclmError as error:
            raise _understood(error) from error
        if answer.status not in {"generated", "cached"}:
            raise PushedBack(f"the model is away: there is only a {answer.status} profile")
        stored = answer.stored
        return Made(
            id=row.id,
            text=from_json(b"{%s}" % stored.fragment)["text"],
            vector=stored.vector,
            status=answer.status,
            version=stored.version_digest.hex(),
            input_hash=stored.input_hash.hex(),
            created_ms=stored.created_ms // 1000 * 1000,
        )

    async def put_items(self, items: Sequence[Item]) -> list[tuple[Item, RowFailed]]:
        """Stores what the service would take."""
        refused, good = [], []
        for item in items:
            try:
                good.append(parse(encode(item), CatalogueItem))
            except ReclmError as error:
                refused.append((item, RowFailed(error.code, error.detail)))
        try:
            await self._parts.catalogue.put_items(self._settings.tenant, good)
            await self._parts.changes.read()
        except ReclmError as error:
            raise _understood(error) from error
        return refused

    async def erased(self) -> frozenset[str] | None:
        """Reads the store's deny list."""
        found: set[str] = set()
        cursor: str | None = None
        while True:
            try:
                page, cursor = await self._parts.erasures.page(
                    self._settings.tenant, cursor=cursor, limit=_ERASED_AT_ONCE
                )
            except ReclmError as error:
                raise _understood(error) from error
            found.update(user_id for user_id, _ in page)
            if cursor is None:
                return frozenset(found)

    async def tokens(self) -> tuple[int, int]:
        """Returns what this process has had the model read and write."""
        counter = self._metrics.model_tokens
        prompt, completion = (
            int(sample.value)
            for direction in ("prompt", "completion")
            for metric in counter.labels(direction).collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        )
        return prompt, completion


def _understood(error: ReclmError) -> RowFailed | PushedBack:
    """Returns what an error means for the job."""
    if isinstance(error, _PASSING) and not isinstance(error, _REFUSED):
        return PushedBack(f"{error.code}: {error.detail}", error.retry_after or 0.0)
    unknown = error.data.get("unknown")
    return RowFailed(
        error.code, error.detail, list(map(str, unknown)) if isinstance(unknown, list) else ()
    )
