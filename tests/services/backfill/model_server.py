"""A model server that batches, in virtual time: the effect of a limit can be computed exactly."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.backfill.concurrency import Limit

Rate = Callable[[int, float], float]
"""Answers per second with so many requests under way, at a time."""


@dataclass
class Course:
    """What happened: when each row was answered, and which limit held then."""

    answered_at: list[float] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    refused: int = 0

    def rate(self, first: int, last: int) -> float:
        """Returns answers per second between two rows."""
        return (last - first) / (self.answered_at[last] - self.answered_at[first])

    def limit_at(self, when: float) -> int:
        return [
            limit for at, limit in zip(self.answered_at, self.limits, strict=True) if at <= when
        ][-1]


def saturating(most: float, half: float, batch: int) -> Rate:
    """Throughput that rises with the batch, ever less, and not beyond its largest."""
    return lambda n, _: most * min(n, batch) / (min(n, batch) + half)


def serve(
    rows: int,
    rate: Rate,
    *,
    limit: Limit,
    seed: int,
    refuse_from: int | None = None,
    hits: float = 0.0,
) -> Course:
    """Sends rows as the limit lets them, and answers them at a rate.

    Args:
        rows: How many.
        rate: Shared evenly by the requests under way. Answers differ by 40 % in what they take.
        limit: Told of all that happens.
        seed: Of the lengths of answers.
        refuse_from: With so many under way, another one is refused, and none sent for 0.2 s.
        hits: Share of rows that are answered at once, without the model.
    """
    random_ = random.Random(seed)
    course = Course()
    under_way: list[tuple[float, float]] = []
    now = work = 0.0
    closed_until = 0.0
    left = rows
    while len(course.answered_at) < rows:
        while left and now >= closed_until and len(under_way) < limit.current:
            if random_.random() < hits:
                left -= 1
                course.answered_at.append(now)
                course.limits.append(limit.current)
                continue
            if refuse_from is not None and len(under_way) >= refuse_from:
                course.refused += 1
                limit.pushed_back(now, now)
                closed_until = now + 0.2
                break
            heapq.heappush(under_way, (work + random_.uniform(0.6, 1.4), now))
            left -= 1
        if not under_way:
            now = max(now, closed_until)
            continue
        each = rate(len(under_way), now) / len(under_way)
        done, begun = under_way[0]
        took = (done - work) / each
        if now < closed_until < now + took:
            work += each * (closed_until - now)
            now = closed_until
            continue
        now, work = now + took, done
        heapq.heappop(under_way)
        limit.answered(now - begun, now, len(under_way) + 1)
        course.answered_at.append(now)
        course.limits.append(limit.current)
    return course
