"""A plan on a command line: `cold-items` or `cold-items,share=0.2,seed=1`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from recommenders.data.errors import DatasetError
from recommenders.data.splits.registry import parse

if TYPE_CHECKING:
    from recommenders.data.splits.plan import Plan


def read_plan(text: str) -> Plan:
    """Reads a kind and its options, separated by commas.

    Raises:
        DatasetError: An option has no value, or the kind, an option or a value is not known.
    """
    kind, *rest = (part.strip() for part in text.split(","))
    options: dict[str, Any] = {"kind": kind}
    for part in rest:
        name, equals, value = part.partition("=")
        if not equals:
            raise DatasetError(f"split {text!r}: {part!r} is not option=value")
        try:
            options[name] = json.loads(value)
        except ValueError as error:
            raise DatasetError(f"split {text!r}: {value!r} is not a number") from error
    return parse(options)
