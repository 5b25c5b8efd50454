"""Writes the blocking client from the asynchronous one: python services/client/generate.py.

With --check it writes nothing, and fails if the file in the repository is not the one that it
would write.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

PACKAGE = Path(__file__).parent / "src" / "reclm_client"
TARGET = PACKAGE / "synchronous.py"
HEADER = "# Generated from asynchronous.py by services/client/generate.py. Do not edit.\n"
NAMES = {
    "AsyncReclmClient": "ReclmClient",
    "AsyncLanes": "Lanes",
    "AsyncRows": "Rows",
    "AsyncSource": "Source",
    "AsyncClient": "Client",
    "AsyncGenerator": "Generator",
    "AsyncIterator": "Iterator",
    "aclose": "close",
    "aclosing": "closing",
    "aiter_bytes": "iter_bytes",
    "anext": "next",
    "aread": "read",
    "async_each": "each",
    "async_pause": "pause",
}
"""What is called otherwise without a loop; `async` and `await` go by themselves."""


def generated() -> str:
    """Returns the blocking client's source, formatted."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "async"), Path(folder, "sync")
        source.mkdir()
        text = (PACKAGE / "asynchronous.py").read_text(encoding="utf-8")
        (source / TARGET.name).write_text(text, encoding="utf-8")
        rule = unasync.Rule(str(source), str(target), additional_replacements=NAMES)
        unasync.unasync_files([str(source / TARGET.name)], [rule])
        made = HEADER + (target / TARGET.name).read_text(encoding="utf-8")
    made = re.sub(r"\b(Generator\[.*), None\]", r"\1, None, None]", made)
    for command in (["check", "--fix-only", "--quiet", "--select", "I"], ["format", "--quiet"]):
        made = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(TARGET), "-"],
            input=made,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
    return made


def main() -> int:
    """Writes or checks the file. Returns the exit status."""
    made = generated()
    if "--check" in sys.argv[1:]:
        return int(made != TARGET.read_text(encoding="utf-8"))
    TARGET.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
