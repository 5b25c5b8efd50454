from __future__ import annotations

import os
import signal

import pytest

from services.stack.interrupts import Interrupted, Interrupts

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_raises_with_the_status_that_shells_report(number: signal.Signals) -> None:
    with pytest.raises(Interrupted) as raised, Interrupts():
        os.kill(os.getpid(), number)
    assert raised.value.exit_status == 128 + number


def test_a_signal_waits_for_the_end_of_the_outermost_hold() -> None:
    done = []

    def work(interrupts: Interrupts) -> None:
        with interrupts.held():
            with interrupts.held():
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("inner")
            done.append("outer")
        done.append("never")

    with pytest.raises(Interrupted), Interrupts() as interrupts:
        work(interrupts)
    assert done == ["inner", "outer"]


def test_a_hold_that_fails_hides_nothing() -> None:
    def fail(interrupts: Interrupts) -> None:
        with interrupts.held():
            os.kill(os.getpid(), signal.SIGTERM)
            raise OSError("disk full")

    with pytest.raises(Interrupted) as raised, Interrupts() as interrupts:
        fail(interrupts)
    assert isinstance(raised.value.__context__, OSError)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interrupts():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
