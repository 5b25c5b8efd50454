"""Makes a snapshot from a running service over HTTP; resumable.

The service knows nothing of experiments. Ids carry the split's fingerprint, so that a profile of a
training part never replaces a user's real one, and items are sent inline, so that the catalogue is
not changed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from reclm_client import Item, ProfileRequest, ReclmClient, ReclmClientError
from recommenders.data.errors import DatasetError
from recommenders.data.indexed import Indexed
from recommenders.data.neighbours import co_chosen
from recommenders.features.histories import readable_histories
from recommenders.features.journal import Journal
from recommenders.features.snapshot import Snapshot, SnapshotInfo
from services.common.files import write_json
from services.common.profile_tables import request_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from reclm_client import Kind, ProfileVersion
    from recommenders.data.dataset import Dataset
    from recommenders.data.split import Split
    from recommenders.features.table import ProfileTable

    MakeRequests = Callable[[Sequence[str]], Iterator[tuple[str, ProfileRequest]]]

_FAILURES_IN_A_ROW = 50

_CHUNK_ROWS, _CHUNKS = 16, 3
"""Rows per request and requests in flight. A model on two cores generates little more than one
profile a second, and a request times out after two minutes."""

_LONGEST = {"title": 512, "category": 256, "description": 8192}
"""Maximum lengths in the service, in characters; longer texts are cut at a word."""

_PASSES = 3
"""How often missing profiles are requested: generation is random, so a retry may succeed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchOptions:
    """What is requested and sent.

    Attributes:
        history: Number of a user's newest items that are sent.
        neighbours: Number of co-occurring items that are sent with an item.
        max_users: Maximum number of users, drawn by a hash of their ids, so that a smaller number
            is a subset of a larger one; None for all.
        known: Request only users who are not in training, with this number of their first known
            interactions; None for all users and items.
    """

    history: int = 50
    neighbours: int = 10
    max_users: int | None = None
    known: int | None = None


def fetch(
    dataset: Dataset,
    split: Split | None,
    folder: Path,
    *,
    url: str,
    options: FetchOptions | None = None,
    erased: Collection[str] = (),
    progress: Callable[[str, int, int, int], None] | None = None,
) -> Snapshot:
    """Makes a snapshot of the profiles of a dataset's users and items.

    Profiles are kept in `<folder>.partial` until the snapshot is complete.

    Args:
        dataset: The dataset.
        split: Histories are taken from its training part only. None requests only items, from
            their own texts: such profiles read no interaction and fit every split.
        folder: The snapshot's folder.
        url: URL of the service.
        options: What is requested and sent.
        erased: Users to leave out, also from what is sent of items.
        progress: Called with the kind and the numbers of profiles so far, profiles wanted and
            failures so far.

    Raises:
        DatasetError: The folder exists, another snapshot was begun beside it, or the service cannot
            be reached, only fails, or changes its version meanwhile.
    """
    options = options or FetchOptions()
    if folder.exists():
        raise DatasetError(f"{folder} exists already; choose another for the snapshot")
    try:
        return _fetch(
            dataset, split, folder, url=url, options=options, erased=erased, progress=progress
        )
    except ReclmClientError as error:
        raise DatasetError(
            f"the service at {url}: {error}. Run the command again to resume"
        ) from error


def _fetch(
    dataset: Dataset,
    split: Split | None,
    folder: Path,
    *,
    url: str,
    options: FetchOptions,
    erased: Collection[str],
    progress: Callable[[str, int, int, int], None] | None,
) -> Snapshot:
    with _client(url) as client:
        version = client.ready().version
        if version is None:
            raise DatasetError(
                f"the service at {url} tells its version to callers with a key: set RECLM_API_KEY "
                "or RECLM_API_KEY_FILE to one of its API keys"
            )
        request = {
            "dataset": dataset.info.name,
            "split": None if split is None else split.fingerprint(),
            "version": _version_name(version),
            **asdict(options),
        }
        partial = _begun(folder, request)
        requests = ProfileRequests(dataset, split, options, erased=erased)
        failed = 0
        tables: dict[Kind, ProfileTable] = {}
        kinds: tuple[Kind, ...] = ("item", "user")
        if split is None:
            kinds = ("item",)
        elif options.known is not None:
            kinds = ("user",)
        for kind in kinds:
            wanted, rows = requests.of(kind)
            with Journal(partial / f"{kind}s.ndjson") as journal:
                for _ in range(_PASSES):
                    left = [id_ for id_ in wanted if id_ not in journal]
                    if not left:
                        break
                    received = request_profiles(
                        client, kind, rows(left), journal=journal, version=version
                    )
                    for failures in received:
                        if progress is not None:
                            progress(kind, len(journal), len(wanted), failures)
                failed += len(wanted) - len(journal)
                tables[kind] = journal.table(wanted)
    info = SnapshotInfo(
        dataset=dataset.info.name,
        split=None if split is None else split.fingerprint(),
        source=_version_name(version),
        encoder=f"{version.encoder.name}@{version.encoder.hash}",
        failed=failed,
        version=asdict(version),
        known=None if split is None else options.known,
    )
    Snapshot(info, tables.get("user"), tables.get("item")).write(folder)
    shutil.rmtree(partial)
    return Snapshot.read(folder)


def _client(url: str) -> ReclmClient:
    try:
        return ReclmClient(url, chunk_rows=_CHUNK_ROWS, chunks_in_flight=_CHUNKS)
    except ValueError as error:  # the URL, or the key that the environment names
        raise DatasetError(str(error)) from error


class ProfileRequests:
    """Makes the requests for users and items, from readable histories only."""

    def __init__(
        self,
        dataset: Dataset,
        split: Split | None,
        options: FetchOptions,
        *,
        erased: Collection[str] = (),
    ) -> None:
        indexed = Indexed.of(dataset)
        self._options = options
        self._prefix = request_prefix(
            dataset.info.name,
            None if split is None else split.fingerprint(),
            None if split is None else options.known,
        )
        self._items = _items(dataset)
        rows = readable_histories(indexed, split) if split else {}
        names = indexed.item_ids
        self._histories: Mapping[str, Sequence[str]] = {
            indexed.user_ids[user]: [names[item] for item in items] for user, items in rows.items()
        }
        if split is not None and options.known is not None:
            new_users = [
                user for user in rows if split.train.indptr[user] == split.train.indptr[user + 1]
            ]
            self._histories = {
                indexed.user_ids[user]: [names[item] for item in rows[user][: options.known]]
                for user in new_users
            }
        self._histories = {
            user: items for user, items in self._histories.items() if user not in erased
        }
        drawn = sorted(self._histories, key=lambda id_: hashlib.sha256(id_.encode()).digest())
        chosen = set(drawn[: options.max_users])
        self.user_ids = [id_ for id_ in self._histories if id_ in chosen]
        self.item_ids = list(names)

    def of(self, kind: Kind) -> tuple[list[str], MakeRequests]:
        """Returns the ids of a kind, and a function that makes the requests for some of them."""
        if kind == "user":
            return self.user_ids, self._users
        return self.item_ids, self._item_requests

    def _users(self, ids: Sequence[str]) -> Iterator[tuple[str, ProfileRequest]]:
        for id_ in ids:
            newest = self._histories[id_][-self._options.history :]
            history = [self._items[item] for item in newest]
            yield (
                id_,
                ProfileRequest(
                    self._prefix + id_, history=history, embedding=True, background=True
                ),
            )

    def _item_requests(self, ids: Sequence[str]) -> Iterator[tuple[str, ProfileRequest]]:
        together = co_chosen(self._histories, self.item_ids, of=ids, limit=self._options.neighbours)
        for id_, others in zip(ids, together, strict=True):
            yield (
                id_,
                ProfileRequest(
                    self._prefix + id_,
                    history=[self._items[other] for other in others],
                    item=self._items[id_],
                    embedding=True,
                    background=True,
                ),
            )


def request_profiles(
    client: ReclmClient,
    kind: Kind,
    rows: Iterator[tuple[str, ProfileRequest]],
    *,
    journal: Journal,
    version: ProfileVersion,
) -> Iterator[int]:
    """Requests profiles and journals them; yields the number of failures after each."""
    sent: list[str] = []

    def requests() -> Iterator[ProfileRequest]:
        for id_, request in rows:
            sent.append(id_)
            yield request

    failed = in_a_row = 0
    for answer in client.profiles(kind, requests()):
        profile = answer.profile
        # A stale or degraded profile was not made from the history that was sent.
        if profile is not None and profile.status in {"generated", "cached"}:
            if profile.version != version:
                raise DatasetError(
                    "the version of the service's profiles has changed since this snapshot was begun; "
                    f"delete {journal.path.parent} and run the command again to request all anew"
                )
            journal.add(sent[answer.row], profile)
            in_a_row = 0
        else:
            failed += 1
            in_a_row += 1
            if in_a_row == _FAILURES_IN_A_ROW:
                why = answer.error or f"the service returns {profile and profile.status} profiles"
                raise DatasetError(
                    f"the last {in_a_row} {kind}s have all failed, the last one with: {why}"
                ) from answer.error
        yield failed


def _begun(folder: Path, request: dict[str, object]) -> Path:
    """Returns the folder of the partial snapshot, after checking that it is of the same request."""
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    path = partial / "request.json"
    if path.is_file():
        try:
            earlier = json.loads(path.read_bytes())
        except ValueError:
            earlier = None
        if earlier != request:
            raise DatasetError(
                f"{partial} holds a part of another snapshot; delete it, or choose another folder"
            )
    elif any(partial.iterdir()):
        raise DatasetError(f"{partial} holds something else; choose another folder")
    write_json(path, request)
    return partial


def _items(dataset: Dataset) -> dict[str, Item]:
    texts = (
        [_cut(text or "", most) for text in dataset.items[column].to_pylist()]
        for column, most in _LONGEST.items()
    )
    rows = zip(dataset.items["item_id"].to_pylist(), *texts, strict=True)
    return {row[0]: Item(*row) for row in rows}


def _cut(text: str, most: int) -> str:
    """Cuts a text to at most `most` characters, at the end of a word."""
    if len(text) <= most:
        return text
    words = text[: most + 1].rpartition(" ")[0].rstrip(" ,;")
    return words if len(words) > most // 2 else text[:most]


def _version_name(version: ProfileVersion) -> str:
    parts = (version.base_model, version.adapter, version.prompt, version.encoder)
    return " ".join(f"{part.name}@{part.hash}" for part in parts if part is not None)
