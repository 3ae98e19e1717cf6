"""The functions of `affine_numpy` compiled: equal results bit for bit, an order of magnitude sooner.

Extremes never leave the integers: the bits of a float, flipped besides the sign where it is negative, are ordered as floats are.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mlpasses.numerics.affine import Affine, Array, Engine, Grid, Loss, NotFiniteError, overflow, zero_points
from mlpasses.numerics.half_kernels import bits_of, compiled, float_of, narrowed, neighbour, raw, rounded, stored, summing, widened
from mlpasses.numerics.scale_kernels import errors, moments, search

NO_ZERO: Final = np.int32(-(1 << 15))
"""In place of the zero point that all blocks share, where each has its own."""
TILE: Final = 4096
"""Elements that are worked on while they are in cache: 8 KB of fp16, and 16 KB of what is lost of them."""


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
def _extremes_of_blocks(keys: Array, low: Array, high: Array, flip: Any, sign: Any) -> None:
    """The extremes of rows, which are blocks, as bits."""
    for block in range(keys.shape[0]):
        least, greatest = flip, ~flip
        for inner in range(keys.shape[1]):
            key = keys[block, inner]
            key = key ^ ((key >> sign) & flip)
            least = min(least, key)
            greatest = max(greatest, key)
        low[block] = least ^ ((least >> sign) & flip)
        high[block] = greatest ^ ((greatest >> sign) & flip)


@compiled
def _magnitudes_of_blocks(keys: Array, high: Array, flip: Any) -> None:
    """The greatest magnitudes of rows, as bits."""
    for block in range(keys.shape[0]):
        greatest = flip ^ flip
        for inner in range(keys.shape[1]):
            greatest = max(greatest, keys[block, inner] & flip)
        high[block] = greatest


@compiled
def _bounded(scale: Any, outermost: Any, limit: Any, like: Any) -> Any:
    """A scale, or the next smaller one where only that keeps the outermost step from overflowing."""
    less = neighbour(scale, -1, like)
    return less if np.float64(scale) * outermost >= limit and np.float64(less) * outermost < limit else scale


@compiled
def _fit_shared(low: Array, high: Array, lowest: Any, highest: Any, shared: Any, limit: Any, scale: Array) -> None:
    """`affine.fit` where all blocks have one zero point. Without a branch in the loop, and so in vectors, as `_fit_own`."""
    steps = np.float64(highest - lowest)
    outer = np.float64(max(highest - shared, shared - lowest))
    for block in range(low.size):
        like = low[block]
        most = max(max(-np.float64(widened(low[block])), 0.0), np.float64(widened(high[block])))
        span = most + most
        found = narrowed(1.0 if span == 0 else span / steps, like)
        above = neighbour(found, 1, like)
        found = above if found == 0 else found
        scale[block] = stored(_bounded(found, outer, limit, like), like)


@compiled
def _fit_own(low: Array, high: Array, lowest: Any, highest: Any, limit: Any, scale: Array, zero: Array) -> None:
    """`affine.fit` where each block has a zero point of its own."""
    first, last = np.float64(lowest), np.float64(highest)
    steps = last - first
    for block in range(low.size):
        like = low[block]
        below = min(np.float64(widened(low[block])), 0.0)
        span = max(np.float64(widened(high[block])), 0.0) - below
        exact = 1.0 if span == 0 else span / steps
        found = narrowed(exact, like)
        above = neighbour(found, 1, like)
        found = above if found == 0 else found
        origin = min(max(np.rint(first - below / exact), first), last)
        scale[block] = stored(_bounded(found, max(last - origin, origin - first), limit, like), like)
        zero[block] = np.int16(np.int32(origin))


@compiled
def _steps_of(scale: Array, zero: Array, lowest: Any, highest: Any, limit: Any, step: Array, fewest: Array, most: Array) -> None:
    """Scales as float32, and `affine.reach`."""
    for block in range(scale.size):
        step[block] = widened(scale[block])
        finite = np.ceil(limit / np.float64(step[block])) - 1
        fewest[block] = np.float32(max(np.float64(lowest - zero[block]), -finite))
        most[block] = np.float32(min(np.float64(highest - zero[block]), finite))


@compiled
def _quantize_tile(weight: Array, step: Array, zero: Array, fewest: Array, most: Array, out: Array, error: Array) -> None:
    """The integers of rows, which are blocks, and what is lost of each element."""
    for block in range(weight.shape[0]):
        scale, origin, least, greatest = step[block], np.int32(zero[block]), fewest[block], most[block]
        for inner in range(weight.shape[1]):
            element = weight[block, inner]
            value = widened(element)
            steps = min(max(np.rint(value / scale), least), greatest)
            out[block, inner] = np.int8(np.int32(steps) + origin)
            error[block, inner] = value - rounded(steps * scale, element)


@compiled
def _quantize_column_tile(weight: Array, step: Array, zero: Array, fewest: Array, most: Array, out: Array, error: Array) -> None:
    """The same of a row whose elements are all of different blocks."""
    for channel in range(weight.size):
        element = weight[channel]
        value = widened(element)
        steps = min(max(np.rint(value / step[channel]), fewest[channel]), most[channel])
        out[channel] = np.int8(np.int32(steps) + np.int32(zero[channel]))
        error[channel] = value - rounded(steps * step[channel], element)


@summing
def _add_loss(weight: Array, error: Array, sums: Array) -> None:
    """Apart from the loops over blocks: at 32 elements a block, sums across vectors would take longer than all else."""
    signal, noise, worst = 0.0, 0.0, np.int32(0)
    for element in range(weight.size):
        value, lost = np.float64(widened(weight[element])), error[element]
        signal += value * value
        noise += np.float64(lost) * np.float64(lost)
        worst = max(worst, bits_of(lost) & np.int32(0x7FFFFFFF))
    sums[0] += signal
    sums[1] += noise
    sums[2] = max(sums[2], np.float64(float_of(worst)))


@compiled
def _quantize_known(weight: Array, step: Array, zero: Array, fewest: Array, most: Array, out: Array, sums: Array) -> None:
    """Rows, which are blocks whose parameters are known: some of them in a tile, or a part of one."""
    blocks, elements = weight.shape
    error = np.empty(TILE, np.float32)
    if elements <= TILE:
        rows = TILE // elements
        for first in range(0, blocks, rows):
            part = weight[first : first + rows]
            lost = error[: part.size]
            at = slice(first, first + rows)
            _quantize_tile(part, step[at], zero[at], fewest[at], most[at], out[first : first + rows], lost.reshape(part.shape))
            _add_loss(part.reshape(part.size), lost, sums)
        return
    for block in range(blocks):
        for start in range(0, elements, TILE):
            piece = weight[block, start : start + TILE]
            lost = error[: piece.size]
            at = slice(block, block + 1)
            integers = out[block, start : start + TILE].reshape((1, piece.size))
            shape = (1, piece.size)
            _quantize_tile(piece.reshape(shape), step[at], zero[at], fewest[at], most[at], integers, lost.reshape(shape))
            _add_loss(piece, lost, sums)


@compiled
def _quantize_rows(
    weight: Array, keys: Array, lowest: Any, highest: Any, shared: Any, limit: Any, flip: Any, sign: Any, infinite: Any,
    scale: Array, zero: Array, out: Array, sums: Array,
) -> bool:  # fmt: skip
    """Blocks that lie in rows `[blocks, elements]`, each from its extremes to its integers. False where one is not finite."""
    blocks = weight.shape[0]
    rows = min(max(TILE // weight.shape[1], 1), blocks)
    low, high, origin = np.empty(rows, keys.dtype), np.empty(rows, keys.dtype), np.full(rows, shared, np.int16)
    step, fewest, most = np.empty(rows, np.float32), np.empty(rows, np.float32), np.empty(rows, np.float32)
    for first in range(0, blocks, rows):
        last = min(first + rows, blocks)
        count = last - first
        if shared == NO_ZERO:
            _extremes_of_blocks(keys[first:last], low, high, flip, sign)
            origin = zero[first:last]
        else:
            _magnitudes_of_blocks(keys[first:last], high, flip)
            low[:] = high
        for block in range(count):
            if (low[block] & flip) >= infinite or (high[block] & flip) >= infinite:
                return False
        if shared == NO_ZERO:
            _fit_own(low[:count].view(weight.dtype), high[:count].view(weight.dtype), lowest, highest, limit, scale[first:last], origin)
        else:
            _fit_shared(low[:count].view(weight.dtype), high[:count].view(weight.dtype), lowest, highest, shared, limit, scale[first:last])
        _steps_of(scale[first:last], origin, lowest, highest, limit, step, fewest, most)
        _quantize_known(weight[first:last], step, origin, fewest, most, out[first:last], sums)
    return True


@compiled
def _quantize_columns(weight: Array, table: Array, step: Array, zero: Array, fewest: Array, most: Array, out: Array, sums: Array) -> None:
    """Rows `[rows, channels]` whose elements are all of different blocks `[tables, channels]`."""
    error = np.empty(min(weight.shape[1], TILE), np.float32)
    for row in range(weight.shape[0]):
        at = table[row]
        for first in range(0, weight.shape[1], TILE):
            cut = slice(first, min(first + TILE, weight.shape[1]))
            part = weight[row, cut]
            lost = error[: part.size]
            _quantize_column_tile(part, step[at, cut], zero[at, cut], fewest[at, cut], most[at, cut], out[row, cut], lost)
            _add_loss(part, lost, sums)


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
    flip, _, infinite = _key_constants(low.dtype)
    if ((_keys(low) & flip) >= infinite).any() or ((_keys(high) & flip) >= infinite).any():  # a tenth of the time of isfinite
        raise NotFiniteError
    scale, zero = np.empty(low.size, low.dtype), zero_points(low.size, levels)
    lowest, highest, shared = _numbers(levels)
    if levels.zero is None:
        _fit_own(raw(low).reshape(-1), raw(high).reshape(-1), lowest, highest, overflow(low.dtype), raw(scale), zero)
    else:
        _fit_shared(raw(low).reshape(-1), raw(high).reshape(-1), lowest, highest, shared, overflow(low.dtype), raw(scale))
    return Affine(scale.reshape(low.shape), zero.reshape(low.shape))


def quantize(weight: Array, table: Array, affine: Affine, levels: Grid, out: Array) -> Loss:
    """As `affine_numpy.quantize`; the sums may differ in their last bits."""
    rows, channels, inner = weight.shape
    step, fewest, most = np.empty((3, *affine.scale.shape), np.float32)
    lowest, highest, _ = _numbers(levels)
    # Numba compiles a function once for each layout of its arrays, so all are given in one
    scale, zero = np.ascontiguousarray(affine.scale), np.ascontiguousarray(affine.zero_point)
    _steps_of(
        raw(scale).reshape(-1), zero.reshape(-1), lowest, highest, overflow(weight.dtype),
        step.reshape(-1), fewest.reshape(-1), most.reshape(-1),
    )  # fmt: skip
    sums = np.zeros(3)
    integers = out.view(np.int8)
    if inner == 1:
        elements = np.ascontiguousarray(raw(weight)).reshape(rows, channels)
        _quantize_columns(elements, table, step, zero, fewest, most, integers.reshape(rows, channels), sums)
    else:
        elements = np.ascontiguousarray(raw(weight)).reshape(rows * channels, inner)
        _quantize_known(
            elements, step[table].reshape(-1), zero[table].reshape(-1), fewest[table].reshape(-1), most[table].reshape(-1),
            integers.reshape(rows * channels, inner), sums,
        )  # fmt: skip
    return Loss(*map(float, sums))


def quantize_rows(weight: Array, levels: Grid, out: Affine, integers: Array) -> Loss:
    """As `affine_numpy.quantize_rows`; the sums may differ in their last bits."""
    sums = np.zeros(3)
    flip, sign, infinite = _key_constants(weight.dtype)
    finite = _quantize_rows(
        raw(weight), _keys(weight), *_numbers(levels), overflow(weight.dtype), flip, sign, infinite,
        raw(out.scale), _written(out.zero_point, levels), integers.view(np.int8), sums,
    )  # fmt: skip
    if not finite:
        raise NotFiniteError
    return Loss(*map(float, sums))


def _written(zero: Array, levels: Grid) -> Array:
    """Where zero points are written. The one that all blocks share is not, and is no array that a kernel could be given."""
    return zero if levels.zero is None else np.empty(0, np.int16)


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
    """The floats that ordered keys stand for."""
    limits = np.iinfo(keys.dtype)
    bits: Array = keys ^ ((keys >> (limits.bits - 1)) & keys.dtype.type(limits.max))
    return bits.view(dtype)


NUMBA: Final = Engine(extremes, fit, quantize, quantize_rows, moments, errors, search, chunk=1 << 20, searched=1 << 18)
