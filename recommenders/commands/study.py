"""`reclm-recommend study`. Heavy imports wait until the command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recommenders.commands.arguments import add_paths, paths_of
from services.common.files import atomic_path, write_text

if TYPE_CHECKING:
    import argparse

    from recommenders.benchmark.prepared import BenchmarkPaths

_COLD_USERS = """\
Trains models without some users, and ranks items for these by an increasing number of first clicks:
by popularity, by the clicks, by the profile, and by both. Finished models are skipped.
"""


def add_command(commands: Any) -> None:  # noqa: ANN401 - argparse does not name the type
    """Adds the command to the parser of `reclm-recommend`."""
    study: argparse.ArgumentParser = commands.add_parser(
        "study", help="run a study of recommenders", description="Studies."
    )
    questions = study.add_subparsers(metavar="study", required=True)
    cold = questions.add_parser(
        "cold-users",
        help="the quality for new users by the number of their clicks",
        description=_COLD_USERS,
    )
    cold.set_defaults(run=_run)
    cold.add_argument("file", type=Path, metavar="FILE", help="the study, in YAML")
    cold.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the results"
    )
    add_paths(cold)


def _run(args: argparse.Namespace) -> str:
    from recommenders.benchmark.errors import BenchmarkError
    from recommenders.evaluation import EvaluationError

    paths = paths_of(args, out=args.out)
    command = f"reclm-recommend study cold-users {args.file} --out {args.out.name}"
    try:
        return cold_users(args.file, paths, command=command)
    except EvaluationError as error:
        raise BenchmarkError(f"new users cannot be evaluated: {error}") from error


def cold_users(file: Path, paths: BenchmarkPaths, *, command: str) -> str:
    """Runs a study and writes its results; returns what to print.

    Writes `cold-users.md`, `.parquet`, `.png` and `runs/` to `paths.out`.

    Raises:
        DatasetError, BenchmarkError, ModelError, EvaluationError: As `read_study` and `run_study`.
    """
    from recommenders.benchmark.run import write_table
    from recommenders.commands.benchmark import here
    from recommenders.study.plan import read_study
    from recommenders.study.plots import lines
    from recommenders.study.report import Findings, markdown
    from recommenders.study.run import run_study

    study = read_study(file)
    table = run_study(study, paths, progress=lambda line: sys.stderr.write(line + "\n"))
    found = Findings.of(table)
    profiles = f"{study.profiles}; users have "
    profiles += (
        "the mean of those of their items" if study.user_profiles == "items" else "their own"
    )
    document = markdown(study, found, command=command, where=here(), profiles=profiles)
    write_text(paths.out / "cold-users.md", document)
    write_table(table, paths.out / "cold-users.parquet")
    with atomic_path(paths.out / "cold-users.png") as image:
        lines(study, found).savefig(image, dpi=150)
    return document + f"\nWritten to {paths.out}: cold-users.md, .parquet and .png"
