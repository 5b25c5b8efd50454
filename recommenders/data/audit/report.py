"""The result of an audit, as text and as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recommenders.data.audit.alignment import Alignment
    from recommenders.data.audit.counts import Counts, Spread, Texts
    from recommenders.data.audit.leakage import PartLeaks
    from recommenders.data.audit.profiles import ProfileLeaks


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """The result of an audit.

    Attributes:
        dataset: The dataset's name.
        counts: Counts of users, items and interactions.
        texts: Counts of texts.
        alignment: The tests of alignment, for text and category.
        split: The name of the split that was checked for leaks, if any.
        split_fingerprint: Its fingerprint.
        leaks: The leaks of each of its parts.
        profiles: The leaks of profiles, if any were given.
    """

    dataset: str
    counts: Counts
    texts: Texts
    alignment: tuple[Alignment, ...]
    split: str | None = None
    split_fingerprint: str | None = None
    leaks: tuple[PartLeaks, ...] = ()
    profiles: ProfileLeaks | None = None

    @property
    def alignment_verdict(self) -> Literal["aligned", "not aligned", "untested"]:
        """`not aligned` if text or category is not; `aligned` if one is; else `untested`."""
        verdicts = {alignment.verdict for alignment in self.alignment}
        if "not aligned" in verdicts:
            return "not aligned"
        return "aligned" if "aligned" in verdicts else "untested"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why results on this dataset cannot be trusted; empty for a sound one."""
        return (
            *(
                f"{alignment.of} is not aligned: {alignment.why}"
                for alignment in self.alignment
                if alignment.verdict == "not aligned"
            ),
            *(reason for part in self.leaks for reason in part.reasons()),
            *(self.profiles.reasons() if self.profiles else ()),
        )

    @property
    def verdict(self) -> Literal["sound", "not sound"]:
        """`sound` if there are no reasons against it."""
        return "not sound" if self.reasons else "sound"

    def to_json(self) -> str:
        """Returns the result with its verdicts as a JSON object."""
        document = {
            "verdict": self.verdict,
            "reasons": self.reasons,
            "alignment_verdict": self.alignment_verdict,
            **asdict(self),
        }
        document["alignment"] = [
            {**asdict(found), "lift": _finite(found.lift), "z": _finite(found.z)}
            for found in self.alignment
        ]
        return json.dumps(document, indent=2, ensure_ascii=False)


def describe(audit: Audit) -> str:
    """Returns the audit as text, the verdict last."""
    return "\n".join(
        f"{name + ':' if name else '':<16}{value}"
        for lines in (_counts(audit), _texts(audit), _alignment(audit), _leaks(audit))
        for name, value in lines
    )


def _counts(audit: Audit) -> Iterator[tuple[str, str]]:
    counts = audit.counts
    chosen = f"{counts.items:,}, {_spread(counts.popularity)} users each"
    yield "Dataset", audit.dataset
    yield "Users", f"{counts.users:,}, {_spread(counts.history)} items each"
    yield "Items", f"{chosen}; {counts.items_unchosen:,} without interactions"
    yield "Interactions", f"{counts.interactions:,}; {counts.repeated:,} repeat an earlier pair"
    yield "Density", f"{counts.density:.4%} of all pairs ({1 - counts.density:.4%} sparse)"
    yield "Clock", f"{counts.times:,} different times" if counts.times > 1 else "none"


def _texts(audit: Audit) -> Iterator[tuple[str, str]]:
    texts, items = audit.texts, audit.counts.items
    lacking = {
        "title": texts.without_title,
        "category": texts.without_category,
        "description": texts.without_description,
    }
    missing = ", ".join(f"{name} {_share(number, items)}" for name, number in lacking.items())
    yield "Without text", f"{_share(texts.without_text, items)} of items; without {missing}"
    yield "Same text", f"{texts.shared:,} items share title and description with another"
    for title, ids in texts.examples:
        yield "", f"  {title[:60]}: {', '.join(ids)}"


def _alignment(audit: Audit) -> Iterator[tuple[str, str]]:
    for found in audit.alignment:
        name = found.of.capitalize()
        if found.verdict == "untested":
            yield name, f"untested: {found.why}"
            continue
        means = f"{found.observed:.4f} against {found.expected:.4f}"
        test = f"({means}), z = {found.z:.1f}, p = {found.p:.3f}"
        yield name, f"{found.verdict}: {found.lift:.2f} times as alike as by chance {test}"
        yield "", f"  {found.pairs:,} pairs of {found.items:,} items, {found.users:,} users"
        if found.shifts:
            best = f"best {found.best_shifted:.4f} by {found.best_shift:+d} rows"
            yield "", f"  {found.shifts} shifts: mean {found.shifted:.4f}, {best}"
        else:
            yield "", "  shifts by 1 to 50 rows leave the texts nearly the same and say nothing"
    yield "Alignment", audit.alignment_verdict


def _leaks(audit: Audit) -> Iterator[tuple[str, str]]:
    yield "Split", f"{audit.split}, {audit.split_fingerprint}" if audit.split else "none checked"
    for part in audit.leaks:
        leaks = "; ".join(part.reasons()) or "no leak"
        hint = f"; hint: {part.twins:,} cold items have a twin in training" if part.twins else ""
        yield "", f"  {part.scenario}/{part.part}: {part.users:,} users, {leaks}{hint}"
    if profiles := audit.profiles:
        users = f"{profiles.profiles:,} of users, {profiles.new_users:,} unknown here"
        leaking = f"{profiles.with_history:,} with a history, {profiles.leaking:,} of which leak"
        named = f"{profiles.named:,} of {profiles.compared:,} test items"
        others = f"{profiles.named_by_chance:,} of as many others, as popular and not chosen"
        trained = f"{profiles.named_in_training:,} of {profiles.trained:,} training items"
        yield "Profiles", f"{users}; {leaking}"
        yield "", f"  hint: they name the titles of {named}, {others}, {trained}"
    yield "Verdict", audit.verdict
    for reason in audit.reasons:
        yield "", f"  {reason}"


def _spread(spread: Spread) -> str:
    return f"{spread.least:,} to {spread.most:,} (median {spread.middle:,})"


def _share(part: int, whole: int) -> str:
    return f"{part / max(whole, 1):.1%}"


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
