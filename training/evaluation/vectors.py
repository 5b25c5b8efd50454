"""Measures of the profiles' vectors: similarity of users, and retrieval of hidden choices."""

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
"""The largest ones shrink to zero what profiles of some thousand users find by chance."""

_JITTER = 1e-8
"""Smaller squared singular values are rounding errors: vectors are of unit length, in float32."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Mean cosines; None where there is nothing to compare with.

    Attributes:
        teacher: Cosine to the teacher's profile of the same user or item.
        similar: Cosine to the profiles of users or items with similar choices.
        others: Cosine to all other profiles of the kind.
    """

    teacher: float | None
    similar: float | None
    others: float | None


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Retrieval of hidden choices by profiles, over users.

    Attributes:
        recall: Mean Recall@20.
        beyond: Mean difference of a user's recall to that of a ranking by popularity, or of another
            model.
        margin: 1.96 standard errors of `beyond`. The regression is fitted for each fifth of the users,
            so users are not fully independent, as the standard error assumes.
    """

    recall: float
    beyond: float
    margin: float


def likenesses(vectors: Vectors, teacher: Vectors, behaviour: Behaviour | None) -> Likeness:
    """Compares vectors with each other.

    A model that writes similar profiles for everyone has `others` close to `similar`.

    Args:
        vectors: Vector of each row, of unit length or zero, (n, d).
        teacher: Vectors of the teacher's profiles, (n, d); zero without one.
        behaviour: The similar rows; None without a dataset.
    """
    known = np.flatnonzero(teacher.any(axis=1))
    to_teacher = (vectors[known] * teacher[known]).sum(axis=1)
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
    """Measures the retrieval of hidden choices by profiles; None with too few users."""
    found = recalls(vectors, behaviour)
    return None if found is None else beyond_popularity(found, behaviour)


def recalls(vectors: Vectors, behaviour: Behaviour) -> Numbers | None:
    """Returns Recall@20 of each user's hidden choices, over all items, by the profile.

    A ridge regression from vectors to choices is fitted on four fifths of the users. For the other
    fifth it ranks all items but those that the prompt names; each fifth in turn. The penalty has the
    least leave-one-out error on the users of the fit (closed form: Golub, Heath and Wahba 1979). The
    intercept is the mean of these users' choices, so equal profiles rank by popularity.

    Args:
        vectors: Vectors of the profiles, (n, d).
        behaviour: Choices of the same rows.

    Returns:
        Recall of the users with hidden choices, in their order; None with fewer than ten.
    """
    users = _users(behaviour)
    return None if len(users) < 2 * _FOLDS else _recalls(vectors, behaviour, users)


def beyond_popularity(found: Numbers, behaviour: Behaviour) -> Retrieval:
    """Compares each user's recall with that of a ranking by popularity."""
    return against(found, _by_popularity(behaviour))


def against(found: Numbers, other: Numbers) -> Retrieval:
    """Compares each user's recall with another recall of the same user."""
    beyond = found - other
    margin = _DEVIATIONS * float(beyond.std(ddof=1)) / len(beyond) ** 0.5
    return Retrieval(float(found.mean()), float(beyond.mean()), margin)


def popularity(behaviour: Behaviour) -> float | None:
    """Returns the recall of a ranking by popularity; None where `retrieval` returns None."""
    few = len(_users(behaviour)) < 2 * _FOLDS
    return None if few else float(_by_popularity(behaviour).mean())


def named(behaviour: Behaviour) -> Retrieval | None:
    """Measures the retrieval by the items that prompts name, one number for each item.

    It is roughly the most that a reader of these prompts can achieve.
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
    # By position, not at random: the same rows always get the same folds.
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

    By eigenvectors of the Gram matrix of rows or of columns, whichever are fewer. The error of the
    smallest values is far below any penalty.
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
    """Returns the residual of each user's choices in a fit without that user.

    The intercept, which has no penalty, adds 1 / n to the leverage of each user.

    Args:
        chosen: Centred, (n, items).
        basis: Left singular vectors of the centred vectors, (n, r).
        singular: Their singular values, (r,).
        inside: The centred choices in that basis, (r, items).
        penalty: Penalty of the regression.
    """
    kept = singular**2 / (singular**2 + penalty)
    own = (basis**2) @ kept + 1 / len(basis)
    left: Numbers = (chosen - (basis * kept) @ inside) / (1 - own)[:, None]
    return left


def _mean(values: NDArray[np.float32] | list[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
