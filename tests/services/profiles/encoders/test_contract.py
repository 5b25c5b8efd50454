"""What every encoder does, for each of them."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from services.profiles.encoders.base import Encoder
from services.profiles.encoders.registry import ENCODERS
from services.profiles.errors import EncoderUnavailable, InvalidInput
from services.profiles.settings import Settings
from tests.services.profiles.encoders.conftest import Run

MAX_BATCH = 16
MODELS = {"onnx": ("float_folder", "int8_folder"), "openai": ("server",)}
"""For each entry of the registry, the fixtures that give it a model: none may be without."""


@dataclass
class Subject:
    encoder: Encoder
    batches: list[int] = field(default_factory=list)


@pytest.fixture(params=[(name, model) for name in ENCODERS for model in MODELS[name]], ids="-".join)
def subject(request: pytest.FixtureRequest, run: Run) -> Iterator[Subject]:
    batches: list[int] = []
    name, fixture = request.param
    model = request.getfixturevalue(fixture)
    settings = Settings(
        encoder_batch=MAX_BATCH,
        encoder_timeout_s=30,
        **({"encoder_url": model.url} if name == "openai" else {"encoder_path": model}),
    )
    encoder = ENCODERS[name](settings, batches.append)
    yield Subject(encoder, batches)
    run(encoder.aclose())


def test_vectors_have_unit_length_and_the_order_of_the_texts(subject: Subject, run: Run) -> None:
    texts = ["a film about dogs", "war", "a very long story about two people in love " * 5, "war"]
    vectors = run(subject.encoder.encode(texts))
    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for text, vector in zip(texts, vectors, strict=True):
        assert np.allclose(run(subject.encoder.encode([text]))[0], vector, atol=1e-4)
    near, far = run(subject.encoder.encode(["a movie with puppies", "a quarterly tax report"]))
    assert vectors[0] @ near > vectors[0] @ far + 0.2


def test_no_texts_make_no_rows_of_the_same_width(subject: Subject, run: Run) -> None:
    assert run(subject.encoder.encode([])).shape == (0, 384)


@pytest.mark.parametrize(
    "text",
    ["", " ", "日本語の映画", "فيلم قصير", "👩‍👩‍👧‍👦🎬", "e\u0301\u200b\ufeff", "\x00\x07", "½²"],
)
def test_any_text_has_a_direction(subject: Subject, run: Run, text: str) -> None:
    (vector,) = run(subject.encoder.encode([text]))
    assert np.isclose(np.linalg.norm(vector), 1, atol=1e-5)


def test_a_long_text_counts_with_its_beginning(subject: Subject, run: Run) -> None:
    beginning = "space opera " * 200
    long, longer = run(subject.encoder.encode([beginning, beginning + "tax report " * 100_000]))
    assert np.allclose(long, longer, atol=1e-4)


def test_a_lone_surrogate_costs_only_its_own_call(subject: Subject, run: Run) -> None:
    async def both() -> list[object]:
        calls = subject.encoder.encode(["good"]), subject.encoder.encode(["good", "\ud800"])
        return await asyncio.gather(*calls, return_exceptions=True)

    good, bad = run(both())
    assert good.shape == (1, 384)
    assert isinstance(bad, InvalidInput)
    assert "text 1" in bad.detail


def test_concurrent_calls_are_computed_together(subject: Subject, run: Run) -> None:
    texts = [f"film number {number}" for number in range(40)]

    async def all_at_once() -> list[object]:
        return await asyncio.gather(*(subject.encoder.encode([text]) for text in texts))

    rows = run(all_at_once())
    assert sum(subject.batches) == 40
    assert max(subject.batches) == MAX_BATCH
    assert len(subject.batches) <= 4
    together = run(subject.encoder.encode(texts))
    assert np.allclose(np.concatenate(rows), together, atol=1e-4)


def test_a_cancelled_call_leaves_the_others_as_they_were(subject: Subject, run: Run) -> None:
    async def one_leaves() -> list[object]:
        calls = [asyncio.create_task(subject.encoder.encode([f"film {i}"] * 20)) for i in range(3)]
        await asyncio.sleep(0)
        calls[1].cancel()
        return await asyncio.gather(*calls, return_exceptions=True)

    first, left, last = run(one_leaves())
    assert isinstance(left, asyncio.CancelledError)
    for rows, text in ((first, "film 0"), (last, "film 2")):
        expected = run(subject.encoder.encode([text] * 20))
        assert np.allclose(rows, expected, atol=1e-4)


def test_the_component_names_the_model(subject: Subject) -> None:
    assert subject.encoder.component.name
    assert len(subject.encoder.component.hash) == 12
    int(subject.encoder.component.hash, 16)


def test_a_closed_encoder_says_so(subject: Subject, run: Run) -> None:
    run(subject.encoder.check())
    run(subject.encoder.aclose())
    with pytest.raises(EncoderUnavailable, match="closed"):
        run(subject.encoder.check())


@pytest.mark.parametrize("name", ENCODERS)
def test_a_setting_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"RECLM_ENCODER_(PATH|URL)"):
        ENCODERS[name](Settings(encoder_path=None, encoder_url=None), lambda _: None)
