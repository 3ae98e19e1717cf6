"""`moments`, `errors` and `search` of `affine_numpy` compiled. Sums are strict, so that results are equal bit for bit.

Vectors run over the candidates of a block rather than over its elements: each candidate's terms are then added in order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpasses.numerics.affine import Affine, Array, Doubles, Floats, Grid, Reach, overflow, zero_points
from mlpasses.numerics.half_kernels import compiled, narrowed, neighbour, rounded, stored, widened
from mlpasses.numerics.scale_search import AROUND, BETWEEN, LANES, LEAST, SHIFTED, SHIFTS, usable


@compiled
def _add_moments(weight: Array, importance: Any, scale: Array, fewest: Array, most: Array, crossed: Array, squared: Array) -> None:
    for inner in range(weight.shape[0]):
        value = widened(weight[inner])
        factor = 1.0 if importance is None else np.float64(importance[inner])
        weighted = factor * np.float64(value)
        for lane in range(LANES):
            taken = np.float64(min(max(np.rint(value / scale[lane]), fewest[lane]), most[lane]))
            crossed[lane] += weighted * taken
            squared[lane] += factor * (taken * taken)


@compiled
def _add_errors(weight: Array, importance: Any, scale: Array, fewest: Array, most: Array, noise: Array) -> None:
    for inner in range(weight.shape[0]):
        raw = weight[inner]
        value = widened(raw)
        factor = 1.0 if importance is None else np.float64(importance[inner])
        for lane in range(scale.shape[0]):
            steps = min(max(np.rint(value / scale[lane]), fewest[lane]), most[lane])
            error = np.float64(value - rounded(steps * scale[lane], raw))
            noise[lane] += factor * (error * error)


@compiled
def _try(
    weight: Array, importance: Any, tried: Array, zeros: Array, lowest: Any, highest: Any, best: Array, room: Array, narrow: Array
) -> int:
    """`scale_search._Trial.tries` for one block: `best` is its gain, scale and zero point so far, `room` and `narrow` are for sums."""
    crossed, squared = room[0], room[1]
    scale, fewest, most = narrow[0], narrow[1], narrow[2]
    for lane in range(LANES):
        crossed[lane], squared[lane] = 0.0, 0.0
        scale[lane] = max(np.float32(tried[lane]), LEAST)
        fewest[lane], most[lane] = np.float32(lowest - zeros[lane]), np.float32(highest - zeros[lane])
    _add_moments(weight, importance, scale, fewest, most, crossed, squared)
    chosen, most_gained = 0, -1.0
    for lane in range(LANES):
        gain = crossed[lane] * crossed[lane] / squared[lane] if squared[lane] > 0 else 0.0
        if gain > most_gained:
            chosen, most_gained = lane, gain
    if most_gained > best[0]:
        best[0], best[1], best[2] = most_gained, crossed[chosen] / squared[chosen], zeros[chosen]
    return chosen


@compiled
def _search_block(
    weight: Array, importance: Any, scale: Any, zero: Any, shared: Any, lowest: Any, highest: Any, ratios: Array,
    best: Array, room: Array, narrow: Array, zeros: Array,
) -> None:  # fmt: skip
    """Finds the best scale and zero point of one block, unrounded, for `best`."""
    best[0], best[1], best[2] = 0.0, scale, zero
    tried = room[2]
    for lane in range(LANES):
        tried[lane] = scale * ratios[lane]
        zeros[lane] = zero
    chosen = _try(weight, importance, tried, zeros, lowest, highest, best, room, narrow)
    for _ in range(3 if shared else 2):
        one, other = tried[max(chosen - 1, 0)], tried[min(chosen + 1, LANES - 1)]
        for lane in range(LANES):
            tried[lane] = one + (other - one) * BETWEEN[lane]
        chosen = _try(weight, importance, tried, zeros, lowest, highest, best, room, narrow)
    if not shared:
        origin = np.int32(best[2])
        for lane in range(LANES):
            tried[lane] = best[1] * SHIFTED[lane]
            zeros[lane] = min(max(origin + np.int32(SHIFTS[lane]), lowest), highest)
        _try(weight, importance, tried, zeros, lowest, highest, best, room, narrow)
        for lane in range(LANES):
            tried[lane] = best[1] * AROUND[lane]
            zeros[lane] = np.int32(best[2])
        _try(weight, importance, tried, zeros, lowest, highest, best, room, narrow)


@compiled
def _search_rows(
    weight: Array, importance: Any, start: Array, start_zero: Array, rival: Array, rival_zero: Array, shared: Any, lowest: Any,
    highest: Any, limit: Any, ratios: Array, out: Array, zero: Array,
) -> None:  # fmt: skip
    best, room = np.empty(3), np.empty((3, LANES))
    narrow, zeros = np.empty((3, LANES), np.float32), np.empty(LANES, np.int32)
    scale, fewest, most = np.empty(4, np.float32), np.empty(4, np.float32), np.empty(4, np.float32)
    noise = np.empty(4)
    for block in range(weight.shape[0]):
        like = start[block]
        scale[0], zeros_0 = widened(like), np.int32(start_zero[block])
        if importance is None:
            _search_block(
                weight[block], None, np.float64(scale[0]), zeros_0, shared, lowest, highest, ratios, best, room, narrow, zeros
            )
        else:
            _search_block(
                weight[block], importance[block], np.float64(scale[0]), zeros_0, shared, lowest, highest, ratios, best, room, narrow, zeros
            )
        zeros[0], zeros[1], zeros[2], zeros[3] = zeros_0, np.int32(rival_zero[block]), np.int32(best[2]), np.int32(best[2])
        scale[1] = widened(rival[block])
        down = narrowed(best[1], like)
        if np.float64(down) > best[1]:
            down = neighbour(down, -1, like)
        scale[2], scale[3] = down, neighbour(down, 1, like)
        if down == 0:
            scale[2], zeros[2] = scale[0], zeros[0]
        for each in range(4):
            noise[each] = 0.0
            exact = np.float64(scale[each])
            finite = np.ceil(limit / exact) - 1
            fewest[each] = np.float32(max(np.float64(lowest - zeros[each]), -finite))
            most[each] = np.float32(min(np.float64(highest - zeros[each]), finite))
        if importance is None:
            _add_errors(weight[block], None, scale, fewest, most, noise)
        else:
            _add_errors(weight[block], importance[block], scale, fewest, most, noise)
        chosen = 0
        for each in range(1, 4):
            if noise[each] < noise[chosen]:
                chosen = each
        out[block] = stored(scale[chosen], like)
        if not shared:
            zero[block] = zeros[chosen]


@compiled
def _moments_of_rows(
    weight: Array, importance: Any, scale: Array, fewest: Array, most: Array, crossed: Array, squared: Array
) -> None:
    for block in range(weight.shape[0]):
        if importance is None:
            _add_moments(weight[block], None, scale[block], fewest[block], most[block], crossed[block], squared[block])
        else:
            _add_moments(weight[block], importance[block], scale[block], fewest[block], most[block], crossed[block], squared[block])


@compiled
def _errors_of_rows(weight: Array, importance: Any, scale: Array, fewest: Array, most: Array, noise: Array) -> None:
    for block in range(weight.shape[0]):
        if importance is None:
            _add_errors(weight[block], None, scale[block], fewest[block], most[block], noise[block])
        else:
            _add_errors(weight[block], importance[block], scale[block], fewest[block], most[block], noise[block])


def moments(weight: Array, importance: Array | None, scale: Floats, steps: Reach, crossed: Doubles, squared: Doubles) -> None:
    """As `affine_numpy.moments`."""
    fewest, most = np.ascontiguousarray(steps.fewest), np.ascontiguousarray(steps.most)
    _moments_of_rows(_raw(weight), importance, np.ascontiguousarray(scale), fewest, most, crossed, squared)


def errors(weight: Array, importance: Array | None, scale: Floats, steps: Reach, noise: Doubles) -> None:
    """As `affine_numpy.errors`."""
    fewest, most = np.ascontiguousarray(steps.fewest), np.ascontiguousarray(steps.most)
    _errors_of_rows(_raw(weight), importance, np.ascontiguousarray(scale), fewest, most, noise)


def search(weight: Array, importance: Array | None, start: Affine, rival: Affine, levels: Grid, ratios: Doubles) -> Affine:
    """As `affine_numpy.search`."""
    rival = usable(rival, start)
    shared = levels.zero is not None
    out = Affine(np.empty(weight.shape[0], weight.dtype), zero_points(weight.shape[0], levels))
    # Numba compiles a function once for each layout of its arrays: zero points that are one number, seen often, are written out
    starting, rivalling = (np.ascontiguousarray(each.zero_point) for each in (start, rival))
    given = np.empty(0, np.int16) if shared else out.zero_point
    _search_rows(
        _raw(weight), importance, _raw(start.scale), starting, _raw(rival.scale), rivalling, shared, np.int32(levels.lowest),
        np.int32(levels.highest), overflow(weight.dtype), ratios, _raw(out.scale), given,
    )  # fmt: skip
    return out


def _raw(weight: Array) -> Array:
    """What the kernels read."""
    return weight.view(np.int16) if weight.dtype == np.float16 else weight
