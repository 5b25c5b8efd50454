"""Snapshots of `reclm-recommend features`, finished ones and those that are being made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.common import profile_tables
from services.common.files import write_json
from services.erasure.errors import ErasureError
from services.erasure.kinds.manifests import document_of, nobody_else
from services.erasure.plan import Plan
from services.erasure.rows import without_lines, without_rows

if TYPE_CHECKING:
    from pathlib import Path

    from services.erasure.rows import Rewritten
    from services.erasure.targets import Targets

_MANIFEST, _REQUEST = "manifest.json", "request.json"
_TABLES = {"user": "users.parquet", "item": "items.parquet"}
_JOURNALS = {"user": "users.ndjson", "item": "items.ndjson"}


class SnapshotFolder:
    """A finished snapshot: tables of profiles, and a fingerprint over them."""

    name = "snapshot"
    exclusive = staticmethod(nobody_else)

    def recognises(self, folder: Path) -> bool:
        """Returns whether the manifest is that of a snapshot."""
        document = document_of(folder / _MANIFEST)
        return document is not None and {"dataset", "split", "encoder", "fingerprint"} <= set(
            document
        )

    def plan(self, folder: Path, targets: Targets) -> Plan:
        """Drops the profiles, and renews the fingerprint."""
        files = {
            kind: without_rows(folder / name, {"id": targets.of_kind(kind)})
            for kind, name in _TABLES.items()
            if (folder / name).is_file()
        }
        plan = _plan(files, _TABLES)
        if not plan.changes:
            return plan
        manifest = document_of(folder / _MANIFEST) or {}
        if _fingerprint(folder, manifest) != manifest["fingerprint"]:
            raise ErasureError(
                f"{folder}: the profiles differ from {_MANIFEST}; make the snapshot anew or delete "
                "it, then run the command again"
            )
        return Plan(
            counts=plan.counts,
            writes=plan.writes,
            finish=lambda new: write_json(
                new / _MANIFEST, {**manifest, "fingerprint": _fingerprint(new, manifest)}
            ),
        )

    def requested_ids(self, folder: Path, id_: str) -> tuple[str, ...]:
        """Returns the id under which the service was asked for this profile."""
        return _requested(document_of(folder / _MANIFEST) or {}, id_)


class UnfinishedSnapshot:
    """What an interrupted `features` keeps beside its snapshot: the profiles received so far."""

    name = "unfinished snapshot"
    exclusive = staticmethod(nobody_else)

    def recognises(self, folder: Path) -> bool:
        """Returns whether there is a request for a snapshot, and no snapshot."""
        document = document_of(folder / _REQUEST)
        return document is not None and {"dataset", "split", "version"} <= set(document)

    def plan(self, folder: Path, targets: Targets) -> Plan:
        """Drops the profiles from the journals."""

        def without(kind: str, name: str) -> Rewritten:
            gone = targets.of_kind(kind)
            return without_lines(folder / name, lambda row: None if row.get("id") in gone else row)

        files = {
            kind: without(kind, name)
            for kind, name in _JOURNALS.items()
            if (folder / name).is_file()
        }
        return _plan(files, _JOURNALS)

    def requested_ids(self, folder: Path, id_: str) -> tuple[str, ...]:
        """Returns the id under which the service was asked for this profile."""
        return _requested(document_of(folder / _REQUEST) or {}, id_)


def _plan(files: dict[str, Rewritten], names: dict[str, str]) -> Plan:
    return Plan(
        counts=tuple(file.count(f"profiles of {kind}s") for kind, file in files.items()),
        writes={names[kind]: file.write for kind, file in files.items() if file.write is not None},
    )


def _fingerprint(folder: Path, manifest: dict[str, Any]) -> str:
    info = {name: value for name, value in manifest.items() if name != "fingerprint"}
    digests: list[str | None] = []
    for name in _TABLES.values():
        path = folder / name
        if not path.is_file():
            digests.append(None)
            continue
        try:
            table = pq.read_table(path, columns=list(profile_tables.COLUMNS), partitioning=None)
            digests.append(profile_tables.digest(*profile_tables.columns_of(table)))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ErasureError(f"{path} cannot be read: {error}") from error
    return profile_tables.fingerprint(info, digests)


def _requested(document: dict[str, Any], id_: str) -> tuple[str, ...]:
    if document.get("split") is None:  # no users, or profiles from files
        return ()
    prefix = profile_tables.request_prefix(
        document["dataset"], document["split"], document.get("known")
    )
    return (prefix + id_,)
