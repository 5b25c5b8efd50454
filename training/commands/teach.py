"""The command `reclm-train teach`. Heavy imports wait until it runs."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.commands.arguments import add_budget, add_dataset, positive, whole
from training.data.errors import InstructionDataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recommenders.data.dataset import Dataset
    from training.data.prompts import Prompt
    from training.data.teacher.endpoint import Teacher
    from training.data.teacher.estimate import Prices
    from training.data.teacher.journal import Journal
    from training.data.teacher.run import Outcome

_PROGRESS_EVERY_S = 5.0


def add_teach(commands: Any) -> None:  # noqa: ANN401 - argparse does not name the type
    """Adds `teach`."""
    parser = commands.add_parser(
        "teach",
        help="ask a large model for profiles",
        description="Asks an OpenAI-compatible model for the profiles of sampled users or items. Every "
        "answer is saved at once; the same command resumes an interrupted run.",
    )
    parser.add_argument("--kind", choices=["user", "item"], required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--url", required=True, help="such as https://api.openai.com/v1")
    parser.add_argument("--teacher", required=True, metavar="NAME", help="the model's name there")
    parser.add_argument("--limit", type=positive, metavar="N", help="size of a random sample")
    parser.add_argument(
        "--key-variable", metavar="NAME", help="environment variable that holds the API key"
    )
    parser.add_argument(
        "--concurrency",
        type=positive,
        default=8,
        metavar="N",
        help="requests at a time (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=120.0,
        metavar="S",
        help="timeout of a request in seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.7,
        metavar="T",
        help="sampling temperature (default: %(default)s)",
    )
    parser.add_argument(
        "--answer-tokens",
        type=positive,
        default=200,
        metavar="N",
        help="most tokens of an answer (default: %(default)s)",
    )
    parser.add_argument(
        "--body",
        type=_body,
        default={},
        metavar="JSON",
        help="further members of a request; null removes one, as in "
        '\'{"max_tokens": null, "max_completion_tokens": 200}\'',
    )
    price = "price of a million tokens, in any currency"
    parser.add_argument("--prompt-price", type=float, metavar="P", help=price)
    parser.add_argument("--answer-price", type=float, metavar="P", help=price)
    parser.add_argument("--budget", type=float, metavar="COST", help="stop before this cost")
    parser.add_argument(
        "--estimate",
        action="store_true",
        help="print an estimate of requests, tokens and cost, and ask nothing",
    )
    parser.add_argument(
        "--seed",
        type=whole,
        default=0,
        metavar="N",
        help="random seed of the sample (default: %(default)s)",
    )
    add_dataset(parser)
    add_budget(parser)
    parser.set_defaults(run=teach)


def teach(args: argparse.Namespace) -> str:
    """Estimates, asks for the missing answers, and returns what to print.

    Raises:
        InstructionDataError: The key is not set, the estimate is over the budget, the folder belongs
            to another plan, or the server does not answer.
    """
    from services.profiles.generation.token_budget import tokenizer_counter
    from training.data.sources import read_training_part
    from training.data.teacher.estimate import about_a_token, estimate
    from training.data.teacher.journal import Journal
    from training.data.teacher.run import sampled

    dataset = read_training_part(args.dataset, args.split)
    prompts = sampled(_prompts(args, dataset), args.limit, seed=args.seed)
    teacher, prices = _teacher(args), _prices(args)
    count = tokenizer_counter(args.model) if args.model else about_a_token
    if args.estimate:
        expected = estimate(prompts, count, answer_limit=args.answer_tokens)
        return f"{expected.describe(prices)}. Nothing was asked."
    with Journal(args.out, _plan(args, dataset)) as journal:
        left = [prompt for prompt in prompts if prompt.id not in journal.done]
        expected = estimate(left, count, answer_limit=args.answer_tokens)
        _note(f"{expected.describe(prices)}. {len(journal.done):,} were answered before.")
        if args.budget is not None and prices is not None:
            spent = prices.cost(journal.prompt_tokens, journal.answer_tokens)
            if spent + expected.most(prices) > args.budget:
                raise InstructionDataError(
                    f"{spent:,.2f} are spent and up to {expected.most(prices):,.2f} will be, "
                    f"which is over --budget {args.budget:,.2f}; lower --limit or --answer-tokens"
                )
        outcome = asyncio.run(
            _ask(args, prompts, journal, teacher=teacher, prices=prices, left=len(left))
        )
        return _report(args, prompts, journal, outcome, prices)


def _prompts(args: argparse.Namespace, dataset: Dataset) -> list[Prompt]:
    from services.profiles.generation.token_budget import tokenizer_counter
    from training.data.prompts import PromptOptions, item_prompts, user_prompts
    from training.data.teacher.estimate import about_a_token

    options = PromptOptions(
        count=tokenizer_counter(args.model) if args.model else about_a_token,
        history_tokens=args.history_tokens,
        max_items=args.max_items,
        min_weight=args.min_weight,
        examples=True,
        prompt=args.prompt,
    )
    build = user_prompts if args.kind == "user" else item_prompts
    return list(build(dataset, options))


def _teacher(args: argparse.Namespace) -> Teacher:
    from training.data.teacher.endpoint import Teacher

    key = os.environ.get(args.key_variable) if args.key_variable else None
    if args.key_variable and not key:
        raise InstructionDataError(f"the environment has no {args.key_variable}")
    return Teacher(
        url=args.url,
        model=args.teacher,
        key=key,
        answer_limit=args.answer_tokens,
        temperature=args.temperature,
        body=args.body,
        timeout_s=args.timeout,
    )


def _prices(args: argparse.Namespace) -> Prices | None:
    from training.data.teacher.estimate import Prices

    if args.prompt_price is None or args.answer_price is None:
        if args.budget is not None:
            raise InstructionDataError("--budget needs --prompt-price and --answer-price")
        return None
    return Prices(prompt=args.prompt_price, answer=args.answer_price)


def _plan(args: argparse.Namespace, dataset: Dataset) -> dict[str, Any]:
    """Returns everything that decides what is asked and of which model, but not address and limit."""
    from services.common.hashing import sha256_of
    from services.profiles.generation.prompts.base import component
    from training.data.folder import FORMAT
    from training.data.sources import fingerprint

    prompt = component(args.prompt, examples=True)
    tokenizer = sha256_of(args.model / "tokenizer.json") if args.model else "four bytes a token"
    return {
        "format": FORMAT,
        "builder": "teach",
        "teacher": args.teacher,
        "kind": args.kind,
        "dataset": dataset.info.name,
        "dataset_fingerprint": fingerprint(dataset),
        "split": args.split,
        "min_weight": args.min_weight,
        "prompt": f"{prompt.name} {prompt.hash}",
        "history_tokens": args.history_tokens,
        "max_items": args.max_items,
        "tokenizer": tokenizer,
        "temperature": args.temperature,
        "answer_tokens": args.answer_tokens,
        "body": dict(args.body),
        "seed": args.seed,
    }


async def _ask(
    args: argparse.Namespace,
    prompts: Sequence[Prompt],
    journal: Journal,
    *,
    teacher: Teacher,
    prices: Prices | None,
    left: int,
) -> Outcome:
    from training.data.teacher.run import teach as ask

    began = reported = time.monotonic()

    def progress(outcome: Outcome) -> None:
        nonlocal reported
        now = time.monotonic()
        if now - reported < _PROGRESS_EVERY_S:
            return
        reported = now
        done = outcome.answered + outcome.failures.total()
        rate = done / (now - began)
        _note(f"{done:,} of {left:,}, {rate:.1f} a second, {(left - done) / rate:,.0f} s left ...")

    return await ask(
        prompts,
        teacher,
        journal,
        concurrency=args.concurrency,
        progress=progress,
        prices=prices,
        budget=args.budget,
    )


def _report(
    args: argparse.Namespace,
    prompts: Sequence[Prompt],
    journal: Journal,
    outcome: Outcome,
    prices: Prices | None,
) -> str:
    from training.data.filters.answers import filter_answers
    from training.data.teacher.answers import read_answers
    from training.data.teacher.journal import ANSWERS, FAILURES

    asked = {prompt.id for prompt in prompts}
    found = filter_answers(row for row in read_answers(args.out / ANSWERS) if row.id in asked)
    missing = len(asked - journal.done)
    lines = [f"{len(asked & journal.done):,} of {len(asked):,} answers in {args.out / ANSWERS}"]
    if outcome.failures:
        counts = ", ".join(f"{count:,} {name}" for name, count in outcome.failures.most_common())
        lines.append(f"failed: {counts} ({args.out / FAILURES})")
    if outcome.stopped:
        lines.append(f"stopped: {outcome.stopped}")
    if missing:
        lines.append(f"{missing:,} are missing; the same command asks for them again")
    dropped = ", ".join(f"{name} {count:,}" for name, count in found.dropped.items())
    lines.append(f"`reclm-train data teacher answers` would keep {len(found.kept):,}: {dropped}")
    tokens = f"{journal.prompt_tokens:,} prompt and {journal.answer_tokens:,} answer tokens"
    if prices is not None:
        cost = prices.cost(journal.prompt_tokens, journal.answer_tokens)
        tokens += f", which cost {cost:,.2f}"
    return "\n".join([*lines, tokens])


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")


def _body(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not an object")
    return value
