"""Ops that work element by element: arithmetic, comparison, logic, select, cast, quantize."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from ir import expansion
from ir.diagnostics import EvaluationError
from ir.types import DTYPE_BY_NAME, STRING
from mlpasses.runtime import special
from mlpasses.runtime.arrays import Array, axis_of, in_float32, narrow, to_integer, wide


def _unary(function: Callable[[Array], Any]) -> Callable[..., Array]:
    def evaluate(x: Array) -> Array:
        return narrow(function(wide(x)), x.dtype)

    return evaluate


def _binary(function: Callable[[Array, Array], Any]) -> Callable[..., Array]:
    def evaluate(x: Array, y: Array) -> Array:
        return narrow(function(wide(x), wide(y)), x.dtype)

    return evaluate


def _comparison(function: Callable[[Array, Array], Any]) -> Callable[..., Array]:
    def evaluate(x: Array, y: Array) -> Array:
        return np.asarray(function(x, y))

    return evaluate


@in_float32
def inverse(x: Array, epsilon: Array | float = 1e-4) -> Array:
    """1 / (x + epsilon)"""
    return np.asarray(1 / (x + _one(epsilon)))


@in_float32
def log(x: Array, epsilon: Array | float = 1e-45) -> Array:
    """ln(x + epsilon)"""
    return np.asarray(np.log(x + _one(epsilon)))


@in_float32
def rsqrt(x: Array, epsilon: Array | float = 1e-12) -> Array:
    """1 / √(x + epsilon)"""
    return np.asarray(1 / np.sqrt(x + _one(epsilon)))


def _one(number: Array | float) -> Any:
    return np.float32(number)


def threshold(x: Array, alpha: Array) -> Array:
    """max(x, alpha)"""
    return np.maximum(x, alpha)


def clip(x: Array, alpha: Array, beta: Array) -> Array:
    """min(max(x, alpha), beta)"""
    return np.minimum(np.maximum(x, alpha), beta)


def logical_not(x: Array) -> Array:
    return np.logical_not(x)


def cast(x: Array, dtype: str) -> Array:
    """Floats become integers toward zero and saturated, integers wrap around, what is not 0 is true.

    Raises:
        EvaluationError: there is no such element type, or it or that of x is a string's.
    """
    target = DTYPE_BY_NAME.get(dtype)
    if target is None or target is STRING or target.is_subbyte or x.dtype.kind == "O":
        raise EvaluationError(f"nothing is known of a cast from {x.dtype} to {dtype!r}")
    wanted = np.dtype(target.numpy)
    if wanted.kind in "iu" and x.dtype.kind not in "iub":
        return to_integer(wide(x), wanted)
    return x if x.dtype == wanted else x.astype(wanted)


def select(cond: Array, a: Array, b: Array) -> Array:
    """cond ? a : b"""
    return np.where(cond, a, b)


def quantize(
    input: Array,  # noqa: A002
    scale: Array,
    output_dtype: str,
    zero_point: Array | None = None,
    axis: int | None = None,
) -> Array:
    """clip(round(input / scale) + zero_point), halves to even.

    Raises:
        EvaluationError: `output_dtype` is not int8 or uint8, or a vector is not as long as its axis.
    """
    if output_dtype not in ("int8", "uint8"):
        raise EvaluationError(f"output_dtype has to be int8 or uint8, and is {output_dtype!r}")
    wanted = np.dtype(output_dtype)
    steps = np.round(wide(input) / _along(wide(scale), input, axis))
    if zero_point is not None:
        steps = steps + _along(zero_point, input, axis).astype(np.float32)
    return to_integer(np.asarray(steps), wanted)


def dequantize(input: Array, scale: Array, zero_point: Array | None = None, axis: int | None = None) -> Array:  # noqa: A002
    """scale * (input - zero_point)"""
    shift = np.zeros((), input.dtype) if zero_point is None else zero_point
    if not input.ndim:
        return dequantize(input.reshape(1), scale, shift, axis).reshape(())
    return expansion.affine_dequantize(input, scale, shift, 0 if axis is None else axis)


def _along(values: Array, data: Array, axis: int | None) -> Array:
    if not values.ndim:
        return values
    if axis is None or values.ndim > 1:
        raise EvaluationError(f"a scale of {values.size} elements needs an axis, and has to be a vector")
    at = axis_of(axis, data.ndim)
    if values.size != data.shape[at]:
        raise EvaluationError(f"axis {at} has {data.shape[at]} elements, and its scales or zero points are {values.size}")
    return values.reshape([-1 if i == at else 1 for i in range(data.ndim)])


def _nonzero(y: Array) -> None:
    if y.dtype.kind in "iu" and not y.all():
        raise EvaluationError("an integer is divided by 0")


def _real_div(x: Array, y: Array) -> Array:
    """Of integers, toward zero, as a cast of the quotient is."""
    _nonzero(y)
    return np.asarray(np.true_divide(x, y))


def _floor_div(x: Array, y: Array) -> Array:
    _nonzero(y)
    return np.asarray(np.floor_divide(x, y))


def _mod(x: Array, y: Array) -> Array:
    """With the sign of y."""
    _nonzero(y)
    return np.asarray(np.mod(x, y))


def _pow(x: Array, y: Array) -> Array:
    if y.dtype.kind == "i" and (y < 0).any():
        raise EvaluationError("an integer is raised to a negative power")
    return np.asarray(np.power(x, y))


def _exp2(x: Array) -> Array:
    """Of an integer, what is left of 2^x when it is cast back."""
    return np.asarray(np.exp2(x.astype(np.float64) if x.dtype.kind == "i" else x))


_UNARY: Final[Mapping[str, Callable[[Array], Any]]] = {
    "abs": np.abs, "acos": np.arccos, "asin": np.arcsin, "atan": np.arctan, "atanh": np.arctanh, "ceil": np.ceil, "cos": np.cos,
    "cosh": np.cosh, "erf": special.erf, "exp": np.exp, "exp2": _exp2, "floor": np.floor, "round": np.round, "sign": np.sign,
    "sin": np.sin, "sinh": np.sinh, "sqrt": np.sqrt, "square": np.square, "tan": np.tan, "tanh": np.tanh,
}  # fmt: skip
_BINARY: Final[Mapping[str, Callable[[Array, Array], Any]]] = {
    "add": np.add, "floor_div": _floor_div, "maximum": np.maximum, "minimum": np.minimum, "mod": _mod, "mul": np.multiply, "pow": _pow,
    "real_div": _real_div, "sub": np.subtract,
}  # fmt: skip
_COMPARISON: Final[Mapping[str, Callable[[Array, Array], Any]]] = {
    "equal": np.equal, "greater": np.greater, "greater_equal": np.greater_equal, "less": np.less, "less_equal": np.less_equal,
    "not_equal": np.not_equal, "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor,
}  # fmt: skip
EVALUATORS: Final[Mapping[str, Callable[..., Any]]] = {
    **{op_type: _unary(function) for op_type, function in _UNARY.items()},
    **{op_type: _binary(function) for op_type, function in _BINARY.items()},
    **{op_type: _comparison(function) for op_type, function in _COMPARISON.items()},
    "cast": cast,
    "clip": clip,
    "dequantize": dequantize,
    "inverse": inverse,
    "log": log,
    "logical_not": logical_not,
    "quantize": quantize,
    "rsqrt": rsqrt,
    "select": select,
    "threshold": threshold,
}
