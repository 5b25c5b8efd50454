from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.profiles.scoring.phrases import Phrases

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio


class Lengths:
    """Encodes a text as its length, and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked.append(list(texts))
        return np.array([[len(text)] for text in texts], np.float32)


async def test_a_phrase_is_encoded_once() -> None:
    encoder = Lengths()
    phrases = Phrases(encoder)  # type: ignore[arg-type]
    assert (await phrases.vectors(["a", "bb", "a"])).tolist() == [[1], [2], [1]]
    assert (await phrases.vectors(["ccc", "bb"])).tolist() == [[3], [2]]
    assert (await phrases.vectors(["bb"])).tolist() == [[2]]
    assert encoder.asked == [["a", "bb"], ["ccc"]]


async def test_what_was_asked_for_longest_ago_goes_first() -> None:
    encoder = Lengths()
    phrases = Phrases(encoder, capacity=2)  # type: ignore[arg-type]
    for asked in (["a"], ["bb"], ["a"], ["ccc"], ["a"], ["bb"]):
        await phrases.vectors(asked)
    assert encoder.asked == [["a"], ["bb"], ["ccc"], ["bb"]]


async def test_more_phrases_than_are_kept_are_all_answered() -> None:
    phrases = Phrases(Lengths(), capacity=1)  # type: ignore[arg-type]
    assert (await phrases.vectors(["a", "bb", "ccc"])).tolist() == [[1], [2], [3]]
