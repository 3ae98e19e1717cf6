"""Indices that count from the back, which ops that gather and scatter no longer accept from iOS17 on.

A negative index stood for itself plus the size of the axis. Constant indices are rewritten so; computed ones are guarded,

    gather(x, indices, axis)  →  gather(x, select(cond=greater_equal(x=indices, y=0), a=indices, b=add(x=indices, y=size)), axis)

where `size` is the dimension of x along the axis (for the `_nd` ops, a vector of the dimensions that the last dimension of `indices`
addresses): a constant where it is known, read from `shape(x)` otherwise. What is provably not negative stays as it is. A guard is made
once for indices and a size, and used wherever it can be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

import numpy as np
from attrs import frozen

from ir.const import Const
from ir.core import Block, Op, Operand, Value, constant_of
from ir.tensors import Array, ArrayTensor
from ir.types import INT16, INT32, TensorType
from mlpasses.raising.function import InexpressibleError, Raising, integer, numbers, required, tensor_type

SOURCE: Final[Mapping[str, str]] = {
    "gather": "x",
    "gather_along_axis": "x",
    "gather_nd": "x",
    "scatter": "data",
    "scatter_along_axis": "data",
    "scatter_nd": "data",
}
"""The parameter that the indices of each op index."""

Known: TypeAlias = "int | tuple[int, ...]"


@frozen
class Axes:
    """The axes of `source` that indices address: one, or (`depth` is set) the `depth` ones from `first` on."""

    source: Operand
    first: int
    depth: int | None = None

    @property
    def known(self) -> Known | None:
        """Their sizes; None where one is not known."""
        kind = tensor_type(self.source, "operand")
        if kind.rank != len(kind.shape):
            return None
        if self.depth is None:
            if not -kind.rank <= self.first < kind.rank:
                raise InexpressibleError(f"its axis {self.first} is outside of {kind!r}")
            size = kind.shape[self.first]
            return size if isinstance(size, int) else None
        sizes = kind.shape[self.first : self.first + self.depth]
        if len(sizes) != self.depth:
            raise InexpressibleError(f"its indices address {self.depth} axes from {self.first} on, which {kind!r} has not")
        known = tuple(d for d in sizes if isinstance(d, int))
        return known if len(known) == self.depth else None


def keep_from_front(raising: Raising, op: Op) -> Op:
    """Makes the indices of an op count from the front."""
    indices = required(op, "indices")
    if raising.nonnegative(indices):
        return op
    axes = _axes_of(op, indices)
    sizes = axes.known
    if _is_guard(indices, axes, sizes):
        return op
    const = constant_of(indices)
    if const is not None and sizes is not None:
        counted = _counted(raising, op, indices, const, sizes)
    else:
        counted = _guarded(raising, op, indices, axes, sizes)
    raising.replace_operand(op, "indices", counted)
    return raising.changes(op)


def _axes_of(op: Op, indices: Operand) -> Axes:
    source = required(op, SOURCE[op.op_type])
    if not op.op_type.endswith("_nd"):
        return Axes(source, integer(op, "axis", 0))
    kind = tensor_type(indices, "indices")
    depth = kind.shape[-1] if kind.shape and kind.rank == len(kind.shape) else None
    if not isinstance(depth, int):
        raise InexpressibleError(f"how many axes its indices, of type {kind!r}, address is not known")
    return Axes(source, integer(op, "batch_dims", 0), depth)


def _counted(raising: Raising, op: Op, indices: Operand, const: Const, sizes: Known) -> Operand:
    """Constant indices from the front, of their own type where it holds them."""
    given = numbers(const, "indices")
    if not const.tensor.dtype.is_integer:
        raise InexpressibleError(f"its indices are of {const.tensor.dtype}")
    wide = np.where(given < 0, given.astype(np.int64) + np.asarray(sizes, np.int64), given)
    dtype = const.tensor.dtype if wide.size == 0 or wide.max() <= const.tensor.dtype.maximum else INT32
    literal = Const(TensorType(dtype, given.shape), ArrayTensor(wide.astype(dtype.numpy), dtype), const.doc)
    if not isinstance(indices, Value):
        return literal
    what = (indices, sizes)
    return _once(raising, op, what) or _keep(raising, op, what, raising.const(op, literal, f"{indices.name}_from_front"))


def _guarded(raising: Raising, op: Op, indices: Operand, axes: Axes, sizes: Known | None) -> Operand:
    what = (indices, sizes if sizes is not None else axes)
    found = _once(raising, op, what)
    if found is not None:
        return found
    name = indices.name if isinstance(indices, Value) else f"{op.outputs[0].name}_indices"
    wide = indices
    if tensor_type(indices, "indices").dtype is INT16:  # greater_equal, add and select do not take it
        wide = raising.emit(op, "cast", f"{name}_int32", x=indices, dtype="int32").output
    size = _measured(raising, op, axes, name) if sizes is None else raising.const(op, np.asarray(sizes, np.int32), f"{name}_size")
    from_front = raising.emit(op, "greater_equal", f"{name}_is_from_front", x=wide, y=0)
    moved = raising.emit(op, "add", f"{name}_moved", x=wide, y=size)
    return _keep(raising, op, what, raising.emit(op, "select", f"{name}_from_front", cond=from_front, a=wide, b=moved).output)


def _measured(raising: Raising, op: Op, axes: Axes, name: str) -> Value:
    """The sizes of axes at run time: a scalar for one, a vector for several."""
    source = axes.source.name if isinstance(axes.source, Value) else name
    shape = raising.emit(op, "shape", f"{source}_shape", x=axes.source)
    if axes.depth is not None:
        return raising.emit(op, "slice_by_size", f"{name}_sizes", x=shape, begin=(axes.first,), size=(axes.depth,)).output
    rank = tensor_type(axes.source, "operand").rank
    axis = axes.first % rank if rank > 0 else axes.first
    return raising.emit(
        op, "slice_by_index", f"{name}_size",
        x=shape, begin=(axis,), end=(axis + 1,), end_mask=(axis == -1,), squeeze_mask=(True,),
    ).output  # fmt: skip


def _once(raising: Raising, op: Op, what: tuple[object, ...]) -> Value | None:
    """What was made of the same indices for the same sizes before, if `op` can see it."""
    return next((found for block in _around(op) if (found := raising.guards.get((block, *what))) is not None), None)


def _keep(raising: Raising, op: Op, what: tuple[object, ...], made: Value) -> Value:
    raising.guards[(op.block, *what)] = made
    return made


def _around(op: Op) -> Iterator[Block]:
    """The block of an op, and those that it is nested in."""
    block = op.block
    while block is not None:
        yield block
        block = block.parent.block if isinstance(block.parent, Op) else None


def _is_guard(indices: Operand, axes: Axes, sizes: Known | None) -> bool:
    """Whether indices are `select(cond, a=i, b=i + size)`, cond being i ≥ 0, or with the two exchanged and i < 0."""
    select = _op_of(indices, "select")
    if select is None:
        return False
    kept, moved = select.get("a"), select.get("b")
    test = _op_of(select.get("cond"), "greater_equal", "less")
    if test is None or not _is_zero(test.get("y")):
        return False
    if test.op_type == "less":
        kept, moved = moved, kept
    added = _op_of(moved, "add")
    if added is None or kept is None or test.get("x") is not kept:
        return False
    x, y = added.get("x"), added.get("y")
    return (x is kept and _is_size(y, axes, sizes)) or (y is kept and _is_size(x, axes, sizes))


def _op_of(operand: Operand | None, *op_types: str) -> Op | None:
    """The op that yields an operand, if it is of one of these types."""
    op = operand.op if isinstance(operand, Value) else None
    return op if op is not None and op.op_type in op_types else None


def _array_of(operand: Operand | None) -> Array | None:
    """The elements of a constant of integers."""
    const = None if operand is None else constant_of(operand)
    return const.numpy() if const is not None and const.is_tensor and const.tensor.dtype.is_integer else None


def _is_zero(operand: Operand | None) -> bool:
    array = _array_of(operand)
    return array is not None and not array.any()


def _is_size(operand: Operand | None, axes: Axes, sizes: Known | None) -> bool:
    array = _array_of(operand)
    if array is not None:
        wanted = np.asarray(sizes)
        return sizes is not None and array.size in (1, wanted.size) and bool(np.all(array == wanted))
    return axes.depth is None and _is_measured(operand, axes)


def _is_measured(operand: Operand | None, axes: Axes) -> bool:
    """Whether a value is the element of `shape(source)` at the axis, however it was picked."""
    while (around := _op_of(operand, "squeeze", "expand_dims", "cast")) is not None:
        operand = around.get("x")
    picked = _op_of(operand, "gather", "slice_by_index", "slice_by_size")
    if picked is None or not isinstance(operand, Value) or not isinstance(operand.type, TensorType) or operand.type.numel != 1:
        return False
    shape = _op_of(picked.get("x"), "shape")
    at = _array_of(picked.get("indices" if picked.op_type == "gather" else "begin"))
    rank = tensor_type(axes.source, "operand").rank
    if shape is None or shape.get("x") is not axes.source or at is None or at.size != 1 or rank <= 0:
        return False
    return int(at.reshape(-1)[0]) % rank == axes.first % rank
