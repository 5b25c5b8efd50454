from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recommenders.data.audit import Audit, describe, run_audit
from recommenders.data.audit.alignment import Sampling
from recommenders.data.dataset import Dataset
from recommenders.data.errors import DatasetError
from recommenders.data.splits import parse
from tests.recommenders.data.audit.towns import make
from tests.recommenders.data.tiny import dataset

if TYPE_CHECKING:
    from pathlib import Path

QUICK = Sampling(pairs=2_000, permutations=199)


def test_a_sound_folder_is_called_sound(tmp_path: Path) -> None:
    make(faithful=True).write(tmp_path / "towns")
    audit = run_audit(tmp_path / "towns", split=parse("cold-items"), sampling=QUICK)
    assert audit.alignment_verdict == "aligned"
    assert audit.reasons == ()
    assert audit.verdict == "sound"
    shown = describe(audit).splitlines()
    assert shown[0] == "Dataset:        tiny"
    assert shown[-1] == "Verdict:        sound"
    assert f"Split:          {audit.split}, {audit.split_fingerprint}" in shown


def test_text_of_other_items_is_a_reason() -> None:
    audit = run_audit(make(faithful=True, shuffle=True), sampling=QUICK)
    assert audit.alignment_verdict == "not aligned"
    assert audit.verdict == "not sound"
    assert [reason.partition(":")[0] for reason in audit.reasons] == [
        "text is not aligned",
        "category is not aligned",
    ]
    assert describe(audit).splitlines()[-3].startswith("Verdict:        not sound")


def test_one_that_is_not_aligned_is_enough() -> None:
    good, bad = make(faithful=True), make(faithful=True, shuffle=True)
    items = good.items.set_column(
        good.items.column_names.index("category"), "category", bad.items["category"]
    )
    audit = run_audit(Dataset(good.info, items, good.interactions), sampling=QUICK)
    assert [found.verdict for found in audit.alignment] == ["aligned", "not aligned"]
    assert audit.alignment_verdict == "not aligned"


def test_the_published_split_is_checked_where_there_is_one() -> None:
    rows = [("u", "a", "train"), ("u", "b", "train"), ("v", "b", "train"), ("u", "b", "warm/test")]
    data = dataset(
        [(user, item, 0) for user, item, _ in rows] + [("v", "a", 0)],
        parts=[part for *_, part in rows] + ["warm/validation"],
    )
    audit = run_audit(data)
    assert audit.split == "published"
    assert audit.alignment_verdict == "untested"
    assert audit.reasons == ("1 of 1 interactions of warm/test are in training histories",)


def test_what_a_program_reads_is_what_people_read() -> None:
    audit = run_audit(make(faithful=True), split=parse("random"), sampling=QUICK)
    document = json.loads(audit.to_json())
    assert document["verdict"] == "sound"
    assert document["alignment_verdict"] == "aligned"
    assert document["counts"]["users"] == 120
    assert document["counts"]["history"]["middle"] == 8
    assert document["alignment"][0]["of"] == "text"
    assert document["alignment"][0]["lift"] == audit.alignment[0].lift
    assert document["leaks"][1]["part"] == "test"
    assert document["profiles"] is None


def test_numbers_that_are_none_are_null_for_programs() -> None:
    document = json.loads(run_audit(dataset([("u", "a", 0)])).to_json())
    assert document["alignment"][0]["lift"] is None
    assert document["alignment"][0]["verdict"] == "untested"


def profiles_of(tmp_path: Path, audit_of: Dataset, history: list[str]) -> Audit:
    path = tmp_path / "profiles.jsonl"
    path.write_text(json.dumps({"id": "u0", "text": "Likes the sea.", "history": history}) + "\n")
    return run_audit(audit_of, split=parse("random"), profiles=path, sampling=QUICK)


def test_profiles_that_have_seen_the_test_are_a_reason(tmp_path: Path) -> None:
    data = make(faithful=True)
    table = data.interactions
    own = np.asarray(table["item_id"])[np.asarray(table["user_id"]) == "u0"].tolist()
    audit = profiles_of(tmp_path, data, own)
    assert audit.profiles is not None
    assert audit.profiles.leaking == 1
    assert audit.reasons[0].startswith("histories of 1 profiles list")
    assert "Profiles:" in describe(audit)
    assert profiles_of(tmp_path, data, []).reasons == ()


def test_profiles_need_a_split_to_be_checked_against(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="none is given or published"):
        run_audit(make(faithful=True), profiles=tmp_path / "profiles.jsonl")
