"""A running stack: starts the processes in order, stops them in reverse, records them in a file."""

from __future__ import annotations

import contextlib
import fcntl
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from services.common.files import write_text
from services.stack.errors import StackError
from services.stack.parts import SERVICE, start_redis, start_service, start_vllm
from services.stack.processes import Child, Launcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from services.stack.interrupts import Interrupts
    from services.stack.parts import StackParts
    from services.stack.steps import Steps

_STATE = "stack.json"
_STOP_S = 35
"""The service drains for 30 s."""


class Stack:
    """The processes of one folder, first to last. Use it under the lock of `only_one`.

    Args:
        folder: For logs, Redis' data, and `stack.json`, the record of running processes. It is
            written at every start and stop, so that a later process can stop them.
        steps: Reports progress.
        interrupts: Defers signals in critical sections.
    """

    def __init__(self, folder: Path, steps: Steps, interrupts: Interrupts) -> None:
        self._folder = folder
        self._steps = steps
        self._interrupts = interrupts
        self._children = list(read_state(folder))

    @property
    def url(self) -> str | None:
        """The service's URL; None unless all processes that were started still run."""
        children = self._children
        if not children or not all(child.alive() for child in children):
            return None
        return children[-1].url if children[-1].name == SERVICE else None

    def start(
        self,
        parts: StackParts,
        home: Path,
        *,
        port: int,
        workers: int,
        persistent: bool,
        settings: Mapping[str, str] | None = None,
    ) -> str:
        """Starts the processes that do not run elsewhere, and returns the service's URL.

        Processes left from an earlier start are stopped first. If this start fails, all are stopped.

        Args:
            parts: From `prepare`.
            home: RecLM's home.
            port: Port of the service.
            workers: Worker processes of the service.
            persistent: Whether Redis keeps its data for the next start.
            settings: Further RECLM_* variables for the service.

        Raises:
            StackError: A process did not start.
        """
        self.stop()
        try:
            return self._start(
                parts,
                home,
                port=port,
                workers=workers,
                persistent=persistent,
                settings=settings or {},
            )
        except BaseException:
            self.stop()
            raise

    def stop(self) -> bool:
        """Stops all processes, the last started first. Returns whether there were any."""
        if not self._children:
            return False
        with self._interrupts.held():
            while self._children:
                child = self._children[-1]
                with self._steps.step(f"Stopping {child.name}"):
                    child.stop(_STOP_S)
                self._children.pop()
                self._write_state()
        return True

    def _start(
        self,
        parts: StackParts,
        home: Path,
        *,
        port: int,
        workers: int,
        persistent: bool,
        settings: Mapping[str, str],
    ) -> str:
        launcher = Launcher(keep=self._keep, interrupts=self._interrupts)
        redis_url, vllm_url = parts.redis_url, parts.vllm_url
        if parts.redis_binary is not None:
            with self._steps.step("Starting Redis"):
                redis_url = start_redis(
                    launcher, parts.redis_binary, self._folder, persistent=persistent
                ).url
        if parts.vllm_python is not None:
            with self._steps.step("Starting vLLM"):
                vllm_url = start_vllm(launcher, parts, home, self._folder).url
        with self._steps.step("Starting the service"):
            return start_service(
                launcher,
                parts,
                self._folder,
                redis_url=str(redis_url),
                vllm_url=vllm_url,
                port=port,
                workers=workers,
                settings=settings,
            ).url

    def _keep(self, child: Child) -> None:
        self._children.append(child)
        self._write_state()

    def _write_state(self) -> None:
        path = self._folder / _STATE
        if not self._children:
            path.unlink(missing_ok=True)
            return
        write_text(path, json.dumps([asdict(child) for child in self._children], indent=2))


def read_state(folder: Path) -> tuple[Child, ...]:
    """Returns the processes that were started in a folder and not stopped, running or not.

    Raises:
        StackError: The state file is damaged.
    """
    path = folder / _STATE
    if not path.is_file():
        return ()
    try:
        return tuple(Child(**child) for child in json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise StackError(
            f"{path} is damaged ({error}); stop the processes that it names, then delete it"
        ) from error


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds the lock of a stack's folder, so that no two commands start or stop it at once.

    Raises:
        StackError: Another command holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StackError(
                f"another reclm-serve command is running in {folder}; wait for it to end"
            ) from error
        yield
