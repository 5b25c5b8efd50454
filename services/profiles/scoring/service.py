"""Scores on demand: collects what is known of a user, and ranks items."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from pydantic_core import from_json

from reclm_client.schemas import adapter
from reclm_client.schemas.score import Score
from services.profiles.domain.profile import Item, ProfileKey, canonical_hash
from services.profiles.domain.requests import ProfileRequest
from services.profiles.errors import (
    EncoderUnavailable,
    NothingToRead,
    Overloaded,
    ProfileErased,
    ProfileNotFound,
    StoreUnavailable,
)
from services.profiles.scoring import matching
from services.profiles.scoring.values import Interests, Question
from services.profiles.scoring.withdrawn import WithdrawnRows
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from reclm_client.schemas.score import ScoreRequest
    from services.profiles.cache.answer import ProfileAnswer
    from services.profiles.cache.catalogue_changes import CatalogueChanges
    from services.profiles.cache.demand import Gone
    from services.profiles.cache.service import ProfileService
    from services.profiles.scoring.phrases import Phrases
    from services.profiles.scoring.registry import Registry
    from services.profiles.scoring.scorer import Scorer
    from services.profiles.scoring.values import Ranking
    from services.profiles.stores.base import Erasures, Interactions
    from services.profiles.telemetry import Metrics

_RESERVE_S = 0.02
"""The part of a deadline that is kept for ranking when a profile is waited for."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the stores have of a user. An erasure may lie between the reads.

    Attributes:
        profile: The stored profile, if it can be used.
        epoch: The last erasure before the profile was read; None if nothing was read.
        events: Item ids, oldest first.
        erased_ms: When the user was last erased, in Unix milliseconds; 0 for never, or not asked.
    """

    profile: ProfileAnswer | None
    epoch: int | None
    events: list[str]
    erased_ms: int


class ScoringService:
    """Answers requests for scores, each by one scorer from beginning to end.

    Args:
        max_history: Most interactions that are read, and most that a profile is made from.
        anonymous_ttl_s: How long a profile is kept of a history without a user.
        threads: Rankings that are not quick computed at a time, in code that releases the GIL.
        max_waiting: Most rankings that are computed or wait for a thread; beyond that, Overloaded.
        changes: Knows which items are withdrawn.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        profiles: ProfileService,
        interactions: Interactions,
        erasures: Erasures,
        phrases: Phrases,
        tenant: str,
        max_history: int,
        anonymous_ttl_s: int,
        threads: int,
        max_waiting: int,
        changes: CatalogueChanges,
        metrics: Metrics,
    ) -> None:
        self._registry = registry
        self._changes = changes
        self._withdrawn: WeakKeyDictionary[Scorer, WithdrawnRows] = WeakKeyDictionary()
        self._profiles = profiles
        self._interactions = interactions
        self._erasures = erasures
        self._phrases = phrases
        self._tenant = tenant
        self._max_history = max_history
        self._anonymous_ttl_s = anonymous_ttl_s
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="score")
        self._max_waiting = max_waiting
        self._waiting = 0
        self._same_encoder: dict[bytes, bool] = {}
        self._metrics = metrics

    async def aclose(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(wait=False)

    async def score(self, request: ScoreRequest) -> Score:
        """Returns the best items for a user. Raises what `document` raises."""
        score, profile = await self._score(request)
        return (
            score if profile is None else replace(score, profile=profile.profile(embedding=False))
        )

    async def document(self, request: ScoreRequest, *, gone: Gone | None = None) -> bytes:
        """Returns the JSON of the same; the profile's goes in as it is stored.

        Args:
            request: What is asked for.
            gone: Returns when the caller is gone.

        Raises:
            NoScorer: As the registry does.
            MismatchedBundle: The bundle reads vectors of another size than the profile's.
            EncoderUnavailable: A degraded profile is needed, but cannot be encoded.
            StoreUnavailable: As the stores do, or the deadline passed before they answered.
            Overloaded: Too many are waiting.
            CallerGone: Nobody is there any more to take an answer.
        """
        score, profile = await self._score(request, gone)
        written = adapter(Score).dump_json(score)
        if profile is None:
            return written
        # The first place is the member itself: quotes inside of earlier strings are escaped.
        return written.replace(
            b'"profile":null', b'"profile":' + profile.document(embedding=False), 1
        )

    async def _score(
        self, request: ScoreRequest, gone: Gone | None = None
    ) -> tuple[Score, ProfileAnswer | None]:
        """Returns a score without its profile, and the profile."""
        scorer = self._registry.current()
        bundle = scorer.bundle
        loop = asyncio.get_running_loop()
        until = None if request.deadline_ms is None else loop.time() + request.deadline_ms / 1000
        user = None if request.user_id is None else bundle.user_rows.get(request.user_id)
        known = await self._stored(request.user_id, until, trained=user is not None)
        profile, epoch, events = known.profile, known.epoch, known.events
        if known.erased_ms > (bundle.manifest.erasures_as_of or 0):
            # Who was erased since the export is somebody new, whatever the bundle has.
            user = None

        ignored: dict[str, None] = {}
        clicks = dict.fromkeys(_rows(bundle.item_rows, events, ignored))
        clicks.update(dict.fromkeys(_rows(bundle.item_rows, _ids(request.history), ignored)))
        candidates = request.candidates
        candidate_rows = None
        if candidates is not None:
            hidden = dict.fromkeys(id_ for id_ in candidates if self._changes.withdrawn(id_))
            ignored.update(hidden)
            shown = [id_ for id_ in candidates if id_ not in hidden] if hidden else candidates
            candidate_rows = _rows(bundle.item_rows, shown, ignored)

        if not scorer.reads_profiles:
            profile = None
        elif profile is None and not (user is not None and _nothing_new(scorer, user, clicks)):
            profile = await self._made(request, events, epoch, until, gone)
        interests = None
        vector = None
        if profile is not None:
            vector = profile.stored.vector.astype(np.float32)
            matching.check_vector(bundle.manifest, len(vector))
            if request.reasons:
                interests = await self._interests(profile, until)
                if interests is not None:
                    matching.check_vector(bundle.manifest, interests.vectors.shape[1])

        question = Question(
            user=user,
            clicks=list(clicks),
            profile=vector,
            interests=interests,
            exclude=_rows(bundle.item_rows, request.exclude, {}),
            candidates=candidate_rows,
            k=request.k,
            reasons=request.reasons,
            withdrawn=self._withdrawn_rows(scorer),
        )
        ranking = await self._ranked(scorer, question)
        self._metrics.scores.labels(ranking.known_by).inc()
        score = Score(
            scorer=scorer.name,
            user_id=request.user_id,
            known_by=ranking.known_by,
            profile=None,
            ignored=tuple(ignored),
            items=tuple(ranking.items),
            scorer_content=bundle.content,
        )
        return score, profile

    def _withdrawn_rows(self, scorer: Scorer) -> NDArray[np.intp]:
        """Returns the rows of a scorer's items that are withdrawn now."""
        rows = self._withdrawn.get(scorer)
        if rows is None:
            rows = self._withdrawn[scorer] = WithdrawnRows(scorer.bundle.item_rows)
            self._changes.add_follower(rows)
        return rows.now()

    async def _ranked(self, scorer: Scorer, question: Question) -> Ranking:
        """Ranks at once if that is quick, else in a thread."""
        if scorer.quick(question):
            # A row of a batch for which nothing is stored has not awaited anything yet.
            await asyncio.sleep(0)
            return scorer.rank(question)
        if self._waiting >= self._max_waiting:
            raise Overloaded(f"{self._waiting} scores are being computed or wait for it")
        self._waiting += 1
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, scorer.rank, question)
        finally:
            self._waiting -= 1

    async def _stored(self, user_id: str | None, until: float | None, *, trained: bool) -> _Known:
        """Returns what the stores have of a user, read concurrently.

        Args:
            user_id: None for nobody.
            until: The deadline, on the loop's clock.
            trained: The bundle has the user, so that it matters whether the user was erased.
        """
        if user_id is None:
            return _Known(None, None, [], 0)
        try:
            async with asyncio.timeout_at(until):
                (profile, epoch), events, erased_ms = await asyncio.gather(
                    self._profile(user_id),
                    self._interactions.history(self._tenant, user_id, limit=self._max_history),
                    self._erased_ms(user_id if trained else None),
                )
        except TimeoutError as error:
            raise StoreUnavailable("the store did not answer within the deadline") from error
        return _Known(profile, epoch, events, erased_ms)

    async def _erased_ms(self, user_id: str | None) -> int:
        if user_id is None:
            return 0
        (at_ms,) = await self._erasures.erased_at(self._tenant, [user_id])
        return at_ms or 0

    async def _profile(self, user_id: str) -> tuple[ProfileAnswer | None, int]:
        key = ProfileKey(self._tenant, "user", user_id)
        try:
            found, epoch = await self._profiles.known(key)
        except ProfileNotFound:
            found, epoch = None, 0
        return (found if found is not None and self._readable(found) else None), epoch

    async def _made(
        self,
        request: ScoreRequest,
        events: Sequence[str],
        epoch: int | None,
        until: float | None,
        gone: Gone | None,
    ) -> ProfileAnswer | None:
        """Returns a new or degraded profile; None if there is nothing to make one from."""
        if events:
            # Again, now that the epoch is known: what was read before it may be of before an erasure.
            events = await self._interactions.history(
                self._tenant, request.user_id or "", limit=self._max_history
            )
        named = set(_ids(request.history))
        earlier = [id_ for id_ in events if id_ not in named]
        history = (*earlier, *request.history)[-self._max_history :]
        if not history:
            return None
        deadline_s = None
        if until is not None:
            left = until - asyncio.get_running_loop().time() - _RESERVE_S
            deadline_s = max(left, 0.001)
        user_id = request.user_id
        key = ProfileKey(self._tenant, "user", _anonymous(history) if user_id is None else user_id)
        try:
            made = await self._profiles.profile(
                ProfileRequest(
                    key=key,
                    history=history,
                    deadline_s=deadline_s,
                    lenient=True,
                    epoch=epoch,
                    ttl_s=self._anonymous_ttl_s if user_id is None else None,
                ),
                gone=gone,
            )
        except (NothingToRead, ProfileErased):
            return None
        return made if self._readable(made) else None

    def _readable(self, profile: ProfileAnswer) -> bool:
        """Returns whether a profile's vector was made with the service's encoder."""
        digest = profile.stored.version_digest
        if digest not in self._same_encoder:
            encoder = self._profiles.version.encoder
            named = {"name": encoder.name, "hash": encoder.hash}
            self._same_encoder[digest] = from_json(profile.version)["encoder"] == named
        return self._same_encoder[digest]

    async def _interests(self, profile: ProfileAnswer, until: float | None) -> Interests | None:
        """Returns the vectors of a profile's interests; None if the encoder fails or is late."""
        phrases: list[str] = from_json(b"{" + profile.stored.fragment + b"}")["interests"]
        try:
            async with asyncio.timeout_at(until):
                return Interests(phrases, await self._phrases.vectors(phrases))
        except EncoderUnavailable as error:
            why = error.detail
        except TimeoutError:
            why = "the encoder did not answer within the deadline"
        LOGGER.warning("reasons without interests", extra={"data": {"why": why}})
        return None


def _ids(history: Sequence[str | Item]) -> list[str]:
    """Returns the ids in a history; inline items may have none."""
    ids = (entry.id if isinstance(entry, Item) else entry for entry in history)
    return [id_ for id_ in ids if id_]


def _rows(rows: dict[str, int], ids: Sequence[str], ignored: dict[str, None]) -> list[int]:
    """Returns the rows of the ids that have one, and adds the others to `ignored`."""
    found = []
    for id_ in ids:
        row = rows.get(id_)
        if row is None:
            ignored[id_] = None
        else:
            found.append(row)
    return found


def _nothing_new(scorer: Scorer, user: int, clicks: dict[int, None]) -> bool:
    """Returns whether the training data holds all that is known of a user."""
    return not clicks or clicks.keys() <= set(scorer.bundle.seen(user).tolist())


def _anonymous(history: Sequence[str | Item]) -> str:
    """Returns an id made from a history, so that the same clicks share one profile."""
    parts: list[str] = []
    for entry in history:
        if isinstance(entry, str):
            parts += ["id", entry]
        else:
            parts += ["item", entry.id, entry.title, entry.category, entry.description]
    return f"anonymous:{canonical_hash(parts, size=16).hex()}"
