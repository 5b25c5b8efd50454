"""Reads the answers of the service strictly: what is not well formed is Malformed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import to_json

from reclm_client.schemas import adapter
from reclm_client.schemas.embedding import EmbeddingRows
from reclm_client.schemas.event import Accepted, Interactions
from reclm_client.schemas.profile import Profile
from reclm_client.schemas.score import Score
from services.profiles.domain.profile import PHRASES, ProfileText
from services.profiles.generation.grammar import is_phrase
from tests.chaos.subjects import Content
from tests.chaos.words import read

if TYPE_CHECKING:
    from tests.chaos.history import Call

_OVERLOADED = {429, 503}
ALLOWED: Mapping[str, frozenset[int]] = {
    operation: frozenset(statuses | _OVERLOADED)
    for operation, statuses in {
        "profile": {200, 409, 502},
        "profile by id": {200, 409, 422, 502},
        "read": {200, 404},
        "erase": {204},
        "event": {202, 422},
        "events": {200},
        "score": {200, 409},
        "embeddings": {200},
        "put item": {200},
        "get item": {200, 404},
        "activate": {200, 409},
    }.items()
}
"""The statuses that each operation may have, whatever is wrong with the stack."""

REFUSED = frozenset({400, 404, 405, 408, 411, 413, 415, 422, 431})
"""What else a request may be answered with that was damaged on its way to the service."""

PROBLEM = "application/problem+json"
LONGEST_RETRY_S = 600
"""More than this is no answer to when one may come back."""

BundleScores = Mapping[str, Mapping[str, float]]
"""The score of each item, by how the user is known."""


class Malformed(Exception):
    """An answer is not what the documentation says."""


@dataclass(frozen=True, slots=True)
class ProfileSeen:
    """A well-formed profile.

    Attributes:
        model: The name of the version's base model.
        written_of: What the words say they are about; None for words of another origin.
        written_by: The model that the words name.
        written_at: When the words say that they were written, in seconds of the monotonic clock.
    """

    kind: str
    id: str
    status: str
    model: str
    input_hash: str
    vector: tuple[float, ...] | None
    written_of: Content | None
    written_by: str
    written_at: float | None


@dataclass(frozen=True, slots=True)
class ScoreSeen:
    """A well-formed score, whose numbers are those of its bundle."""

    scorer: str
    known_by: str
    profile: ProfileSeen | None


def profile(answer: Any) -> ProfileSeen:
    """Reads a profile.

    Raises:
        Malformed: It is none.
    """
    return _seen(_as(Profile, answer))


def score(call: Call, user_id: str, bundles: Mapping[str, BundleScores]) -> ScoreSeen:
    """Reads a score, and compares its numbers with those of the bundle that it names.

    Raises:
        Malformed: It is none, or of another user, or has the numbers of another bundle.
    """
    read_ = _as(Score, call.answer)
    if read_.user_id != user_id:
        raise Malformed(f"a score of {read_.user_id!r}")
    scores = bundles.get(read_.scorer, {}).get(read_.known_by)
    if scores is None:
        raise Malformed(f"a score by {read_.scorer!r}, known by {read_.known_by}")
    for item in read_.items:
        if abs(scores.get(item.item_id, float("nan")) - item.score) > 1e-3 or (
            item.item_id not in scores
        ):
            raise Malformed(f"{item.item_id} has {item.score}, which {read_.scorer} does not give")
    seen = None if read_.profile is None else _seen(read_.profile)
    return ScoreSeen(read_.scorer, read_.known_by, seen)


def events(call: Call, user_id: str) -> list[str]:
    """Reads the ids of the items of a user's interactions.

    Raises:
        Malformed: They are none, or of another user.
    """
    read_ = _as(Interactions, call.answer)
    if read_.user_id != user_id or any(event.user_id != user_id for event in read_.events):
        raise Malformed(f"interactions of {read_.user_id!r}")
    times = [event.timestamp for event in read_.events if event.timestamp is not None]
    if len(times) != len(read_.events) or times != sorted(times):
        raise Malformed("interactions that are not in the order of their times")
    return [event.item_id for event in read_.events]


def embeddings(call: Call, ids: Sequence[str]) -> list[tuple[float, ...] | None]:
    """Reads vectors, in the order of the ids.

    Raises:
        Malformed: They are of other ids, or one has another dimension.
    """
    read_ = _as(EmbeddingRows, call.answer)
    if [row.id for row in read_.rows] != list(ids):
        raise Malformed("vectors of other ids than were asked for")
    if any((row.vector is None) != (row.version is None) for row in read_.rows):
        raise Malformed("a vector without a version, or a version without a vector")
    vectors = [None if row.vector is None else tuple(row.vector) for row in read_.rows]
    if any(vector is not None and len(vector) != read_.dimension for vector in vectors):
        raise Malformed("vectors of different dimensions")
    return vectors


def accepted(call: Call) -> bool:
    """Reads whether one event was taken, or left out since it is from before an erasure.

    Raises:
        Malformed: The answer says something else.
    """
    read_ = _as(Accepted, call.answer)
    if (read_.events, read_.users) not in {(1, 1), (0, 0)}:
        raise Malformed(f"{call.answer} for one event")
    return read_.events == 1


def check_item(call: Call, sent: Mapping[str, str] | None) -> None:
    """Checks an item against what was sent; None if that is not known.

    Raises:
        Malformed: It has other members.
    """
    if sent is None:
        return
    answer = call.answer
    if not isinstance(answer, dict) or any(answer.get(name) != sent[name] for name in sent):
        raise Malformed(f"another item than {sent}")


def check_problem(call: Call) -> None:
    """Checks an error's document and headers.

    Raises:
        Malformed: It is no problem document, or does not say when to come back.
    """
    answer = call.answer
    if call.headers.get("content-type") != PROBLEM or not isinstance(answer, dict):
        raise Malformed(f"status {call.status} without a problem document")
    if answer.get("status") != call.status or not answer.get("code"):
        raise Malformed(f"a problem document that says status {answer.get('status')}")
    if call.status in {429, 502, 503} and answer["code"] != "no-scorer":
        seconds = call.headers.get("retry-after", "")
        if not seconds.isdecimal() or not 1 <= int(seconds) <= LONGEST_RETRY_S:
            raise Malformed(f"`{answer['code']}` with Retry-After {seconds!r}")


def _as(schema: type[Any], answer: Any) -> Any:
    try:
        return adapter(schema).validate_json(to_json(answer))
    except ValidationError as error:
        raise Malformed(f"no {schema.__name__}: {error.errors()[0]}") from error


def _seen(document: Profile) -> ProfileSeen:
    words = ProfileText(document.kind, document.identities, document.interests)
    phrases = (*words.identities, *words.interests)
    wanted = PHRASES[document.kind]
    if len(words.identities) != wanted or len(words.interests) != wanted:
        raise Malformed(f"{len(words.identities)} + {len(words.interests)} phrases")
    if not all(is_phrase(phrase) for phrase in phrases):
        raise Malformed(f"phrases that are none: {phrases}")
    if len({phrase.casefold() for phrase in phrases}) != len(phrases):
        raise Malformed(f"a phrase twice: {phrases}")
    if document.text != words.text:
        raise Malformed("a text that is not that of the phrases")
    said = dict(phrase.split(" ", 1) for phrase in phrases if " " in phrase)
    traces = read(said.get("record", ""))
    times = read(said.get("began", ""))
    return ProfileSeen(
        kind=document.kind,
        id=document.id,
        status=document.status,
        model=document.version.base_model.name,
        input_hash=document.input_hash,
        vector=document.embedding,
        written_of=Content(*traces[0]) if len(traces) == 1 and len(traces[0]) == 3 else None,
        written_by=said.get("model", ""),
        written_at=times[0][0] / 1e9 if len(times) == 1 else None,
    )
