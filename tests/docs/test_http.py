"""docs/reference/http.md names every call and every error code, with its status."""

from __future__ import annotations

import asyncio
import re

import httpx

from services.profiles import errors
from services.profiles.api.problems import status_of
from services.profiles.app import create_app
from services.profiles.settings import Settings
from tests.docs.markdown import ROOT

PAGE = (ROOT / "docs" / "reference" / "http.md").read_text()


def calls_of_the_page() -> set[str]:
    """Returns method and path of each call; a cell may have several of either."""
    table = PAGE.split("## Calls", 1)[1].split("\n## ", 1)[0]
    found = set()
    for cell in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE):
        waiting = []
        for code in re.findall(r"`([^`]+)`", cell):
            method, _, path = code.partition(" ")
            waiting.append(method)
            if path:
                found |= {f"{each} {path}" for each in waiting}
                waiting = []
    return found


def calls_of_the_service() -> set[str]:
    async def document() -> dict[str, dict[str, object]]:
        transport = httpx.ASGITransport(app=create_app(Settings()))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return (await client.get("/openapi.json")).json()["paths"]

    paths = asyncio.run(document())
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def test_the_page_has_the_calls_and_no_others():
    assert calls_of_the_page() == calls_of_the_service()


def test_the_page_has_the_error_codes_and_their_statuses():
    table = PAGE.split("## Errors", 1)[1]
    shown = {
        (int(status), code)
        for status, cell in re.findall(r"^\| (\d+) \| (.+?) \|", table, re.MULTILINE)
        for code in re.findall(r"`([a-z-]+)`", cell)
    }
    kinds = [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.ReclmError)
    ]
    # Their arguments differ, and the status is of the class.
    assert shown == {(status_of(kind.__new__(kind)), kind.code) for kind in kinds}
