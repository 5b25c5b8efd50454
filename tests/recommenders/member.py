"""One process of a team, without the others."""

from __future__ import annotations

import torch

from recommenders.distributed import DistributedContext


class Member(DistributedContext):
    """Believes that it is one of `count`, and hears of nobody."""

    __slots__ = ("count", "number")

    def __init__(self, count: int, number: int) -> None:
        super().__init__(torch.device("cpu"))
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "number", number)

    size = property(lambda self: self.count)
    rank = property(lambda self: self.number)
