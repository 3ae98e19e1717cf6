"""`moments`, `errors` and `search` of `affine_numpy` compiled. Sums are strict, so that results are equal bit for bit.

Vectors run over blocks (or segments of long ones) rather than over the elements of one, whose terms are then added in order: elements are
transposed into tiles `[elements, blocks]` first.

Measured on one core, from fp16 to packed int4: blocks of 32 at 0.13 GB/s where they are symmetric and 0.10 where they have zero points,
rows and whole weights (int8 too) at 0.11; with importance 0.10. With scalar loops over a block's elements it was 0.03.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from mlpasses.numerics.affine import SEGMENT, Affine, Array, Doubles, Floats, Grid, Reach, overflow, zero_points
from mlpasses.numerics.half_kernels import compiled, narrowed, neighbour, raw, rounded, stored, widened
from mlpasses.numerics.scale_search import AROUND, BETWEEN, LANES, LEAST, SHIFTED, SHIFTS, best_scales, usable

TILE: Final = 64
"""Blocks, or segments, that are worked on side by side: with 32 elements each, a tile is 8 KB."""


@compiled
def _add_moments(values: Array, factors: Any, scale: Array, fewest: Array, most: Array, crossed: Array, squared: Array) -> None:
    """The sums of `moments` of a tile `[elements, blocks]`, for one candidate of each block."""
    for element in range(values.shape[0]):
        for block in range(values.shape[1]):
            value = values[element, block]
            taken = np.float64(min(max(np.rint(value / scale[block]), fewest[block]), most[block]))
            if factors is None:
                crossed[block] += np.float64(value) * taken
                squared[block] += taken * taken
            else:
                factor = np.float64(factors[element, block])
                crossed[block] += factor * np.float64(value) * taken
                squared[block] += factor * (taken * taken)


@compiled
def _add_errors(values: Array, factors: Any, scale: Array, fewest: Array, most: Array, like: Any, noise: Array) -> None:
    """The sums of `errors` of a tile, for one candidate of each block."""
    for element in range(values.shape[0]):
        for block in range(values.shape[1]):
            value = values[element, block]
            steps = min(max(np.rint(value / scale[block]), fewest[block]), most[block])
            error = np.float64(value - rounded(steps * scale[block], like))
            if factors is None:
                noise[block] += error * error
            else:
                noise[block] += np.float64(factors[element, block]) * (error * error)


@compiled
def _transpose(weight: Array, values: Array) -> None:
    for block in range(weight.shape[0]):
        for element in range(weight.shape[1]):
            values[element, block] = widened(weight[block, element])


@compiled
def _transpose_factors(importance: Array, factors: Array) -> None:
    for block in range(importance.shape[0]):
        for element in range(importance.shape[1]):
            factors[element, block] = importance[block, element]


@compiled
def _try(
    values: Array, factors: Any, tried: Array, zeros: Array, lowest: Any, highest: Any, best: Array, zero: Array, chosen: Array,
    sums: Array, narrow: Array,
) -> None:  # fmt: skip
    """`scale_search._Trial.tries` for a tile: `tried` and `zeros` are `[lanes, blocks]`, `best` has the blocks' gains and scales so far."""
    blocks = values.shape[1]
    crossed, squared, gained, yielded = sums[0], sums[1], sums[2], sums[3]
    scale, fewest, most = narrow[0], narrow[1], narrow[2]
    gained[:] = -1.0
    for lane in range(LANES):
        for block in range(blocks):
            scale[block] = max(np.float32(tried[lane, block]), LEAST)
            fewest[block] = np.float32(lowest - zeros[lane, block])
            most[block] = np.float32(highest - zeros[lane, block])
            crossed[block] = 0.0
            squared[block] = 0.0
        _add_moments(values, factors, scale, fewest, most, crossed, squared)
        for block in range(blocks):
            usable_sum = squared[block] > 0
            divisor = squared[block] if usable_sum else 1.0
            gain = crossed[block] * crossed[block] / divisor if usable_sum else 0.0
            if gain > gained[block]:
                gained[block] = gain
                yielded[block] = crossed[block] / divisor
                chosen[block] = lane
    for block in range(blocks):
        if gained[block] > best[0, block]:
            best[0, block] = gained[block]
            best[1, block] = yielded[block]
            zero[block] = zeros[chosen[block], block]


@compiled
def _search_tile(
    values: Array, factors: Any, shared: Any, lowest: Any, highest: Any, ratios: Array, best: Array, zero: Array, tried: Array,
    zeros: Array, chosen: Array, sums: Array, narrow: Array,
) -> None:  # fmt: skip
    """The best scales and zero points of a tile, unrounded. `best[1]` and `zero` have those of the start, and then the best."""
    blocks = values.shape[1]
    for block in range(blocks):
        best[0, block] = 0.0
        for lane in range(LANES):
            tried[lane, block] = best[1, block] * ratios[lane]
            zeros[lane, block] = zero[block]
    _try(values, factors, tried, zeros, lowest, highest, best, zero, chosen, sums, narrow)
    for _ in range(3 if shared else 2):
        for block in range(blocks):
            one, other = tried[max(chosen[block] - 1, 0), block], tried[min(chosen[block] + 1, LANES - 1), block]
            for lane in range(LANES):
                tried[lane, block] = one + (other - one) * BETWEEN[lane]
        _try(values, factors, tried, zeros, lowest, highest, best, zero, chosen, sums, narrow)
    if not shared:
        for block in range(blocks):
            for lane in range(LANES):
                tried[lane, block] = best[1, block] * SHIFTED[lane]
                zeros[lane, block] = min(max(zero[block] + np.int32(SHIFTS[lane]), lowest), highest)
        _try(values, factors, tried, zeros, lowest, highest, best, zero, chosen, sums, narrow)
        for block in range(blocks):
            for lane in range(LANES):
                tried[lane, block] = best[1, block] * AROUND[lane]
                zeros[lane, block] = zero[block]
        _try(values, factors, tried, zeros, lowest, highest, best, zero, chosen, sums, narrow)


@compiled
def _choose_tile(
    values: Array, factors: Any, scales: Array, zeros: Array, lowest: Any, highest: Any, limit: Any, like: Any, noise: Array,
    chosen: Array, narrow: Array,
) -> None:  # fmt: skip
    """Which of the candidates `[candidates, blocks]` has the least error."""
    fewest, most = narrow[1], narrow[2]
    for each in range(scales.shape[0]):
        for block in range(values.shape[1]):
            finite = np.ceil(limit / np.float64(scales[each, block])) - 1
            fewest[block] = np.float32(max(np.float64(lowest - zeros[each, block]), -finite))
            most[block] = np.float32(min(np.float64(highest - zeros[each, block]), finite))
            noise[1, block] = 0.0
        _add_errors(values, factors, scales[each], fewest, most, like, noise[1])
        for block in range(values.shape[1]):
            if each == 0 or noise[1, block] < noise[0, block]:
                noise[0, block] = noise[1, block]
                chosen[block] = each


@compiled
def _search_blocks(
    weight: Array, importance: Any, start: Array, start_zero: Array, rival: Array, rival_zero: Array, shared: Any, lowest: Any,
    highest: Any, limit: Any, ratios: Array, out: Array, out_zero: Array,
) -> None:  # fmt: skip
    elements = weight.shape[1]
    like = weight[0, 0]
    for first in range(0, weight.shape[0], TILE):
        last = min(first + TILE, weight.shape[0])
        blocks = last - first
        values = np.empty((elements, blocks), np.float32)
        best, sums = np.empty((2, blocks)), np.empty((4, blocks))
        tried, zeros = np.empty((LANES, blocks)), np.empty((LANES, blocks), np.int32)
        zero, chosen = np.empty(blocks, np.int32), np.zeros(blocks, np.int64)
        narrow, scales = np.empty((3, blocks), np.float32), np.empty((4, blocks), np.float32)
        _transpose(weight[first:last], values)
        for block in range(blocks):
            scales[0, block] = widened(start[first + block])
            best[1, block] = scales[0, block]
            zero[block] = start_zero[first + block]
        if importance is None:
            factors = None
        else:
            factors = np.empty((elements, blocks), np.float32)
            _transpose_factors(importance[first:last], factors)
        _search_tile(values, factors, shared, lowest, highest, ratios, best, zero, tried, zeros, chosen, sums, narrow)
        for block in range(blocks):
            scales[1, block] = widened(rival[first + block])
            down = narrowed(best[1, block], like)
            if np.float64(down) > best[1, block]:
                down = neighbour(down, -1, like)
            zeros[0, block], zeros[1, block] = start_zero[first + block], rival_zero[first + block]
            zeros[2, block], zeros[3, block] = zero[block], zero[block]
            scales[2, block], scales[3, block] = down, neighbour(down, 1, like)
            if down == 0:
                scales[2, block], zeros[2, block] = scales[0, block], zeros[0, block]
        _choose_tile(values, factors, scales, zeros, lowest, highest, limit, like, sums, chosen, narrow)
        for block in range(blocks):
            out[first + block] = stored(scales[chosen[block], block], like)
            if not shared:
                out_zero[first + block] = zeros[chosen[block], block]


@compiled
def _segments(weight: Array, first: Any, segments: Any, size: Any) -> Any:
    """A tile of so many segments, counted over all rows, from the `first` on. What a row's last one lacks is 0."""
    values = np.empty((SEGMENT, size), np.float32)
    for column in range(size):
        row, start = (first + column) // segments, (first + column) % segments * SEGMENT
        length = min(SEGMENT, weight.shape[1] - start)
        for element in range(length):
            values[element, column] = widened(weight[row, start + element])
        for element in range(length, SEGMENT):
            values[element, column] = np.float32(0)
    return values


@compiled
def _moments_of_rows(weight: Array, importance: Any, scale: Array, fewest: Array, most: Array, crossed: Array, squared: Array) -> None:
    segments = (weight.shape[1] + SEGMENT - 1) // SEGMENT
    total = weight.shape[0] * segments
    for first in range(0, total, TILE):
        size = min(TILE, total - first)
        narrow, sums = np.empty((3, size), np.float32), np.empty((2, size))
        values = _segments(weight, first, segments, size)
        factors = None if importance is None else _segments(importance, first, segments, size)
        for lane in range(scale.shape[1]):
            for column in range(size):
                row = (first + column) // segments
                narrow[0, column], narrow[1, column], narrow[2, column] = scale[row, lane], fewest[row, lane], most[row, lane]
                sums[0, column], sums[1, column] = 0.0, 0.0
            _add_moments(values, factors, narrow[0], narrow[1], narrow[2], sums[0], sums[1])
            for column in range(size):
                row = (first + column) // segments
                crossed[row, lane] += sums[0, column]
                squared[row, lane] += sums[1, column]


@compiled
def _errors_of_rows(weight: Array, importance: Any, scale: Array, fewest: Array, most: Array, noise: Array) -> None:
    segments = (weight.shape[1] + SEGMENT - 1) // SEGMENT
    total = weight.shape[0] * segments
    for first in range(0, total, TILE):
        size = min(TILE, total - first)
        narrow, sums = np.empty((3, size), np.float32), np.empty(size)
        values = _segments(weight, first, segments, size)
        factors = None if importance is None else _segments(importance, first, segments, size)
        for lane in range(scale.shape[1]):
            for column in range(size):
                row = (first + column) // segments
                narrow[0, column], narrow[1, column], narrow[2, column] = scale[row, lane], fewest[row, lane], most[row, lane]
                sums[column] = 0.0
            _add_errors(values, factors, narrow[0], narrow[1], narrow[2], weight[0, 0], sums)
            for column in range(size):
                noise[(first + column) // segments, lane] += sums[column]


def moments(weight: Array, importance: Array | None, scale: Floats, steps: Reach, crossed: Doubles, squared: Doubles) -> None:
    """As `affine_numpy.moments`."""
    fewest, most = np.ascontiguousarray(steps.fewest), np.ascontiguousarray(steps.most)
    _moments_of_rows(raw(weight), importance, np.ascontiguousarray(scale), fewest, most, crossed, squared)


def errors(weight: Array, importance: Array | None, scale: Floats, steps: Reach, noise: Doubles) -> None:
    """As `affine_numpy.errors`."""
    fewest, most = np.ascontiguousarray(steps.fewest), np.ascontiguousarray(steps.most)
    _errors_of_rows(raw(weight), importance, np.ascontiguousarray(scale), fewest, most, noise)


def search(weight: Array, importance: Array | None, start: Affine, rival: Affine, levels: Grid, ratios: Doubles) -> Affine:
    """As `affine_numpy.search`."""
    if weight.shape[1] > SEGMENT:
        return best_scales(lambda: iter([(weight, importance)]), start, rival, levels, ratios, moments, errors)
    rival = usable(rival, start)
    shared = levels.zero is not None
    out = Affine(np.empty(weight.shape[0], weight.dtype), zero_points(weight.shape[0], levels))
    # Numba compiles a function once for each layout of its arrays: zero points that are one number, seen often, are written out
    starting, rivalling = (np.ascontiguousarray(each.zero_point) for each in (start, rival))
    found = np.empty(0, np.int16) if shared else out.zero_point
    _search_blocks(
        raw(weight), importance, raw(start.scale), starting, raw(rival.scale), rivalling, shared, np.int32(levels.lowest),
        np.int32(levels.highest), overflow(weight.dtype), ratios, raw(out.scale), found,
    )  # fmt: skip
    return out
