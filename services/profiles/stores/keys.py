"""Every key that the service uses in Redis. Short, since a million of them are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.profiles.models import ProfileKey

VERSIONS = b"reclm:versions"
"""Hash: version digest -> JSON of the version."""


def profile(key: ProfileKey) -> bytes:
    """String: the profile, as `codec` lays it out. The id stands last: it may hold colons."""
    return f"p:{key.tenant}:{key.kind[0]}:{key.id}".encode()


def lease(key: ProfileKey) -> bytes:
    """String: the token of the process that is generating the profile, or why the last failed."""
    return f"l:{key.tenant}:{key.kind[0]}:{key.id}".encode()


def items(tenant: str) -> bytes:
    """Hash: item id -> JSON array of title, category, description."""
    return f"i:{tenant}".encode()


def item_order(tenant: str) -> bytes:
    """Sorted set of item ids, all with score 0, for pages in order of id."""
    return f"o:{tenant}".encode()


def item_terms(tenant: str) -> bytes:
    """Sorted set of `term NUL id`, all with score 0, for search by prefix."""
    return f"t:{tenant}".encode()


def scorers(tenant: str) -> bytes:
    """Hash: `active` and `previous` -> names of scorer bundles."""
    return f"s:{tenant}".encode()


def interactions(tenant: str, user_id: str) -> bytes:
    """List: ids of the items that a user chose, the newest last."""
    return f"h:{tenant}:{user_id}".encode()
