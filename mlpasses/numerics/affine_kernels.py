"""The functions of `affine_numpy` compiled: equal results bit for bit, an order of magnitude sooner.

Extremes never leave the integers: the bits of a float, flipped besides the sign where it is negative, are ordered as floats are.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mlpasses.numerics.affine import Affine, Array, Engine, Grid, Loss, NotFiniteError, overflow, zero_points
from mlpasses.numerics.half_kernels import bits_of, compiled, error_of, float_of, narrowed, neighbour, of_key, stored, summing, widened
from mlpasses.numerics.scale_kernels import errors, moments, search

NO_ZERO: Final = np.int32(-1 << 16)
"""In place of the zero point that all blocks share, where each has its own."""


@compiled
def _extremes_of_rows(keys: Array, table: Array, low: Array, high: Array, flip: Any, sign: Any) -> None:
    for row in range(keys.shape[0]):
        at = table[row]
        for channel in range(keys.shape[1]):
            least, greatest = low[at, channel], high[at, channel]
            for inner in range(keys.shape[2]):
                key = keys[row, channel, inner]
                key = key ^ ((key >> sign) & flip)
                least = min(least, key)
                greatest = max(greatest, key)
            low[at, channel], high[at, channel] = least, greatest


@compiled
def _extremes_of_columns(keys: Array, table: Array, low: Array, high: Array, flip: Any, sign: Any) -> None:
    """The same where a block's elements do not lie together: runs along the channels instead."""
    for row in range(keys.shape[0]):
        at = table[row]
        for channel in range(keys.shape[1]):
            key = keys[row, channel, 0]
            key = key ^ ((key >> sign) & flip)
            low[at, channel] = min(low[at, channel], key)
            high[at, channel] = max(high[at, channel], key)


@compiled
def _fit(low: Any, high: Any, lowest: Any, highest: Any, shared: Any, limit: Any, like: Any) -> Any:
    """`affine.fit` of one block: its scale and zero point. Steps, limits and the like are what that function says."""
    below = min(np.float64(low), 0.0)
    above = max(np.float64(high), 0.0)
    if shared != NO_ZERO:
        above = max(-below, above)
        below = -above
    span = above - below
    if span == 0:
        scale = np.float32(1)
    else:
        steps = highest - lowest
        scale = narrowed(span / steps, like)
        if span > (steps + 1) * np.float64(scale):
            scale = neighbour(scale, 1, like)
        if shared != NO_ZERO and np.float64(scale) * max(highest - shared, shared - lowest) >= limit:
            scale = neighbour(scale, -1, like)
    if shared != NO_ZERO:
        return scale, shared
    zero = min(max(np.rint(lowest - below / np.float64(scale)), np.float64(lowest)), np.float64(highest))
    return scale, np.int32(zero)


@compiled
def _reach(scale: Any, zero: Any, lowest: Any, highest: Any, limit: Any) -> Any:
    """`affine.reach` of one block. No step is as large as 256, so that for most scales there is nothing to divide."""
    fewest, most = np.float64(lowest - zero), np.float64(highest - zero)
    exact = np.float64(scale)
    if exact * 257 >= limit:
        finite = np.ceil(limit / exact) - 1
        fewest, most = max(fewest, -finite), min(most, finite)
    return np.float32(fewest), np.float32(most)


@compiled
def _fit_all(low: Array, high: Array, lowest: Any, highest: Any, shared: Any, limit: Any, scale: Array, zero: Array) -> None:
    for block in range(low.size):
        like = low[block]
        found, origin = _fit(widened(low[block]), widened(high[block]), lowest, highest, shared, limit, like)
        scale[block] = stored(found, like)
        if shared == NO_ZERO:
            zero[block] = origin


@summing
def _quantize_row(weight: Array, step: Any, origin: Any, least: Any, greatest: Any, out: Array, sums: Array) -> None:
    """The integers of elements of one block; what they cost is added to `sums`."""
    signal, noise, worst = 0.0, 0.0, np.int32(0)
    for inner in range(weight.shape[0]):
        raw = weight[inner]
        value = widened(raw)
        steps = min(max(np.rint(value / step), least), greatest)
        out[inner] = np.int8(np.int32(steps) + origin)
        error = error_of(value, steps * step, raw)
        signal += np.float64(value) * np.float64(value)
        noise += np.float64(error) * np.float64(error)
        worst = max(worst, bits_of(error) & np.int32(0x7FFFFFFF))
    sums[0] += signal
    sums[1] += noise
    sums[2] = max(sums[2], np.float64(float_of(worst)))


@compiled
def _quantize_rows(
    weight: Array, keys: Array, lowest: Any, highest: Any, shared: Any, limit: Any, flip: Any, sign: Any, infinite: Any,
    scale: Array, zero: Array, out: Array, sums: Array,
) -> bool:  # fmt: skip
    """Blocks that lie in rows `[blocks, elements]`, each from its extremes to its integers. False where one is not finite."""
    for block in range(weight.shape[0]):
        least, greatest = flip, ~flip
        for inner in range(keys.shape[1]):
            key = keys[block, inner]
            key = key ^ ((key >> sign) & flip)
            least = min(least, key)
            greatest = max(greatest, key)
        if greatest >= infinite or least <= ~infinite:
            return False
        like = weight[block, 0]
        step, origin = _fit(of_key(least, like), of_key(greatest, like), lowest, highest, shared, limit, like)
        scale[block] = stored(step, like)
        if shared == NO_ZERO:
            zero[block] = origin
        fewest, most = _reach(step, origin, lowest, highest, limit)
        _quantize_row(weight[block], step, origin, fewest, most, out[block], sums)
    return True


@compiled
def _steps_of(scale: Array, zero: Array, lowest: Any, highest: Any, limit: Any, step: Array, fewest: Array, most: Array) -> None:
    for table in range(scale.shape[0]):
        for channel in range(scale.shape[1]):
            step[table, channel] = widened(scale[table, channel])
            least, greatest = _reach(step[table, channel], np.int32(zero[table, channel]), lowest, highest, limit)
            fewest[table, channel], most[table, channel] = least, greatest


@compiled
def _quantize_channels(weight: Array, table: Array, step: Array, zero: Array, fewest: Array, most: Array, out: Array, sums: Array) -> None:
    for row in range(weight.shape[0]):
        at = table[row]
        for channel in range(weight.shape[1]):
            _quantize_row(
                weight[row, channel], step[at, channel], np.int32(zero[at, channel]), fewest[at, channel], most[at, channel],
                out[row, channel], sums,
            )  # fmt: skip


@summing
def _quantize_columns(weight: Array, table: Array, step: Array, zero: Array, fewest: Array, most: Array, out: Array, sums: Array) -> None:
    """The same where blocks have one element in a row."""
    signal, noise, worst = 0.0, 0.0, np.int32(0)
    for row in range(weight.shape[0]):
        at = table[row]
        for channel in range(weight.shape[1]):
            raw = weight[row, channel, 0]
            value = widened(raw)
            steps = min(max(np.rint(value / step[at, channel]), fewest[at, channel]), most[at, channel])
            out[row, channel, 0] = np.int8(np.int32(steps) + np.int32(zero[at, channel]))
            error = error_of(value, steps * step[at, channel], raw)
            signal += np.float64(value) * np.float64(value)
            noise += np.float64(error) * np.float64(error)
            worst = max(worst, bits_of(error) & np.int32(0x7FFFFFFF))
    sums[0], sums[1], sums[2] = signal, noise, np.float64(float_of(worst))


def extremes(weight: Array, table: Array, tables: int) -> tuple[Array, Array]:
    """As `affine_numpy.extremes`."""
    keys = _keys(weight)
    flip, sign, infinite = _key_constants(weight.dtype)
    low = np.full((tables, weight.shape[1]), infinite, keys.dtype)
    high = np.full((tables, weight.shape[1]), ~infinite, keys.dtype)
    kernel = _extremes_of_columns if weight.shape[2] == 1 else _extremes_of_rows
    kernel(keys, table, low, high, flip, sign)
    return _floats_of(low, weight.dtype), _floats_of(high, weight.dtype)


def fit(low: Array, high: Array, levels: Grid) -> Affine:
    """As `affine.fit`."""
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise NotFiniteError
    scale, zero = np.empty(low.size, low.dtype), zero_points(low.size, levels)
    _fit_all(_raw(low).reshape(-1), _raw(high).reshape(-1), *_numbers(levels), overflow(low.dtype), _raw(scale), _written(zero, levels))
    return Affine(scale.reshape(low.shape), zero.reshape(low.shape))


def quantize(weight: Array, table: Array, affine: Affine, levels: Grid, out: Array) -> Loss:
    """As `affine_numpy.quantize`; the sums may differ in their last bits."""
    step, fewest, most = (np.empty(affine.scale.shape, np.float32) for _ in range(3))
    lowest, highest, _ = _numbers(levels)
    # Numba compiles a function once for each layout of its arrays, so all are given in one
    scale, zero = np.ascontiguousarray(affine.scale), np.ascontiguousarray(affine.zero_point)
    _steps_of(_raw(scale), zero, lowest, highest, overflow(weight.dtype), step, fewest, most)
    sums = np.zeros(3)
    kernel = _quantize_columns if weight.shape[2] == 1 else _quantize_channels
    kernel(_raw(weight), table, step, zero, fewest, most, out.view(np.int8), sums)
    return Loss(*map(float, sums))


def quantize_rows(weight: Array, levels: Grid, out: Affine, integers: Array) -> Loss:
    """As `affine_numpy.quantize_rows`; the sums may differ in their last bits."""
    sums = np.zeros(3)
    flip, sign, infinite = _key_constants(weight.dtype)
    finite = _quantize_rows(
        _raw(weight), _keys(weight), *_numbers(levels), overflow(weight.dtype), flip, sign, infinite,
        _raw(out.scale), _written(out.zero_point, levels), integers.view(np.int8), sums,
    )  # fmt: skip
    if not finite:
        raise NotFiniteError
    return Loss(*map(float, sums))


def _written(zero: Array, levels: Grid) -> Array:
    """Where zero points are written. The one that all blocks share is not, and is no array that a kernel could be given."""
    return zero if levels.zero is None else np.empty(0, np.int16)


def _raw(weight: Array) -> Array:
    """What the kernels read."""
    return weight.view(np.int16) if weight.dtype == np.float16 else weight


def _keys(weight: Array) -> Array:
    return weight.view(f"i{weight.dtype.itemsize}")


def _key_constants(dtype: np.dtype[Any]) -> tuple[Any, Any, Any]:
    """The bits besides the sign, the place of the sign, and the key of infinity."""
    integer = np.dtype(f"i{dtype.itemsize}")
    limits = np.iinfo(integer)
    return integer.type(limits.max), integer.type(limits.bits - 1), np.array(np.inf, dtype).view(integer)[()]


def _numbers(levels: Grid) -> tuple[np.int32, np.int32, np.int32]:
    return np.int32(levels.lowest), np.int32(levels.highest), NO_ZERO if levels.zero is None else np.int32(levels.zero)


def _floats_of(keys: npt.NDArray[Any], dtype: np.dtype[Any]) -> Array:
    """The floats that ordered keys stand for; both zeros as 0."""
    limits = np.iinfo(keys.dtype)
    bits = keys ^ ((keys >> (limits.bits - 1)) & keys.dtype.type(limits.max))
    return np.asarray(bits.view(dtype) + dtype.type(0))


NUMBA: Final = Engine(extremes, fit, quantize, quantize_rows, moments, errors, search, chunk=1 << 18, searched=1 << 18)
