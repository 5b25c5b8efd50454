"""Every error as an RFC 9457 problem document; the one table from error to HTTP status."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from services.profiles import errors
from services.profiles.telemetry import LOGGER, request_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

MEDIA_TYPE = "application/problem+json"

STATUS: dict[type[errors.ReclmError], int] = {
    errors.MalformedBody: 400,
    errors.AccessRefused: 401,
    errors.AdminOnly: 403,
    errors.ProfileNotFound: 404,
    errors.ItemNotFound: 404,
    errors.ScorerNotFound: 404,
    errors.NotAcceptable: 406,
    errors.BundleRefused: 409,
    errors.NothingToRollBack: 409,
    errors.ScorersChanged: 409,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.InvalidInput: 422,
    errors.Overloaded: 429,
    errors.MalformedGeneration: 502,
    errors.ModelUnavailable: 503,
    errors.EncoderUnavailable: 503,
    errors.StoreUnavailable: 503,
    errors.NoScorer: 503,
}

_MAX_FINDINGS = 20


class Finding(BaseModel):
    """One thing wrong with the input: where, and why."""

    where: str
    why: str


class Difference(BaseModel):
    """What a bundle was trained on and the service has otherwise."""

    what: str
    bundle: str
    service: str


class Problem(BaseModel):
    """A problem document (RFC 9457). Some problems have further members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[Finding] | None = None
    unknown: list[str] | None = None
    unknown_count: int | None = None
    differences: list[Difference] | None = None
    retry_after: int | None = None


def status_of(error: errors.ReclmError) -> int:
    """Returns the HTTP status of an error: its own, or the nearest ancestor's."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def document(error: errors.ReclmError) -> dict[str, Any]:
    """Returns an error as a problem document."""
    more = {} if error.retry_after is None else {"retry_after": _seconds(error.retry_after)}
    return _document(status_of(error), error.code, error.detail, {**(error.data or {}), **more})


def respond(request: Request, error: errors.ReclmError) -> Response:
    """Logs and counts an error, and returns it as an HTTP response."""
    if status_of(error) >= 500:
        LOGGER.warning("request failed", extra={"data": {"code": error.code, "why": error.detail}})
    request.app.state.metrics.errors.labels(error.code).inc()
    return _response(error)


def invalid(details: Sequence[ErrorDetails], *, root: str) -> errors.InvalidInput:
    """Returns what pydantic found as an error that names places and not values."""
    findings = [
        {"where": ".".join([root, *(str(part) for part in detail["loc"])]), "why": detail["msg"]}
        for detail in details[:_MAX_FINDINGS]
    ]
    first = f"{findings[0]['where']}: {findings[0]['why']}"
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return errors.InvalidInput(first + more, errors=findings)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns OpenAPI responses for the problems that a call may answer with."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted(statuses)
    }


def install(app: FastAPI) -> None:
    """Makes an app answer every error with a problem document."""
    app.add_exception_handler(errors.ReclmError, _on_reclm_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, respond_to_bug)


def _document(
    status: int, code: str, detail: str, data: dict[str, object] | None = None
) -> dict[str, Any]:
    return {
        "type": f"urn:reclm:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id.get(),
        **(data or {}),
    }


def _response(error: errors.ReclmError) -> Response:
    """Returns an error as an HTTP response, with Retry-After where the trouble passes by itself."""
    headers = {}
    if isinstance(error, errors.AccessRefused):
        headers["WWW-Authenticate"] = error.challenge
    if error.retry_after is not None:
        headers["Retry-After"] = str(_seconds(error.retry_after))
    return Response(
        to_json(document(error)), status_of(error), headers=headers, media_type=MEDIA_TYPE
    )


def _seconds(retry_after: float) -> int:
    return max(1, round(retry_after))


def _on_reclm_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ReclmError)  # noqa: S101 - registered for this type alone
    return respond(request, error)


def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type alone
    return respond(request, invalid(error.errors(), root="request"))


def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type alone
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    request.app.state.metrics.errors.labels(code).inc()
    body = _document(error.status_code, code, str(error.detail))
    return Response(to_json(body), error.status_code, headers=error.headers, media_type=MEDIA_TYPE)


def respond_to_bug(request: Request, error: Exception) -> Response:
    """Logs an error that nobody expected, and returns a response that says no more than that."""
    LOGGER.error("unexpected error", exc_info=error)
    request.app.state.metrics.errors.labels("internal").inc()
    body = _document(500, "internal", "an error of this service; its log has it under request_id")
    return Response(to_json(body), 500, media_type=MEDIA_TYPE)
