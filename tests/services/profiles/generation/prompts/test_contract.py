"""What every version of the prompts does, for each of them."""

from __future__ import annotations

import re

import pytest

from services.profiles.domain.profile import PHRASES
from services.profiles.generation.grammar import NotAProfile
from services.profiles.generation.prompts.base import PromptVersion, component
from services.profiles.generation.prompts.registry import (
    CURRENT,
    PROMPTS,
    UnknownPrompt,
    prompt_named,
)


@pytest.fixture(params=PROMPTS)
def prompt(request: pytest.FixtureRequest) -> PromptVersion:
    return PROMPTS[request.param]


def test_names_lead_to_versions() -> None:
    assert {name: version.name for name, version in PROMPTS.items()} == {
        name: name for name in PROMPTS
    }
    assert prompt_named() is CURRENT
    assert prompt_named(CURRENT.name) is CURRENT
    with pytest.raises(UnknownPrompt, match=f"'profile-v0'.*{CURRENT.name}"):
        prompt_named("profile-v0")


def test_no_two_versions_have_the_same_words() -> None:
    hashes = {component(version, examples=False).hash for version in PROMPTS.values()}
    assert len(hashes) == len(PROMPTS)


@pytest.mark.parametrize("examples", [True, False])
def test_chats_alternate_and_end_with_the_data(prompt: PromptVersion, examples: bool) -> None:
    for chat in (
        prompt.user_messages(["first film", "last film"], examples=examples),
        prompt.item_messages("last film", ["neighbour"], examples=examples),
    ):
        roles = [message.role for message in chat]
        assert roles[0] == "system"
        assert roles[1::2] == ["user"] * len(roles[1::2])
        assert roles[2::2] == ["assistant"] * len(roles[2::2])
        assert (len(chat) > 2) == examples
        assert "- last film" in chat[-1].content


def test_the_worked_examples_are_profiles(prompt: PromptVersion) -> None:
    chats = {"user": prompt.user_messages(["x"]), "item": prompt.item_messages("x")}
    assert chats.keys() == PHRASES.keys()
    for kind in PHRASES:
        answers = [message.content for message in chats[kind] if message.role == "assistant"]
        assert answers
        for answer in answers:
            assert prompt.grammar.parse(kind, answer).text == answer
            assert re.fullmatch(prompt.grammar.pattern(kind), answer)


def test_an_answer_without_an_earlier_try_is_held_to_the_whole_pattern(
    prompt: PromptVersion,
) -> None:
    for kind in PHRASES:
        begun, pattern = prompt.grammar.rest(kind, NotAProfile("not asked"))
        assert begun + pattern == prompt.grammar.pattern(kind)


def test_a_prompt_is_known_by_its_words(prompt: PromptVersion) -> None:
    shown, bare = (component(prompt, examples=examples) for examples in (True, False))
    assert shown == component(prompt, examples=True)
    assert shown.name == bare.name == prompt.name
    assert shown.hash != bare.hash
