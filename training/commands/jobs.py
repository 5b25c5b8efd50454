"""The commands of `reclm-train` for jobs and their results. Heavy imports wait until one runs."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.commands.data_arguments import positive
from training.errors import TrainingError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

MODEL = "SmolLM2-135M-Instruct"
_OURS = "reclm-"

_JOBS = {
    "distill": "learn to write a teacher's profiles",
    "collaborate": "learn from the histories of similar users",
    "reward": "learn to tell a user's own profile from a worse one",
    "ppo": "write profiles that the reward model and the rules prefer, by PPO",
    "grpo": "write profiles that the reward model and the rules prefer, by GRPO",
}


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse does not name the type
    """Adds the commands to the parser of `reclm-train`."""
    for job, help_ in _JOBS.items():
        parser = commands.add_parser(
            job,
            help=help_,
            description=f"{help_.capitalize()}. The same command again goes on from the last "
            "checkpoint; the result is DIR/adapter.",
        )
        _add_model(parser)
        parser.add_argument(
            "--data", type=Path, required=True, metavar="FILE", help="JSONL of rows"
        )
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="of the run")
        parser.add_argument(
            "--config", type=Path, metavar="YAML", help="options that are not default"
        )
        parser.add_argument("--start", type=Path, metavar="ADAPTER", help="train on top of it")
        if job in {"distill", "collaborate", "reward"}:
            parser.add_argument(
                "--evaluation",
                type=Path,
                required=job == "reward",
                metavar="FILE",
                help="rows to measure on",
            )
        if job in {"ppo", "grpo"}:
            parser.add_argument(
                "--reward",
                type=Path,
                required=job == "ppo",
                metavar="ADAPTER",
                help="of the reward model",
            )
        parser.set_defaults(run=_train, job=job)

    merge = commands.add_parser(
        "merge",
        help="fold an adapter into its base",
        description="Folds an adapter, with all that it was trained on top of, into its base model, "
        "and tells how far logits and greedy answers of both are apart.",
    )
    merge.add_argument("adapter", type=Path, metavar="ADAPTER")
    _add_model(merge)
    merge.add_argument("--out", type=Path, required=True, metavar="DIR", help="of the merged model")
    _add_prompts(merge)

    publish = commands.add_parser(
        "publish",
        help="give an adapter its name, and a server the adapter",
        description="Puts an adapter into RECLM_HOME/adapters under a name that none had before, "
        "with --merged its merged model into RECLM_HOME/models, and with --vllm into a running "
        "server. `reclm-serve up --adapter NAME` serves it.",
    )
    publish.add_argument("adapter", type=Path, metavar="ADAPTER")
    publish.add_argument("--name", required=True)
    publish.add_argument("--merged", action="store_true", help="merge it too: what a CPU serves")
    _add_model(publish)
    publish.add_argument("--vllm", metavar="URL", help="a running server, with --enable-lora")
    publish.add_argument(
        "--vllm-path", metavar="DIR", help="RECLM_HOME/adapters as that server sees it"
    )
    _add_prompts(publish)

    compare = commands.add_parser(
        "compare",
        help="judge models by what they write",
        description="Has models write profiles, greedily and without constraint, for the same "
        "prompts, and prints a table. With --encoder, profiles are also compared as vectors; with "
        "--dataset as well, by who chose alike and by what users chose besides.",
    )
    compare.add_argument("models", nargs="+", metavar="NAME=FOLDER|URL|FILE")
    compare.add_argument("--prompts", type=Path, required=True, metavar="FILE", help="held out")
    compare.add_argument("--kind", choices=("user", "item"), help="only prompts of this kind")
    compare.add_argument("--limit", type=positive, default=100, metavar="N", help="(%(default)s)")
    compare.add_argument("--tokens", type=positive, default=96, metavar="N", help="(%(default)s)")
    compare.add_argument("--encoder", type=Path, metavar="DIR", help="a sentence encoder's folder")
    compare.add_argument("--dataset", type=Path, metavar="DIR", help="whose ids the prompts have")
    compare.add_argument(
        "--min-weight", type=float, metavar="W", help="leave out interactions with less weight"
    )
    compare.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="also as JSON and as a page, with the profiles; keeps a model folder's answers once all "
        "are there, so that the next run with the same prompts need not ask for them",
    )
    for parser, run in ((merge, _merge), (publish, _publish), (compare, _compare)):
        parser.set_defaults(run=run)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default=MODEL,
        metavar="DIR",
        help="base model: a folder, or a name in RECLM_HOME/models (default: %(default)s)",
    )


def _add_prompts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prompts", type=Path, metavar="FILE", help="compare over these instead of a few of ours"
    )
    parser.add_argument(
        "--limit", type=positive, default=50, metavar="N", help="of them (%(default)s)"
    )


def _train(args: argparse.Namespace) -> str:
    from training.runs.files import model_folder
    from training.runs.options import RunPaths, read_options

    _be_quiet()
    paths = RunPaths(
        model=model_folder(args.model),
        data=args.data,
        out=args.out,
        start=args.start,
        evaluation=getattr(args, "evaluation", None),
    )
    if args.job == "distill":
        from training.jobs.distill import DistillOptions, distill

        adapter = distill(
            read_options(DistillOptions, args.config), paths, progress=_print_progress
        )
    elif args.job == "collaborate":
        from training.jobs.collaborate import CollaborateOptions, collaborate

        adapter = collaborate(
            read_options(CollaborateOptions, args.config), paths, progress=_print_progress
        )
    elif args.job == "reward":
        from training.jobs.reward import RewardOptions, reward

        adapter = reward(read_options(RewardOptions, args.config), paths, progress=_print_progress)
    elif args.job == "ppo":
        from training.jobs.ppo import PpoOptions, ppo

        options = read_options(PpoOptions, args.config)
        adapter = ppo(options, paths, reward_model=args.reward, progress=_print_progress)
    else:
        from training.jobs.grpo import GrpoOptions, grpo

        adapter = grpo(
            read_options(GrpoOptions, args.config),
            paths,
            reward_model=args.reward,
            progress=_print_progress,
        )
    return f"adapter in {adapter}"


def _merge(args: argparse.Namespace) -> str:
    from training.adapters.merge import merge
    from training.runs.files import model_folder

    _be_quiet()
    agreement = merge(
        model_folder(args.model),
        args.adapter,
        args.out,
        prompts=_prompts(args),
        progress=_print_progress,
    )
    return f"merged model in {args.out}: {agreement}"


def _publish(args: argparse.Namespace) -> str:
    from training.adapters.merge import is_merged_from, merge
    from training.adapters.publish import check_server, publish, push
    from training.runs.files import model_folder

    _be_quiet()
    home = Path(os.environ.get("RECLM_HOME") or "")
    if not home.is_absolute():
        raise TrainingError("set RECLM_HOME to an absolute path: adapters are published there")
    if args.name.startswith(_OURS):
        raise TrainingError(
            f"names that begin with {_OURS} are those of adapters that come with RecLM"
        )
    if args.vllm:
        check_server(args.vllm, args.name)
    published = publish(args.adapter, args.name, home)
    lines = [f"adapter in {published}"]
    _print_progress(lines[0])
    if args.merged:
        merged = home / "models" / args.name
        if not is_merged_from(merged, published):
            agreement = merge(
                model_folder(args.model),
                published,
                merged,
                prompts=_prompts(args),
                progress=_print_progress,
            )
            lines.append(f"merged model in {merged}: {agreement}")
    if args.vllm:
        seen = None if args.vllm_path is None else f"{args.vllm_path}/{args.name}"
        push(published, args.vllm, served_path=seen)
        lines.append(f"{args.vllm} serves {args.name}")
    return "\n".join(lines)


def _compare(args: argparse.Namespace) -> str:
    from training.data.rows import read_rows
    from training.evaluation.answers_cache import keeping
    from training.evaluation.comparison import compare
    from training.evaluation.report import save, table
    from training.evaluation.vectors import named, popularity
    from training.evaluation.writers import HeldOut, writer

    _be_quiet()
    if args.dataset is not None and args.encoder is None:
        raise TrainingError("--dataset needs --encoder: choices are compared with vectors")
    rows = [row for row in read_rows(HeldOut, args.prompts) if args.kind in {None, row.kind}][
        : args.limit
    ]
    if not rows:
        raise TrainingError(f"{args.prompts} has no prompt of an {args.kind}")
    writers = dict(map(writer, args.models))
    if len(writers) < len(args.models):
        raise TrainingError("two models have the same name")
    encode = behaviour = None
    notes = [f"{len(rows)} prompts of {args.prompts.name}, answers of at most {args.tokens} tokens"]
    if args.encoder is not None:
        from recommenders.features.encoding import encode as encode_in
        from recommenders.features.encoding import encoder_name

        notes.append(f"vectors by {encoder_name(args.encoder)}")

        def encode(texts: Sequence[str]) -> NDArray[np.float32]:
            return encode_in(texts, args.encoder)

    if args.dataset is not None:
        from recommenders.data.dataset import Dataset
        from training.evaluation.behaviour import behaviour as look_up

        behaviour = look_up(rows, Dataset.read(args.dataset), min_weight=args.min_weight)
        least = popularity(behaviour)
        if least is not None:
            notes.append(f"retrieval of profiles that say nothing (popularity): {least:.3f}")
        read = named(behaviour)
        if read is not None:
            notes.append(
                f"retrieval of what the prompts name, item by item and without words: {read.recall:.3f} "
                f"({read.beyond:+.3f} beyond popularity, margin {read.margin:.3f})"
            )
    compared = compare(
        {name: keeping(one, args.out) for name, one in writers.items()},
        rows,
        tokens=args.tokens,
        encode=encode,
        behaviour=behaviour,
        progress=_print_progress,
    )
    first = next(iter(writers))
    notes += [
        f"retrieval of {name} against {first}: {gain.beyond:+.4f} (margin {gain.margin:.4f})"
        for name, gain in compared.gains.items()
    ]
    if args.out is not None:
        save(args.out, rows, compared, notes=notes)
    return "\n".join([table(compared.evaluations), "", *(f"- {note}" for note in notes)])


def _prompts(args: argparse.Namespace) -> list[Any]:
    from training.adapters.merge import PROBES
    from training.data.rows import Prompted, read_rows

    if args.prompts is None:
        return list(PROBES)
    rows = read_rows(Prompted, args.prompts)
    return [row.prompt for row in itertools.islice(rows, args.limit)]


def _be_quiet() -> None:
    """Turns off the progress bars of libraries: the jobs tell of progress themselves."""
    import datasets
    from transformers.utils.logging import disable_progress_bar

    datasets.disable_progress_bars()
    disable_progress_bar()  # type: ignore[no-untyped-call]


def _print_progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
