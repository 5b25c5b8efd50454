"""Reads what the service answers: bytes in, values out, MalformedAnswer for anything else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import ValidationError

from reclm_client.errors import MalformedAnswer, ReclmApiError, api_error_type
from reclm_client.schemas import adapter
from reclm_client.schemas.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response, whole. `headers` ignores case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def read(type_: type[T], raw: bytes, *, extra: Literal["ignore", "allow"] = "ignore") -> T:
    """Reads JSON as a wire schema; members that this version does not know are passed over."""
    try:
        return adapter(type_).validate_json(raw, strict=True, extra=extra)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(["the answer", *map(str, first["loc"])])
        raise MalformedAnswer(f"no {type_.__name__}: {where}: {first['msg']}") from error


def raise_for_status(answer: Answer) -> None:
    """Raises the ReclmApiError that an answer stands for, unless it is a success."""
    if 200 <= answer.status < 300:
        return
    content_type = answer.headers.get("content-type", "")
    retry_after = _seconds(answer.headers.get("retry-after"))
    if content_type.partition(";")[0].strip() == "application/problem+json":
        # Unlike elsewhere, members that are not known are kept: callers find them in `problem`.
        problem = read(Problem, answer.body, extra="allow")
        raise problem_error(problem, answer.status, retry_after)
    raise api_error_type(answer.status)(
        answer.status,
        f"http-{answer.status}",
        f"an answer without a problem document, of type {content_type or 'unknown'}; "
        "check that the base URL is the service's and what stands between",
        {},
        retry_after,
    )


def problem_error(problem: Problem, status: int, retry_after: float | None) -> ReclmApiError:
    """Returns what a problem document means."""
    return api_error_type(status)(
        status,
        problem.code or f"http-{status}",
        problem.detail or problem.title or "no detail given",
        problem.model_dump(exclude_unset=True),
        retry_after,
    )


def _seconds(header: str | None) -> float | None:
    # An HTTP date is allowed too; nothing between us and the service sends one, and without it
    # the backoff alone decides.
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
