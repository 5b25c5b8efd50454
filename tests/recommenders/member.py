"""One process of a distributed run, without the others."""

from __future__ import annotations

import torch

from recommenders.distributed import DistributedContext


class Member(DistributedContext):
    """Has the rank and world size of one of `count` processes, and no connection to the others."""

    __slots__ = ("count", "number")

    def __init__(self, count: int, number: int) -> None:
        super().__init__(torch.device("cpu"))
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "number", number)

    world_size = property(lambda self: self.count)
    rank = property(lambda self: self.number)
