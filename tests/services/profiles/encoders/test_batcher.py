import asyncio

import numpy as np
import pytest
from numpy.typing import NDArray

from services.profiles.encoders.batcher import Batcher
from services.profiles.errors import EncoderUnavailable
from tests.services.profiles.encoders.conftest import Run


class Recorder:
    """Computes a text's length; holds each batch until `release` is set, or fails."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.release = asyncio.Event()
        self.under_way = self.most_under_way = 0

    async def compute(self, texts: list[str]) -> NDArray[np.float32]:
        self.batches.append(texts)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await self.release.wait()
        self.under_way -= 1
        if "fails" in texts:
            raise RuntimeError("a secret text")
        return np.array([[len(text)] for text in texts], np.float32)


def make(recorder: Recorder, *, max_batch: int = 4, concurrency: int = 1) -> Batcher:
    return Batcher(recorder.compute, max_batch=max_batch, concurrency=concurrency, on_batch=None)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_the_next_batch_collects_while_one_is_computed(run: Run) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        batcher = make(recorder)
        first = asyncio.create_task(batcher.encode(["a"]))
        await settle()
        rest = [asyncio.create_task(batcher.encode([text])) for text in ("bb", "ccc", "dddd")]
        await settle()
        assert recorder.batches == [["a"]]
        recorder.release.set()
        rows = await asyncio.gather(first, *rest)
        assert recorder.batches == [["a"], ["bb", "ccc", "dddd"]]
        assert [row.tolist() for row in rows] == [[[1]], [[2]], [[3]], [[4]]]

    run(scenario())


def test_a_large_call_does_not_hold_up_a_small_one(run: Run) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        recorder.release.set()
        batcher = make(recorder)
        large = asyncio.create_task(batcher.encode([str(i) for i in range(100)]))
        small = asyncio.create_task(batcher.encode(["small"]))
        await small
        assert "small" in recorder.batches[0]
        assert (await large).shape == (100, 1)
        assert max(map(len, recorder.batches)) == 4

    run(scenario())


def test_a_failed_batch_fails_its_own_calls_only(run: Run) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        recorder.release.set()
        batcher = make(recorder, max_batch=2)
        calls = (batcher.encode([text]) for text in ("fails", "beside", "next"))
        failed, beside, after = await asyncio.gather(*calls, return_exceptions=True)
        for error in (failed, beside):
            assert isinstance(error, EncoderUnavailable)
            assert isinstance(error.__cause__, RuntimeError)
            assert "secret" not in error.detail
        assert failed is not beside
        assert after.tolist() == [[4]]

    run(scenario())


def test_a_wrong_number_of_rows_is_a_failure(run: Run) -> None:
    async def too_few(texts: list[str]) -> NDArray[np.float32]:
        return np.ones((1, 1), np.float32)

    async def scenario() -> None:
        batcher = Batcher(too_few, max_batch=8, concurrency=1, on_batch=None)
        with pytest.raises(EncoderUnavailable):
            await asyncio.wait_for(batcher.encode(["a", "b"]), 10)

    run(scenario())


def test_cancelled_texts_are_not_computed(run: Run) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        batcher = make(recorder)
        first = asyncio.create_task(batcher.encode(["a"]))
        await settle()
        left = asyncio.create_task(batcher.encode(["left"]))
        last = asyncio.create_task(batcher.encode(["last"]))
        await settle()
        left.cancel()
        await settle()
        recorder.release.set()
        await asyncio.gather(first, last)
        assert recorder.batches == [["a"], ["last"]]

    run(scenario())


def test_no_more_batches_than_allowed_are_under_way(run: Run) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        batcher = make(recorder, max_batch=1, concurrency=3)
        calls = [asyncio.create_task(batcher.encode([text])) for text in "abcdef"]
        await settle()
        recorder.release.set()
        await asyncio.gather(*calls)
        assert recorder.most_under_way == 3

    run(scenario())


def test_closing_ends_every_call(run: Run) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        batcher = make(recorder)
        under_way = asyncio.create_task(batcher.encode(["a"]))
        await settle()
        waiting = asyncio.create_task(batcher.encode(["b"]))
        await settle()
        closing = asyncio.create_task(batcher.aclose())
        await settle()
        recorder.release.set()
        await closing
        assert (await under_way).tolist() == [[1]]
        with pytest.raises(EncoderUnavailable, match="closing"):
            await waiting
        assert recorder.batches == [["a"]]

    run(scenario())
