"""Small files in the form of those that the wheel holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ITEMS = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tAnimation Children's Comedy\n"
    "267\tunkonwn\tunkonwn\tunknown\n"
    "1412\tLand Before Time III (1995)\tV\tAnimation Children's\n"
    "543\tMisérables, Les\t1995\tDrama Musical\n"
)
INTERACTIONS = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "196\t543\t3\t881250949\n"
    "22\t1\t1\t878887116\n"
    "196\t1\t4.5\t881250940\n"
)


def write_files(folder: Path, *, items: str = ITEMS, interactions: str = INTERACTIONS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ml-100k.item").write_text(items, encoding="utf-8")
    (folder / "ml-100k.inter").write_text(interactions, encoding="utf-8")
    return folder
