"""Where data is, on the command lines of all that prepares data as a benchmark does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recommenders.commands.features import add_encoder, encoder_folder
from services.assets.home import reclm_home

if TYPE_CHECKING:
    import argparse

    from recommenders.benchmark.prepared import BenchmarkPaths


def add_paths(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `paths_of` reads."""
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder of datasets (data in RECLM_HOME)"
    )
    parser.add_argument(
        "--snapshots", type=Path, metavar="DIR", help="folder of snapshots (that of datasets)"
    )
    add_encoder(parser)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds the option that says where models are trained."""
    parser.add_argument(
        "--device",
        choices=["cpu", "cuda"],
        default="cpu",
        help="where to train (%(default)s); no test has seen cuda",
    )


def paths_of(args: argparse.Namespace, *, out: Path) -> BenchmarkPaths:
    """Returns where the options say that things are.

    Args:
        args: Of a parser with `add_paths`.
        out: Where results go.
    """
    from recommenders.benchmark.prepared import BenchmarkPaths

    datasets = args.data or reclm_home() / "data"
    return BenchmarkPaths(
        datasets=datasets,
        snapshots=args.snapshots or datasets,
        encoder=encoder_folder(args.encoder),
        out=out,
    )
