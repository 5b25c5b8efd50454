"""The client. This is the source of both: the blocking one is generated from it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Self, TypeVar

import httpx

from reclm_client import embeddings as vectors
from reclm_client import transport
from reclm_client.batches import MAX_CHUNK_BYTES, NDJSON, Batch, Chunk, Line
from reclm_client.calls import JSON, Call, encode, event_calls, into, item_body, path_id, ready
from reclm_client.errors import ReclmClientError
from reclm_client.lanes import AsyncLanes, AsyncSource, async_each, async_pause
from reclm_client.reading import Answer, raise_for_status
from reclm_client.results import Embeddings, Erasures, ItemRow, ProfileRow, Row, ScoreRow, to_pandas
from reclm_client.retries import Attempts, Retries, Timeouts
from reclm_client.schemas.batch import ItemLine, ProfileLine, ScoreLine
from reclm_client.schemas.erasure import Copies, ErasurePage
from reclm_client.schemas.event import Interactions
from reclm_client.schemas.item import Item, ItemPage
from reclm_client.schemas.profile import Kind, Profile, ProfileRequest
from reclm_client.schemas.score import ActiveScorer, Score, Scorer, ScoreRequest, Scorers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    import pandas as pd

    from reclm_client.retries import Repeat
    from reclm_client.schemas.erasure import Copy
    from reclm_client.schemas.event import Event
    from reclm_client.schemas.health import Readiness

T = TypeVar("T")
R = TypeVar("R", bound=Row)
Limited = TypeVar("Limited", ProfileRequest, ScoreRequest)


class AsyncRows(AsyncIterator[R]):
    """The answers to a batch, in order. Close it if you leave it early."""

    def __init__(self, rows: AsyncGenerator[R, None]) -> None:
        self._rows = rows

    def __repr__(self) -> str:
        return "<answers to a batch: iterate over them, or call to_pandas()>"

    async def __anext__(self) -> R:
        return await anext(self._rows)

    async def aclose(self) -> None:
        """Stops, and gives up what is under way."""
        await self._rows.aclose()

    async def to_pandas(self) -> pd.DataFrame:
        """Reads the answers that are left into a table; its columns are those of their `records`.

        Needs pandas.
        """
        return to_pandas([row async for row in self])


class AsyncReclmClient:
    """Calls the profile service. Close it, or use it as a context manager.

    ReclmClient blocks, and its threads may share it; AsyncReclmClient has the same methods as
    coroutines, and the tasks of one event loop may share it.

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
        on_headers: Called with the headers of every answer but those of batches.
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
        on_headers: Callable[[Mapping[str, str]], None] | None = None,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._retries = retries or Retries()
        self._chunk_rows = chunk_rows
        self._chunks_in_flight = chunks_in_flight
        self._on_headers = on_headers
        self._http = httpx.AsyncClient(
            base_url=transport.resolve_url(base_url), headers=transport.authorization(api_key)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def profile(
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
            id, history, refresh, max_age_s, deadline_ms, embedding, background, item
        )
        transport.check_deadline(request, self._timeouts)
        # Without `refresh`, asking twice is asking once.
        repeat: Repeat = "unprocessed" if refresh else "always"
        path, body = f"/profiles/{kind}", encode(request)
        return await self._send(Call("POST", path, into(Profile), body=body, repeat=repeat))

    def profiles(self, kind: Kind, rows: AsyncSource[ProfileRequest]) -> AsyncRows[ProfileRow]:
        """Gets or generates many profiles, in order, each row with its own result.

        Rows are read as they are needed, so `rows` may be endless. What breaks off is sent again
        for the rows that have no answer yet. An error that stays ends the iteration, after the
        rows before it; a row's own error is in its result and ends nothing.
        """
        batch = Batch(f"/profiles/{kind}:batch", ProfileLine, ProfileRow, "profile")
        return AsyncRows(self._batch(batch, self._checked(rows)))

    async def get_profile(
        self,
        kind: Kind,
        id: str,  # noqa: A002 - the field's name
        *,
        embedding: bool = False,
    ) -> Profile:
        """Reads a stored profile; NotFound if there is none."""
        query = {"embedding": "true"} if embedding else {}
        path = f"/profiles/{kind}/{path_id(id)}"
        return await self._send(Call("GET", path, into(Profile), query=query))

    async def delete_profile(self, kind: Kind, id: str) -> None:  # noqa: A002 - the field's name
        """Erases a profile and its vector; that there is none is no error."""
        await self._send(Call("DELETE", f"/profiles/{kind}/{path_id(id)}", raise_for_status))

    async def embeddings(self, kind: Kind, ids: Sequence[str]) -> Embeddings:
        """Reads the vectors of many profiles. Needs numpy and pyarrow."""
        size = vectors.IDS_A_CALL
        slices = [ids[start : start + size] for start in range(0, len(ids), size)]
        return vectors.join([await self._send(vectors.embeddings(kind, part)) for part in slices])

    async def score(
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
        request = ScoreRequest(user_id, history, candidates, exclude, k, deadline_ms, reasons)
        transport.check_deadline(request, self._timeouts)
        return await self._send(Call("POST", "/score", into(Score), body=encode(request)))

    def score_batch(self, rows: AsyncSource[ScoreRequest]) -> AsyncRows[ScoreRow]:
        """Ranks items for many users, in order, each row with its own result, as in `profiles`."""
        batch = Batch("/score:batch", ScoreLine, ScoreRow, "score")
        return AsyncRows(self._batch(batch, self._checked(rows)))

    async def scorers(self) -> tuple[Scorer, ...]:
        """Lists the scorer bundles that the service finds."""
        return (await self._send(Call("GET", "/admin/scorers", into(Scorers)))).scorers

    async def activate_scorer(self, name: str) -> ActiveScorer:
        """Makes a bundle the one that answers; NotFound if there is none of this name."""
        path = f"/admin/scorers/{path_id(name)}/activate"
        return await self._send(Call("POST", path, into(ActiveScorer)))

    async def roll_back_scorer(self) -> ActiveScorer:
        """Goes back to the scorer that was active before; a second time undoes it: never repeated."""
        path = "/admin/scorers/rollback"
        return await self._send(Call("POST", path, into(ActiveScorer), repeat="never"))

    async def erasures(self, *, page_size: int = 1000) -> Erasures:
        """Reads which users were erased. Needs an admin key where there are any.

        Args:
            page_size: About how many one request asks for.
        """
        as_of: datetime | None = None
        erased: dict[str, datetime] = {}
        query = {"limit": str(page_size)}
        while True:
            call = Call("GET", "/admin/erasures", into(ErasurePage), query=query)
            page = await self._send(call)
            as_of = as_of or page.as_of
            erased.update((one.user_id, one.erased_at) for one in page.erasures)
            if page.cursor is None:
                return Erasures(as_of, erased)
            query = {**query, "cursor": page.cursor}

    async def copies(self) -> tuple[Copy, ...]:
        """Reads what may still hold data of erased users. Needs an admin key where there are any."""
        return (await self._send(Call("GET", "/admin/erasures/copies", into(Copies)))).copies

    async def put_item(self, item: Item) -> Item:
        """Adds or replaces an item of the catalogue; returns it as it is kept."""
        path, body = f"/items/{path_id(item.id)}", encode(item_body(item))
        return await self._send(Call("PUT", path, into(Item), body=body))

    def put_items(self, items: AsyncSource[Item]) -> AsyncRows[ItemRow]:
        """Adds or replaces many items, in order, each with its own result, as in `profiles`."""
        return AsyncRows(self._batch(Batch("/items:batch", ItemLine, ItemRow), async_each(items)))

    async def get_item(self, id: str) -> Item:  # noqa: A002 - the field's name
        """Reads an item of the catalogue; NotFound if there is none."""
        return await self._send(Call("GET", f"/items/{path_id(id)}", into(Item)))

    async def delete_item(self, id: str) -> None:  # noqa: A002 - the field's name
        """Removes an item from the catalogue; that there is none is no error."""
        await self._send(Call("DELETE", f"/items/{path_id(id)}", raise_for_status))

    async def items(self, query: str = "", *, page_size: int = 100) -> AsyncGenerator[Item, None]:
        """Yields the catalogue's items in order of id, fetching a page at a time.

        Args:
            query: Words of the title, or their beginnings; empty for all items.
            page_size: Items that one request asks for.
        """
        cursor: str | None = ""
        while cursor is not None:
            given = {"q": query, "cursor": cursor, "limit": str(page_size)}
            parameters = {name: value for name, value in given.items() if value}
            page = await self._send(Call("GET", "/items", into(ItemPage), query=parameters))
            for item in page.items:
                yield item
            cursor = page.cursor

    async def add_interactions(self, events: Iterable[Event]) -> int:
        """Records what users did; their profiles are refreshed behind the answer.

        Sending the same events again changes nothing. They go a thousand at a time, each thousand
        whole or not at all.

        Returns:
            How many events the service has taken.

        Raises:
            InvalidRequest: Some items are not in the catalogue; `problem["unknown"]` names them.
        """
        return sum([await self._send(call) for call in event_calls(events)])

    async def interactions(self, user_id: str) -> tuple[Event, ...]:
        """Reads what the service knows of a user: the newest interactions, oldest first."""
        path = f"/interactions/{path_id(user_id)}"
        return (await self._send(Call("GET", path, into(Interactions)))).events

    async def ready(self) -> Readiness:
        """Asks how the service and its dependencies are doing now. Never repeated."""
        return await self._send(ready())

    async def _checked(self, rows: AsyncSource[Limited]) -> AsyncIterator[Limited]:
        async for row in async_each(rows):
            transport.check_deadline(row, self._timeouts)
            yield row

    async def _send(self, call: Call[T]) -> T:
        clock = transport.Clock(self._timeouts.total)
        attempts = Attempts(self._retries)
        while True:
            try:
                return call.parse(await self._try(call, clock))
            except ReclmClientError as failure:
                remaining = clock.remaining_s
                delay = attempts.delay(failure, repeat=call.repeat, remaining_s=remaining)
                if delay is None:
                    raise
            await async_pause(delay)

    async def _try(self, call: Call[T], clock: transport.Clock) -> Answer:
        content = {} if call.body is None else {"Content-Type": JSON}
        request = self._http.build_request(
            call.method,
            call.path,
            params=call.query,
            content=call.body,
            headers={"Accept": call.accept, **content},
            timeout=transport.http_timeout(self._timeouts, clock.remaining_s),
        )
        with transport.translated():
            response = await self._http.send(request, stream=True)
            async with aclosing(response):
                body = bytearray()
                async for data in response.aiter_bytes():
                    clock.check()
                    body += data
        if self._on_headers is not None:
            self._on_headers(response.headers)
        return Answer(response.status_code, response.headers, bytes(body))

    async def _batch(self, batch: Batch[R], rows: AsyncIterator[object]) -> AsyncGenerator[R, None]:
        running: deque[AsyncIterator[R]] = deque()
        async with aclosing(self._chunks(batch, rows)) as chunks, AsyncLanes[R]() as lanes:
            while True:
                while len(running) < self._chunks_in_flight and (
                    chunk := await anext(chunks, None)
                ):
                    running.append(lanes.start(self._run_chunk(chunk, lanes)))
                if not running:
                    return
                async for row in running.popleft():
                    yield row

    async def _chunks(
        self, batch: Batch[R], rows: AsyncIterator[object]
    ) -> AsyncGenerator[Chunk[R], None]:
        if self._chunk_rows < 1:
            raise ValueError(f"a chunk has at least one row, not {self._chunk_rows}")
        first, size = 0, 0
        lines: list[Line] = []
        async for row in rows:
            line = Line(row)
            size += len(line.body)
            if len(lines) == self._chunk_rows or (lines and size > MAX_CHUNK_BYTES):
                yield Chunk(lines, first, batch)
                first, size, lines = first + len(lines), len(line.body), []
            lines.append(line)
        if lines:
            yield Chunk(lines, first, batch)

    async def _run_chunk(self, chunk: Chunk[R], lanes: AsyncLanes[R]) -> AsyncGenerator[R, None]:
        attempts = Attempts(self._retries)
        while True:
            try:
                async with aclosing(self._try_chunk(chunk)) as rows:
                    async for row in rows:
                        attempts.progress()
                        yield row
            except ReclmClientError as failure:
                delay = attempts.delay(failure, repeat=chunk.repeat)
                if delay is None:
                    raise
            else:
                return
            await lanes.pause(delay)

    async def _try_chunk(self, chunk: Chunk[R]) -> AsyncGenerator[R, None]:
        timeout = transport.http_timeout(self._timeouts, self._timeouts.read)
        media = {"Content-Type": NDJSON, "Accept": NDJSON}
        content = chunk.request()
        with transport.translated():
            async with self._http.stream(
                "POST", chunk.path, content=content, headers=media, timeout=timeout
            ) as response:
                if not response.is_success:
                    body = await response.aread()
                    raise_for_status(Answer(response.status_code, response.headers, body))
                async for data in response.aiter_bytes():
                    for row in chunk.feed(data):
                        yield row
        chunk.end()
