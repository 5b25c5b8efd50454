"""The blocking client. It may be shared by threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self, TypeVar

import httpx

from reclm_client import batches, calls
from reclm_client import embeddings as vectors
from reclm_client.batches import Batch, Chunk, Chunker
from reclm_client.errors import ReclmClientError
from reclm_client.reading import Answer
from reclm_client.results import (
    ActiveScorer,
    Embeddings,
    Event,
    Item,
    ItemRow,
    Kind,
    Profile,
    ProfileRequest,
    ProfileRow,
    Readiness,
    Score,
    Scorer,
    ScoreRequest,
    ScoreRow,
)
from reclm_client.retries import Attempts, Retries, Timeouts
from reclm_client.transport import (
    Clock,
    authorization,
    check_deadline,
    headers,
    http_timeout,
    resolve_url,
    translated,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from reclm_client.calls import Call

T = TypeVar("T")
R = TypeVar("R")
Row = TypeVar("Row")
Asked = TypeVar("Asked", ProfileRequest, ScoreRequest)


class _End:
    """The end of a chunk's rows in its queue, with what went wrong."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.failure = failure


class ReclmClient:
    """Calls the profile service. Close it, or use it as a context manager.

    Every method raises ReclmApiError (NotFound, InvalidRequest, Unavailable) for an error that
    the service answered, and ConnectionFailed, TimedOut or MalformedAnswer where it did not, both
    after the retries that `retries` allows and that are safe.

    Args:
        base_url: Where the service is; RECLM_URL by default.
        api_key: What to show it; RECLM_API_KEY by default, or the first in RECLM_API_KEY_FILE.
        timeouts: Limits on waiting.
        retries: What is tried again, and how often.
        chunk_rows: Rows that one request of a batch carries.
        chunks_in_flight: Requests of one batch that are under way at once.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
        retries: Retries | None = None,
        chunk_rows: int = 64,
        chunks_in_flight: int = 4,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._retries = retries or Retries()
        self._chunk_rows = chunk_rows
        self._chunks_in_flight = chunks_in_flight
        self._http = httpx.Client(base_url=resolve_url(base_url), headers=authorization(api_key))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def profile(
        self,
        kind: Kind,
        id: str,  # noqa: A002 - the field's name
        *,
        history: Sequence[str | Item] = (),
        item: Item | None = None,
        refresh: bool = False,
        max_age_s: float | None = None,
        deadline_ms: int | None = None,
        embedding: bool = False,
        background: bool = False,
    ) -> Profile:
        """Gets a profile, or has it generated; the arguments are those of ProfileRequest.

        Raises:
            ValueError: `deadline_ms` is not under the read timeout.
        """
        request = ProfileRequest(
            id=id,
            history=history,
            item=item,
            refresh=refresh,
            max_age_s=max_age_s,
            deadline_ms=deadline_ms,
            embedding=embedding,
            background=background,
        )
        check_deadline(request, self._timeouts)
        return self._send(calls.profile(kind, request))

    def profiles(
        self, kind: Kind, rows: Iterable[ProfileRequest]
    ) -> Generator[ProfileRow, None, None]:
        """Gets or generates many profiles, in order, each row with its own result.

        Rows are read as they are needed, so `rows` may be endless. What breaks off is sent again
        for the rows that have no answer yet. An error that stays ends the iteration, after the
        rows before it; a row's own error is in its result and ends nothing.
        """
        return self._batch(batches.profiles(kind), self._checked(rows))

    def get_profile(self, kind: Kind, id: str, *, embedding: bool = False) -> Profile:  # noqa: A002
        """Reads a stored profile; NotFound if there is none."""
        return self._send(calls.get_profile(kind, id, embedding=embedding))

    def delete_profile(self, kind: Kind, id: str) -> None:  # noqa: A002 - the field's name
        """Erases a profile and its vector; that there is none is no error."""
        self._send(calls.delete_profile(kind, id))

    def embeddings(self, kind: Kind, ids: Sequence[str]) -> Embeddings:
        """Reads the vectors of many profiles. Needs numpy and pyarrow."""
        size = vectors.IDS_A_CALL
        slices = [ids[start : start + size] for start in range(0, len(ids), size)]
        return vectors.join([self._send(vectors.embeddings(kind, part)) for part in slices])

    def score(
        self,
        user_id: str | None = None,
        *,
        history: Sequence[str | Item] = (),
        candidates: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        k: int = 20,
        deadline_ms: int | None = None,
        reasons: bool = True,
    ) -> Score:
        """Ranks items for a user; the arguments are those of ScoreRequest.

        Raises:
            ValueError: `deadline_ms` is not under the read timeout.
        """
        request = ScoreRequest(
            user_id=user_id,
            history=history,
            candidates=candidates,
            exclude=exclude,
            k=k,
            deadline_ms=deadline_ms,
            reasons=reasons,
        )
        check_deadline(request, self._timeouts)
        return self._send(calls.score(request))

    def score_batch(self, rows: Iterable[ScoreRequest]) -> Generator[ScoreRow, None, None]:
        """Ranks items for many users, in order, each row with its own result, as in `profiles`."""
        return self._batch(batches.scores(), self._checked(rows))

    def scorers(self) -> tuple[Scorer, ...]:
        """Lists the scorer bundles that the service finds."""
        return self._send(calls.scorers())

    def activate_scorer(self, name: str) -> ActiveScorer:
        """Makes a bundle the one that answers; NotFound if there is none of this name."""
        return self._send(calls.activate_scorer(name))

    def roll_back_scorer(self) -> ActiveScorer:
        """Goes back to the scorer that was active before; a second time undoes it."""
        return self._send(calls.roll_back_scorer())

    def put_item(self, item: Item) -> Item:
        """Adds or replaces an item of the catalogue; returns it as it is kept."""
        return self._send(calls.put_item(item))

    def put_items(self, items: Iterable[Item]) -> Generator[ItemRow, None, None]:
        """Adds or replaces many items, in order, each with its own result, as in `profiles`."""
        return self._batch(batches.items(), items)

    def get_item(self, id: str) -> Item:  # noqa: A002 - the field's name
        """Reads an item of the catalogue; NotFound if there is none."""
        return self._send(calls.get_item(id))

    def delete_item(self, id: str) -> None:  # noqa: A002 - the field's name
        """Removes an item from the catalogue; that there is none is no error."""
        self._send(calls.delete_item(id))

    def items(self, query: str = "", *, page_size: int = 100) -> Iterator[Item]:
        """Yields the catalogue's items in order of id, fetching a page at a time.

        Args:
            query: Words of the title, or their beginnings; empty for all items.
            page_size: Items that one request asks for.
        """
        cursor: str | None = None
        while True:
            page, cursor = self._send(calls.item_page(query, cursor, page_size))
            yield from page
            if cursor is None:
                return

    def add_interactions(self, events: Iterable[Event]) -> int:
        """Tells what users did; their profiles are refreshed behind the answer.

        Telling the same events again changes nothing. They go a thousand at a time, each thousand
        whole or not at all.

        Returns:
            How many events the service has taken.

        Raises:
            InvalidRequest: Some items are not in the catalogue; `problem["unknown"]` names them.
        """
        return sum([self._send(call) for call in calls.event_calls(events)])

    def interactions(self, user_id: str) -> tuple[Event, ...]:
        """Reads what the service knows of a user: the newest interactions, oldest first."""
        return self._send(calls.interactions(user_id))

    def ready(self) -> Readiness:
        """Asks how the service and its dependencies are doing now. Never repeated."""
        return self._send(calls.ready())

    def _checked(self, rows: Iterable[Asked]) -> Iterator[Asked]:
        for row in rows:
            check_deadline(row, self._timeouts)
            yield row

    def _send(self, call: Call[T]) -> T:
        clock = Clock(self._timeouts.total)
        attempts = Attempts(self._retries)
        while True:
            try:
                return call.parse(self._try(call, clock))
            except ReclmClientError as failure:
                remaining = clock.remaining_s
                delay = attempts.delay(failure, repeat=call.repeat, remaining_s=remaining)
                if delay is None:
                    raise
            time.sleep(delay)

    def _try(self, call: Call[T], clock: Clock) -> Answer:
        request = self._http.build_request(
            call.method,
            call.path,
            params=call.query,
            content=call.body,
            headers=headers(call),
            timeout=http_timeout(self._timeouts, clock.remaining_s),
        )
        with translated():
            response = self._http.send(request, stream=True)
            try:
                body = bytearray()
                for data in response.iter_bytes():
                    clock.check()
                    body += data
            finally:
                response.close()
        return Answer(response.status_code, response.headers, bytes(body))

    def _batch(self, batch: Batch[Row, R], rows: Iterable[Row]) -> Generator[R, None, None]:
        chunks = self._chunks(batch, rows)
        stop = threading.Event()
        pool = ThreadPoolExecutor(self._chunks_in_flight, thread_name_prefix="reclm-batch")
        queues: deque[SimpleQueue[R | _End]] = deque()
        try:
            while True:
                while len(queues) < self._chunks_in_flight and (chunk := next(chunks, None)):
                    queues.append(SimpleQueue())
                    pool.submit(self._run_chunk, batch.path, chunk, queues[-1], stop)
                if not queues:
                    return
                queue = queues.popleft()
                while not isinstance(got := queue.get(), _End):
                    yield got
                if got.failure is not None:
                    raise got.failure
        finally:
            # A caller that stops early must not wait for answers that nobody reads any more.
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _chunks(self, batch: Batch[Row, R], rows: Iterable[Row]) -> Iterator[Chunk[R]]:
        chunker = Chunker(batch, max_rows=self._chunk_rows)
        for row in rows:
            if full := chunker.add(row):
                yield full
        if rest := chunker.rest():
            yield rest

    def _run_chunk(
        self, path: str, chunk: Chunk[R], queue: SimpleQueue[R | _End], stop: threading.Event
    ) -> None:
        attempts = Attempts(self._retries)
        try:
            while not stop.is_set():
                try:
                    for row in self._try_chunk(path, chunk):
                        attempts.progress()
                        queue.put(row)
                        if stop.is_set():
                            break
                    break
                except ReclmClientError as failure:
                    delay = attempts.delay(failure, repeat=chunk.repeat)
                    if delay is None:
                        raise
                stop.wait(delay)
        except BaseException as failure:  # noqa: BLE001 - raised again where the rows are read
            queue.put(_End(failure))
        else:
            queue.put(_End())

    def _try_chunk(self, path: str, chunk: Chunk[R]) -> Iterator[R]:
        timeout = http_timeout(self._timeouts, self._timeouts.read)
        media = {"Content-Type": batches.NDJSON, "Accept": batches.NDJSON}
        with (
            translated(),
            self._http.stream(
                "POST", path, content=chunk.request(), headers=media, timeout=timeout
            ) as response,
        ):
            if not response.is_success:
                body = response.read()
                calls.raise_for_status(Answer(response.status_code, response.headers, body))
            for data in response.iter_bytes():
                yield from chunk.feed(data)
        chunk.end()
