"""Answers as the service gives them."""

from __future__ import annotations

import json
from typing import Any

PART = {"name": "m", "hash": "abc"}
VERSION = {"base_model": PART, "adapter": None, "prompt": PART, "encoder": PART}


def profile(name: str = "u1", kind: str = "user", **changes: Any) -> dict[str, Any]:
    return {
        "status": "generated",
        "kind": kind,
        "id": name,
        "identities": ["a", "b", "c"],
        "interests": ["x", "y", "z"],
        "text": "User identity: a, b, c; User interests: x, y, z.",
        "input_hash": "00ff",
        "created_at": "2025-01-02T03:04:05Z",
        "version": VERSION,
        **changes,
    }


def profile_lines(ids: list[str]) -> list[bytes]:
    return [
        json.dumps(
            {"row": row, "id": name, "status_code": 200, "profile": profile(name)},
            ensure_ascii=False,
        ).encode()
        + b"\n"
        for row, name in enumerate(ids)
    ]


def score(user_id: str | None = "u1", **changes: Any) -> dict[str, Any]:
    reasons = {
        "history": [{"item_id": "7", "contribution": 0.5}],
        "interests": [{"phrase": "x", "contribution": 1}],
    }
    return {
        "scorer": "s-1",
        "user_id": user_id,
        "known_by": "history",
        "profile": profile("u1"),
        "ignored": ["9"],
        "items": [{"item_id": "3", "score": 2, "reasons": reasons}],
        **changes,
    }
