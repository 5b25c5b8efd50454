"""How pytest-xdist divides the tests among processes.

pytest-xdist's own `loadgroup` does not see its marks under pytest 9.2, whose nodes hold their ids
elsewhere; the hook for a scheduler of one's own works with any version.
"""

from __future__ import annotations

import functools
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

MODEL_CHAIN = "model"
"""The scope of all tests that ask the one vLLM of a run: one process runs them in turn."""


class FileScheduling(LoadScopeScheduling):
    """Keeps a file's tests in one process, and the tests of all files that need a vLLM as well."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return MODEL_CHAIN if needs_model(str(Path(self.config.rootpath, file))) else file


@functools.cache
def needs_model(file: str) -> bool:
    """Returns whether a test file asks a vLLM, by the mark or the fixture that it names."""
    text = Path(file).read_text(encoding="utf-8")
    return "mark.model" in text or "vllm_url" in text
