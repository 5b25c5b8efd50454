"""Films for histories, a check of a profile's form, and stored profiles without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.profiles.domain.profile import Profile, ProfileKey, ProfileText
from services.profiles.generation.grammar import is_phrase
from services.profiles.stores import codec
from services.profiles.stores.redis import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    import redis

HEAT = {"title": "Heat (1995)", "category": "Action, Crime, Thriller"}
CASINO = {"title": "Casino (1995)", "category": "Drama"}
TOY_STORY = {"title": "Toy Story (1995)", "category": "Animation, Children's, Comedy"}
BABE = {"title": "Babe (1995)", "category": "Children's, Comedy, Drama"}

_PHRASES = {"user": 3, "item": 5}


def assert_well_formed(profile: dict[str, Any]) -> None:
    """Asserts that a profile has the form of the paper."""
    kind = profile["kind"]
    identities, interests = profile["identities"], profile["interests"]
    assert len(identities) == len(interests) == _PHRASES[kind]
    phrases = [*identities, *interests]
    assert all(is_phrase(phrase) for phrase in phrases), phrases
    assert len({phrase.casefold() for phrase in phrases}) == len(phrases)
    name = kind.capitalize()
    assert profile["text"] == (
        f"{name} identity: {', '.join(identities)}; {name} interests: {', '.join(interests)}."
    )


def copy_profile(server: redis.Redis, source: str, ids: Sequence[str]) -> None:
    """Stores the user profile `source` under other ids, each with different phrases.

    To the service they are current and made from the same history: a request
    with that history is a hit.
    """
    stored = codec.look(server.get(keys.profile(ProfileKey("default", "user", source))))
    assert stored is not None
    with server.pipeline() as pipeline:
        for id_ in ids:
            copy = Profile(
                id=id_,
                words=ProfileText("user", (f"reader {id_}", "b", "c"), ("d", "e", "f")),
                vector=stored.vector,
                version_digest=stored.version_digest,
                input_hash=stored.input_hash,
                request_digest=stored.request_digest,
                created_ms=stored.created_ms,
            )
            pipeline.set(
                keys.profile(ProfileKey("default", "user", id_)), codec.encode(copy), ex=3600
            )
        pipeline.execute()
