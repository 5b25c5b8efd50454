"""What other servers say when they do not answer as asked, read with care.

Their headers and words come from outside: they are bounded, and what a server repeats of the
prompt or of the texts that it was sent never gets into an error or a log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from pydantic_core import from_json

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_RETRY_AFTER_S = 60.0
"""No server is left alone for longer, whatever it asks for."""

_DIGITS = 9
_LONGEST_WORDS = 300
_READ_BYTES = 16_384
_REPEATED = 10
"""From so many equal characters on, a server's words count as a repetition of what it was sent."""

_PASSING = {
    httpx.codes.REQUEST_TIMEOUT,
    httpx.codes.CONFLICT,
    httpx.codes.LOCKED,
    httpx.codes.TOO_EARLY,
    httpx.codes.TOO_MANY_REQUESTS,
}


def retry_after(response: httpx.Response) -> float | None:
    """Returns the seconds of `Retry-After`, at most a minute; None if it is not a number of seconds."""
    seconds = response.headers.get("Retry-After", "").strip()
    # `isdigit` alone is true for "²" and others that `int` refuses.
    if not (seconds.isascii() and seconds.isdigit()):
        return None
    # A number of any length is read without building it.
    return (
        LONGEST_RETRY_AFTER_S
        if len(seconds) > _DIGITS
        else min(float(seconds), LONGEST_RETRY_AFTER_S)
    )


def refuses(response: httpx.Response) -> bool:
    """Returns whether the same request would be refused again: a 4xx that does not pass by itself."""
    return response.is_client_error and response.status_code not in _PASSING


def words(response: httpx.Response, sent: Iterable[str]) -> str:
    """Returns why a server says that it refuses, in one line of at most 300 characters.

    Args:
        response: Its answer. OpenAI's and FastAPI's forms of an error are understood.
        sent: The texts that it was sent. From where the server repeats ten characters of one of
            them, or all of a shorter one, its words are left out.

    Returns:
        An empty string when it gives no reason that can be repeated.
    """
    text = " ".join(_message(response).split())
    text = "".join(letter for letter in text if letter.isprintable())[:_LONGEST_WORDS]
    texts = [" ".join(one.split()) for one in sent]
    end = min((_first_repeated(text, one) for one in texts if one), default=len(text))
    if end == len(text):
        return text
    return f"{text[:end].rstrip()} [...]" if text[:end].strip() else ""


def _first_repeated(text: str, sent: str) -> int:
    """Returns where a text begins to repeat one that was sent; its length if it does not."""
    if len(sent) < _REPEATED:
        found = text.find(sent)
        return len(text) if found < 0 else found
    for start in range(len(text) - _REPEATED + 1):
        if text[start : start + _REPEATED] in sent:
            return start
    return len(text)


def _message(response: httpx.Response) -> str:
    """Returns the message in the body of an error, whatever form it has."""
    try:
        body = from_json(response.content[:_READ_BYTES], allow_partial=True)
    except ValueError:
        return ""
    for member in ("error", "message", "detail"):
        if isinstance(body, dict):
            body = body.get(member, body)
    return body if isinstance(body, str) else ""
