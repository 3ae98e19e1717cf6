"""`RemoveNoops`: an op whose result is its operand goes.

    %a: fp16[2, 3] = reshape(x=%x, shape=[2, -1])             # %x: fp16[2, 3]
    %y: fp16[2, 3] = relu(x=%a)                           →   %y: fp16[2, 3] = relu(x=%x)

Only where every value stays bit for bit what it was, NaN being NaN:

- ops that move elements: those that move none (below, each with its condition);
- mul(x, 1), real_div(x, 1), pow(x, 1) are x, for any number;
- add(x, 0) is not: it makes 0 of -0. But add(x, -0) is x, and sub(x, 0); for integers, add(x, 0) and floor_div(x, 1) as well.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from attrs import frozen

from ir.core import Op
from ir.types import TensorType, Type
from mlpasses.cleanup.forwarding import forwarded, integers, result_type, same_order, same_shape
from mlpasses.cleanup.transposes import permutation
from mlpasses.rewrite import Constant, Failure, Match, Replacement, RewritePass, Rewriter, Rule, const, p, rule


@rule(p.identity(x="x"))
def drop_identity(m: Match, rw: Rewriter) -> Replacement | Failure:
    """identity(x) → x"""
    return forwarded(m, m.x)


@rule(p.cast(..., x="x"))
def drop_cast(m: Match, rw: Rewriter) -> Replacement | Failure:
    """cast(x, T) → x, where T is the type of x"""
    source, target = m.x.type, result_type(m)
    if not isinstance(source, TensorType) or not isinstance(target, TensorType) or source.dtype is not target.dtype:
        return m.fail("{} is cast to {}", source, target)
    return forwarded(m, m.x)


@rule(p.any_of("reshape", "expand_dims", "squeeze", "flatten2d", "reshape_like")(..., x="x"))
def drop_reshape(m: Match, rw: Rewriter) -> Replacement | Failure:
    """reshape(x, s) → x, where s is the shape of x; likewise of expand_dims, squeeze, flatten2d and reshape_like"""
    if not same_order(m.x.type, result_type(m)):
        return m.fail("{} is given the shape of {}", m.x.type, result_type(m))
    return forwarded(m, m.x)


@rule(p.transpose(x="x", perm=const("perm")))
def drop_transpose(m: Match, rw: Rewriter) -> Replacement | Failure:
    """transpose(x, [0, 1, …]) → x"""
    axes = permutation(m.perm)
    if axes is None or axes != list(range(len(axes))):
        return m.fail("the permutation {} moves axes", m.perm)
    return forwarded(m, m.x)


@rule(p.slice_by_index(..., x="x"))
def drop_slice(m: Match, rw: Rewriter) -> Replacement | Failure:
    """slice_by_index(x, begin, end) → x, where that is all of x"""
    root = m.root
    strides = integers(root, "stride")
    if (strides is None and "stride" in root) or (strides is not None and min(strides, default=1) < 1):
        return m.fail("the stride of {} is not known to go forwards", root)
    if not same_shape(m.x.type, result_type(m)) and not _takes_all(root, m.x.type, strides):
        return m.fail("{} takes {} of {}", root, result_type(m), m.x.type)
    return forwarded(m, m.x)


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


@rule(p.slice_by_size(..., x="x"))
def drop_slice_by_size(m: Match, rw: Rewriter) -> Replacement | Failure:
    """slice_by_size(x, begin, size) → x, where that is all of x"""
    root = m.root
    begins, sizes = integers(root, "begin"), integers(root, "size")
    whole = begins is not None and sizes is not None and not any(begins) and all(size == -1 for size in sizes)
    if not whole and not same_shape(m.x.type, result_type(m)):
        return m.fail("{} takes {} of {}", root, result_type(m), m.x.type)
    return forwarded(m, m.x)


@rule(p.pad(..., x="x"))
def drop_pad(m: Match, rw: Rewriter) -> Replacement | Failure:
    """pad(x, [0, 0, …]) → x"""
    amounts = integers(m.root, "pad")
    if amounts is None or any(amounts):
        return m.fail("{} pads by {}", m.root, amounts)
    return forwarded(m, m.x)


@rule(p.tile(..., x="x"))
def drop_tile(m: Match, rw: Rewriter) -> Replacement | Failure:
    """tile(x, [1, 1, …]) → x"""
    times = integers(m.root, "reps")
    if times is None or any(number != 1 for number in times):
        return m.fail("{} repeats by {}", m.root, times)
    return forwarded(m, m.x)


@rule(p.concat(..., values=["x"]))
def drop_concat(m: Match, rw: Rewriter) -> Replacement | Failure:
    """concat([x]) → x"""
    if not isinstance(m.x.type, TensorType) or not m.x.type.shape:
        return m.fail("{} is a scalar, which concat makes a vector of", m.x)
    return forwarded(m, m.x)


@rule(p.split(..., x="x"))
def drop_split(m: Match, rw: Rewriter) -> Replacement | Failure:
    """split(x) → x, where it has one result"""
    return forwarded(m, m.x)


def _neutral(op_type: str, number: float, *, floats: bool, integers: bool, negative_zero: bool = False, commutes: bool = False) -> Rule:
    """The rule `op_type(x, number) → x`, for floats, integers or both. A zero has to have the sign that `negative_zero` says."""

    @rule(getattr(p, op_type)(x="x", y=const("c", filled=number)), commutes=commutes, name=f"drop-{op_type.replace('_', '-')}-{number}")
    def drop(m: Match, rw: Rewriter) -> Replacement | Failure:
        kind = m.x.type
        if not isinstance(kind, TensorType) or not (floats if kind.dtype.is_float else integers and kind.dtype.is_integer):
            return m.fail("{} is not exactly x for {}", m.root, kind)
        if kind.dtype.is_float and number == 0 and bool((np.signbit(m.c.numpy()) != negative_zero).any()):
            return m.fail("{} changes the sign of a zero", m.root)
        if not _keeps_shape(kind, m.c, result_type(m)):
            return m.fail("{} gives {} the shape of {}", m.root, kind, result_type(m))
        return forwarded(m, m.x)

    return drop


def _keeps_shape(kind: TensorType, other: Constant, result: Type | None) -> bool:
    """Whether a tensor broadcast with a constant keeps its shape."""
    if same_shape(kind, result):
        return True
    shape = other.tensor.shape
    return all(dim == 1 for dim in shape) and len(shape) <= max(kind.rank, 0)


ARITHMETIC: Final = (
    _neutral("mul", 1.0, floats=True, integers=True, commutes=True),
    _neutral("real_div", 1.0, floats=True, integers=False),
    _neutral("floor_div", 1.0, floats=False, integers=True),
    _neutral("pow", 1.0, floats=True, integers=True),
    _neutral("add", 0.0, floats=True, integers=True, negative_zero=True, commutes=True),
    _neutral("sub", 0.0, floats=True, integers=True),
)
"""Neutral elements, where they are exactly that."""


@frozen
class RemoveNoops(RewritePass):
    """Removes ops whose result is their operand: identities, casts to the same type, reshapes to the same shape, whole slices, empty pads.

    Also transposes that move no axis, tiles of one, concats and splits of one part, and arithmetic with a neutral element where it is exact
    (x · 1, x - 0 and the like; x + 0 is not, for -0). What a function returns keeps its name; where only the op gives it that name, as an
    `identity` of an input does, it stays.
    """

    rules: ClassVar = (
        drop_identity, drop_cast, drop_reshape, drop_transpose, drop_slice, drop_slice_by_size, drop_pad, drop_tile, drop_concat,
        drop_split, *ARITHMETIC,
    )  # fmt: skip
