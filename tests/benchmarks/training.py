"""Training: tokens per second of our distillation against TRL's trainer with its defaults.

All train the same adapter on the same rows, in alternating rounds. Tokens are those of the rows,
without padding. Ours has compiled layers and packs of 2,048 tokens; compiling is a round before
these. A run of ours with packs alone is measured too.
"""

from __future__ import annotations

import itertools
import statistics
import time
from typing import TYPE_CHECKING

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from services.profiles.generation.token_budget import tokenizer_counter
from tests.benchmarks.figures import Figure, at_least
from training.data.prompts import PromptOptions, user_prompts
from training.data.rows import Turn
from training.jobs.distill import DistillOptions
from training.jobs.supervised import learn
from training.modeling.chat import encode
from training.modeling.lora import load_tokenizer, lora_config
from training.runs.options import RunPaths

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recommenders.data.dataset import Dataset as Interactions
    from tests.benchmarks.stack import Stack
    from training.data.rows import Chat

_ROWS = 40
_ROUNDS = 3
_ANSWER = (
    "User identity: lover of old films, patient evening viewer, curious traveller; "
    "User interests: slow family stories, clever detectives, faraway places."
)
PLAIN = DistillOptions(per_device_train_batch_size=1, activation_checkpointing=False, packing=True)
OPTIONS = PLAIN.model_copy(update={"per_device_train_batch_size": 2, "torch_compile": True})


def measure(stack: Stack) -> list[Figure]:
    chats = _chats(stack.model_folder, stack.dataset)
    tokenizer = load_tokenizer(stack.model_folder)
    tokens = sum(len(encode(tokenizer, chat)["input_ids"]) for chat in chats)
    ways: dict[str, Callable[[Path], float]] = {
        "sft": lambda out: _ours(stack.model_folder, chats, out, OPTIONS),
        "plain": lambda out: _ours(stack.model_folder, chats, out, PLAIN),
        "trl": lambda out: _theirs(stack.model_folder, chats, out),
    }
    ways["sft"](stack.folder / "compiling")
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(_ROUNDS):
        for name, trained in ways.items():
            rounds[name].append(tokens / trained(stack.folder / f"{name}-{number}"))
    speed = {name: statistics.median(found) for name, found in rounds.items()}
    notes: dict[str, object] = {"rows": len(chats), "tokens": tokens, "rounds": _ROUNDS}
    ratio = speed["sft"] / speed["trl"]
    return [
        Figure("training.sft_tokens_ratio", ratio, "ours/TRL", at_least(1.5), notes),
        Figure("training.plain_tokens_ratio", speed["plain"] / speed["trl"], "plain/TRL"),
        *(Figure(f"training.{name}_tokens", found, "tokens/s") for name, found in speed.items()),
    ]


def _chats(model: Path, dataset: Interactions) -> list[Chat]:
    options = PromptOptions(
        count=tokenizer_counter(model),
        history_tokens=384,
        max_items=50,
        min_weight=None,
        examples=False,
    )
    prompts = itertools.islice(user_prompts(dataset, options), _ROWS)
    answer = Turn(role="assistant", content=_ANSWER)
    return [
        (*(Turn(role=turn.role, content=turn.content) for turn in prompt.messages), answer)
        for prompt in prompts
    ]


def _ours(model: Path, chats: list[Chat], out: Path, options: DistillOptions) -> float:
    """Returns the seconds of training alone, as the trainer's log has them."""
    marker = out.with_suffix(".jsonl")
    marker.write_text("{}\n", encoding="utf-8")
    paths = RunPaths(model=model, data=marker, out=out)
    learn("distill", options, paths, read=lambda _: chats, progress=lambda _: None)
    return _runtime((out / "log.csv").read_text(encoding="utf-8"))


def _runtime(log: str) -> float:
    header, *_, last = log.splitlines()
    return float(dict(zip(header.split(","), last.split(","), strict=True))["train_runtime"])


def _theirs(model: Path, chats: list[Chat], out: Path) -> float:
    rows = [
        {
            "prompt": [turn.model_dump() for turn in chat[:-1]],
            "completion": [chat[-1].model_dump()],
        }
        for chat in chats
    ]
    trainer = SFTTrainer(
        model=str(model),
        args=SFTConfig(
            str(out), num_train_epochs=1, report_to=[], save_strategy="no", use_cpu=True
        ),
        train_dataset=Dataset.from_list(rows),
        peft_config=lora_config(OPTIONS.lora),
    )
    began = time.monotonic()
    trainer.train()
    return time.monotonic() - began
