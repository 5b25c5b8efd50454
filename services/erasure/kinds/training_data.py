"""Folders of rows that `reclm-train data` writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from services.common.files import write_text
from services.common.hashing import sha256_of
from services.common.manifests import MANIFEST, rows_fingerprint
from services.erasure.kinds.manifests import check_hashes, document_of, no_other_ids, nobody_else
from services.erasure.plan import Plan
from services.erasure.rows import without_lines

if TYPE_CHECKING:
    from pathlib import Path

    from services.erasure.targets import Targets

_QUOTED = (
    "rows of similar users, which may quote the profile without the id: build the folder anew from "
    "the rewritten dataset"
)
_TRAINED = "adapters trained on the rows: train again"


class TrainingDataFolder:
    """JSON lines with a manifest: an id, a kind, a prompt and its answer each."""

    name = "training data"
    exclusive = staticmethod(nobody_else)
    requested_ids = staticmethod(no_other_ids)

    def recognises(self, folder: Path) -> bool:
        """Returns whether the manifest is that of a builder."""
        document = document_of(folder / MANIFEST)
        return document is not None and {"builder", "files", "fingerprint"} <= set(document)

    def plan(self, folder: Path, targets: Targets) -> Plan:
        """Drops the rows, and renews hashes, counts and the fingerprint."""

        def keep(row: dict[str, Any]) -> dict[str, Any] | None:
            return None if row.get("id") in targets.of_kind(row.get("kind", "user")) else row

        manifest = document_of(folder / MANIFEST) or {}
        files = {name: without_lines(folder / name, keep) for name in manifest["files"]}
        writes = {name: file.write for name, file in files.items() if file.write is not None}
        if writes:
            check_hashes(
                folder, {name: record["sha256"] for name, record in manifest["files"].items()}
            )

        def finish(new: Path) -> None:
            records = {
                name: {
                    "rows": file.after,
                    "bytes": (new / name).stat().st_size,
                    "sha256": sha256_of(new / name),
                }
                for name, file in files.items()
            }
            members = {key: value for key, value in manifest.items() if key != "fingerprint"}
            members["files"] = records
            members["fingerprint"] = rows_fingerprint(members)
            write_text(new / MANIFEST, json.dumps(members, indent=2, ensure_ascii=False) + "\n")

        return Plan(
            counts=tuple(file.count(f"rows of {name}") for name, file in files.items()),
            writes=writes,
            finish=finish,
            remains=(_QUOTED, _TRAINED),
        )
