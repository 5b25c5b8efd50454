"""Whoever has a bundle's files alone scores as the model does; the registry says which there are."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from scipy import sparse

from recommenders.export import bundle
from recommenders.export.bundle import write_bundle
from recommenders.export.errors import ExportError
from recommenders.export.trained import Provenance, Trained
from recommenders.models.registry import MODELS
from recommenders.models.terms import HasTerms
from recommenders.trainer import TrainerConfig
from tests.recommenders.export.reader import Reader
from tests.recommenders.models.worlds import fitted, world

if TYPE_CHECKING:
    from pathlib import Path

SHORT = TrainerConfig(max_steps=9, batch_size=128, learning_rate=0.02)
WAYS: dict[str, dict[str, Any]] = {
    "base": {},
    "augmented": {"variant": "augmented"},
    "added": {"variant": "augmented", "fusion": "add", "items": "both"},
    "ids": {"items": "ids"},
    "pointwise": {"variant": "augmented", "loss": "bce"},
    "own biases": {"items": "ids", "item_bias": "ids", "loss": "bce"},
    "without own layer": {"items": "ids", "own_layer": False},
    "no biases": {"items": "ids", "item_bias": "none"},
    "of items": {"variant": "augmented", "new_user_profiles": "items", "draws": 3},
    "prior": {"prior_weight": 0.5},
    "new users": {"variant": "augmented", "user_dropout": 0.5, "fold_in": "credible"},
}
NAMES = [name for name in MODELS if name not in {"ncf", "neumf", "ials", "random"}]
CASES = [
    pytest.param(name, way, id=f"{name}-{way}")
    for name in NAMES
    for way, options in WAYS.items()
    if options.keys() <= MODELS[name].config.model_fields.keys()
]
GATE = {"metric": "ndcg@20", "level": 0.95, "margin": 0.005, "segments": []}
HERE = world(blocks=3, cold_items=2, cold_users=2)


@functools.cache
def trained(name: str, way: str) -> Trained:
    model = fitted(name, HERE.inputs, WAYS[way], training=SHORT)
    options = MODELS[name].config.model_validate(WAYS[way]).model_dump(mode="json")
    return Trained(
        model=model,
        provenance=Provenance(
            model={"name": name, "options": options},
            dataset={"name": "blocks", "fingerprint": "0123456789abcdef"},
            split={"name": "none", "fingerprint": "fedcba9876543210"},
            encoder={"name": "encoder", "hash": "abc"},
            profiles=None,
            user_profiles="own",
            seed=1,
            metrics={"warm/test/recall@20": 0.5},
            gate=GATE,
        ),
        item_ids=[f"i{row}" for row in range(HERE.inputs.n_items)],
        user_ids=[f"u{row}" for row in range(HERE.inputs.n_users)],
        train=HERE.inputs.train,
    )


def matrix(rows: list[list[int]]) -> sparse.csr_array:
    dense = np.zeros((len(rows), HERE.inputs.n_items), np.float32)
    for place, row in enumerate(rows):
        dense[place, row] = 1
    return sparse.csr_array(dense)


def near(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_all_models_but_four_can_be_exported() -> None:
    assert set(NAMES) == {
        *("bias_mf", "lightgcn", "sgl", "simgcl", "alpharec"),
        *("popularity", "ease", "text_ease", "kernel_ridge", "linear_tower"),
    }


@pytest.mark.parametrize(("name", "way"), CASES)
def test_a_bundle_scores_as_its_model_does(name: str, way: str, tmp_path: Path) -> None:
    one = trained(name, way)
    assert isinstance(one.model, HasTerms)
    model: Any = one.model
    reader = Reader(write_bundle(one, tmp_path).folder)
    profiles = HERE.inputs.user_profiles
    assert profiles is not None
    reads = way in {"augmented", "added", "pointwise", "new users", "of items"} and name in {
        *("bias_mf", "lightgcn", "sgl", "simgcl", "alpharec", "linear_tower"),
    }
    assert reader.manifest["profile_dimension"] == (profiles.shape[1] if reads else 0)
    assert reader.manifest["encoder"] == ({"name": "encoder", "hash": "abc"} if reads else None)

    warm = np.setdiff1d(np.arange(HERE.inputs.n_users), HERE.cold_users)
    assert reader.user_ids == [f"u{row}" for row in warm]
    scores = model.scores(warm, HERE.inputs.train[warm])
    for place, row in enumerate(warm.tolist()):
        near(reader.known(f"u{row}"), scores[place])

    cold_item = int(HERE.cold_items[0])
    histories = [[0], [0, 1, 2], [12, cold_item], [cold_item], []]
    for history in histories:
        near(reader.new_user(history), model.new_user_scores(matrix([history]))[0])
        cold = HERE.cold_users[:1]
        asked = model.new_user_scores(matrix([history]), profiles[cold])[0]
        near(reader.new_user(history, profiles[cold][0]), asked)
        # A new user who has a row in the model is scored like one who has none.
        near(model.scores(cold, matrix([history]))[0], asked)
        if reads and history:
            assert np.abs(asked - reader.new_user(history)).max() > 1e-4


def test_rows_of_a_batch_are_scored_alone(tmp_path: Path) -> None:
    reader = Reader(write_bundle(trained("lightgcn", "augmented"), tmp_path).folder)
    rng = np.random.default_rng(0)
    history = reader.arrays["history_vectors"]
    profiles = HERE.inputs.user_profiles
    assert profiles is not None
    feed = {
        "pooled": history[:4] + history[4:8],
        "count": np.full((4, 1), 2, np.float32),
        "profile": profiles[:4],
        "has_profile": rng.integers(0, 2, (4, 1)).astype(np.float32),
    }
    assert reader.tower is not None
    (whole,) = reader.tower.run(["vector"], feed)
    for row in range(4):
        (one,) = reader.tower.run(["vector"], {k: v[row : row + 1] for k, v in feed.items()})
        near(one[0], whole[row])


def test_a_bundle_says_what_it_is(tmp_path: Path) -> None:
    written = write_bundle(trained("bias_mf", "augmented"), tmp_path, name="first")
    assert written.folder == tmp_path / "first"
    assert written.bytes == sum(path.stat().st_size for path in written.folder.iterdir())
    manifest = json.loads((written.folder / "manifest.json").read_bytes())
    assert manifest["format"] == 2
    assert manifest["gate"] == GATE
    assert (manifest["name"], manifest["kind"]) == ("first", "factors")
    assert manifest["model"]["name"] == "bias_mf"
    assert manifest["model"]["options"]["user_profiles"] == "own"
    assert manifest["split"]["fingerprint"] == "fedcba9876543210"
    assert manifest["metrics"] == {"warm/test/recall@20": 0.5}
    assert (manifest["n_items"], manifest["n_users"]) == (30, 24)
    tower = onnx.load(written.folder / "user_tower.onnx")
    assert [one.version for one in tower.opset_import] == [17]
    assert [one.name for one in tower.graph.input] == ["pooled", "count", "profile", "has_profile"]


def test_the_items_nearest_to_an_item_are_those_of_its_block(tmp_path: Path) -> None:
    reader = Reader(write_bundle(trained("ease", "base"), tmp_path).folder)
    rows, scores = reader.arrays["neighbours_indices"], reader.arrays["neighbours_scores"]
    assert rows.shape == scores.shape == (30, 20)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert not (rows == np.arange(30)[:, None]).any()
    blocks = HERE.item_blocks
    warm = np.setdiff1d(np.arange(30), HERE.cold_items)
    assert (blocks[rows[warm, :7]] == blocks[warm, None]).all()


def test_a_default_name_stands_for_the_content(tmp_path: Path) -> None:
    first = write_bundle(trained("popularity", "base"), tmp_path / "a").folder.name
    assert first.startswith("popularity-")
    assert write_bundle(trained("popularity", "base"), tmp_path / "b").folder.name == first
    assert write_bundle(trained("ease", "base"), tmp_path / "b").folder.name != first


def test_a_name_that_is_in_use_or_is_none_is_refused(tmp_path: Path) -> None:
    write_bundle(trained("popularity", "base"), tmp_path, name="one")
    before = (tmp_path / "one" / "manifest.json").read_bytes()
    with pytest.raises(ExportError, match="there already"):
        write_bundle(trained("ease", "base"), tmp_path, name="one")
    assert (tmp_path / "one" / "manifest.json").read_bytes() == before
    for name in ("", "..", ".hidden", "a/b", "x" * 65, "a b", "one\n"):
        with pytest.raises(ExportError, match="not a valid name for a bundle"):
            write_bundle(trained("popularity", "base"), tmp_path, name=name)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_nothing_is_left_of_a_bundle_that_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle, "_write_rows", full)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(trained("popularity", "base"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_not_finite_do_not_go_online(tmp_path: Path) -> None:
    one = trained("popularity", "base")
    broken: Any = type(one.model)(
        n_users=HERE.inputs.n_users, counts=np.full(HERE.inputs.n_items, np.nan, np.float32)
    )
    damaged = Trained(
        model=broken,
        provenance=one.provenance,
        item_ids=one.item_ids,
        user_ids=one.user_ids,
        train=one.train,
    )
    with pytest.raises(ExportError, match="item_bias of the model has numbers that are not finite"):
        write_bundle(damaged, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "why"), [("ncf", "no product of two vectors"), ("random", "scores are random")]
)
def test_what_cannot_be_exported_says_why(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=rf"{name} cannot be exported: .*{why}"):
        write_bundle(trained(name, "base"), tmp_path / "bundles")
    assert not (tmp_path / "bundles").exists()


def test_a_trained_model_is_read_as_it_was_saved(tmp_path: Path) -> None:
    one = trained("ease", "base")
    one.save(tmp_path / "model")
    read = Trained.read(tmp_path / "model")
    assert read.provenance == one.provenance
    assert (read.train != one.train).nnz == 0
    first = write_bundle(one, tmp_path / "a").folder
    assert write_bundle(read, tmp_path / "b").folder.name == first.name
    with pytest.raises(ExportError, match="there already"):
        one.save(tmp_path / "model")
    (tmp_path / "model" / "users.parquet").write_bytes(b"nothing")
    with pytest.raises(ExportError, match="cannot be read"):
        Trained.read(tmp_path / "model")
    with pytest.raises(ExportError, match=r"trained\.json is missing"):
        Trained.read(tmp_path / "elsewhere")
