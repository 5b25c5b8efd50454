"""Every error as an RFC 9457 problem document; the one table from error to HTTP status."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from reclm_client.schemas.problem import Problem
from services.profiles import errors
from services.profiles.domain.parsing import invalid
from services.profiles.telemetry import LOGGER, request_id

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE = "application/problem+json"

STATUS: dict[type[errors.ReclmError], int] = {
    errors.MalformedBody: 400,
    errors.MalformedRequest: 400,
    errors.AccessRefused: 401,
    errors.AdminOnly: 403,
    errors.ProfileNotFound: 404,
    errors.ItemNotFound: 404,
    errors.ItemWithdrawn: 404,
    errors.ScorerNotFound: 404,
    errors.NotAcceptable: 406,
    errors.RequestTimeout: 408,
    errors.CallerGone: 408,
    errors.ProfileErased: 409,
    errors.BundleRefused: 409,
    errors.NothingToRollBack: 409,
    errors.ScorersChanged: 409,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.InvalidInput: 422,
    errors.Overloaded: 429,
    errors.HeadersTooLarge: 431,
    errors.MalformedGeneration: 502,
    errors.ModelRefused: 502,
    errors.EncoderRefused: 502,
    errors.ModelUnavailable: 503,
    errors.EncoderUnavailable: 503,
    errors.StoreUnavailable: 503,
    errors.NoScorer: 503,
}


def status_of(error: errors.ReclmError) -> int:
    """Returns the HTTP status of an error: its own, or the nearest ancestor's."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def problem_of(error: errors.ReclmError) -> Problem:
    """Returns an error as a problem document."""
    more = {} if error.retry_after is None else {"retry_after": _seconds(error.retry_after)}
    return _problem(status_of(error), error.code, error.detail, **error.data, **more)


def respond(request: Request, error: errors.ReclmError) -> Response:
    """Logs and counts an error, and returns it as an HTTP response."""
    if status_of(error) >= 500:
        LOGGER.warning("request failed", extra={"data": {"code": error.code, "why": error.detail}})
    request.app.state.metrics.errors.labels(error.code).inc()
    headers = {}
    if isinstance(error, errors.AccessRefused):
        headers["WWW-Authenticate"] = error.challenge
    if error.retry_after is not None:
        headers["Retry-After"] = str(_seconds(error.retry_after))
    return _response(problem_of(error), headers)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns OpenAPI responses for the problems that a call may answer with.

    Headers and addresses that are too large (431) are refused whatever the call.
    """
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({*statuses, 431})
    }


def install(app: FastAPI) -> None:
    """Makes an app answer every error with a problem document."""
    app.add_exception_handler(errors.ReclmError, _on_reclm_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, respond_to_bug)


def _problem(status: int, code: str, detail: str, **members: Any) -> Problem:  # noqa: ANN401
    return Problem(
        type=f"urn:reclm:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        request_id=request_id.get(),
        **members,
    )


def _response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        problem.model_dump_json(), problem.status, headers=headers, media_type=MEDIA_TYPE
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
    return _response(_problem(error.status_code, code, str(error.detail)), error.headers)


def respond_to_bug(request: Request, error: Exception) -> Response:
    """Logs an error that nobody expected, and returns a response that says no more than that."""
    LOGGER.error("unexpected error", exc_info=error)
    request.app.state.metrics.errors.labels("internal").inc()
    return _response(
        _problem(500, "internal", "an error of this service; its log has it under request_id")
    )
