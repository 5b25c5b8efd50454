"""Translates a model's formula into an ONNX model, which runs without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

if TYPE_CHECKING:
    from recommenders.models.formulas import Formula

OPSET = 17
_IR = 8  # of ONNX 1.12, which introduced that opset
OUTPUT = "vector"


def onnx_tower(tower: Formula, *, pooled: int, profile: int, vector: int) -> ModelProto:
    """Translates a formula.

    Args:
        tower: The formula of a user's vector.
        pooled: Width of the input `pooled`.
        profile: Width of the input `profile`; with 0 the input exists but is not read.
        vector: Width of the output.

    Returns:
        A model with the inputs `pooled`, `count`, `profile` and `has_profile`, whether it reads
        them or not, and the output `vector`, all float32 with any number of rows.
    """
    translation = _Translation()
    translation.nodes.append(
        helper.make_node("Identity", [translation.name_of(tower)], [OUTPUT], name=OUTPUT)
    )
    widths = {"pooled": pooled, "count": 1, "profile": max(1, profile), "has_profile": 1}
    graph = helper.make_graph(
        translation.nodes,
        "user_tower",
        [_rows(name, width) for name, width in widths.items()],
        [_rows(OUTPUT, vector)],
        initializer=translation.constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR,
        producer_name="reclm",
    )
    checker.check_model(model, full_check=True)
    return model


class _Translation:
    """Nodes and constants of the graph; a formula that is used twice is translated once."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[TensorProto] = []
        self._names: dict[int, str] = {}

    def name_of(self, formula: Formula) -> str:
        """Translates a formula and its operands; returns the name of its value."""
        # The tree keeps all of its formulas alive, so that ids are unique.
        if id(formula) not in self._names:
            self._names[id(formula)] = self._translated(formula)
        return self._names[id(formula)]

    def _translated(self, formula: Formula) -> str:
        if formula.operation == "Input":
            return str(formula.options["name"])
        if formula.value is not None:
            name = f"constant_{len(self.constants)}"
            self.constants.append(
                numpy_helper.from_array(np.ascontiguousarray(formula.value), name)
            )
            return name
        operands = [self.name_of(operand) for operand in formula.operands]
        name = f"{formula.operation.lower()}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(formula.operation, operands, [name], name=name, **formula.options)
        )
        return name


def _rows(name: str, width: int) -> Any:  # noqa: ANN401 - onnx names no types
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
