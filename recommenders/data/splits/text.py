"""A plan on a command line: `cold-items`, `cold-items,share=0.2,seed=1` or `time,cuts=[1,2]`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from recommenders.data.errors import DatasetError
from recommenders.data.splits.registry import parse

if TYPE_CHECKING:
    from recommenders.data.splits.plan import Plan


def read_plan(text: str) -> Plan:
    """Parses a kind and its options, separated by commas; a value may be a list in brackets.

    Raises:
        DatasetError: An option has no value, or the kind, an option or a value is invalid.
    """
    kind, *rest = (part.strip() for part in re.split(r",(?![^\[]*\])", text))
    options: dict[str, Any] = {"kind": kind}
    for part in rest:
        name, equals, value = part.partition("=")
        if not equals:
            raise DatasetError(f"split {text!r}: {part!r} is not option=value")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value  # a word; the plan validates it
    return parse(options)
