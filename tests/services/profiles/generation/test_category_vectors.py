"""Vectors of profiles that no model wrote."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from services.profiles.domain.profile import Component
from services.profiles.encoders.onnx import OnnxEncoder
from services.profiles.errors import EncoderUnavailable
from services.profiles.generation.category_vectors import CategoryVectors
from services.profiles.generation.prompt_builder import degraded_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.anyio


class Axes:
    """Gives each text an axis of its own; waits while it is held, and fails when it is broken."""

    component = Component("axes", "hash")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.free = asyncio.Event()
        self.free.set()
        self.broken = False

    async def encode(self, texts: Sequence[str]) -> Any:
        await self.free.wait()
        if self.broken:
            raise EncoderUnavailable("no encoder")
        first = len(self.texts)
        self.texts += texts
        return np.eye(8, dtype=np.float32)[first : first + len(texts)]

    async def check(self) -> None:
        """Always there."""

    async def aclose(self) -> None:
        """Holds nothing."""


async def test_two_thousand_profiles_take_one_run_for_each_category() -> None:
    encoder = Axes()
    vectors = CategoryVectors(encoder)
    asked = [("Crime", "Drama"), ("Drama",), ("Crime",), ("Crime", "Drama")] * 500
    rows = await asyncio.gather(*(vectors.vector("user", names) for names in asked))
    assert sorted(encoder.texts) == [degraded_text("user", (n,)).text for n in ("Crime", "Drama")]
    assert all(np.linalg.norm(row) == pytest.approx(1.0) for row in rows)
    both = (await vectors.vector("user", ("Crime", "Drama"))).tolist()
    assert both == pytest.approx([0.5**0.5, 0.5**0.5, 0, 0, 0, 0, 0, 0])


async def test_a_category_that_is_not_there_yet_is_not_waited_for() -> None:
    encoder = Axes()
    vectors = CategoryVectors(encoder)
    crime = await vectors.vector("user", ("Crime",))
    encoder.free.clear()
    assert (await vectors.vector("user", ("Crime", "Drama"))).tolist() == crime.tolist()
    encoder.free.set()
    await asyncio.gather(*vectors._pending.values())
    assert (await vectors.vector("user", ("Crime", "Drama"))).tolist() != crime.tolist()


async def test_without_categories_there_is_a_vector_too() -> None:
    encoder = Axes()
    vectors = CategoryVectors(encoder)
    assert np.linalg.norm(await vectors.vector("item", ())) == pytest.approx(1.0)
    assert encoder.texts == [degraded_text("item", ()).text]


async def test_an_encoder_that_fails_is_told_and_asked_again_by_the_next() -> None:
    encoder = Axes()
    vectors = CategoryVectors(encoder)
    encoder.broken = True
    with pytest.raises(EncoderUnavailable):
        await vectors.vector("user", ("Crime",))
    encoder.broken = False
    await vectors.vector("user", ("Crime",))


async def test_a_caller_that_goes_away_takes_nothing_from_the_others() -> None:
    encoder = Axes()
    vectors = CategoryVectors(encoder)
    encoder.free.clear()
    first = asyncio.create_task(vectors.vector("user", ("Crime",)))
    second = asyncio.create_task(vectors.vector("user", ("Crime",)))
    await asyncio.sleep(0)
    first.cancel()
    encoder.free.set()
    assert np.linalg.norm(await second) == pytest.approx(1.0)


async def test_it_points_where_the_encoder_would(encoder_folder: Path) -> None:
    """The mean of the vectors of categories, beside the vector of the text that they make."""
    encoder = OnnxEncoder(encoder_folder, threads=1, max_batch=8, on_batch=None)
    vectors = CategoryVectors(encoder)
    cosines = []
    for names in (("Crime", "Drama", "Thriller"), ("Comedy", "Romance"), ("Sci-Fi", "Action")):
        await vectors.vector("user", names)
        await asyncio.gather(*vectors._pending.values())
        (whole,) = await encoder.encode([degraded_text("user", names).text])
        cosines.append(float(whole @ await vectors.vector("user", names)))
    await encoder.aclose()
    assert min(cosines) > 0.85
