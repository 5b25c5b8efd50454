from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from services.profiles.domain.profile import Message
from services.profiles.generation.token_budget import (
    count_messages,
    newest_that_fit,
    tokenizer_counter,
    utf8_length,
)

if TYPE_CHECKING:
    from pathlib import Path

LINES = st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=20)
# "- ", the line break and the mark for joining: what a line costs beside its text.
FRAME = 4
BUDGETS = st.integers(min_value=FRAME + 4, max_value=600)  # room for one character of four bytes


def cost(lines: list[str]) -> int:
    return sum(utf8_length(line) + FRAME for line in lines)


@given(lines=LINES, budget=BUDGETS)
def test_what_is_kept_is_the_newest_within_the_budget_and_never_nothing(
    lines: list[str], budget: int
) -> None:
    kept = newest_that_fit(lines, budget, utf8_length)
    assert kept
    assert cost(kept) <= budget
    assert kept[:-1] == lines[-len(kept) : -1]
    if kept[-1] == lines[-1]:
        left_out = lines[: -len(kept)]
        assert not left_out or cost([left_out[-1], *kept]) > budget
    else:
        assert len(kept) == 1
        (cut,) = kept
        assert lines[-1].startswith(cut)
        assert cost([lines[-1][: len(cut) + 1]]) > budget


def test_nothing_to_read_stays_nothing() -> None:
    assert newest_that_fit([], 10, utf8_length) == []


def test_the_models_own_tokenizer_counts(model_folder: Path) -> None:
    count = tokenizer_counter(model_folder)
    assert count("") == 0
    assert count("Toy Story (1995)") == 9
    lines = [f"Film number {i} of a long series" for i in range(500)]
    kept = newest_that_fit(lines, 384, count)
    assert kept == lines[-len(kept) :]
    rendered = "".join(f"- {line}\n" for line in kept)
    assert 300 < count(rendered) <= 384


@given(contents=st.lists(st.text(max_size=50), max_size=5))
def test_a_chat_is_counted_with_what_its_template_adds(contents: list[str]) -> None:
    chat = [Message("user", content) for content in contents]
    assert count_messages(chat, utf8_length) == sum(len(c.encode()) + 8 for c in contents)
