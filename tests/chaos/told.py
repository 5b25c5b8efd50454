"""Histories by hand for the tests of the checks: one request after another, at given times."""

from __future__ import annotations

import itertools
from typing import Any

from tests.chaos.checker import Checker
from tests.chaos.history import Call, Violation, Window
from tests.chaos.model import profile_text
from tests.chaos.subjects import Content, Subject, catalogue_id, input_hash, text_of

MODEL, OTHER = "scripted-one", "scripted-two"
BUNDLES = {
    name: {
        "nothing": {"a": shift, "d": shift + 0.25},
        "profile": {"a": shift, "d": shift + 0.25},
        "training": {"b": shift + 2.0},
    }
    for name, shift in (("first", 100.0), ("second", 200.0))
}


class Told:
    """A checker, and the answers that it is shown."""

    def __init__(self, *, synced: bool = True, traced: bool = True) -> None:
        self.checker = Checker(
            versions=frozenset({MODEL, OTHER}),
            bundles=BUNDLES,
            traced=traced,
            synced=synced,
            services=[Window(MODEL, 0.0)],
        )
        self._numbers = itertools.count(1)

    def begin(
        self,
        operation: str,
        subject: Subject | None,
        at: float,
        *,
        content: Content | None = None,
        body: Any = None,
    ) -> Call:
        number, life = (None, 0) if subject is None else (subject.number, subject.life)
        call = Call(
            number=next(self._numbers),
            operation=operation,
            kind=None,
            subject=number,
            life=life,
            content=content,
            body=body,
            begun=at,
        )
        self.checker.begin(call)
        return call

    def end(
        self, call: Call, at: float, status: int | None = 200, answer: Any = None, **headers: str
    ) -> list[Violation]:
        call.ended, call.status, call.answer = at, status, answer
        call.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.checker.end(call)

    def erase(self, subject: Subject, begun: float, ended: float, status: int | None = 204) -> None:
        """Erases, and begins the next life if that is acknowledged."""
        call = self.begin("erase", subject, begun)
        subject.erasing = True
        assert self.end(call, ended, status) == []
        if status == 204:
            subject.next_life()

    def event(self, subject: Subject, part: int, at: float, status: int | None = 202) -> Call:
        """Sends an event, which is answered after a tenth of a second."""
        content = Content(subject.number, subject.life, part)
        body = {"item_id": catalogue_id(content)}
        call = self.begin("event", subject, at, content=content, body=body)
        accepted = {"events": 1, "users": 1}
        assert self.end(call, at + 0.1, status, accepted if status == 202 else None) == []
        return call

    def events(self, subject: Subject, *contents: Content, at: float) -> list[Violation]:
        """Reads a list of events."""
        call = self.begin("events", subject, at)
        rows = [
            {
                "user_id": subject.id,
                "item_id": catalogue_id(content),
                "timestamp": f"2026-01-01T00:00:{place:02}Z",
            }
            for place, content in enumerate(contents)
        ]
        return self.end(call, at + 0.1, 200, {"user_id": subject.id, "events": rows})


def profile(
    subject: Subject,
    content: Content,
    *,
    written_at: float,
    status: str = "cached",
    inputs: tuple[Content, ...] | None = None,
    model: str = MODEL,
    words_by: str = MODEL,
    **changed: Any,
) -> dict[str, Any]:
    """Returns the document of a profile; `inputs` is what the hash is over."""
    lines = " | ".join(text_of(content).values())
    prompt = f"The item:\n- {lines}" if subject.kind == "item" else f"Items:\n- {lines}"
    request = {"messages": [{"content": prompt}], "model": words_by}
    text = profile_text(request, int(written_at * 1e9))
    first, second = (half.split(": ")[1].split(", ") for half in text.rstrip(".").split("; "))
    return {
        "status": status,
        "kind": subject.kind,
        "id": subject.id,
        "identities": first,
        "interests": second,
        "text": text,
        "input_hash": input_hash(subject.kind, inputs or (content,)),
        "created_at": "2026-01-01T00:00:00Z",
        "version": {
            "base_model": {"name": model, "hash": "0"},
            "adapter": None,
            "prompt": {"name": "p", "hash": "0"},
            "encoder": {"name": "e", "hash": "0"},
        },
        **changed,
    }
