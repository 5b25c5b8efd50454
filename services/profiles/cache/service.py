"""Profiles on demand: from the cache, from the model, or a substitute when time is up."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reclm_client.schemas import adapter
from reclm_client.schemas.profile import Profile
from services.profiles import errors
from services.profiles.cache.single_flight import SingleFlight, compete, renewed
from services.profiles.domain.requests import NOTHING
from services.profiles.errors import (
    EncoderUnavailable,
    MalformedGeneration,
    ModelUnavailable,
    NothingToRead,
    Overloaded,
    ProfileNotFound,
    ReclmError,
    StoreUnavailable,
)
from services.profiles.stores import codec
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from services.profiles.domain.profile import ProfileKey, ProfileVersion, Status
    from services.profiles.domain.requests import ProfileRequest
    from services.profiles.generation.profile_generator import ProfileGenerator
    from services.profiles.generation.prompt_builder import PromptBuilder, PromptInput
    from services.profiles.stores.base import Lease, Stores
    from services.profiles.stores.codec import Stored
    from services.profiles.telemetry import Metrics

_DEGRADED_S = 2.0
"""Limit for the encoding of a degraded profile, which is made after the deadline."""

_LEADER_FAILURES: dict[str, type[ReclmError]] = {
    kind.code: kind
    for kind in (
        Overloaded,
        ModelUnavailable,
        MalformedGeneration,
        EncoderUnavailable,
    )
}


def _background_share(limit: int) -> int:
    """Returns the part of a limit that requests in the background may use."""
    return max(1, limit * 3 // 4)


@dataclass(frozen=True, slots=True)
class ProfileAnswer:
    """A profile with its status.

    Attributes:
        version: The JSON of the profile's version.
    """

    stored: Stored
    status: Status
    version: bytes

    def document(self, *, embedding: bool) -> bytes:
        """Returns the JSON for the caller."""
        return self.stored.response(self.status, self.version, embedding=embedding)

    def profile(self, *, embedding: bool) -> Profile:
        """Returns the document as a value."""
        return adapter(Profile).validate_json(self.document(embedding=embedding))


class ProfileService:
    """Cache-aside with single-flight, limits, deadlines and fallbacks.

    Args:
        stores: Where profiles are kept, and the history of a user when a request brings none.
        history_limit: Most interactions of a user that are read.
        version: The version of the profiles that this service generates.
        ttl_s: How long a profile is kept.
        lease_s: The lifetime of a lease, as in the stores; leases are renewed three times in it.
        generation_timeout_s: Limit for a whole generation, with waiting and retries.
        max_concurrent: Most prompts of this process at the model at a time. Those in the background
            may use three quarters of it.
        max_waiting: Most generations of this process that are under way or wait. Those in the
            background may use three quarters of it.
    """

    def __init__(
        self,
        *,
        stores: Stores,
        history_limit: int,
        prompts: PromptBuilder,
        generator: ProfileGenerator,
        version: ProfileVersion,
        ttl_s: int,
        lease_s: float,
        generation_timeout_s: float,
        max_concurrent: int,
        max_waiting: int,
        metrics: Metrics,
    ) -> None:
        self._stores = stores
        self._store = stores.profiles
        self._interactions = stores.interactions
        self._history_limit = history_limit
        self._prompts = prompts
        self._generator = generator
        self._version = version
        self._digest = version.digest()
        self._versions = {self._digest: version.to_json()}
        self._ttl_s = ttl_s
        self._lease_s = lease_s
        self._generation_timeout_s = generation_timeout_s
        self._at_model = asyncio.Semaphore(max_concurrent)
        self._in_background = asyncio.Semaphore(_background_share(max_concurrent))
        self._max_waiting = max_waiting
        self._single_flight: SingleFlight[ProfileAnswer] = SingleFlight()
        self._metrics = metrics

    @property
    def version(self) -> ProfileVersion:
        """The version of the profiles that this service generates."""
        return self._version

    async def profile(self, request: ProfileRequest) -> ProfileAnswer:
        """Returns the profile asked for.

        Raises:
            NothingToRead, UnknownItems: The request cannot be served as it stands.
            ModelUnavailable, MalformedGeneration, EncoderUnavailable, Overloaded: A profile
                could not be generated, and there is no older one to return instead.
            StoreUnavailable: As the store does, or the deadline passed before it answered.
        """
        loop = asyncio.get_running_loop()
        until = None if request.deadline_s is None else loop.time() + request.deadline_s
        try:
            async with asyncio.timeout_at(until):
                stored = codec.look(await self._store.get(request.key))
                if stored is not None and self._serves(stored, request):
                    return self._count(
                        request, ProfileAnswer(stored, "cached", self._versions[self._digest])
                    )
                if request.digest() == NOTHING and request.key.kind == "user":
                    request = await self._with_history(request)
                    if not request.history:
                        return self._count(request, await self._unread(request, stored))
                prompt_input = await self._prompts.build(request)
        except TimeoutError as error:
            raise StoreUnavailable(
                "the profile store did not answer within the deadline"
            ) from error
        answer = await self._generated(request, prompt_input, stored, until)
        return self._count(request, answer)

    async def lookup(self, key: ProfileKey) -> ProfileAnswer:
        """Returns a stored profile without generating one.

        Raises:
            ProfileNotFound: There is none.
            StoreUnavailable: As the store does.
        """
        stored = codec.look(await self._store.get(key))
        if stored is None:
            raise ProfileNotFound(f"there is no {key.kind} profile under this id")
        if stored.version_digest == self._digest:
            return ProfileAnswer(stored, "cached", self._versions[self._digest])
        return await self._stale(key.tenant, stored)

    async def erase(self, key: ProfileKey) -> bool:
        """Erases a profile and all that it was made from; one being generated is not stored.

        Returns:
            Whether there was a profile.

        Raises:
            StoreUnavailable: As the stores do.
        """
        return await self._stores.erase(key)

    async def embeddings(self, keys: Sequence[ProfileKey]) -> list[Stored | None]:
        """Returns stored profiles in order, without generating any."""
        return [codec.look(value) for value in await self._store.get_many(keys)]

    async def drain(self, timeout_s: float) -> None:
        """Lets what is being generated finish."""
        await self._single_flight.drain(timeout_s)

    def _serves(self, stored: Stored, request: ProfileRequest) -> bool:
        """Returns whether a stored profile answers a request."""
        if request.refresh or not self._current(stored, request):
            return False
        digest = request.digest()
        return digest in {NOTHING, stored.request_digest}

    def _current(self, stored: Stored, request: ProfileRequest) -> bool:
        if stored.version_digest != self._digest:
            return False
        if request.max_age_s is None:
            return True
        return time.time() * 1000 - stored.created_ms <= request.max_age_s * 1000

    async def _with_history(self, request: ProfileRequest) -> ProfileRequest:
        """Returns a request with the history that the service has recorded of its user."""
        history = await self._interactions.history(
            request.key.tenant, request.key.id, limit=self._history_limit
        )
        return replace(request, history=tuple(history), stored=True)

    async def _unread(self, request: ProfileRequest, stored: Stored | None) -> ProfileAnswer:
        """Answers a request for a user of whom nothing can be read."""
        if stored is None or request.refresh:
            raise NothingToRead(
                "there is no profile under this id yet, and no `history` or interactions to make "
                "one from"
                if stored is None
                else "`refresh` needs a `history` or interactions to make the profile from"
            )
        return await self._stale(request.key.tenant, stored)

    async def _stale(self, tenant: str, stored: Stored) -> ProfileAnswer:
        version = self._versions.get(stored.version_digest)
        if version is None:
            version = await self._store.get_version(tenant, stored.version_digest)
            if version is None:
                raise ProfileNotFound("the profile's version is not known to the store any more")
            self._versions[stored.version_digest] = version
        return ProfileAnswer(stored, "stale", version)

    async def _generated(
        self,
        request: ProfileRequest,
        prompt_input: PromptInput,
        stored: Stored | None,
        until: float | None,
    ) -> ProfileAnswer:
        """Waits for a generation until the deadline, and falls back after it."""
        seen = stored.created_ms if stored else None
        # `background` is part of the key: other requests must not wait for its turn.
        key = (
            request.key,
            request.digest(),
            request.stored,
            request.refresh,
            request.background,
        )
        limit = self._max_waiting
        if request.background:
            limit = _background_share(limit)
        try:
            task = self._single_flight.join(
                key, lambda: self._generate(request, prompt_input, seen), limit=limit
            )
            timeout = None if until is None else until - asyncio.get_running_loop().time()
            done, _ = await asyncio.wait({task}, timeout=timeout)
            if done:
                return task.result()
        except (ModelUnavailable, MalformedGeneration, EncoderUnavailable, Overloaded) as error:
            if not request.fallback or (stored is None and not request.lenient):
                raise
            status = "degraded" if stored is None else "stale"
            LOGGER.warning(
                f"answering with a {status} profile", extra={"data": {"why": error.code}}
            )
        if stored is not None:
            return await self._stale(request.key.tenant, stored)
        try:
            async with asyncio.timeout(None if until is None else _DEGRADED_S):
                profile = await self._generator.finish(
                    request, prompt_input, prompt_input.degraded()
                )
        except TimeoutError as error:
            raise EncoderUnavailable(
                f"the encoder did not answer for a degraded profile within {_DEGRADED_S:g} s"
            ) from error
        return self._answer(codec.encode(profile), "degraded")

    async def _generate(
        self, request: ProfileRequest, prompt_input: PromptInput, seen: int | None
    ) -> ProfileAnswer:
        """Leads or follows until there is a profile."""
        try:
            async with asyncio.timeout(self._generation_timeout_s), self._turn(request):
                claim = await compete(
                    self._store, request.key, lambda value: self._is_result(value, request, seen)
                )
                if claim.lease is not None:
                    return await self._lead(claim.lease, claim.value, request, prompt_input)
                if claim.failure is not None:
                    failure = _LEADER_FAILURES.get(claim.failure, errors.ModelUnavailable)
                    raise failure("another process tried to generate this profile and failed")
                return self._answer(claim.value, "cached")
        except TimeoutError as error:
            raise ModelUnavailable(
                f"the profile was not generated within {self._generation_timeout_s:g} s"
            ) from error

    @contextlib.asynccontextmanager
    async def _turn(self, request: ProfileRequest) -> AsyncIterator[None]:
        """Makes a request in the background wait for its turn, before it takes a lease."""
        if not request.background:
            yield
            return
        async with self._in_background:
            yield

    def _is_result(self, value: bytes | None, request: ProfileRequest, seen: int | None) -> bool:
        """Returns whether a stored value answers a request that found the value of time `seen`."""
        stored = codec.look(value)
        if stored is None or not self._current(stored, request):
            return False
        if request.refresh and stored.created_ms == seen:
            return False
        return request.digest() in {NOTHING, stored.request_digest}

    async def _lead(
        self, lease: Lease, value: bytes | None, request: ProfileRequest, prompt_input: PromptInput
    ) -> ProfileAnswer:
        """Generates under a lease, and stores the result."""
        stored = codec.look(value)
        try:
            async with renewed(self._store, lease, self._lease_s / 3):
                request, prompt_input = await self._as_of_now(request, prompt_input)
                if stored is not None and self._unchanged(stored, request, prompt_input):
                    written, status = stored.rebound(request.digest()), "cached"
                else:
                    async with self._at_model:
                        profile = await self._generator.generate(request, prompt_input)
                    written, status = codec.encode(profile), "generated"
            await self._commit(lease, written)
        except NothingToRead:
            # Followers may have a history of their own: they are not given this failure.
            await self._give_up(lease, None)
            raise
        except ReclmError as error:
            await self._give_up(lease, error.code)
            raise
        except BaseException:
            await self._give_up(lease, None)
            raise
        return self._answer(written, "cached" if status == "cached" else "generated")

    async def _as_of_now(
        self, request: ProfileRequest, prompt_input: PromptInput
    ) -> tuple[ProfileRequest, PromptInput]:
        """Reads the stored history again, under the lease, and returns request and prompt input.

        An erasure before the lease was taken could not end the lease, but it has removed the
        interactions. An erasure after that ends the lease.

        Raises:
            NothingToRead: The user was erased since the request came.
        """
        if not request.stored:
            return request, prompt_input
        latest = await self._with_history(request)
        if not latest.history:
            raise NothingToRead("the user was erased while the profile waited to be made")
        if latest.history == request.history:
            return request, prompt_input
        return latest, await self._prompts.build(latest)

    def _unchanged(
        self, stored: Stored, request: ProfileRequest, prompt_input: PromptInput
    ) -> bool:
        """Returns whether the model would read exactly what a stored profile was made from."""
        return (
            not request.refresh
            and self._current(stored, request)
            and stored.input_hash == prompt_input.hash
        )

    async def _commit(self, lease: Lease, value: bytes) -> None:
        """Stores a value. A failure is logged, and those who wait get the answer all the same."""
        try:
            kept = await self._store.commit(lease, value, ttl_s=self._ttl_s, version=self._version)
        except StoreUnavailable as error:
            LOGGER.warning("a profile could not be stored", extra={"data": {"why": error.detail}})
        else:
            if not kept:
                LOGGER.info("a profile was not stored: its lease was lost")

    async def _give_up(self, lease: Lease, failure: str | None) -> None:
        try:
            await self._store.give_up(lease, failure)
        except StoreUnavailable as error:
            LOGGER.warning("a lease is left to run out", extra={"data": {"why": error.detail}})

    def _answer(self, value: bytes | None, status: Status) -> ProfileAnswer:
        stored = codec.look(value)
        if stored is None:
            raise StoreUnavailable("the profile store lost a profile that it had a moment ago")
        return ProfileAnswer(stored, status, self._versions[self._digest])

    def _count(self, request: ProfileRequest, answer: ProfileAnswer) -> ProfileAnswer:
        self._metrics.profiles.labels(request.key.kind, answer.status).inc()
        return answer
