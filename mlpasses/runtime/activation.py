"""Activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from ir.diagnostics import EvaluationError
from mlpasses.runtime.arrays import Array, axis_of, in_float32
from mlpasses.runtime.special import erfc


def relu(x: Array) -> Array:
    """max(x, 0)"""
    return np.asarray(np.maximum(x, x.dtype.type(0)))


def relu6(x: Array) -> Array:
    """min(max(x, 0), 6)"""
    return np.asarray(np.minimum(np.maximum(x, x.dtype.type(0)), x.dtype.type(6)))


@in_float32
def clamped_relu(x: Array, alpha: Array, beta: Array) -> Array:
    """min(x, beta) where x ≥ 0, else min(alpha·x, beta)"""
    return np.minimum(np.where(x >= 0, x, alpha * x), beta)


@in_float32
def elu(x: Array, alpha: Array) -> Array:
    """x where x > 0, else alpha·(eˣ - 1)"""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, np.float32(0))))


def gelu(x: Array, mode: str = "EXACT") -> Array:
    """x·Φ(x), or one of its two approximations.

    EXACT is x/2·erfc(-x/√2) in float64, since 1 + erf loses all digits of a large negative x.

    Raises:
        EvaluationError: there is no such mode.
    """
    function = _GELU.get(mode)
    if function is None:
        raise EvaluationError(f"mode has to be {', '.join(_GELU)}, and is {mode!r}")
    return np.asarray(function(x))


def _gelu_exact(x: Array) -> Array:
    values = x.astype(np.float64)
    return np.asarray(0.5 * values * erfc(values / -np.sqrt(2.0))).astype(x.dtype)


@in_float32
def _gelu_tanh(x: Array) -> Array:
    return np.asarray(x * _sigmoid(np.float32(2 * np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)))


@in_float32
def _gelu_sigmoid(x: Array) -> Array:
    return np.asarray(x * _sigmoid(np.float32(1.702) * x))


_GELU: Final[Mapping[str, Callable[[Array], Array]]] = {
    "EXACT": _gelu_exact,
    "TANH_APPROXIMATION": _gelu_tanh,  # (1 + tanh(a)) / 2 is sigmoid(2a), without the cancellation
    "SIGMOID_APPROXIMATION": _gelu_sigmoid,
}


@in_float32
def leaky_relu(x: Array, alpha: Array) -> Array:
    """x where x ≥ 0, else alpha·x"""
    return np.where(x >= 0, x, alpha * x)


@in_float32
def linear_activation(x: Array, alpha: Array, beta: Array) -> Array:
    """alpha·x + beta"""
    return np.asarray(alpha * x + beta)


@in_float32
def prelu(x: Array, alpha: Array) -> Array:
    """x where x > 0, else alpha·x, with an alpha for each channel (axis 1)"""
    return np.where(x > 0, x, _by_channel(alpha, x) * x)


@in_float32
def scaled_tanh(x: Array, alpha: Array, beta: Array) -> Array:
    """alpha·tanh(beta·x)"""
    return np.asarray(alpha * np.tanh(beta * x))


@in_float32
def sigmoid(x: Array) -> Array:
    """1 / (1 + e⁻ˣ)"""
    return _sigmoid(x)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))  # an overflow of exp gives the 0 that is right


@in_float32
def sigmoid_hard(x: Array, alpha: Array, beta: Array) -> Array:
    """min(max(alpha·x + beta, 0), 1)"""
    return np.asarray(np.clip(alpha * x + beta, np.float32(0), np.float32(1)))


@in_float32
def silu(x: Array) -> Array:
    """x·sigmoid(x)"""
    return np.asarray(x / (1 + np.exp(-x)))


@in_float32
def softplus(x: Array) -> Array:
    """ln(1 + eˣ)"""
    return _softplus(x)


def _softplus(x: Array) -> Array:
    return np.asarray(np.log1p(np.exp(-np.abs(x))) + np.maximum(x, np.float32(0)))


@in_float32
def softplus_parametric(x: Array, alpha: Array, beta: Array) -> Array:
    """alpha·ln(1 + e^(beta·x)), with an alpha and a beta for each channel (axis 1)"""
    return np.asarray(_by_channel(alpha, x) * _softplus(_by_channel(beta, x) * x))


@in_float32
def softsign(x: Array) -> Array:
    """x / (1 + |x|)"""
    return np.asarray(x / (1 + np.abs(x)))


@in_float32
def softmax(x: Array, axis: int = -1) -> Array:
    """eˣ / Σ eˣ along an axis"""
    at = axis_of(axis, x.ndim)
    powers: Array = np.exp(x - x.max(axis=at, keepdims=True))
    powers /= powers.sum(axis=at, keepdims=True)
    return powers


def thresholded_relu(x: Array, alpha: Array) -> Array:
    """x where x ≥ alpha, else 0"""
    return np.where(x >= alpha, x, x.dtype.type(0))


def _by_channel(values: Array, x: Array) -> Array:
    if values.ndim != 1 or x.ndim < 2 or x.shape[1] != values.size:
        raise EvaluationError(f"there has to be a value for each channel, the axis 1 of {list(x.shape)}, and there are {values.size}")
    return values.reshape([-1 if axis == 1 else 1 for axis in range(x.ndim)])


EVALUATORS: Final[Mapping[str, Callable[..., Any]]] = {
    function.__name__: function
    for function in (
        clamped_relu, elu, gelu, leaky_relu, linear_activation, prelu, relu, relu6, scaled_tanh, sigmoid, sigmoid_hard, silu, softmax,
        softplus, softplus_parametric, softsign, thresholded_relu,
    )
}  # fmt: skip
