"""Requests to an OpenAI-compatible server for profiles, with retries."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import httpx

from services.profiles.generation.grammar import NotAProfile, parse
from training.data.errors import InstructionDataError
from training.data.prompts import turns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from training.data.prompts import Prompt

_RETRIED = {408, 409, 425, 429, 500, 502, 503, 504}
_REFUSED = {401, 402, 403, 404}
_LONGEST_WAIT_S = 60.0
_MESSAGE = 300  # most characters of a server's error message that are shown


class TeacherRefused(InstructionDataError):
    """The server refuses all such requests: the key, the model's name or the address is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Teacher:
    """The server to ask, and how.

    Attributes:
        url: The API's root, such as `https://api.openai.com/v1`.
        model: Name of the model on the server.
        key: API key, sent as a bearer token and never shown.
        answer_limit: Most tokens of an answer.
        temperature: Sampling temperature.
        body: Further members of a request; a member that is None is removed.
        timeout_s: Timeout of one request.
        tries: Most requests for one answer, while the server is busy or does not respond.
        forms: Most answers for one profile, while they are not well formed.
        wait_s: Wait before the second try; each further wait is twice as long.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    answer_limit: int = 200
    temperature: float = 0.7
    body: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float = 120.0
    tries: int = 6
    forms: int = 3
    wait_s: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """The result of asking for one profile.

    Attributes:
        text: The last answer; empty without one.
        failure: Why the answer cannot be used, or None.
        prompt_tokens: Prompt tokens of all requests, as the server counts them.
        answer_tokens: Tokens of all answers.
    """

    text: str
    failure: str | None
    prompt_tokens: int
    answer_tokens: int


class Endpoint:
    """Asks a teacher. Open it with `async with`."""

    def __init__(self, teacher: Teacher, *, connections: int) -> None:
        """Opens no connection yet.

        Args:
            teacher: The server to ask.
            connections: Most connections at a time.
        """
        self._teacher = teacher
        headers = {} if teacher.key is None else {"Authorization": f"Bearer {teacher.key}"}
        self._client = httpx.AsyncClient(
            base_url=teacher.url.rstrip("/") + "/",
            headers=headers,
            timeout=teacher.timeout_s,
            limits=httpx.Limits(max_connections=connections),
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def ask(self, prompt: Prompt) -> Reply:
        """Asks for a profile, and again where the answer is not well formed.

        Raises:
            TeacherRefused: The server refuses all such requests.
        """
        text, prompt_tokens, answer_tokens = "", 0, 0
        failure: str | None = None
        for _ in range(self._teacher.forms):
            reply = await self._complete(prompt)
            prompt_tokens += reply.prompt_tokens
            answer_tokens += reply.answer_tokens
            text, failure = reply.text, reply.failure
            if failure is not None:
                break
            try:
                parse(prompt.kind, text)
            except NotAProfile as error:
                failure = f"not in the form of a profile: {error}"
            else:
                break
        return Reply(
            text=text, failure=failure, prompt_tokens=prompt_tokens, answer_tokens=answer_tokens
        )

    async def _complete(self, prompt: Prompt) -> Reply:
        """Returns one answer in any form."""
        failed = ""
        for again in range(self._teacher.tries):
            wait = min(self._teacher.wait_s * 2**again, _LONGEST_WAIT_S)
            try:
                response = await self._client.post("chat/completions", json=self._body(prompt))
            except httpx.TransportError as error:
                failed = f"no answer: {type(error).__name__} {error}".rstrip()
            else:
                if response.is_success:
                    return _reply(response)
                failed = f"status {response.status_code}: {response.text[:_MESSAGE].strip()}"
                if response.status_code in _REFUSED:
                    raise TeacherRefused(f"{self._teacher.url} answers with {failed}")
                if response.status_code not in _RETRIED:
                    break
                wait = min(max(wait, _retry_after(response)), _LONGEST_WAIT_S)
            if again + 1 < self._teacher.tries:
                await asyncio.sleep(wait)
        return Reply(text="", failure=failed, prompt_tokens=0, answer_tokens=0)

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        body = {
            "model": self._teacher.model,
            "messages": turns(prompt.messages),
            "max_tokens": self._teacher.answer_limit,
            "temperature": self._teacher.temperature,
            **self._teacher.body,
        }
        return {name: value for name, value in body.items() if value is not None}


def _reply(response: httpx.Response) -> Reply:
    try:
        document = response.json()
        text = document["choices"][0]["message"]["content"]
        usage = document.get("usage") or {}
        counts = [int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        failure = f"not a chat completion: {response.text[:_MESSAGE]}"
        return Reply(text="", failure=failure, prompt_tokens=0, answer_tokens=0)
    no_text = None if isinstance(text, str) else "an answer without text"
    return Reply(
        text=text if isinstance(text, str) else "",
        failure=no_text,
        prompt_tokens=counts[0],
        answer_tokens=counts[1],
    )


def _retry_after(response: httpx.Response) -> float:
    """Returns the seconds that a server asks to wait; 0 for a date or without a number."""
    seconds = response.headers.get("Retry-After", "")
    return float(seconds) if seconds.isascii() and seconds.isdigit() else 0.0
