"""What the vectors of profiles say: who is like whom, and what a user chose besides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from recommenders.metrics import hits, recall

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from training.evaluation.behaviour import Behaviour

    Numbers = NDArray[np.float64]
    Vectors = NDArray[np.float32]

DEPTH = 20
_FOLDS = 5
_DEVIATIONS = 1.96
_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 1e4, 1e5)
"""The last leave nothing of profiles that differ by chance, of some thousand users."""

_JITTER = 1e-8
"""Squared singular values that are rounding: vectors have a length of one, in float32."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Mean cosines; None where there is nothing to compare with.

    Attributes:
        teacher: To the teacher's profile of the same user or item.
        similar: To the profiles of those with similar choices.
        others: To those of all others of the kind.
    """

    teacher: float | None
    similar: float | None
    others: float | None


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How well profiles find what their users chose besides, over those users.

    Attributes:
        recall: Mean Recall@20.
        beyond: Mean of what each user's is above that of a ranking by popularity, or of whatever
            else it is held against.
        margin: 1.96 standard errors of `beyond`. The map is fitted anew for each fifth of the
            users only, so they are not quite as independent as that takes them to be.
    """

    recall: float
    beyond: float
    margin: float


def likenesses(vectors: Vectors, teacher: Vectors, behaviour: Behaviour | None) -> Likeness:
    """Compares vectors with each other.

    A model that smooths writes similar profiles for everybody: `others` comes near `similar`.

    Args:
        vectors: Shape (n, d), of unit length or zero, one for each row.
        teacher: The same of the teacher's profiles; zero where there is none.
        behaviour: Says who is similar; None if nobody knows.
    """
    taught = np.flatnonzero(teacher.any(axis=1))
    to_teacher = (vectors[taught] * teacher[taught]).sum(axis=1)
    if behaviour is None:
        return Likeness(_mean(to_teacher), None, None)
    cosines = vectors @ vectors.T
    near, far = [], []
    kinds = np.array(behaviour.kinds)
    for row, similar in enumerate(behaviour.similar):
        if similar:
            others = kinds == kinds[row]
            others[[row, *similar]] = False
            near.append(float(cosines[row, similar].mean()))
            if others.any():
                far.append(float(cosines[row, others].mean()))
    return Likeness(_mean(to_teacher), _mean(near), _mean(far))


def retrieval(vectors: Vectors, behaviour: Behaviour) -> Retrieval | None:
    """Judges how well profiles find what their users chose besides; None with too few users."""
    found = recalls(vectors, behaviour)
    return None if found is None else beyond_popularity(found, behaviour)


def recalls(vectors: Vectors, behaviour: Behaviour) -> Numbers | None:
    """Returns Recall@20 over all items of what each user chose besides, found by the profile.

    A ridge regression from vectors to choices is fitted on four fifths of the users and ranks all
    items for the other fifth, but those that the prompt names; each fifth in turn. How much it is
    held back is chosen by leave-one-out error on the users that it is fitted on (Golub, Heath and
    Wahba 1979 have the closed form). What profiles leave unsaid is the mean of those users'
    choices: profiles that are all the same rank by popularity.

    Args:
        vectors: Shape (n, d).
        behaviour: Of the same rows.

    Returns:
        For the users of whom there is something to find, in their order; None with fewer than ten.
    """
    users = _users(behaviour)
    return None if len(users) < 2 * _FOLDS else _recalls(vectors, behaviour, users)


def beyond_popularity(found: Numbers, behaviour: Behaviour) -> Retrieval:
    """Holds each user's recall against that of a ranking by popularity."""
    return against(found, _by_popularity(behaviour))


def against(found: Numbers, other: Numbers) -> Retrieval:
    """Holds each user's recall against another of the same user."""
    beyond = found - other
    margin = _DEVIATIONS * float(beyond.std(ddof=1)) / len(beyond) ** 0.5
    return Retrieval(float(found.mean()), float(beyond.mean()), margin)


def popularity(behaviour: Behaviour) -> float | None:
    """Returns the recall of profiles that say nothing; None where `retrieval` is."""
    few = len(_users(behaviour)) < 2 * _FOLDS
    return None if few else float(_by_popularity(behaviour).mean())


def named(behaviour: Behaviour) -> Retrieval | None:
    """Judges what the prompts name, as it is: a number for each item instead of any words.

    About as much as that finds is there to be found by whoever reads those prompts.
    """
    items: NDArray[np.float32] = behaviour.shown.toarray().astype(np.float32)
    lengths = np.linalg.norm(items, axis=1, keepdims=True)
    return retrieval(items / np.maximum(lengths, 1), behaviour)


def _users(behaviour: Behaviour) -> NDArray[np.int64]:
    """Returns the rows of which there is something to find."""
    return np.flatnonzero(np.diff(behaviour.hidden.indptr))


@lru_cache(maxsize=1)  # every model is measured against it
def _by_popularity(behaviour: Behaviour) -> Numbers:
    nothing = np.zeros((len(behaviour.kinds), 1), np.float32)
    return _recalls(nothing, behaviour, _users(behaviour))


def _recalls(vectors: Vectors, behaviour: Behaviour, users: NDArray[np.int64]) -> Numbers:
    read: Numbers = vectors[users].astype(np.float64)
    chosen: Numbers = behaviour.hidden[users].toarray().astype(np.float64)
    shown = behaviour.shown[users].toarray() > 0
    ranked = np.empty((len(users), min(DEPTH, chosen.shape[1])), np.int64)
    # By place, not drawn: the same rows are judged in the same way each time.
    fold = np.arange(len(users)) % _FOLDS
    for evaluated in (fold == number for number in range(_FOLDS)):
        scores = _ridge(read[~evaluated], chosen[~evaluated], read[evaluated])
        scores[shown[evaluated]] = -np.inf
        ranked[evaluated] = np.argsort(-scores, axis=1, kind="stable")[:, : ranked.shape[1]]
    relevant: sparse.csr_array = behaviour.hidden[users]
    sizes = np.diff(relevant.indptr).astype(np.int64)
    return recall(hits(ranked, relevant), sizes, ranked.shape[1])


def _ridge(known: Numbers, chosen: Numbers, asked: Numbers) -> Numbers:
    """Returns scores, (asked, items), of a ridge regression with an intercept."""
    centre, mean = known.mean(axis=0), chosen.mean(axis=0)
    basis, singular, directions = _directions(known - centre)
    inside = basis.T @ (chosen - mean)
    errors = [
        float((_left_out(chosen - mean, basis, singular, inside, penalty) ** 2).mean())
        for penalty in _PENALTIES
    ]
    penalty = _PENALTIES[int(np.argmin(errors))]
    weights = (singular / (singular**2 + penalty))[:, None] * inside
    scores: Numbers = mean + (asked - centre) @ directions @ weights
    return scores


def _directions(read: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Returns the thin singular value decomposition of (n, d): (n, r), (r,) and (d, r).

    By eigenvectors of the products of rows or of columns, whichever are fewer. What that loses of
    the smallest values is far below any penalty.
    """
    count, width = read.shape
    values, vectors = np.linalg.eigh(read.T @ read if width <= count else read @ read.T)
    there = values > _JITTER
    singular = np.sqrt(values[there])
    if width <= count:
        directions = vectors[:, there]
        return read @ directions / singular, singular, directions
    basis = vectors[:, there]
    return basis, singular, read.T @ basis / singular


def _left_out(
    chosen: Numbers, basis: Numbers, singular: Numbers, inside: Numbers, penalty: float
) -> Numbers:
    """Returns what is left of each user's choices by a fit without that user.

    The intercept, which is not held back, takes one over n of each user's weight in their own fit.

    Args:
        chosen: Centred, (n, items).
        basis: Left singular vectors of the centred vectors, (n, r).
        singular: Their singular values, (r,).
        inside: The centred choices in that basis, (r, items).
        penalty: How much the map is held back.
    """
    kept = singular**2 / (singular**2 + penalty)
    own = (basis**2) @ kept + 1 / len(basis)
    left: Numbers = (chosen - (basis * kept) @ inside) / (1 - own)[:, None]
    return left


def _mean(values: NDArray[np.float32] | list[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
