"""Imported datasets (`reclm-recommend data get`, `import`): items and interactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.erasure.kinds.manifests import no_other_ids, nobody_else
from services.erasure.plan import Plan
from services.erasure.rows import without_rows

if TYPE_CHECKING:
    from pathlib import Path

    from services.erasure.targets import Targets

_ITEMS, _INTERACTIONS, _INFO = "items.parquet", "interactions.parquet", "dataset.json"


class DatasetFolder:
    """A dataset. Without somebody it has other splits, so snapshots of its splits do not fit any more."""

    name = "dataset"
    exclusive = staticmethod(nobody_else)
    requested_ids = staticmethod(no_other_ids)

    def recognises(self, folder: Path) -> bool:
        """Returns whether a folder has a dataset's description and its interactions."""
        return (folder / _INFO).is_file() and (folder / _INTERACTIONS).is_file()

    def plan(self, folder: Path, targets: Targets) -> Plan:
        """Drops interactions of the users, and the items with all interactions with them."""
        chosen = without_rows(
            folder / _INTERACTIONS, {"user_id": targets.users, "item_id": targets.items}
        )
        items = without_rows(folder / _ITEMS, {"item_id": targets.items})
        files = {_INTERACTIONS: chosen, _ITEMS: items}
        return Plan(
            counts=(chosen.count("interactions"), items.count("items")),
            writes={name: file.write for name, file in files.items() if file.write is not None},
        )
