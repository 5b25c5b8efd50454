"""Stored profiles only ever change for newer ones: by when the model wrote them, and by version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.documents import ProfileSeen
    from tests.chaos.history import Call, Window


@dataclass(frozen=True, slots=True)
class _Shown:
    ended: float
    written_at: float
    version_since: float


class Order:
    """Remembers the newest stored profile that each subject was answered with.

    Args:
        services: When a service of each version ran; a later one has the newer version.
    """

    def __init__(self, services: Sequence[Window]) -> None:
        self._services = services
        self._newest: dict[int, _Shown] = {}

    def forget(self) -> None:
        """Forgets everything: the store may have lost what was shown."""
        self._newest.clear()

    def goes_back(self, call: Call, seen: ProfileSeen) -> str | None:
        """Returns how a stored profile is older than one that was shown before; None if it is not.

        Only answers that had arrived before the request was begun count as before.
        """
        if seen.status not in {"cached", "stale"} or seen.written_at is None:
            return None
        assert call.subject is not None
        assert call.ended is not None
        # A version may be served again: a profile is of the run that wrote it.
        since = max(
            (
                one.begun
                for one in self._services
                if one.fault == seen.model and one.begun <= seen.written_at
            ),
            default=0.0,
        )
        shown = _Shown(call.ended, seen.written_at, since)
        before = self._newest.get(call.subject)
        if before is None or before.ended >= call.begun:
            if before is None or shown.written_at >= before.written_at:
                self._newest[call.subject] = shown
            return None
        self._newest[call.subject] = shown
        if shown.written_at < before.written_at:
            return f"written {before.written_at - shown.written_at:.3f} s before the one shown last"
        if shown.version_since < before.version_since:
            return f"of version {seen.model}, over one of a newer version"
        return None
