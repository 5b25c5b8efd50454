"""`reclm-serve prepare | up | down | status | demo`. Heavy imports wait until a command runs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from services.stack.interrupts import Interrupts

    Command = Callable[[argparse.Namespace, Interrupts], int]

_PORT = 8080
_WORKERS = 2


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse does not name the type
    """Adds the commands to the parser of `reclm-serve`."""
    for name, run, help_ in (
        ("prepare", _prepare, "fetch everything that `up` needs, without starting anything"),
        ("up", _up, "start Redis, vLLM and the service, and leave them running"),
        ("down", _down, "stop what `up` started; profiles are kept"),
        ("status", _status, "show the processes and whether the service is ready"),
        ("demo", _demo, "start the stack, make profiles of real users, then stop everything"),
    ):
        parser = commands.add_parser(name, help=help_, description=help_.capitalize() + ".")
        parser.set_defaults(run=_guarded(run))
        if name in {"prepare", "up"}:
            parser.add_argument(
                "--model", help="a name for `models get` (default: SmolLM2-135M-Instruct)"
            )
        if name == "up":
            adapter = parser.add_mutually_exclusive_group()
            adapter.add_argument(
                "--adapter",
                metavar="NAME",
                help="an adapter published by reclm-train (default: the shipped one, for its base model)",
            )
            adapter.add_argument(
                "--no-adapter", action="store_true", help="serve the model without an adapter"
            )
            parser.add_argument(
                "--port", type=int, default=_PORT, help="port of the service (%(default)s)"
            )
            parser.add_argument(
                "--workers", type=int, default=_WORKERS, help="worker processes (%(default)s)"
            )


def _guarded(run: Command) -> Callable[[argparse.Namespace], int]:
    """Wraps a command: prints known errors, and stops in order after a signal."""

    def guarded(args: argparse.Namespace) -> int:
        from reclm_client import ReclmClientError
        from services.common.errors import ArtifactError
        from services.stack.errors import StackError
        from services.stack.interrupts import Interrupted, Interrupts

        _keep_loopback_direct()
        try:
            with Interrupts() as interrupts:
                return run(args, interrupts)
        except (StackError, ArtifactError, ReclmClientError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except Interrupted as interrupted:
            print("interrupted", file=sys.stderr)
            return interrupted.exit_status

    return guarded


def _keep_loopback_direct() -> None:
    """Makes this process and its children reach loopback without an HTTP proxy."""
    for name in ("no_proxy", "NO_PROXY"):
        given = os.environ.get(name)
        os.environ[name] = f"{given},127.0.0.1" if given else "127.0.0.1"


def _folder() -> Path:
    from services.common.home import reclm_home

    return reclm_home() / "run"


def _prepare(args: argparse.Namespace, interrupts: Interrupts) -> int:
    del interrupts
    from services.common.home import reclm_home
    from services.stack import parts
    from services.stack.steps import Steps

    parts.prepare(reclm_home(), Steps(), model=args.model or parts.MODEL)
    return 0


def _up(args: argparse.Namespace, interrupts: Interrupts) -> int:
    from services.common.home import reclm_home
    from services.stack import parts
    from services.stack.adapters import find_adapter
    from services.stack.stack import Stack, only_one
    from services.stack.steps import Steps

    home, steps = reclm_home(), Steps()
    with only_one(_folder()):
        stack = Stack(_folder(), steps, interrupts)
        url = stack.url
        if url is not None:
            print("The stack is running already.")
        else:
            adapter = find_adapter(home, args.adapter) if args.adapter else None
            model = adapter.base_model if adapter else args.model or parts.MODEL
            prepared = parts.prepare(home, steps, model=model)
            if adapter:
                prepared = parts.with_adapter(prepared, adapter, steps)
            elif not args.no_adapter:
                prepared = parts.with_shipped_adapter(prepared, home, steps)
            url = stack.start(prepared, home, port=args.port, workers=args.workers, persistent=True)
    print(f"The service runs at {url} (documentation: {url}/docs).")
    print("Try:")
    print(f"  curl -s {url}/profiles/user -H 'Content-Type: application/json' \\")
    if parts.api_key() is not None:
        print('    -H "Authorization: Bearer $RECLM_API_KEY" \\')
    print(
        """    -d '{"id": "ann", "history": [{"title": "Alien (1979)", "category": "Horror"}]}'"""
    )
    return 0


def _down(args: argparse.Namespace, interrupts: Interrupts) -> int:
    del args
    from services.stack.stack import Stack, only_one
    from services.stack.steps import Steps

    with only_one(_folder()):
        if not Stack(_folder(), Steps(), interrupts).stop():
            print("Nothing is running.")
    return 0


def _status(args: argparse.Namespace, interrupts: Interrupts) -> int:
    del args, interrupts
    from services.stack.parts import SERVICE
    from services.stack.probes import service_fault
    from services.stack.stack import read_state

    children = read_state(_folder())
    if not children:
        print("Nothing is running.")
        return 1
    fault: str | None = "it was not started"
    for child in children:
        state = "running" if child.alive() else "ended"
        print(f"{child.name:12} {state:8} pid {child.pid:<8} {child.url}  log {child.log}")
        if child.name == SERVICE:
            fault = service_fault(child.url)
    print("The service is ready." if fault is None else f"The service is not ready: {fault}")
    return 0 if fault is None else 1


def _demo(args: argparse.Namespace, interrupts: Interrupts) -> int:
    del args
    from services.common.home import reclm_home
    from services.stack import demo
    from services.stack.steps import Steps

    return demo.run(reclm_home(), Steps(), interrupts)
