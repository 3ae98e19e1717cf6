"""The engine of `sparsity`, compiled: equal masks and values bit for bit, ten times as fast.

Measured on one core (AVX-512, in cache), ns an element: histogram 0.3, marking 0.04, loss 0.3, compaction 0.33. Compaction writes every
value and moves on where it is kept: with a branch it takes 2 ns.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba.extending import overload

from mlpasses.numerics.affine import Array, Loss
from mlpasses.numerics.bits import keys_of
from mlpasses.numerics.half_kernels import compiled, float_of, from_half, summing
from mlpasses.numerics.sparsity import FINE_BITS, LARGEST, Engine

LANES: Final = 64
"""How many groups are ranked side by side."""
SIGNLESS: Final = {2: np.uint16(0x7FFF), 4: np.uint32(0x7FFFFFFF)}


def _float_of(raw: Any) -> Any:
    """The float32 that an element's bits (uint16 or uint32) mean, if it is finite."""


overload(_float_of, inline="never")(
    lambda raw: (lambda raw: from_half(np.int16(raw))) if raw.bitwidth == 16 else (lambda raw: float_of(np.int32(raw)))
)


@compiled
def _count_half(keys: Array, counts: Array) -> None:
    for at in range(keys.size):
        counts[keys[at] & np.uint16(0x7FFF)] += 1


@compiled
def _count_single(keys: Array, counts: Array) -> None:
    for at in range(keys.size):
        counts[(keys[at] & np.uint32(0x7FFFFFFF)) >> np.uint32(FINE_BITS)] += 1


@compiled
def _count_prefixed(keys: Array, prefix: Any, counts: Array) -> None:
    for at in range(keys.size):
        key = keys[at] & np.uint32(0x7FFFFFFF)
        if key >> np.uint32(FINE_BITS) == prefix:
            counts[key & np.uint32((1 << FINE_BITS) - 1)] += 1


@compiled
def _survey(keys: Array, signless: Any, bound: Any) -> Any:
    below = 0
    greatest = keys[0] & signless
    for at in range(keys.size):
        key = keys[at] & signless
        below += key < bound
        greatest = max(greatest, key)
    return below, greatest


@compiled
def _mark_keys(keys: Array, signless: Any, bound: Any, ties: Any, keep: Array) -> Any:
    for at in range(keys.size):
        keep[at] = (keys[at] & signless) >= bound
    if ties:
        for at in range(keys.size):
            if (keys[at] & signless) == bound:
                keep[at] = 0
                ties -= 1
                if not ties:
                    break
    return ties


@compiled
def _rank(keys: Array, n: Any, lanes: Any, keep: Array) -> None:
    """Of keys `[size, lanes]`: keeps those that have n or more before them in their lane, equal ones only where they come first."""
    size = keys.shape[0]
    before = np.empty(lanes, np.int32)
    for at in range(size):
        before[:] = 0
        for other in range(at):
            for lane in range(lanes):
                before[lane] += keys[other, lane] <= keys[at, lane]
        for other in range(at + 1, size):
            for lane in range(lanes):
                before[lane] += keys[other, lane] < keys[at, lane]
        for lane in range(lanes):
            keep[at, lane] = before[lane] >= n


@compiled
def _mark_rows(keys: Array, signless: Any, n: Any, m: Any, keep: Array) -> None:
    """Groups at neighbouring places of the inner axis side by side. Behind the last channel there are zeros."""
    outer, channels, inner = keys.shape
    ranked = np.zeros((m, LANES), keys.dtype)
    flags = np.empty((m, LANES), np.uint8)
    for at in range(outer):
        for first in range(0, channels, m):
            size = min(m, channels - first)
            ranked[size:] = 0
            for start in range(0, inner, LANES):
                lanes = min(LANES, inner - start)
                for channel in range(size):
                    for lane in range(lanes):
                        ranked[channel, lane] = keys[at, first + channel, start + lane] & signless
                _rank(ranked, n, lanes, flags)
                for channel in range(size):
                    for lane in range(lanes):
                        keep[at, first + channel, start + lane] = flags[channel, lane]


@compiled
def _mark_columns(keys: Array, signless: Any, n: Any, m: Any, keep: Array) -> None:
    """The same where the inner axis has one place: groups that follow one another, side by side."""
    outer, channels = keys.shape
    ranked = np.zeros((m, LANES), keys.dtype)
    flags = np.empty((m, LANES), np.uint8)
    for at in range(outer):
        for first in range(0, channels, m * LANES):
            size = min(m * LANES, channels - first)
            lanes = (size + m - 1) // m
            ranked[:, lanes - 1] = 0
            for lane in range(lanes):
                for index in range(min(m, size - lane * m)):
                    ranked[index, lane] = keys[at, first + lane * m + index] & signless
            _rank(ranked, n, lanes, flags)
            for lane in range(lanes):
                for index in range(min(m, size - lane * m)):
                    keep[at, first + lane * m + index] = flags[index, lane]


@compiled
def _score(weight: Array, importance: Array, scores: Array) -> None:
    for at in range(weight.size):
        value = abs(_float_of(weight[at]))
        score = np.float32(np.float64(value) * np.sqrt(np.float64(importance[at])))
        key = min(max(score.view(np.uint32), np.uint32(1)), LARGEST)
        scores[at] = key if value != 0 else np.uint32(0)


@compiled
def _square_sums(weight: Array, size: Any, sums: Array) -> None:
    for at in range(sums.shape[0]):
        for block in range(sums.shape[1]):
            for channel in range(block * size, min((block + 1) * size, weight.shape[1])):
                for place in range(sums.shape[2]):
                    value = np.float64(_float_of(weight[at, channel, place]))
                    sums[at, block, place] += value * value


@compiled
def _square_sums_of_columns(weight: Array, size: Any, sums: Array) -> None:
    """The same where the inner axis has one place."""
    for at in range(sums.shape[0]):
        for block in range(sums.shape[1]):
            total = 0.0
            for channel in range(block * size, min((block + 1) * size, weight.shape[1])):
                value = np.float64(_float_of(weight[at, channel]))
                total += value * value
            sums[at, block] = total


@summing
def _losses(raw: Array, keep: Array, signless: Any, sums: Array) -> Any:
    signal, noise, worst = 0.0, 0.0, np.uint32(0)
    for at in range(raw.size):
        value = np.float64(_float_of(raw[at]))
        square = value * value
        pruned = np.uint32(1) - np.uint32(keep[at])
        signal += square
        noise += square * np.float64(pruned)
        worst = max(worst, np.uint32(np.uint32(raw[at] & signless) * pruned))
    sums[0], sums[1] = signal, noise
    return worst


@compiled
def _compacted(values: Array, keep: Array, out: Array) -> Any:
    count = 0
    for at in range(values.size):
        out[count] = values[at]
        count += keep[at]
    return count


def survey(keys: Array, bound: int) -> tuple[int, int]:
    """As `sparsity.Engine` says."""
    below, greatest = _survey(keys, SIGNLESS[keys.itemsize], keys.dtype.type(bound))
    return int(below), int(greatest)


def histogram(keys: Array, counts: Array) -> None:
    """As `sparsity.Engine` says."""
    (_count_half if keys.itemsize == 2 else _count_single)(keys, counts)


def histogram_within(keys: Array, prefix: int, counts: Array) -> None:
    """The same of the low bits of the keys with a prefix."""
    _count_prefixed(keys, np.uint32(prefix), counts)


def mark(keys: Array, bound: int, ties: int, keep: Array) -> int:
    """As `sparsity.Engine` says."""
    return int(_mark_keys(keys, SIGNLESS[keys.itemsize], keys.dtype.type(bound), ties, keep))


def mark_groups(keys: Array, n: int, m: int, keep: Array) -> None:
    """As `sparsity.Engine` says. The time of an element grows with m."""
    if keys.shape[2] == 1:
        _mark_columns(keys[:, :, 0], SIGNLESS[keys.itemsize], n, m, keep[:, :, 0])
    else:
        _mark_rows(keys, SIGNLESS[keys.itemsize], n, m, keep)


def scores(weight: Array, importance: Array) -> Array:
    """The keys of |w|·√importance."""
    found = np.empty(weight.size, np.uint32)
    _score(keys_of(weight), np.ascontiguousarray(importance, np.float32), found)
    return found


def norms(weight: Array, size: int) -> Array:
    """The keys of the L2 norms of blocks."""
    outer, channels, inner = weight.shape
    sums = np.zeros((outer, -(-channels // size), inner))
    if inner == 1:
        _square_sums_of_columns(keys_of(weight)[:, :, 0], size, sums[:, :, 0])
    else:
        _square_sums(keys_of(weight), size, sums)
    with np.errstate(over="ignore"):
        return np.sqrt(sums).astype(np.float32).view(np.uint32)


def loss(values: Array, keep: Array) -> Loss:
    """What pruning costs; the sums may differ from the reference's in their last bits."""
    raw = keys_of(values)
    sums = np.zeros(2)
    worst = _losses(raw, keep, SIGNLESS[raw.itemsize], sums)
    return Loss(float(sums[0]), float(sums[1]), float(np.array(worst, raw.dtype).view(values.dtype)))


def compact(values: Array, keep: Array, out: Array) -> int:
    """Writes the kept values to `out`, and beyond them what is overwritten by the next one."""
    return int(_compacted(keys_of(values), keep, keys_of(out)))


NUMBA: Final = Engine(survey, histogram, histogram_within, mark, mark_groups, scores, norms, loss, compact, 1 << 18)
"""Pieces of half a megabyte of fp16 stay in cache with their flags."""
