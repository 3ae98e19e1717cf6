"""What the evaluators have in common: the types of their parameters, the precision that they compute in, and axes.

The numeric contract of the runtime: integers stay integers and wrap around; floats are computed in float32, whatever the declared type,
and rounded to it once. A function may be more precise than float32 inside, never less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, TypeAlias, TypeVar

import ml_dtypes
import numpy as np

from ir.diagnostics import EvaluationError
from ir.slabs import axis_of, show_shape
from ir.tensors import Array

__all__ = ["Array", "Arrays", "Flags", "Ints", "axes_of", "axis_of", "in_float32", "narrow", "show_shape", "to_integer", "wide"]

Arrays: TypeAlias = tuple[Array, ...]
Ints: TypeAlias = tuple[int, ...]
Flags: TypeAlias = tuple[bool, ...]
_F = TypeVar("_F", bound=Callable[..., Any])

NARROW: Final = frozenset(
    np.dtype(kind) for kind in (np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
)
"""The float types that are computed with in float32."""


def wide(array: Array) -> Array:
    """The array in float32 if it is of a narrower float type; itself if not."""
    return array.astype(np.float32) if array.dtype in NARROW else array


def narrow(result: Any, dtype: np.dtype[Any]) -> Array:
    """A result in the declared type: rounded, if it is a float; integers toward zero, saturated."""
    array = np.asarray(result)
    if array.dtype == dtype:
        return array
    if dtype.kind in "iu" and array.dtype.kind == "f":
        return to_integer(array, dtype)
    return array.astype(dtype)


def to_integer(values: Array, dtype: np.dtype[Any]) -> Array:
    """Floats as integers: toward zero, what is out of range to the nearest bound, NaN to 0.

    C and NumPy leave out-of-range values open. This is what the processors that run Core ML do (`fcvtzs`), on any machine.
    """
    bounds = np.iinfo(dtype)
    if not values.size or (values.min() >= bounds.min and values.max() < bounds.max):  # false for NaN
        return values.astype(dtype)
    whole = np.nan_to_num(np.trunc(values.astype(np.float64)), nan=0.0, posinf=np.inf, neginf=-np.inf)
    with np.errstate(invalid="ignore"):
        result = np.clip(whole, bounds.min, float(bounds.max)).astype(dtype)
    if bounds.bits == 64:  # the greatest int64 is no float64
        result = np.where(whole >= float(bounds.max), bounds.max, result)
    return np.asarray(result, dtype)


def in_float32(function: _F) -> _F:
    """Lets a function compute in float32: narrower float operands are widened, and its result has the type of the first array."""

    @wraps(function)
    def evaluate(*operands: Any, **named: Any) -> Array:
        dtype: np.dtype[Any] | None = None
        given: list[Any] = []
        for operand in operands:
            if isinstance(operand, np.ndarray):
                dtype = dtype or operand.dtype
                operand = wide(operand)
            given.append(operand)
        for name, operand in named.items():
            if isinstance(operand, np.ndarray):
                dtype = dtype or operand.dtype
                named[name] = wide(operand)
        assert dtype is not None  # an evaluator has an array among its operands
        return narrow(function(*given, **named), dtype)

    return evaluate  # type: ignore[return-value]  # the same parameters, and an array for whatever the function returned


def axes_of(axes: Sequence[int] | None, rank: int) -> Ints:
    """Axes counted from the front; all where none are named.

    Raises:
        EvaluationError: there is no such axis, or one is named twice.
    """
    if axes is None:
        return tuple(range(rank))
    found = tuple(axis_of(axis, rank) for axis in axes)
    if len(set(found)) < len(found):
        raise EvaluationError(f"an axis is named twice: {', '.join(map(str, axes))}")
    return found
