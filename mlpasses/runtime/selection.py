"""Ops that cut tensors and join them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ir.diagnostics import EvaluationError
from mlpasses.runtime.arrays import Array, Arrays, Flags, Ints, axis_of, show_shape


def slice_by_index(
    x: Array,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Flags | None = None,
    end_mask: Flags | None = None,
    squeeze_mask: Flags | None = None,
) -> Array:
    """x[begin:end:stride]; a masked begin or end is that of the axis, a squeezed axis is x[begin]."""
    return np.asarray(x[_slices(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)])


def slice_update(
    x: Array,
    update: Array,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Flags | None = None,
    end_mask: Flags | None = None,
    squeeze_mask: Flags | None = None,
) -> Array:
    """x, where x[begin:end:stride] is `update`."""
    at = _slices(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    result = x.copy()
    if result[at].shape != update.shape:
        raise EvaluationError(f"the slice is {show_shape(result[at].shape)}, and update {show_shape(update.shape)}")
    result[at] = update
    return result


def _slices(
    x: Array,
    begin: Ints,
    end: Ints,
    stride: Ints | None,
    begin_mask: Flags | None,
    end_mask: Flags | None,
    squeeze_mask: Flags | None,
) -> tuple[slice | int, ...]:
    rank = x.ndim
    strides = (1,) * rank if stride is None else stride
    no = (False,) * rank
    masks = [no if mask is None else mask for mask in (begin_mask, end_mask, squeeze_mask)]
    if any(len(given) != rank for given in (begin, end, strides, *masks)):
        raise EvaluationError(f"begin, end, stride and the masks have to have {rank} elements, as x {show_shape(x.shape)} has dimensions")
    at: list[slice | int] = []
    for axis, (first, last, step, from_start, to_end, squeezed) in enumerate(zip(begin, end, strides, *masks, strict=True)):
        if squeezed:
            at.append(_index(0 if from_start else first, x.shape[axis], axis))
        elif not step:
            raise EvaluationError("stride has a 0")
        else:
            at.append(slice(None if from_start else first, None if to_end else last, step))
    return tuple(at)


def _index(index: int, dim: int, axis: int) -> int:
    if not -dim <= index < dim:
        raise EvaluationError(f"index {index} is out of the {dim} elements of axis {axis}")
    return index


def slice_by_size(x: Array, begin: Ints, size: Ints) -> Array:
    """`size` elements from `begin`; -1 is all that are left."""
    if not len(begin) == len(size) == x.ndim:
        raise EvaluationError(f"begin and size have to have {x.ndim} elements, and have {len(begin)} and {len(size)}")
    at: list[slice] = []
    for axis, (first, count, dim) in enumerate(zip(begin, size, x.shape, strict=True)):
        start = first + dim if first < 0 else first
        stop = dim if count == -1 else start + count
        if not 0 <= start <= stop <= dim:
            raise EvaluationError(f"{count} elements from {first} on are not in the {dim} of axis {axis}")
        at.append(slice(start, stop))
    return x[tuple(at)]


def sliding_windows(x: Array, axis: int, size: int, stride: int = 1) -> Array:
    """[.., d, ..] → [.., (d - size) / stride + 1, size, ..]"""
    at = axis_of(axis, x.ndim)
    if not 1 <= size <= x.shape[at] or stride < 1:
        raise EvaluationError(f"there are no windows of {size}, at a stride of {stride}, in {x.shape[at]} elements")
    windows = np.moveaxis(sliding_window_view(x, size, axis=at), -1, at + 1)
    return windows[(*(slice(None),) * at, slice(None, None, stride))]


def split(x: Array, axis: int, num_splits: int | None = None, split_sizes: Ints | None = None) -> Arrays:
    """Into equal parts, or parts of the given sizes."""
    at = axis_of(axis, x.ndim)
    dim = x.shape[at]
    if split_sizes is None:
        if num_splits is None or num_splits < 1 or dim % num_splits:
            raise EvaluationError(f"{dim} elements cannot be split into {num_splits} parts")
        split_sizes = (dim // num_splits,) * num_splits
    if sum(split_sizes) != dim or min(split_sizes) < 0 or (num_splits is not None and num_splits != len(split_sizes)):
        raise EvaluationError(f"{dim} elements cannot be split into parts of {show_shape(split_sizes)}")
    front = (slice(None),) * at
    ends = list(accumulate(split_sizes))
    return tuple(x[(*front, slice(end - size, end))] for end, size in zip(ends, split_sizes, strict=True))


def concat(values: Arrays, axis: int, interleave: bool = False) -> Array:
    """One after the other along an axis, or in turns; scalars make a vector."""
    if not values[0].ndim:
        return np.stack(values)
    if not interleave:
        return np.concatenate(values, axis=axis_of(axis, values[0].ndim))
    at = axis_of(axis, values[0].ndim)
    shape = list(values[0].shape)
    shape[at] *= len(values)
    return np.stack(values, axis=at + 1).reshape(shape)


def stack(values: Arrays, axis: int) -> Array:
    return np.stack(values, axis=axis_of(axis, values[0].ndim + 1))


def tile(x: Array, reps: Ints) -> Array:
    """Each dimension so many times over."""
    if len(reps) != x.ndim or min(reps, default=1) < 1:
        raise EvaluationError(f"reps has to have {x.ndim} positive elements, and is {show_shape(reps)}")
    return np.tile(x, reps)


def pad(x: Array, pad: Ints, mode: str = "constant", constant_val: Array | float = 0.0) -> Array:
    """`pad` holds the amounts before and after each of the last dimensions.

    Raises:
        EvaluationError: there is no such mode, amounts are negative or do not fit x, or are more than can be reflected.
    """
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}
    if mode not in modes:
        raise EvaluationError(f"mode has to be {', '.join(modes)}, and is {mode!r}")
    if len(pad) % 2 or len(pad) > 2 * x.ndim or min(pad, default=0) < 0:
        found = f"of {show_shape(x.shape)}, and is {show_shape(pad)}"
        raise EvaluationError(f"pad has to have two amounts for each of the last dimensions {found}")
    amounts = [(0, 0)] * (x.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))
    if mode == "constant":
        return np.pad(x, amounts, constant_values=constant_val)
    for (before, after), dim in zip(amounts, x.shape, strict=True):
        if mode == "reflect" and max(before, after) >= max(dim, 1):
            raise EvaluationError(f"a dimension of {dim} has no {max(before, after)} elements to reflect")
    return np.asarray(np.pad(x, amounts, mode=modes[mode]))  # type: ignore[call-overload]  # one of NumPy's own literals


def band_part(x: Array, lower: int = -1, upper: int = -1) -> Array:
    """Zeros outside of the diagonals from -lower to upper of the innermost matrices; a negative number stands for all."""
    if x.ndim < 2:
        raise EvaluationError(f"x has to be of rank 2 or more, and is {show_shape(x.shape)}")
    rows, columns = x.shape[-2:]
    below = np.arange(rows)[:, None] - np.arange(columns)
    kept = np.ones((rows, columns), np.bool_)
    if lower >= 0:
        kept &= below <= lower
    if upper >= 0:
        kept &= -below <= upper
    return np.where(kept, x, x.dtype.type(0))


EVALUATORS: Final[Mapping[str, Callable[..., Any]]] = {
    function.__name__: function
    for function in (
        band_part, concat, pad, slice_by_index, slice_by_size, slice_update, sliding_windows, split, stack, tile,
    )
}  # fmt: skip
