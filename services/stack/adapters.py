"""A published adapter, as the stack serves it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.assets.errors import AssetError
from services.assets.manifest import content_hash, is_complete
from services.stack.errors import StackError

if TYPE_CHECKING:
    from pathlib import Path

    from services.stack.environment import Flavour

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as the largest rank."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter in RecLM's home.

    Attributes:
        name: Under which it was published, and is served.
        folder: Of the adapter.
        merged: Where its merged model is, if it was merged.
        base_model: Name of the model that it was trained on.
        rank: Of its factors.
        digest: Short hash of its content.
    """

    name: str
    folder: Path
    merged: Path
    base_model: str
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

    def require_servable(self, flavour: Flavour | None) -> None:
        """Makes sure that a model server of this kind can serve it.

        Args:
            flavour: Of the vLLM that is to be started; None if there is none.

        Raises:
            StackError: It needs the merged model, and there is none.
        """
        if flavour == "cpu" and not is_complete(self.merged):
            raise StackError(
                f"a CPU serves the merged model, and {self.merged} is not there: reclm-train "
                "publish --merged, or reclm-train merge with that folder as --out"
            )


def find_adapter(home: Path, name: str) -> Adapter:
    """Returns a published adapter.

    Raises:
        StackError: There is none of that name, or it is damaged.
    """
    folder = home / "adapters" / name
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return Adapter(
            name=name,
            folder=folder,
            merged=home / "models" / name,
            base_model=str(manifest["base_model"]["name"]),
            rank=int(config["r"]),
            digest=content_hash(folder),
        )
    except OSError as error:
        raise StackError(
            f"no adapter {name} in {home / 'adapters'}: publish it with reclm-train publish"
        ) from error
    except (ValueError, KeyError, TypeError, AssetError) as error:
        raise StackError(f"the adapter in {folder} is damaged: {error!r}") from error
