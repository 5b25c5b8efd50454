"""How much one process holds in memory for requests under way, and where that ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles.errors import Overloaded

if TYPE_CHECKING:
    from starlette.types import Scope

_HELD = "reclm.bytes_held"


class InFlight:
    """Counts the bytes that requests under way hold: their bodies, and large answers.

    Many requests within the limits of a single one would otherwise exhaust a machine together.

    Args:
        limit: Bytes that all requests of this process may hold together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0

    def hold(self, scope: Scope, size: int) -> None:
        """Counts `size` bytes more for a request, until `release`.

        Args:
            scope: Of the request.
            size: Bytes.

        Raises:
            Overloaded: Requests hold too much already; this one keeps what it had.
        """
        if self.held + size > self._limit:
            raise Overloaded(
                f"requests under way hold {self.held} bytes, and this one needs {size} more of at "
                f"most {self._limit}; send it again later, or in smaller parts"
            )
        self.held += size
        scope[_HELD] = scope.get(_HELD, 0) + size

    def release(self, scope: Scope) -> None:
        """Gives back all that a request held; does nothing for one that held nothing."""
        self.held -= scope.pop(_HELD, 0)
