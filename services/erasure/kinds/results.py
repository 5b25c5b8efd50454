"""Results of `reclm-recommend benchmark` and `study`: what each run found for each user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.erasure.kinds.manifests import no_other_ids, nobody_else
from services.erasure.plan import Count, Plan
from services.erasure.rows import without_rows

if TYPE_CHECKING:
    from pathlib import Path

    from services.erasure.targets import Targets

_TABLES = ("runs/*/users.parquet", "runs/*/new-users.parquet", "runs/*/ranks.parquet")

_CHECKPOINTS = (
    "checkpoints of interrupted runs, with vectors of users by the row of the dataset: delete the "
    "folders of such runs, or let them finish"
)


class ResultsFolder:
    """Runs with a table of users each; the tables and pages beside them name nobody."""

    name = "results"
    exclusive = staticmethod(nobody_else)
    requested_ids = staticmethod(no_other_ids)

    def recognises(self, folder: Path) -> bool:
        """Returns whether any run has a table of users."""
        return any(True for pattern in _TABLES for _ in folder.glob(pattern))

    def plan(self, folder: Path, targets: Targets) -> Plan:
        """Drops the users' rows. Means in `result.json` stay; comparisons are of the others now."""
        files = {
            path.relative_to(folder).as_posix(): without_rows(path, {"user_id": targets.users})
            for pattern in _TABLES
            for path in sorted(folder.glob(pattern))
        }
        before, after = (
            sum(getattr(file, when) for file in files.values()) for when in ("before", "after")
        )
        return Plan(
            counts=(Count("metrics and ranks of users", before, after),),
            writes={name: file.write for name, file in files.items() if file.write is not None},
            remains=(_CHECKPOINTS,),
        )
