"""What may hold data of an erased user after the erasure, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reclm_client.schemas.erasure import Copy

if TYPE_CHECKING:
    from services.profiles.settings import Settings
    from services.profiles.stores.base import Erasures

_DAY_S = 24 * 3600


async def copies_of(settings: Settings, erasures: Erasures) -> list[Copy]:
    """Returns what this service knows of, in its store and in what it has started.

    Args:
        settings: How long things are kept.
        erasures: The store's, which knows the store's own files.

    Raises:
        StoreUnavailable: As the store does.
    """
    return [
        Copy(
            "deny list of the store: the id and the time of the erasure",
            "always, so that bundles and exports of before do not bring the user back",
            None,
        ),
        Copy(
            "tombstone in the store: the id and the time of the erasure",
            _for(settings.erasure_ttl_s),
            None,
        ),
        *await erasures.copies(),
        Copy(
            "profiles of histories sent to /score without a user_id, under a hash of the history",
            _for(settings.anonymous_ttl_s),
            None,
        ),
        Copy(
            "model server: prompts and answers in its cache, in memory",
            "others take their place, or it restarts",
            "a restart of the model server",
        ),
        Copy(
            "workers that have loaded a scorer bundle with the user, in memory; /score does not use "
            "it",
            "another bundle, or the rewritten one, is activated, or they restart",
            "`reclm-serve scorers activate NAME`",
        ),
    ]


def _for(seconds: int) -> str:
    """Returns how long something is kept after it was written."""
    days, rest = divmod(seconds, _DAY_S)
    return f"{seconds} s after it was written" if rest else f"{days} days after it was written"
