"""Whether profiles know what came later: years after the cut, and awards of new items.

A large model was trained on texts of all times. What it writes of a film that the split treats as
new may be what the world said afterwards: "won all five major Academy Awards", "a 2015 remake".

The cut is the year of the last training interaction; without a clock it is the latest year in
brackets at the end of a title among the items of training. An item of a cold scenario is asked
about as if it had just come out, so its own year is its cut where its title has one, and no award
can have been given. Words and years that the item's own text has are no leak.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recommenders.data.split import COLD_ITEMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recommenders.data.dataset import Dataset
    from recommenders.data.indexed import Indexed
    from recommenders.data.split import Split

_YEAR = re.compile(r"(?<![\w$€£.,-])(1[89]\d\d|20\d\d)(?![\w%]|[.,]\d)")
_TITLE_YEAR = re.compile(r"\((1[89]\d\d|20\d\d)\)\s*$")
_AWARD = re.compile(
    r"\b(awards?|award-winning|academy awards?|oscars|oscar-\w+|golden globes?|emmys?|grammys?|"
    r"baftas?|palme d'or|pulitzer|nobel prize|booker prize|nominations?|nominated|bestsellers?|"
    r"best-?selling|box[- ]office)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_AHEAD = 30  # years after the cut from which on a year is one of a story
_MANY, _SHARE = 3, 0.01  # profiles, and share of all, from which on they are a reason
_CLOCK = 365 * 86_400  # times below this are no seconds since 1970


@dataclass(frozen=True, kw_only=True, slots=True)
class LaterKnowledge:
    """What profiles know of the time after the cut.

    Attributes:
        of: `users` or `items`.
        profiles: Number of profiles of users or items of the dataset.
        unknown: Number of profiles of others; they are not read.
        cut: The year of the cut; None if neither a clock nor a title tells it.
        cold: Number of profiles of items of a cold scenario.
        later: Number of profiles that name a year after the cut.
        awards: Number of profiles of cold items that name an award or a success, and of others that
            do so in one sentence with a year after the cut.
        examples: Ids of at most three of the first, and of three of the second.
    """

    of: Literal["users", "items"]
    profiles: int
    unknown: int
    cut: int | None
    cold: int
    later: int
    awards: int
    examples: tuple[tuple[str, ...], tuple[str, ...]]

    def reasons(self) -> list[str]:
        """Returns why the profiles are not sound."""
        least = max(_MANY, _SHARE * self.profiles)
        whose = f"of {self.profiles:,} profiles of {self.of}"
        years, awards = (", ".join(names) for names in self.examples)
        found = []
        if self.later >= least:
            cut = (
                "the year of a new item" if self.cut is None else f"{self.cut} or a new item's own"
            )
            found.append(f"{self.later:,} {whose} name years after {cut} (such as {years})")
        if self.awards >= least:
            found.append(
                f"{self.awards:,} {whose} name awards or successes that came after the cut "
                f"(such as {awards})"
            )
        return found


def find_later(
    profiles: Mapping[str, str],
    of: Literal["users", "items"],
    split: Split,
    dataset: Dataset,
    indexed: Indexed,
) -> LaterKnowledge:
    """Searches profiles for years and awards after the cut.

    Args:
        profiles: Id -> text.
        of: Whose profiles they are.
        split: The split, which says what training is and which items are cold.
        dataset: The dataset.
        indexed: The same by rows.
    """
    titles: list[Any] = dataset.items["title"].to_pylist()
    described: list[Any] = dataset.items["description"].to_pylist()
    own = [f"{title} {text}" for title, text in zip(titles, described, strict=True)]
    released = [_released(title) for title in titles]
    cut = _cut(split, indexed, released)
    names = indexed.user_ids if of == "users" else indexed.item_ids
    rows = {name: row for row, name in enumerate(names)}
    cold = _cold_items(split) if of == "items" else frozenset()
    known = [name for name in profiles if name in rows]
    later, awards = [], []
    for name in known:
        row, text = rows[name], profiles[name]
        new = row in cold
        limit = released[row] if new and released[row] is not None else cut
        allowed = own[row] if of == "items" else ""
        after = _after(text, limit, allowed)
        if after:
            later.append(name)
        if _awarded(text, after, allowed, new=new):
            awards.append(name)
    return LaterKnowledge(
        of=of,
        profiles=len(known),
        unknown=len(profiles) - len(known),
        cut=cut,
        cold=sum(rows[name] in cold for name in known),
        later=len(later),
        awards=len(awards),
        examples=(tuple(later[:3]), tuple(awards[:3])),
    )


def _released(title: str) -> int | None:
    found = _TITLE_YEAR.search(title)
    return int(found[1]) if found else None


def _cut(split: Split, indexed: Indexed, released: list[int | None]) -> int | None:
    times = indexed.times[split.train_rows]
    if len(times) and int(times.max()) >= _CLOCK:
        return datetime.fromtimestamp(int(times.max()), UTC).year
    trained = np.unique(split.train.indices).tolist()
    return max((year for row in trained if (year := released[row]) is not None), default=None)


def _cold_items(split: Split) -> frozenset[int]:
    if COLD_ITEMS not in split.scenarios:
        return frozenset()
    scenario = split.scenarios[COLD_ITEMS]
    parts = [part.candidates for part in (scenario.validation, scenario.test)]
    return frozenset(row for rows in parts if rows is not None for row in rows.tolist())


def _after(text: str, limit: int | None, allowed: str) -> set[str]:
    """Returns the years after the limit that a text names and the allowed text does not."""
    if limit is None:
        return set()
    years = set(_YEAR.findall(text)) - set(_YEAR.findall(allowed))
    return {year for year in years if limit < int(year) <= limit + _AHEAD}


def _awarded(text: str, after: set[str], allowed: str, *, new: bool) -> bool:
    told = {word.casefold() for word in _AWARD.findall(allowed)}
    for sentence in _SENTENCE.split(text):
        words = {word.casefold() for word in _AWARD.findall(sentence)} - told
        if words and (new or any(year in sentence for year in after)):
            return True
    return False
