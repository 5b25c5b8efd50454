"""How much one process holds in memory for requests under way, and where that ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles.errors import Overloaded

if TYPE_CHECKING:
    from starlette.types import Scope

_HELD = "reclm.bytes_held"
_SMALL = 64 * 1024


class InFlight:
    """Counts the bytes that requests under way hold: their bodies, and large answers.

    Many requests within the limits of a single one would otherwise exhaust a machine together.

    Args:
        limit: Bytes that all requests of this process may hold together.
        small: A request that holds no more than this is let through whatever others hold, so that
            large ones do not shut out the small ones. Their number has a limit of its own.
    """

    def __init__(self, limit: int, *, small: int = _SMALL) -> None:
        self._limit = limit
        self._small = small
        self.held = 0

    def hold(self, scope: Scope, size: int) -> None:
        """Counts `size` bytes more for a request, until `release`.

        Args:
            scope: Of the request.
            size: Bytes.

        Raises:
            Overloaded: Requests hold too much already; this one keeps what it had.
        """
        own = scope.get(_HELD, 0) + size
        if own > self._small and self.held + size > self._limit:
            raise Overloaded(
                f"requests under way hold {self.held} bytes, and this one needs {size} more of at "
                f"most {self._limit}; send it again later, or in smaller parts"
            )
        self.held += size
        scope[_HELD] = own

    def release(self, scope: Scope) -> None:
        """Gives back all that a request held; does nothing for one that held nothing."""
        self.held -= scope.pop(_HELD, 0)
