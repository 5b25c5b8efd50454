"""The commands of `reclm-train` that run training jobs. Heavy imports wait until one runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.commands.arguments import add_model, model_folder
from training.commands.output import be_quiet, print_progress
from training.jobs.registry import JOBS

if TYPE_CHECKING:
    import argparse


def add_jobs(commands: Any) -> None:  # noqa: ANN401 - argparse does not name the type
    """Adds a command for each job."""
    for name, job in JOBS.items():
        parser = commands.add_parser(
            name,
            help=job.summary,
            description=f"{job.summary.capitalize()}. The same command again resumes from the last "
            "checkpoint. The result is DIR/adapter.",
        )
        add_model(parser)
        parser.add_argument(
            "--data", type=Path, required=True, metavar="FILE", help="JSONL of rows"
        )
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="run directory")
        parser.add_argument(
            "--config", type=Path, metavar="YAML", help="options that differ from the defaults"
        )
        parser.add_argument(
            "--start", type=Path, metavar="ADAPTER", help="adapter to train on top of"
        )
        if job.evaluation != "none":
            parser.add_argument(
                "--evaluation",
                type=Path,
                required=job.evaluation == "required",
                metavar="FILE",
                help="rows for the evaluation, which are not trained on",
            )
        if job.reward_model != "none":
            parser.add_argument(
                "--reward",
                type=Path,
                required=job.reward_model == "required",
                metavar="ADAPTER",
                help="adapter of the reward model",
            )
        parser.set_defaults(run=_train, job=name)


def _train(args: argparse.Namespace) -> str:
    from training.runs.options import RunPaths

    be_quiet()
    paths = RunPaths(
        model=model_folder(args.model),
        data=args.data,
        out=args.out,
        start=args.start,
        evaluation=getattr(args, "evaluation", None),
        reward_model=getattr(args, "reward", None),
    )
    adapter = JOBS[args.job].load().run(args.config, paths, progress=print_progress)
    return f"adapter in {adapter}"
