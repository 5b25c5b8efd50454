from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recommenders.data.errors import DatasetError
from recommenders.data.profiles import read_profiles, write_profiles

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read_in_order(tmp_path: Path) -> None:
    profiles = {"ü/2": "Likes\nfilms.", "1": 'Says "no".\u2028'}
    path = tmp_path / "above" / "users.jsonl"
    write_profiles(path, profiles)
    assert list(read_profiles(path).items()) == list(profiles.items())
    assert len(path.read_bytes().splitlines()) == 2
    write_profiles(path, {"3": "new"})
    assert read_profiles(path) == {"3": "new"}
    assert [file.name for file in path.parent.iterdir()] == ["users.jsonl"]


def test_other_members_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"id": "a", "text": "b", "status": "cached"}\n')
    assert read_profiles(tmp_path / "x") == {"a": "b"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("", "line 2: not JSON"),
        ("[]", "line 2: not an object"),
        ('{"id": 7, "text": "x"}', "line 2: id is 7, not a text"),
        ('{"id": "b"}', "line 2: text is None, not a text"),
        ('{"id": "b", "text": " "}', "line 2: text is ' ', not a text"),
        ('{"id": "a", "text": "x"}', "line 2: id 'a' a second time"),
    ],
)
def test_a_line_that_is_no_profile_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "x").write_text(f'{{"id": "a", "text": "b"}}\n{line}\n')
    with pytest.raises(DatasetError, match=message):
        read_profiles(tmp_path / "x")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="x is missing"):
        read_profiles(tmp_path / "x")


def test_empty_profiles_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="the profile of 'b' has no id or no text"):
        write_profiles(tmp_path / "x", {"a": "text", "b": "\n"})
    assert list(tmp_path.iterdir()) == []
