"""What the rules that leave an op out have in common: whether its operand can stand in the place of its result."""

from __future__ import annotations

from ir.core import Op, Operand, Value, constant_of
from ir.infer import has_rank
from ir.types import TensorType, Type
from ir.verify.specification import agree
from mlpasses.rewrite import Failure, Match


def hindrance(op: Op, x: Operand) -> Failure | None:
    """Why `x` cannot stand for the only result of `op`, an op that uses it; None where it can.

    Tensors only: lists and states are places, not values, and a copy of one is another. What a block returns stays an op of that block, and
    no constant: Core ML and coremltools want it so. The result of a constexpr op does not go where it did not go before, since not every
    parameter takes one.
    """
    if len(op.outputs) != 1:
        return Failure("{} has {} results", (op, len(op.outputs)))
    if not isinstance(x.type, TensorType):
        return Failure("{} is no tensor, and a copy of a list or state is not the same one", (x,))
    source = x.op if isinstance(x, Value) else None
    if source is not None and source.op_type.startswith("constexpr_"):
        return Failure("{} is decompressed, and not every parameter takes what is", (x,))
    result = op.outputs[0]
    if not agree(result.type, x.type):
        return Failure("%{} is {}, and {} is {}", (result.name, result.type, x, x.type))
    if not result.is_output:
        return None
    if source is None or source.block is not op.block or source.op_type == "const":
        return Failure("a block returns %{}, and {} is not computed in that block", (result.name, x))
    if x.type is not result.type:
        return Failure("a block returns %{} as {}, and {} is {}", (result.name, result.type, x, x.type))
    if isinstance(x, Value) and x.is_output:
        return Failure("a block returns both %{} and %{}", (result.name, x.name))
    return None


def forwarded(m: Match, x: Operand) -> Operand | Failure:
    """`x` as what stands for the only result of the root, or the reason why it cannot."""
    return hindrance(m.root, x) or x  # no operand is false


def only_type(op: Op) -> Type | None:
    """The type of the only result of an op; None where it has, against its row in the op tables, none or several."""
    return op.outputs[0].type if len(op.outputs) == 1 else None


def same_order(a: Type, b: Type | None) -> bool:
    """Whether a tensor of type `a` whose elements are given the shape of `b`, in their order, is unchanged.

    It is if the shapes are equal and at most one dimension is unknown: that one is what the number of elements leaves.
    """
    if not isinstance(a, TensorType) or not isinstance(b, TensorType) or a.shape != b.shape or a.rank != b.rank or not has_rank(a):
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
