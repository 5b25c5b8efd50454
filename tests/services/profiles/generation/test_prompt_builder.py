"""What is made of a prompt's input without a model, and with each version of the prompt."""

from __future__ import annotations

import pytest

from services.profiles.domain.profile import PHRASES, Kind
from services.profiles.generation import grammar
from services.profiles.generation.prompt_builder import PromptInput, degraded_text
from services.profiles.generation.prompts.registry import CURRENT
from tests.services.profiles.generation.prompts.versions import ProfileV2


@pytest.mark.parametrize("kind", PHRASES)
@pytest.mark.parametrize("count", range(7))
def test_a_degraded_profile_is_a_profile_of_its_kind(kind: Kind, count: int) -> None:
    categories = ("Crime", "Film-Noir", "Comedy", "Drama", "Sci-Fi", "Horror")[:count]
    words = degraded_text(kind, categories)
    assert len(words.identities) == len(words.interests) == PHRASES[kind]
    assert words.interests[:count] == categories[: PHRASES[kind]]
    assert grammar.parse(kind, words.text) == words


def test_the_same_input_is_read_by_every_version() -> None:
    user = PromptInput("user", ("Heat (1995)",), None, bytes(16))
    item = PromptInput("item", ("Casino (1995)",), "Heat (1995)", bytes(16))
    for version in (CURRENT, ProfileV2()):
        expected = version.user_messages(["Heat (1995)"], examples=False)
        assert user.messages(version, examples=False) == expected
        expected = version.item_messages("Heat (1995)", ["Casino (1995)"], examples=True)
        assert item.messages(version, examples=True) == expected
    assert user.messages(CURRENT, examples=False) != user.messages(ProfileV2(), examples=False)
