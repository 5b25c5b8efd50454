"""What is made of a prompt's input without a model, and with each version of the prompt."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.profiles.domain.profile import PHRASES, Item, Kind, ProfileKey
from services.profiles.domain.requests import ProfileRequest
from services.profiles.generation import grammar, prompt_builder
from services.profiles.generation.prompt_builder import (
    Material,
    PromptBuilder,
    PromptInput,
    degraded_text,
)
from services.profiles.generation.prompts.registry import CURRENT
from services.profiles.generation.token_budget import utf8_length
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


class NoCatalogue:
    """Is asked for nothing: all items of these histories are inline."""

    async def get_items(self, tenant: str, ids: list[str]) -> list[Item | None]:
        assert not ids
        return []


def collect(history: list[Item]) -> Material:
    builder = PromptBuilder(
        catalogue=NoCatalogue(),  # type: ignore[arg-type]
        tenant="default",
        count=utf8_length,
        history_tokens=100,
    )
    key = ProfileKey("default", "user", "ann")
    return asyncio.run(builder.collect(ProfileRequest(key=key, history=tuple(history))))


def counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """Returns a list that a function of the module adds its argument to at each call."""
    calls: list[Any] = []
    function = getattr(prompt_builder, name)

    def counting(argument: Any) -> Any:
        calls.append(argument)
        return function(argument)

    monkeypatch.setattr(prompt_builder, name, counting)
    return calls


def test_no_more_of_a_history_is_made_into_lines_than_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand long items took 0.8 s, of which three lines were read."""
    lines = counted(monkeypatch, "item_line")
    found = collect(
        [Item("", f"Title {number:03}", "", "d" * 20) for number in range(1000)]
    ).prompt_input
    assert found.lines == (f"Title 998 | {'d' * 20}", f"Title 999 | {'d' * 20}")
    # The first that does not fit, and the newest to see that there is something to read.
    assert len(lines) == len(found.lines) + 2


def test_of_a_hundred_thousand_categories_the_most_frequent_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = counted(monkeypatch, "as_data")
    distinct = [f"n{number}" for number in range(10_000)]
    history = [
        Item("", "T", ",".join(distinct[start : start + 40])) for start in range(0, 10_000, 40)
    ]
    history += [Item("", "T", "Space Opera"), Item("", "T", "Drama, Space Opera")]
    categories = collect(history).categories
    assert categories[0] == "Space Opera"
    assert len(names) <= 1000


def test_categories_that_are_as_frequent_stay_in_the_order_of_their_appearance() -> None:
    history = [
        Item("", "T", "Drama, Crime"),
        Item("", "T", "Crime|Noir"),
        Item("", "T", "Noir;Drama"),
    ]
    assert collect(history).categories == ("Drama", "Crime", "Noir")
