"""Each rule reads a whole column as it reads its values one by one."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.common.tabular.rules import ID, NUMBER, TEXT, Fault, Rule, time_rule

RULES = {"id": ID, "text": TEXT, "number": NUMBER, "time": time_rule(), "ms": time_rule("ms")}
WORDS = st.sampled_from(
    [
        *("", "a", "é", "\x07", "\x85", "x" * 256, "x" * 257, "7", "-7", "+7", "8.5", "0.0", "1e3"),
        *("1e300", "inf", "nan", "0x10", "1_000", " 7", "2024-05-01", "2024-05-01T10:00:00.5Z"),
        *("2024-05-01 10:00:00+02:00", "99999999999999", "9" * 30, "NULL", "true"),
    ]
)
JSON = st.one_of(
    WORDS,
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(width=64),
    st.just([1]),
    st.just({}),
)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@given(st.one_of(st.lists(WORDS), st.lists(JSON), st.lists(st.integers(-(2**63), 2**63 - 1))))
@example(["+7", "99999999999999"])
def test_a_column_is_read_as_its_values_are(rule: Rule, values: list[Any]) -> None:
    wanted = [rule.valid(value) for value in values]
    assert rule.read(values).to_pylist() == wanted
    if all(isinstance(value, str) for value in values):
        raw = pa.array([value.encode() for value in values], pa.binary())
        assert rule.read(raw).to_pylist() == wanted
        assert rule.read(pa.array(values, pa.string())).to_pylist() == wanted
        encoded = pa.array(values, pa.large_string()).dictionary_encode()
        assert rule.read(encoded).to_pylist() == wanted
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        with_nulls = [*values, None]
        try:
            column = pa.array(with_nulls, pa.int64())
        except OverflowError:
            return
        assert rule.read(column).to_pylist() == [rule.valid(value) for value in with_nulls]


@pytest.mark.parametrize(
    ("rule", "value", "why"),
    [
        (ID, None, "x is null or missing, not a string or an integer"),
        (ID, b"\xff", "x is not UTF-8"),
        (ID, True, "x is a truth value, not a string or an integer"),
        (TEXT, b"\xff", "x is not UTF-8"),
        (TEXT, 1.5, "x is 1.5, not a string"),
        (NUMBER, "1_000", "x is '1_000', not a finite number"),
        (NUMBER, [1], "x is a list, not a finite number"),
        (time_rule(), 9.3e12, "x is 9300000000000.0, not seconds since 1970 or ISO 8601"),
        (time_rule("ms"), {}, "x is an object, not milliseconds since 1970 or ISO 8601"),
        (time_rule(), "y" * 99, f"x is '{'y' * 60}...', not seconds"),
    ],
)
def test_a_fault_says_what_is_wrong(rule: Rule, value: object, why: str) -> None:
    assert rule.valid(value) is None
    with pytest.raises(Fault) as fault:
        rule.take("x", value)
    assert str(fault.value).startswith(why)


@pytest.mark.parametrize(
    ("unit", "value", "micros"),
    [
        ("s", 881250949.0, 881250949_000_000),
        ("ms", "1714557600999", 1714557600_999_000),
        ("us", 1714557600_000_001, 1714557600_000_001),
        ("ms", "2024-05-01T10:00:00Z", 1714557600_000_000),
        ("s", "0.0", 0),
    ],
)
def test_numbers_count_the_unit(unit: Any, value: object, micros: int) -> None:
    assert time_rule(unit).take("x", value) == micros
    assert time_rule(unit).read([value]).to_pylist() == [micros]
