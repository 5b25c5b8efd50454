"""The settings that both clients give httpx, and what its exceptions mean to them."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from reclm_client.errors import ConnectionFailed, TimedOut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reclm_client.retries import Timeouts
    from reclm_client.schemas.profile import ProfileRequest
    from reclm_client.schemas.score import ScoreRequest


def resolve_url(base_url: str | None) -> str:
    """Returns the service's URL, from RECLM_URL where none is given.

    Raises:
        ValueError: There is none, or it is not an http URL.
    """
    url = base_url or os.environ.get("RECLM_URL", "")
    if not url:
        raise ValueError("no base URL: give base_url, or set RECLM_URL to the service's address")
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"the base URL {url!r} does not begin with http:// or https://")
    return url


def authorization(api_key: str | None) -> dict[str, str]:
    """Returns the header that shows a key, empty where there is none to show.

    Args:
        api_key: RECLM_API_KEY by default, else the first word of the file that RECLM_API_KEY_FILE
            names: a file of several keys, as the service reads them, has the newest in front.

    Raises:
        ValueError: The file cannot be read or is empty, or the key cannot stand in a header.
    """
    key = api_key or os.environ.get("RECLM_API_KEY")
    path = os.environ.get("RECLM_API_KEY_FILE")
    if not key and path:
        try:
            words = Path(path).read_text(encoding="utf-8").replace(",", " ").split()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"RECLM_API_KEY_FILE: {path} cannot be read: {error}") from error
        if not words:
            raise ValueError(f"RECLM_API_KEY_FILE: {path} is empty")
        key = words[0]
    if not key:
        return {}
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("the API key holds something that cannot stand in a header")
    return {"Authorization": f"Bearer {key}"}


def check_deadline(request: ProfileRequest | ScoreRequest, timeouts: Timeouts) -> None:
    """Raises ValueError for a deadline by which the client would no longer be listening."""
    if request.deadline_ms is not None and request.deadline_ms >= 1000 * timeouts.read:
        raise ValueError(
            f"deadline_ms={request.deadline_ms} is not under the client's read timeout of "
            f"{timeouts.read} s; make the client with Timeouts(read=..., total=...) that allow it"
        )


class Clock:
    """The time that one call has left."""

    def __init__(self, total: float) -> None:
        self._total = total
        self._end = time.monotonic() + total

    @property
    def remaining_s(self) -> float:
        """Seconds left; 0 when the time is over."""
        return max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        """Raises TimedOut when the time is over."""
        if not self.remaining_s:
            raise TimedOut(f"no whole answer within {self._total} s in all", sent=True)


def http_timeout(timeouts: Timeouts, remaining_s: float) -> httpx.Timeout:
    """Returns httpx's form of the limits, none longer than the time that remains."""
    read = min(timeouts.read, remaining_s)
    connect = min(timeouts.connect, remaining_s)
    return httpx.Timeout(connect=connect, read=read, write=read, pool=read)


@contextmanager
def translated() -> Iterator[None]:
    """Turns what httpx raises about the connection into the client's own errors."""
    try:
        yield
    except (httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise TimedOut(f"no connection in time: {_describe(error)}", sent=False) from error
    except httpx.TimeoutException as error:
        raise TimedOut(f"no answer in time: {_describe(error)}", sent=True) from error
    except httpx.ConnectError as error:
        raise ConnectionFailed(f"cannot connect: {_describe(error)}", sent=False) from error
    except httpx.TransportError as error:
        raise ConnectionFailed(f"the connection broke: {_describe(error)}", sent=True) from error


def _describe(error: httpx.TransportError) -> str:
    return f"{str(error) or type(error).__name__} ({error.request.url.copy_with(query=None)})"
