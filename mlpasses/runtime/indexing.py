"""Gather, scatter, and sorting.

Below iOS17 an index may count from the back; from iOS17 on a negative one is out of bounds. What Core ML does with an index that is out of
bounds is undefined, so it is an error here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final

import numpy as np

from ir.diagnostics import EvaluationError
from mlpasses.runtime.arrays import Array, axis_of, narrow, show_shape, wide


def _checked(indices: Array, dim: int) -> Array:
    """The indices, after a look at each."""
    if indices.size and not -dim <= indices.min() <= indices.max() < dim:
        wrong = indices[(indices < -dim) | (indices >= dim)][0]
        raise EvaluationError(f"index {wrong} is out of bounds of an axis of {dim} elements")
    return indices.astype(np.intp)


def nonnegative(function: Callable[..., Array]) -> Callable[..., Array]:
    """The op as it is from iOS17 on."""

    @wraps(function)
    def evaluate(*, indices: Array, **others: Any) -> Array:
        if indices.size and indices.min() < 0:
            raise EvaluationError(f"index {indices.min()} is out of bounds: from iOS17 on indices do not count from the back")
        return function(indices=indices, **others)

    return evaluate


def gather(x: Array, indices: Array, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False) -> Array:
    """x[.., indices, ..] at `axis`, for each element of the first `batch_dims` dimensions, which both have in common."""
    at = axis_of(axis, x.ndim)
    if not 0 <= batch_dims <= min(at, indices.ndim) or x.shape[:batch_dims] != indices.shape[:batch_dims]:
        raise EvaluationError(
            f"the first {batch_dims} dimensions of x {show_shape(x.shape)} and indices {show_shape(indices.shape)} are no common batch"
        )
    found = _checked(indices, x.shape[at])
    if not batch_dims:
        return np.asarray(np.take(x, found, axis=at))
    batch, between, behind = x.shape[:batch_dims], x.shape[batch_dims:at], x.shape[at + 1 :]
    tables = np.moveaxis(x.reshape(-1, *between, x.shape[at], *behind), 1 + len(between), 1)
    rows = found.reshape(len(tables), -1)
    taken = np.moveaxis(tables[np.arange(len(tables))[:, None], rows], 1, 1 + len(between))
    return taken.reshape(*batch, *between, *indices.shape[batch_dims:], *behind)


def gather_along_axis(x: Array, indices: Array, axis: int = 0, validate_indices: bool = False) -> Array:
    """One element of x for each of the indices, which have the shape of x but along `axis`."""
    at = axis_of(axis, x.ndim)
    _check_along(x, indices, at)
    return np.take_along_axis(x, _checked(indices, x.shape[at]), at)


def gather_nd(x: Array, indices: Array, batch_dims: int = 0, validate_indices: bool = False) -> Array:
    """indices[*d, k] hold positions in the k dimensions of x behind the `batch_dims` common ones."""
    depth = indices.shape[-1] if indices.ndim else 0
    if not 0 <= batch_dims < max(indices.ndim, 1) or batch_dims + depth > x.ndim or x.shape[:batch_dims] != indices.shape[:batch_dims]:
        raise EvaluationError(f"indices {show_shape(indices.shape)} do not fit x {show_shape(x.shape)} with batch_dims {batch_dims}")
    batch = x.shape[:batch_dims]
    grid = _grid(batch, indices.ndim - 1)
    positions = tuple(_checked(indices[..., k], x.shape[batch_dims + k]) for k in range(depth))
    result = x[(*grid, *positions)] if grid or positions else x
    return np.asarray(np.broadcast_to(result, (*indices.shape[:-1], *x.shape[batch_dims + depth :])))


def scatter(data: Array, indices: Array, updates: Array, axis: int = 0, mode: str = "add", validate_indices: bool = False) -> Array:
    """data, with `updates` put, added, … at the indices along `axis`."""
    at = axis_of(axis, data.ndim)
    return _updated(data, (*(slice(None),) * at, _checked(indices, data.shape[at])), updates, mode)


def scatter_along_axis(
    data: Array, indices: Array, updates: Array, axis: int = 0, mode: str = "add", validate_indices: bool = False
) -> Array:
    """data, with each of `updates` put, added, … where its index says along `axis`."""
    at = axis_of(axis, data.ndim)
    _check_along(data, indices, at)
    grid = _grid(indices.shape, data.ndim)
    grid[at] = _checked(indices, data.shape[at])
    return _updated(data, tuple(grid), updates, mode)


def scatter_nd(data: Array, indices: Array, updates: Array, mode: str = "add", validate_indices: bool = False) -> Array:
    """data, with `updates` put, added, … at the positions that indices[*d, k] hold in its first k dimensions."""
    depth = indices.shape[-1] if indices.ndim else 0
    if not indices.ndim or depth > data.ndim:
        raise EvaluationError(f"indices {show_shape(indices.shape)} go beyond the rank of data {show_shape(data.shape)}")
    return _updated(data, tuple(_checked(indices[..., k], data.shape[k]) for k in range(depth)), updates, mode)


def _grid(shape: tuple[int, ...], rank: int) -> list[Array]:
    """The positions along each of the dimensions, broadcasting over `rank` of them."""
    return [np.arange(dim).reshape([-1 if i == axis else 1 for i in range(rank)]) for axis, dim in enumerate(shape)]


_MODES: Final[Mapping[str, np.ufunc | None]] = {
    "update": None, "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "max": np.maximum, "min": np.minimum,
}  # fmt: skip


def _updated(data: Array, at: tuple[Any, ...], updates: Array, mode: str) -> Array:
    """All updates of one place are taken in float32, and rounded once."""
    if mode not in _MODES:
        raise EvaluationError(f"mode has to be {', '.join(_MODES)}, and is {mode!r}")
    function = _MODES[mode]
    if function is np.divide and data.dtype.kind in "iu":
        raise EvaluationError("nothing is known of how a scatter divides integers")
    result = wide(data)
    result = result.copy() if result is data else result
    wanted = result[at].shape
    if updates.shape != wanted:
        raise EvaluationError(f"updates have to be {show_shape(wanted)}, and are {show_shape(updates.shape)}")
    if function is None:
        result[at] = updates
    else:
        function.at(result, at, wide(updates))
    return narrow(result, data.dtype)


def _check_along(x: Array, indices: Array, axis: int) -> None:
    along = (*x.shape[:axis], *indices.shape[axis : axis + 1], *x.shape[axis + 1 :])
    if indices.ndim != x.ndim or indices.shape != along:
        raise EvaluationError(f"indices {show_shape(indices.shape)} have to have the shape of {show_shape(x.shape)} but along axis {axis}")


def argsort(x: Array, axis: int = -1, ascending: bool = False) -> Array:
    """The positions of the elements in order; of equal ones the first comes first."""
    return _order(x, axis_of(axis, x.ndim), ascending).astype(np.int32)


def _order(x: Array, axis: int, ascending: bool) -> Array:
    if not ascending:
        x = -x if x.dtype.kind not in "iub" else -x.astype(np.int64)
    return np.argsort(x, axis=axis, kind="stable")


def topk(
    x: Array,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> tuple[Array, ...]:
    """The k greatest (least, if ascending) elements along an axis, and their positions. They are in order whether or not `sort` asks."""
    at = axis_of(axis, x.ndim)
    if not 0 <= k <= x.shape[at]:
        raise EvaluationError(f"k is {k}, and axis {at} has {x.shape[at]} elements")
    if output_indices_dtype not in ("int32", "int16", "uint16"):
        raise EvaluationError(f"output_indices_dtype has to be int32, int16 or uint16, and is {output_indices_dtype!r}")
    indices = _order(x, at, ascending)[(*(slice(None),) * at, slice(k))]
    values = np.take_along_axis(x, indices, at)
    return (values, indices.astype(output_indices_dtype)) if return_indices else (values,)


_INDEXED: Final = (gather, gather_along_axis, gather_nd, scatter, scatter_along_axis, scatter_nd)
EVALUATORS: Final[Mapping[str, Callable[..., Any]]] = {function.__name__: function for function in (*_INDEXED, argsort, topk)}
FROM_IOS17: Final[Mapping[str, Callable[..., Any]]] = {function.__name__: nonnegative(function) for function in _INDEXED}
