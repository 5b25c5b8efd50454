"""The receipt of an erasure: what was erased where, and what may still hold copies.

It names nobody: an id is in it as a hash with a salt of the receipt's own. Who knows an id can check
that it is the one; who only has the receipt has to guess.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from reclm_client import Copy, Kind
    from services.erasure.folders import FolderReport
    from services.erasure.service import Held

FORMAT = 1


@dataclass(frozen=True, slots=True)
class FromService:
    """What the service held of one target.

    Attributes:
        before: When the command began.
        after: When the service had erased it; None in a dry run.
    """

    kind: Kind
    id: str
    before: Held
    after: Held | None


@dataclass(kw_only=True, slots=True)
class Receipt:
    """What one run of the command did.

    Attributes:
        url: The service's; None without one.
        erased: For each target what the service held.
        activated: Bundles that were rewritten while they were active, and activated again.
        targets: All targets, in order.
        failures: What went wrong, a line each; none if everything is erased.
    """

    dry_run: bool
    url: str | None
    targets: list[tuple[Kind, str]]
    erased: list[FromService] = field(default_factory=list)
    folders: list[FolderReport] = field(default_factory=list)
    activated: list[str] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    salt: str = field(default_factory=lambda: secrets.token_hex(16))
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def document(self) -> dict[str, Any]:
        """Returns the receipt as JSON members."""
        return {
            "format": FORMAT,
            "at": self.at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "dry_run": self.dry_run,
            "complete": not self.failures,
            "id_hash": {"algorithm": "SHA-256 of salt, a colon and the id", "salt": self.salt},
            "targets": [
                {"kind": kind, "id_hash": id_hash(self.salt, id_)} for kind, id_ in self.targets
            ],
            "service": None if self.url is None else self._service(self.url),
            "folders": [_folder(report) for report in self.folders],
            "remains": [
                *(asdict(copy) for copy in self.copies),
                *(
                    {"where": f"{report.path}: {what}", "until": "see there", "ended_by": None}
                    for report in self.folders
                    for what in report.remains
                ),
                {
                    "where": "backups, and copies of folders that this command was not given",
                    "until": "they are deleted",
                    "ended_by": "erase again after a backup was restored",
                },
            ],
            "failures": self.failures,
        }

    def _service(self, url: str) -> dict[str, Any]:
        return {
            "url": _without_credentials(url),
            "erased": [
                {
                    "kind": one.kind,
                    "id_hash": id_hash(self.salt, one.id),
                    "before": asdict(one.before),
                    "after": None if one.after is None else asdict(one.after),
                }
                for one in self.erased
            ],
            "activated": self.activated,
        }


def id_hash(salt: str, id_: str) -> str:
    """Returns the hash that stands for an id in a receipt with this salt."""
    return hashlib.sha256(f"{salt}:{id_}".encode()).hexdigest()


def _folder(report: FolderReport) -> dict[str, Any]:
    return {
        "path": str(report.path),
        "kind": report.kind,
        "changed": report.changed,
        "rows": [asdict(count) for count in report.counts],
    }


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
