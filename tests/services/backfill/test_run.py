"""How a job handles signals."""

from __future__ import annotations

import signal

from services.backfill.run import _Stopping


def test_a_signal_that_came_early_is_acted_upon_all_the_same() -> None:
    acted: list[str] = []
    stopping = _Stopping()
    stopping.then(lambda: acted.append("first"))
    assert acted == []
    stopping._note(signal.SIGTERM)
    assert (acted, stopping.signal) == (["first"], signal.SIGTERM)
    stopping.then(lambda: acted.append("second"))
    assert acted == ["first", "second"]
