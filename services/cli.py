"""`reclm-serve`: run the service, fetch models, start and stop the whole stack."""

from __future__ import annotations

import argparse
import sys

from services.commands import backfill, erase, models, scorers, stack


def main(argv: list[str] | None = None) -> int:
    """Runs the command line. Returns the exit status: 0, 1 after an error, 2 after wrong usage."""
    args = _parser().parse_args(argv)
    return int(args.run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reclm-serve", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run only the profile service",
        description="Runs the profile service. Settings are RECLM_* environment variables.",
    )
    run.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    run.add_argument("--port", type=int, default=8080, help="port to listen on (%(default)s)")
    run.add_argument("--workers", type=int, default=1, help="worker processes (%(default)s)")
    run.set_defaults(run=_run)

    parser_of_models = commands.add_parser("models", help="fetch and list models")
    models.add_arguments(parser_of_models)
    parser_of_models.set_defaults(run=models.run)

    parser_of_scorers = commands.add_parser(
        "scorers", help="list, activate and roll back the scorers of a running service"
    )
    scorers.add_arguments(parser_of_scorers)
    parser_of_scorers.set_defaults(run=scorers.run)

    stack.add_commands(commands)
    backfill.add_command(commands)
    erase.add_command(commands)
    return parser


def _run(args: argparse.Namespace) -> int:
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from services.profiles.server import serve
    from services.profiles.settings import faults

    try:
        return serve(host=args.host, port=args.port, workers=args.workers)
    except (ValidationError, SettingsError) as error:
        for fault in faults(error):
            print(f"error: {fault}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
