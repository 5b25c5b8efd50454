"""How each part of the stack is found or fetched, and how it is started."""

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
from services.assets.manifest import content_hash, is_complete
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
class Parts:
    """What is on this machine, ready to start.

    Attributes:
        model_name: Under which its server knows the model.
        model: Its folder; None for a model that is only known by its server.
        redis_url: Of a server that runs already, else None.
        redis_binary: What to start otherwise.
        vllm_url: Of a server that runs already, else None.
        vllm_python: Interpreter of vLLM's environment; None means the in-process generator.
        flavour: Which vLLM that is.
        adapter: What the model is served with; None for nothing.
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


def prepare(home: Path, steps: Steps, *, model: str = MODEL) -> Parts:
    """Fetches whatever is not there yet.

    Raises:
        StackError: Something cannot be had.
        AssetError: As `get_model` does.
    """
    redis_url = os.environ.get("RECLM_REDIS_URL") or None
    local = os.environ.get("RECLM_GENERATOR") == "local"
    vllm_url = None if local else os.environ.get("RECLM_VLLM_URL") or None
    if redis_url is not None:
        shown = probes.without_secrets(redis_url)
        if fault := probes.redis_fault(redis_url, password=_redis_password()):
            raise StackError(f"the Redis at RECLM_REDIS_URL, {shown}, does not answer: {fault}")
        steps.say(f"Redis: the one at {shown}")
    if vllm_url is not None:
        model = os.environ.get("RECLM_MODEL") or model
        shown = probes.without_secrets(vllm_url)
        steps.say(f"Model server: the one at {shown}, which has to serve {model}")
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
    return Parts(model, model_folder, encoder, redis_url, binary, vllm_url, python, kind)


def api_key() -> str | None:
    """Returns a key that the service to start will take; None where it asks for none.

    Raises:
        StackError: The settings of this environment hold no good keys.
    """
    settings = _settings()
    try:
        keys = split_keys(settings.api_keys, "RECLM_API_KEYS")
    except SettingsError as error:
        raise StackError(str(error)) from error
    return keys[0] if keys else None


def with_adapter(parts: Parts, adapter: Adapter, steps: Steps) -> Parts:
    """Returns the parts with an adapter on top of their model; a CPU's is folded in beforehand.

    Raises:
        StackError: This machine cannot serve it, or it is for another model or another prompt.
        AssetError: As `Adapter.fold_into` does.
    """
    if parts.vllm_url is None and parts.vllm_python is None:
        raise StackError("the generator inside the service takes no adapter; it needs a vLLM")
    adapter.require_prompt(_settings().prompt)
    if parts.model is not None:
        adapter.require_base(parts.model)
        if parts.flavour == "cpu" and not is_complete(adapter.merged):
            with steps.step(f"Adapter: folding {adapter.name} into {adapter.base_model}"):
                adapter.fold_into(parts.model)
    return dataclasses.replace(parts, adapter=adapter)


def with_shipped_adapter(parts: Parts, home: Path, steps: Steps) -> Parts:
    """Returns the parts with the adapter that comes with RecLM, where it is for their model.

    Raises:
        StackError: As `find_adapter` does.
        AssetError: As `Adapter.fold_into` does.
    """
    if parts.model_name != MODEL or parts.model is None or parts.vllm_python is None:
        return parts
    adapter = find_adapter(home, SHIPPED)
    if adapter.base_hash != content_hash(parts.model):
        steps.say(f"Adapter: none; {parts.model} is not what {SHIPPED} was trained on")
        return parts
    return with_adapter(parts, adapter, steps)


def start_redis(launcher: Launcher, binary: str, folder: Path, *, persistent: bool) -> Child:
    """Starts Redis on a free loopback port.

    Args:
        launcher: Starts it.
        binary: A redis-server.
        folder: For its data and log.
        persistent: Append every write to a file, for the next start to find.
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


def start_vllm(launcher: Launcher, parts: Parts, home: Path, folder: Path) -> Child:
    """Starts vLLM on a free loopback port, serving the model under its name."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(parts.vllm_python), "-m", "vllm.entrypoints.openai.api_server"]
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
    # What this environment adds to the path would come before vLLM's own packages.
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
    parts: Parts,
    folder: Path,
    *,
    redis_url: str,
    vllm_url: str | None,
    port: int,
    workers: int,
    settings: Mapping[str, str],
) -> Child:
    """Starts the profile service on loopback, on what else has been started.

    Args:
        launcher: Starts it.
        parts: From `prepare`.
        folder: For its log.
        redis_url: Of the Redis to use.
        vllm_url: Of the model server; None to run the model in the service.
        port: To listen on.
        workers: Processes.
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
    # The model in the process takes as much memory again with each worker.
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


def _redis_password() -> str | None:
    password = _settings().redis_password
    return password.get_secret_value() if password else None


def _settings() -> Settings:
    try:
        return Settings()
    except SettingsError as error:
        raise StackError(str(error)) from error
    except ValidationError as error:
        # The message of the whole would show values, and some are secrets.
        (finding, *_) = error.errors(include_input=False, include_url=False)
        name = "RECLM_" + "_".join(map(str, finding["loc"])).upper()
        raise StackError(f"{name}: {finding['msg']}") from error


def _served(parts: Parts) -> list[str]:
    """Returns what vLLM serves: a CPU the merged model, eleven times as fast as base and adapter."""
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
            f"to run the model inside the service, {', '.join(missing)} must be installed: "
            "pip install -c constraints.txt -e '.[serving,assets,local]'; or set RECLM_VLLM_URL to a "
            "server elsewhere"
        )
    why = "RECLM_GENERATOR=local" if asked else "vLLM does not run on this machine"
    steps.say(f"{why}: the model runs inside the service, slowly")


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
