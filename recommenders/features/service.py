"""A snapshot from the running service: everyone's profile, over HTTP, resumable.

The service knows nothing of experiments: ids carry the split's fingerprint, so that a profile from
a training part never takes the place of a user's real one, and items travel inside the requests,
so that the catalogue stays as it is.
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from reclm_client import Kind, ProfileVersion
    from recommenders.data.dataset import Dataset
    from recommenders.data.split import Split
    from recommenders.features.table import ProfileTable

    Asked = Callable[[Sequence[str]], Iterator[tuple[str, ProfileRequest]]]

_FAILURES_IN_A_ROW = 50

_CHUNK_ROWS, _CHUNKS = 16, 3
"""What the service is asked for at a time. A model on two cores writes little over one profile a
second, and a request that waited for two minutes is given up."""

_LONGEST = {"title": 512, "category": 256, "description": 8192}
"""Characters of each that the service takes; longer ones are cut at a word, so that the item is
read by what it begins with instead of not at all."""

_PASSES = 3
"""How often those are asked for who have no profile yet: what a model writes is chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchOptions:
    """What the service is to read.

    Attributes:
        history: Newest items of a user that are sent.
        neighbours: Items that the same people chose, sent with an item.
        max_users: Ask for so many users at most, the same ones each time and those of a smaller
            number among them; None for all.
        known: Ask for nobody but users who are not in training, and send of each the first so
            many of the clicks that the split lets be known; None for everybody, and items too.
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
    progress: Callable[[str, int, int, int], None] | None = None,
) -> Snapshot:
    """Makes a snapshot of the profiles of a dataset's users and items.

    What has come in is kept beside `folder`, in `<folder>.partial`, until all of it is there.

    Args:
        dataset: Whose users and items.
        split: Histories are from its training part alone. None makes profiles of items from their
            own texts: they read no interaction, and so belong to every split.
        folder: Of the snapshot.
        url: Of the service.
        options: What is sent.
        progress: Told of the kind, profiles so far, profiles wanted, failures so far.

    Raises:
        DatasetError: The folder is taken, another snapshot was begun beside it, or the service
            cannot be reached, gives nothing but failures or changes its version in the middle.
    """
    options = options or FetchOptions()
    if folder.exists():
        raise DatasetError(f"{folder} is there already; choose another for the snapshot")
    try:
        return _fetch(dataset, split, folder, url=url, options=options, progress=progress)
    except ReclmClientError as error:
        raise DatasetError(
            f"the service at {url}: {error}. Started again, this goes on where it was"
        ) from error


def _fetch(
    dataset: Dataset,
    split: Split | None,
    folder: Path,
    *,
    url: str,
    options: FetchOptions,
    progress: Callable[[str, int, int, int], None] | None,
) -> Snapshot:
    with _client(url) as client:
        version = client.ready().version
        request = {
            "dataset": dataset.info.name,
            "split": None if split is None else split.fingerprint(),
            "version": _version_name(version),
            **asdict(options),
        }
        partial = _begun(folder, request)
        asking = _Asking(dataset, split, options)
        failed = 0
        tables: dict[Kind, ProfileTable] = {}
        kinds: tuple[Kind, ...] = ("item", "user")
        if split is None:
            kinds = ("item",)
        elif options.known is not None:
            kinds = ("user",)
        for kind in kinds:
            wanted, rows = asking.of(kind)
            with Journal(partial / f"{kind}s.ndjson") as journal:
                for _ in range(_PASSES):
                    left = [id_ for id_ in wanted if id_ not in journal]
                    if not left:
                        break
                    asked = _ask(client, kind, rows(left), journal=journal, version=version)
                    for failures in asked:
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
    )
    Snapshot(info, tables.get("user"), tables.get("item")).write(folder)
    shutil.rmtree(partial)
    return Snapshot.read(folder)


def _client(url: str) -> ReclmClient:
    try:
        return ReclmClient(url, chunk_rows=_CHUNK_ROWS, chunks_in_flight=_CHUNKS)
    except ValueError as error:  # the URL, or the key that the environment names
        raise DatasetError(str(error)) from error


class _Asking:
    """Requests for users and items, with nothing in them that the split holds back."""

    def __init__(self, dataset: Dataset, split: Split | None, options: FetchOptions) -> None:
        indexed = Indexed.of(dataset)
        self._options = options
        self._prefix = f"features/{dataset.info.name}/{split.fingerprint() if split else 'texts'}/"
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
            self._prefix += f"first-{options.known}/"
            self._histories = {
                indexed.user_ids[user]: [names[item] for item in rows[user][: options.known]]
                for user in new_users
            }
        drawn = sorted(self._histories, key=lambda id_: hashlib.sha256(id_.encode()).digest())
        chosen = set(drawn[: options.max_users])
        self.user_ids = [id_ for id_ in self._histories if id_ in chosen]
        self.item_ids = list(names)

    def of(self, kind: Kind) -> tuple[list[str], Asked]:
        """Returns whose profiles are wanted, and what makes the requests for some of them."""
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


def _ask(
    client: ReclmClient,
    kind: Kind,
    rows: Iterator[tuple[str, ProfileRequest]],
    *,
    journal: Journal,
    version: ProfileVersion,
) -> Iterator[int]:
    """Asks for profiles and journals them; yields after each how many have failed."""
    sent: list[str] = []

    def requests() -> Iterator[ProfileRequest]:
        for id_, request in rows:
            sent.append(id_)
            yield request

    failed = in_a_row = 0
    for answer in client.profiles(kind, requests()):
        profile = answer.profile
        # A stale or degraded profile was not made from what was sent.
        if profile is not None and profile.status in {"generated", "cached"}:
            if profile.version != version:
                raise DatasetError(
                    "the service makes profiles with another version now than when this began; "
                    f"delete {journal.path.parent} and start again, and all are asked for anew"
                )
            journal.add(sent[answer.row], profile)
            in_a_row = 0
        else:
            failed += 1
            in_a_row += 1
            if in_a_row == _FAILURES_IN_A_ROW:
                why = answer.error or f"the service gives {profile and profile.status} profiles"
                raise DatasetError(
                    f"the last {in_a_row} {kind}s have all failed, the last one so: {why}"
                ) from answer.error
        yield failed


def _begun(folder: Path, request: dict[str, object]) -> Path:
    """Returns the folder of what is on its way, and checks that it is on its way to here."""
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
                f"{partial} holds the beginning of another snapshot; delete it, or choose another "
                "folder"
            )
    elif any(partial.iterdir()):
        raise DatasetError(f"{partial} holds something else; choose another folder")
    path.write_text(json.dumps(request, indent=2) + "\n", encoding="utf-8")
    return partial


def _items(dataset: Dataset) -> dict[str, Item]:
    texts = (
        [_cut(text or "", most) for text in dataset.items[column].to_pylist()]
        for column, most in _LONGEST.items()
    )
    rows = zip(dataset.items["item_id"].to_pylist(), *texts, strict=True)
    return {row[0]: Item(*row) for row in rows}


def _cut(text: str, most: int) -> str:
    """Returns a text of at most so many characters, that ends where a word does."""
    if len(text) <= most:
        return text
    words = text[: most + 1].rpartition(" ")[0].rstrip(" ,;")
    return words if len(words) > most // 2 else text[:most]


def _version_name(version: ProfileVersion) -> str:
    parts = (version.base_model, version.adapter, version.prompt, version.encoder)
    return " ".join(f"{part.name}@{part.hash}" for part in parts if part is not None)
