"""The command `reclm-train compare`. Heavy imports wait until it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.commands.arguments import positive
from training.commands.output import be_quiet, print_progress
from training.errors import TrainingError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


def add_compare(commands: Any) -> None:  # noqa: ANN401 - argparse does not name the type
    """Adds `compare`."""
    compare = commands.add_parser(
        "compare",
        help="evaluate models by the profiles that they write",
        description="Generates profiles with each model for the same prompts, greedily and without "
        "constrained decoding, and prints a table. --encoder adds measures of the profiles' vectors, "
        "--dataset adds measures by similar users and by the users' other choices.",
    )
    compare.add_argument("models", nargs="+", metavar="NAME=FOLDER|URL|FILE")
    compare.add_argument(
        "--prompts", type=Path, required=True, metavar="FILE", help="held-out prompts"
    )
    compare.add_argument("--kind", choices=("user", "item"), help="only prompts of this kind")
    compare.add_argument(
        "--limit",
        type=positive,
        default=100,
        metavar="N",
        help="most prompts (default: %(default)s)",
    )
    compare.add_argument(
        "--tokens",
        type=positive,
        default=96,
        metavar="N",
        help="most tokens of an answer (default: %(default)s)",
    )
    compare.add_argument("--encoder", type=Path, metavar="DIR", help="folder of a sentence encoder")
    compare.add_argument(
        "--dataset",
        type=Path,
        metavar="DIR",
        help="the dataset that the ids of the prompts belong to",
    )
    compare.add_argument(
        "--min-weight", type=float, metavar="W", help="leave out interactions with less weight"
    )
    compare.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write the comparison as JSON and as a page too, with the profiles, and keep the answers of "
        "model folders for the next run with the same prompts",
    )
    compare.set_defaults(run=_compare)


def _compare(args: argparse.Namespace) -> str:
    from training.data.rows import read_rows
    from training.evaluation.answers_cache import cached
    from training.evaluation.comparison import compare
    from training.evaluation.report import save, table
    from training.evaluation.vectors import named, popularity
    from training.evaluation.writers import HeldOut, writer

    be_quiet()
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
            notes.append(f"retrieval of a ranking by popularity: {least:.3f}")
        read = named(behaviour)
        if read is not None:
            notes.append(
                f"retrieval by the items of the prompts themselves, one number for each item: {read.recall:.3f} "
                f"({read.beyond:+.3f} beyond popularity, margin {read.margin:.3f})"
            )
    compared = compare(
        {name: cached(one, args.out) for name, one in writers.items()},
        rows,
        tokens=args.tokens,
        encode=encode,
        behaviour=behaviour,
        progress=print_progress,
    )
    first = next(iter(writers))
    notes += [
        f"retrieval of {name} against {first}: {gain.beyond:+.4f} (margin {gain.margin:.4f})"
        for name, gain in compared.gains.items()
    ]
    if args.out is not None:
        save(args.out, rows, compared, notes=notes)
    return "\n".join([table(compared.evaluations), "", *(f"- {note}" for note in notes)])
