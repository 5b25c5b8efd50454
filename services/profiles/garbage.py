"""Keeps Python's garbage collector from looking at what stays for good.

A full collection of a worker of this service takes some 50 ms, and one of the younger objects in
which those of a bundle are among them a few: both in the middle of somebody's request.
"""

from __future__ import annotations

import gc


def settle() -> None:
    """Collects what is garbage now, and has later collections pass over all the rest.

    Takes as long as one full collection. What is passed over is freed all the same when its last
    reference goes; only a cycle in it is kept.
    """
    gc.collect()
    gc.freeze()
