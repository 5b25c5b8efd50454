"""The users whom a running service has erased, for exports to leave them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reclm_client import ReclmClient, ReclmClientError, Retries, Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from reclm_client import Erasures

_TIMEOUTS = Timeouts(connect=2.0, read=10.0, total=60.0)
_RETRIES = Retries(attempts=2)


def consult(url: str, *, progress: Callable[[str], object]) -> Erasures | None:
    """Returns who was erased; None, after one line that says why, where no service tells.

    Args:
        url: URL of the service.
        progress: Called with that line.
    """
    try:
        with ReclmClient(url, timeouts=_TIMEOUTS, retries=_RETRIES) as client:
            return client.erasures()
    except (ReclmClientError, ValueError) as error:
        progress(
            f"the deny list was not consulted, so users who were erased are not left out: {error}"
        )
        return None
