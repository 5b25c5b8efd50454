"""How long the service takes to be well again after a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.history import Call

KINDS = frozenset({"hit", "miss", "event", "read", "score"})
"""What has to work again: each kind of request on its own."""

IN_A_ROW = 3

_GOOD = frozenset({200, 202, 204})
_NOTHING_THERE = {"read": 404, "profile by id": 422, "events": 404, "get item": 404}


def is_good(call: Call) -> bool:
    """Returns whether an answer is what a service without trouble gives.

    A stale or degraded profile is not, unless it was only to be read.
    """
    if call.status == _NOTHING_THERE.get(call.operation, 0):
        return True
    if call.status not in _GOOD or call.damaged:
        return False
    answer = call.answer if isinstance(call.answer, dict) else {}
    shown = answer.get("profile") if call.operation == "score" else answer
    status = shown.get("status") if isinstance(shown, dict) else None
    if call.operation in {"read", "score"}:
        return status != "degraded"
    return status not in {"stale", "degraded"}


class Recovery:
    """Watches answers after the end of a fault.

    Args:
        since: The end of the fault; requests that were begun before do not count.
        kinds: The kinds of requests that the load has.
    """

    def __init__(self, since: float, kinds: frozenset[str] = KINDS) -> None:
        self._since = since
        self._rows: dict[str, list[float]] = {kind: [] for kind in kinds}
        self._well: dict[str, float] = {}

    def saw(self, call: Call) -> None:
        """Takes a request that has ended."""
        if call.kind not in self._rows or call.begun < self._since or call.ended is None:
            return
        row = self._rows[call.kind]
        if not is_good(call):
            row.clear()
            self._well.pop(call.kind, None)
            return
        row.append(call.ended)
        if len(row) == IN_A_ROW:
            self._well[call.kind] = row[0]

    def seconds(self) -> float | None:
        """Returns the time to the first of the good answers in a row, of the slowest kind.

        Returns:
            None while a kind has not had so many in a row.
        """
        if self._well.keys() != self._rows.keys():
            return None
        return max(0.0, max(self._well.values()) - self._since)

    def missing(self) -> list[str]:
        """Returns the kinds that are not well."""
        return sorted(self._rows.keys() - self._well.keys())
