"""Checks that a bundle was trained on profiles of the service's version and on vectors of its size.

To a tower that was trained on the vectors of one encoder, those of another are noise, and the scores
do not show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles.errors import MismatchedBundle

if TYPE_CHECKING:
    from services.profiles.domain.profile import Component, ProfileVersion
    from services.profiles.scoring.manifest import BundleManifest

_PARTS = ("base_model", "adapter", "prompt", "encoder")


def check(manifest: BundleManifest, version: ProfileVersion, dimension: int | None = None) -> None:
    """Compares a bundle's encoder and profile version with those of the service.

    Args:
        manifest: The bundle's.
        version: The service's.
        dimension: Numbers in a vector of the service's encoder; None if that is not known yet.

    Raises:
        MismatchedBundle: They differ; the message names each difference.
    """
    differences: list[dict[str, str]] = []
    reads = manifest.profile_dimension
    if dimension is not None and reads not in {0, dimension}:
        differences.append(_sizes(reads, dimension))
    if manifest.encoder is not None:
        _compare("encoder", manifest.encoder.to_component(), version.encoder, differences)
    if manifest.profiles is not None:
        trained = manifest.profiles.to_version()
        for part in _PARTS:
            _compare(
                f"profiles.{part}", getattr(trained, part), getattr(version, part), differences
            )
    if differences:
        raise _mismatched(manifest.name, differences)


def check_vector(manifest: BundleManifest, dimension: int) -> None:
    """Checks the size of a profile's vector before a bundle reads it.

    Raises:
        MismatchedBundle: The bundle reads vectors of another size; the message names both.
    """
    if dimension != manifest.profile_dimension:
        raise _mismatched(manifest.name, [_sizes(manifest.profile_dimension, dimension)])


def _mismatched(name: str, differences: list[dict[str, str]]) -> MismatchedBundle:
    said = "; ".join(
        f"{one['what']} is {one['bundle']} in the bundle and {one['service']} in the service"
        for one in differences
    )
    return MismatchedBundle(
        f"{name} does not fit this service: {said}. Run the service with what the bundle was "
        "trained on, or train on this service's profiles and export again",
        differences=differences,
    )


def _sizes(bundle: int, service: int) -> dict[str, str]:
    return {
        "what": "vector dimension",
        "bundle": f"{bundle} numbers",
        "service": f"{service} numbers",
    }


def _compare(
    what: str, bundle: Component | None, service: Component | None, into: list[dict[str, str]]
) -> None:
    if bundle != service:
        into.append({"what": what, "bundle": _said(bundle), "service": _said(service)})


def _said(part: Component | None) -> str:
    return "none" if part is None else f"{part.name} ({part.hash})"
