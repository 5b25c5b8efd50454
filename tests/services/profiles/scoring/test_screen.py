from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from services.profiles.scoring import scorer as scorers
from services.profiles.scoring.product_graph import bytes_product
from services.profiles.scoring.scorer import open_scorer
from services.profiles.scoring.screen import Screen
from tests.services.profiles.scoring.test_scorer import NOBODY, VERSION, ranked
from tests.support.bundles import little

if TYPE_CHECKING:
    from pathlib import Path


def vectors(rows: int, dimension: int, seed: int, *, heavy: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = rng.standard_normal((rows, dimension), np.float32)
    # A few items and dimensions that are much longer than the others, as popular items are.
    return made * rng.gamma(0.3, 3.0, (rows, 1)).astype(np.float32) if heavy else made


def test_the_graph_is_what_onnx_calls_one() -> None:
    steps = np.arange(96).reshape(3, 2, 16).astype(np.uint8)
    scales, bias = vectors(3, 2, 1), vectors(3, 1, 2)[:, 0]
    model = onnx.load_model_from_string(bytes_product(steps, scales, bias, depth=20))
    onnx.checker.check_model(model)
    for found, wanted in zip(model.graph.initializer, (steps, scales, bias), strict=True):
        assert (numpy_helper.to_array(found) == wanted).all()


@pytest.mark.parametrize("biggest", [0, 0.01, 1, 100])
@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("dimension", [1, 7, 64, 300])
def test_no_rough_score_is_further_off_than_it_says(
    dimension: int, biggest: float, *, heavy: bool
) -> None:
    items = vectors(20_000, dimension, 1, heavy=heavy)
    bias = (biggest * vectors(20_000, 1, 3)[:, 0]).astype(np.float32)
    screen = Screen(items, bias)
    for user in vectors(20, dimension, 2):
        off, error = off_and_error(screen, items, bias, user)
        assert off <= error
        assert error <= 0.05 * (np.abs(user) @ np.abs(items).max(axis=0) + np.abs(bias).max())


def off_and_error(
    screen: Screen, items: np.ndarray, bias: np.ndarray, user: np.ndarray
) -> tuple[float, float]:
    """Returns how far rough scores are off at most, and how far they say."""
    scores, error = screen.approximate(user)
    return float(np.abs(scores - (items.astype(np.float64) @ user + bias)).max()), error


def test_the_largest_numbers_do_not_overflow() -> None:
    """All bytes at their ends: where 16 bits are too few for two products, the sum is wrong."""
    items = np.ones((4096, 64), np.float32)
    items[1::2] = -1
    user, bias = np.ones(64, np.float32), np.ones(4096, np.float32)
    off, error = off_and_error(Screen(items, bias), items, bias, user)
    assert off <= error


@pytest.mark.parametrize("user", [np.zeros(8, np.float32), np.full(8, 1e-38, np.float32)])
def test_a_user_of_almost_nothing_is_scored(user: np.ndarray) -> None:
    items = vectors(5_000, 8, 3)
    items[:, 3] = 0
    bias = np.zeros(len(items), np.float32)
    off, error = off_and_error(Screen(items, bias), items, bias, user)
    assert off <= error + 1e-37


@pytest.mark.parametrize("seed", range(5))
def test_the_best_are_the_same_with_and_without_a_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    made = little()
    rng = np.random.default_rng(seed)
    items = vectors(30_000, made.arrays["item_vectors"].shape[1], seed, heavy=True)
    ids = [f"i{row}" for row in range(len(items))]
    history = vectors(30_000, made.arrays["history_vectors"].shape[1], seed + 100)
    large = replace(
        made,
        item_ids=ids,
        arrays={
            **made.arrays,
            "item_vectors": items,
            "history_vectors": history,
            "item_bias": rng.standard_normal(len(items)).astype(np.float32),
            "neighbours_indices": np.zeros((len(items), 1), np.int32),
            "neighbours_scores": np.zeros((len(items), 1), np.float32),
        },
    )
    folder = large.write(tmp_path, "large")
    plain = open_scorer(folder, VERSION)
    monkeypatch.setattr(scorers, "_WORTH_A_SCREEN", 1)
    screened = open_scorer(folder, VERSION)
    question = replace(NOBODY, clicks=[5, 7, 11], exclude=[2], k=50, reasons=False)
    wanted, got = ranked(plain.rank(question)), ranked(screened.rank(question))
    assert [name for name, _ in got] == [name for name, _ in wanted]
    assert [score for _, score in got] == pytest.approx([score for _, score in wanted], rel=1e-5)
