"""The registry of splits by kind, and the parser for plans in YAML and JSON.

To add a split, write a subclass of `Plan` and add it to `KINDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from recommenders.data.errors import DatasetError
from recommenders.data.splits.by_time import TimeSplit
from recommenders.data.splits.cold import ColdItemsSplit, ColdUsersSplit, CombinedSplit
from recommenders.data.splits.paper import PaperSplit
from recommenders.data.splits.per_user import LeaveLastOut, RandomSplit
from recommenders.data.splits.published import PublishedSplit

if TYPE_CHECKING:
    from recommenders.data.splits.plan import Plan

KINDS: Mapping[str, type[Plan]] = {
    plan.kind: plan
    for plan in (
        RandomSplit,
        LeaveLastOut,
        TimeSplit,
        ColdItemsSplit,
        ColdUsersSplit,
        CombinedSplit,
        PublishedSplit,
        PaperSplit,
    )
}


def parse(options: object) -> Plan:
    """Parses a plan from a YAML or JSON document.

    Args:
        options: A kind with its options, as in `{"kind": "cold-items", "share": 0.2, "seed": 1}`,
            or only the name of a kind.

    Raises:
        DatasetError: The kind or an option is unknown, or a value is invalid.
    """
    if isinstance(options, str):
        options = {"kind": options}
    if not isinstance(options, Mapping):
        raise DatasetError(f"split is {options!r}, not a kind with options")
    given = dict(options)
    kind = given.pop("kind", None)
    plan = KINDS.get(kind) if isinstance(kind, str) else None
    if plan is None:
        raise DatasetError(f"split: kind is {kind!r}; there are {', '.join(KINDS)}")
    known = [field.name for field in fields(plan)]
    if unknown := [str(name) for name in given if name not in known]:
        raise DatasetError(
            f"split {kind}: unknown option {', '.join(sorted(unknown))}; it has {', '.join(known)}"
        )
    return plan(**given)
