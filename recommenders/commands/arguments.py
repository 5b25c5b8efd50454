"""Options that several commands share: folders of data, and the device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recommenders.commands.features import add_encoder, encoder_folder
from services.common.home import reclm_home

if TYPE_CHECKING:
    import argparse

    from recommenders.benchmark.prepared import BenchmarkPaths


def add_paths(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `paths_of` reads."""
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder of datasets (default: data in RECLM_HOME)"
    )
    parser.add_argument(
        "--snapshots",
        type=Path,
        metavar="DIR",
        help="folder of snapshots (default: the folder of datasets)",
    )
    add_encoder(parser)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds the option for the device of the training."""
    parser.add_argument(
        "--device",
        choices=["cpu", "cuda"],
        default="cpu",
        help="device for training (%(default)s); the tests have not run on cuda",
    )


def paths_of(args: argparse.Namespace, *, out: Path) -> BenchmarkPaths:
    """Returns the folders that the options name.

    Args:
        args: From a parser with `add_paths`.
        out: Folder for results.
    """
    from recommenders.benchmark.prepared import BenchmarkPaths

    datasets = args.data or reclm_home() / "data"
    return BenchmarkPaths(
        datasets=datasets,
        snapshots=args.snapshots or datasets,
        encoder=encoder_folder(args.encoder),
        out=out,
    )
