"""Makes profiles, one process at a time for each: leads under a lease, or follows who leads.

A process takes a lease only with a place at the model. So the leases of a process are as many as
its prompts at the model, and not as many as wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from services.profiles.cache.answer import ProfileAnswer, fits, young
from services.profiles.cache.model_queue import PutOff, Ticket
from services.profiles.cache.single_flight import Leases
from services.profiles.errors import (
    EncoderRefused,
    EncoderUnavailable,
    InvalidInput,
    MalformedGeneration,
    ModelRefused,
    ModelUnavailable,
    NothingToRead,
    NotReplicated,
    Overloaded,
    ProfileErased,
    ReclmError,
    StoreUnavailable,
)
from services.profiles.stores import codec
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from services.profiles.cache.catalogue_changes import CatalogueChanges
    from services.profiles.cache.model_queue import ModelQueue
    from services.profiles.cache.versions import Versions
    from services.profiles.domain.requests import ProfileRequest
    from services.profiles.generation.profile_generator import ProfileGenerator
    from services.profiles.generation.prompt_builder import Material, PromptBuilder, PromptInput
    from services.profiles.stores.base import Claim, Interactions, Lease, ProfileStore
    from services.profiles.stores.codec import Stored
    from services.profiles.telemetry import Metrics

_POLL_S = 0.03

_LEADER_FAILURES: dict[str, type[ReclmError]] = {
    kind.code: kind
    for kind in (
        InvalidInput,
        Overloaded,
        ModelUnavailable,
        ModelRefused,
        MalformedGeneration,
        EncoderUnavailable,
        EncoderRefused,
    )
}
"""What the others are told that followed the leader. All else may be different for each of them."""


def background_share(limit: int) -> int:
    """Returns the part of a limit that requests in the background may use."""
    return max(1, limit * 3 // 4)


@dataclass(frozen=True, slots=True)
class Job:
    """A profile to make.

    Attributes:
        request: What was asked for, with its history.
        material: What the request refers to.
        stored: The profile that the request found, if any.
        epoch: The last erasure that was known when the request came.
        ticket: Its place in the queue of the model.
    """

    request: ProfileRequest
    material: Material
    stored: Stored | None
    epoch: int
    ticket: Ticket = field(default_factory=lambda: Ticket(background=False))

    @property
    def prompt_input(self) -> PromptInput:
        """What the model is to read."""
        return self.material.prompt_input


class Production:
    """Makes profiles, and stores them unless they were erased or overtaken meanwhile.

    Args:
        store: Where profiles and leases are.
        interactions: The histories that requests did not bring.
        history_limit: Most interactions of a user that are read.
        prompts: Makes what the model reads.
        generator: Asks the model.
        versions: The version that is made, and the others.
        changes: Knows which items of the catalogue changed.
        ttl_s: How long a profile is kept.
        lease_s: The lifetime of a lease, as in the store; leases are renewed three times in it.
        timeout_s: Limit for a whole generation, with waiting and retries.
        queue: Of the model.
    """

    def __init__(
        self,
        *,
        store: ProfileStore,
        interactions: Interactions,
        history_limit: int,
        prompts: PromptBuilder,
        generator: ProfileGenerator,
        versions: Versions,
        changes: CatalogueChanges,
        ttl_s: int,
        lease_s: float,
        timeout_s: float,
        queue: ModelQueue,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._interactions = interactions
        self._history_limit = history_limit
        self._prompts = prompts
        self._generator = generator
        self._versions = versions
        self._changes = changes
        self._ttl_s = ttl_s
        self._leases = Leases(store, every_s=lease_s / 3)
        self._timeout_s = timeout_s
        self._queue = queue
        self._metrics = metrics

    async def drain(self) -> None:
        """Waits until no lease is renewed any more; called when nothing is made any more."""
        await self._leases.drain()

    async def with_history(self, request: ProfileRequest) -> ProfileRequest:
        """Returns a request with the history that the service has recorded of its user."""
        history = await self._interactions.history(
            request.key.tenant, request.key.id, limit=self._history_limit
        )
        return replace(request, history=tuple(history), stored=True)

    async def make(self, job: Job) -> ProfileAnswer:
        """Leads or follows until there is a profile.

        Raises:
            ProfileErased: The profile was erased since the request came.
            NothingToRead: The history that was recorded of the user is gone.
            ModelUnavailable, MalformedGeneration, EncoderUnavailable, Overloaded: As the generator
                does, here or in the process that led.
            StoreUnavailable: As the store does.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._compete(job)
        except TimeoutError as error:
            raise ModelUnavailable(
                f"the profile was not generated within {self._timeout_s:g} s"
            ) from error

    async def _compete(self, job: Job) -> ProfileAnswer:
        """Waits until this process leads, or another one has a result."""
        key = job.request.key
        needs_model = not self._unchanged(job)
        while True:
            if needs_model and self._queue.would_wait(job.ticket):
                claim = await self._store.peek(key)
                result = await self._result(claim, job)
                if result is not None:
                    return result
                if claim.held:
                    await _pause()
                    continue
            try:
                async with self._place(job) if needs_model else contextlib.nullcontext():
                    claim = await self._store.acquire(key)
                    if claim.lease is not None:
                        return await self._lead(claim.lease, claim, job)
            except PutOff:
                self._metrics.put_off.inc()
                continue
            result = await self._result(claim, job)
            if result is not None:
                return result
            await _pause()

    def _place(self, job: Job) -> contextlib.AbstractAsyncContextManager[None]:
        return self._queue.place(job.ticket)

    async def _result(self, claim: Claim, job: Job) -> ProfileAnswer | None:
        """Returns the profile that another process has stored; None if there is none yet.

        Raises:
            ProfileErased: The profile was erased since the request came.
            ReclmError: What the other process failed with.
        """
        if claim.value is not None and codec.epoch_of(claim.value) != job.epoch:
            raise ProfileErased
        if claim.failure is not None:
            failure = _LEADER_FAILURES.get(claim.failure, ModelUnavailable)
            raise failure("another process tried to generate this profile and failed")
        stored, before = codec.look(claim.value), job.stored
        if stored is None or not fits(stored, job.request):
            return None
        if job.request.refresh and before is not None and stored.created_ms == before.created_ms:
            return None
        if stored.version_digest == self._versions.digest:
            named = job.request.names_input
            if self._changes.currency(stored, job.request.key, named=named) != "current":
                return None
            return ProfileAnswer(stored, "cached", self._versions.document)
        document = await self._versions.document_of(stored.version_digest)
        if document is None or not await self._versions.newer(stored.version_digest):
            return None
        return ProfileAnswer(stored, "stale", document)

    async def _lead(self, lease: Lease, claim: Claim, job: Job) -> ProfileAnswer:
        """Generates under a lease, and stores the result."""
        try:
            with self._leases.kept(lease):
                # Another leader may have stored it between the first read and this claim.
                result = await self._result(claim, job)
                if result is not None:
                    await self._give_up(lease, None)
                    return result
                written, status = await self._written(
                    replace(job, stored=codec.look(claim.value)), placed=not self._unchanged(job)
                )
                await self._commit(lease, written, job.request.ttl_s)
        except (NothingToRead, ProfileErased):
            # Followers may have a history of their own: they are not given this failure.
            await self._give_up(lease, None)
            raise
        except ReclmError as error:
            await self._give_up(lease, error.code)
            raise
        except BaseException:
            await self._give_up(lease, None)
            raise
        stored = codec.look(written)
        assert stored is not None  # noqa: S101 - it was written above
        return ProfileAnswer(stored, status, self._versions.document)

    async def _written(
        self, job: Job, *, placed: bool
    ) -> tuple[bytes, Literal["cached", "generated"]]:
        """Returns the value to store, and whether the model wrote it.

        Args:
            job: With the profile that is stored now.
            placed: Whether there is a place at the model for it.
        """
        job = await self._as_of_now(job)
        if job.stored is not None and self._unchanged(job):
            digest, read = job.request.digest(), job.prompt_input
            return job.stored.rebound(digest, stamp=read.stamp, marks=read.marks), "cached"
        async with contextlib.nullcontext() if placed else self._place(job):
            # What the model has written is not given up any more, also while it is encoded.
            words = await job.ticket.interruptible(
                self._generator.write(job.request, job.prompt_input)
            )
            profile = await self._generator.finish(job.request, job.prompt_input, words)
        return codec.encode(profile, epoch=job.epoch), "generated"

    async def _as_of_now(self, job: Job) -> Job:
        """Reads the stored history again, under the lease.

        Raises:
            NothingToRead: The user's interactions are gone since the request came.
        """
        if not job.request.stored:
            return job
        latest = await self.with_history(job.request)
        if not latest.history:
            raise NothingToRead("the user's interactions are gone since the request came")
        if latest.history == job.request.history:
            return job
        return replace(job, request=latest, material=await self._prompts.collect(latest))

    def _unchanged(self, job: Job) -> bool:
        """Returns whether the model would read exactly what a stored profile was made from."""
        return (
            job.stored is not None
            and not job.request.refresh
            and job.stored.version_digest == self._versions.digest
            and young(job.stored, job.request.max_age_s)
            and job.stored.input_hash == job.prompt_input.hash
        )

    async def _commit(self, lease: Lease, value: bytes, ttl_s: int | None) -> None:
        """Stores a value. What else hinders it is logged and counted: callers get their answer.

        Raises:
            NotReplicated: The deployment asks for replicas, and they have not confirmed it.
        """
        try:
            outcome = await self._store.commit(
                lease,
                value,
                ttl_s=min(self._ttl_s, ttl_s or self._ttl_s),
                version=self._versions.own,
            )
        except NotReplicated:
            raise
        except StoreUnavailable as error:
            self._metrics.commits.labels("failed").inc()
            LOGGER.warning("a profile could not be stored", extra={"data": {"why": error.detail}})
            return
        self._metrics.commits.labels(outcome).inc()
        if outcome != "stored":
            LOGGER.info("a profile was not stored", extra={"data": {"why": outcome}})

    async def _give_up(self, lease: Lease, failure: str | None) -> None:
        try:
            await self._store.give_up(lease, failure)
        except StoreUnavailable as error:
            LOGGER.warning("a lease is left to run out", extra={"data": {"why": error.detail}})


async def _pause() -> None:
    await asyncio.sleep(_POLL_S * random.uniform(0.7, 1.3))  # noqa: S311 - jitter
