"""Sends requests and reads answers, whatever comes back, and has each checked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

from tests.chaos.subjects import Content, Subject, catalogue_id, request_body, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.checker import Checker
    from tests.chaos.history import Call, History, Violation


class Sender:
    """The calls of the service that the lab makes.

    Args:
        client: Knows the service's address.
        history: Where all calls are entered.
        checker: Checks the answers.
        found: Takes violations.
        saw: Takes every call that has ended.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        history: History,
        checker: Checker,
        found: Callable[[list[Violation]], None],
        saw: Callable[[Call], None],
    ) -> None:
        self._history = history
        self._checker = checker
        self._found = found
        self._saw = saw
        self._client = client

    async def profile(self, subject: Subject, content: Content, *, kind: str | None) -> Call:
        """Asks for a profile of what the request brings along, sometimes with its vector."""
        body = request_body(subject, content) | {"embedding": content.part % 2 == 0}
        call = self._begin("profile", subject, kind=kind, content=content, body=body)
        return await self._send(call, "POST", f"/profiles/{subject.kind}", body)

    async def profile_by_id(self, subject: Subject) -> Call:
        """Asks for a profile of what the service knows."""
        body = {"id": subject.id}
        call = self._begin("profile by id", subject, body=body)
        return await self._send(call, "POST", f"/profiles/{subject.kind}", body)

    async def read(self, subject: Subject) -> Call:
        """Reads a profile."""
        call = self._begin("read", subject, kind="read")
        return await self._send(call, "GET", f"/profiles/{subject.kind}/{subject.id}")

    async def erase(self, subject: Subject) -> Call:
        """Erases a subject."""
        call = self._begin("erase", subject)
        return await self._send(call, "DELETE", f"/profiles/{subject.kind}/{subject.id}")

    async def event(self, subject: Subject, content: Content, at_ms: int) -> Call:
        """Sends an event with its time."""
        body = {"user_id": subject.id, "item_id": catalogue_id(content), "timestamp": at_ms}
        call = self._begin("event", subject, kind="event", content=content, body=body)
        return await self._send(call, "POST", "/interactions", {"events": [body]})

    async def events(self, subject: Subject) -> Call:
        """Reads a subject's events."""
        call = self._begin("events", subject)
        return await self._send(call, "GET", f"/interactions/{subject.id}")

    async def score(self, subject: Subject) -> Call:
        """Asks for a score."""
        body = {"user_id": subject.id, "k": 3}
        call = self._begin("score", subject, kind="score", body=body)
        return await self._send(call, "POST", "/score", body)

    async def embeddings(self, subjects: list[Subject]) -> Call:
        """Reads the vectors of users."""
        numbers = [subject.number for subject in subjects]
        call = self._history.begin("embeddings", body=numbers)
        self._checker.begin(call)
        body = {"ids": [subject.id for subject in subjects]}
        return await self._send(call, "POST", "/embeddings/user", body)

    async def put_item(self, subject: Subject, content: Content) -> Call:
        """Stores an item of the catalogue."""
        id_, text = catalogue_id(content), text_of(content)
        call = self._begin("put item", subject, body={"id": id_, **text})
        return await self._send(call, "PUT", f"/items/{id_}", text)

    async def get_item(self, id_: str) -> Call:
        """Reads an item of the catalogue."""
        call = self._history.begin("get item", body={"id": id_})
        self._checker.begin(call)
        return await self._send(call, "GET", f"/items/{id_}")

    async def activate(self, bundle: str) -> Call:
        """Makes a bundle the active one."""
        call = self._history.begin("activate", body=bundle)
        self._checker.begin(call)
        return await self._send(call, "POST", f"/admin/scorers/{bundle}/activate")

    def _begin(
        self,
        operation: str,
        subject: Subject,
        *,
        kind: str | None = None,
        content: Content | None = None,
        body: Any = None,
    ) -> Call:
        call = self._history.begin(
            operation,
            kind=kind,
            subject=subject.number,
            life=subject.life,
            content=content,
            body=body,
        )
        self._checker.begin(call)
        return call

    async def _send(self, call: Call, method: str, path: str, body: Any = None) -> Call:
        try:
            response = await self._client.request(method, path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
            call.why = f"{type(error).__name__}: {error}"
            call.damaged = isinstance(error, httpx.RemoteProtocolError | ValueError)
        else:
            call.status = response.status_code
            call.headers = {name.lower(): value for name, value in response.headers.items()}
            try:
                call.answer = json.loads(response.content) if response.content else None
            except ValueError:
                call.why, call.damaged = repr(response.content[:500]), True
        self._history.end(call)
        self._found(self._checker.end(call))
        self._saw(call)
        return call
