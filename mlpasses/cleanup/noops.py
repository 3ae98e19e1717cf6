"""`RemoveNoops`: an op whose result is its operand goes.

    %a: fp16[2, 3] = reshape(x=%x, shape=[2, -1])             # %x: fp16[2, 3]
    %y: fp16[2, 3] = relu(x=%a)                           →   %y: fp16[2, 3] = relu(x=%x)

Only where every value stays bit for bit what it was, NaN being NaN:

- ops that move elements: those that move none (below, each with its condition);
- mul(x, 1), real_div(x, 1), pow(x, 1) are x, for any number;
- add(x, 0) is not: it makes 0 of -0. But add(x, -0) is x, and sub(x, 0); for integers, add(x, 0) and floor_div(x, 1) as well.

What an op says of itself decides, and ops are seen in order, so one sweep is enough: no pattern reaches deeper, and rewrite rules would ask
the same at five times the price (mobilebert, where nothing goes: 3 ms rather than 15). O(ops).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final, TypeAlias

import numpy as np
from attrs import frozen

from ir.const import Const
from ir.core import Function, Op, Operand, constant_of
from ir.types import TensorType, Type
from mlpasses.cleanup.forwarding import hindrance, integers, only_type, same_order, same_shape
from mlpasses.cleanup.transposes import permutation
from mlpasses.context import Context
from mlpasses.contract import EVERYTHING, Preserved
from mlpasses.passes import FunctionPass
from mlpasses.rewrite import Rewriter

Check: TypeAlias = "Callable[[Op], Operand | None]"
"""Answers with the operand that is the result of an op; None where none is."""


@frozen
class RemoveNoops(FunctionPass):
    """Removes ops whose result is their operand: identities, casts to the same type, reshapes to the same shape, whole slices, empty pads.

    Also transposes that move no axis, tiles of one, concats and splits of one part, and arithmetic with a neutral element where it is exact
    (x · 1, x - 0 and the like; x + 0 is not, for -0). What a function returns keeps its name; where only the op gives it that name, as an
    `identity` of an input does, it stays.
    """

    preserves: ClassVar[frozenset[Preserved]] = EVERYTHING

    def run(self, fn: Function, cx: Context) -> int:
        rewriter = Rewriter(cx)
        for op in fn.ops(*CHECKS):
            x = CHECKS[op.op_type](op)
            if x is not None and hindrance(op, x) is None and rewriter.refusal(op, (x,)) is None:
                rewriter.replace(op, x)
        return rewriter.changes


def _identity(op: Op) -> Operand | None:
    """identity(x) → x"""
    return op.get("x")


def _cast(op: Op) -> Operand | None:
    """cast(x, T) → x, where T is the type of x"""
    x, result = op.get("x"), only_type(op)
    same = x is not None and isinstance(x.type, TensorType) and isinstance(result, TensorType) and x.type.dtype is result.dtype
    return x if same else None


def _reshape(op: Op) -> Operand | None:
    """reshape(x, s) → x, where s is the shape of x; likewise of expand_dims, squeeze, flatten2d and reshape_like"""
    x = op.get("x")
    return x if x is not None and same_order(x.type, only_type(op)) else None


def _transpose(op: Op) -> Operand | None:
    """transpose(x, [0, 1, …]) → x"""
    perm = op.get("perm")
    axes = permutation(constant_of(perm)) if perm is not None else None
    return op.get("x") if axes is not None and axes == list(range(len(axes))) else None


def _slice_by_index(op: Op) -> Operand | None:
    """slice_by_index(x, begin, end) → x, where that is all of x"""
    x, strides = op.get("x"), integers(op, "stride")
    if x is None or (strides is None and "stride" in op) or (strides is not None and min(strides, default=1) < 1):
        return None  # a stride that goes backwards may take all, in another order
    return x if same_shape(x.type, only_type(op)) or _takes_all(op, x.type, strides) else None


def _takes_all(op: Op, kind: Type, strides: list[int] | None) -> bool:
    """Whether each axis of a tensor, the unknown ones too, is taken from its beginning to its end, one by one."""
    if not isinstance(kind, TensorType) or kind.rank != len(kind.shape):
        return False
    none = [0] * kind.rank
    begins, ends = integers(op, "begin") or [-1] * kind.rank, integers(op, "end") or none
    begin_masks, end_masks, squeezed = (integers(op, f"{name}_mask") or none for name in ("begin", "end", "squeeze"))
    return (
        {len(each) for each in (begins, ends, begin_masks, end_masks, squeezed)} == {kind.rank}
        and not any(squeezed)
        and all(stride == 1 for stride in strides or ())
        and all(masked or begin == 0 for masked, begin in zip(begin_masks, begins, strict=True))
        and all(masked or (isinstance(dim, int) and end >= dim) for masked, end, dim in zip(end_masks, ends, kind.shape, strict=True))
    )


def _slice_by_size(op: Op) -> Operand | None:
    """slice_by_size(x, begin, size) → x, where that is all of x"""
    x, begins, sizes = op.get("x"), integers(op, "begin"), integers(op, "size")
    whole = begins is not None and sizes is not None and not any(begins) and all(size == -1 for size in sizes)
    return x if x is not None and (whole or same_shape(x.type, only_type(op))) else None


def _pad(op: Op) -> Operand | None:
    """pad(x, [0, 0, …]) → x"""
    amounts = integers(op, "pad")
    return op.get("x") if amounts is not None and not any(amounts) else None


def _tile(op: Op) -> Operand | None:
    """tile(x, [1, 1, …]) → x"""
    times = integers(op, "reps")
    return op.get("x") if times is not None and all(number == 1 for number in times) else None


def _concat(op: Op) -> Operand | None:
    """concat([x]) → x, where x is no scalar, of which concat makes a vector"""
    values = op.operands.get("values", ())
    if len(values) != 1 or not isinstance(values[0].type, TensorType) or not values[0].type.shape:
        return None
    return values[0]


def _split(op: Op) -> Operand | None:
    """split(x) → x, where it has one result"""
    return op.get("x") if len(op.outputs) == 1 else None


@frozen
class _Neutral:
    """x ∘ number → x, for floats, integers or both; number ∘ x → x too, where `commutes`. A zero has to have the sign of `number`."""

    number: float
    floats: bool
    integers: bool
    commutes: bool = False

    def __call__(self, op: Op) -> Operand | None:
        x, y = op.get("x"), op.get("y")
        if x is None or y is None:
            return None
        if self._is_neutral(constant_of(y), x.type, op):
            return x
        return y if self.commutes and self._is_neutral(constant_of(x), y.type, op) else None

    def _is_neutral(self, const: Const | None, kind: Type, op: Op) -> bool:
        """Whether a constant holds nothing but the number, and leaves the shape of the other operand as it is."""
        if const is None or not isinstance(kind, TensorType) or not const.is_tensor:
            return False
        if const.tensor.dtype is not kind.dtype or not (self.floats if kind.dtype.is_float else self.integers and kind.dtype.is_integer):
            return False
        return _keeps_shape(kind, const.tensor.shape, only_type(op)) and self._fills(const)

    def _fills(self, const: Const) -> bool:
        elements = const.numpy().reshape(-1)
        if not elements.size or elements[0] != self.number or not bool((elements == self.number).all()):
            return False
        return self.number != 0 or elements.dtype.kind != "f" or bool((np.signbit(elements) == np.signbit(self.number)).all())


def _keeps_shape(kind: TensorType, other: tuple[int, ...], result: Type | None) -> bool:
    """Whether a tensor of type `kind` keeps its shape when broadcast with one of shape `other`."""
    return same_shape(kind, result) or (all(dim == 1 for dim in other) and len(other) <= max(kind.rank, 0))


CHECKS: Final[Mapping[str, Check]] = {
    "identity": _identity,
    "cast": _cast,
    "reshape": _reshape,
    "expand_dims": _reshape,
    "squeeze": _reshape,
    "flatten2d": _reshape,
    "reshape_like": _reshape,
    "transpose": _transpose,
    "slice_by_index": _slice_by_index,
    "slice_by_size": _slice_by_size,
    "pad": _pad,
    "tile": _tile,
    "concat": _concat,
    "split": _split,
    "mul": _Neutral(1.0, floats=True, integers=True, commutes=True),
    "real_div": _Neutral(1.0, floats=True, integers=False),
    "floor_div": _Neutral(1.0, floats=False, integers=True),
    "pow": _Neutral(1.0, floats=True, integers=True),
    "add": _Neutral(-0.0, floats=True, integers=True, commutes=True),
    "sub": _Neutral(0.0, floats=True, integers=True),
}
"""By op type: when its result is its operand."""
