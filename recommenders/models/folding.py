"""New users: their embeddings from what is known of them, when training knew nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

from recommenders.models.formulas import numbers, root

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from recommenders.models.formulas import Formula
    from recommenders.models.graph import Graph

_RIDGE = 1e-3


def is_cold(users: Tensor, train: sparse.csr_array) -> NDArray[np.int64]:
    """Returns the places among these user rows of those without training interactions."""
    rows = users.cpu().numpy()
    return np.flatnonzero(train.indptr[rows] == train.indptr[rows + 1]).astype(np.int64)


def mean_known(known: sparse.csr_array, vectors: Tensor) -> Tensor:
    """Returns the mean vector of each row's items, (rows, d); zeros for a row without any."""
    counts = np.maximum(np.diff(known.indptr), 1).astype(np.float32)
    return product(known, vectors) / torch.from_numpy(counts)[:, None].to(vectors.device)


def product(known: sparse.csr_array, vectors: Tensor) -> Tensor:
    """Returns the sum of each row's items' vectors, (rows, d)."""
    ones = sparse.csr_array(
        (np.ones(known.nnz, np.float32), known.indices, known.indptr), known.shape
    )
    return torch.from_numpy(ones @ vectors.float().cpu().numpy()).to(vectors.device)


class FoldIn:
    """From the items that a user is known by to the id part that training might have given.

    A linear map of how the mean of the items' embeddings differs from the average user's, fitted
    by ridge regression on the users that training knew, and added to their average id part. A
    user of whom nothing is known gets that average.

    Attributes:
        items: First embeddings of the items, (n_items, d).
        centre: The mean over training users of the mean of their items, (d,).
        average: The mean over training users of their id parts, (d,).
        map: (d, d).
        doubt: How many clicks have to be there for the difference from the average to count half.
    """

    def __init__(
        self, train: sparse.csr_array, items: Tensor, ids: Tensor, *, credible: bool = False
    ) -> None:
        """Fits the map.

        Args:
            train: CSR, (n_users, n_items).
            items: First embeddings of the items, (n_items, d).
            ids: The users' id embeddings, (n_users, d).
            credible: Whether the difference of n items from the average counts n / (n + doubt)
                times; else it counts whole from the first on.
        """
        warm = torch.from_numpy(np.diff(train.indptr) > 0).to(items.device)
        users = max(1, int(warm.sum()))
        means, ids = mean_known(train, items)[warm], ids[warm]
        self.items, self.centre, self.average = items, means.sum(0) / users, ids.sum(0) / users
        self.doubt = _doubt(train, items, means) if credible else 0.0
        there = self._differences(train)[warm].double()
        square = there.T @ there
        penalty = _RIDGE * (square.trace() / len(square)).clamp_min(1e-12)
        square += penalty * torch.eye(len(square)).to(square)
        wanted = (ids - self.average).double()
        self.map = torch.linalg.solve(square, there.T @ wanted).to(items.dtype)

    def ids(self, known: sparse.csr_array) -> Tensor:
        """Returns the id parts of users by what is known of them, (rows, d)."""
        ids: Tensor = self.average + self._differences(known) @ self.map
        return ids

    def formula(self, pooled: Formula, count: Formula) -> Formula:
        """Returns what `ids` does as a formula.

        Args:
            pooled: Sum of the known items' embeddings through the map, `items @ map`, (batch, d).
            count: How many they are, (batch, 1).
        """
        centre, average = numbers(self.centre @ self.map), numbers(self.average)
        return (pooled - count * centre) / (count + self.doubt).at_least(1) + average

    def _differences(self, known: sparse.csr_array) -> Tensor:
        """Returns how each row's items differ from the average user's, as far as it counts."""
        counts = torch.from_numpy(np.diff(known.indptr).astype(np.float32)).to(self.items.device)
        weight = counts / (counts + self.doubt).clamp_min(1)
        return (mean_known(known, self.items) - self.centre) * weight[:, None]


def _doubt(train: sparse.csr_array, items: Tensor, means: Tensor) -> float:
    """Returns the variance within users over that between them, both summed over numbers.

    The k of Buehlmann's credibility n / (n + k) ("Experience rating and credibility", ASTIN
    Bulletin 4, 1967), by the usual estimates: the mean of n items is the user's true mean with an
    error of the variance within over n.

    Args:
        train: CSR, (n_users, n_items).
        items: Embeddings, (n_items, d).
        means: Of the items of each user who has some, (users, d).
    """
    lengths = np.diff(train.indptr)
    counts = torch.from_numpy(lengths[lengths > 0].astype(np.float64))
    degrees = torch.from_numpy(np.bincount(train.indices, minlength=len(items)))
    vectors, means = items.detach().double().cpu(), means.detach().double().cpu()
    squares = float((vectors.square().sum(1) * degrees).sum())
    within = squares - float((means.square().sum(1) * counts).sum())
    within /= max(1.0, float((counts - 1).sum()))
    between = float((means - means.mean(0)).square().sum()) / max(1, len(means) - 1)
    between -= within * float((1 / counts).mean())
    return within / max(between, 1e-6 * within) if within > 0 else 0.0


def few_of_each(train: sparse.csr_array, generator: torch.Generator) -> sparse.csr_array:
    """Returns some of each user's interactions: from one to all, small numbers as likely as large.

    The number is drawn so that its logarithm is uniform; which ones, by lot.

    Args:
        train: CSR, (n_users, n_items).
        generator: Where chance comes from.
    """
    device, counts = generator.device, np.diff(train.indptr)
    draws = torch.rand(train.nnz, generator=generator, device=device).cpu().numpy()
    sizes = torch.rand(len(counts), generator=generator, device=device).cpu().numpy()
    wanted = np.floor(np.exp(sizes * np.log(counts + 1.0)))  # from 1 to the count
    rows = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(train.nnz) - train.indptr[rows]
    kept = np.sort(np.lexsort((draws, rows))[place < wanted[rows]])
    bounds = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=len(counts)))])
    ones = np.ones(len(kept), np.float32)
    return sparse.csr_array((ones, train.indices[kept], bounds), shape=train.shape)


class GraphFoldIn:
    """New users as further nodes of a graph, with an edge to each item they are known by.

    The edges hand on to the new user only: what other nodes are does not change.

    Attributes:
        handed: What each item adds to a neighbour's sum over layers, before it is divided by the
            square root of the neighbour's degree, (n_items, d).
    """

    def __init__(self, graph: Graph, users: Tensor, items: Tensor, layers: int) -> None:
        """Works out what each item hands on to a neighbour, over all layers.

        Args:
            graph: Of the training interactions.
            users: First embeddings, (n_users, d).
            items: First embeddings, (n_items, d).
            layers: How many steps are spread.
        """
        self._layers = layers
        degrees = graph.items.bounds.diff()
        handed = torch.zeros_like(items)
        for _ in range(layers):
            handed += items
            users, items = graph.users @ items, graph.items @ users
        self.handed = handed * degrees.float().rsqrt().masked_fill(degrees == 0, 0)[:, None]

    def formula(self, first: Formula, pooled: Formula, count: Formula) -> Formula:
        """Returns what `spread` does as a formula.

        Args:
            first: First embeddings, (batch, d).
            pooled: Sum of what the known items hand on, (batch, d).
            count: How many they are, (batch, 1).
        """
        return (first + pooled / root(count.at_least(1))) * (1 / (self._layers + 1))

    def spread(self, first: Tensor, known: sparse.csr_array) -> Tensor:
        """Returns spread embeddings of new users, (rows, d).

        Args:
            first: Their first embeddings, (rows, d).
            known: What is known of each, CSR, (rows, n_items).
        """
        degrees = torch.from_numpy(np.maximum(np.diff(known.indptr), 1)).to(first)
        reached = product(known, self.handed) * degrees.rsqrt()[:, None]
        return (first + reached) / (self._layers + 1)
