"""The demo: fetches and starts the stack, makes profiles of real users, and prints them with times."""

from __future__ import annotations

import statistics
import subprocess
import sys
import textwrap
import time
import uuid
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reclm_client import Item, ReclmClient
from services.stack import parts
from services.stack.errors import StackError
from services.stack.processes import free_port
from services.stack.stack import Stack, only_one

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reclm_client import Profile
    from services.stack.interrupts import Interrupts
    from services.stack.steps import Steps

USERS = ("196", "186", "22")
NEW_USER = "new-user"
NEW_USER_FILMS = ("Star Wars (1977)", "Fargo (1996)")

_LIKED = 4.0
_NEWEST = 50
_REPEATS = 20
_PHRASES = 3
_WIDTH = 98


@dataclass(frozen=True, slots=True)
class DemoResult:
    """One user's profile and the service's response times.

    Attributes:
        user: The user's id.
        films: Number of films in the history.
        first: The first response.
        first_ms: Its time in milliseconds.
        second: A repeated response.
        second_ms: The median time of the repeated requests in milliseconds.
    """

    user: str
    films: int
    first: Profile
    first_ms: float
    second: Profile
    second_ms: float


def run(home: Path, steps: Steps, interrupts: Interrupts) -> int:
    """Runs the demo. Returns the exit status: 0 if every profile is complete and was cached."""
    folder = home / "run" / "demo"
    with only_one(folder):
        stack = Stack(folder, steps, interrupts)
        results, items = _run(stack, home, steps)
    _show(results, items)
    bad = [result.user for result in results if not _is_sound(result)]
    if bad:
        print(f"\nIncomplete or not cached: the profiles of {', '.join(bad)}", file=sys.stderr)
        return 1
    _show_next()
    return 0


def _run(stack: Stack, home: Path, steps: Steps) -> tuple[list[DemoResult], list[Item]]:
    with ThreadPoolExecutor(1) as beside:
        dataset = beside.submit(_dataset, home, steps)
        prepared = parts.prepare(home, steps)
        folder = dataset.result()
    prepared = parts.with_shipped_adapter(prepared, home, steps)
    items, histories = _read(folder)
    # A Redis that the demo did not start may hold these users' profiles of an earlier demo.
    tenant = f"demo-{uuid.uuid4().hex[:8]}"
    try:
        url = stack.start(
            prepared,
            home,
            port=free_port(),
            workers=2,
            persistent=False,
            settings={"RECLM_TENANT": tenant},
        )
        with ReclmClient(url, api_key=parts.api_key()) as client:
            results = _ask(client, items, histories, steps)
            if prepared.redis_url is not None:
                _clean_up(client, items, steps)
    finally:
        stack.stop()
    return results, items


def _dataset(home: Path, steps: Steps) -> Path:
    """Runs the recommenders' command that fetches MovieLens-100K; services must not import recommenders."""
    folder = home / "data" / "ml-100k"
    command = [sys.executable, "-m", "recommenders.cli", "data", "get", "ml-100k"]
    with steps.step("Data: MovieLens-100K"):
        done = subprocess.run(
            [*command, "--out", str(folder)], capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        raise StackError(f"MovieLens-100K cannot be fetched: {done.stderr.strip()}")
    return folder


def _read(folder: Path) -> tuple[list[Item], dict[str, list[str]]]:
    """Returns the films, and for each demo user the films rated 4 or more, oldest first."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    items = [
        Item(row["item_id"], row["title"], row["category"] or "", row["description"] or "")
        for row in pq.read_table(folder / "items.parquet").to_pylist()
    ]
    table = pq.read_table(folder / "interactions.parquet")
    table = table.filter(pc.field("user_id").isin(USERS) & (pc.field("weight") >= _LIKED))
    histories: dict[str, list[str]] = defaultdict(list)
    for row in table.sort_by("timestamp").to_pylist():
        histories[row["user_id"]].append(row["item_id"])
    titles = {item.title: item.id for item in items}
    histories[NEW_USER] = [titles[title] for title in NEW_USER_FILMS]
    return items, {user: history[-_NEWEST:] for user, history in histories.items()}


def _ask(
    client: ReclmClient, items: Sequence[Item], histories: dict[str, list[str]], steps: Steps
) -> list[DemoResult]:
    with steps.step(f"Loading a catalogue of {len(items):,} films"):
        refused = [row for row in client.put_items(items) if row.error is not None]
    if refused:
        raise StackError(f"{len(refused)} films were refused, the first: {refused[0].error}")
    results = []
    for user in (*USERS, NEW_USER):
        history = histories[user]
        with steps.step(f"Requesting the profile of {user}"):
            started = time.perf_counter()
            first = client.profile("user", user, history=history)
            first_ms = (time.perf_counter() - started) * 1000
        times = []
        for _ in range(_REPEATS):
            started = time.perf_counter()
            second = client.profile("user", user, history=history)
            times.append((time.perf_counter() - started) * 1000)
        results.append(
            DemoResult(user, len(history), first, first_ms, second, statistics.median(times))
        )
    return results


def _clean_up(client: ReclmClient, items: Sequence[Item], steps: Steps) -> None:
    with steps.step("Removing the demo's data from Redis"):
        for user in (*USERS, NEW_USER):
            client.delete_profile("user", user)
        for item in items:
            client.delete_item(item.id)


def _is_sound(result: DemoResult) -> bool:
    """Returns whether the profile is complete, was generated first and cached afterwards."""
    profile = result.first
    whole = len(profile.identities) == len(profile.interests) == _PHRASES and all(
        (*profile.identities, *profile.interests)
    )
    same = result.second.text == profile.text
    return whole and same and (profile.status, result.second.status) == ("generated", "cached")


def _show(results: Sequence[DemoResult], items: Sequence[Item]) -> None:
    version = results[0].first.version
    model = version.base_model.name
    if version.adapter is not None:
        model = f"{model} with the adapter {version.adapter.name}"
    print(f"\nProfiles by {model}, {len(items):,} films in the catalogue\n")
    print(f"{'user':10} {'films':>5}   {'first answer':>22}   {'again':>20}")
    print("-" * _WIDTH)
    for result in results:
        first = f"{result.first.status} {result.first_ms:7,.0f} ms"
        again = f"{result.second.status} {result.second_ms:7.1f} ms"
        print(f"{result.user:10} {result.films:5}   {first:>22}   {again:>20}")
        for name, phrases in (("is", result.first.identities), ("likes", result.first.interests)):
            text = textwrap.fill(
                f"{name:5}  {', '.join(phrases)}",
                _WIDTH,
                initial_indent=" " * 4,
                subsequent_indent=" " * 11,
            )
            print(text)
    print("-" * _WIDTH)
    print(f"'again' is the median of {_REPEATS} calls, each a new HTTP request.")


def _show_next() -> None:
    print(
        "\nNext steps:\n"
        "  make up      start the same stack at http://127.0.0.1:8080 and leave it running\n"
        "  make down    stop it\n"
        "  README.md    the HTTP calls, with curl\n"
        "The model is small. docs/results/training.md has figures on the quality of its adapter.\n"
        "reclm-train trains an adapter on your own users and items."
    )
