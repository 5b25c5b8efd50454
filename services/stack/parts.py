"""The components of the stack: finds or fetches each, and starts it."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic_settings import SettingsError

from services.assets.fetch import get_model
from services.assets.manifest import is_complete
from services.common.manifests import content_hash
from services.profiles.access.keyring import split_keys
from services.profiles.settings import Settings
from services.stack import environment, probes
from services.stack.adapters import SHIPPED, find_adapter
from services.stack.errors import StackError
from services.stack.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from services.stack.adapters import Adapter
    from services.stack.processes import Child, Launcher
    from services.stack.steps import Steps

MODEL = "SmolLM2-135M-Instruct"
ENCODER = "all-MiniLM-L6-v2-int8"
SERVICE = "The service"

_REDIS_READY_S = 20
_VLLM_READY_S = 300
_SERVICE_READY_S = 120
_CONTEXT = 4096
_KV_CACHE_GIB = 2
"""Enough for 50,000 tokens of a model of 135 million parameters."""


@dataclass(frozen=True, slots=True)
class StackParts:
    """The components on this machine, ready to start.

    Attributes:
        model_name: The name that the model is served under.
        model: The model's folder; None if only the running server has the model.
        encoder: The sentence encoder's folder.
        redis_url: URL of a running Redis, else None.
        redis_binary: The redis-server to start; None if one runs already.
        vllm_url: URL of a running model server, else None.
        vllm_python: Interpreter of vLLM's environment; None for the in-process generator.
        flavour: The build of vLLM in that environment.
        adapter: The adapter that the model is served with, if any.
    """

    model_name: str
    model: Path | None
    encoder: Path
    redis_url: str | None
    redis_binary: str | None
    vllm_url: str | None
    vllm_python: Path | None
    flavour: environment.Flavour | None
    adapter: Adapter | None = None


def prepare(home: Path, steps: Steps, *, model: str = MODEL) -> StackParts:
    """Finds the components, and fetches those that are missing.

    Args:
        home: RecLM's home.
        steps: Reports progress.
        model: The base model, a name for `get_model`.

    Raises:
        StackError: A component cannot be found, made or reached.
        AssetError: As `get_model` does.
    """
    redis_url = os.environ.get("RECLM_REDIS_URL") or None
    local = os.environ.get("RECLM_GENERATOR") == "local"
    vllm_url = None if local else os.environ.get("RECLM_VLLM_URL") or None
    if redis_url is not None:
        shown = probes.without_secrets(redis_url)
        if fault := probes.store_fault(_settings()):
            raise StackError(f"the Redis at RECLM_REDIS_URL, {shown}, cannot be used: {fault}")
        steps.say(f"Redis: using {shown}")
    if vllm_url is not None:
        model = os.environ.get("RECLM_MODEL") or model
        shown = probes.without_secrets(vllm_url)
        steps.say(f"Model server: using {shown}, which must serve {model}")
    binary = None
    if redis_url is None:
        binary = shutil.which("redis-server")
        if binary is None:
            with steps.step("Redis: fetching a server"):
                binary = str(get_model("redis-server", home=home))
    kind = None if vllm_url or local else environment.flavour()
    python = None
    if kind is not None:
        python = environment.python_of(home, kind)
        if python is None:
            with steps.step(f"vLLM ({kind}): making its environment"):
                python = environment.make(home, kind)
    elif vllm_url is None:
        _require_local(steps, asked=local)
    model_folder = None
    if vllm_url is None or model == MODEL:
        with steps.step(f"Model: {model}"):
            model_folder = get_model(model, home=home)
    with steps.step(f"Encoder: {ENCODER}"):
        encoder = get_model(ENCODER, home=home)
    return StackParts(model, model_folder, encoder, redis_url, binary, vllm_url, python, kind)


def api_key() -> str | None:
    """Returns an API key that the service will accept; None if it requires none.

    Raises:
        StackError: The settings in this environment have invalid keys.
    """
    settings = _settings()
    try:
        keys = split_keys(settings.api_keys, "RECLM_API_KEYS")
    except SettingsError as error:
        raise StackError(str(error)) from error
    return keys[0] if keys else None


def with_adapter(parts: StackParts, adapter: Adapter, steps: Steps) -> StackParts:
    """Adds an adapter to the model. For vLLM on a CPU, the adapter is merged into the model first.

    Raises:
        StackError: This machine cannot serve the adapter, or it is for another model or prompt.
        AssetError: As `Adapter.fold_into` does.
    """
    if parts.vllm_url is None and parts.vllm_python is None:
        raise StackError("the in-process generator cannot serve an adapter; an adapter needs vLLM")
    adapter.require_prompt(_settings().prompt)
    if parts.model is not None:
        adapter.require_base(parts.model)
        if parts.flavour == "cpu" and not is_complete(adapter.merged):
            with steps.step(f"Adapter: folding {adapter.name} into {adapter.base_model}"):
                adapter.fold_into(parts.model)
    return dataclasses.replace(parts, adapter=adapter)


def with_shipped_adapter(parts: StackParts, home: Path, steps: Steps) -> StackParts:
    """Adds the adapter that is shipped with RecLM, if it was trained on this model.

    Raises:
        StackError: As `find_adapter` does.
        AssetError: As `Adapter.fold_into` does.
    """
    if parts.model_name != MODEL or parts.model is None or parts.vllm_python is None:
        return parts
    adapter = find_adapter(home, SHIPPED)
    if adapter.base_hash != content_hash(parts.model):
        steps.say(f"Adapter: none; {SHIPPED} was not trained on {parts.model}")
        return parts
    return with_adapter(parts, adapter, steps)


def start_redis(launcher: Launcher, binary: str, folder: Path, *, persistent: bool) -> Child:
    """Starts Redis on a free loopback port.

    Args:
        launcher: Starts the process.
        binary: Path of a redis-server.
        folder: For its data and log.
        persistent: Whether Redis appends every write to a file and loads it at the next start.
    """
    data = folder / "redis"
    data.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data)]
    command += ["--save", "", "--appendonly", "yes" if persistent else "no"]
    return launcher.start(
        "Redis",
        command,
        url=url,
        env=os.environ,
        log=folder / "redis.log",
        fault=lambda: probes.redis_fault(url),
        timeout_s=_REDIS_READY_S,
    )


def start_vllm(launcher: Launcher, parts: StackParts, home: Path, folder: Path) -> Child:
    """Starts vLLM on a free loopback port; it serves the model under its name."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(parts.vllm_python), "-m", "vllm.entrypoints.launchers.api_server.entry"]
    command += _served(parts)
    command += ["--host", "127.0.0.1", "--port", str(port), "--max-model-len", str(_CONTEXT)]
    command += ["--scheduling-policy", "priority"]
    env = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CACHE_ROOT": str(home / "cache" / "vllm"),
    }
    if parts.flavour == "cpu":
        command += ["--enforce-eager", "--dtype", "bfloat16"]
        env.setdefault("VLLM_CPU_KVCACHE_SPACE", str(_KV_CACHE_GIB))
    # This environment's path would take precedence over vLLM's own packages.
    env.pop("PYTHONPATH", None)
    return launcher.start(
        "vLLM",
        command,
        url=url,
        env=env,
        log=folder / "vllm.log",
        fault=lambda: probes.http_fault(f"{url}/health"),
        timeout_s=_VLLM_READY_S,
    )


def start_service(
    launcher: Launcher,
    parts: StackParts,
    folder: Path,
    *,
    redis_url: str,
    vllm_url: str | None,
    port: int,
    workers: int,
    settings: Mapping[str, str],
) -> Child:
    """Starts the profile service on loopback.

    Args:
        launcher: Starts the process.
        parts: From `prepare`.
        folder: For its log.
        redis_url: URL of Redis.
        vllm_url: URL of the model server; None to run the model in the service.
        port: Port to listen on.
        workers: Worker processes.
        settings: Further RECLM_* variables.
    """
    url = f"http://127.0.0.1:{port}"
    env = {
        **os.environ,
        **settings,
        "RECLM_REDIS_URL": redis_url,
        "RECLM_MODEL": parts.model_name,
        **({"RECLM_MODEL_PATH": str(parts.model)} if parts.model else {}),
        "RECLM_ENCODER_PATH": str(parts.encoder),
        **(parts.adapter.settings if parts.adapter else {}),
        **({"RECLM_VLLM_URL": vllm_url} if vllm_url else {"RECLM_GENERATOR": "local"}),
    }
    command = [sys.executable, "-m", "services.cli", "run", "--host", "127.0.0.1"]
    # With the in-process generator each worker holds its own copy of the model.
    command += ["--port", str(port), "--workers", str(workers if vllm_url else 1)]
    return launcher.start(
        SERVICE,
        command,
        url=url,
        env=env,
        log=folder / "service.log",
        fault=lambda: probes.service_fault(url),
        timeout_s=_SERVICE_READY_S,
    )


def _settings() -> Settings:
    try:
        return Settings()
    except SettingsError as error:
        raise StackError(str(error)) from error
    except ValidationError as error:
        # The full message would show values, and some are secrets.
        (finding, *_) = error.errors(include_input=False, include_url=False)
        name = "RECLM_" + "_".join(map(str, finding["loc"])).upper()
        raise StackError(f"{name}: {finding['msg']}") from error


def _served(parts: StackParts) -> list[str]:
    """Returns vLLM's model options. A CPU serves the merged model, which is 11 times as fast."""
    adapter = parts.adapter
    if adapter is None:
        return ["--model", str(parts.model), "--served-model-name", parts.model_name]
    if parts.flavour == "cpu":
        return ["--model", str(adapter.merged), "--served-model-name", adapter.name]
    return [
        *["--model", str(parts.model), "--served-model-name", parts.model_name],
        *["--enable-lora", "--max-lora-rank", str(adapter.max_rank)],
        *["--lora-modules", f"{adapter.name}={adapter.folder}"],
    ]


def _require_local(steps: Steps, *, asked: bool) -> None:
    missing = [name for name in ("torch", "transformers", "xgrammar") if not _installed(name)]
    if missing:
        raise StackError(
            f"the in-process generator needs {', '.join(missing)}: "
            "python deploy/install.py serving assets local; or set RECLM_VLLM_URL to a "
            "running model server"
        )
    why = "RECLM_GENERATOR=local" if asked else "vLLM does not run on this machine"
    steps.say(f"{why}: the model runs inside the service, which is slow")


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
