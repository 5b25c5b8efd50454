"""The graph of users and items and its propagation, the expensive part of every graph model.

Both directions of the bipartite graph are kept as compressed rows with 32-bit indices, and a
product with one is a weighted `embedding_bag`: on a CPU that kernel takes about half the time of
torch's CSR product and a fortieth of its COO product. The normalised graph is symmetric, so the
gradient of a propagation is the same propagation of the gradient, and the backward pass needs no
saved tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import torch
from scipy import sparse
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Half:
    """One direction of a graph as compressed rows.

    Attributes:
        bounds: Start of each row, and the end of the last one, int32, (rows + 1,).
        columns: Column of each edge, int32, (edges,).
        values: Weight of each edge, float32, (edges,).
    """

    bounds: Tensor
    columns: Tensor
    values: Tensor

    def __matmul__(self, dense: Tensor) -> Tensor:
        """Returns the product with a matrix, (rows, d); it is not differentiable."""
        return functional.embedding_bag(
            self.columns,
            dense,
            self.bounds,
            mode="sum",
            per_sample_weights=self.values.to(dense.dtype),
            include_last_offset=True,
        )

    def to(self, device: torch.device) -> Half:
        """Returns a copy on a device."""
        return Half(self.bounds.to(device), self.columns.to(device), self.values.to(device))


@dataclass(frozen=True, slots=True)
class Graph:
    """A user-item graph with edge weights of 1 / sqrt(user's degree x item's degree).

    Takes 20 bytes an edge: 16 in the halves and 4 in `transposed`.

    Attributes:
        users: Rows are users, columns items.
        items: Rows are items, columns users; the same edges.
        transposed: Position in `users` of each edge of `items`, int32.
    """

    users: Half
    items: Half
    transposed: Tensor

    @classmethod
    def of(cls, train: sparse.csr_array) -> Self:
        """Returns the graph of a matrix, (n_users, n_items); every stored value is an edge."""
        positions = np.arange(train.nnz, dtype=np.int32)
        there = sparse.csr_array((positions, train.indices, train.indptr), shape=train.shape)
        back = there.T.tocsr()
        return cls._normalised(
            _int32(there.indptr),
            _int32(there.indices),
            _int32(back.indptr),
            _int32(back.indices),
            transposed=_int32(back.data),
        )

    @classmethod
    def _normalised(
        cls,
        user_bounds: Tensor,
        user_columns: Tensor,
        item_bounds: Tensor,
        item_columns: Tensor,
        *,
        transposed: Tensor,
    ) -> Self:
        degrees = user_bounds.diff()
        of_users = _inverse_root(degrees)
        of_items = _inverse_root(item_bounds.diff())
        values = of_users.repeat_interleave(degrees) * of_items[user_columns]
        return cls(
            Half(user_bounds, user_columns, values),
            Half(item_bounds, item_columns, values[transposed]),
            transposed,
        )

    def to(self, device: torch.device) -> Graph:
        """Returns the graph on a device."""
        return Graph(self.users.to(device), self.items.to(device), self.transposed.to(device))

    def without_edges(self, share: float, generator: torch.Generator) -> Graph:
        """Returns a graph without some of the edges, weighted by the remaining degrees.

        Edge dropout of SGL (Wu et al., SIGIR 2021, equation 5). An edge is kept or dropped in
        both halves, and edges stay in order.

        Args:
            share: Probability that an edge is dropped, from 0 to 1.
            generator: Source of randomness, on the graph's device.
        """
        edges, device = len(self.users.columns), self.users.columns.device
        keep = torch.rand(edges, generator=generator, device=device) >= share
        kept_before = functional.pad(keep.cumsum(0, dtype=torch.int32), (1, 0))
        back = keep[self.transposed]
        back_before = functional.pad(back.cumsum(0, dtype=torch.int32), (1, 0))
        return self._normalised(
            kept_before[self.users.bounds],
            self.users.columns[keep],
            back_before[self.items.bounds],
            self.items.columns[back],
            transposed=kept_before[self.transposed[back]],
        )

    def propagate(
        self,
        users: Tensor,
        items: Tensor,
        layers: int,
        *,
        noise: float = 0,
        generator: torch.Generator | None = None,
        own_layer: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Returns the mean over layers of the propagated embeddings.

        LightGCN (He et al., SIGIR 2020, equations 3 and 4, all layers weighted equally). With
        noise, a random vector of that length in the embedding's own orthant is added to each
        layer's embeddings, as in SimGCL (Yu et al., SIGIR 2022, equations 7 and 8).

        Args:
            users: (n_users, d).
            items: (n_items, d).
            layers: Number of layers.
            noise: Length of the random vectors.
            generator: Source of the random vectors, on the same device; needed with noise.
            own_layer: Whether the first embeddings are one of the layers.

        Returns:
            (n_users, d) and (n_items, d), in float32 at least.
        """
        with torch.autocast(users.device.type, enabled=False):
            wide = torch.promote_types(users.dtype, torch.float32)
            steps = _Steps(layers, noise, generator, own_layer)
            spread: tuple[Tensor, Tensor] = _Propagation.apply(  # type: ignore[no-untyped-call]
                users.to(wide), items.to(wide), self, steps
            )
        return spread

    def propagate_users(self, users: Tensor, items: Tensor, layers: int) -> Tensor:
        """Returns the users' embeddings of `propagate`, at a lower cost."""
        with torch.autocast(users.device.type, enabled=False):
            wide = torch.promote_types(users.dtype, torch.float32)
            spread: Tensor = _UserPropagation.apply(  # type: ignore[no-untyped-call]
                users.to(wide), items.to(wide), self, layers
            )
        return spread


class HasGraph(nn.Module):
    """A module with a graph, which moves to a device with it.

    Attributes:
        graph: The graph of the training interactions, on the module's device; not a parameter.
    """

    graph: Graph

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.graph = self.graph.to(next(self.parameters()).device)
        return self


def _int32(array: NDArray[np.integer]) -> Tensor:
    return torch.from_numpy(array.astype(np.int32))


def _inverse_root(degrees: Tensor) -> Tensor:
    """Returns 1 / sqrt(degree), and 0 where the degree is 0."""
    return degrees.float().rsqrt().masked_fill_(degrees == 0, 0)


@dataclass(frozen=True, slots=True)
class _Steps:
    """Options of a propagation: number of layers, noise, and whether the first one counts."""

    layers: int
    noise: float = 0
    generator: torch.Generator | None = None
    own_layer: bool = True


class _Context(Protocol):
    """What the forward pass saves for the backward pass."""

    graph: Graph
    layers: int
    own_layer: bool


def _spread(users: Tensor, items: Tensor, graph: Graph, steps: _Steps) -> tuple[Tensor, Tensor]:
    user_sum, item_sum = users.clone(), items.clone()
    if not steps.own_layer:
        user_sum.zero_()
        item_sum.zero_()
    for _ in range(steps.layers):
        users, items = graph.users @ items, graph.items @ users
        if steps.noise:
            _perturb(users, steps)
            _perturb(items, steps)
        user_sum += users
        item_sum += items
    scale = 1 / (steps.layers + steps.own_layer)
    return user_sum.mul_(scale), item_sum.mul_(scale)


def _perturb(vectors: Tensor, steps: _Steps) -> None:
    move = torch.rand(
        vectors.shape, generator=steps.generator, dtype=vectors.dtype, device=vectors.device
    )
    vectors.addcmul_(functional.normalize(move), vectors.sign(), value=steps.noise)


class _Propagation(torch.autograd.Function):
    """The mean over layers; the gradient treats noise as constant."""

    @staticmethod
    def forward(
        ctx: _Context, users: Tensor, items: Tensor, graph: Graph, steps: _Steps
    ) -> tuple[Tensor, Tensor]:
        ctx.graph, ctx.layers, ctx.own_layer = graph, steps.layers, steps.own_layer
        return _spread(users, items, graph, steps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: _Context, *grads: Tensor) -> tuple[Tensor | None, ...]:
        users, items = grads
        steps = _Steps(ctx.layers, own_layer=ctx.own_layer)
        return *_spread(users, items, ctx.graph, steps), None, None


class _UserPropagation(torch.autograd.Function):
    """The users' embeddings only: the items' last layer is not needed, and its gradient is 0.

    The gradient therefore alternates: after an odd number of layers it belongs to the items only,
    after an even number to the users.
    """

    @staticmethod
    def forward(ctx: _Context, users: Tensor, items: Tensor, graph: Graph, layers: int) -> Tensor:
        ctx.graph, ctx.layers = graph, layers
        total = users.clone()
        for layer in range(layers):
            spread = graph.users @ items
            total += spread
            if layer + 1 < layers:
                items = graph.items @ users
            users = spread
        return total.mul_(1 / (layers + 1))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: _Context, *grads: Tensor) -> tuple[Tensor | None, ...]:
        spread = grads[0] / (ctx.layers + 1)
        user_sum, item_sum = spread.clone(), None
        for layer in range(ctx.layers):
            if layer % 2:
                spread = ctx.graph.users @ spread
                user_sum += spread
            else:
                spread = ctx.graph.items @ spread
                item_sum = spread if item_sum is None else item_sum + spread
        return user_sum, item_sum, None, None
