"""Controls: what a model gets in place of profiles, to tell what a profile itself is worth.

A model that reads profiles has more layers than its base variant, and a vector of each user. Part
of a gain may come from those, or from what a reader of profiles could guess in one number. A
control therefore is the same model, with the same options, search and budget, on other inputs:

- `text`: no item has a profile, and a user's profile is the mean of the texts of the known items;
- `shuffled`: every profile is that of another item or user, warm ones among warm ones, cold among
  cold (a placebo: the same vectors, that say nothing of their bearer);
- `text-again`: an item's profile is its text;
- `popularity`: an item's profile is one number, the popularity guessed from the profile's words.

Only what the experiment's inputs have is replaced: a model whose users have no profiles gets none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import sparse

from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.guessing import guessed_popularity, spread_out
from recommenders.benchmark.means import mean_vectors

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from recommenders.models.base import Inputs

Control = Literal["text", "shuffled", "text-again", "popularity"]
CONTROLS: tuple[Control, ...] = ("text", "shuffled", "text-again", "popularity")

WORDS: dict[Control, str] = {
    "text": "text",
    "shuffled": "text + shuffled profiles",
    "text-again": "text + text again",
    "popularity": "text + popularity guessed from the profile's words",
}
"""What a row of a control is called."""

READS_PROFILES: frozenset[Control] = frozenset({"shuffled", "popularity"})
"""The controls that are made from the profiles, so that other profiles make another run."""


def controlled(
    inputs: Inputs,
    control: Control,
    *,
    readable: sparse.csr_array,
    own: NDArray[np.bool_] | None,
    seed: int,
) -> Inputs:
    """Returns the inputs of a control.

    Args:
        inputs: The experiment's inputs, with profiles.
        control: The control.
        readable: The interactions that profiles of users may read, CSR, (n_users, n_items).
        own: (n_users,), which users have a profile of their own; None if none has. The profiles of
            others are the means of those of their items, and are made again.
        seed: Of the permutations.

    Raises:
        BenchmarkError: The control cannot be made from these inputs.
    """
    made: dict[Control, Callable[[], Inputs]] = {
        "text": lambda: _of_texts(inputs, readable, items=False),
        "text-again": lambda: _of_texts(inputs, readable, items=True),
        "shuffled": lambda: _shuffled(inputs, readable, own, np.random.default_rng([seed, 0x5EED])),
        "popularity": lambda: _guessed(inputs, readable, seed),
    }
    return made[control]()


def missing(inputs: Inputs, control: Control) -> str | None:
    """Returns why a control cannot be made from inputs; None if it can."""
    if control in {"text", "text-again"} and inputs.text is None:
        return "items have no text"
    if control == "popularity" and inputs.item_profiles is None and inputs.profile_words is None:
        return "items have no profiles to guess from"
    return None


def _of_texts(inputs: Inputs, readable: sparse.csr_array, *, items: bool) -> Inputs:
    """Returns inputs with texts in the place of users' profiles and, if `items`, of items'."""
    if inputs.text is None:
        raise BenchmarkError("a control of texts needs texts of items, and there are none")
    vectors = inputs.text if items else np.zeros_like(inputs.text)
    words = inputs.text_words
    if words is not None and not items:
        words = words[:, :0]
    return replace(
        inputs,
        item_profiles=None if inputs.item_profiles is None else vectors,
        profile_words=None if inputs.profile_words is None else words,
        user_profiles=(
            None if inputs.user_profiles is None else mean_vectors(readable, inputs.text)
        ),
    )


def _shuffled(
    inputs: Inputs,
    readable: sparse.csr_array,
    own: NDArray[np.bool_] | None,
    rng: np.random.Generator,
) -> Inputs:
    """Returns inputs with permuted profiles; means of items' profiles are of the permuted ones."""
    order = permutation(np.bincount(inputs.train.indices, minlength=inputs.n_items) > 0, rng)
    items = None if inputs.item_profiles is None else inputs.item_profiles[order]
    words = None if inputs.profile_words is None else inputs.profile_words[order]
    users = inputs.user_profiles
    if users is not None:
        among = permutation(np.diff(inputs.train.indptr) > 0, rng, own)
        users = users[among]
        if items is not None:
            means = mean_vectors(readable, items)
            users = means if own is None else np.where(own[:, None], users, means)
    return replace(inputs, item_profiles=items, profile_words=words, user_profiles=users)


def permutation(
    warm: NDArray[np.bool_], rng: np.random.Generator, among: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Returns a random order of rows that moves warm rows among warm ones, and cold among cold.

    Args:
        warm: (rows,), whether a row is warm.
        rng: Source of the order.
        among: (rows,), the rows that move; the others stay. None for all.
    """
    moves = np.ones(len(warm), np.bool_) if among is None else among
    order = np.arange(len(warm))
    for group in (np.flatnonzero(warm & moves), np.flatnonzero(~warm & moves)):
        order[group] = rng.permutation(group)
    return order


def _guessed(inputs: Inputs, readable: sparse.csr_array, seed: int) -> Inputs:
    """Returns inputs with the guessed popularity of items in the place of profiles."""
    described = inputs.item_profiles if inputs.profile_words is None else inputs.profile_words
    if described is None:
        raise BenchmarkError("popularity is guessed from profiles of items, and there are none")
    guess = guessed_popularity(described, inputs.train, seed=seed)
    vectors = spread_out(guess)
    return replace(
        inputs,
        item_profiles=None if inputs.item_profiles is None else vectors,
        profile_words=None if inputs.profile_words is None else sparse.csr_array(vectors),
        user_profiles=None if inputs.user_profiles is None else mean_vectors(readable, vectors),
    )
