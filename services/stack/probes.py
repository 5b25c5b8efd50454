"""Readiness checks. Each returns None for a server that is ready, else the fault."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import httpx
from redis import Redis
from redis.exceptions import RedisError

from services.profiles.errors import StoreUnavailable
from services.profiles.stores.registry import fault_of

if TYPE_CHECKING:
    from services.profiles.settings import Settings

_TIMEOUT_S = 5.0


def store_fault(settings: Settings) -> str | None:
    """Checks that the service could use the store of these settings."""
    try:
        return asyncio.run(fault_of(settings))
    except StoreUnavailable as error:
        return error.detail


def redis_fault(url: str) -> str | None:
    """Checks a Redis server with PING."""
    limits = {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S}
    try:
        with Redis.from_url(url, **limits) as client:
            client.ping()
    except (RedisError, ValueError) as error:
        return str(error)
    return None


def http_fault(url: str) -> str | None:
    """Checks that a GET is answered with status 200."""
    try:
        status = httpx.get(url, timeout=_TIMEOUT_S).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return str(error) or type(error).__name__
    return None if status == httpx.codes.OK else f"{url} answers {status}"


def service_fault(url: str) -> str | None:
    """Checks that the profile service is ready; a degraded one has no model."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=_TIMEOUT_S).json()
        if answer["status"] == "ready":
            return None
        down = {
            name: state.get("error", "down")
            for name, state in answer.get("dependencies", {}).items()
            if state["status"] != "up"
        }
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return str(error) or type(error).__name__
    return "; ".join(f"{name}: {error}" for name, error in down.items()) or answer["status"]


def without_secrets(url: str) -> str:
    """Returns a URL without user and password, safe to print."""
    return re.sub("://[^/?#]*@", "://", url, count=1)
