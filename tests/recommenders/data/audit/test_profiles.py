from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from recommenders.data.audit.profiles import ProfileLeaks, find_profile_leaks, plain_title
from recommenders.data.errors import DatasetError
from recommenders.data.indexed import Indexed
from recommenders.data.splits import parse
from tests.recommenders.data.tiny import dataset

if TYPE_CHECKING:
    from pathlib import Path

    from recommenders.data.dataset import Dataset

ITEMS = [f"i{number:02}" for number in range(60)]
TITLES = [f"Story of {number:02}, The (1999)" for number in range(60)]


def fair() -> Dataset:
    """Twenty users with ten items each in order of time, the last one for test."""
    choices = [
        (f"u{user}", ITEMS[(user * 3 + step) % 60], step)
        for user in range(20)
        for step in range(10)
    ]
    return dataset(choices, items=ITEMS, titles=TITLES)


def find(path: Path, rows: list[dict[str, Any]]) -> ProfileLeaks:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = fair()
    return find_profile_leaks(
        path, parse("leave-last-out").divide(data), data, Indexed.of(data), seed=1
    )


def chosen(user: int, steps: range) -> list[str]:
    return [ITEMS[(user * 3 + step) % 60] for step in steps]


def test_histories_of_training_items_are_fair(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": f"u{user}", "text": "Likes stories.", "history": chosen(user, range(8))}
        for user in range(20)
    ]
    found = find(
        tmp_path / "p", [*rows, {"id": "unknown"}, {"id": "i00", "kind": "item", "text": "x"}]
    )
    assert (found.profiles, found.new_users, found.with_history) == (21, 1, 20)
    assert (found.leaking, found.leaked) == (0, 0)
    assert found.reasons() == []


def test_a_history_with_validation_or_test_items_is_found(tmp_path: Path) -> None:
    found = find(
        tmp_path / "p",
        [
            {"id": "u0", "history": chosen(0, range(10))},
            {"id": "u1", "history": [{"id": chosen(1, range(9, 10))[0]}, {"id": "gone"}]},
            {"id": "u2", "history": chosen(1, range(10))},  # another user's
            {"id": "u3", "history": []},
        ],
    )
    assert found.with_history == 4
    assert (found.leaking, found.leaked) == (2, 3)
    assert found.reasons() == ["histories of 2 profiles list 3 validation or test items"]


def test_titles_of_test_items_in_a_profile_are_a_hint(tmp_path: Path) -> None:
    tests = [(user, (user * 3 + 9) % 60) for user in range(20)]
    found = find(
        tmp_path / "p",
        [
            {"id": f"u{user}", "text": f"Loved *the story of {item:02}*, above all."}
            for user, item in tests
        ],
    )
    assert 0 < found.compared <= 20
    assert found.named == found.compared
    assert found.named_by_chance == 0
    assert (found.trained, found.named_in_training) == (160, 0)  # eight of each
    assert found.reasons() == []


def test_titles_of_training_items_are_counted_to_compare_with(tmp_path: Path) -> None:
    rows = [
        {"id": f"u{user}", "text": f"Loved THE STORY OF {user * 3 % 60:02}!"} for user in range(20)
    ]
    found = find(tmp_path / "p", rows)
    assert (found.trained, found.named_in_training) == (160, 20)
    assert found.named == 0


def test_titles_are_found_as_whole_words_only(tmp_path: Path) -> None:
    found = find(tmp_path / "p", [{"id": f"u{user}", "text": "the story of"} for user in range(20)])
    assert found.named == found.named_by_chance == 0


@pytest.mark.parametrize(
    ("title", "plain"),
    [
        ("Usual Suspects, The (1995)", "the usual suspects"),
        ("Shanghai Triad (Yao a yao) (1995)", "shanghai triad"),
        ("Se7en: A Film", "se7en a film"),
        ("(1999)", "1999"),
    ],
)
def test_titles_are_read_as_they_would_be_written(title: str, plain: str) -> None:
    assert plain_title(title) == plain


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "p, line 2: not JSON"),
        ("[]", "p, line 2: not an object with an id"),
        ('{"id": 3}', "line 2: not an object with an id"),
        ('{"id": "u1", "text": 3}', "line 2: text is 3, not a string"),
        ('{"id": "u1", "history": "a"}', "line 2: history is not a list of item ids"),
        ('{"id": "u1", "history": ["a", 1]}', "line 2: history is not a list of item ids"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "p"
    path.write_text(f'{{"id": "u0"}}\n{line}\n')
    data = fair()
    with pytest.raises(DatasetError, match=message):
        find_profile_leaks(path, parse("leave-last-out").divide(data), data, Indexed.of(data))
