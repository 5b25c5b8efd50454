"""The blocking client in the repository is the one that the asynchronous one makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from reclm_client import synchronous

GENERATE = Path(__file__).parents[3] / "services" / "client" / "generate.py"


def test_the_blocking_client_is_current() -> None:
    done = subprocess.run([sys.executable, GENERATE, "--check"], check=False, capture_output=True)
    assert done.returncode == 0, (
        f"{synchronous.__file__} is not what {GENERATE} writes: run it again. {done.stderr!r}"
    )
