"""Asks a vLLM server, or any OpenAI-compatible one that takes `structured_outputs`, over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
from pydantic import BaseModel, ValidationError

from services.profiles import upstream
from services.profiles.domain.profile import Message
from services.profiles.errors import (
    ModelRefused,
    ModelTooSlow,
    ModelUnavailable,
    Overloaded,
    ReclmError,
)
from services.profiles.generators.base import Generation, turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.generators.base import GenerationRequest


_QUESTIONS = 2
"""Connections for questions about the server, besides those for prompts."""

_CONTINUED = {"add_generation_prompt": False, "continue_final_message": True}

_REFUSALS = 3
"""Prompts that are refused one after another, from which on the server counts as not ready."""

_PROBE = (Message("user", "ready?"),)


class _Message(BaseModel):
    content: str


class _Choice(BaseModel):
    message: _Message


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(BaseModel):
    choices: list[_Choice]
    usage: _Usage = _Usage()


class _Model(BaseModel):
    id: str
    max_model_len: int | None = None
    parent: str | None = None


class _Models(BaseModel):
    data: list[_Model]


class VllmGenerator:
    """A generator behind HTTP.

    Args:
        url: The server's address, without /v1.
        model: The name under which the server knows the base model or adapter.
        api_key: Sent as a bearer token.
        timeout_s: Limit for a whole answer, connecting and queueing included.
        connections: Most prompts under way, each with a connection. Questions about the server have
            other connections.
        never: Ids of tokens that are never to be written.
        default_context: The context window, in tokens, if the server does not report it.
    """

    def __init__(
        self,
        *,
        url: str,
        model: str,
        api_key: str | None,
        timeout_s: float,
        connections: int,
        never: Sequence[int] = (),
        default_context: int = 2048,
    ) -> None:
        self._model = model
        self._timeout_s = timeout_s
        self._default_context = default_context
        self._context: int | None = None
        self._refusals = 0
        self._refusal: ModelRefused | None = None
        self._answered = False
        self._bias = {"logit_bias": {str(id_): -100 for id_ in never}} if never else {}
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 5.0)),
            limits=httpx.Limits(
                max_connections=connections + _QUESTIONS,
                max_keepalive_connections=connections + _QUESTIONS,
            ),
        )

    async def generate(self, request: GenerationRequest) -> Generation:
        """Answers one prompt; the server constrains decoding to the request's pattern."""
        try:
            reply = await self._ask(request)
        except ModelRefused as error:
            self._refusals += 1
            self._refusal = error
            raise
        try:
            completion = _Completion.model_validate_json(reply)
            text = completion.choices[0].message.content
        except (ValidationError, IndexError) as error:
            raise ModelUnavailable(
                "the model server answered with something that is not a chat completion"
            ) from error
        self._refusals, self._refusal, self._answered = 0, None, True
        return Generation(text, completion.usage.prompt_tokens, completion.usage.completion_tokens)

    async def _ask(self, request: GenerationRequest) -> bytes:
        return await self._send(
            "POST",
            "/v1/chat/completions",
            {
                "model": self._model,
                "messages": turns(request.messages, begun=request.begun),
                "max_tokens": request.max_tokens,
                "temperature": request.temperature,
                "presence_penalty": request.presence_penalty,
                "frequency_penalty": request.frequency_penalty,
                # No `seed`: on vLLM's CPU backend (0.32) a seeded request whose prompt is cut into
                # chunks ends the engine ("CPU Generator does not use offset").
                "structured_outputs": {"regex": request.pattern},
                **self._bias,
                **({"bad_words": request.unwanted} if request.unwanted else {}),
                **(_CONTINUED if request.begun else {}),
                # After those of priority 0, with `--scheduling-policy priority`; else vLLM ignores it.
                **({"priority": 1} if request.background else {}),
            },
            sent=[message.content for message in request.messages],
        )

    async def context_window(self) -> int:
        """Returns what the server reports for the model, or for the base model of an adapter.

        The answer is kept as soon as the server lists the model.
        """
        if self._context is None:
            served = {model.id: model for model in await self._models()}
            known = served.get(self._model)
            if known is None:
                return self._default_context
            base = served.get(known.parent or "")
            lengths = (one.max_model_len for one in (known, base) if one is not None)
            self._context = next(filter(None, lengths), self._default_context)
        return self._context

    async def check(self) -> None:
        """Raises unless the server serves the model, and takes prompts.

        Of vLLM that is found out by its tokenizer, which applies the chat template without running
        the model; of other servers, by what became of the last prompts.
        """
        served = [model.id for model in await self._models()]
        if self._model not in served:
            raise ModelUnavailable(
                f"the model server does not serve {self._model!r}; it serves {', '.join(served)}"
            )
        if self._refusal is not None and self._refusals >= _REFUSALS:
            raise ModelRefused(self._refusal.detail)
        if not self._answered:
            await self._try_chat_template()

    async def _try_chat_template(self) -> None:
        """Raises ModelRefused if the server says that it cannot make a prompt of a chat."""
        body = {"model": self._model, "messages": turns(_PROBE, begun="")}
        response = await self._request("POST", "/tokenize", body)
        missing = {httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED}
        if upstream.refuses(response) and response.status_code not in missing:
            raise _refused(response, ())

    async def aclose(self) -> None:
        """Closes connections."""
        await self._client.aclose()

    async def _models(self) -> list[_Model]:
        try:
            return _Models.model_validate_json(await self._send("GET", "/v1/models")).data
        except ValidationError as error:
            raise ModelUnavailable("the model server does not list its models") from error

    async def _send(
        self, method: str, path: str, body: object = None, *, sent: Sequence[str] = ()
    ) -> bytes:
        """Returns the body of a good answer.

        Args:
            method: Of HTTP.
            path: At the server.
            body: Sent as JSON.
            sent: Texts in the body that are not to be repeated in an error.
        """
        response = await self._request(method, path, body)
        if response.is_success:
            return response.content
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise _after(response, Overloaded("the model server is overloaded"))
        if upstream.refuses(response):
            raise _refused(response, sent)
        raise _after(
            response, ModelUnavailable(f"the model server answered {response.status_code}")
        )

    async def _request(self, method: str, path: str, body: object) -> httpx.Response:
        try:
            # httpx limits each read only; this limits the whole answer.
            async with asyncio.timeout(self._timeout_s):
                return await self._client.request(method, path, json=body)
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout) as error:
            raise ModelTooSlow(
                f"the model server did not answer within {self._timeout_s:g} s"
            ) from error
        except httpx.HTTPError as error:
            raise ModelUnavailable(
                f"the model server cannot be reached ({type(error).__name__})"
            ) from error


def _refused(response: httpx.Response, sent: Sequence[str]) -> ModelRefused:
    why = upstream.words(response, sent)
    said = f": {why}" if why else ""
    return ModelRefused(f"the model server refuses the prompt with {response.status_code}{said}")


def _after(response: httpx.Response, error: ReclmError) -> ReclmError:
    """Sets `retry_after` from the server's Retry-After, if it has one that can be read."""
    seconds = upstream.retry_after(response)
    if seconds is not None:
        error.retry_after = seconds
    return error
