"""Reads rankings and scorers: bytes in, values out, as `reading` does for all else."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast, get_args

from reclm_client import reading
from reclm_client.results import (
    ActiveScorer,
    Contribution,
    KnownBy,
    Reasons,
    Score,
    ScoredItem,
    Scorer,
    ScoreRow,
)

if TYPE_CHECKING:
    from reclm_client.reading import Document

Scalar = TypeVar("Scalar", str, int, bool)


def read_score(document: Document) -> Score:
    """Reads a ranking."""
    profile = document.get("profile")
    return Score(
        scorer=reading.member(document, "scorer", str),
        user_id=_maybe(document, "user_id", str),
        known_by=cast("KnownBy", reading.one_of(document, "known_by", get_args(KnownBy))),
        profile=None if profile is None else reading.read_profile(_object(profile, "profile")),
        ignored=reading.strings(document, "ignored"),
        items=tuple(_item(_object(item, "items")) for item in reading.list_(document, "items")),
    )


def read_score_row(document: Document, row: int) -> ScoreRow:
    """Reads a line of an answer to a batch; `row` counts over the whole batch."""
    status = reading.member(document, "status_code", int)
    if 200 <= status < 300:
        score = read_score(_object(document.get("score"), "score"))
        return ScoreRow(row, score.user_id, status, score, None)
    error = reading.row_error(document, status)
    return ScoreRow(row, _maybe(document, "id", str), status, None, error)


def read_scorers(document: Document) -> tuple[Scorer, ...]:
    """Reads the list of bundles."""
    return tuple(_scorer(_object(entry, "scorers")) for entry in reading.list_(document, "scorers"))


def read_active_scorer(document: Document) -> ActiveScorer:
    """Reads what is active."""
    return ActiveScorer(_maybe(document, "active", str), _maybe(document, "previous", str))


def _item(document: Document) -> ScoredItem:
    reasons = document.get("reasons")
    return ScoredItem(
        item_id=reading.member(document, "item_id", str),
        score=_number(document, "score"),
        reasons=None if reasons is None else _reasons(_object(reasons, "reasons")),
    )


def _reasons(document: Document) -> Reasons:
    interests = document.get("interests")
    return Reasons(
        history=_contributions(document, "history", "item_id"),
        interests=None if interests is None else _contributions(document, "interests", "phrase"),
    )


def _contributions(document: Document, member: str, name: str) -> tuple[Contribution, ...]:
    entries = [_object(entry, member) for entry in reading.list_(document, member)]
    return tuple(
        Contribution(reading.member(entry, name, str), _number(entry, "contribution"))
        for entry in entries
    )


def _scorer(document: Document) -> Scorer:
    metrics = document.get("metrics")
    measured = {} if metrics is None else _object(metrics, "metrics")
    return Scorer(
        name=reading.member(document, "name", str),
        active=reading.member(document, "active", bool),
        previous=reading.member(document, "previous", bool),
        loaded=reading.member(document, "loaded", bool),
        refused=_maybe(document, "refused", str),
        kind=_maybe(document, "kind", str),
        model=_maybe(document, "model", str),
        created_at=_maybe(document, "created_at", str),
        n_items=_maybe(document, "n_items", int),
        n_users=_maybe(document, "n_users", int),
        metrics={name: _number(measured, name) for name in measured},
    )


def _object(value: object, where: str) -> Document:
    return reading.object_(value, where)


def _number(document: Document, name: str) -> float:
    (number,) = reading.numbers([document.get(name)], name)
    return number


def _maybe(document: Document, name: str, kind: type[Scalar]) -> Scalar | None:
    return None if document.get(name) is None else reading.member(document, name, kind)
