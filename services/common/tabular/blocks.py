"""Some rows of a file at a time, and the rows that break a rule."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from services.common.tabular.rules import ID, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from services.common.tabular.rules import Column, Rule


class TabularError(Exception):
    """A file cannot be read, or a column is missing or of no use; the message names the file."""


@contextmanager
def raised_as(error: type[Exception]) -> Iterator[None]:
    """Raises each TabularError as the caller's own error, with the same message."""
    try:
        yield
    except TabularError as cause:
        raise error(str(cause)) from cause


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read; it costs only itself.

    Attributes:
        id: The id in the first wanted column, where it can be read.
        where: Such as "interactions.csv, line 17" (from 1) or "x.parquet, row 3" (from 0).
        why: What is wrong with it.
        raw: The row as it stood, cut to 2,000 characters, to be mended and fed back.
    """

    id: str | None
    where: str
    why: str
    raw: str | None


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row as it stands in its file: its place, its text and its wanted values."""

    where: str
    raw: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that a reader wants; other columns of a file are passed over.

    Attributes:
        required: Columns without which a file is of no use; the first holds the rows' ids.
        optional: Columns that a file has for all of its rows or for none.
        sparse: Columns that any row may lack.
    """

    required: Sequence[str]
    optional: Sequence[str] = ()
    sparse: Sequence[str] = ()

    @property
    def all(self) -> list[str]:
        """Every wanted column, once."""
        return list(dict.fromkeys((*self.required, *self.optional, *self.sparse)))

    def among(self, path: Path, names: Sequence[str]) -> list[str]:
        """Returns the wanted columns that a file has; raises TabularError for missing or double ones."""
        if missing := [repr(name) for name in self.required if name not in names]:
            raise TabularError(
                f"{path} has no column {', '.join(missing)}; it has {', '.join(names)}"
            )
        if twice := [repr(name) for name in self.all if names.count(name) > 1]:
            raise TabularError(f"{path} has column {', '.join(twice)} more than once")
        return [name for name in self.all if name in names]


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a file.

    Attributes:
        path: The file.
        size: Rows in `columns`.
        columns: The wanted columns that the file has: Arrow arrays, or lists of JSON values.
        row: Finds a row of the block again, by its index.
        bad: Lines that are not even rows, and so are not in `columns`.
    """

    path: Path
    size: int
    columns: Mapping[str, Column]
    row: Callable[[int], SourceRow]
    bad: list[BadRow] = field(default_factory=list)

    def read(self, name: str, rule: Rule) -> pa.Array[Any]:
        """Returns a column as the rule reads it, with null where a value breaks the rule.

        Raises:
            TabularError: The column's type does not fit the rule.
        """
        column = self.columns[name]
        if isinstance(column, pa.Array) and not rule.fits(column.type):
            raise TabularError(f"{self.path}: column {name!r} is {column.type}, not {rule.wanted}")
        return rule.read(column)

    def checked(self, rules: Mapping[str, Rule]) -> tuple[dict[str, pa.Array[Any]], list[BadRow]]:
        """Returns the good rows as columns, and the bad ones; the block may lack some of the columns.

        Raises:
            TabularError: As for `read`.
        """
        found = {
            name: self.read(name, rule) for name, rule in rules.items() if name in self.columns
        }
        bad = np.zeros(self.size, np.bool_)
        for column in found.values():
            bad |= np.asarray(column.is_null())
        present = {name: rules[name] for name in found}
        faults = [self.fault(index, present) for index in np.flatnonzero(bad).tolist()]
        if bad.any():
            found = {name: column.filter(pa.array(~bad)) for name, column in found.items()}
        return found, [*self.bad, *faults]

    def fault(self, index: int, rules: Mapping[str, Rule]) -> BadRow:
        """Returns the report of a row that breaks one of the rules; the first column holds ids."""
        row = self.row(index)
        why = "cannot be read"
        try:
            for name, rule in rules.items():
                rule.take(name, row.values[name])
        except Fault as fault:
            why = str(fault)
        return BadRow(ID.valid(row.values[next(iter(rules))]), row.where, why, row.raw)
