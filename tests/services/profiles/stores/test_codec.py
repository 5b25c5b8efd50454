from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profiles.domain.profile import (
    Component,
    Profile,
    ProfileText,
    ProfileVersion,
    timestamp,
)
from services.profiles.stores import codec

VERSION = ProfileVersion(
    Component("llama", "1"), None, Component("prompt", "2"), Component("encoder", "3")
)
VECTOR = np.array([0.6, -0.8, 0.0, 1e-4], np.float16)
WORDS = ProfileText(
    "user",
    ("film lover", "night owl", "l’amie d'été"),
    ("dark humour", "long talks", "old music"),
)


def made(id_: str = "u", created_ms: int = 1_767_225_599_999) -> Profile:
    return Profile(
        id=id_,
        words=WORDS,
        vector=VECTOR,
        version_digest=VERSION.digest(),
        input_hash=bytes(range(16)),
        request_digest=b"requests",
        created_ms=created_ms,
    )


def looked(value: bytes) -> codec.Stored:
    stored = codec.look(value)
    assert stored is not None
    return stored


def test_a_profile_comes_back_whole() -> None:
    stored = looked(codec.encode(made()))
    assert stored.version_digest == VERSION.digest()
    assert stored.input_hash == bytes(range(16))
    assert stored.request_digest == b"requests"
    assert stored.created_ms == 1_767_225_599_999
    assert stored.vector.dtype == np.float16
    assert stored.vector.tolist() == VECTOR.tolist()


@given(
    id_=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    created_ms=st.integers(0, 2**41),
    embedding=st.booleans(),
)
def test_the_response_is_the_documented_one(id_: str, created_ms: int, embedding: bool) -> None:
    stored = looked(codec.encode(made(id_, created_ms)))
    response = json.loads(stored.response("stale", VERSION.to_json(), embedding=embedding))
    vector = response.pop("embedding", None)
    assert (vector is not None) == embedding
    if embedding:
        assert np.array(vector, np.float16).tolist() == VECTOR.tolist()
    assert response == {
        "status": "stale",
        "kind": "user",
        "id": id_,
        "identities": ["film lover", "night owl", "l’amie d'été"],
        "interests": ["dark humour", "long talks", "old music"],
        "text": "User identity: film lover, night owl, l’amie d'été; "
        "User interests: dark humour, long talks, old music.",
        "input_hash": "000102030405060708090a0b0c0d0e0f",
        "created_at": timestamp(created_ms),
        "version": {
            "base_model": {"name": "llama", "hash": "1"},
            "adapter": None,
            "prompt": {"name": "prompt", "hash": "2"},
            "encoder": {"name": "encoder", "hash": "3"},
        },
    }


def test_the_vector_takes_two_bytes_a_number() -> None:
    longer = np.zeros(384, np.float16)
    short, long = codec.encode(made()), codec.encode(replace(made(), vector=longer))
    assert len(long) - len(short) == 2 * (384 - 4)


def test_rebinding_changes_the_request_and_what_it_read_alone() -> None:
    value = replace(made(), stamp=2**41, marks=b"abcdef")
    stored = looked(codec.encode(value, epoch=7))
    assert (stored.stamp, stored.marks) == (2**41, b"abcdef")
    rebound = looked(stored.rebound(b"another!", stamp=2**42, marks=b"ghi"))
    assert (rebound.stamp, rebound.marks) == (2**42, b"ghi")
    assert (stored.epoch, rebound.epoch) == (7, 7)
    assert rebound.request_digest == b"another!"
    version = VERSION.to_json()
    assert rebound.response("cached", version, embedding=True) == stored.response(
        "cached", version, embedding=True
    )
    assert rebound.version_digest == stored.version_digest


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\x01",
        b"junk",
        codec.encode(made())[: codec.HEADER_BYTES - 1],
        codec.tombstone(7),
        bytes([codec.LAYOUT + 1]) + codec.encode(made())[1:],
    ],
)
def test_what_cannot_be_read_is_absent(value: bytes | None) -> None:
    assert codec.look(value) is None


def test_the_layout_is_as_written_down() -> None:
    """A change of these bytes needs a new layout number: older values lie in Redis for months."""
    value = codec.encode(replace(made(), stamp=9, marks=b"abcdef"), epoch=7)
    assert re.fullmatch(
        rb"\x02\x07\x00{7}..\x00\x00.{8}requests.{16}.{8}\x09\x00{7}\x06\x00"
        rb'"kind":"user","id":"u",.*abcdef',
        value[:-8],
        re.DOTALL,
    )
    assert value[-8:] == VECTOR.tobytes()


def test_values_carry_the_last_erasure() -> None:
    tombstone = codec.tombstone(2**41)
    assert codec.epoch_of(tombstone) == 2**41
    assert codec.epoch_of(codec.encode(made(), epoch=2**41)) == 2**41
    assert codec.epoch_of(codec.encode(made())) == 0
    assert codec.epoch_of(None) == codec.epoch_of(b"") == codec.epoch_of(b"\x01" * 60) == 0
    start = codec.EPOCH_AT
    assert tombstone[start : start + 8] == codec.encode(made(), epoch=2**41)[start : start + 8]
    digest = codec.encode(made())[codec.VERSION_AT : codec.VERSION_AT + 8]
    assert digest == made().version_digest
