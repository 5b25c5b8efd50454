"""Folding in: embeddings of new users, computed from their known items."""

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
    """Returns the positions in `users` of those without training interactions."""
    rows = users.cpu().numpy()
    return np.flatnonzero(train.indptr[rows] == train.indptr[rows + 1]).astype(np.int64)


def mean_known(known: sparse.csr_array, vectors: Tensor) -> Tensor:
    """Returns the mean vector of each row's items, (rows, d); zeros for an empty row."""
    counts = np.maximum(np.diff(known.indptr), 1).astype(np.float32)
    return product(known, vectors) / torch.from_numpy(counts)[:, None].to(vectors.device)


def product(known: sparse.csr_array, vectors: Tensor) -> Tensor:
    """Returns the sum of each row's items' vectors, (rows, d)."""
    ones = sparse.csr_array(
        (np.ones(known.nnz, np.float32), known.indices, known.indptr), known.shape
    )
    return torch.from_numpy(ones @ vectors.float().cpu().numpy()).to(vectors.device)


class FoldIn:
    """Estimates a new user's id embedding from the embeddings of the known items.

    The estimate is the average id embedding plus a linear map of the difference between the mean of
    the user's items and the average user's mean. The map is fitted to the training users by ridge
    regression. A user without known items gets the average.

    Attributes:
        items: First embeddings of the items, (n_items, d).
        centre: The mean over training users of the mean of their items, (d,).
        average: The mean over training users of their id embeddings, (d,).
        map: (d, d).
        doubt: Number of clicks at which the difference from the average counts half.
    """

    def __init__(
        self, train: sparse.csr_array, items: Tensor, ids: Tensor, *, credible: bool = False
    ) -> None:
        """Fits the map.

        Args:
            train: CSR, (n_users, n_items).
            items: First embeddings of the items, (n_items, d).
            ids: The users' id embeddings, (n_users, d).
            credible: Whether the difference of n items from the average is multiplied by
                n / (n + doubt); otherwise it counts fully from the first item on.
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
        """Returns the id embeddings of users, estimated from their known items, (rows, d)."""
        ids: Tensor = self.average + self._differences(known) @ self.map
        return ids

    def formula(self, pooled: Formula, count: Formula) -> Formula:
        """Returns the formula of `ids`.

        Args:
            pooled: Sum of the known items' rows of `items @ map`, (batch, d).
            count: Number of known items, (batch, 1).
        """
        centre, average = numbers(self.centre @ self.map), numbers(self.average)
        return (pooled - count * centre) / (count + self.doubt).at_least(1) + average

    def _differences(self, known: sparse.csr_array) -> Tensor:
        """Returns the weighted difference of each row's mean from the average user's mean."""
        counts = torch.from_numpy(np.diff(known.indptr).astype(np.float32)).to(self.items.device)
        weight = counts / (counts + self.doubt).clamp_min(1)
        return (mean_known(known, self.items) - self.centre) * weight[:, None]


def _doubt(train: sparse.csr_array, items: Tensor, means: Tensor) -> float:
    """Returns the variance within users over that between users, both summed over dimensions.

    This is the k of Buehlmann's credibility n / (n + k) ("Experience rating and credibility", ASTIN
    Bulletin 4, 1967) by its usual estimators: the mean of n items is the user's true mean with an
    error variance of the variance within users over n.

    Args:
        train: CSR, (n_users, n_items).
        items: Embeddings, (n_items, d).
        means: Mean of the items of each user with any, (users, d).
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
    """Returns a random part of each user's interactions, at least one.

    The logarithm of their number is uniform, up to all of them; which ones is uniform.

    Args:
        train: CSR, (n_users, n_items).
        generator: Source of randomness.
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
    """New users as additional nodes of a graph, with an edge to each known item.

    Messages pass to the new user only: the embeddings of other nodes do not change.

    Attributes:
        handed: What each item adds to a neighbour's sum over layers, before the division by the
            square root of the neighbour's degree, (n_items, d).
    """

    def __init__(
        self, graph: Graph, users: Tensor, items: Tensor, layers: int, *, own_layer: bool = True
    ) -> None:
        """Computes each item's messages to a neighbour, summed over layers.

        Args:
            graph: Of the training interactions.
            users: First embeddings, (n_users, d).
            items: First embeddings, (n_items, d).
            layers: Number of layers.
            own_layer: Whether the first embeddings are one of the layers.
        """
        self._layers, self._own = layers + own_layer, float(own_layer)
        degrees = graph.items.bounds.diff()
        handed = torch.zeros_like(items)
        for _ in range(layers):
            handed += items
            users, items = graph.users @ items, graph.items @ users
        self.handed = handed * degrees.float().rsqrt().masked_fill(degrees == 0, 0)[:, None]

    def formula(self, first: Formula, pooled: Formula, count: Formula) -> Formula:
        """Returns the formula of `spread`.

        Args:
            first: First embeddings, (batch, d).
            pooled: Sum of the known items' rows of `handed`, (batch, d).
            count: Number of known items, (batch, 1).
        """
        return (first * self._own + pooled / root(count.at_least(1))) * (1 / self._layers)

    def spread(self, first: Tensor, known: sparse.csr_array) -> Tensor:
        """Returns the final embeddings of new users, (rows, d).

        Args:
            first: Their first embeddings, (rows, d).
            known: Their known items, CSR, (rows, n_items).
        """
        degrees = torch.from_numpy(np.maximum(np.diff(known.indptr), 1)).to(first)
        reached = product(known, self.handed) * degrees.rsqrt()[:, None]
        return (first * self._own + reached) / self._layers
