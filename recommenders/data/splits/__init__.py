"""Splits of a dataset. `parse` reads a plan; its `divide` returns the `Split`.

split = parse({"kind": "cold-items", "share": 0.2, "seed": 1}).divide(dataset)

In every split a pair of user and item counts once, at its first interaction; repetitions are in no
part.
"""

from recommenders.data.splits.by_time import TimeSplit
from recommenders.data.splits.cold import ColdItemsSplit, ColdUsersSplit, CombinedSplit
from recommenders.data.splits.paper import PaperSplit
from recommenders.data.splits.per_user import LeaveLastOut, RandomSplit
from recommenders.data.splits.plan import Plan
from recommenders.data.splits.published import PublishedSplit
from recommenders.data.splits.registry import KINDS, parse

__all__ = [
    "KINDS",
    "ColdItemsSplit",
    "ColdUsersSplit",
    "CombinedSplit",
    "LeaveLastOut",
    "PaperSplit",
    "Plan",
    "PublishedSplit",
    "RandomSplit",
    "TimeSplit",
    "parse",
]
