from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from services.erasure.errors import ErasureError
from services.erasure.targets import Targets, read_ids

if TYPE_CHECKING:
    from pathlib import Path


def test_ids_are_read_from_lines_and_from_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_bytes(b'ann\n\n bob \r\n{"id": "c\\u00e9", "x": 1}\n["id"]')
    assert read_ids(path) == ["ann", " bob ", "cé", '["id"]']


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'ann\n{"user": "bob"}\n', "line 2: not a JSON object with a member id"),
        (b'{"id": 7}\n', "line 1: the id is 7, not a string"),
        (b"\xff\n", "cannot be read"),
    ],
)
def test_a_file_without_ids_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "ids"
    path.write_bytes(content)
    with pytest.raises(ErasureError, match=says):
        read_ids(path)
    with pytest.raises(ErasureError, match="cannot be read"):
        read_ids(tmp_path / "none")


@pytest.mark.parametrize("id_", ["", "a\nb", "a\x85", "x" * 257])
def test_what_the_service_would_not_take_is_no_id(id_: str) -> None:
    with pytest.raises(ErasureError, match="is not the id of a item"):
        Targets.of([], [id_])


def test_somebody_has_to_be_named() -> None:
    with pytest.raises(ErasureError, match="nobody is named"):
        Targets.of()


def test_each_id_is_there_once_with_its_kind() -> None:
    targets = Targets.of(["b", "a", "b"], ["a"])
    assert list(targets.each()) == [("user", "a"), ("user", "b"), ("item", "a")]
    assert targets.of_kind("item") == {"a"}
    assert targets.of_kind(None) == {"a", "b"}
