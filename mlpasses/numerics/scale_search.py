"""Scales, and zero points, of least squared error, weighted by an optional importance.

With the steps n = clip(round(w / s)) of a scale s fixed, the error Σ h·(w - s'·n)² is least for s' = Σh·w·n / Σh·n², and is then
Σh·w² - (Σh·w·n)² / Σh·n². So each scale that is tried yields a better one, and what tells which is best are two sums, whose terms the
engines add up for eight scales at once. The search of a block goes like this:

1. Eight scales from 1.06 to 0.01 times the one of the extremes, in equal ratios: a long block with a few outliers has its best scale far
   below.
2. Three times, eight scales between the neighbours of the best one. Where the block has a zero point of its own: twice; then four scales
   with each neighbour of the zero point, and eight around the better of them.
3. What the best steps yield, rounded to the weight's type downwards and upwards, competes with the extremes' scale, and with the one that
   coremltools computes, by the error of what will be decoded. The extremes win ties.

So no block is worse than with the scale of its extremes, or coremltools'. A symmetric grid is searched with all the integers of its
type: -8…7 rather than -7…7. That is as legal, and is half of what there is to gain in short blocks (0.6 dB of blocks of 32 without it).

By how many dB that beats scales from extremes (blocks of 32 of a row of 4,096, rows, and the whole of 256 rows, of fp16):

    dtype                 normal              Laplace             Student's t, 3 degrees
    int4 symmetric        1.06  3.21  5.61    0.95  4.13  7.08    0.80  4.27  8.47
    int4 asymmetric       0.46  2.28  4.81    0.35  2.93  6.23    0.30  3.19  8.23
    int8 symmetric        1.02  0.17  1.82    0.84  0.16  1.80    0.61  0.12  4.83
    int8 asymmetric       1.19  0.08  1.58    1.09  0.07  1.46    0.99  0.05  3.54

At int4 in blocks of 32, a search of 300 scales a block finds 0.01 to 0.02 dB more.

The criterion is that of Banner et al., "Post training 4-bit quantization of convolutional networks for rapid-deployment" (2019),
minimized for the weight itself rather than for a distribution; the alternation of steps and scale is Lloyd's (1982).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from attrs import frozen

from ir.slabs import slabs
from mlpasses.numerics.affine import SEGMENT, Affine, Array, Doubles, Engine, Floats, Grid, Reach, reach, whole, zero_points

Parts: TypeAlias = Callable[[], Iterator[tuple[Array, Array | None]]]
"""Blocks `[blocks, elements]` in parts of some of their elements, in order, each with its importance: as often as it is called.

Where there are several, all but the last are whole segments.
"""
Moments: TypeAlias = Callable[[Array, Array | None, Floats, Reach, Doubles, Doubles], None]
Errors: TypeAlias = Callable[[Array, Array | None, Floats, Reach, Doubles], None]

Slices: TypeAlias = tuple[slice, ...]

LANES: Final = 8
"""Scales that are tried at once."""
LARGEST: Final = 1.06
"""Times the scale of the extremes: the largest that is tried."""
LEAST: Final = np.float32(np.finfo(np.float32).smallest_normal)
"""What a scale that is tried is at least, so that it can be divided by."""
BETWEEN: Final[Doubles] = (np.arange(LANES) + 0.5) / LANES
"""Where, between two scales, others are tried."""
AROUND: Final[Doubles] = 1 + 0.04 * (2 * BETWEEN - 1)
"""Where others are tried around a scale."""
SHIFTED: Final[Doubles] = np.tile(1 + np.array([-0.06, -0.02, 0.02, 0.06]), 2)
SHIFTS: Final = np.repeat(np.array([-1, 1], np.int16), LANES // 2)
"""With which zero points, and at which scales, others are tried that have a neighbouring zero point."""


@frozen
class ScaleSearch:
    """How far a better scale is looked for."""

    smallest: float = 0.01
    """Times the scale of the extremes: the smallest that is tried. With 0.05, int8 in blocks of 32 gains 0.05 dB more, and int4 of a whole
    weight loses 3 dB where one in 100,000 elements is 300 times as large as the others."""

    @property
    def ratios(self) -> Doubles:
        """The scales that are tried first, in parts of that of the extremes."""
        return np.geomspace(LARGEST, self.smallest, LANES)


def search_scales(
    weight: Array, counts: tuple[int, ...], levels: Grid, engine: Engine, search: ScaleSearch, importance: Array | None
) -> Affine:
    """The parameters of all blocks of a weight, flat, in C order of `counts`, for the grid `whole(levels)`.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values.
        ValueError: importance is negative, not finite, or of a shape that is not broadcast to the weight's.
    """
    out = Affine(np.empty(math.prod(counts), weight.dtype), zero_points(math.prod(counts), levels))
    first = 0
    for parts in _runs(weight, counts, importance, engine.searched):
        found = _search(parts, levels, engine, search.ratios)
        last = first + found.scale.size
        out.scale[first:last] = found.scale
        if levels.zero is None:
            out.zero_point[first:last] = found.zero_point
        first = last
    return out


def _search(parts: Parts, levels: Grid, engine: Engine, ratios: Doubles) -> Affine:
    low, high = _extremes(parts, engine)
    start, rival = engine.fit(low, high, levels), as_coremltools(low, high, levels)
    pieces = parts()
    weight, importance = next(pieces)
    if next(pieces, None) is None:
        return engine.search(weight, importance, start, rival, whole(levels), ratios)
    return best_scales(parts, start, rival, whole(levels), ratios, engine.moments, engine.errors)


def _extremes(parts: Parts, engine: Engine) -> tuple[Array, Array]:
    table = np.zeros(1, np.intp)
    found = [engine.extremes(weight[None], table, 1) for weight, _ in parts()]
    return np.minimum.reduce([low[0] for low, _ in found]), np.maximum.reduce([high[0] for _, high in found])


def as_coremltools(low: Array, high: Array, levels: Grid) -> Affine:
    """The parameters that coremltools computes from the extremes of blocks, in the arithmetic of their type.

    The scale is 0 where it divides by that, and infinite or NaN where the arithmetic overflows.
    """
    with np.errstate(all="ignore"):
        if levels.zero is not None:
            most = np.maximum(np.abs(low), np.abs(high))
            return Affine((most + most) / low.dtype.type(levels.highest - levels.lowest), zero_points(low.size, levels))
        number = low.dtype.type
        least, most = np.minimum(low, number(0)), np.maximum(high, number(0))
        span = most - least
        scale = span / number(levels.highest - levels.lowest)
        exact = np.rint((number(levels.lowest) * most - number(levels.highest) * least) / span)
        known = np.isfinite(exact)
        zero = np.clip(np.where(known, exact, number(0)), levels.lowest, levels.highest).astype(np.int16)
        return Affine(np.where(known, scale, number(0)), zero)


def best_scales(
    parts: Parts, start: Affine, rival: Affine, levels: Grid, ratios: Doubles, moments: Moments, errors: Errors
) -> Affine:
    """The best parameters of some blocks: `start` and `rival` are known ones, of which only the first have to be fit for use."""
    scale, zero = start.scale.astype(np.float64), start.zero_point
    trial = _Trial(parts, levels, moments, scale, zero)
    tried = scale[:, None] * ratios
    lane = trial.tries(tried, zero[:, None])
    for _ in range(3 if levels.zero is not None else 2):
        tried = _between(tried, lane)
        lane = trial.tries(tried, zero[:, None])
    if levels.zero is None:
        shifted = np.clip(trial.zero[:, None] + SHIFTS, levels.lowest, levels.highest).astype(np.int16)
        trial.tries(trial.scale[:, None] * SHIFTED, shifted)
        trial.tries(trial.scale[:, None] * AROUND, trial.zero[:, None])
    return _least(parts, levels, errors, start, (rival, *_rounded(trial.scale, trial.zero, start.scale.dtype)))


class _Trial:
    """The best scales so far, unrounded, with their zero points."""

    def __init__(self, parts: Parts, levels: Grid, moments: Moments, scale: Doubles, zero: Array) -> None:
        self._parts = parts
        self._levels = levels
        self._moments = moments
        self._gain = np.zeros(scale.size)
        self.scale = scale
        self.zero = zero

    def tries(self, scale: Doubles, zero: Array) -> Array:
        """Tries scales `[blocks, lanes]`, and answers with the lane that was best of them."""
        crossed, squared = np.zeros(scale.shape), np.zeros(scale.shape)
        narrow = np.maximum(scale.astype(np.float32), LEAST)
        shape = (scale.shape[0], LANES)
        steps = Reach(
            np.broadcast_to((self._levels.lowest - zero).astype(np.float32), shape),
            np.broadcast_to((self._levels.highest - zero).astype(np.float32), shape),
        )
        for weight, importance in self._parts():
            self._moments(weight, importance, narrow, steps, crossed, squared)
        usable = squared > 0
        divisor = np.where(usable, squared, 1.0)
        gain = np.where(usable, crossed * crossed / divisor, 0.0)
        lane: Array = gain.argmax(axis=1)
        at = (np.arange(lane.size), lane)
        better = gain[at] > self._gain
        self._gain = np.where(better, gain[at], self._gain)
        self.scale = np.where(better, (crossed / divisor)[at], self.scale)
        self.zero = np.where(better, np.broadcast_to(zero, shape)[at], self.zero)
        return lane


def _between(tried: Doubles, lane: Array) -> Doubles:
    """Scales between the neighbours of the best ones, or between it and its one neighbour."""
    rows = np.arange(lane.size)
    one = tried[rows, np.maximum(lane - 1, 0)][:, None]
    other = tried[rows, np.minimum(lane + 1, LANES - 1)][:, None]
    between: Doubles = one + (other - one) * BETWEEN
    return between


def _rounded(scale: Doubles, zero: Array, dtype: np.dtype[Any]) -> tuple[Affine, Affine]:
    """Scales rounded to a type, downwards and upwards."""
    nearest = scale.astype(dtype)
    down = np.where(nearest > scale, np.nextafter(nearest, dtype.type(0)), nearest)
    return Affine(down, zero), Affine(np.nextafter(down, dtype.type(np.inf)), zero)


def usable(candidate: Affine, start: Affine) -> Affine:
    """A candidate, with `start` wherever its scale is none."""
    none = ~(np.isfinite(candidate.scale) & (candidate.scale > 0))
    return Affine(np.where(none, start.scale, candidate.scale), np.where(none, start.zero_point, candidate.zero_point))


def _least(parts: Parts, levels: Grid, errors: Errors, start: Affine, others: Sequence[Affine]) -> Affine:
    """Of each block's candidates the one of least error, the first among equals."""
    candidates = [start, *(usable(each, start) for each in others)]
    scales = np.stack([each.scale for each in candidates], axis=1)
    zeros = np.stack([each.zero_point for each in candidates], axis=1)
    noise = np.zeros(scales.shape)
    steps = reach(Affine(scales, zeros), levels)
    for weight, importance in parts():
        errors(weight, importance, scales.astype(np.float32), steps, noise)
    at = (np.arange(scales.shape[0]), noise.argmin(axis=1))
    return Affine(scales[at], zeros[at])


def _runs(weight: Array, counts: tuple[int, ...], importance: Array | None, limit: int) -> Iterator[Parts]:
    """All blocks in C order of `counts`, some at a time, contiguous: copies, where the blocks are not runs of the weight themselves."""
    split = [size for dim, count in zip(weight.shape, counts, strict=True) for size in (count, dim // count)]
    order = [*range(0, len(split), 2), *range(1, len(split), 2)]
    inner = tuple(split[1::2])
    values = weight.reshape(split).transpose(order)
    factors = None if importance is None else np.broadcast_to(_relative(importance), weight.shape).reshape(split).transpose(order)
    size = math.prod(inner)

    def part(at: Slices, blocks: int) -> tuple[Array, Array | None]:
        chosen = None if factors is None else np.ascontiguousarray(factors[at]).reshape(blocks, -1)
        return np.ascontiguousarray(values[at]).reshape(blocks, -1), chosen

    def cut(outer: Slices) -> Parts:
        return lambda: _whole_segments(part((*outer, *within), 1) for within in slabs(inner, limit=limit))

    if size > limit:
        yield from map(cut, slabs(counts, limit=1))
        return
    for outer in slabs(counts, limit=limit // size):
        piece = part(outer, math.prod(each.stop - each.start for each in outer))
        yield lambda piece=piece: iter([piece])  # type: ignore[misc]


def _whole_segments(parts: Iterable[tuple[Array, Array | None]]) -> Iterator[tuple[Array, Array | None]]:
    """Parts of one block, cut anew where they are not whole segments."""
    values: Array | None = None
    factors: Array | None = None
    for weight, importance in parts:
        values = weight if values is None else np.concatenate([values, weight], axis=1)
        factors = importance if factors is None or importance is None else np.concatenate([factors, importance], axis=1)
        whole = values.shape[1] - values.shape[1] % SEGMENT
        if whole:
            yield values[:, :whole], None if factors is None else factors[:, :whole]
        values, factors = (None, None) if whole == values.shape[1] else (values[:, whole:], None if factors is None else factors[:, whole:])
    if values is not None:
        yield values, factors


def _relative(importance: Array) -> Floats:
    """Importance in parts of the greatest, so that no product with it overflows."""
    exact = importance.astype(np.float64)
    if not (np.isfinite(exact).all() and (exact >= 0).all()):
        raise ValueError("importance has to be finite and not negative")
    return (exact / (exact.max(initial=0.0) or 1.0)).astype(np.float32)
