"""What the generator behind HTTP makes of a server that is not well, and what it sends."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from services.profiles.domain.profile import Message
from services.profiles.errors import ModelRefused, ModelUnavailable, Overloaded
from services.profiles.generation.grammar import pattern
from services.profiles.generators.base import Generation, GenerationRequest
from services.profiles.generators.vllm import VllmGenerator
from tests.support.model_server import MODEL, ModelServer
from tests.support.processes import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.anyio

REQUEST = GenerationRequest(
    messages=[Message("system", "Write."), Message("user", "Zoë")],
    pattern=pattern("user"),
    max_tokens=100,
    temperature=0.5,
    presence_penalty=0.8,
    frequency_penalty=0.4,
)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
async def generator(server: ModelServer) -> AsyncIterator[VllmGenerator]:
    made = VllmGenerator(
        url=server.url + "/", model=MODEL, api_key="key", timeout_s=1, connections=2, never=[7, 216]
    )
    yield made
    await made.aclose()


async def test_a_request_says_all_that_the_server_must_know(
    server: ModelServer, generator: VllmGenerator
) -> None:
    answer = await generator.generate(REQUEST)
    assert answer.text.startswith("User identity: ")
    assert (answer.prompt_tokens, answer.completion_tokens) == (11, 7)
    assert server.authorizations == ["Bearer key"]
    assert server.requests == [
        {
            "model": MODEL,
            "messages": [
                {"role": "system", "content": "Write."},
                {"role": "user", "content": "Zoë"},
            ],
            "max_tokens": 100,
            "temperature": 0.5,
            "presence_penalty": 0.8,
            "frequency_penalty": 0.4,
            "structured_outputs": {"regex": REQUEST.pattern},
            "logit_bias": {"7": -100, "216": -100},
        }
    ]


async def test_a_begun_answer_is_sent_as_a_turn_that_goes_on(
    server: ModelServer, generator: VllmGenerator
) -> None:
    await generator.generate(replace(REQUEST, begun="User identity: a b,", unwanted=("a b",)))
    (sent,) = server.requests
    assert sent["messages"][-1] == {"role": "assistant", "content": "User identity: a b,"}
    assert (sent["add_generation_prompt"], sent["continue_final_message"]) == (False, True)
    assert sent["bad_words"] == ["a b"]


async def test_a_server_that_does_not_count_tokens_will_do(
    server: ModelServer, generator: VllmGenerator
) -> None:
    server.body = b'{"choices": [{"message": {"content": "x"}}]}'
    assert await generator.generate(REQUEST) == Generation("x", 0, 0)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("7", 7.0),
        (None, 1.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 1.0),
        ("86400", 60.0),
        ("9" * 5_000, 60.0),
        ("²", 1.0),
        ("-5", 1.0),
    ],
)
async def test_an_overloaded_server_says_when_to_come_back(
    server: ModelServer, generator: VllmGenerator, retry_after: str | None, seconds: float
) -> None:
    server.status = 429
    server.headers = {"Retry-After": retry_after} if retry_after else {}
    with pytest.raises(Overloaded) as raised:
        await generator.generate(REQUEST)
    assert raised.value.retry_after == seconds


@pytest.mark.parametrize("status", [302, 408, 500, 502, 503])
async def test_any_other_status_means_that_the_model_is_not_there(
    server: ModelServer, generator: VllmGenerator, status: int
) -> None:
    server.status, server.body = status, b'{"error": {"message": "the prompt, word for word"}}'
    with pytest.raises(ModelUnavailable, match=str(status)) as raised:
        await generator.generate(REQUEST)
    assert not isinstance(raised.value, ModelRefused)
    assert raised.value.retry_after == 5.0
    assert "word for word" not in raised.value.detail


NO_TEMPLATE = "a chat template is needed if the tokenizer does not define one"


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
async def test_a_refusal_is_told_in_the_servers_words_and_is_no_reason_to_come_back(
    server: ModelServer, generator: VllmGenerator, status: int
) -> None:
    server.status, server.body = status, json.dumps({"error": {"message": NO_TEMPLATE}}).encode()
    with pytest.raises(ModelRefused, match=f"with {status}: {NO_TEMPLATE}") as raised:
        await generator.generate(REQUEST)
    assert raised.value.retry_after is None


async def test_a_refusal_repeats_nothing_of_the_prompt(
    server: ModelServer, generator: VllmGenerator
) -> None:
    private = "Heat (1995) | Action, Crime"
    server.status = 400
    server.body = json.dumps({"message": f"bad input: {private} ... " + "x" * 9_000}).encode()
    with pytest.raises(ModelRefused) as raised:
        await generator.generate(replace(REQUEST, messages=[Message("user", f"- {private}\n")]))
    assert raised.value.detail == "the model server refuses the prompt with 400: bad input: [...]"


async def test_a_model_without_a_chat_template_is_not_ready(
    server: ModelServer, generator: VllmGenerator
) -> None:
    server.tokenize = (400, json.dumps({"error": {"message": NO_TEMPLATE}}).encode())
    with pytest.raises(ModelRefused, match=NO_TEMPLATE):
        await generator.check()
    await generator.generate(REQUEST)
    await generator.check()  # a prompt was answered: that says more


async def test_a_server_that_refuses_every_prompt_is_not_ready_until_it_answers_one(
    server: ModelServer, generator: VllmGenerator
) -> None:
    server.status, server.body = 400, b'{"message": "no grammar backend"}'
    for _ in range(3):
        await generator.check()
        with pytest.raises(ModelRefused):
            await generator.generate(REQUEST)
    with pytest.raises(ModelRefused, match="no grammar backend"):
        await generator.check()
    server.status, server.body = 200, None
    await generator.generate(REQUEST)
    await generator.check()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[]",
        b"{}",
        json.dumps({"choices": []}).encode(),
        json.dumps({"choices": [{}]}).encode(),
        json.dumps({"choices": [{"message": {"content": None}}]}).encode(),
        json.dumps({"choices": [{"message": {"content": ["x"]}}]}).encode(),
    ],
)
async def test_an_answer_that_is_no_completion_means_the_same(
    server: ModelServer, generator: VllmGenerator, body: bytes
) -> None:
    server.body = body
    with pytest.raises(ModelUnavailable, match="not a chat completion"):
        await generator.generate(REQUEST)


async def test_a_server_that_hangs_is_given_up_in_time(
    server: ModelServer, generator: VllmGenerator
) -> None:
    server.hanging = True
    with pytest.raises(ModelUnavailable, match="within 1 s"):
        await generator.generate(REQUEST)
    server.hanging = False
    assert (await generator.generate(REQUEST)).text


async def test_a_server_that_is_not_there_is_named_by_what_happened() -> None:
    generator = VllmGenerator(
        url=f"http://127.0.0.1:{free_port()}", model=MODEL, api_key=None, timeout_s=5, connections=1
    )
    for call in (generator.generate(REQUEST), generator.check(), generator.context_window()):
        with pytest.raises(ModelUnavailable, match="cannot be reached"):
            await call
    await generator.aclose()


async def test_the_check_knows_the_model_by_name(
    server: ModelServer, generator: VllmGenerator
) -> None:
    await generator.check()
    assert await generator.context_window() == 4096
    other = VllmGenerator(
        url=server.url, model="llama", api_key=None, timeout_s=5, connections=1, default_context=512
    )
    with pytest.raises(ModelUnavailable, match="'llama'; it serves scripted"):
        await other.check()
    assert await other.context_window() == 512
    # Not listed yet is nothing to go by for ever; vLLM tells the length of an adapter's base.
    server.models.append({"id": "llama", "max_model_len": None, "parent": MODEL})
    assert await other.context_window() == 4096
    await other.aclose()


async def test_the_server_can_be_asked_about_while_all_prompts_are_under_way(
    server: ModelServer, generator: VllmGenerator
) -> None:
    server.hanging = True
    waiting = [asyncio.create_task(generator.generate(REQUEST)) for _ in range(2)]
    await asyncio.sleep(0.2)
    assert len(server.requests) == 2
    async with asyncio.timeout(0.5):
        await generator.check()
    for task in waiting:
        with pytest.raises(ModelUnavailable):
            await task
