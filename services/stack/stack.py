"""A running stack: started in order, stopped in reverse, remembered in a file."""

from __future__ import annotations

import contextlib
import fcntl
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from services.stack.errors import StackError
from services.stack.parts import start_redis, start_service, start_vllm
from services.stack.processes import Child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.stack.parts import Parts
    from services.stack.steps import Steps

_STOP_S = 35
"""The service drains for 30 s."""


@dataclass(frozen=True, slots=True)
class Stack:
    """What has been started, first to last; the service is the last."""

    children: tuple[Child, ...]

    @property
    def url(self) -> str:
        """Where the service answers."""
        return self.children[-1].url

    def stop(self, steps: Steps) -> None:
        """Stops all of it, the last started first."""
        for child in reversed(self.children):
            if child.alive():
                with steps.step(f"Stopping {child.name}"):
                    child.stop(_STOP_S)


def start_stack(
    parts: Parts,
    home: Path,
    folder: Path,
    steps: Steps,
    *,
    port: int,
    workers: int,
    persistent: bool,
) -> Stack:
    """Starts what is not running elsewhere; stops it again if something fails in the middle.

    Args:
        parts: From `prepare`.
        home: RecLM's home.
        folder: For logs and Redis' data.
        steps: Shows the work.
        port: For the service.
        workers: Of the service.
        persistent: Whether Redis keeps its data for the next start.

    Raises:
        StackError: A part did not start.
    """
    children: list[Child] = []
    try:
        redis_url, vllm_url = parts.redis_url, parts.vllm_url
        if parts.redis_binary is not None:
            with steps.step("Starting Redis"):
                children.append(
                    start_redis(parts.redis_binary, folder / "redis", persistent=persistent)
                )
                redis_url = children[-1].url
        if parts.vllm_python is not None:
            with steps.step("Starting vLLM"):
                children.append(start_vllm(parts, home, folder))
                vllm_url = children[-1].url
        with steps.step("Starting the service"):
            children.append(
                start_service(
                    parts,
                    folder,
                    redis_url=str(redis_url),
                    vllm_url=vllm_url,
                    port=port,
                    workers=workers,
                )
            )
    except BaseException:
        Stack(tuple(children)).stop(steps)
        raise
    return Stack(tuple(children))


def remember(stack: Stack, home: Path) -> None:
    """Writes down what runs, for `recall`."""
    path = _state(home)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps([asdict(child) for child in stack.children], indent=2))
    temporary.replace(path)


def recall(home: Path) -> Stack | None:
    """Returns the stack that was started last, if any of it still runs."""
    path = _state(home)
    if not path.is_file():
        return None
    try:
        stack = Stack(tuple(Child(**child) for child in json.loads(path.read_text())))
    except (ValueError, TypeError) as error:
        raise StackError(
            f"{path} is damaged ({error}); stop the processes it names, then delete it"
        ) from error
    return stack if any(child.alive() for child in stack.children) else None


def forget(home: Path) -> None:
    """Deletes what `remember` wrote."""
    _state(home).unlink(missing_ok=True)


@contextlib.contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Keeps a second `up`, `down` or `demo` of the same home from running at the same time.

    Raises:
        StackError: One is running.
    """
    path = home / "run" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StackError(
                f"another reclm-serve command is at work in {home}; wait for it to end"
            ) from error
        yield


def _state(home: Path) -> Path:
    return home / "run" / "stack.json"
