"""`reclm-serve scorers`: see and change which scorer a running service answers with.

Over HTTP and not to Redis: the service checks a bundle against its encoder and loads it before it
makes it the active one, and an operator needs no access to the store.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from reclm_client import Scorer


_SHOWN = 12
"""Digits of a content hash that people see."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands."""
    parser.add_argument(
        "--url", help="the service's address (RECLM_URL, or else http://127.0.0.1:8080)"
    )
    commands = parser.add_subparsers(dest="scorers", required=True, metavar="COMMAND")
    commands.add_parser("list", help="list the bundles that the service finds")
    activate = commands.add_parser("activate", help="make a bundle the one that answers")
    activate.add_argument("name", help="the bundle's name, as `list` gives it")
    commands.add_parser("rollback", help="go back to the one that was active before")


def run(args: argparse.Namespace) -> int:
    """Runs a subcommand. Returns the exit status: 0 done, 1 refused or failed, 2 misused."""
    import os

    from reclm_client import ReclmClient, ReclmClientError

    url = args.url or os.environ.get("RECLM_URL") or "http://127.0.0.1:8080"
    try:
        with ReclmClient(url) as client:
            if args.scorers == "list":
                print(_table(client.scorers()))
                return 0
            if args.scorers == "activate":
                names = client.activate_scorer(args.name)
            else:
                names = client.roll_back_scorer()
    except ReclmClientError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    active = _named(names.active, names.active_content)
    print(f"active: {active}, before: {_named(names.previous, names.previous_content)}")
    return 0


def _named(name: str | None, content: str | None) -> str:
    if name is None:
        return "none"
    return name if content is None else f"{name} ({content[:_SHOWN]})"


def _table(scorers: Sequence[Scorer]) -> str:
    if not scorers:
        return "no bundles; `reclm-recommend export` writes one"
    rows = [["", "name", "content", "model", "items", "users", "made"]]
    for one in scorers:
        mark = "active" if one.active else "before" if one.previous else ""
        sizes = ["" if size is None else f"{size:,}" for size in (one.n_items, one.n_users)]
        content = (one.content or "")[:_SHOWN]
        rows.append([mark, one.name, content, one.model or "", *sizes, one.created_at or ""])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        for row in rows
    ]
    for place, one in enumerate(scorers, start=1):
        if one.refused is not None:
            lines[place] += f"  refused: {one.refused}"
        if one.conflict is not None:
            lines[place] += f"  does not answer: {one.conflict}"
    return "\n".join(line.rstrip() for line in lines)
