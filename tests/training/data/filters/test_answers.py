"""Which answers of a teacher are dropped, and for which reason."""

from __future__ import annotations

import pytest

from training.data.filters.answers import filter_answers, filter_prose
from training.data.teacher.answers import TeacherAnswer

GOOD = (
    "User identity: night owl, film lover, city dweller; "
    "User interests: dark humour, long talks, old music."
)


def answer(
    text: str, name: str = "u", lines: tuple[str, ...] = ("Heat (1995) | Crime",)
) -> TeacherAnswer:
    return TeacherAnswer(kind="user", id=name, text=text, lines=lines, source="test")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            (
                "User identity: Identity 1, Identity 2, Identity 3; "
                "User interests: Interest 1, Interest 2, Interest 3."
            ),
            "placeholder",
        ),
        (
            "User identity: [Identity A], [Identity B], [Identity C]; User interests: [], [], [].",
            "placeholder",
        ),
        ("User identity: night owl, film lover; User interests: dark humour, talks.", "malformed"),
        ("This viewer favours comedies.", "malformed"),
        (
            (
                "User identity: a profile generator, film lover, city dweller; "
                "User interests: dark humour, long talks, old music."
            ),
            "copies the prompt",
        ),
    ],
)
def test_an_answer_is_dropped_for(text: str, reason: str) -> None:
    found = filter_answers([answer(text)])
    assert not found.kept
    assert {name: count for name, count in found.dropped.items() if count} == {reason: 1}


def test_words_that_only_look_like_placeholders_stay() -> None:
    text = GOOD.replace("long talks", "diverse interests")
    assert len(filter_answers([answer(text)]).kept) == 1


def test_titles_word_for_word_are_copies_when_most_phrases_are_some() -> None:
    lines = ("Rickie Fowler meets Tiger Woods (2019) | sports", "The Long Goodbye (1973)")
    copied = (
        "User identity: Rickie Fowler, Tiger Woods, the long goodbye; "
        "User interests: long goodbye, {}, Golf."
    )
    assert filter_answers([answer(copied.format("fowler meets"), lines=lines)]).kept == []
    # Three copied of six, and a single word never counts.
    half = copied.format("quiet mornings").replace("long goodbye, quiet", "old clubs, quiet")
    assert len(filter_answers([answer(half, lines=lines)]).kept) == 1


def test_one_other_phrase_is_a_near_duplicate_and_two_are_not() -> None:
    one = GOOD.replace("old music", "new music")
    two = one.replace("night owl", "early bird")
    reordered = GOOD.replace("night owl, film lover", "Film lover, Night Owl")
    answers = [answer(GOOD, "a"), answer(one, "b"), answer(reordered, "c"), answer(two, "d")]
    found = filter_answers(answers)
    assert [row.answer.id for row in found.kept] == ["a", "d"]
    assert found.dropped["near-duplicate"] == 2


def test_the_first_answer_for_an_id_is_kept() -> None:
    other = GOOD.replace("night owl", "early bird").replace("old music", "new music")
    found = filter_answers([answer(GOOD), answer(other)])
    assert [row.words.text for row in found.kept] == [GOOD]
    assert found.dropped["repeated id"] == 1


def test_strict_drops_what_the_decoder_cannot_write() -> None:
    single = GOOD.replace("old music", "Music")
    assert filter_answers([answer(single)]).undecodable == 1
    assert filter_answers([answer(GOOD)], strict=True).undecodable == 0
    found = filter_answers([answer(single)], strict=True)
    assert (len(found.kept), found.dropped["undecodable"]) == (0, 1)


def test_prose_is_kept_once() -> None:
    texts = ["Favours comedies.", "favours  comedies", " ", "As a profile generator, I say"]
    answers = [answer(text, name) for text, name in zip(texts, "abcd", strict=True)]
    kept, dropped = filter_prose([*answers, answer("Other words.", "a")])
    assert [row.id for row in kept] == ["a"]
    assert set(dropped.values()) == {1}
