"""Writes a scorer bundle: the files with which a service scores without the model's code.

A bundle is written in a temporary folder and renamed, so that a folder with its name is complete.
Its manifest has a checksum of every file. A name is never used for another bundle. The service's
reader owns the constants of the format (`services.profiles.scoring`).
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_client.schemas.fields import to_milliseconds
from recommenders.export.errors import ExportError
from recommenders.export.neighbours import nearest
from recommenders.export.towers import onnx_tower
from recommenders.export.trained import refuse_occupied, write_ids
from recommenders.models.terms import FactorTerms, HasTerms, Terms
from services.common.files import sync, write_json
from services.common.hashing import sha256_of
from services.profiles.scoring.bundle import TOWER
from services.profiles.scoring.manifest import FILE, FORMAT, NAME

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reclm_client import Erasures
    from recommenders.export.trained import Trained

NEIGHBOURS = 20
"""Neighbours of an item in a bundle."""

_WHY_NOT = {
    "ncf": "its score runs a network over each pair of user and item, and is no product of two "
    "vectors",
    "neumf": "its score runs a network over each pair of user and item, and is no product of two "
    "vectors",
    "ials": "the vector of a new user is the solution of a system of equations of its own",
    "random": "its scores are random",
}


@dataclass(frozen=True, slots=True)
class Written:
    """A bundle that was written: its folder, and the sum of its files' sizes."""

    folder: Path
    bytes: int


def write_bundle(
    trained: Trained, bundles: Path, *, name: str | None = None, erasures: Erasures | None = None
) -> Written:
    """Writes a model's bundle atomically.

    Args:
        trained: The model.
        bundles: The folder of bundles; it is made if it does not exist.
        name: Name of the bundle and of its folder; by default the model's name with a hash of the
            content.
        erasures: Users to leave out; None if it is not known who was erased.

    Raises:
        ExportError: The model cannot be exported, or the name is in use or not valid.
    """
    terms = terms_of(trained)
    if name is not None:
        if not re.fullmatch(NAME, name):
            raise ExportError(
                f"{name!r} is not a valid name for a bundle: at most 64 letters, digits, '.', '_' "
                "and '-', not beginning with '.'"
            )
        refuse_occupied(bundles / name)
    bundles.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bundles, prefix=".export-") as scratch:
        new = Path(scratch, "new")
        new.mkdir()
        warm = _kept_users(trained, erasures)
        _write_terms(new, terms, warm)
        _write_rows(new, trained, warm)
        files = {path.name: _record(path) for path in sorted(new.iterdir())}
        manifest = _manifest(trained, terms, files) | {"n_users": len(warm)}
        if erasures is not None:
            manifest["erasures_as_of"] = to_milliseconds(erasures.as_of)
        name = name or _default_name(trained, files)
        write_json(new / FILE, {"format": FORMAT, "name": name, **manifest})
        for path in new.iterdir():
            sync(path)
        folder = bundles / name
        refuse_occupied(folder)
        try:
            new.rename(folder)
        except OSError as error:  # another process has written it in the meantime
            raise ExportError(f"{folder} cannot be written: {error.strerror}") from error
    return Written(folder, sum(path.stat().st_size for path in folder.iterdir()))


def _kept_users(trained: Trained, erasures: Erasures | None) -> NDArray[np.int64]:
    """Returns the rows of the users with training interactions who were not erased, ascending."""
    warm = np.flatnonzero(np.diff(trained.train.indptr)).astype(np.int64)
    if erasures is None:
        return warm
    stays = [trained.user_ids[row] not in erasures.erased for row in warm.tolist()]
    return warm[np.array(stays, np.bool_)]


def terms_of(trained: Trained) -> Terms:
    """Returns the terms from which a model's scores are computed.

    Raises:
        ExportError: The model has no such terms; the message says why.
    """
    if not isinstance(trained.model, HasTerms):
        name = trained.provenance.model["name"]
        raise ExportError(f"{name} cannot be exported: {_WHY_NOT.get(name, 'it has no terms')}")
    return trained.model.terms()


def _write_terms(folder: Path, terms: Terms, warm: NDArray[np.int64]) -> None:
    if isinstance(terms, FactorTerms):
        arrays = {
            "item_vectors": terms.item_vectors,
            "item_bias": terms.item_bias,
            "history_vectors": terms.history_vectors,
            "user_vectors": terms.user_vectors[warm],
        }
        tower = onnx_tower(
            terms.tower,
            pooled=terms.history_vectors.shape[1],
            profile=terms.profile_dimension,
            vector=terms.item_vectors.shape[1],
        )
        (folder / TOWER).write_bytes(tower.SerializeToString(deterministic=True))
        vectors = terms.item_vectors
    else:
        arrays = {
            "item_weights": terms.item_weights,
            "item_bias": terms.item_bias,
            "item_prior": terms.prior,
        }
        vectors = terms.item_weights.T
    rows, scores = nearest(vectors, NEIGHBOURS)
    for name, array in arrays.items():
        _save(folder, name, array, np.float32)
    _save(folder, "neighbours_indices", rows, np.int32)
    _save(folder, "neighbours_scores", scores, np.float32)


def _write_rows(folder: Path, trained: Trained, warm: NDArray[np.int64]) -> None:
    """Writes the ids of the rows: all items, and the users with training interactions."""
    write_ids(folder / "items.parquet", "item_id", trained.item_ids)
    ids = [trained.user_ids[row] for row in warm.tolist()]
    write_ids(folder / "users.parquet", "user_id", ids)
    seen = trained.train[warm].sorted_indices()
    _save(folder, "seen_indptr", seen.indptr, np.int64)
    _save(folder, "seen_indices", seen.indices, np.int32)


def _save(folder: Path, name: str, array: NDArray[Any], kind: type[np.generic]) -> None:
    # Row-major: the service screens all items in bytes, then reads the vectors of a few hundred.
    whole = np.ascontiguousarray(array, dtype=kind)
    if np.issubdtype(kind, np.floating) and not np.isfinite(whole).all():
        raise ExportError(f"{name} of the model has numbers that are not finite; train it again")
    np.save(folder / f"{name}.npy", whole, allow_pickle=False)


def _record(path: Path) -> dict[str, Any]:
    return {"sha256": sha256_of(path), "bytes": path.stat().st_size}


def _manifest(trained: Trained, terms: Terms, files: dict[str, Any]) -> dict[str, Any]:
    source = trained.provenance
    factors = isinstance(terms, FactorTerms)
    profiled = terms.profile_dimension if isinstance(terms, FactorTerms) else 0
    options = dict(source.model["options"])
    if profiled:
        options["user_profiles"] = source.user_profiles
    return {
        "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "kind": "factors" if factors else "weights",
        "model": {"name": source.model["name"], "options": options},
        "dataset": source.dataset,
        "split": source.split,
        "encoder": source.encoder if profiled else None,
        "profiles": source.profiles if profiled else None,
        "n_items": len(trained.item_ids),
        "dimension": terms.item_vectors.shape[1] if isinstance(terms, FactorTerms) else 0,
        "history_dimension": (
            terms.history_vectors.shape[1] if isinstance(terms, FactorTerms) else 0
        ),
        "profile_dimension": profiled,
        "seed": source.seed,
        "metrics": source.metrics,
        "gate": source.gate if profiled else None,
        "files": files,
    }


def _default_name(trained: Trained, files: dict[str, Any]) -> str:
    content = json.dumps([trained.provenance.split, files], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    return f"{trained.provenance.model['name'].replace('_', '-')}-{digest}"
