"""`reclm-recommend features`. Heavy imports wait until the command runs."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.common.home import reclm_home

if TYPE_CHECKING:
    import argparse

    from recommenders.data.dataset import Dataset
    from recommenders.features.snapshot import Snapshot

ENCODER = "all-MiniLM-L6-v2-int8"

_PROGRESS_EVERY_S = 5.0

_DESCRIPTION = """\
Makes a snapshot of profiles and their vectors for experiments. Without files it requests profiles
from the running service: of every user and item, from the split's training part only, or with
--texts-only of every item, from its text only. The same command resumes.
"""


def add_command(commands: Any) -> None:  # noqa: ANN401 - argparse does not name the type
    """Adds the command to the parser of `reclm-recommend`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "features",
        help="make a snapshot of profiles, from the service or from files",
        description=_DESCRIPTION,
    )
    parser.set_defaults(run=_run)
    parser.add_argument("data", type=Path, metavar="DIR", help="the dataset's folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    asked = parser.add_argument_group("from the service")
    asked.add_argument(
        "--split", metavar="KIND[,OPTION=VALUE...]", help="such as cold-items,share=0.2,seed=1"
    )
    asked.add_argument(
        "--texts-only",
        action="store_true",
        help="only items, from their own texts, for all splits",
    )
    add_url(asked, "whose erased users are left out")
    asked.add_argument(
        "--history",
        type=int,
        default=50,
        metavar="N",
        help="number of a user's newest items to send (%(default)s)",
    )
    asked.add_argument(
        "--neighbours",
        type=int,
        default=10,
        metavar="N",
        help="number of co-occurring items to send with an item (%(default)s)",
    )
    asked.add_argument("--max-users", type=int, metavar="N", help="maximum number of users")
    asked.add_argument(
        "--known",
        type=int,
        metavar="N",
        help="request only users who are not in training, from their first N clicks",
    )
    files = parser.add_argument_group(
        "from files: JSON lines of id and text, or a backfill's output"
    )
    files.add_argument("--users", type=Path, metavar="PATH", help="profiles of users")
    files.add_argument("--items", type=Path, metavar="PATH", help="profiles of items")
    add_encoder(files)


def add_url(group: Any, purpose: str) -> None:  # noqa: ANN401
    """Adds the option for the URL of the service, with what else it is for."""
    group.add_argument(
        "--url",
        default=os.environ.get("RECLM_URL", "http://127.0.0.1:8080"),
        help=f"URL of the service, {purpose} (RECLM_URL, else that of `reclm-serve up`: "
        "%(default)s)",
    )


def add_encoder(group: Any) -> None:  # noqa: ANN401 - argparse does not name the type
    """Adds the option that names the sentence encoder."""
    group.add_argument(
        "--encoder",
        type=Path,
        metavar="DIR",
        help=f"the sentence encoder's folder (default: {ENCODER}, fetched if necessary)",
    )


def encoder_folder(given: Path | None) -> Path:
    """Returns the sentence encoder's folder."""
    from services.assets.fetch import get_model

    return get_model(ENCODER, home=reclm_home()) if given is None else given


def _run(args: argparse.Namespace) -> str:
    from recommenders.data.dataset import Dataset
    from recommenders.data.errors import DatasetError

    dataset = Dataset.read(args.data)
    if args.users is not None or args.items is not None:
        if args.split is not None or args.texts_only:
            raise DatasetError(
                "--split and --texts-only are for the service: the histories of profiles in files are unknown"
            )
        snapshot = _from_files(args, dataset)
    elif (args.split is None) != args.texts_only:
        raise DatasetError(
            "give either --split, since profiles may read only its training part, or --texts-only"
        )
    else:
        snapshot = _from_service(args, dataset)
    counts = [
        f"{0 if table is None else len(table.ids):,} {kind}"
        for kind, table in (("users", snapshot.users), ("items", snapshot.items))
    ]
    return (
        f"{' and '.join(counts)}, {snapshot.info.failed:,} failed\n"
        f"Snapshot {snapshot.fingerprint()} in {args.out}"
    )


def _from_files(args: argparse.Namespace, dataset: Dataset) -> Snapshot:
    from recommenders.data.errors import DatasetError
    from recommenders.erasures import consult
    from recommenders.features.files import from_backfill, from_jsonl
    from recommenders.features.snapshot import Snapshot

    kinds = {path.is_dir() for path in (args.users, args.items) if path is not None}
    if len(kinds) > 1:
        raise DatasetError("--users and --items: give two files, or two outputs of backfills")
    if kinds == {True}:
        snapshot = from_backfill(
            dataset, users=args.users, items=args.items, progress=_print_progress
        )
    else:
        snapshot = from_jsonl(
            dataset,
            users=args.users,
            items=args.items,
            encoder=encoder_folder(args.encoder),
            progress=lambda count: _print_progress(f"Encoding: {count:,} texts ..."),
        )
    if snapshot.users is not None:
        erasures = consult(args.url, progress=_print_progress)
        if erasures is not None:
            kept = snapshot.users.among(set(snapshot.users.ids) - erasures.erased.keys())
            snapshot = replace(snapshot, users=kept)
    snapshot.write(args.out)
    return Snapshot.read(args.out)  # writing rounds the vectors


def _from_service(args: argparse.Namespace, dataset: Dataset) -> Snapshot:
    from recommenders.data.splits.text import read_plan
    from recommenders.erasures import consult
    from recommenders.features.service import FetchOptions, fetch

    reported_at = float("-inf")

    def progress(kind: str, done: int, wanted: int, failed: int) -> None:
        nonlocal reported_at
        now = time.monotonic()
        if now - reported_at > _PROGRESS_EVERY_S or done + failed >= wanted:
            reported_at = now
            _print_progress(f"{done:,}/{wanted:,} {kind}s, {failed:,} failed")

    erasures = None if args.texts_only else consult(args.url, progress=_print_progress)
    return fetch(
        dataset,
        None if args.texts_only else read_plan(args.split).divide(dataset),
        args.out,
        url=args.url,
        options=FetchOptions(
            history=args.history,
            neighbours=args.neighbours,
            max_users=args.max_users,
            known=args.known,
        ),
        erased=() if erasures is None else erasures.erased.keys(),
        progress=progress,
    )


def _print_progress(line: str) -> None:
    sys.stderr.write(line + "\n")
