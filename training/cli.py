"""The command `reclm-train`. Heavy imports wait until a command runs."""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from recommenders.data.errors import DatasetError
from training.commands.adapters import add_adapters
from training.commands.arguments import HISTORY_TOKENS, MAX_ITEMS, add_prompt, model, positive
from training.commands.builders.registry import add_data
from training.commands.compare import add_compare
from training.commands.jobs import add_jobs
from training.commands.teach import add_teach
from training.data.errors import InstructionDataError
from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from training.data.prompts import Prompt

_PROGRESS_ROWS = 1_000


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Returns:
        The exit status: 0, 1 after an error, which is printed to stderr, or 130 after an interrupt.
        Wrong usage exits with 2.
    """
    args = _parser().parse_args(argv)
    try:
        print(args.run(args))
    except (DatasetError, InstructionDataError, TrainingError, OSError) as error:
        print(f"reclm-train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "reclm-train: interrupted; the same command resumes training and `teach`",
            file=sys.stderr,
        )
        return 128 + signal.SIGINT
    except ModuleNotFoundError as error:
        print(f"reclm-train: {error.name} is not installed: reclm[training]", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reclm-train", description="Trains models that write profiles."
    )
    commands = parser.add_subparsers(metavar="command", required=True)
    prompts = commands.add_parser(
        "prompts",
        help="write the prompts that the service sends",
        description="Writes the chat prompts that the service sends to its model for the users or "
        "items of a dataset, as JSONL with id, kind and messages.",
    )
    prompts.add_argument("--dataset", type=Path, required=True, metavar="DIR")
    prompts.add_argument("--kind", choices=["user", "item"], required=True)
    prompts.add_argument("--out", type=Path, required=True, metavar="FILE")
    prompts.add_argument("--limit", type=positive, metavar="N", help="stop after N prompts")
    prompts.add_argument(
        "--min-weight", type=float, metavar="W", help="leave out interactions with less weight"
    )
    prompts.add_argument(
        "--max-items",
        type=positive,
        default=MAX_ITEMS,
        metavar="N",
        help="most items of a history, the newest, or most neighbours of an item (default: %(default)s)",
    )
    prompts.add_argument(
        "--history-tokens",
        type=positive,
        default=HISTORY_TOKENS,
        metavar="N",
        help="most tokens of these, as in RECLM_HISTORY_TOKENS (default: %(default)s)",
    )
    prompts.add_argument(
        "--model",
        type=model,
        metavar="DIR",
        help="the model's folder, whose tokenizer counts the tokens (default: bytes)",
    )
    prompts.add_argument(
        "--no-examples",
        dest="examples",
        action="store_false",
        help="leave out the worked examples, as the service does for a model with an adapter",
    )
    add_prompt(prompts)
    prompts.set_defaults(run=_prompts)
    add_data(commands)
    add_teach(commands)
    add_jobs(commands)
    add_adapters(commands)
    add_compare(commands)
    return parser


def _prompts(args: argparse.Namespace) -> str:
    from recommenders.data.dataset import Dataset
    from services.profiles.generation.token_budget import tokenizer_counter, utf8_length
    from training.data.prompts import PromptOptions, item_prompts, user_prompts, write_jsonl

    options = PromptOptions(
        count=tokenizer_counter(args.model) if args.model else utf8_length,
        history_tokens=args.history_tokens,
        max_items=args.max_items,
        min_weight=args.min_weight,
        examples=args.examples,
        prompt=args.prompt,
    )
    build = user_prompts if args.kind == "user" else item_prompts
    prompts = itertools.islice(build(Dataset.read(args.dataset), options), args.limit)
    count = write_jsonl(_with_progress(prompts), args.out)
    return f"{count:,} {args.kind} prompts in {args.out}"


def _with_progress(prompts: Iterator[Prompt]) -> Iterator[Prompt]:
    for count, prompt in enumerate(prompts, start=1):
        yield prompt
        if count % _PROGRESS_ROWS == 0:
            print(f"{count:,} prompts ...", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
