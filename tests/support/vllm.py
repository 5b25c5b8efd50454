"""A real vLLM on the CPU, serving the real base model, from the environment that `prepare` made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from services.assets.fetch import get_model
from services.common.home import reclm_home
from services.stack import environment
from tests.support.processes import ServerProcess, free_port

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "SmolLM2-135M-Instruct"


class VllmServer:
    """vLLM on a free loopback port.

    Args:
        folder: For its log.
        model: Folder of the model to serve; the base model by default.
        name: The name that the model is served under.
    """

    def __init__(self, folder: Path, *, model: Path | None = None, name: str = MODEL) -> None:
        home = reclm_home()
        python = environment.make(home, "cpu")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [
            str(python),
            "-m",
            "vllm.entrypoints.launchers.api_server.entry",
            "--enforce-eager",
        ]
        model = model or get_model(MODEL, home=home)
        command += ["--model", str(model), "--served-model-name", name]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--dtype", "bfloat16", "--max-model-len", "4096"]
        command += ["--scheduling-policy", "priority"]
        env = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1"}
        self.process = ServerProcess(command, log=folder / "vllm.log", env=env)

    def start(self) -> None:
        self.process.start(self._answers, timeout_s=300)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False
