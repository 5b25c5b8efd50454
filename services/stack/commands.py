"""`reclm-serve prepare | up | down | status | demo`. Heavy imports wait until a command runs."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

_PORT = 8080
_WORKERS = 2


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse does not name the type
    """Adds the commands to the parser of `reclm-serve`."""
    for name, run, help_ in (
        ("prepare", _prepare, "fetch everything that `up` needs, and start nothing"),
        ("up", _up, "start Redis, vLLM and the service, and leave them running"),
        ("down", _down, "stop what `up` started; profiles are kept"),
        ("status", _status, "say what runs"),
        ("demo", _demo, "go from nothing to real users' profiles, then stop everything"),
    ):
        parser = commands.add_parser(name, help=help_, description=help_.capitalize() + ".")
        parser.set_defaults(run=_guarded(run))
        if name in {"prepare", "up"}:
            parser.add_argument("--model", help="a name for `models get` (SmolLM2-135M-Instruct)")
        if name == "up":
            parser.add_argument(
                "--port", type=int, default=_PORT, help="of the service (%(default)s)"
            )
            parser.add_argument("--workers", type=int, default=_WORKERS, help="(%(default)s)")


def _guarded(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Turns errors of ours into a message, and SIGTERM into an orderly end."""

    def guarded(args: argparse.Namespace) -> int:
        from services.assets.errors import AssetError
        from services.client import ReclmClientError
        from services.stack.errors import StackError

        def on_term(*_: object) -> None:
            raise KeyboardInterrupt

        signal.signal(signal.SIGTERM, on_term)
        try:
            return run(args)
        except (StackError, AssetError, ReclmClientError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130

    return guarded


def _prepare(args: argparse.Namespace) -> int:
    from services.assets.home import reclm_home
    from services.stack import parts
    from services.stack.steps import Steps

    parts.prepare(reclm_home(), Steps(), model=args.model or parts.MODEL)
    return 0


def _up(args: argparse.Namespace) -> int:
    from services.assets.home import reclm_home
    from services.stack import parts, stack
    from services.stack.errors import StackError
    from services.stack.steps import Steps

    home, steps = reclm_home(), Steps()
    with stack.only_one(home):
        if stack.recall(home) is not None:
            raise StackError("a stack is running already: `status` shows it, `down` stops it")
        prepared = parts.prepare(home, steps, model=args.model or parts.MODEL)
        running = stack.start_stack(
            prepared,
            home,
            home / "run",
            steps,
            port=args.port,
            workers=args.workers,
            persistent=True,
        )
        stack.remember(running, home)
    print(f"The service answers at {running.url} (documentation: {running.url}/docs).")
    print("Try:")
    print(f"  curl -s {running.url}/profiles/user -H 'Content-Type: application/json' \\")
    print(
        """    -d '{"id": "ann", "history": [{"title": "Alien (1979)", "category": "Horror"}]}'"""
    )
    return 0


def _down(args: argparse.Namespace) -> int:
    del args
    from services.assets.home import reclm_home
    from services.stack import stack
    from services.stack.steps import Steps

    home = reclm_home()
    with stack.only_one(home):
        running = stack.recall(home)
        if running is None:
            print("Nothing is running.")
        else:
            running.stop(Steps())
        stack.forget(home)
    return 0


def _status(args: argparse.Namespace) -> int:
    del args
    from services.assets.home import reclm_home
    from services.stack import stack

    running = stack.recall(reclm_home())
    if running is None:
        print("Nothing is running.")
        return 1
    for child in running.children:
        state = "running" if child.alive() else "ended"
        print(f"{child.name:12} {state:8} pid {child.pid:<8} {child.url}  log {child.log}")
    return 0


def _demo(args: argparse.Namespace) -> int:
    del args
    from services.assets.home import reclm_home
    from services.stack import demo, stack
    from services.stack.steps import Steps

    home = reclm_home()
    with stack.only_one(home):
        return demo.run(home, Steps())
