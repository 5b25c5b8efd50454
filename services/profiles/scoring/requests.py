"""A request for scores and its answer, independent of HTTP."""

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
    """The user to find items for.

    Attributes:
        user_id: The user's id; None for a user without one.
        history: Catalogue ids or inline items, oldest first, besides what is stored.
        candidates: Ids of the items that may be returned; None for all items.
        exclude: Ids of items that must not be returned.
        deadline_s: Answer within this time, with a degraded profile if necessary.
        reasons: Give the reasons for each item.
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
    """Items for a user, and what the scores are based on.

    Attributes:
        scorer: The bundle's name.
        profile: The profile that the scores are computed with; None for none.
        ignored: Ids of the history, then of the candidates, that the bundle lacks.
        interests: Whether the contributions of interests are known, if reasons are asked for.
    """

    scorer: str
    user_id: str | None
    ranking: Ranking
    profile: ProfileAnswer | None
    ignored: list[str]
    reasons: bool
    interests: bool

    def document(self) -> bytes:
        """Returns the JSON for the caller, which contains the profile's stored JSON."""
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
