"""Every key that the service uses in Redis. Short, since a million of them are kept.

The tenant stands in braces, a hash tag of Redis Cluster: all keys of a tenant are in one slot, so
that one script, one MULTI and one MGET may use any of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.profiles.domain.profile import ProfileKey

REFRESH_GROUP = b"refreshers"
"""The consumer group of `refresh_stream`."""


def versions(tenant: str) -> bytes:
    """Hash: version digest -> JSON of the version."""
    return f"v:{{{tenant}}}".encode()


def version_order(tenant: str) -> bytes:
    """Hash: version digest, as bytes -> its number; the newest has the largest."""
    return f"n:{{{tenant}}}".encode()


def version_alive(tenant: str) -> bytes:
    """Hash: version digest, as bytes -> until when its processes count as running, in Unix ms."""
    return f"a:{{{tenant}}}".encode()


def erasures(tenant: str) -> bytes:
    """Hash: id of an erased user -> when, in Unix milliseconds."""
    return f"x:{{{tenant}}}".encode()


def profile(key: ProfileKey) -> bytes:
    """String: the profile, as `codec` lays it out. The id is last, since it may hold colons."""
    return f"p:{{{key.tenant}}}:{key.kind[0]}:{key.id}".encode()


def lease(key: ProfileKey) -> bytes:
    """String: the token of the process that generates the profile, or why the last one failed."""
    return f"l:{{{key.tenant}}}:{key.kind[0]}:{key.id}".encode()


def interactions(tenant: str, user_id: str) -> bytes:
    """Sorted set of `time item id`, all with score 0: a user's newest interactions."""
    return f"h:{{{tenant}}}:{user_id}".encode()


def refresh_due(tenant: str) -> bytes:
    """Sorted set: ids of users whose profile is to be refreshed, by Unix time in milliseconds."""
    return f"r:{{{tenant}}}:due".encode()


def refresh_first(tenant: str) -> bytes:
    """Hash: user id -> when the burst of events began, in Unix milliseconds."""
    return f"r:{{{tenant}}}:first".encode()


def refresh_tries(tenant: str) -> bytes:
    """Hash: user id -> how often a refresh was begun since the last success."""
    return f"r:{{{tenant}}}:tries".encode()


def refresh_under_way(tenant: str) -> bytes:
    """Hash: user id -> the user's entry in `refresh_stream`."""
    return f"r:{{{tenant}}}:users".encode()


def refresh_stream(tenant: str) -> bytes:
    """Stream: refreshes under way, each pending for the worker that has it."""
    return f"r:{{{tenant}}}:work".encode()


def refresh_dead(tenant: str) -> bytes:
    """Stream: refreshes that were given up, each with the reason."""
    return f"r:{{{tenant}}}:dead".encode()


def items(tenant: str) -> bytes:
    """Hash: item id -> JSON array of title, category, description; hidden, expires_at if it has any."""
    return f"i:{{{tenant}}}".encode()


def item_order(tenant: str) -> bytes:
    """Sorted set of item ids, all with score 0, for pages in order of id."""
    return f"o:{{{tenant}}}".encode()


def item_terms(tenant: str) -> bytes:
    """Sorted set of `term NUL id`, all with score 0, for search by prefix."""
    return f"t:{{{tenant}}}".encode()


def item_changes(tenant: str) -> bytes:
    """Sorted set: item id -> stamp of its last change; the newest `CHANGES_KEPT`."""
    return f"c:{{{tenant}}}".encode()


def item_stamps(tenant: str) -> bytes:
    """Hash: `stamp` of the last change of an item, and `floor`, the last that is not kept."""
    return f"g:{{{tenant}}}".encode()


def items_withdrawn(tenant: str) -> bytes:
    """Sorted set: item id -> from when on it is withdrawn, in Unix milliseconds; 0 for always."""
    return f"d:{{{tenant}}}".encode()


def scorers(tenant: str) -> bytes:
    """Hash: `active` and `previous` -> `name@content` of scorer bundles."""
    return f"s:{{{tenant}}}".encode()


def probe(tenant: str) -> bytes:
    """String: what is written to see that writes succeed, and which commands may be used."""
    return f"z:{{{tenant}}}".encode()


def presence(tenant: str) -> bytes:
    """String: lives for a minute from when somebody last waited for the model."""
    return f"y:{{{tenant}}}".encode()
