"""Asks every request for a key, whichever way it goes behind this layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request

from services.profiles.api.problems import documented, respond
from services.profiles.errors import AccessRefused, AdminOnly

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from services.profiles.access.keyring import Keyring

ASSETS = "/docs/assets"
"""Where the scripts and styles of the documentation are."""

OPEN = frozenset({"/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/openapi.json"})
"""What an orchestrator asks, and what says nothing but how this program is called."""

_KNOWN = "reclm.known_caller"
_ADMIN = ("/metrics", "/admin")
_SCHEME = "key"
_REALM = 'Bearer realm="reclm"'


class RequireKey:
    """Lets requests with a known key through, and those that need none.

    /metrics and /admin ask for an admin key where there are any, else for an API key; everything
    else asks for either kind where there are API keys.

    Args:
        app: What is behind.
        owner: The app whose metrics count refusals.
        keys: Not empty.
    """

    def __init__(self, app: ASGIApp, *, owner: FastAPI, keys: Keyring) -> None:
        self._app = app
        self._owner = owner
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] == "http":
            try:
                self._check(scope)
            except (AccessRefused, AdminOnly) as error:
                scope["app"] = self._owner
                await respond(Request(scope), error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        path: str = scope["path"]
        admin = _is_admin(path) and bool(self._keys.admins)
        key = _bearer(scope)
        role = None if key is None else self._keys.role(key)
        scope[_KNOWN] = role is not None
        if _is_open(path) or not (admin or self._keys.callers):
            return
        if key is None:
            raise AccessRefused(
                "this call needs a key; send it as `Authorization: Bearer KEY`", challenge=_REALM
            )
        if role is None:
            raise AccessRefused(
                "the key is not one of this service's", challenge=f'{_REALM}, error="invalid_token"'
            )
        if admin and role != "admin":
            raise AdminOnly("this call needs an admin key, and the key is not one")


def is_known(request: Request) -> bool:
    """Says whether a request came with a key, or to a service without keys."""
    return bool(request.scope.get(_KNOWN, True))


def document(schema: dict[str, Any], keys: Keyring) -> None:
    """Adds to an OpenAPI document which operations ask for a key, and how they refuse."""
    schema["components"]["securitySchemes"] = {
        _SCHEME: {"type": "http", "scheme": "bearer", "description": "An API key or an admin key."}
    }
    for path, operations in schema["paths"].items():
        admin = _is_admin(path) and bool(keys.admins)
        if _is_open(path) or not (admin or keys.callers):
            continue
        for operation in operations.values():
            operation["security"] = [{_SCHEME: []}]
            refusals = documented(401, 403) if admin else documented(401)
            for status, response in refusals.items():
                operation["responses"].setdefault(str(status), response)


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith(f"{ASSETS}/")


def _is_admin(path: str) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in _ADMIN)


def _bearer(scope: Scope) -> bytes | None:
    """Returns the key that came with a request; the scheme's name may be in any case (RFC 9110)."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            return bytes(key.strip()) if scheme.lower() == b"bearer" else None
    return None
