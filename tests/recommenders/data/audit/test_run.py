from __future__ import annotations

import json
from collections import Counter
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
    plan = parse({"kind": "cold-items", "share": 0.4})
    audit = run_audit(tmp_path / "towns", split=plan, sampling=QUICK)
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
    assert audit.reasons[0] == "1 of 1 interactions of warm/test are in training histories"


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
    assert document["times"]["kind"] == "clock"
    assert document["power"][1]["detectable"] == audit.power[1].detectable
    assert document["text_leaks"][0]["by"] == "words"


def test_a_split_that_asks_of_few_users_is_not_sound() -> None:
    data = make(faithful=True)
    late = 1 + max(data.interactions["timestamp"].to_pylist())
    rows = [
        (row["user_id"], row["item_id"], row["timestamp"]) for row in data.interactions.to_pylist()
    ]
    for part in (late, late + 10):
        # Eight users come back twice, for what they have not had.
        for user in [f"u{number}" for number in range(8)]:
            had = {item for name, item, _ in rows if name == user}
            rows += [
                (
                    user,
                    next(i for i in sorted(f"i{n:03}" for n in range(150)) if i not in had),
                    part,
                )
            ]
    few = dataset(
        rows,
        items=data.items["item_id"].to_pylist(),
        titles=data.items["title"].to_pylist(),
        categories=data.items["category"].to_pylist(),
    )
    plan = parse({"kind": "time", "cuts": [late, late + 10]})
    audit = run_audit(few, split=plan, sampling=QUICK)
    assert audit.alignment_verdict == "aligned"
    assert audit.reasons[0] == "warm/validation asks about 8 users; below 50 nothing can be said"
    assert audit.verdict == "not sound"


def test_a_split_by_positions_is_not_sound_and_one_by_their_order_is() -> None:
    data = make(faithful=True)
    place: Counter[str] = Counter()
    # Items with a low number come early, for all users, but for some disorder.
    rows = [(row["user_id"], row["item_id"]) for row in data.interactions.to_pylist()]
    rng = np.random.default_rng(0)
    keys = [int(item[1:]) + rng.normal(0, 60) for _, item in rows]
    choices = []
    for index in np.argsort(keys):
        user, item = rows[index]
        choices.append((user, item, place[user]))
        place[user] += 1
    sequences = dataset(
        choices,
        items=data.items["item_id"].to_pylist(),
        titles=data.items["title"].to_pylist(),
        categories=data.items["category"].to_pylist(),
    )
    ordered = run_audit(sequences, split=parse("leave-last-out"), sampling=QUICK)
    assert ordered.times.order == "meaningful"
    assert ordered.verdict == "sound"
    by_time = parse({"kind": "time", "cuts": [6, 7]})
    (reason, *_) = run_audit(sequences, split=by_time, sampling=QUICK).reasons
    assert reason.startswith("split time: the times are positions in each user's sequence")
    assert "Clock:          none: positions (meaningful, p = 0.005)" in describe(ordered)


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
