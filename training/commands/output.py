"""What commands print while they run."""

from __future__ import annotations

import sys


def be_quiet() -> None:
    """Turns off the progress bars of libraries: jobs report their progress themselves."""
    import datasets
    from transformers.utils.logging import disable_progress_bar

    datasets.disable_progress_bars()
    disable_progress_bar()  # type: ignore[no-untyped-call]


def print_progress(line: str) -> None:
    """Prints a line of progress to stderr."""
    print(line, file=sys.stderr, flush=True)
