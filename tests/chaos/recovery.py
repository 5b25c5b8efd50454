"""How long the service takes to be well again after a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.history import Call

KINDS = frozenset({"hit", "miss", "event", "read", "score"})
"""What has to work again: each kind of request on its own."""

IN_A_ROW = 3

_GOOD = frozenset({200, 202, 204})
_NOTHING_THERE = {"read": 404, "profile by id": 422, "events": 404, "get item": 404}


def is_good(call: Call, *, version: str) -> bool:
    """Returns whether an answer is what a service without trouble gives.

    A degraded profile is not, nor a stale one, unless it was only to be read or is of another version:
    those are served while the new one is made.

    Args:
        call: A request that has ended.
        version: The name of the model in the version that is served now.
    """
    if call.status == _NOTHING_THERE.get(call.operation, 0):
        return True
    answer = call.answer if isinstance(call.answer, dict) else {}
    if call.status == 409:
        return answer.get("code") == "erased"
    if call.status not in _GOOD or call.damaged:
        return False
    shown = answer.get("profile") if call.operation == "score" else answer
    if not isinstance(shown, dict) or "status" not in shown:
        return True
    if shown["status"] == "stale" and call.operation not in {"read", "score"}:
        return bool(shown["version"]["base_model"]["name"] != version)
    return bool(shown["status"] != "degraded")


class Recovery:
    """Watches answers after the end of a fault.

    Args:
        since: The end of the fault; requests that were begun before do not count.
        version: Returns the version that is served now.
        kinds: The kinds of requests that the load has.
    """

    def __init__(
        self, since: float, *, version: Callable[[], str], kinds: frozenset[str] = KINDS
    ) -> None:
        self._since = since
        self._version = version
        self._rows: dict[str, list[float]] = {kind: [] for kind in kinds}
        self._well: dict[str, float] = {}

    def saw(self, call: Call) -> None:
        """Takes a request that has ended."""
        if call.kind not in self._rows or call.begun < self._since or call.ended is None:
            return
        row = self._rows[call.kind]
        if not is_good(call, version=self._version()):
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
