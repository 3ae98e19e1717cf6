"""Normalizations, with statistics in float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from ir.diagnostics import EvaluationError
from mlpasses.runtime.arrays import Array, Ints, axes_of, in_float32, show_shape


@in_float32
def batch_norm(
    x: Array,
    mean: Array,
    variance: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: Array | float = 1e-5,
) -> Array:
    """gamma·(x - mean) / √(variance + epsilon) + beta, by channel (axis 1)"""
    factor = 1 / np.sqrt(variance + np.float32(epsilon))
    if gamma is not None:
        factor = factor * gamma
    result = (x - _by_channel(mean, x)) * _by_channel(factor, x)
    return np.asarray(result if beta is None else result + _by_channel(beta, x))


@in_float32
def instance_norm(x: Array, gamma: Array | None = None, beta: Array | None = None, epsilon: Array | float = 1e-5) -> Array:
    """gamma·(x - E[x]) / √(Var[x] + epsilon) + beta, of each channel of each element of the batch"""
    if x.ndim < 3:
        raise EvaluationError(f"x has to be of rank 3 or more, and is {show_shape(x.shape)}")
    result = _standardized(x, tuple(range(2, x.ndim)), epsilon)
    if gamma is not None:
        result = result * _by_channel(gamma, x)
    return np.asarray(result if beta is None else result + _by_channel(beta, x))


@in_float32
def layer_norm(
    x: Array, axes: Ints | None = None, gamma: Array | None = None, beta: Array | None = None, epsilon: Array | float = 1e-5
) -> Array:
    """gamma·(x - E[x]) / √(Var[x] + epsilon) + beta, over the axes, whose dimensions gamma and beta have"""
    over = sorted(axes_of(axes, x.ndim))
    own = [dim if axis in over else 1 for axis, dim in enumerate(x.shape)]
    result = _standardized(x, tuple(over), epsilon)
    if gamma is not None:
        result = result * gamma.reshape(own)
    return np.asarray(result if beta is None else result + beta.reshape(own))


@in_float32
def l2_norm(x: Array, epsilon: Array | float = 1e-6) -> Array:
    """x / √(Σx² + epsilon), over the last three axes"""
    if x.ndim < 3:
        raise EvaluationError(f"x has to be of rank 3 or more, and is {show_shape(x.shape)}")
    return np.asarray(x / np.sqrt(np.square(x).sum(axis=(-3, -2, -1), keepdims=True) + np.float32(epsilon)))


def _standardized(x: Array, axes: Ints, epsilon: Array | float) -> Array:
    centred = x - x.mean(axis=axes, keepdims=True)
    return np.asarray(centred / np.sqrt(np.square(centred).mean(axis=axes, keepdims=True) + np.float32(epsilon)))


def _by_channel(values: Array, x: Array) -> Array:
    if values.ndim != 1 or x.ndim < 2 or x.shape[1] != values.size:
        raise EvaluationError(f"there has to be a value for each channel, the axis 1 of {show_shape(x.shape)}, and there are {values.size}")
    return values.reshape([-1 if axis == 1 else 1 for axis in range(x.ndim)])


EVALUATORS: Final[Mapping[str, Callable[..., Any]]] = {
    function.__name__: function for function in (batch_norm, instance_norm, l2_norm, layer_norm)
}
