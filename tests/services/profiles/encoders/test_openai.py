import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from services.profiles.encoders.openai import OpenAIEncoder
from services.profiles.errors import EncoderRefused, EncoderUnavailable
from tests.services.profiles.encoders.conftest import Run
from tests.services.profiles.encoders.server import EmbeddingsServer


@pytest.fixture
def encoder(server: EmbeddingsServer, run: Run) -> Iterator[OpenAIEncoder]:
    made = OpenAIEncoder(
        url=f"{server.url}/v1/", model="m", timeout_s=0.5, api_key="a key", max_batch=8
    )
    run(made.check())
    yield made
    run(made.aclose())


def vectors(*rows: list[Any], **changes: object) -> dict[str, Any]:
    return {"data": [{"index": i, "embedding": row, **changes} for i, row in enumerate(rows)]}


WIDE = [1.0] + [0.0] * 383


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (500, "answered 500"),
        (401, "refuses the texts with 401$"),
        (400, "refuses the texts with 400$"),
        (429, "answered 429"),
        ("hang", "did not answer within"),
        ({"data": "none"}, "without embeddings"),
        ({"model": "m"}, "without embeddings"),
        (vectors(["x"], ["y"]), "without embeddings"),
        (vectors(WIDE), "2 vectors"),
        (vectors(WIDE, WIDE, index=0), "2 vectors"),
        (vectors(WIDE, WIDE[:-1]), "without embeddings"),
        (vectors(WIDE, [0.0] * 384), "no direction"),
        (vectors([1.0], [1.0]), "had 384 numbers and now have 1"),
    ],
)
def test_a_bad_answer_is_an_error_and_the_next_good_one_is_taken(
    server: EmbeddingsServer, encoder: OpenAIEncoder, run: Run, fault: Any, message: str
) -> None:
    server.fault = fault
    with pytest.raises(EncoderUnavailable, match=message) as raised:
        run(encoder.encode(["private", "words"]))
    assert "private" not in raised.value.detail
    server.fault = None
    assert run(encoder.encode(["private", "words"])).shape == (2, 384)


def test_a_server_that_answers_something_else_than_json(run: Run) -> None:
    async def scenario() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            await reader.read()  # until the client closes
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            encoder = OpenAIEncoder(url=f"http://127.0.0.1:{port}", model="m", timeout_s=5)
            with pytest.raises(EncoderUnavailable, match="without embeddings"):
                await encoder.check()
            await encoder.aclose()

    run(scenario())


def test_a_server_that_is_not_there(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    encoder = OpenAIEncoder(url=f"http://127.0.0.1:{port}", model="m", timeout_s=5)
    with pytest.raises(EncoderUnavailable, match="cannot be reached"):
        run(encoder.check())
    run(encoder.aclose())


def test_a_connection_that_is_cut_is_tried_once_more(run: Run) -> None:
    async def scenario() -> None:
        connections = 0

        async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            writer.close()

        async with await asyncio.start_server(cut, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            encoder = OpenAIEncoder(url=f"http://127.0.0.1:{port}", model="m", timeout_s=5)
            with pytest.raises(EncoderUnavailable, match="closed the connection"):
                await encoder.check()
            await encoder.aclose()
        assert connections == 2

    run(scenario())


def test_calls_behind_a_hanging_server_all_end_and_it_recovers(
    server: EmbeddingsServer, encoder: OpenAIEncoder, run: Run
) -> None:
    async def crowd() -> list[object]:
        calls = (encoder.encode([f"film {i}"] * 8) for i in range(20))
        return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 30)

    server.fault = "hang"
    assert all(isinstance(error, EncoderUnavailable) for error in run(crowd()))
    server.fault = None
    run(encoder.check())


def test_the_key_is_sent_and_texts_are_split_into_requests(
    server: EmbeddingsServer, encoder: OpenAIEncoder, run: Run
) -> None:
    server.sizes.clear()
    assert np.isfinite(run(encoder.encode(["film"] * 20))).all()
    assert sorted(server.sizes) == [4, 8, 8]
    assert set(server.authorizations) == {"Bearer a key"}


@pytest.mark.parametrize(("retry_after", "seconds"), [("7", 7.0), ("86400", 60.0), ("²", 5.0)])
def test_when_to_come_back_is_bounded(
    server: EmbeddingsServer, encoder: OpenAIEncoder, run: Run, retry_after: str, seconds: float
) -> None:
    server.fault, server.headers = 503, {"Retry-After": retry_after}
    with pytest.raises(EncoderUnavailable) as raised:
        run(encoder.encode(["words"]))
    assert raised.value.retry_after == seconds


def test_a_refusal_is_no_reason_to_come_back(
    server: EmbeddingsServer, encoder: OpenAIEncoder, run: Run
) -> None:
    server.fault = 404
    server.message = "the model `m` does not exist"
    with pytest.raises(EncoderRefused, match="with 404: the model `m` does not exist") as raised:
        run(encoder.encode(["words"]))
    assert raised.value.retry_after is None
