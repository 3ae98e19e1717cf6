"""The ops that take a const op's place: a chain whose last op has its name, type and attributes, and whose others are named after it."""

from __future__ import annotations

from collections.abc import Mapping

from ir.const import Const
from ir.core import Op, Operand
from ir.tensors import Tensor
from ir.types import FP16, DType, TensorType, Type


def inner_op(weight: Op, suffix: str, op_type: str, operands: Mapping[str, Operand], *types: Type) -> Op:
    """A detached op inside of the chain that takes the place of `weight`: its outputs are `w_suffix`, or `w_suffix_0`, `w_suffix_1`."""
    name = f"{weight.output.name}_{suffix}"
    names = [name] if len(types) == 1 else [f"{name}_{index}" for index in range(len(types))]
    return Op(op_type, dict(operands), list(zip(names, types, strict=True)), {"name": Const.of(name)})


def last_op(
    weight: Op, op_type: str, operands: Mapping[str, Operand] | None = None, attributes: Mapping[str, Const] | None = None
) -> Op:
    """The detached op that yields the value of `weight`: its name, type and attributes, besides the value."""
    kept = {name: value for name, value in weight.attributes.items() if name != "val"}
    return Op(op_type, dict(operands or {}), [(weight.output.name, weight.output.type)], {**kept, **(attributes or {})})


def dense_op(weight: Op, suffix: str, op_type: str, operands: Mapping[str, Operand], dtype: DType) -> list[Op]:
    """The op that yields the whole of `weight`, where its floats are of `dtype`: itself the last, or with a `constexpr_cast` behind it.

        %w: fp32[8, 4] = const(val=…)
        →  %w_suffix: fp16[8, 4] = op_type(…)
           %w: fp32[8, 4] = constexpr_cast(source_val=%w_suffix, output_dtype="fp32")
    """
    kind = weight.output.type
    assert isinstance(kind, TensorType)  # only weights are compressed
    if kind.dtype is dtype:
        return [last_op(weight, op_type, operands)]
    half = inner_op(weight, suffix, op_type, operands, TensorType(dtype, kind.shape))
    return [half, last_op(weight, "constexpr_cast", {"source_val": half.output, "output_dtype": Const.of("fp32")})]


def literals(**tensors: Tensor | None) -> dict[str, Operand]:
    """Operands that are literals; what is None is left out."""
    return {name: Const.of(tensor) for name, tensor in tensors.items() if tensor is not None}


def stored_dtype(weight: DType, precision: str) -> DType:
    """The type of the floats that a weight is stored in."""
    return FP16 if precision == "fp16" else weight
