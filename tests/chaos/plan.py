"""Which fault comes when: drawn from a seed, so that a run can be repeated."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault to come.

    Attributes:
        lasts_s: From its beginning to its end; a server that it killed starts only then.
        pause_s: Between the recovery from it and the next fault.
        seed: For what the fault itself draws.
    """

    fault: str
    lasts_s: float
    pause_s: float
    seed: int


def plan(seed: int, lengths: Mapping[str, tuple[float, float]]) -> Iterator[Planned]:
    """Yields faults without end: all of them in each round, in an order of its own.

    Args:
        seed: The same one gives the same faults.
        lengths: The shortest and the longest time of each fault, in seconds.
    """
    drawn = random.Random(seed)
    names = sorted(lengths)
    while True:
        for name in drawn.sample(names, len(names)):
            yield Planned(
                fault=name,
                lasts_s=round(drawn.uniform(*lengths[name]), 1),
                pause_s=round(drawn.uniform(0.5, 3.0), 1),
                seed=drawn.randrange(2**31),
            )
