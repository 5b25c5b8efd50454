"""The options of `reclm-train data` and `reclm-train teach`. Standard library only."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.commands import data as builders
from training.commands import teach as teaching

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.profiles.generation.prompts.base import PromptVersion

    Actions = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no other name

HISTORY_TOKENS = 384
MAX_ITEMS = 50
_NEWEST = "newest items of a history, or neighbours of an item, at most"


def add_data(rooms: Actions) -> None:
    """Adds `data`, with an action for each builder."""
    data = rooms.add_parser(
        "data",
        help="build what models are trained on",
        description="Builders of instruction data (docs/how-to/training-data.md). Each writes a folder of "
        "JSON lines with a manifest, whole or not at all.",
    )
    actions = data.add_subparsers(metavar="builder", required=True)
    _data_teacher(actions)
    _data_neighbours(actions)
    _data_collaborative(actions)
    _data_preferences(actions)
    _data_unseen(actions)
    _data_spread(actions)


def _data_teacher(actions: Actions) -> None:
    parser = _builder(
        actions, "teacher", "a teacher's profiles, sifted, as pairs", builders.teacher
    )
    parser.add_argument("source", choices=builders.SOURCES, help="who wrote them")
    parser.add_argument(
        "path",
        type=Path,
        nargs="?",
        metavar="PATH",
        help="the release's folder, llm_response_user.json, or what `teach` wrote",
    )
    parser.add_argument("--kind", choices=["user", "item"], help="(default: both)")
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="for seed and ml-1m-gear")
    parser.add_argument(
        "--strict", action="store_true", help="keep only what constrained decoding can write"
    )
    parser.add_argument(
        "--held-out",
        type=share,
        default=0.1,
        metavar="SHARE",
        help="of users and items, to judge by (default: %(default)s)",
    )
    parser.add_argument(
        "--no-repetitive",
        action="store_true",
        help="of train.jsonl, leave out profiles that repeat a phrase's words, or name interests "
        "among identities",
    )
    parser.add_argument(
        "--rarest",
        type=share,
        default=1.0,
        metavar="SHARE",
        help="of what train.jsonl has then, keep those with the rarest phrases (default: all)",
    )
    _add_reading(parser)


def _data_neighbours(actions: Actions) -> None:
    parser = _builder(actions, "neighbours", "similar users or items", builders.neighbours)
    parser.add_argument("--kind", choices=["user", "item"], required=True)
    _add_dataset(parser)
    _add_neighbours(parser)


def _data_collaborative(actions: Actions) -> None:
    summary = "conversations that ask for profiles, then for a choice"
    parser = _builder(actions, "collaborative", summary, builders.collaborative)
    _add_profiles(parser)
    _add_dataset(parser)
    _add_neighbours(parser)
    _add_reading(parser)
    parser.add_argument(
        "--similar",
        type=positive,
        default=3,
        metavar="N",
        help="similar users in a conversation (default: %(default)s)",
    )
    parser.add_argument(
        "--rehearse",
        type=whole,
        default=4,
        metavar="N",
        help="profiles asked for as the service does, for each conversation (default: %(default)s; "
        "the paper: 0)",
    )


def _data_preferences(actions: Actions) -> None:
    summary = "pairs for a reward model, prompts for reinforcement"
    parser = _builder(actions, "preferences", summary, builders.preferences)
    _add_profiles(parser)
    _add_dataset(parser)
    _add_neighbours(parser)
    _add_reading(parser)
    parser.add_argument(
        "--share",
        type=_named_share,
        action="append",
        metavar="KIND=SHARE",
        help="of pairs with this corruption; said for one, it is said for all (default: the paper's)",
    )
    parser.add_argument(
        "--parts",
        type=_parts,
        metavar="A,B,C",
        help="users for reward training, reward evaluation, reinforcement (default: 0.4,0.2,0.4)",
    )
    parser.add_argument(
        "--pairs",
        type=positive,
        default=1,
        metavar="N",
        help="of each user of reward training, with as many neighbours (default: %(default)s)",
    )


def _data_unseen(actions: Actions) -> None:
    summary = "prompts to judge by, of users whom no profile was taught of"
    parser = _builder(actions, "unseen", summary, builders.unseen)
    parser.add_argument(
        "--profiles",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="leave out the users of these: what `data teacher` wrote, or files of rows with an id",
    )
    _add_dataset(parser)
    _add_reading(parser, items=20, meaning="of each user's choices, drawn for the prompt")
    parser.add_argument(
        "--users", type=positive, default=1_200, metavar="N", help="of them, at most (%(default)s)"
    )
    parser.add_argument(
        "--hidden",
        type=positive,
        default=20,
        metavar="N",
        help="choices beside those drawn, at least, for a profile to find (%(default)s)",
    )


def _data_spread(actions: Actions) -> None:
    summary = "a teacher's phrases, for users it never read"
    parser = _builder(actions, "spread", summary, builders.spread)
    _add_profiles(parser)
    _add_dataset(parser)
    _add_reading(parser, items=20, meaning="of each user's choices, drawn for the prompt")
    parser.add_argument(
        "--evaluation-prompts",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="learn nothing of the users of these rows, such as prompts.jsonl of `data unseen`, "
        "nor of those that --profiles holds out",
    )
    parser.add_argument(
        "--users", type=positive, default=1_200, metavar="N", help="of them, at most (%(default)s)"
    )
    parser.add_argument(
        "--fewest",
        type=positive,
        default=1,
        metavar="N",
        help="choices in a prompt, at least (%(default)s); as many prompts have one or two as "
        "have seven to twenty",
    )
    parser.add_argument(
        "--common",
        type=positive,
        default=10,
        metavar="N",
        help="spread phrases that so many of the profiles have, at least (%(default)s)",
    )
    parser.add_argument(
        "--at-most",
        type=share,
        default=1.0,
        metavar="SHARE",
        help="give a phrase to so many of --users (%(default)s)",
    )


def add_teach(rooms: Actions) -> None:
    """Adds `teach`."""
    parser = rooms.add_parser(
        "teach",
        help="ask a large model for profiles",
        description="Asks any OpenAI-compatible model for the profiles of sampled users or items. "
        "Answers are kept as they come; the same command goes on where it was stopped.",
    )
    parser.add_argument("--kind", choices=["user", "item"], required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--url", required=True, help="such as https://api.openai.com/v1")
    parser.add_argument("--teacher", required=True, metavar="NAME", help="the model's name there")
    parser.add_argument("--limit", type=positive, metavar="N", help="a random sample of so many")
    parser.add_argument(
        "--key-variable", metavar="NAME", help="the environment variable that holds the key"
    )
    parser.add_argument("--concurrency", type=positive, default=8, metavar="N", help="(8)")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="S", help="(120)")
    parser.add_argument("--temperature", type=float, default=0.7, metavar="T", help="(0.7)")
    parser.add_argument("--answer-tokens", type=positive, default=200, metavar="N", help="(200)")
    parser.add_argument(
        "--body",
        type=_body,
        default={},
        metavar="JSON",
        help="further members of a request; null leaves one out, as in "
        '\'{"max_tokens": null, "max_completion_tokens": 200}\'',
    )
    price = "for a million tokens, in any currency"
    parser.add_argument("--prompt-price", type=float, metavar="P", help=price)
    parser.add_argument("--answer-price", type=float, metavar="P", help=price)
    parser.add_argument("--budget", type=float, metavar="COST", help="refuse what may cost more")
    parser.add_argument(
        "--estimate", action="store_true", help="say what it would take, and ask nothing"
    )
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="of the sample (0)")
    _add_dataset(parser)
    _add_budget(parser)
    parser.set_defaults(run=teaching.teach)


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
    """Reads a model's folder."""
    folder = Path(text)
    if not (folder / "tokenizer.json").is_file():
        raise argparse.ArgumentTypeError(f"{text} is no model folder: it has no tokenizer.json")
    return folder


def prompt(text: str) -> PromptVersion:
    """Reads the name of a version of the prompt."""
    from services.profiles.generation.prompts.registry import UnknownPrompt, prompt_named

    try:
        return prompt_named(text)
    except UnknownPrompt as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_prompt(parser: argparse.ArgumentParser) -> None:
    """Adds the option that chooses a version of the prompt."""
    from services.profiles.generation.prompts.registry import CURRENT

    parser.add_argument(
        "--prompt",
        type=prompt,
        default=CURRENT.name,
        metavar="NAME",
        help="the version of the prompt (default: %(default)s)",
    )


def _builder(
    actions: Actions, name: str, summary: str, run: Callable[[argparse.Namespace], str]
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--force", action="store_true", help="replace what a builder left there")
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="of chance (0)")
    parser.set_defaults(run=run)
    return parser


def _add_profiles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profiles", type=Path, required=True, metavar="DIR", help="what `data teacher` wrote"
    )


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--split",
        metavar="KIND[,OPTION=VALUE...]",
        help="read the training part of this split alone (docs/reference/splits.md)",
    )
    parser.add_argument(
        "--min-weight", type=float, metavar="W", help="leave out interactions with less weight"
    )


def _add_neighbours(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vectors",
        type=Path,
        metavar="BUNDLE",
        help="a scorer bundle, whose vectors say who is similar (default: who chose the same)",
    )
    parser.add_argument(
        "--limit", type=positive, default=10, metavar="N", help="neighbours of each (10)"
    )


def _add_reading(
    parser: argparse.ArgumentParser, *, items: int = MAX_ITEMS, meaning: str = _NEWEST
) -> None:
    _add_budget(parser, items=items, meaning=meaning)
    parser.add_argument(
        "--examples",
        action="store_true",
        help="show the worked examples, which the service leaves out for a model with an adapter",
    )


def _add_budget(
    parser: argparse.ArgumentParser, *, items: int = MAX_ITEMS, meaning: str = _NEWEST
) -> None:
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
        help="their tokens at most, as in RECLM_HISTORY_TOKENS (default: %(default)s)",
    )
    parser.add_argument(
        "--model", type=model, metavar="DIR", help="the model's folder, whose tokenizer counts"
    )


def _named_share(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND=SHARE")
    return name, share(number)


def _parts(text: str) -> list[float]:
    numbers = [share(part) for part in text.split(",")]
    if len(numbers) != 3:
        raise argparse.ArgumentTypeError(f"{text!r} is not three shares")
    return numbers


def _body(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not an object")
    return value
