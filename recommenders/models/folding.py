"""New users: their embeddings from what is known of them, when training knew nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

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
    """

    def __init__(self, train: sparse.csr_array, items: Tensor, ids: Tensor) -> None:
        """Fits the map.

        Args:
            train: CSR, (n_users, n_items).
            items: First embeddings of the items, (n_items, d).
            ids: The users' id embeddings, (n_users, d).
        """
        warm = torch.from_numpy(np.diff(train.indptr) > 0).to(items.device)
        users = max(1, int(warm.sum()))
        means, ids = mean_known(train, items)[warm], ids[warm]
        self._items, self._centre, self._average = items, means.sum(0) / users, ids.sum(0) / users
        there = (means - self._centre).double()
        square = there.T @ there
        penalty = _RIDGE * (square.trace() / len(square)).clamp_min(1e-12)
        square += penalty * torch.eye(len(square)).to(square)
        wanted = (ids - self._average).double()
        self._map = torch.linalg.solve(square, there.T @ wanted).to(items.dtype)

    def ids(self, known: sparse.csr_array) -> Tensor:
        """Returns the id parts of users by what is known of them, (rows, d)."""
        seen = torch.from_numpy(np.diff(known.indptr) > 0).to(self._items.device)
        there = (mean_known(known, self._items) - self._centre) * seen[:, None]
        ids: Tensor = self._average + there @ self._map
        return ids


class GraphFoldIn:
    """New users as further nodes of a graph, with an edge to each item they are known by.

    The edges hand on to the new user only: what other nodes are does not change.
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
        self._handed = handed * degrees.float().rsqrt().masked_fill(degrees == 0, 0)[:, None]

    def spread(self, first: Tensor, known: sparse.csr_array) -> Tensor:
        """Returns spread embeddings of new users, (rows, d).

        Args:
            first: Their first embeddings, (rows, d).
            known: What is known of each, CSR, (rows, n_items).
        """
        degrees = torch.from_numpy(np.maximum(np.diff(known.indptr), 1)).to(first)
        reached = product(known, self._handed) * degrees.rsqrt()[:, None]
        return (first + reached) / (self._layers + 1)
