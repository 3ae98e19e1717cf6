"""What the rules that leave an op out have in common: whether its operand can stand in the place of its result."""

from __future__ import annotations

from ir.core import Op, Operand, Value, constant_of
from ir.infer import has_rank
from ir.types import TensorType, Type
from mlpasses.rewrite import Constant, Failure, Match


def forwarded(m: Match, x: Operand | Constant) -> Operand | Failure:
    """`x` as what stands for the only result of the root, or the reason why it cannot.

    Tensors only: lists and states are places, not values, and a copy of one is another. What a block returns stays an op of that block, and
    no constant: Core ML and coremltools want it so. The result of a constexpr op does not go where it did not go before, since not every
    parameter takes one.
    """
    value = x.operand if isinstance(x, Constant) else x
    if len(m.root.outputs) != 1:
        return m.fail("{} has {} results", m.root, len(m.root.outputs))
    if not isinstance(value.type, TensorType):
        return m.fail("{} is no tensor, and a copy of a list or state is not the same one", value)
    source = value.op if isinstance(value, Value) else None
    if source is not None and source.op_type.startswith("constexpr_"):
        return m.fail("{} is decompressed, and not every parameter takes what is", value)
    result = m.root.output
    if not result.is_output:
        return value
    if source is None or source.block is not m.root.block or constant_of(value) is not None:
        return m.fail("a block returns %{}, and {} is not computed in that block", result.name, value)
    if isinstance(value, Value) and value.is_output:
        return m.fail("a block returns both %{} and %{}", result.name, value.name)
    return value


def result_type(m: Match) -> Type | None:
    """The type of the only result of the root; None where it has, against its row in the op tables, none or several."""
    outputs = m.root.outputs
    return outputs[0].type if len(outputs) == 1 else None


def same_order(a: Type, b: Type | None) -> bool:
    """Whether a tensor of type `a` whose elements are given the shape of `b`, in their order, is unchanged.

    It is if the shapes are equal and at most one dimension is unknown: that one is what the number of elements leaves.
    """
    if not isinstance(a, TensorType) or not isinstance(b, TensorType) or not has_rank(a) or a.shape != b.shape or a.rank != b.rank:
        return False
    unknown = sum(not isinstance(dim, int) for dim in a.shape)
    return unknown == 0 or (unknown == 1 and 0 not in a.shape)


def same_shape(a: Type, b: Type | None) -> bool:
    """Whether two types have one shape, all of whose dimensions are known."""
    return isinstance(a, TensorType) and isinstance(b, TensorType) and a.is_static and b.is_static and a.shape == b.shape


def integers(op: Op, parameter: str) -> list[int] | None:
    """A parameter that is a vector of integers or truth values; None where it is absent, computed, or something else."""
    operand = op.get(parameter)
    const = constant_of(operand) if operand is not None else None
    if const is None or not const.is_tensor or len(const.tensor.shape) != 1 or const.tensor.dtype.kind not in ("int", "uint", "bool"):
        return None
    return [int(number) for number in const.numpy().tolist()]
