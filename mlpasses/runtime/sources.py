"""Ops that make tensors: of a value, a range, a shape, a position."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from ir.diagnostics import EvaluationError
from mlpasses.runtime.arrays import Array, Ints, axis_of, narrow, wide


def fill(shape: Ints, value: Array | float = 0.0) -> Array:
    """One value in every place, held once."""
    return np.broadcast_to(_float32(value), shape)


def fill_like(ref_tensor: Array, value: Array | float = 0.0) -> Array:
    """One value in the shape of another tensor, held once."""
    return np.broadcast_to(_float32(value), ref_tensor.shape)


def _float32(value: Array | float) -> Array:
    return np.asarray(value, np.float32) if isinstance(value, float) else value


def shape(x: Array) -> Array:
    return np.array(x.shape, np.int32)


def range_1d(end: Array, start: Array, step: Array) -> Array:
    """start, start + step, …, below end. As many as (end - start) / step says in float32; elements are rounded once.

    Raises:
        EvaluationError: no number of steps leads from start to end.
    """
    if not start.size == end.size == step.size == 1:
        raise EvaluationError("start, end and step have to be scalars")
    with np.errstate(all="ignore"):
        steps = (wide(end).reshape(()) - wide(start).reshape(())) / wide(step).reshape(())
    if not np.isfinite(steps):
        raise EvaluationError(f"a range from {start.item()} to {end.item()} has no steps of {step.item()}")
    numbers = np.arange(max(0, math.ceil(steps)))
    return narrow(start.item() + numbers * step.item(), start.dtype)


def one_hot(
    indices: Array,
    one_hot_vector_size: int,
    axis: int = -1,
    on_value: Array | int | None = None,
    off_value: Array | int | None = None,
) -> Array:
    """`on_value` where the new axis has the index, `off_value` elsewhere, and everywhere for an index that it does not have."""
    if one_hot_vector_size < 0:
        raise EvaluationError(f"one_hot_vector_size is {one_hot_vector_size}")
    at = axis_of(axis, indices.ndim + 1)
    known = on_value if on_value is not None else off_value
    dtype = np.dtype(np.int32) if known is None else np.asarray(known).dtype
    on = np.asarray(1 if on_value is None else on_value, dtype)
    off = np.asarray(0 if off_value is None else off_value, dtype)
    positions = np.arange(one_hot_vector_size).reshape([-1 if i == at else 1 for i in range(indices.ndim + 1)])
    return np.where(np.expand_dims(indices, at) == positions, on, off)


def non_zero(x: Array) -> Array:
    """The positions of the elements that are not 0, a row each."""
    return np.argwhere(x).astype(np.int32)


EVALUATORS: Final[Mapping[str, Callable[..., Any]]] = {
    function.__name__: function for function in (fill, fill_like, non_zero, one_hot, range_1d, shape)
}
