"""What an erasure has ended, and which requests came beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.history import Call, Window
    from tests.chaos.subjects import Content

KEPT_LIVES = 4
"""Of older lives it is only known that they are over."""


class Erased:
    """The erasures of all subjects, and the requests that brought something of a life.

    Attributes:
        tried: All erasures, with and without an answer, by subject.
    """

    def __init__(self) -> None:
        self.tried: dict[int, list[Call]] = {}
        self._done: dict[int, list[Call]] = {}
        self._carriers: dict[int, list[Call]] = {}

    def carry(self, call: Call) -> None:
        """Learns of a request that brings content."""
        assert call.subject is not None
        self._carriers.setdefault(call.subject, []).append(call)

    def begin(self, call: Call) -> None:
        """Learns of an erasure that is tried."""
        assert call.subject is not None
        self.tried.setdefault(call.subject, []).append(call)

    def end(self, call: Call) -> None:
        """Learns that an erasure was acknowledged."""
        assert call.subject is not None
        done = self._done.setdefault(call.subject, [])
        done[:] = [*done[-KEPT_LIVES:], call]
        carriers = self._carriers.get(call.subject, [])
        carriers[:] = [one for one in carriers if one.life >= call.life - KEPT_LIVES]

    def undone_since(self, since: float) -> None:
        """Learns that a crash may have undone what was acknowledged after a time."""
        for done in self._done.values():
            done[:] = [one for one in done if one.ended is not None and one.ended < since]

    def any_before(self, number: int, call: Call) -> bool:
        """Returns whether a subject had been erased before a request was begun."""
        return bool(self._before(number, call))

    def shows(self, call: Call, content: Content, written_at: float | None) -> bool:
        """Returns whether content must not be shown to a request.

        A request with the content that was under way together with the erasure may have come after
        it. That excuses no profile which the model had begun to write before the erasure.

        Args:
            call: The request.
            content: What it was shown.
            written_at: When the model began to write it; None where that is not known.
        """
        for erasure in self._before(content.subject, call):
            assert erasure.ended is not None
            if content.life > erasure.life:
                continue
            if written_at is not None and written_at < erasure.begun:
                return True
            if not any(
                carrier.life == content.life and carrier.under_way(erasure.begun, erasure.ended)
                for carrier in self._carriers.get(content.subject, ())
            ):
                return True
        return False

    def leaves_nothing(self, call: Call, number: int) -> bool:
        """Returns whether there is nothing that a profile of a subject could be made from."""
        assert call.ended is not None
        before = self._before(number, call)
        return bool(before) and not any(
            carrier.under_way(before[-1].begun, call.ended)
            for carrier in self._carriers.get(number, ())
        )

    def beside(self, call: Call) -> bool:
        """Returns whether an erasure of the subject was tried while a request was under way."""
        assert call.subject is not None
        assert call.ended is not None
        return any(
            erasure.under_way(call.begun, call.ended)
            for erasure in self.tried.get(call.subject, ())
        )

    def stepped(self, number: int, windows: Sequence[Window]) -> bool:
        """Returns whether the store's clock was a wrong one at an erasure of a subject."""
        return any(
            window.fault == "redis-clock"
            and window.touches(erasure.begun, erasure.ended or erasure.begun)
            for window in windows
            for erasure in self.tried.get(number, ())
        )

    def _before(self, number: int, call: Call) -> list[Call]:
        return [
            erasure
            for erasure in self._done.get(number, ())
            if erasure.ended is not None and erasure.ended < call.begun
        ]
