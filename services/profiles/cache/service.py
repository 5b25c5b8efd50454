"""Profiles on demand: from the cache, from the model, or a substitute when time is up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from services.profiles.cache.answer import ProfileAnswer, fits, young
from services.profiles.cache.demand import Demand
from services.profiles.cache.front import Front
from services.profiles.cache.model_queue import ModelQueue, Ticket
from services.profiles.cache.neighbours import Neighbours
from services.profiles.cache.production import Job, Production, background_share
from services.profiles.cache.single_flight import SingleFlight
from services.profiles.domain.requests import NOTHING
from services.profiles.errors import (
    EncoderUnavailable,
    ItemWithdrawn,
    MalformedGeneration,
    ModelUnavailable,
    NothingToRead,
    Overloaded,
    ProfileErased,
    ProfileNotFound,
    ReclmError,
    StoreUnavailable,
)
from services.profiles.stores import codec
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.cache.catalogue_changes import CatalogueChanges
    from services.profiles.cache.demand import Gone
    from services.profiles.cache.versions import Versions
    from services.profiles.domain.profile import ProfileKey, ProfileVersion
    from services.profiles.domain.requests import ProfileRequest
    from services.profiles.generation.profile_generator import ProfileGenerator
    from services.profiles.generation.prompt_builder import PromptBuilder
    from services.profiles.stores.base import Stores
    from services.profiles.stores.codec import Stored
    from services.profiles.telemetry import Metrics

_READ_TOGETHER = 32
"""Requests that are read from the store at a time; fewer than it has connections by default."""

_READ_IN = 0.6
"""The share of a deadline within which a request must be read, or it is refused at once."""

_DEGRADED_S = 2.0
"""Limit for the encoding of a degraded profile, which is made after the deadline."""


class ProfileService:
    """Cache-aside with single-flight, limits, deadlines and fallbacks.

    Args:
        stores: Where profiles are kept, and the history of a user when a request brings none.
        history_limit: Most interactions of a user that are read.
        versions: The version of the profiles that this service generates, and the others.
        changes: Knows which items of the catalogue changed, and which are withdrawn.
        ttl_s: How long a profile is kept.
        stale_max_age_s: The oldest profile of another version that is an answer.
        lease_s: The lifetime of a lease, as in the stores.
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
        versions: Versions,
        changes: CatalogueChanges,
        ttl_s: int,
        stale_max_age_s: float,
        lease_s: float,
        generation_timeout_s: float,
        max_concurrent: int,
        max_waiting: int,
        metrics: Metrics,
    ) -> None:
        self._stores = stores
        self._store = stores.profiles
        self._prompts = prompts
        self._generator = generator
        self._versions = versions
        self._changes = changes
        self._stale_max_age_s = stale_max_age_s
        self._queue = ModelQueue(
            slots=max_concurrent, background_slots=background_share(max_concurrent)
        )
        self._front = Front(slots=_READ_TOGETHER)
        self._neighbours = Neighbours(stores.presence, self._queue)
        self._production = Production(
            store=stores.profiles,
            interactions=stores.interactions,
            history_limit=history_limit,
            prompts=prompts,
            generator=generator,
            versions=versions,
            changes=changes,
            ttl_s=ttl_s,
            lease_s=lease_s,
            timeout_s=generation_timeout_s,
            queue=self._queue,
            metrics=metrics,
        )
        self._demand = Demand(
            make=self._production.make,
            queue=self._queue,
            neighbours=self._neighbours,
            timeout_s=generation_timeout_s,
            max_waiting=max_waiting,
            metrics=metrics,
        )
        self._max_waiting = max_waiting
        self._renewals: SingleFlight[None] = SingleFlight()
        self._metrics = metrics

    @property
    def version(self) -> ProfileVersion:
        """The version of the profiles that this service generates."""
        return self._versions.own

    @property
    def online_wait_s(self) -> float:
        """What people have waited for the model of late, in seconds; 0 if nobody came for a while."""
        return self._queue.online_wait_s

    async def profile(self, request: ProfileRequest, *, gone: Gone | None = None) -> ProfileAnswer:
        """Returns the profile asked for.

        A profile of another version is an answer too, as `stale`, while the new one is made behind
        it. Requests in the background wait for the new one. One that cannot be served by its
        deadline is answered at once, with what there is.

        Args:
            request: What is asked for.
            gone: Returns when the caller is gone. What nobody waits for then, and is not at the
                model yet, is not made.

        Raises:
            ItemWithdrawn: It is an item's, and the item is removed, hidden or expired.
            NothingToRead, UnknownItems: The request cannot be served as it stands.
            ProfileErased: The profile was erased while the request was under way.
            ModelUnavailable, MalformedGeneration, EncoderUnavailable, Overloaded: A profile
                could not be generated, and there is no older one to return instead.
            StoreUnavailable: As the store does, or the deadline passed before it answered.
            CallerGone: Nobody is there any more to take an answer.
        """
        loop = asyncio.get_running_loop()
        until = None if request.deadline_s is None else loop.time() + request.deadline_s
        self._refuse_withdrawn(request.key)
        if request.deadline_s is not None:
            self._check_front(request.deadline_s)
        try:
            async with asyncio.timeout_at(until), self._front:
                value = await self._store.get(request.key)
                stored, epoch = codec.look(value), codec.epoch_of(value)
                if request.epoch not in {None, epoch}:
                    raise ProfileErased
                if stored is not None and not request.refresh and fits(stored, request):
                    answer = await self._kept(request, stored, epoch)
                    if answer is not None:
                        return self._count(request, answer)
                if request.digest() == NOTHING and request.key.kind == "user":
                    request = await self._production.with_history(request)
                    if not request.history:
                        return self._count(request, await self._unread(request, stored))
                material = await self._prompts.collect(request)
        except TimeoutError as error:
            if self._front.expected_s() > 0:
                raise Overloaded("the request could not be read by its deadline") from error
            raise StoreUnavailable(
                "the profile store did not answer within the deadline"
            ) from error
        job = Job(request, material, stored, epoch, Ticket(background=request.background))
        return self._count(request, await self._generated(job, until, gone))

    async def lookup(self, key: ProfileKey) -> ProfileAnswer:
        """Returns a stored profile without generating one.

        Raises:
            ItemWithdrawn: It is an item's, and the item is removed, hidden or expired.
            ProfileNotFound: There is none.
            StoreUnavailable: As the store does.
        """
        self._refuse_withdrawn(key)
        answer, _ = await self.known(key)
        if answer is None:
            raise ProfileNotFound(f"there is no {key.kind} profile under this id")
        return answer

    async def known(self, key: ProfileKey) -> tuple[ProfileAnswer | None, int]:
        """Returns a stored profile, None if there is none, and the last erasure before now.

        The second is the `epoch` of a request that is made from what is read after this call.

        Raises:
            StoreUnavailable: As the store does.
        """
        value = await self._store.get(key)
        stored = codec.look(value)
        answer = None
        if stored is not None and self._valid(key, stored):
            answer = ProfileAnswer(stored, "cached", self._versions.document)
        elif stored is not None:
            answer = await self._stale(stored)
        return answer, codec.epoch_of(value)

    async def erase(self, key: ProfileKey) -> bool:
        """Erases a profile and all that it was made from.

        What is being generated, or waits for it, is not stored afterwards, in any process.

        Returns:
            Whether there was a profile.

        Raises:
            StoreUnavailable: As the stores do.
        """
        return await self._stores.erase(key)

    async def embeddings(self, keys: Sequence[ProfileKey]) -> list[Stored | None]:
        """Returns stored profiles in order, without generating any; none of withdrawn items."""
        values = await self._store.get_many(keys)
        return [
            None if self._is_withdrawn(key) else codec.look(value)
            for key, value in zip(keys, values, strict=True)
        ]

    async def drain(self, timeout_s: float) -> None:
        """Lets what is being generated finish."""
        await asyncio.gather(self._demand.drain(timeout_s), self._renewals.drain(timeout_s))
        await asyncio.gather(self._production.drain(), self._neighbours.drain())

    def _check_front(self, deadline_s: float) -> None:
        """Refuses a request that would hardly be read by its deadline.

        Raises:
            Overloaded: With the time after which those who are here now have been answered.
        """
        expected = self._front.expected_s()
        if expected > _READ_IN * deadline_s:
            self._metrics.admissions.labels("refused").inc()
            error = Overloaded("more requests arrive than this worker can read in their time")
            error.retry_after = expected
            raise error

    async def _kept(
        self, request: ProfileRequest, stored: Stored, epoch: int
    ) -> ProfileAnswer | None:
        """Returns a stored profile if it is an answer, whatever its version."""
        if stored.version_digest == self._versions.digest:
            named = request.names_input
            if self._changes.currency(stored, request.key, named=named) != "current":
                return None
            return ProfileAnswer(stored, "cached", self._versions.document)
        if not young(stored, self._stale_max_age_s):
            return None
        document = await self._versions.document_of(stored.version_digest)
        if document is None:
            return None
        if not await self._versions.newer(stored.version_digest):
            if request.background or not request.fallback:
                return None
            self._renew(request, stored, epoch)
        return ProfileAnswer(stored, "stale", document)

    def _renew(self, request: ProfileRequest, stored: Stored, epoch: int) -> None:
        """Has a profile made behind the answer."""
        later = replace(request, background=True, deadline_s=None, fallback=False)
        try:
            self._renewals.join(
                (request.key, request.digest(), epoch),
                lambda: self._renewed(later, stored, epoch),
                limit=background_share(self._max_waiting),
            )
        except Overloaded as error:
            LOGGER.info("a profile stays outdated", extra={"data": {"why": error.detail}})

    async def _renewed(self, request: ProfileRequest, stored: Stored, epoch: int) -> None:
        try:
            if request.digest() == NOTHING and request.key.kind == "user":
                request = await self._production.with_history(request)
                if not request.history:
                    return
            material = await self._prompts.collect(request)
            self._generator.refuse()
            ticket = Ticket(background=True)
            self._neighbours.came(request.key.tenant, background=True)
            await self._production.make(Job(request, material, stored, epoch, ticket))
        except ReclmError as error:
            LOGGER.warning("a profile stays outdated", extra={"data": {"why": error.detail}})

    async def _unread(self, request: ProfileRequest, stored: Stored | None) -> ProfileAnswer:
        """Answers a request for a user of whom nothing can be read."""
        if stored is None or request.refresh:
            raise NothingToRead(
                "there is no profile under this id yet, and no `history` or interactions to make "
                "one from"
                if stored is None
                else "`refresh` needs a `history` or interactions to make the profile from"
            )
        if fits(stored, request) and self._valid(request.key, stored):
            return ProfileAnswer(stored, "cached", self._versions.document)
        return await self._stale(stored)

    def _valid(self, key: ProfileKey, stored: Stored) -> bool:
        """Returns whether nothing is known that a profile does not say yet."""
        return (
            stored.version_digest == self._versions.digest
            and self._changes.currency(stored, key, named=False) != "changed"
        )

    def _is_withdrawn(self, key: ProfileKey) -> bool:
        return key.kind == "item" and self._changes.withdrawn(key.id)

    def _refuse_withdrawn(self, key: ProfileKey) -> None:
        if self._is_withdrawn(key):
            raise ItemWithdrawn(
                "the item is withdrawn: it was removed from the catalogue, is hidden or has expired"
            )

    async def _stale(self, stored: Stored) -> ProfileAnswer:
        version = await self._versions.document_of(stored.version_digest)
        if version is None:
            raise ProfileNotFound("the profile's version is not known to the store any more")
        return ProfileAnswer(stored, "stale", version)

    async def _generated(self, job: Job, until: float | None, gone: Gone | None) -> ProfileAnswer:
        """Waits for a generation if it is expected in time, and falls back otherwise."""
        request, stored = job.request, job.stored
        try:
            self._generator.refuse()
            answer = await self._demand.answer(job, until=until, gone=gone)
            if answer is not None:
                return answer
        except (
            ModelUnavailable,
            MalformedGeneration,
            EncoderUnavailable,
            Overloaded,
            StoreUnavailable,
        ) as error:
            degradable = request.lenient or until is not None
            if isinstance(error, StoreUnavailable):
                # The real one could not follow, and the caller is to know of it.
                degradable = False
            if not request.fallback or (stored is None and not degradable):
                raise
            status = "degraded" if stored is None else "stale"
            LOGGER.warning(
                f"answering with a {status} profile", extra={"data": {"why": error.code}}
            )
        if stored is not None:
            return await self._stale(stored)
        try:
            async with asyncio.timeout(None if until is None else _DEGRADED_S):
                profile = await self._generator.degraded(request, job.material)
        except TimeoutError as error:
            raise EncoderUnavailable(
                f"the encoder did not answer for a degraded profile within {_DEGRADED_S:g} s"
            ) from error
        degraded = codec.look(codec.encode(profile))
        assert degraded is not None  # noqa: S101 - it was encoded here
        return ProfileAnswer(degraded, "degraded", self._versions.document)

    def _count(self, request: ProfileRequest, answer: ProfileAnswer) -> ProfileAnswer:
        self._metrics.profiles.labels(request.key.kind, answer.status).inc()
        return answer
