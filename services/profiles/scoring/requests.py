"""A request for scores and its answer, as the service has them: free of HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic_core import to_json

from services.profiles.domain.profile import Item

if TYPE_CHECKING:
    from services.profiles.cache.service import ProfileAnswer
    from services.profiles.scoring.values import Ranking


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Whom to find items for.

    Attributes:
        user_id: Of a user that is known, or will be; None for somebody without an id.
        history: Catalogue ids or inline items, oldest first, besides what is stored.
        candidates: Ids of all items that may be returned; None for every item.
        exclude: Ids of items not to return.
        deadline_s: Answer within this time, with a degraded profile if need be.
        reasons: Say for each item what carried it.
    """

    user_id: str | None = None
    history: tuple[str | Item, ...] = ()
    candidates: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    k: int = 20
    deadline_s: float | None = None
    reasons: bool = True

    def history_ids(self) -> list[str]:
        """Returns the ids in the history; inline items may have none."""
        ids = (entry.id if isinstance(entry, Item) else entry for entry in self.history)
        return [id_ for id_ in ids if id_]


@dataclass(frozen=True, slots=True)
class ScoreAnswer:
    """Items for a user, and what they were found by.

    Attributes:
        scorer: The bundle's name.
        profile: The profile that the scores are made with; None for none.
        ignored: Ids of the history, then of the candidates, that the bundle lacks.
        interests: Whether interests could be weighed, where reasons are wanted.
    """

    scorer: str
    user_id: str | None
    ranking: Ranking
    profile: ProfileAnswer | None
    ignored: list[str]
    reasons: bool
    interests: bool

    def document(self) -> bytes:
        """Returns the JSON that goes to the caller; the profile's goes in as it is stored."""
        profile = b"null" if self.profile is None else self.profile.document(embedding=False)
        return b"".join(
            (
                b'{"scorer":',
                to_json(self.scorer),
                b',"user_id":',
                to_json(self.user_id),
                b',"known_by":"',
                self.ranking.known_by.encode(),
                b'","profile":',
                profile,
                b',"ignored":',
                to_json(self.ignored),
                b',"items":',
                to_json([self._item(place) for place in range(len(self.ranking.items))]),
                b"}",
            )
        )

    def _item(self, place: int) -> dict[str, object]:
        item = self.ranking.items[place]
        reasons = None
        if self.reasons:
            reasons = {
                "history": [
                    {"item_id": past.name, "contribution": past.value} for past in item.history
                ],
                "interests": [
                    {"phrase": interest.name, "contribution": interest.value}
                    for interest in item.interests
                ]
                if self.interests
                else None,
            }
        return {"item_id": item.item_id, "score": item.score, "reasons": reasons}
