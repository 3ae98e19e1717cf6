"""Reductions over axes, positions of extremes, and running sums.

Sums of floats are taken in float32; of integers in 64 bits, and what is left of them in the declared type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np

from ir.diagnostics import EvaluationError
from mlpasses.runtime.arrays import Array, Ints, axes_of, axis_of, narrow, wide

_Reduce: TypeAlias = Callable[[Array, Ints], Any]
"""Reduces over axes, which stay as dimensions of 1."""


def _reduction(function: _Reduce) -> Callable[..., Array]:
    def evaluate(x: Array, axes: Ints | None = None, keep_dims: bool = False) -> Array:
        over = axes_of(axes, x.ndim)
        kept = function(x, over)
        return narrow(kept if keep_dims else np.squeeze(kept, axis=over), x.dtype)

    return evaluate


def _float32(x: Array) -> type[Any]:
    """What sums are taken in."""
    return np.int64 if x.dtype.kind in "iu" else np.float32


def _real(x: Array) -> Array:
    """Of integers, float64: what has no integer result is computed in it and cast."""
    return x.astype(np.float64) if x.dtype.kind in "iu" else wide(x)


def _sum(x: Array, axes: Ints) -> Any:
    return np.sum(x, axis=axes, keepdims=True, dtype=_float32(x))


def _prod(x: Array, axes: Ints) -> Any:
    return np.prod(x, axis=axes, keepdims=True, dtype=_float32(x))


def _mean(x: Array, axes: Ints) -> Any:
    return np.mean(x, axis=axes, keepdims=True, dtype=np.float64 if x.dtype.kind in "iu" else np.float32)


def _l1_norm(x: Array, axes: Ints) -> Any:
    return _sum(np.abs(x), axes)


def _sum_square(x: Array, axes: Ints) -> Any:
    return np.sum(np.square(x.astype(_float32(x))), axis=axes, keepdims=True)


def _l2_norm(x: Array, axes: Ints) -> Any:
    return np.sqrt(np.sum(np.square(_real(x)), axis=axes, keepdims=True))


def _log_sum(x: Array, axes: Ints) -> Any:
    return np.log(np.sum(_real(x), axis=axes, keepdims=True))


def _log_sum_exp(x: Array, axes: Ints) -> Any:
    """The greatest element is taken out, so that no power overflows; an infinite one as it is."""
    values = _real(x)
    most = np.max(values, axis=axes, keepdims=True)
    most = np.where(np.isfinite(most), most, values.dtype.type(0))
    return np.log(np.sum(np.exp(values - most), axis=axes, keepdims=True)) + most


def _max(x: Array, axes: Ints) -> Any:
    return np.max(x, axis=axes, keepdims=True)


def _min(x: Array, axes: Ints) -> Any:
    return np.min(x, axis=axes, keepdims=True)


def _position(function: Callable[..., Any]) -> Callable[..., Array]:
    """The first where there are several."""

    def evaluate(x: Array, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Array:
        if output_dtype not in ("int32", "uint16"):
            raise EvaluationError(f"output_dtype has to be int32 or uint16, and is {output_dtype!r}")
        return np.asarray(function(x, axis=axis_of(axis, x.ndim), keepdims=keep_dims)).astype(output_dtype)

    return evaluate


def cumsum(x: Array, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Array:
    """The sums of the elements up to each one along an axis; without itself if exclusive, from the end if in reverse."""
    at = axis_of(axis, x.ndim)
    along = np.flip(x, at) if reverse else x
    sums = np.cumsum(along, axis=at, dtype=_float32(x))
    if exclusive:
        shifted = np.zeros_like(sums)
        front = (slice(None),) * at
        shifted[(*front, slice(1, None))] = sums[(*front, slice(None, -1))]
        sums = shifted
    return narrow(np.flip(sums, at) if reverse else sums, x.dtype)


EVALUATORS: Final[Mapping[str, Callable[..., Any]]] = {
    "cumsum": cumsum,
    "reduce_argmax": _position(np.argmax),
    "reduce_argmin": _position(np.argmin),
    "reduce_l1_norm": _reduction(_l1_norm),
    "reduce_l2_norm": _reduction(_l2_norm),
    "reduce_log_sum": _reduction(_log_sum),
    "reduce_log_sum_exp": _reduction(_log_sum_exp),
    "reduce_max": _reduction(_max),
    "reduce_mean": _reduction(_mean),
    "reduce_min": _reduction(_min),
    "reduce_prod": _reduction(_prod),
    "reduce_sum": _reduction(_sum),
    "reduce_sum_square": _reduction(_sum_square),
}
