"""Adapters, published or shipped, as the stack serves them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.assets.install import Asset, install
from services.assets.manifest import Origin
from services.common.errors import ArtifactError
from services.common.manifests import content_hash
from services.profiles.generation.adapters import prompt_of_adapter, trained_prompt
from services.stack.errors import StackError

if TYPE_CHECKING:
    from services.profiles.domain.profile import Component

SHIPPED = "reclm-seed-1"
"""The adapter that comes with RecLM; its README says how it was trained."""

_MERGED_FROM = "adapter"
"""The member of a merged model's manifest that holds the adapter's digest."""
_SHIPPED_IN = Path(__file__).parents[1] / "adapters"
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The values that vLLM takes as the largest rank."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter in RecLM's home, or one that came with RecLM.

    Attributes:
        name: The name under which it was published, and is served.
        folder: The adapter's folder.
        merged: The folder of its merged model, which may not exist yet.
        base_model: The name of the model that it was trained on.
        base_hash: The hash of that model's content.
        licence: The licence of that model.
        rank: The rank of its factors.
        digest: Short hash of its content.
        prompt: The prompt that it was trained with.
    """

    name: str
    folder: Path
    merged: Path
    base_model: str
    base_hash: str
    licence: str
    rank: int
    digest: str
    prompt: Component

    @property
    def max_rank(self) -> int:
        """The smallest value for vLLM's largest rank into which this one fits."""
        return next((rank for rank in _RANKS if rank >= self.rank), _RANKS[-1])

    @property
    def settings(self) -> dict[str, str]:
        """The RECLM_* variables with which the service asks for it, with its prompt."""
        return {
            "RECLM_ADAPTER": self.name,
            "RECLM_ADAPTER_HASH": self.digest,
            "RECLM_ADAPTER_PATH": str(self.folder),
            "RECLM_PROMPT": self.prompt.name,
        }

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

    def require_prompt(self, asked: str | None) -> None:
        """Makes sure that it can be served with the prompt that it was trained with.

        Args:
            asked: The version that the settings ask for; None for none.

        Raises:
            StackError: The settings ask for another, or this release does not have it.
        """
        try:
            prompt_of_adapter(self.name, self.prompt, asked)
        except ValueError as error:
            raise StackError(f"{error}; --no-adapter leaves it out") from error

    def fold_into(self, base: Path) -> None:
        """Writes the merged model, which a CPU serves eleven times as fast as base and adapter.

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
            prompt=trained_prompt(folder),
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
    """Returns the folder of the merged model: the published one, or the one that folding makes."""
    published = models / name / "manifest.json"
    if published.is_file():
        manifest = json.loads(published.read_text(encoding="utf-8"))
        if manifest.get(_MERGED_FROM) == digest:
            return published.parent
    return models / f"{name}-{digest}"
