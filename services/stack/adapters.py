"""An adapter, published or shipped, as the stack serves it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from services.assets.install import Asset, install
from services.assets.manifest import Origin
from services.common.errors import ArtifactError
from services.common.manifests import content_hash
from services.stack.errors import StackError

SHIPPED = "reclm-seed-1"
"""The adapter that comes with RecLM; its README says how it was trained."""

_MERGED_FROM = "adapter"
"""In the manifest of a model that `reclm-train` merged: the adapter's digest."""
_SHIPPED_IN = Path(__file__).parents[1] / "adapters"
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as the largest rank."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter in RecLM's home, or one that came with RecLM.

    Attributes:
        name: Under which it was published, and is served.
        folder: Of the adapter.
        merged: Where its merged model is, or will be.
        base_model: Name of the model that it was trained on.
        base_hash: Of that model's content.
        licence: Of that model.
        rank: Of its factors.
        digest: Short hash of its content.
    """

    name: str
    folder: Path
    merged: Path
    base_model: str
    base_hash: str
    licence: str
    rank: int
    digest: str

    @property
    def max_rank(self) -> int:
        """The smallest rank that vLLM can be told and this one fits in."""
        return next((rank for rank in _RANKS if rank >= self.rank), _RANKS[-1])

    @property
    def settings(self) -> dict[str, str]:
        """Returns the RECLM_* variables that have the service ask for it and say its version."""
        return {"RECLM_ADAPTER": self.name, "RECLM_ADAPTER_HASH": self.digest}

    def require_base(self, model: Path) -> None:
        """Makes sure that a model is the one that it was trained on.

        Raises:
            StackError: It is another.
        """
        if self.base_hash != (there := content_hash(model)):
            raise StackError(
                f"adapter {self.name} was trained on {self.base_model} ({self.base_hash}), and {model} "
                f"is {there}; get the model again, or leave the adapter out with --no-adapter"
            )

    def fold_into(self, base: Path) -> None:
        """Makes the merged model, which a CPU serves eleven times as fast as base and adapter.

        Args:
            base: Folder of the model that it was trained on.

        Raises:
            StackError: It was trained on another model, or a package is missing.
            AssetError: As `fold` does.
        """
        try:
            from services.assets.folding import fold
        except ImportError as error:
            raise StackError(
                f"folding adapter {self.name} in needs a package that is missing ({error}): pip install "
                "'reclm[assets]', or leave the adapter out with --no-adapter"
            ) from error
        self.require_base(base)
        source = f"{self.base_model} ({self.base_hash}) with adapter {self.digest}"
        origin = Origin(self.name, source, self.licence)
        install(
            Asset(origin, 0, lambda target, _: fold(base, self.folder, target)),
            self.merged,
            force=False,
        )


def find_adapter(home: Path, name: str) -> Adapter:
    """Returns a published adapter, or the one that comes with RecLM.

    Raises:
        StackError: There is none of that name, or it is damaged.
    """
    folder = (_SHIPPED_IN if name == SHIPPED else home / "adapters") / name
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        digest = content_hash(folder)
        return Adapter(
            name=name,
            folder=folder,
            merged=_merged(home / "models", name, digest),
            base_model=str(manifest["base_model"]["name"]),
            base_hash=str(manifest["base_model"]["hash"]),
            licence=str(manifest["licence"]),
            rank=int(config["r"]),
            digest=digest,
        )
    except OSError as error:
        raise StackError(
            f"no adapter {name} in {folder.parent}: "
            + (
                "RecLM is not installed whole"
                if name == SHIPPED
                else "reclm-train publish puts it there"
            )
        ) from error
    except (ValueError, KeyError, TypeError, ArtifactError) as error:
        raise StackError(f"the adapter in {folder} is damaged: {error!r}") from error


def _merged(models: Path, name: str, digest: str) -> Path:
    """Returns where the merged model of this content is or will be: as published, or by folding."""
    published = models / name / "manifest.json"
    if published.is_file():
        manifest = json.loads(published.read_text(encoding="utf-8"))
        if manifest.get(_MERGED_FROM) == digest:
            return published.parent
    return models / f"{name}-{digest}"
