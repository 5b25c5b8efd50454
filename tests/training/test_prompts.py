"""`reclm-train prompts`: what it writes is what the service sends."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from recommenders.data.dataset import INTERACTION_COLUMNS, Dataset, DatasetInfo
from services.profiles.domain.profile import Item, ProfileKey
from services.profiles.domain.requests import ProfileRequest
from services.profiles.generation.prompt_builder import PromptBuilder
from services.profiles.generation.prompts.registry import CURRENT, PROMPTS
from services.profiles.generation.token_budget import utf8_length
from services.profiles.settings import Settings
from tests.services.profiles.generation.prompts.versions import ProfileV2
from training import cli
from training.data import prompts

if TYPE_CHECKING:
    from pathlib import Path

    from services.profiles.domain.profile import Kind

TITLES = {
    "a": "Heat (1995)",
    "b": "Alien (1979)",
    "c": "Brazil\n(1985)",
    "e": "\u200b",
    "d": "Sp" * 30,
}
INTERACTIONS = [
    ("u", "a", 1, 5.0),
    ("v", "a", 1, 4.0),
    ("u", "b", 2, 2.0),
    ("v", "e", 2, 4.0),
    ("u", "c", 3, 5.0),
    ("v", "b", 3, 4.0),
    ("w", "e", 1, 5.0),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    items = pa.table(
        {
            "item_id": list(TITLES),
            "title": list(TITLES.values()),
            "category": ["Crime", "Horror, Sci-Fi", "", "", "Drama"],
            "description": [""] * len(TITLES),
        }
    )
    columns = [list(column) for column in zip(*INTERACTIONS, strict=True)]
    info = DatasetInfo(name="tiny", source="a test", licence="none")
    schema = pa.schema(INTERACTION_COLUMNS)
    Dataset(info, items, pa.table(columns, schema=schema)).write(tmp_path / "tiny")
    return tmp_path / "tiny"


def run(folder: Path, kind: str, *options: str) -> list[dict[str, Any]]:
    out = folder.parent / "out" / f"{kind}.jsonl"
    assert (
        cli.main(["prompts", "--dataset", str(folder), "--kind", kind, "--out", str(out), *options])
        == 0
    )
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


class Catalogue:
    """The dataset's items as the service would find them."""

    def __init__(self, dataset: Dataset) -> None:
        columns = ("item_id", "title", "category", "description")
        rows = zip(*(dataset.items[name].to_pylist() for name in columns), strict=True)
        self.items = {row[0]: Item(*row) for row in rows}

    async def get_items(self, tenant: str, ids: list[str]) -> list[Item | None]:
        return [self.items.get(name) for name in ids]


def served(folder: Path, kind: Kind, name: str, history: list[str], tokens: int) -> list[Any]:
    builder = PromptBuilder(
        catalogue=Catalogue(Dataset.read(folder)),
        tenant="default",
        count=utf8_length,
        history_tokens=tokens,
    )
    request = ProfileRequest(key=ProfileKey("default", kind, name), history=tuple(history))
    chat = asyncio.run(builder.build(request)).messages(CURRENT, examples=True)
    return [{"role": turn.role, "content": turn.content} for turn in chat]


@pytest.mark.parametrize("tokens", [384, 40, 12])
def test_user_prompts_are_those_of_the_service(folder: Path, tokens: int) -> None:
    rows = run(folder, "user", "--history-tokens", str(tokens))
    assert [(row["id"], row["kind"]) for row in rows] == [("u", "user"), ("v", "user")]
    assert rows[0]["messages"] == served(folder, "user", "u", ["a", "b", "c"], tokens)
    assert rows[1]["messages"] == served(folder, "user", "v", ["a", "e", "b"], tokens)


@pytest.mark.parametrize("tokens", [384, 40])
def test_item_prompts_are_those_of_the_service(folder: Path, tokens: int) -> None:
    rows = run(folder, "item", "--history-tokens", str(tokens))
    assert [row["id"] for row in rows] == ["a", "b", "c", "e", "d"]
    # Cosine with a: b 2/sqrt(2*2), c 1/sqrt(2*1), e 1/sqrt(2*2); the nearest comes last.
    assert rows[0]["messages"] == served(folder, "item", "a", ["e", "c", "b"], tokens)
    # The title of e cannot be read; what was chosen with it can. Nobody chose d.
    assert rows[3]["messages"] == served(folder, "item", "e", ["b", "a"], tokens)
    assert rows[4]["messages"] == served(folder, "item", "d", [], tokens)


def test_histories_are_limited_as_asked(folder: Path) -> None:
    (user,) = run(folder, "user", "--max-items", "2", "--limit", "1", "--no-examples")
    assert [turn["role"] for turn in user["messages"]] == ["system", "user"]
    assert user["messages"][-1]["content"].splitlines()[1:] == [
        "- Alien (1979) | Horror, Sci-Fi",
        "- Brazil (1985)",
    ]
    user = run(folder, "user", "--min-weight", "5")[0]
    assert "Alien (1979) | Horror" not in user["messages"][-1]["content"]


def test_a_version_of_the_prompt_is_chosen_by_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = ProfileV2()
    monkeypatch.setitem(PROMPTS, later.name, later)
    first, other = (run(folder, "user", "--prompt", name)[0] for name in PROMPTS)
    assert first["messages"] == run(folder, "user")[0]["messages"]
    assert other["messages"][0]["content"] == "Write a profile in other words."
    assert other["messages"][1:] == first["messages"][1:]


def test_the_budget_is_the_service_s() -> None:
    arguments = ["prompts", "--dataset", "x", "--kind", "user", "--out", "y"]
    default = cli._parser().parse_args(arguments).history_tokens
    assert default == Settings.model_fields["history_tokens"].default


def test_a_run_that_fails_leaves_what_was_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "user.jsonl"
    out.write_text("before")

    def broken(*_: object) -> str:
        raise OSError("no space left")

    monkeypatch.setattr(prompts.Prompt, "to_json", broken)
    arguments = ["prompts", "--dataset", str(folder), "--kind", "user", "--out", str(out)]
    assert cli.main(arguments) == 1
    assert out.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny", "user.jsonl"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--limit", "0"], "not a whole number above 0"),
        (["--max-items", "-3"], "not a whole number above 0"),
        (["--model", "nowhere"], "no tokenizer.json"),
        (["--kind", "both"], "invalid choice"),
        (
            ["--prompt", "profile-v0"],
            "there is no prompt 'profile-v0'; this release has profile-v1",
        ),
    ],
)
def test_wrong_usage_exits_with_2(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["prompts", "--dataset", "x", "--kind", "user", "--out", "y", *options])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_missing_dataset_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["prompts", "--dataset", str(tmp_path / "no"), "--kind", "user", "--out", "y"]
    assert cli.main(arguments) == 1
    assert "reclm-train: " in capsys.readouterr().err
