"""Published profiles of large models: RecLM's release, and MovieLens 1M of GEAR-Rec.

The prompts of the release are read as well: a profile fits what its teacher read, which is only a
part of the user's history. The items in them become the prompt that the service would send.
"""

from __future__ import annotations

import ast
import csv
import re
from typing import TYPE_CHECKING, Any

from recommenders.data.readers.gear_rec import read_profiles
from recommenders.data.unpickling import load_pickle
from services.profiles.domain.profile import Item
from services.profiles.generation.prompts.item_text import item_line
from training.data.errors import InstructionDataError
from training.data.prompts import item_lines
from training.data.teacher.answers import TeacherAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from recommenders.data.dataset import Dataset
    from services.profiles.domain.profile import Kind

RELEASES = ("mind", "netflix")

# An item in a prompt of the release: ['year': 1992, 'title': '8 Man']. Fields are Python literals.
_ITEM = re.compile(r"\[('(?:year|cate)': .*?)\](?=\s*(?:\[|Please|\.Here|Here|$))", re.DOTALL)
_USERS_BEGIN, _END = re.compile(r"previously (?:watched|clicked)[^:]*: "), "Please provide"
_ITEM_BEGIN = "The information of the item is as follows: "
_FIELD = 1 << 24  # most characters of a field; csv's default is too small for these prompts


def read_release_users(folder: Path, name: str) -> Iterator[TeacherAnswer]:
    """Yields the users' profiles of RecLM's release: `sft_data/NAME/NAME_fine_tune.csv`.

    Args:
        folder: The release.
        name: `mind` or `netflix`.

    Raises:
        InstructionDataError: The file is missing, lacks a column, or a prompt cannot be read; the
            row is named.
    """
    path = folder / "sft_data" / name / f"{name}_fine_tune.csv"
    csv.field_size_limit(_FIELD)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=1):
                where = f"{path}, row {number}"
                if not all(isinstance(row.get(key), str) for key in ("UID", "Input", "Response")):
                    raise InstructionDataError(f"{where}: UID, Input or Response is missing")
                begin = _USERS_BEGIN.search(row["Input"])
                if begin is None:
                    raise InstructionDataError(f"{where}: Input lists no items")
                listed = row["Input"][begin.end() :].split(_END)[0]
                yield TeacherAnswer(
                    kind="user",
                    id=row["UID"],
                    text=row["Response"],
                    lines=tuple(item_line(item) for item in _items(listed, where)),
                    source=f"reclm-{name}",
                )
    except FileNotFoundError as error:
        raise InstructionDataError(f"{path} is missing") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InstructionDataError(f"{path} cannot be read: {error}") from error


def read_release_items(folder: Path, name: str) -> Iterator[TeacherAnswer]:
    """Yields the items' profiles of the release: `gpt_output_dict_item_side_filter.pkl`.

    The teacher read the item and profiles of users. The similar items of
    `self_instruction_dict_item.pkl`, if that file exists, become the neighbours in the prompt. The
    first of them is taken for the nearest and comes last.

    Raises:
        InstructionDataError: A row has no output or item; the item's number is named.
        DatasetError: A pickle is missing, or holds more than data.
    """
    place = folder / "data" / name
    path = place / "gpt_output_dict_item_side_filter.pkl"
    texts = {
        number: item_line(_item(fields, f"item {number}"))
        for number, fields in _dict(place / "item_info_dict.pkl").items()
    }
    similar_path = place / "self_instruction_dict_item.pkl"
    similar = _dict(similar_path) if similar_path.is_file() else {}
    for number, row in _dict(path).items():
        where = f"{path}: item {number}"
        if not isinstance(row, dict) or not isinstance(row.get("output"), str):
            raise InstructionDataError(f"{where} has no output")
        prompt = row.get("input")
        if not isinstance(prompt, str) or _ITEM_BEGIN not in prompt:
            raise InstructionDataError(f"{where} has no input that describes the item")
        item, *_ = _items(prompt.split(_ITEM_BEGIN)[1], where)
        others = similar.get(number, [])
        yield TeacherAnswer(
            kind="item",
            id=str(number),
            text=row["output"]
            .replace("User identity:", "Item identity:")
            .replace("User interests:", "Item interests:"),
            lines=(item_line(item),),
            neighbours=tuple(texts[int(other)] for other in others[::-1] if int(other) in texts),
            source=f"reclm-{name}",
        )


def read_gear_answers(path: Path, dataset: Dataset, *, limit: int) -> Iterator[TeacherAnswer]:
    """Yields `llm_response_user.json` or `llm_response_item.json` of MovieLens 1M in GEAR-Rec.

    They are paragraphs, not profiles in their form.

    Args:
        path: The file, with the maps beside it.
        dataset: The same data, as `reclm-recommend data import ml-1m-gear` makes it.
        limit: Most lines of a user's history.

    Raises:
        DatasetError: The file cannot be read.
        InstructionDataError: The dataset lacks a user or item.
    """
    kind: Kind = "user" if path.name == "llm_response_user.json" else "item"
    lines, histories = item_lines(dataset), dataset.histories() if kind == "user" else {}
    for name, text in read_profiles(path).items():
        items = histories.get(name, []) if kind == "user" else [name] if name in lines else []
        if not items:
            raise InstructionDataError(f"{path}: dataset {dataset.info.name!r} lacks {kind} {name}")
        read = tuple(lines[item] for item in items[-limit:])
        yield TeacherAnswer(kind=kind, id=name, text=text, lines=read, source="ml-1m-gear")


def _items(listed: str, where: str) -> list[Item]:
    """Reads the items in a prompt of the release."""
    found = _ITEM.findall(listed)
    if not found:
        raise InstructionDataError(f"{where}: no item in {listed[:80]!r}")
    items = []
    for fields in found:
        try:
            items.append(_item(ast.literal_eval("{" + fields + "}"), where))
        except (ValueError, SyntaxError) as error:
            raise InstructionDataError(f"{where}: {fields[:80]!r} is not an item") from error
    return items


def _item(fields: object, where: str) -> Item:
    """Makes an item from the release's fields, as `reclm-recommend data import` does."""
    if not isinstance(fields, dict) or "title" not in fields:
        raise InstructionDataError(f"{where}: {fields!r} is not an item with a title")
    if "year" in fields:
        return Item("", f"{fields['title']} ({fields['year']})")
    category = ", ".join(filter(None, (fields.get("cate", ""), fields.get("sub_cate", ""))))
    return Item("", str(fields["title"]), category, str(fields.get("abstract", "")))


def _dict(path: Path) -> Mapping[int, Any]:
    found = load_pickle(path)
    if not isinstance(found, dict):
        raise InstructionDataError(f"{path} is a {type(found).__name__}, not a dict")
    return found
