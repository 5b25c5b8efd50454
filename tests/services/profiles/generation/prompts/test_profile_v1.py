"""Version 1 is frozen: adapters, bundles and stored profiles name its hash."""

from __future__ import annotations

import pytest

from services.profiles.domain.profile import PHRASES, Component
from services.profiles.generation.prompts.base import component
from services.profiles.generation.prompts.registry import PROMPTS

PROMPT = PROMPTS["profile-v1"]


@pytest.mark.parametrize(("examples", "digest"), [(False, "d3431fa4d3db"), (True, "68001cba9423")])
def test_no_word_of_it_changes(examples: bool, digest: str) -> None:
    assert component(PROMPT, examples=examples) == Component("profile-v1", digest)


def test_it_asks_for_as_many_phrases_as_a_profile_has() -> None:
    words = {3: "three", 5: "five"}
    for kind, chat in (("user", PROMPT.user_messages(["x"])), ("item", PROMPT.item_messages("x"))):
        assert chat[0].content.count(f"{words[PHRASES[kind]]} short phrases") == 2
