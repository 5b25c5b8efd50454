"""Keeps Python's garbage collector from examining objects that are never freed.

A full collection in a worker of this service takes some 50 ms, and a collection of younger objects a
few while those of a bundle are among them. Either would delay a request.
"""

from __future__ import annotations

import gc


def settle() -> None:
    """Collects the garbage, and exempts all remaining objects from later collections.

    Takes as long as one full collection. Exempt objects are still freed with their last reference;
    only cycles among them are kept.
    """
    gc.collect()
    gc.freeze()
