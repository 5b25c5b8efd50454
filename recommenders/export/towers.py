"""A model's formula as an ONNX model, which runs without the model and without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

if TYPE_CHECKING:
    from recommenders.models.formulas import Formula

OPSET = 17
_IR = 8  # what ONNX 1.12 wrote, which brought that set of operations
OUTPUT = "vector"


def onnx_tower(tower: Formula, *, pooled: int, profile: int, vector: int) -> ModelProto:
    """Translates a formula.

    Args:
        tower: What a user's vector is.
        pooled: Numbers in that input.
        profile: Likewise; 0 where no profile is read, and the input is there all the same.
        vector: Numbers in the output.

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
    """Nodes and constants in the making; a formula that is used twice is worked out once."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[TensorProto] = []
        self._names: dict[int, str] = {}

    def name_of(self, formula: Formula) -> str:
        """Returns the name of a formula's value, after whatever it needs."""
        # The tree keeps all of its formulas alive, so that no two have one id.
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
