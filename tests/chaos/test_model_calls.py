"""A second call of the model for one input: with each reason, and with none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.chaos.history import Call, Window
from tests.chaos.model import ModelCall, calls_in
from tests.chaos.model_calls import Counted, Reasons, check
from tests.chaos.subjects import Content

if TYPE_CHECKING:
    from pathlib import Path

ANN = Content(1, 0, 0)


def asked(begun: float, ended: float | None, *, of: str = "a", model: str = "m") -> ModelCall:
    return ModelCall(of, ANN, model, begun, ended)


def checked(
    *calls: ModelCall,
    windows: tuple[Window, ...] = (),
    erasures: tuple[Call, ...] = (),
    sent: dict[Content, float] | None = None,
    failed: tuple[float, ...] = (),
) -> Counted:
    reasons = Reasons(
        windows=windows,
        erasures={ANN.subject: erasures},
        first_sent=sent or {ANN: 0.0},
        failed={ANN.subject: failed},
    )
    return check(calls, reasons)


def test_one_call_for_each_input_and_version() -> None:
    found = checked(asked(1, 2), asked(1, 2, of="b"), asked(3, 4, model="n"))
    assert (found.calls, found.inputs, found.most, found.violations) == (3, 3, 1, [])


def test_two_calls_at_a_time() -> None:
    found = checked(asked(1, 2), asked(1.5, 3))
    assert found.most == 2
    (violation,) = found.violations
    assert (violation.invariant, violation.subject) == ("repeated", ANN.subject)
    assert "while it was still answering" in violation.what


def test_a_second_call_for_what_was_answered() -> None:
    (violation,) = checked(asked(1, 2), asked(8, 9)).violations
    assert "though it had answered" in violation.what


def test_a_prompt_that_was_given_up_is_asked_again() -> None:
    first = replace(asked(1, 2), given_up=True)
    assert checked(first, asked(8, 9)).violations == []
    assert len(checked(first, asked(8, 9), asked(10, 11)).violations) == 1


def test_a_fault_is_a_reason_while_it_lasts_and_shortly_after() -> None:
    for window, expected in (
        (Window("redis-killed", 3, 4), 0),
        (Window("redis-killed", -4, 0.5), 0),
        (Window("redis-killed", 3), 0),
        (Window("redis-killed", -40, -30), 1),
        (Window("redis-killed", 9, 10), 1),
    ):
        assert len(checked(asked(1, 2), asked(8, 9), windows=(window,)).violations) == expected


def test_an_erasure_of_the_subject_is_a_reason() -> None:
    for begun, ended, expected in ((3.0, 4.0, 0), (3.0, None, 0), (0.2, 0.5, 1), (9.0, 9.1, 1)):
        erasure = Call(1, "erase", None, 1, 0, None, None, begun, ended)
        found = checked(asked(1, 2), asked(8, 9), erasures=(erasure,))
        assert len(found.violations) == expected


def test_a_newer_history_is_a_reason() -> None:
    newer, other_life = Content(1, 0, 1), Content(1, 1, 1)
    for sent, expected in (({newer: 3.0}, 0), ({newer: 8.5}, 1), ({other_life: 3.0}, 1)):
        found = checked(asked(1, 2), asked(8, 9), sent={ANN: 0.0, **sent})
        assert len(found.violations) == expected


def test_a_failed_request_is_a_reason() -> None:
    for at, expected in ((5.0, 0), (0.5, 1), (9.0, 1)):
        assert len(checked(asked(1, 2), asked(8, 9), failed=(at,)).violations) == expected


def test_each_call_needs_a_reason_of_its_own() -> None:
    window = Window("redis-killed", 3, 4)
    calls = [asked(at, at + 1) for at in (1, 30, 60, 90)]
    assert len(checked(*calls, windows=(window,)).violations) == 2


def test_a_log_keeps_calls_that_were_cut_short(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    assert calls_in(log) == []
    log.write_text(
        '{"call": "2", "input": "b", "about": [], "model": "m", "begun": 2}\n'
        '{"call": "1", "input": "a", "about": [1, 0, 0], "model": "m", "begun": 1}\n'
        '{"call": "1", "ended": 3}\n'
    )
    assert calls_in(log) == [
        ModelCall("a", ANN, "m", 1, 3),
        ModelCall("b", None, "m", 2, None),
    ]
