"""Rows, and what might have been made of them."""

from __future__ import annotations

import hashlib

import numpy as np

from services.backfill.makers import Made
from services.backfill.rows import ProfileRow

VERSION = "00112233aabbccdd"


def row(id_: str, history: tuple[str, ...] = ("a", "b"), *, text: str = "") -> ProfileRow:
    """A row whose digest is in two halves: what it refers to, and the texts behind that."""
    referred = hashlib.blake2b(repr((id_, history)).encode(), digest_size=8).digest()
    texts = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return ProfileRow(id_, history, referred + texts)


def made(id_: str, *, version: str = VERSION, status: str = "generated", size: int = 4) -> Made:
    numbers = np.random.default_rng(list(id_.encode())).standard_normal(size).astype(np.float16)
    return Made(
        id=id_,
        text=f"User identity: {id_}, b, c; User interests: d, e, f.",
        vector=numbers,
        status=status,
        version=version,
        input_hash=hashlib.sha256(id_.encode()).hexdigest()[:32],
        created_ms=1_700_000_000_000,
    )
