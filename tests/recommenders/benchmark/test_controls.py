"""What models get in place of profiles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import sparse

from recommenders.benchmark.controls import controlled, missing, permutation
from recommenders.benchmark.guessing import BUMPS, guessed_popularity, spread_out
from recommenders.benchmark.prepared import BenchmarkPaths, prepare
from recommenders.models.base import Inputs
from recommenders.models.errors import ModelError
from tests.recommenders.benchmark.tiny_grid import CONTROLLED, experiment, run
from tests.recommenders.models.worlds import world

if TYPE_CHECKING:
    from pathlib import Path

HERE = world(blocks=3, cold_items=4, cold_users=2)
WORDS = sparse.csr_array(np.eye(HERE.inputs.n_items, dtype=np.float32))
INPUTS = replace(HERE.inputs, text_words=WORDS, profile_words=WORDS)
READABLE = HERE.inputs.train
NOBODY = np.zeros(INPUTS.n_users, np.bool_)


def test_in_the_control_of_texts_no_item_has_a_profile_and_users_have_mean_texts() -> None:
    found = controlled(INPUTS, "text", readable=READABLE, own=None, seed=1)
    assert not found.item_profiles.any()
    assert found.profile_words.nnz == 0
    assert found.text is INPUTS.text
    mean = INPUTS.text[READABLE[[0]].indices].mean(axis=0)
    np.testing.assert_allclose(found.user_profiles[0], mean / np.linalg.norm(mean), atol=1e-6)
    again = controlled(INPUTS, "text-again", readable=READABLE, own=None, seed=1)
    assert again.item_profiles is INPUTS.text
    assert again.profile_words is INPUTS.text_words
    np.testing.assert_array_equal(again.user_profiles, found.user_profiles)


def test_a_control_replaces_only_what_is_there() -> None:
    for kind in ("text", "text-again", "shuffled", "popularity"):
        few = replace(INPUTS, user_profiles=None, profile_words=None)
        found = controlled(few, kind, readable=READABLE, own=None, seed=1)
        assert found.user_profiles is None
        assert found.profile_words is None
        assert found.item_profiles is not None


def test_profiles_are_shuffled_among_warm_and_among_cold() -> None:
    found = controlled(INPUTS, "shuffled", readable=READABLE, own=~NOBODY, seed=1)
    order = found.profile_words.indices
    assert sorted(order) == list(range(INPUTS.n_items))
    assert (order != np.arange(INPUTS.n_items)).mean() > 0.8
    cold = np.isin(np.arange(INPUTS.n_items), HERE.cold_items)
    assert (cold[order] == cold).all()
    np.testing.assert_array_equal(found.item_profiles, INPUTS.item_profiles[order])
    rows = [
        np.flatnonzero((INPUTS.user_profiles == one).all(axis=1))[0] for one in found.user_profiles
    ]
    assert sorted(rows) == list(range(INPUTS.n_users))
    assert (np.isin(rows, HERE.cold_users) == np.isin(np.arange(len(rows)), HERE.cold_users)).all()
    other = controlled(INPUTS, "shuffled", readable=READABLE, own=~NOBODY, seed=2)
    assert (other.profile_words.indices != order).any()


def test_users_without_a_profile_of_their_own_get_the_mean_of_shuffled_ones() -> None:
    found = controlled(INPUTS, "shuffled", readable=READABLE, own=NOBODY, seed=1)
    mean = found.item_profiles[READABLE[[0]].indices].mean(axis=0)
    np.testing.assert_allclose(found.user_profiles[0], mean / np.linalg.norm(mean), atol=1e-6)
    some = NOBODY.copy()
    some[:8] = True
    part = controlled(INPUTS, "shuffled", readable=READABLE, own=some, seed=1)
    np.testing.assert_array_equal(part.user_profiles[~some], found.user_profiles[~some])
    mine = INPUTS.user_profiles[:8]
    assert sorted(map(tuple, part.user_profiles[:8])) == sorted(map(tuple, mine))


def test_rows_that_do_not_move_stay() -> None:
    warm = np.arange(10) < 6
    order = permutation(warm, np.random.default_rng(0), np.arange(10) != 3)
    assert order[3] == 3
    assert sorted(order[:6]) == list(range(6))


def popular(rng: np.random.Generator) -> tuple[sparse.csr_array, sparse.csr_array, np.ndarray]:
    """Items whose word tells how popular they are; the last ten have no interactions."""
    wanted = rng.integers(0, 4, 70)
    counts = np.array([2, 8, 30, 90])[wanted]
    counts[60:] = 0
    train = np.zeros((100, 70), np.float32)
    for item, count in enumerate(counts):
        train[:count, item] = 1
    words = np.zeros((70, 30), np.float32)
    words[np.arange(70), wanted] = 1
    words[np.arange(70), rng.integers(4, 30, 70)] = 1
    return sparse.csr_array(words), sparse.csr_array(train), wanted


def test_popularity_is_guessed_from_words_for_items_that_were_not_seen() -> None:
    words, train, wanted = popular(np.random.default_rng(0))
    guess = guessed_popularity(words, train, seed=1)
    truth = np.log1p([2, 8, 30, 90])[wanted]
    assert np.corrcoef(guess[60:], truth[60:])[0, 1] > 0.95
    assert np.corrcoef(guess[:60], truth[:60])[0, 1] > 0.95


def test_the_guess_for_an_item_of_training_has_not_seen_its_own_count() -> None:
    words = sparse.csr_array(np.eye(40, dtype=np.float32))  # each has a word of its own
    rng = np.random.default_rng(0)
    train = sparse.csr_array((rng.random((50, 40)) < rng.random(40)).astype(np.float32))
    guess = guessed_popularity(words, train, seed=1)
    counts = np.log1p(np.bincount(train.indices, minlength=40))
    # From others' words nothing follows but the mean; a fit to itself would have a correlation of 1.
    assert np.corrcoef(guess, counts)[0, 1] < 0.3


def test_too_few_items_to_guess_from_are_refused() -> None:
    words = sparse.csr_array(np.eye(3, dtype=np.float32))
    with pytest.raises(ModelError, match="leave the control 'popularity' out"):
        guessed_popularity(words, words, seed=1)


def test_one_number_is_spread_so_that_near_ones_are_alike() -> None:
    rows = spread_out(np.array([*np.linspace(0, 5, 50), np.nan]))
    assert rows.shape == (51, BUMPS)
    assert not rows[50].any()
    unit = rows[:50] / np.linalg.norm(rows[:50], axis=1, keepdims=True)
    alike = unit @ unit[0]
    assert (np.diff(alike) < 1e-6).all()
    assert alike[1] > 0.9
    assert alike[-1] < 1e-3


def test_what_a_control_lacks_is_said() -> None:
    bare = Inputs(train=INPUTS.train, user_profiles=INPUTS.user_profiles)
    assert missing(bare, "text") == "items have no text"
    assert missing(bare, "popularity") == "items have no profiles to guess from"
    assert missing(bare, "shuffled") is None
    assert all(missing(INPUTS, kind) is None for kind in ("text", "popularity", "text-again"))


def test_a_grid_with_profiles_has_controls_and_verdicts(
    paths: BenchmarkPaths, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    document = run(paths, tmp_path, CONTROLLED)
    for words in (
        "| kernel_ridge augmented: text + shuffled profiles |",
        "| kernel_ridge augmented: text |",
        "| kernel_ridge augmented: text + popularity guessed from the profile's words |",
        "What profiles are worth (ndcg@20",
        "cluster bootstrap over users, items and seeds",
        "Shuffled profiles, gated, over text: ",
    ):
        assert words in document
    cold = document.split("## cold-items")[1].split("## ")[0]
    (row,) = (
        line for line in cold.splitlines() if line.startswith("| kernel_ridge augmented | +0.")
    )
    # There are four new items in the test part: whatever they gain, they may be no others.
    assert row.endswith("| nothing shown |")
    # The same rows again need no run.
    capfd.readouterr()
    assert run(paths, tmp_path, CONTROLLED) == document
    assert "0 runs to do" in capfd.readouterr().err
    # Without controls no gain is called one.
    bare = run(paths, tmp_path, CONTROLLED + "controls: []\n")
    assert "**none**: no difference is called a gain" in bare
    assert "| no control, no verdict |" in bare
    assert "| worth |" not in bare
    one = run(paths, tmp_path, CONTROLLED.replace("seeds: [1, 2]", "seeds: [1]"))
    assert "| one seed decides nothing |" in one


def test_rows_of_controls_follow_the_row_that_they_control() -> None:
    rows = experiment(
        models=[
            {"name": "lightgcn"},
            {"name": "kernel_ridge", "options": {"variant": "augmented"}},
            {"name": "linear_tower", "options": {"variant": "augmented"}},
        ],
        controls=("text", "shuffled"),
    ).rows
    assert [(row.name, row.control) for row in rows] == [
        ("lightgcn", None),
        ("kernel_ridge", None),
        ("kernel_ridge", "text"),
        ("kernel_ridge", "shuffled"),
        ("linear_tower", None),
        ("linear_tower", "shuffled"),
    ]
    # The same search for profiles and placebo; without profiles there is no weight to choose.
    assert rows[1].trials == rows[3].trials
    assert 0.0 in rows[1].trials["profile_weight"]
    assert rows[2].trials == {"profile_weight": [0.0]}


def test_controls_have_the_prepared_data_of_the_experiment(paths: BenchmarkPaths) -> None:
    ready = prepare(experiment(), 1, paths)
    assert ready.inputs_of(None, 1) is ready.inputs
    assert ready.digest_of("text") == ready.plain_digest
    assert ready.digest_of("shuffled") == ready.digest
    shuffled = ready.inputs_of("shuffled", 1)
    assert shuffled.item_profiles is not None
    assert not np.array_equal(shuffled.item_profiles, ready.inputs.item_profiles)
