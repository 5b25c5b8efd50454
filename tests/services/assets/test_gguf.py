"""Compares the conversion with the original model and with the tokenizer of transformers."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from services.assets.errors import AssetError
from services.assets.gguf import convert

HEADS, KEY_VALUE_HEADS, HIDDEN, BLOCKS = 4, 2, 32, 2
TOKENS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    *(chr(i) for i in range(97, 123)),
    "Ġ",
    "th",
]
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def reference(*, tied: bool) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=HIDDEN,
        intermediate_size=48,
        num_hidden_layers=BLOCKS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        max_position_embeddings=64,
        rms_norm_eps=1e-4,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # as float16 holds it; norms away from one
            parameter.copy_((parameter + 0.2 * torch.randn_like(parameter)).half().float())
    return model


def permuted(weight: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """The row order of llama.cpp: first and second half of each head interleaved."""
    rows = weight.reshape(heads, 2, -1, weight.shape[1])
    return np.stack([rows[:, 0], rows[:, 1]], axis=2).reshape(weight.shape)


NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
}


def tensors(model: LlamaForCausalLM) -> dict[str, np.ndarray[Any, Any]]:
    top = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    result = {}
    for name, value in model.state_dict().items():
        weight = value.numpy()
        if name in top:
            if name == "lm_head.weight" and model.config.tie_word_embeddings:
                continue
            result[top[name]] = weight
            continue
        block, part = name.split(".")[2], NAMES[name.split(".")[-2]]
        if part == "attn_q":
            weight = permuted(weight, HEADS)
        if part == "attn_k":
            weight = permuted(weight, KEY_VALUE_HEADS)
        result[f"blk.{block}.{part}.weight"] = weight
    return result


def write(
    path: Path, weights: dict[str, np.ndarray[Any, Any]], **changes: str | int | bool
) -> Path:
    writer = gguf.GGUFWriter(path, str(changes.pop("architecture", "llama")))
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(48)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_rope_freq_base(500.0)
    writer.add_layer_norm_rms_eps(1e-4)
    writer.add_tokenizer_model(str(changes.pop("model", "gpt2")))
    writer.add_tokenizer_pre(str(changes.pop("pre", "smollm")))
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3, *[1] * (len(TOKENS) - 3)])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    if "add_bos_token" in changes:
        writer.add_add_bos_token(bool(changes.pop("add_bos_token")))
    if "rope_scaling" in changes:
        writer.add_string("llama.rope.scaling.type", str(changes.pop("rope_scaling")))
    if "rotated" in changes:
        writer.add_rope_dimension_count(int(changes.pop("rotated")))
    assert not changes
    for name, weight in weights.items():
        writer.add_tensor(name, np.ascontiguousarray(weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("tied", [True, False])
def test_the_converted_model_computes_what_the_original_computes(
    tmp_path: Path, tied: bool
) -> None:
    model = reference(tied=tied)
    folder = tmp_path / "out"
    folder.mkdir()
    convert(write(tmp_path / "m.gguf", tensors(model)), folder)
    converted = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.randint(0, len(TOKENS), (3, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = model(ids).logits, converted(ids).logits
    assert expected.std() > 0.1
    assert torch.allclose(expected, found, atol=1e-4)
    assert converted.config.tie_word_embeddings is tied
    assert (converted.config.eos_token_id, converted.config.pad_token_id) == (2, 2)


def test_the_tokenizer_keeps_the_chat_template_and_the_special_tokens(tmp_path: Path) -> None:
    convert(write(tmp_path / "m.gguf", tensors(reference(tied=True))), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("<|im_start|>th e<|im_end|>").input_ids == [
        TOKENS.index(token) for token in ("<|im_start|>", "th", "Ġ", "e", "<|im_end|>")
    ]
    assert (tokenizer.eos_token, tokenizer.chat_template) == ("<|im_end|>", TEMPLATE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "gemma"}, "architecture 'gemma'"),
        ({"rope_scaling": "yarn"}, "rope scaling 'yarn'"),
        ({"rotated": 4}, "4 rotated"),
        ({"model": "llama"}, "model = 'llama'"),
        ({"pre": "llama-bpe"}, r"pre = 'llama-bpe'.*from the Hub"),
        ({"add_bos_token": True}, "add_bos_token = True"),
    ],
)
def test_unsupported_files_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "m.gguf", tensors(reference(tied=True)), **changes)
    with pytest.raises(AssetError, match=message):
        convert(path, tmp_path)


def test_missing_unknown_and_misshapen_tensors_are_named(tmp_path: Path) -> None:
    weights = tensors(reference(tied=True))
    missing = {name: value for name, value in weights.items() if name != "blk.1.ffn_up.weight"}
    with pytest.raises(AssetError, match=r"lacks 1 .*blk\.1\.ffn_up\.weight"):
        convert(write(tmp_path / "a.gguf", missing), tmp_path)
    bias = {**weights, "blk.0.attn_q.bias": np.zeros(HIDDEN, np.float32)}
    with pytest.raises(AssetError, match=r"blk\.0\.attn_q\.bias"):
        convert(write(tmp_path / "b.gguf", bias), tmp_path)
    wide = {**weights, "blk.0.ffn_up.weight": np.zeros((40, HIDDEN), np.float32)}
    with pytest.raises(AssetError, match=r"ffn_up\.weight has shape \(40, 32\).*\(48, 32\)"):
        convert(write(tmp_path / "c.gguf", wide), tmp_path)
    huge = {**weights, "output_norm.weight": np.full(HIDDEN, 1e6, np.float32)}
    with pytest.raises(AssetError, match=r"output_norm.*float16"):
        convert(write(tmp_path / "d.gguf", huge), tmp_path)


@pytest.mark.parametrize("keep", [0, 3, 100, 4000])
def test_a_truncated_file_is_an_error(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path / "m.gguf", tensors(reference(tied=True)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(AssetError, match=r"m\.gguf"):
        convert(path, tmp_path)
