"""What a call of the client can raise, told apart where a caller would act differently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class ReclmClientError(Exception):
    """The root of everything the client raises about the service or the way to it."""


class ConnectionFailed(ReclmClientError):
    """No whole answer arrived: the connection was refused, cut or closed.

    Attributes:
        sent: Whether the service may have received the request, and acted on it.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class TimedOut(ConnectionFailed):
    """No whole answer arrived in time."""


class MalformedAnswer(ReclmClientError):
    """The answer is not what this version of the client knows how to read."""


@dataclass(eq=False, repr=False)
class ReclmApiError(ReclmClientError):
    """The service answered with an error.

    Attributes:
        status: The HTTP status.
        code: The problem's code, such as `unknown-items`; `http-<status>` where the answer was
            no problem document, as from a proxy on the way.
        detail: One sentence: what was wrong, where, and what to do.
        problem: The whole problem document with its further members; empty if there was none.
        retry_after: Seconds after which the service asks to be called again.
    """

    status: int
    code: str
    detail: str
    problem: Mapping[str, object]
    retry_after: float | None

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.detail}"


class InvalidRequest(ReclmApiError):
    """The request cannot be served as it stands; sending it again changes nothing (4xx)."""


class NotFound(InvalidRequest):
    """There is no such profile or item (404)."""


class AccessDenied(InvalidRequest):
    """The call needs a key, or another one than was shown (401, 403)."""


class Unavailable(ReclmApiError):
    """The service cannot answer now; later it may (429, 502, 503, 504)."""


def api_error_type(status: int) -> type[ReclmApiError]:
    """Returns the class that stands for an HTTP status."""
    if status == 404:
        return NotFound
    if status in {401, 403}:
        return AccessDenied
    if status in {429, 502, 503, 504}:
        return Unavailable
    return InvalidRequest if 400 <= status < 500 else ReclmApiError
