"""Converts a Llama from GGUF to a folder that transformers and vLLM load. Needs no PyTorch.

llama.cpp stores the rows of the query and key projections in another order than transformers:
it rotates neighbouring numbers, transformers rotates the two halves of a head. The conversion
restores the order of transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors.numpy import save_file

from services.assets.errors import AssetError
from services.assets.gguf_tokenizer import write_tokenizer
from services.common.files import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_EMBEDDING, _OUTPUT, _NORM = "token_embd.weight", "output.weight", "output_norm.weight"
_TOP = {
    _EMBEDDING: "model.embed_tokens.weight",
    _NORM: "model.norm.weight",
    _OUTPUT: "lm_head.weight",
}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True, slots=True)
class _Shape:
    """The sizes of a Llama according to its metadata."""

    vocabulary: int
    blocks: int
    hidden: int
    feed_forward: int
    heads: int
    key_value_heads: int
    head: int

    def tensors(self, *, tied: bool) -> dict[str, tuple[int, ...]]:
        """Returns the shape of every tensor that such a model has, by its name in GGUF."""
        keys = self.key_value_heads * self.head
        block: dict[str, tuple[int, ...]] = {
            "attn_norm": (self.hidden,),
            "attn_q": (self.heads * self.head, self.hidden),
            "attn_k": (keys, self.hidden),
            "attn_v": (keys, self.hidden),
            "attn_output": (self.hidden, self.heads * self.head),
            "ffn_norm": (self.hidden,),
            "ffn_gate": (self.feed_forward, self.hidden),
            "ffn_up": (self.feed_forward, self.hidden),
            "ffn_down": (self.hidden, self.feed_forward),
        }
        embedding = (self.vocabulary, self.hidden)
        top = {_EMBEDDING: embedding, _NORM: (self.hidden,)}
        return {
            **top,
            **({} if tied else {_OUTPUT: embedding}),
            **{
                f"blk.{number}.{part}.weight": shape
                for number in range(self.blocks)
                for part, shape in block.items()
            },
        }


def convert(source: Path, folder: Path) -> None:
    """Writes config.json, model.safetensors (float16) and the tokenizer of a GGUF Llama.

    Args:
        source: The GGUF file, in any quantization that the gguf package reads.
        folder: The folder to write to; it must exist.

    Raises:
        AssetError: The file is damaged, or has a feature that this conversion does not support.
    """
    try:
        reader = GGUFReader(source)
        metadata = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise AssetError(f"{source} is not a readable GGUF file: {error}") from error
    stored = {tensor.name: tensor for tensor in reader.tensors}
    shape = _read_shape(metadata)
    tied = _OUTPUT not in stored
    _check_tensors({name: tensor.shape for name, tensor in stored.items()}, shape, tied=tied)
    weights = {}
    for name, tensor in stored.items():
        values = dequantize(tensor.data, tensor.tensor_type)
        if name.endswith(".attn_q.weight"):
            values = _unpermute(values, shape.heads)
        elif name.endswith(".attn_k.weight"):
            values = _unpermute(values, shape.key_value_heads)
        weights[_hf_name(name)] = _half(values, name)
    model = folder / "model.safetensors"
    save_file(weights, model, metadata={"format": "pt"})
    model.chmod(0o644)  # safetensors writes with mode 0600, which a container's user cannot read
    special = write_tokenizer(metadata, folder)
    write_json(folder / "config.json", {**_config(metadata, shape, tied=tied), **special})
    write_json(folder / "generation_config.json", special)


def _read_shape(metadata: Mapping[str, Any]) -> _Shape:
    architecture = metadata.get("general.architecture")
    if architecture != "llama":
        raise _unsupported(f"architecture {architecture!r}")
    if (scaling := metadata.get("llama.rope.scaling.type", "none")) != "none":
        raise _unsupported(f"rope scaling {scaling!r}")
    if experts := metadata.get("llama.expert_count", 0):
        raise _unsupported(f"a mixture of {experts} experts")
    hidden, heads = (_number(metadata, key) for key in ("embedding_length", "attention.head_count"))
    head = int(metadata.get("llama.attention.key_length", hidden // heads))
    rotated = metadata.get("llama.rope.dimension_count", head)
    values = metadata.get("llama.attention.value_length", head)
    if rotated != head or values != head:
        raise _unsupported(f"heads of {head} numbers with {rotated} rotated and {values} in values")
    return _Shape(
        vocabulary=len(metadata.get("tokenizer.ggml.tokens", ())),
        blocks=_number(metadata, "block_count"),
        hidden=hidden,
        feed_forward=_number(metadata, "feed_forward_length"),
        heads=heads,
        key_value_heads=int(metadata.get("llama.attention.head_count_kv", heads)),
        head=head,
    )


def _check_tensors(stored: Mapping[str, NDArray[np.uint32]], shape: _Shape, *, tied: bool) -> None:
    expected = shape.tensors(tied=tied)
    if missing := sorted(expected.keys() - stored.keys()):
        raise AssetError(f"the GGUF file lacks {len(missing)} tensor(s), first {missing[0]}")
    if unknown := sorted(stored.keys() - expected.keys()):
        raise _unsupported(
            f"{len(unknown)} tensor(s) that a plain Llama does not have: {unknown[0]}"
        )
    for name, wanted in expected.items():
        # GGUF lists the innermost dimension first.
        found = tuple(int(size) for size in reversed(stored[name]))
        if found != wanted:
            raise AssetError(f"tensor {name} has shape {found}; the metadata says {wanted}")


def _config(metadata: Mapping[str, Any], shape: _Shape, *, tied: bool) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "float16",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.blocks,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "head_dim": shape.head,
        "max_position_embeddings": _number(metadata, "context_length"),
        # GGUF stores single precision: 1e-5 is read as 9.999999747378752e-06.
        "rms_norm_eps": float(f"{_required(metadata, 'attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": float(metadata.get("llama.rope.freq_base", 10_000.0)),
        "tie_word_embeddings": tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
    }


def _hf_name(name: str) -> str:
    if name in _TOP:
        return _TOP[name]
    _, number, part, _ = name.split(".")
    return f"model.layers.{number}.{_BLOCK[part]}.weight"


def _unpermute(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    rows, columns = values.shape
    pairs = values.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def _half(values: NDArray[np.float32], name: str) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        half = np.ascontiguousarray(values, dtype=np.float16)
    if not np.isfinite(half).all():
        raise AssetError(f"tensor {name} has values that do not fit into float16")
    return half


def _required(metadata: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - GGUF values have any type
    try:
        return metadata[f"llama.{key}"]
    except KeyError as error:
        raise AssetError(f"the GGUF file has no metadata llama.{key}") from error


def _number(metadata: Mapping[str, Any], key: str) -> int:
    value = _required(metadata, key)
    if not isinstance(value, int) or value < 1:
        raise _unsupported(f"llama.{key} = {value!r}")
    return value


def _unsupported(what: str) -> AssetError:
    return AssetError(
        f"the GGUF file has {what}, which this conversion does not support; get the model in "
        "safetensors from the Hub: `reclm-serve models get ORG/MODEL`"
    )
