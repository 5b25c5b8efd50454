"""All builders of `reclm-train data`. A new builder is a module here, and a line in `BUILDERS`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from training.commands.arguments import whole
from training.commands.builders import (
    collaborative,
    neighbours,
    preferences,
    spread,
    teacher,
    unseen,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    Actions = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no other name


@dataclass(frozen=True, slots=True)
class Builder:
    """A builder as the command line knows it.

    Attributes:
        summary: What it builds, for the help.
        add_arguments: Adds its arguments, besides those that all builders have.
        run: Builds the folder, and returns what to print. Raises InstructionDataError or
            DatasetError where it cannot.
    """

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], str]


BUILDERS: Mapping[str, Builder] = {
    "teacher": Builder(teacher.SUMMARY, teacher.add_arguments, teacher.run),
    "neighbours": Builder(neighbours.SUMMARY, neighbours.add_arguments, neighbours.run),
    "collaborative": Builder(collaborative.SUMMARY, collaborative.add_arguments, collaborative.run),
    "preferences": Builder(preferences.SUMMARY, preferences.add_arguments, preferences.run),
    "unseen": Builder(unseen.SUMMARY, unseen.add_arguments, unseen.run),
    "spread": Builder(spread.SUMMARY, spread.add_arguments, spread.run),
}


def add_data(commands: Actions) -> None:
    """Adds `data`, with a subcommand for each builder."""
    data = commands.add_parser(
        "data",
        help="build training data",
        description="Builders of instruction data (docs/how-to/training-data.md). Each writes a folder of "
        "JSON lines and a manifest atomically.",
    )
    actions = data.add_subparsers(metavar="builder", required=True)
    for name, builder in BUILDERS.items():
        parser = actions.add_parser(
            name, help=builder.summary, description=f"{builder.summary.capitalize()}."
        )
        parser.add_argument("--out", type=Path, required=True, metavar="DIR")
        parser.add_argument(
            "--force", action="store_true", help="replace a folder that a builder wrote"
        )
        parser.add_argument(
            "--seed", type=whole, default=0, metavar="N", help="random seed (default: %(default)s)"
        )
        builder.add_arguments(parser)
        parser.set_defaults(run=builder.run)
