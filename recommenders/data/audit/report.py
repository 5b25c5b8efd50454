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
    from recommenders.data.audit.later import LaterKnowledge
    from recommenders.data.audit.leakage import PartLeaks
    from recommenders.data.audit.power import PartPower
    from recommenders.data.audit.profiles import ProfileLeaks
    from recommenders.data.audit.text_leaks import TextLeak
    from recommenders.data.audit.times import Times


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """The result of an audit.

    Attributes:
        dataset: The dataset's name.
        counts: Counts of users, items and interactions.
        texts: Counts of texts.
        times: What the timestamps are.
        alignment: The tests of alignment, for text and category.
        split: The name of the split that was checked for leaks, if any.
        split_fingerprint: Its fingerprint.
        leaks: The leaks of each of its parts.
        power: What each of its parts can show.
        text_leaks: What texts, and profiles of items, know of popularity in its test parts.
        profiles: The leaks of users' profiles, if any were given.
        later: What profiles of users and of items know of the time after training.
    """

    dataset: str
    counts: Counts
    texts: Texts
    times: Times
    alignment: tuple[Alignment, ...]
    split: str | None = None
    split_fingerprint: str | None = None
    leaks: tuple[PartLeaks, ...] = ()
    power: tuple[PartPower, ...] = ()
    text_leaks: tuple[TextLeak, ...] = ()
    profiles: ProfileLeaks | None = None
    later: tuple[LaterKnowledge, ...] = ()

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
            *self.times.reasons((self.split or "").partition("(")[0]),
            *(reason for part in self.leaks for reason in part.reasons()),
            *(reason for part in self.power for reason in part.reasons()),
            *(reason for leak in self.text_leaks for reason in leak.reasons()),
            *(reason for found in self.later for reason in found.reasons()),
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
        document["power"] = [
            {
                **asdict(part),
                "error": _finite(part.error),
                "error_by_users": _finite(part.error_by_users),
                "detectable": _finite(part.detectable),
                "detectable_by_users": _finite(part.detectable_by_users),
            }
            for part in self.power
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
    yield "Clock", _clock(audit)


def _clock(audit: Audit) -> str:
    times = audit.times
    if times.kind in ("none", "constant"):
        return "none"
    shown = f"{audit.counts.times:,} different times"
    if times.kind == "clock":
        without = f"; {times.without:,} interactions at time 0" if times.without else ""
        return f"{shown}{without}; {times.tied:,} of {times.users:,} users end with a tie"
    order = f" ({times.order}, p = {times.p:.3f})" if times.kind == "positions" else ""
    return f"none: {times.kind}{order}, {shown}"


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
    yield from _power(audit)
    yield from _text_leaks(audit)
    if profiles := audit.profiles:
        users = f"{profiles.profiles:,} of users, {profiles.new_users:,} unknown here"
        leaking = f"{profiles.with_history:,} with a history, {profiles.leaking:,} of which leak"
        named = f"{profiles.named:,} of {profiles.compared:,} test items"
        others = f"{profiles.named_by_chance:,} of as many others, as popular and not chosen"
        trained = f"{profiles.named_in_training:,} of {profiles.trained:,} training items"
        yield "Profiles", f"{users}; {leaking}"
        yield "", f"  hint: they name the titles of {named}, {others}, {trained}"
    for later in audit.later:
        cold = f", {later.cold:,} of cold items" if later.of == "items" else ""
        cut = "no year known" if later.cut is None else f"cut {later.cut}"
        yield "Later", f"{later.profiles:,} profiles of {later.of}{cold}, {cut}"
        yield "", f"  {later.later:,} name a later year, {later.awards:,} a later award or success"
    yield "Verdict", audit.verdict
    for reason in audit.reasons:
        yield "", f"  {reason}"


def _power(audit: Audit) -> Iterator[tuple[str, str]]:
    for row, part in enumerate(audit.power):
        size = f"{part.users:,} users, {part.items:,} of {part.ranked:,} items"
        least = f"{part.detectable_by_users:.4f} on these items, {part.detectable:.4f} on others"
        yield "" if row else "Can show", f"{part.scenario}/{part.part}: {size}"
        yield "", f"  differences in ndcg@20 from {least}"


def _text_leaks(audit: Audit) -> Iterator[tuple[str, str]]:
    for row, leak in enumerate(audit.text_leaks):
        found = f"{leak.correlation:+.2f} (bound {leak.bound:g}), p = {leak.p:.3f}"
        ranked = (
            f", recall@20 {leak.recall:.3f} (chance {leak.recall_by_chance:.3f})"
            if leak.recall is not None
            else ""
        )
        name = f"{leak.scenario}/test, {leak.of}, {leak.by}"
        yield "" if row else "Popularity", f"{name}: {found}{ranked}"


def _spread(spread: Spread) -> str:
    return f"{spread.least:,} to {spread.most:,} (median {spread.middle:,})"


def _share(part: int, whole: int) -> str:
    return f"{part / max(whole, 1):.1%}"


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
