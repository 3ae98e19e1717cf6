"""Affine quantization: w ≈ scale · (q - zero_point), with integers q of few bits.

Every parameter is that of a block of the weight: of all of it, of a channel, or of a part of one (`blocks` divides weights). Everything is
computed in float32 (the parameters in float64) and rounded once to the weight's own type, and integers are chosen for the scale *as it is
stored*, so that errors are those of what will be decoded (`ir.expansion` decodes).

The functions on elements work on a piece `[rows, channels, inner]` and parameters `[tables, channels]`: the elements `[row, channel, :]`
have the parameters `[table[row], channel]`. Where there is one table, its channels lie on the middle axis; where there are many, rows far
apart may share one.

`affine_numpy` is the reference for what has to touch every element; `affine_kernels` has the same compiled, with equal results bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

Array: TypeAlias = npt.NDArray[Any]
Doubles: TypeAlias = npt.NDArray[np.float64]
Floats: TypeAlias = npt.NDArray[np.float32]
View: TypeAlias = tuple[int, int, int]
Emit: TypeAlias = Callable[[int, Array], None]

SEGMENT: Final = 256
"""Where terms have to be added in one order, so that engines agree: those of as many elements, one after the other; then these sums."""


class NotFiniteError(ValueError):
    """A weight holds NaN or infinite values, which no scale can express."""

    def __init__(self) -> None:
        super().__init__("it holds NaN or infinite values")


@frozen
class Grid:
    """The integers that a scheme uses, `lowest` to `highest`, and the zero point that all blocks share: None where each has its own."""

    lowest: int
    highest: int
    zero: int | None


def grid(bits: int, *, signed: bool, symmetric: bool) -> Grid:
    """The grid of a type of `bits` bits.

    A symmetric one has as many integers above its zero point as below and so leaves one out: -127…127 around 0 (int8), 0…254 around
    127 (uint8), -7…7 (int4), 0…14 around 7 (uint4). These are the ranges of coremltools.
    """
    count = 1 << bits
    if not symmetric:
        lowest = -(count // 2) if signed else 0
        return Grid(lowest, lowest + count - 1, None)
    half = count // 2 - 1
    return Grid(-half, half, 0) if signed else Grid(0, 2 * half, half)


def whole(levels: Grid) -> Grid:
    """A grid with the integer that a symmetric one leaves out, as its type has it: -8…7 around 0 (int4), 0…15 around 7 (uint4)."""
    if levels.zero is None:
        return levels
    if levels.lowest < 0:
        return Grid(levels.lowest - 1, levels.highest, levels.zero)
    return Grid(levels.lowest, levels.highest + 1, levels.zero)


@frozen(eq=False)
class Affine:
    """The parameters of blocks. `scale` is positive, finite and of the weight's type; `zero_point` is int16, and takes no memory where
    the grid gives all blocks the same."""

    scale: Array
    zero_point: npt.NDArray[np.int16]


@frozen(eq=False)
class Reach:
    """The steps `q - zero_point` that each block uses, `fewest` to `most`: those of the grid whose product with the scale is finite when
    it is rounded to the weight's type."""

    fewest: Floats
    most: Floats


@frozen
class Loss:
    """What quantization cost: Σw², Σ(w-ŵ)² and max |w-ŵ|, where ŵ is what will be decoded."""

    signal: float = 0.0
    noise: float = 0.0
    worst: float = 0.0

    def __add__(self, other: Loss) -> Loss:
        return Loss(self.signal + other.signal, self.noise + other.noise, max(self.worst, other.worst))

    @property
    def sqnr(self) -> float:
        """Signal to quantization noise, 10·log10(Σw² / Σ(w-ŵ)²), in dB; infinite where nothing was lost."""
        if not self.noise:
            return math.inf
        ratio = self.signal / self.noise
        return 10 * math.log10(ratio) if ratio else -math.inf


class Engine(NamedTuple):
    """Who does the work on elements and, where there are many, on blocks. The functions of `affine_numpy` say what each does."""

    extremes: Callable[[Array, Array, int], tuple[Array, Array]]
    fit: Callable[[Array, Array, Grid], Affine]
    quantize: Callable[[Array, Array, Affine, Grid, Array], Loss]
    quantize_rows: Callable[[Array, Grid, Affine, Array], Loss]
    moments: Callable[[Array, Array | None, Floats, Reach, Doubles, Doubles], None]
    errors: Callable[[Array, Array | None, Floats, Reach, Doubles], None]
    search: Callable[[Array, Array | None, Affine, Affine, Grid, Doubles], Affine]
    chunk: int
    """How many elements the functions that quantize are best handed at a time."""
    searched: int
    """How many elements a search for scales is best handed at a time."""


def channel_view(shape: tuple[int, ...], axis: int | None) -> View:
    """`[outer, channels, inner]` of a shape whose `axis` has the channels; without an axis there is one channel.

    >>> channel_view((8, 4, 3, 3), 1)
    (8, 4, 9)
    """
    if axis is None:
        return 1, 1, math.prod(shape)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def overflow(dtype: np.dtype[Any]) -> float:
    """The least number that a float type rounds to infinity: 65,520 for fp16."""
    info = np.finfo(dtype)
    return float(info.max) + 2.0 ** (info.maxexp - info.nmant - 2)


def zero_points(count: int, levels: Grid) -> npt.NDArray[np.int16]:
    """The zero points of `count` blocks: to be filled in where each has its own, else one number seen `count` times, read-only."""
    return np.zeros(count, np.int16) if levels.zero is None else np.broadcast_to(np.int16(levels.zero), count)


def fit(low: Array, high: Array, levels: Grid) -> Affine:
    """The parameters that cover the values from `low` to `high` of each block, in the type of these two, whatever their shape.

    The range is widened to hold zero, so that zero is decoded as zero, and to both sides alike where the grid's zero point is fixed.
    A block without any other value has the scale 1. Scales are rounded to the nearest number of the type, save where that is 0, or where
    only for that the outermost step would overflow (fp16 beyond 65,472 or so): then the next one is taken. (Among subnormal
    numbers the nearest may cut the range by a third, and is still better than the next: the weight's own numbers are as coarse, so that
    with the least scale all that are in reach are exact.) Zero points are those of the range itself, so that what a rounded scale cuts is
    divided between its ends.

    Raises:
        NotFiniteError: an extreme is not finite.
    """
    dtype = low.dtype
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise NotFiniteError
    below = np.minimum(low.astype(np.float64), 0.0)
    above = np.maximum(high.astype(np.float64), 0.0)
    if levels.zero is not None:
        above = np.maximum(-below, above)
        below = -above
    span = above - below
    steps = levels.highest - levels.lowest
    exact = np.where(span == 0, 1.0, span / steps)
    with np.errstate(under="ignore"):
        scale = exact.astype(dtype)
    scale = np.where(scale == 0, np.finfo(dtype).smallest_subnormal, scale)
    if levels.zero is None:
        zero = np.clip(np.rint(levels.lowest - below / exact), levels.lowest, levels.highest).astype(np.int16)
    else:
        zero = np.broadcast_to(np.int16(levels.zero), scale.shape)
    less = np.nextafter(scale, dtype.type(0))
    outermost = np.maximum(levels.highest - zero, zero - levels.lowest).astype(np.float64)
    limit = overflow(dtype)
    with np.errstate(over="ignore"):
        scale = np.where((scale * outermost >= limit) & (less * outermost < limit), less, scale)
    return Affine(scale, zero)


def reach(affine: Affine, levels: Grid) -> Reach:
    """The steps that blocks with these parameters can use."""
    with np.errstate(over="ignore"):
        finite = np.ceil(overflow(affine.scale.dtype) / affine.scale.astype(np.float64)) - 1
    zero = affine.zero_point.astype(np.float64)
    return Reach(
        np.maximum(levels.lowest - zero, -finite).astype(np.float32),
        np.minimum(levels.highest - zero, finite).astype(np.float32),
    )
