"""Writes a BERT sentence encoder as float32 ONNX, directly from its safetensors.

The graph is built operator by operator, not traced: PyTorch is not needed, and the same weights
give the same bytes, hence the same content hash, on every machine and with every version of PyTorch.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save
from safetensors.numpy import load_file

from services.assets.errors import AssetError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_OPSET = 20
_IR_VERSION = 9
# Added to the attention scores of padding, so that their softmax is exactly zero.
_MASKED = -1e9


def export_bert(folder: Path, target: Path) -> None:
    """Writes an ONNX model that maps token ids to one vector per token.

    Inputs `input_ids`, `attention_mask`, `token_type_ids`: int64, shape (batch, sequence). Output
    `last_hidden_state`: float32, shape (batch, sequence, hidden size).

    Args:
        folder: A folder with config.json and model.safetensors of a transformers BertModel.
        target: The ONNX file to write.

    Raises:
        AssetError: The model is not a BERT with absolute positions and GELU, or lacks a weight.
    """
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    expected = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    for key, value in expected.items():
        if config.get(key, value) != value:
            raise AssetError(f"cannot export a model with {key} = {config[key]!r}, only {value!r}")
    graph = _Graph(load_file(folder / "model.safetensors"))
    output = _bert(graph, config)
    graph.node("Identity", [output], name="last_hidden_state")
    ids, floats = TensorProto.INT64, TensorProto.FLOAT
    dimensions = ["batch", "sequence"]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "bert",
            [
                helper.make_tensor_value_info(name, ids, dimensions)
                for name in ("input_ids", "attention_mask", "token_type_ids")
            ],
            [
                helper.make_tensor_value_info(
                    "last_hidden_state", floats, [*dimensions, config["hidden_size"]]
                )
            ],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="reclm",
    )
    checker.check_model(model, full_check=True)
    save(model, target)


class _Graph:
    """Collects operators and weights; every method returns the name of what it adds."""

    def __init__(self, weights: dict[str, NDArray[Any]]) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._weights = weights

    def node(
        self, kind: str, inputs: list[str], name: str = "", **attributes: float | list[int]
    ) -> str:
        """Adds an operator with one output and returns the output's name."""
        output = name or f"{kind}_{len(self.nodes)}"
        node = helper.make_node(kind, inputs, [output])
        node.attribute.extend(
            helper.make_attribute(key, value) for key, value in attributes.items()
        )
        self.nodes.append(node)
        return output

    def constant(self, value: NDArray[Any]) -> str:
        """Adds a constant tensor and returns its name."""
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def integers(self, *values: int) -> str:
        """Adds a constant vector of integers, such as a shape or axes, and returns its name."""
        return self.constant(np.array(values, np.int64))

    def weight(self, name: str) -> NDArray[np.float32]:
        """Returns a weight of the model in float32."""
        try:
            return self._weights[name].astype(np.float32)
        except KeyError as error:
            raise AssetError(f"the encoder's model.safetensors lacks {name}") from error

    def linear(self, value: str, name: str) -> str:
        """Adds a dense layer."""
        kernel = self.constant(self.weight(f"{name}.weight").T)
        bias = self.constant(self.weight(f"{name}.bias"))
        return self.node("Add", [self.node("MatMul", [value, kernel]), bias])

    def layer_norm(self, value: str, name: str, epsilon: float) -> str:
        """Adds a layer normalisation over the last axis."""
        scale, bias = (self.constant(self.weight(f"{name}.{part}")) for part in ("weight", "bias"))
        return self.node("LayerNormalization", [value, scale, bias], axis=-1, epsilon=epsilon)


def _bert(graph: _Graph, config: dict[str, Any]) -> str:
    epsilon = float(config["layer_norm_eps"])
    states = _embeddings(graph, epsilon)
    mask = graph.node("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    padding = graph.node("Sub", [graph.constant(np.array([1.0], np.float32)), mask])
    penalty = graph.node("Mul", [padding, graph.constant(np.array([_MASKED], np.float32))])
    penalty = graph.node("Unsqueeze", [penalty, graph.integers(1, 2)])
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        attended = _attention(graph, states, penalty, f"{layer}.attention", config)
        states = graph.layer_norm(
            graph.node("Add", [attended, states]), f"{layer}.attention.output.LayerNorm", epsilon
        )
        inner = graph.node("Gelu", [graph.linear(states, f"{layer}.intermediate.dense")])
        outer = graph.linear(inner, f"{layer}.output.dense")
        states = graph.layer_norm(
            graph.node("Add", [outer, states]), f"{layer}.output.LayerNorm", epsilon
        )
    return states


def _embeddings(graph: _Graph, epsilon: float) -> str:
    words, types, positions = (
        graph.constant(graph.weight(f"embeddings.{kind}_embeddings.weight"))
        for kind in ("word", "token_type", "position")
    )
    length = graph.node("Shape", ["input_ids"], start=1, end=2)
    zero = graph.integers(0)
    total = graph.node(
        "Add",
        [
            graph.node("Gather", [words, "input_ids"]),
            graph.node("Gather", [types, "token_type_ids"]),
        ],
    )
    total = graph.node("Add", [total, graph.node("Slice", [positions, zero, length, zero])])
    return graph.layer_norm(total, "embeddings.LayerNorm", epsilon)


def _attention(graph: _Graph, states: str, penalty: str, layer: str, config: dict[str, Any]) -> str:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    split = graph.integers(0, 0, heads, hidden // heads)

    def project(part: str, order: list[int]) -> str:
        value = graph.node("Reshape", [graph.linear(states, f"{layer}.self.{part}"), split])
        return graph.node("Transpose", [value], perm=order)

    query, value = project("query", [0, 2, 1, 3]), project("value", [0, 2, 1, 3])
    key = project("key", [0, 2, 3, 1])
    scale = graph.constant(np.array([1 / math.sqrt(hidden // heads)], np.float32))
    scores = graph.node("Mul", [graph.node("MatMul", [query, key]), scale])
    weights = graph.node("Softmax", [graph.node("Add", [scores, penalty])], axis=-1)
    mixed = graph.node("Transpose", [graph.node("MatMul", [weights, value])], perm=[0, 2, 1, 3])
    joined = graph.node("Reshape", [mixed, graph.integers(0, 0, hidden)])
    return graph.linear(joined, f"{layer}.output.dense")
