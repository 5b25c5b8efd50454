"""`reclm-recommend train` and `export`. Heavy imports wait until a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recommenders.commands.arguments import add_device, add_paths, paths_of
from recommenders.commands.features import add_url
from services.common.home import reclm_home

if TYPE_CHECKING:
    import argparse

_TRAIN = """\
Trains one model of a grid, as `benchmark` does, and saves it in a folder for `export`.
Under `accelerate launch` or `torchrun`, several processes train it together
(docs/how-to/recommenders.md).
"""
_EXPORT = """\
Writes a scorer bundle for the service: atomically, with a checksum of every file, under a name that
is never used again.
"""


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse does not name the type
    """Adds the commands to the parser of `reclm-recommend`."""
    train: argparse.ArgumentParser = commands.add_parser(
        "train", help="train one model of a grid and save it", description=_TRAIN
    )
    train.set_defaults(run=_train)
    train.add_argument("file", type=Path, metavar="FILE", help="the grid, in YAML")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    train.add_argument(
        "--model", metavar="LABEL", help="the model's name in the tables of the grid"
    )
    train.add_argument(
        "--seed", type=int, metavar="N", help="a seed of the grid (default: the first)"
    )
    add_paths(train)
    add_device(train)

    export: argparse.ArgumentParser = commands.add_parser(
        "export", help="write a trained model as a scorer bundle", description=_EXPORT
    )
    export.set_defaults(run=_export)
    export.add_argument("folder", type=Path, metavar="MODEL_FOLDER", help="what `train` wrote")
    export.add_argument(
        "--out",
        type=Path,
        metavar="BUNDLES_DIR",
        help="folder of bundles (default: bundles in RECLM_HOME)",
    )
    export.add_argument(
        "--name",
        metavar="NAME",
        help="name of the bundle (default: the model's, with a hash of the content)",
    )
    add_url(export, "whose erased users are left out")


def _train(args: argparse.Namespace) -> str:
    from recommenders.benchmark.experiment import read_experiment
    from recommenders.distributed import joined
    from recommenders.evaluation import EvaluationError
    from recommenders.export.errors import ExportError
    from recommenders.export.trained import refuse_occupied
    from recommenders.export.training import train_one

    refuse_occupied(args.out)
    experiment = read_experiment(args.file)
    paths = paths_of(args, out=reclm_home() / "cache")
    seed = experiment.seeds[0] if args.seed is None else args.seed
    try:
        with joined(args.device) as context:
            trained = train_one(
                experiment,
                args.model,
                seed,
                paths,
                context=context,
                progress=lambda line: sys.stderr.write(line + "\n"),
            )
    except EvaluationError as error:
        raise ExportError(f"the model cannot be evaluated: {error}") from error
    if trained is None:
        return ""  # only the first process saves the model and reports it
    trained.save(args.out)
    figures = "\n".join(
        f"{name}: {value:.4f}" for name, value in trained.provenance.metrics.items()
    )
    return f"{figures}\nTrained: {args.out}"


def _export(args: argparse.Namespace) -> str:
    from recommenders.erasures import consult
    from recommenders.export.bundle import write_bundle
    from recommenders.export.trained import Trained

    bundles = args.out or reclm_home() / "bundles"
    trained = Trained.read(args.folder)
    erasures = consult(args.url, progress=lambda line: sys.stderr.write(line + "\n"))
    written = write_bundle(trained, bundles, name=args.name, erasures=erasures)
    return f"Bundle {written.folder.name}, {written.bytes / 2**20:,.1f} MiB, in {written.folder}"
