"""What every generator does with a real model, for each of them."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tokenizers import Tokenizer

from services.profiles.domain.profile import Message
from services.profiles.generation import grammar
from services.profiles.generation.prompts.registry import CURRENT
from services.profiles.generators.base import GenerationRequest
from services.profiles.generators.registry import GENERATORS
from services.profiles.settings import Settings
from tests.conftest import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.profiles.generators.base import Generator

LINES = ["Heat (1995) | Action, Crime, Thriller", "Casino (1995) | Drama"]
USER = GenerationRequest(
    messages=CURRENT.user_messages(LINES, examples=False),
    pattern=grammar.pattern("user"),
    max_tokens=128,
    temperature=0.5,
    presence_penalty=0.8,
    frequency_penalty=0.4,
)
ITEM = replace(
    USER,
    messages=CURRENT.item_messages(LINES[0], LINES[1:], examples=False),
    pattern=grammar.pattern("item"),
    max_tokens=224,
)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for the module: the model is loaded once."""
    with asyncio.Runner() as runner:
        yield runner


MARKS = {"vllm": [pytest.mark.model], "local": []}
"""For each entry of the registry, what its model needs: none may be without."""


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=MARKS[name]) for name in GENERATORS]
)
def generator(
    request: pytest.FixtureRequest, runner: asyncio.Runner, model_folder: Path
) -> Iterator[Generator]:
    server = {"vllm_url": request.getfixturevalue("vllm_url")} if request.param == "vllm" else {}
    settings = Settings(
        model=MODEL,
        model_path=model_folder,
        model_timeout_s=240,
        max_concurrent_generations=8,
        **server,
    )
    made = GENERATORS[request.param](settings)
    yield made
    runner.run(made.aclose())


@pytest.fixture(scope="module")
def tokenizer(model_folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(model_folder / "tokenizer.json"))


def tokens(tokenizer: Tokenizer, messages: list[Message] | tuple[Message, ...]) -> int:
    """Counts a chat in the model's template: <|im_start|>role, line break, text, <|im_end|>."""
    turns = [f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n" for message in messages]
    return len(tokenizer.encode("".join([*turns, "<|im_start|>assistant\n"])).ids)


def test_answers_that_are_asked_for_together_have_the_form_and_are_counted(
    generator: Generator, runner: asyncio.Runner, tokenizer: Tokenizer
) -> None:
    requests = [USER, ITEM]

    async def together() -> list[object]:
        return await asyncio.gather(*map(generator.generate, requests))

    for request, answer in zip(requests, runner.run(together()), strict=True):
        # Not even a constrained model need find an end before its limit.
        cut_off = answer.completion_tokens == request.max_tokens
        assert cut_off or re.fullmatch(request.pattern, answer.text)
        assert answer.prompt_tokens == tokens(tokenizer, list(request.messages))
        # A model may write a word in other tokens than a tokenizer would, fewer or more.
        written = len(tokenizer.encode(answer.text).ids)
        assert 0.5 * written < answer.completion_tokens <= min(2 * written, request.max_tokens)


def test_no_answer_goes_through_a_lone_space(generator: Generator, runner: asyncio.Runner) -> None:
    """Digits are tokens of their own here: to write " 7" takes a space by itself."""
    wanted = [Message("user", "How many days has a week? Answer with the number and no words.")]
    request = replace(USER, messages=wanted, pattern="( [0-9]| none)", temperature=0.0)
    assert runner.run(generator.generate(request)).text == " none"


def test_an_answer_that_has_begun_goes_on_with_what_is_missing(
    generator: Generator, runner: asyncio.Runner, tokenizer: Tokenizer
) -> None:
    had = grammar.NotAProfile("", ("night owl", "film lover", "crime fan"), ("old films",))
    begun, pattern = grammar.rest("user", had)
    answer = runner.run(generator.generate(replace(USER, begun=begun, pattern=pattern)))
    cut_off = answer.completion_tokens == USER.max_tokens
    assert cut_off or re.fullmatch(pattern, answer.text)
    # Nothing closes the turn that is continued, so that the template's last two tokens are off.
    turns = [*USER.messages, Message("assistant", begun)]
    whole = tokens(tokenizer, turns)
    closing = len(tokenizer.encode("<|im_end|>\n<|im_start|>assistant\n").ids)
    assert answer.prompt_tokens == whole - closing


def test_unwanted_phrases_are_not_written(generator: Generator, runner: asyncio.Runner) -> None:
    had = grammar.NotAProfile("", ("night owl", "film lover", "crime fan"), ("old films", "tea"))
    begun, pattern = grammar.rest("user", had)
    request = replace(USER, begun=begun, pattern=pattern, temperature=0.0)
    free = runner.run(generator.generate(request)).text
    held = runner.run(generator.generate(replace(request, unwanted=(free.strip(" ."),)))).text
    assert free.strip(" .")
    assert not held.startswith(free.rstrip("."))


def test_an_answer_ends_at_its_limit(generator: Generator, runner: asyncio.Runner) -> None:
    answer = runner.run(generator.generate(replace(USER, max_tokens=5, temperature=0.0)))
    assert answer.completion_tokens == 5
    assert USER.pattern.startswith(answer.text[:15])


def test_the_context_window_and_the_model_are_there(
    generator: Generator, runner: asyncio.Runner
) -> None:
    assert runner.run(generator.context_window()) >= 2048
    runner.run(generator.check())
