"""Arguments that several commands of `reclm-train` share. Standard library only."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from training.errors import TrainingError

if TYPE_CHECKING:
    from services.profiles.generation.prompts.base import PromptVersion

MODEL = "SmolLM2-135M-Instruct"
HISTORY_TOKENS = 384
MAX_ITEMS = 50
_NEWEST = "most items of a history, the newest, or most neighbours of an item"


def positive(text: str) -> int:
    """Reads a whole number above 0."""
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def whole(text: str) -> int:
    """Reads a whole number, 0 included."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def share(text: str) -> float:
    """Reads a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return number


def model(text: str) -> Path:
    """Reads the folder of a tokenizer."""
    folder = Path(text)
    if not (folder / "tokenizer.json").is_file():
        raise argparse.ArgumentTypeError(f"{text} is not a model folder: it has no tokenizer.json")
    return folder


def prompt(text: str) -> PromptVersion:
    """Reads the name of a prompt version; none is the current one."""
    from services.profiles.generation.prompts.registry import UnknownPrompt, prompt_named

    try:
        return prompt_named(text or None)
    except UnknownPrompt as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_prompt(parser: argparse.ArgumentParser) -> None:
    """Adds `--prompt`, the prompt version."""
    parser.add_argument(
        "--prompt",
        type=prompt,
        default="",  # read by `prompt` when the command runs: help imports nothing heavy
        metavar="NAME",
        help="the version of the prompt (default: the current one)",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds `--model`, the base model."""
    parser.add_argument(
        "--model",
        default=MODEL,
        metavar="DIR",
        help="base model: a folder, or a name in RECLM_HOME/models (default: %(default)s)",
    )


def model_folder(given: str) -> Path:
    """Returns the folder of a model: the path given, or the name below RECLM_HOME/models.

    Raises:
        TrainingError: There is no such model.
    """
    home = os.environ.get("RECLM_HOME")
    for folder in [Path(given), *([Path(home) / "models" / given] if home else [])]:
        if (folder / "config.json").is_file():
            return folder
    raise TrainingError(
        f"no model {given}: give a folder that has config.json, or fetch the model with "
        f"`reclm-serve models get {given}` and set RECLM_HOME"
    )


def add_profiles(parser: argparse.ArgumentParser) -> None:
    """Adds `--profiles`, the profiles of a teacher."""
    parser.add_argument(
        "--profiles", type=Path, required=True, metavar="DIR", help="what `data teacher` wrote"
    )


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """Adds the dataset and the part of it that is read."""
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--split",
        metavar="KIND[,OPTION=VALUE...]",
        help="read only the training part of this split (docs/reference/splits.md)",
    )
    parser.add_argument(
        "--min-weight", type=float, metavar="W", help="leave out interactions with less weight"
    )


def add_neighbours(parser: argparse.ArgumentParser) -> None:
    """Adds how similar users or items are found."""
    parser.add_argument(
        "--vectors",
        type=Path,
        metavar="BUNDLE",
        help="a scorer bundle, whose vectors decide who is similar (default: common choices)",
    )
    parser.add_argument(
        "--limit",
        type=positive,
        default=10,
        metavar="N",
        help="neighbours of each (default: %(default)s)",
    )


def add_reading(
    parser: argparse.ArgumentParser, *, items: int = MAX_ITEMS, meaning: str = _NEWEST
) -> None:
    """Adds how prompts are written."""
    add_budget(parser, items=items, meaning=meaning)
    parser.add_argument(
        "--examples",
        action="store_true",
        help="show the worked examples, which the service leaves out for a model with an adapter",
    )


def add_budget(
    parser: argparse.ArgumentParser, *, items: int = MAX_ITEMS, meaning: str = _NEWEST
) -> None:
    """Adds the prompt version, and how much of a history a prompt shows."""
    add_prompt(parser)
    parser.add_argument(
        "--max-items",
        type=positive,
        default=items,
        metavar="N",
        help=f"{meaning} (default: %(default)s)",
    )
    parser.add_argument(
        "--history-tokens",
        type=positive,
        default=HISTORY_TOKENS,
        metavar="N",
        help="most tokens of these, as in RECLM_HISTORY_TOKENS (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        type=model,
        metavar="DIR",
        help="the model's folder, whose tokenizer counts the tokens",
    )
