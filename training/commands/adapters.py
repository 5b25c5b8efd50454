"""The commands `reclm-train merge` and `publish`. Heavy imports wait until one runs."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.commands.arguments import add_model, model_folder, positive
from training.commands.output import be_quiet, print_progress
from training.errors import TrainingError

if TYPE_CHECKING:
    import argparse

_RESERVED = "reclm-"
"""Prefix of the names of the adapters that RecLM ships."""


def add_adapters(commands: Any) -> None:  # noqa: ANN401 - argparse does not name the type
    """Adds `merge` and `publish`."""
    merge = commands.add_parser(
        "merge",
        help="merge an adapter into its base model",
        description="Merges an adapter, with those that it was trained on top of, into its base model, "
        "and prints how far logits and greedy answers of both differ.",
    )
    merge.add_argument("adapter", type=Path, metavar="ADAPTER")
    add_model(merge)
    merge.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the merged model"
    )
    _add_prompts(merge)

    publish = commands.add_parser(
        "publish",
        help="publish an adapter under a new name, and load it into a server",
        description="Copies an adapter to RECLM_HOME/adapters under a name that was never used before. "
        "--merged writes the merged model to RECLM_HOME/models, --vllm loads the adapter into a "
        "running server. `reclm-serve up --adapter NAME` serves it.",
    )
    publish.add_argument("adapter", type=Path, metavar="ADAPTER")
    publish.add_argument("--name", required=True)
    publish.add_argument(
        "--merged", action="store_true", help="write the merged model too, for serving on a CPU"
    )
    add_model(publish)
    publish.add_argument("--vllm", metavar="URL", help="a running server with --enable-lora")
    publish.add_argument(
        "--vllm-path", metavar="DIR", help="path of RECLM_HOME/adapters on that server"
    )
    _add_prompts(publish)
    for parser, run in ((merge, _merge), (publish, _publish)):
        parser.set_defaults(run=run)


def _add_prompts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE",
        help="prompts of the comparison (default: three of RecLM)",
    )
    parser.add_argument(
        "--limit",
        type=positive,
        default=50,
        metavar="N",
        help="most prompts (default: %(default)s)",
    )


def _merge(args: argparse.Namespace) -> str:
    from training.adapters.merge import merge

    be_quiet()
    agreement = merge(
        model_folder(args.model),
        args.adapter,
        args.out,
        prompts=_prompts(args),
        progress=print_progress,
    )
    return f"merged model in {args.out}: {agreement}"


def _publish(args: argparse.Namespace) -> str:
    from training.adapters.merge import is_merged_from, merge
    from training.adapters.publish import check_server, publish, push

    be_quiet()
    home = Path(os.environ.get("RECLM_HOME") or "")
    if not home.is_absolute():
        raise TrainingError("set RECLM_HOME to an absolute path: adapters are published there")
    if args.name.startswith(_RESERVED):
        raise TrainingError(
            f"names that begin with {_RESERVED} are reserved for adapters that come with RecLM"
        )
    if args.vllm:
        check_server(args.vllm, args.name, api_key=_vllm_key())
    published = publish(args.adapter, args.name, home)
    lines = [f"adapter in {published}"]
    print_progress(lines[0])
    if args.merged:
        merged = home / "models" / args.name
        if not is_merged_from(merged, published):
            agreement = merge(
                model_folder(args.model),
                published,
                merged,
                prompts=_prompts(args),
                progress=print_progress,
            )
            lines.append(f"merged model in {merged}: {agreement}")
    if args.vllm:
        seen = None if args.vllm_path is None else f"{args.vllm_path}/{args.name}"
        push(published, args.vllm, served_path=seen, api_key=_vllm_key())
        lines.append(f"{args.vllm} serves {args.name}")
    return "\n".join(lines)


def _vllm_key() -> str | None:
    """Returns RECLM_VLLM_API_KEY, or what the file that RECLM_VLLM_API_KEY_FILE names holds."""
    path = os.environ.get("RECLM_VLLM_API_KEY_FILE")
    if not path:
        return os.environ.get("RECLM_VLLM_API_KEY")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"RECLM_VLLM_API_KEY_FILE: {path} cannot be read: {error}") from error


def _prompts(args: argparse.Namespace) -> list[Any]:
    from training.adapters.merge import PROBES
    from training.data.rows import Prompted, read_rows

    if args.prompts is None:
        return list(PROBES)
    rows = read_rows(Prompted, args.prompts)
    return [row.prompt for row in itertools.islice(rows, args.limit)]
