"""Has the running service make profiles, over HTTP, behind everybody else's requests."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import asdict
from typing import TYPE_CHECKING

import httpx
import numpy as np

from reclm_client import (
    AccessDenied,
    AsyncReclmClient,
    ConnectionFailed,
    MalformedAnswer,
    NotFound,
    ReclmApiError,
    ReclmClientError,
    Retries,
    TimedOut,
    Unavailable,
)
from reclm_client.transport import authorization
from services.backfill.errors import BackfillError
from services.backfill.makers import Made, PushedBack, RowFailed, Version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from reclm_client import Item, Kind, ProfileVersion
    from services.backfill.rows import ProfileRow

_ONLINE_WAIT = "RECLM-Online-Wait"

_ONCE = Retries(attempts=1)
"""The job decides itself when to send a row again: a push-back has to slow it down."""


class HttpMaker:
    """Profiles from a service.

    Args:
        url: Where the service is.
        kind: Of all profiles.

    Raises:
        BackfillError: The URL is none, or the key that RECLM_API_KEY_FILE names cannot be read.
    """

    def __init__(self, *, url: str, kind: Kind) -> None:
        self._url = url
        self._kind: Kind = kind
        try:
            self._client = AsyncReclmClient(url, retries=_ONCE, on_headers=self._read_headers)
        except ValueError as error:
            raise BackfillError(str(error)) from error
        self._online_wait_s = 0.0
        # Reading a version takes a hash, and nearly all profiles have the same one.
        self._digests: dict[ProfileVersion, str] = {}

    async def __aenter__(self) -> Self:
        """Connects with the first request."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Closes the connections."""
        await self._client.aclose()

    @property
    def online_wait_s(self) -> float:
        """What the service said with its last answer."""
        return self._online_wait_s

    async def version(self) -> Version:
        """Asks the service's readiness."""
        try:
            ready = await self._client.ready()
        except ReclmClientError as error:
            raise _understood(error) from error
        if ready.version is None:
            raise BackfillError(
                "the service tells its version to callers with a key: set RECLM_API_KEY or "
                "RECLM_API_KEY_FILE to one of its API keys"
            )
        return Version(self._digest(ready.version), asdict(ready.version))

    async def make(self, row: ProfileRow, *, max_age_s: float | None) -> Made:
        """Asks for one profile with its vector."""
        try:
            profile = await self._client.profile(
                self._kind,
                row.id,
                history=row.history,
                max_age_s=max_age_s,
                embedding=True,
                background=True,
            )
        except ReclmClientError as error:
            raise _understood(error) from error
        if profile.status not in {"generated", "cached"}:
            raise PushedBack(f"the service answered with a {profile.status} profile")
        return Made(
            id=profile.id,
            text=profile.text,
            vector=np.asarray(profile.embedding, np.float16),
            status=profile.status,
            version=self._digest(profile.version),
            input_hash=profile.input_hash,
            created_ms=round(profile.created_at.timestamp() * 1000),
        )

    async def put_items(self, items: Sequence[Item]) -> list[tuple[Item, RowFailed]]:
        """Sends the items in batches."""
        refused = []
        try:
            async with aclosing(self._client.put_items(items)) as rows:
                async for row in rows:
                    if row.error is not None:
                        failure = _understood(row.error)
                        if not isinstance(failure, RowFailed):
                            raise failure from row.error
                        refused.append((items[row.row], failure))
        except ReclmClientError as error:
            failure = _understood(error)
            if isinstance(failure, RowFailed):
                raise BackfillError(f"the service takes no items: {failure.detail}") from error
            raise failure from error
        return refused

    async def erased(self) -> frozenset[str] | None:
        """Reads the service's deny list, which it may show to holders of an admin key alone."""
        try:
            return frozenset((await self._client.erasures()).erased)
        except (AccessDenied, NotFound):
            return None
        except ReclmClientError as error:
            raise _understood(error) from error

    async def tokens(self) -> tuple[int, int]:
        """Reads the service's metrics, which count all of its callers' tokens.

        Raises:
            BackfillError: The service shows them to holders of an admin key alone.
        """
        from prometheus_client.parser import text_string_to_metric_families

        url = f"{self._url.rstrip('/')}/metrics"
        try:
            response = await asyncio.to_thread(
                httpx.get, url, timeout=10, headers=authorization(None)
            )
            if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
                raise BackfillError(
                    f"{url} answers {response.status_code}: an estimate counts tokens there; set "
                    "RECLM_API_KEY to an admin key, or leave it out with --sample 0"
                )
            text = response.raise_for_status().text
        except httpx.HTTPError as error:
            raise PushedBack(f"{url} does not answer ({type(error).__name__})") from error
        counted = {"prompt": 0, "completion": 0}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "reclm_model_tokens_total":
                    counted[sample.labels["direction"]] += int(sample.value)
        return counted["prompt"], counted["completion"]

    def _read_headers(self, headers: Mapping[str, str]) -> None:
        told = headers.get(_ONLINE_WAIT)
        if told is None:
            return
        try:
            self._online_wait_s = max(0.0, float(told))
        except ValueError:
            # Some proxy's own header: as if there were none.
            self._online_wait_s = 0.0

    def _digest(self, version: ProfileVersion) -> str:
        digest = self._digests.get(version)
        if digest is None:
            digest = version.digest().hex()
            self._digests[version] = digest
        return digest


def _understood(error: ReclmClientError) -> RowFailed | PushedBack | BackfillError:
    """Returns what an error means for the job."""
    match error:
        case AccessDenied():
            return BackfillError(
                f"the service refuses the key ({error}); set RECLM_API_KEY or RECLM_API_KEY_FILE"
            )
        case ReclmApiError(code="malformed-generation" | "model-refused" | "encoder-refused"):
            return RowFailed(error.code, error.detail)
        case Unavailable():
            return PushedBack(
                f"{error.status} {error.code}: {error.detail}", error.retry_after or 0
            )
        case ReclmApiError():
            unknown = error.problem.get("unknown")
            names = [str(name) for name in unknown] if isinstance(unknown, list) else []
            return RowFailed(error.code, error.detail, names)
        case ConnectionFailed() | TimedOut() | MalformedAnswer():
            return PushedBack(str(error))
        case _:
            return PushedBack(f"{type(error).__name__}: {error}")
