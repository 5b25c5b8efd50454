"""Without the service: what is wrong with the settings ends the job in words, and a row ends none."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from services import cli
from services.backfill.direct_maker import DirectMaker
from services.backfill.makers import RowFailed
from services.profiles.domain.profile import ProfileKey
from services.profiles.settings import Settings
from tests.services.backfill.made import row

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but a test's own."""
    for name in [name for name in os.environ if name.startswith("RECLM_")]:
        monkeypatch.delenv(name)


def direct(folder: Path, *arguments: str) -> int:
    interactions = folder / "interactions.csv"
    interactions.write_text("user_id,item_id\nu,i\n")
    paths = ["--interactions", str(interactions), "--out", str(folder / "out")]
    return cli.main(["backfill", "--kind", "user", "--direct", *paths, *arguments])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, ["RECLM_ENCODER_PATH is not set: `reclm-serve models get"]),
        ({"ENCODER": "openai"}, ["RECLM_ENCODER=openai needs RECLM_ENCODER_URL"]),
        (
            {"TEMPERATURE": "9", "LEASE_S": "0"},
            ["RECLM_LEASE_S: Input should be greater", "RECLM_TEMPERATURE: Input should be less"],
        ),
        ({"REDIS_PASSWORD_FILE": "/nowhere"}, ["RECLM_REDIS_PASSWORD_FILE: /nowhere cannot be"]),
        ({"ENCODER_PATH": "/nowhere"}, ["/nowhere is not a folder; fetch an encoder"]),
    ],
)
def test_wrong_settings_are_named_and_exit_with_2(
    settings: dict[str, str],
    said: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"RECLM_{name}", value)
    for arguments in ([], ["--dry-run"]):
        assert direct(tmp_path, *arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        for error, start in zip(errors, said, strict=True):
            assert error.startswith(f"error: {start}")


def test_a_model_folder_that_cannot_be_trusted_is_named(
    encoder_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RECLM_ENCODER_PATH", str(encoder_folder))
    model = tmp_path / "model"
    model.mkdir()
    shutil.copy(encoder_folder / "tokenizer.json", model)
    (model / "manifest.json").write_text("{")
    monkeypatch.setenv("RECLM_MODEL_PATH", str(model))
    assert direct(tmp_path) == 2
    assert f"error: RECLM_MODEL_PATH: {model}" in capsys.readouterr().err


@pytest.mark.parametrize(("written", "said"), [(None, "is missing"), ("{", "is not a tokenizer")])
def test_a_model_folder_without_a_tokenizer_is_named(
    encoder_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    written: str | None,
    said: str,
) -> None:
    monkeypatch.setenv("RECLM_ENCODER_PATH", str(encoder_folder))
    model = tmp_path / "model"
    model.mkdir()
    if written is not None:
        (model / "tokenizer.json").write_text(written)
    monkeypatch.setenv("RECLM_MODEL_PATH", str(model))
    assert direct(tmp_path) == 2
    assert f"{model}/tokenizer.json {said}" in capsys.readouterr().err


@pytest.mark.anyio
async def test_a_history_that_is_too_long_fails_its_row_alone() -> None:
    maker = DirectMaker(settings=Settings(max_history=2), kind="user")
    with pytest.raises(RowFailed, match="3 entries; send at most 2") as failed:
        await maker.make(row("u", ("a", "b", "c")), max_age_s=None)
    assert failed.value.code == "invalid-input"


@pytest.mark.anyio
async def test_the_stores_deny_list_is_read_to_its_end(
    encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.backfill.direct_maker._ERASED_AT_ONCE", 2)
    settings = Settings(store="memory", encoder_path=encoder_folder)
    async with DirectMaker(settings=settings, kind="user") as maker:
        assert await maker.erased() == frozenset()
        for user in ("a", "b", "c", "d", "e"):
            await maker._parts.profiles.erase(ProfileKey(settings.tenant, "user", user))
        assert await maker.erased() == frozenset("abcde")
