from __future__ import annotations

import os
import subprocess
import sys

import pytest
from pydantic_settings import SettingsError

from services.profiles.server import require_shared_store
from services.profiles.settings import Settings
from tests.support.processes import free_port

_SERVE = """
import sys
from services.profiles import server
server._WORKER_HEALTH_S = 2  # a worker that ends while it is asked is missed after that
sys.exit(server.serve(host="127.0.0.1", port=int(sys.argv[1]), workers=int(sys.argv[2])))
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_application_that_cannot_start_is_no_orderly_end(workers: str) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RECLM_")}
    done = subprocess.run(
        [sys.executable, "-c", _SERVE, str(free_port()), workers],
        env=env,  # without an encoder
        capture_output=True,
        text=True,
        check=False,
    )
    assert "RECLM_ENCODER_PATH" in done.stderr + done.stdout
    assert done.returncode == 3


def test_several_workers_need_a_store_that_they_share() -> None:
    with pytest.raises(SettingsError, match=r"RECLM_STORE=memory.*2 workers"):
        require_shared_store(Settings(store="memory"), 2)
    require_shared_store(Settings(store="memory"), 1)
    require_shared_store(Settings(), 2)
