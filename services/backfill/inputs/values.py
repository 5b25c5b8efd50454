"""One value of a row, from any format: what it may be, and in words what is wrong with it.

The definition of what is accepted. `inputs_columns` does the same for whole columns, and comes
here for the rows that it refuses.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ID_CHARACTERS = 256
CONTROLS = r"[\x00-\x1f\x7f-\x{9f}]"
"""What no id may hold, in the notation of RE2, which Arrow has."""

SECONDS = 9.2e12
"""Timestamps lie closer to 1970 than this; as microseconds they fit into 64 bits."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = 60


def id_of(value: object) -> str | None:
    """Returns an id as a string: text as it is, an integer in digits; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _decoded(value)


def id_fault(name: str, value: object) -> str | None:
    """Says why a value is no id; None if it is one.

    Args:
        name: What the value is, such as `user_id`.
        value: The value.
    """
    text = id_of(value)
    if text is None and isinstance(value, bytes):
        return f"{name} is not UTF-8"
    if text is None:
        return f"{name} {described(value)}, not a string or an integer"
    if not text:
        return f"{name} is empty"
    if len(text) > ID_CHARACTERS:
        return f"{name} has {len(text):,} characters; {ID_CHARACTERS} are the most"
    if _CONTROLS.search(text):
        return f"{name} has a control character"
    return None


def readable_id(value: object) -> str | None:
    """Returns the id that a value is, None if it is none."""
    return None if id_fault("id", value) else id_of(value)


def text_of(value: object) -> str | None:
    """Returns a title or the like: "" for null, an integer in digits; None for what is none."""
    return "" if value is None else id_of(value)


def microseconds_of(value: object) -> int | None:
    """Returns a time in microseconds since 1970.

    Args:
        value: Seconds since 1970, or ISO 8601, which is in UTC where it has no offset.

    Returns:
        None for what is neither, and for what is out of range.
    """
    if isinstance(value, datetime):
        return (_aware(value) - _EPOCH) // timedelta(microseconds=1)
    text = _decoded(value)
    try:
        if text is not None and _INTEGER.fullmatch(text):
            value = int(text)
        elif text is not None:
            seconds = number_of(text)
            value = _aware(datetime.fromisoformat(text)) if seconds is None else seconds
    except ValueError:
        return None
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(microseconds=1)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not -SECONDS < value < SECONDS:
        return None
    return value * 1_000_000 if isinstance(value, int) else round(value * 1e6)


def number_of(value: object) -> float | None:
    """Returns a finite number, None for anything else."""
    text = _decoded(value)
    if text is not None:
        try:
            value = None if "_" in text else float(text)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def interaction_fault(values: Mapping[str, object], *, weighted: bool) -> str:
    """Says what is wrong with an interaction that was refused."""
    for name in ("user_id", "item_id"):
        if fault := id_fault(name, values.get(name)):
            return fault
    if "timestamp" in values and microseconds_of(values["timestamp"]) is None:
        shown = described(values["timestamp"])
        return f"timestamp {shown}, not seconds since 1970 or ISO 8601 within range"
    if weighted and number_of(values.get("weight")) is None:
        return f"weight {described(values.get('weight'))}, not a finite number"
    return "the row cannot be read"


def described(value: object) -> str:
    """Returns "is null", "is a list", "is 'x'" and so on, for an error's message."""
    if value is None:
        return "is null or missing"
    if isinstance(value, bytes):
        text = _decoded(value)
        return "is not UTF-8" if text is None else described(text)
    if isinstance(value, str):
        cut = value if len(value) <= _SHOWN else value[:_SHOWN] + "..."
        return f"is {cut!r}"
    names = {bool: "a truth value", list: "a list", dict: "an object"}
    return f"is {names.get(type(value), repr(value))}"


def _decoded(value: object) -> str | None:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return value if isinstance(value, str) else None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
