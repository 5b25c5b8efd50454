"""One erasure from beginning to end: first at the service, so that nothing comes back; then in folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.erasure.errors import ErasureError
from services.erasure.folders import erase_from
from services.erasure.kinds.bundle import BundleFolder
from services.erasure.kinds.registry import expanded, kind_of
from services.erasure.receipt import FromService, Receipt
from services.erasure.service import ServiceEraser, accepted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from reclm_client import Kind
    from services.erasure.targets import Targets


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """What to do.

    Attributes:
        targets: Whom to erase.
        folders: Folders to rewrite, or folders of such folders.
        url: URL of the service; None rewrites folders only.
        dry_run: Only count.
    """

    targets: Targets
    folders: Sequence[Path]
    url: str | None
    dry_run: bool = False


def erase(erasure: Erasure, *, progress: Callable[[str], object]) -> Receipt:
    """Erases, and returns the receipt; its `failures` say what is not erased.

    Args:
        erasure: What to do.
        progress: Called with a line for each step.

    Raises:
        ErasureError: A folder is of no known kind; nothing was erased anywhere.
    """
    folders = expanded(erasure.folders)
    # Refused before anything is erased anywhere.
    kinds = {folder: kind_of(folder) for folder in folders}
    receipt = Receipt(
        dry_run=erasure.dry_run, url=erasure.url, targets=list(erasure.targets.each())
    )
    if erasure.url is not None:

        def all_ids(id_: str) -> tuple[str, ...]:
            further = {
                other for folder in folders for other in kinds[folder].requested_ids(folder, id_)
            }
            return accepted([id_, *sorted(further)])

        try:
            _at_service(erasure, erasure.url, all_ids, receipt, progress)
        except ErasureError as error:
            # Until the service refuses them, its jobs would write them into the folders again.
            receipt.failures.append(f"{error}. No folder was rewritten")
            return receipt
    for folder in folders:
        try:
            report = erase_from(folder, erasure.targets, dry_run=erasure.dry_run)
        except ErasureError as error:
            receipt.failures.append(str(error))
            continue
        receipt.folders.append(report)
        done = "would be rewritten" if erasure.dry_run else "rewritten"
        progress(f"{folder}: {report.kind}, {done if report.changed else 'holds none of them'}")
    if erasure.url is not None and not erasure.dry_run:
        _activate_again(erasure.url, receipt, progress)
    return receipt


def _at_service(
    erasure: Erasure,
    url: str,
    all_ids: Callable[[str], tuple[str, ...]],
    receipt: Receipt,
    progress: Callable[[str], object],
) -> None:
    with ServiceEraser(url) as service:
        for kind, id_ in erasure.targets.each():
            receipt.erased.append(_one(service, kind, id_, all_ids(id_), dry_run=erasure.dry_run))
        receipt.copies.extend(service.copies())
    had = sum(one.before.profiles for one in receipt.erased)
    done = "would be erased" if erasure.dry_run else "erased"
    progress(f"{url}: {len(receipt.erased)} id(s) {done}, {had} profile(s) among what they had")


def _activate_again(url: str, receipt: Receipt, progress: Callable[[str], object]) -> None:
    """Activates the active bundle again if it is among the folders: its content has changed.

    A run before may have rewritten it and not come this far, so it need not have changed now.
    """
    bundles = {report.path.name for report in receipt.folders if report.kind == BundleFolder.name}
    if not bundles:
        return
    try:
        with ServiceEraser(url) as service:
            activated = service.activate_again(bundles)
    except ErasureError as error:
        receipt.failures.append(
            f"a rewritten bundle may be active and was not activated again: {error}"
        )
        return
    receipt.activated.extend(activated)
    for name in activated:
        progress(f"{url}: activated {name} again")


def _one(
    service: ServiceEraser, kind: Kind, id_: str, ids: tuple[str, ...], *, dry_run: bool
) -> FromService:
    before = service.held(kind, ids)
    if dry_run:
        return FromService(kind, id_, before, None)
    service.erase(kind, ids)
    return FromService(kind, id_, before, service.held(kind, ids))
