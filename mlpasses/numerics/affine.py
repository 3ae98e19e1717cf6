"""Affine quantization: w ≈ scale · (q - zero_point), with integers q of few bits.

Weights come as three-dimensional views `[outer, channels, inner]`, whose middle axis has a scale (and a zero point) for each entry:
`channel_view` makes them of any shape and axis. Everything is computed in float32 (the parameters of a channel in float64) and rounded
once to the weight's own type, and integers are chosen for the scale *as it is stored*, so that errors are those of what will be decoded
(`ir.expansion` decodes).

This module is the NumPy reference; `affine_kernels` has the same two functions compiled, with equal results bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

from mlpasses.numerics.pieces import channel_runs, pieces

Array: TypeAlias = npt.NDArray[Any]
View: TypeAlias = tuple[int, int, int]
Emit: TypeAlias = Callable[[int, Array], None]


class NotFiniteError(ValueError):
    """A weight holds NaN or infinite values, which no scale can express."""


@frozen
class Grid:
    """The integers that a scheme uses, `lowest` to `highest`, and the zero point that all channels share: None where each has its own."""

    lowest: int
    highest: int
    zero: int | None


def grid(bits: int, *, signed: bool, symmetric: bool) -> Grid:
    """The grid of a type of `bits` bits.

    A symmetric one has as many integers above its zero point as below and so leaves one out: -127…127 around 0 (int8), 0…254 around
    127 (uint8). These are the ranges of coremltools.
    """
    count = 1 << bits
    if not symmetric:
        lowest = -(count // 2) if signed else 0
        return Grid(lowest, lowest + count - 1, None)
    half = count // 2 - 1
    return Grid(-half, half, 0) if signed else Grid(0, 2 * half, half)


@frozen(eq=False)
class Affine:
    """The parameters of the channels of one weight.

    `scale` has the weight's type and is positive and finite. `fewest` and `most` bound the steps `q - zero_point` that are used, so
    that `scale · steps` is finite when it is rounded to that type.
    """

    scale: Array
    zero_point: npt.NDArray[np.int32]
    fewest: npt.NDArray[np.float32]
    most: npt.NDArray[np.float32]


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
        return 10 * math.log10(self.signal / self.noise) if self.noise and self.signal else math.inf


class Engine(NamedTuple):
    """Who does the work on elements.

    `extremes(weight)` gives the least and the greatest value of each channel, `quantize(weight, affine, out)` writes the integers.
    `chunk` is how many elements they are best handed at a time.
    """

    extremes: Callable[[Array], tuple[Array, Array]]
    quantize: Callable[[Array, Affine, Array], Loss]
    chunk: int


def channel_view(shape: tuple[int, ...], axis: int | None) -> View:
    """`[outer, channels, inner]` of a shape whose `axis` has the channels; without an axis there is one channel.

    >>> channel_view((8, 4, 3, 3), 1)
    (8, 4, 9)
    """
    if axis is None:
        return 1, 1, math.prod(shape)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def extremes(weight: Array) -> tuple[Array, Array]:
    """The least and the greatest value of each channel; NaN where a channel holds one."""
    values = weight.astype(np.float32)  # NumPy compares fp16 numbers one by one: the whole of it is twice as slow then
    return values.min(axis=(0, 2)).astype(weight.dtype), values.max(axis=(0, 2)).astype(weight.dtype)


def fit(low: Array, high: Array, levels: Grid) -> Affine:
    """The parameters that cover the values from `low` to `high` of each channel, in the type of these two.

    The range is widened to hold zero, so that zero is decoded as zero, and to both sides alike where the grid's zero point is fixed.
    A channel without any other value has the scale 1. Where the type is so coarse that the nearest scale would cut a step or more off
    the range (subnormal ones), or so narrow that the outermost step would overflow (fp16 beyond 65,472 or so), the next one is taken.

    Raises:
        NotFiniteError: an extreme is not finite.
    """
    dtype = low.dtype
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise NotFiniteError("it holds NaN or infinite values")
    below = np.minimum(low.astype(np.float64), 0.0)
    above = np.maximum(high.astype(np.float64), 0.0)
    if levels.zero is not None:
        above = np.maximum(-below, above)
        below = -above
    span = above - below
    steps = levels.highest - levels.lowest
    limit = _overflow(dtype)
    with np.errstate(under="ignore"):
        scale = (span / steps).astype(dtype)
    scale = np.where(span > (steps + 1) * scale.astype(np.float64), np.nextafter(scale, dtype.type(np.inf)), scale)
    if levels.zero is not None:
        outermost = scale.astype(np.float64) * max(levels.highest - levels.zero, levels.zero - levels.lowest)
        scale = np.where(outermost >= limit, np.nextafter(scale, dtype.type(0)), scale)
    scale = np.where(span == 0, dtype.type(1), scale)
    exact = scale.astype(np.float64)
    if levels.zero is None:
        zero = np.clip(np.rint(levels.lowest - below / exact), levels.lowest, levels.highest)
    else:
        zero = np.full(scale.shape, levels.zero, np.float64)
    finite = np.ceil(limit / exact) - 1
    return Affine(
        scale,
        zero.astype(np.int32),
        np.maximum(levels.lowest - zero, -finite).astype(np.float32),
        np.minimum(levels.highest - zero, finite).astype(np.float32),
    )


def _overflow(dtype: np.dtype[Any]) -> float:
    """The least number that a float type rounds to infinity: 65,520 for fp16."""
    info = np.finfo(dtype)
    return float(info.max) + 2.0 ** (info.maxexp - info.nmant - 2)


def quantize(weight: Array, affine: Affine, out: Array) -> Loss:
    """q = clip(round(w / scale)) + zero_point, ties to even, written to `out`, an array of one byte an element."""
    scale = affine.scale.astype(np.float32)[:, None]
    values = weight.astype(np.float32)
    steps = np.rint(values / scale)
    np.clip(steps, affine.fewest[:, None], affine.most[:, None], out=steps)
    out.view(np.int8)[...] = (steps.astype(np.int32) + affine.zero_point[:, None]).astype(np.int8)
    with np.errstate(under="ignore"):
        decoded = (steps * scale).astype(weight.dtype).astype(np.float32)
    error = (values - decoded).astype(np.float64)
    return Loss(float(np.square(values, dtype=np.float64).sum()), float(np.square(error).sum()), float(np.abs(error).max(initial=0.0)))


NUMPY: Final = Engine(extremes, quantize, 1 << 16)
"""The reference: 0.22 GB/s of fp16 on one core. The temporaries of a piece are 256 KB each; the rate is the same up to 2 MB."""


def quantize_view(weight: Array, levels: Grid, engine: Engine, emit: Emit) -> tuple[Affine, Loss]:
    """Quantizes a whole weight `[outer, channels, inner]`, which may be a mapped file, a piece at a time.

    `emit(position, integers)` is called for every piece in order, with a buffer that is used again; `position` counts elements. Private
    memory is that of one piece: some `engine.chunk` elements, or one entry of `outer` where that is more.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values. Some pieces may have been emitted.
    """
    parameters: list[Affine] = []
    loss = Loss()
    buffer = np.empty(0, np.int8)
    for channels in channel_runs(weight.shape, engine.chunk):
        run = weight[:, channels, :]
        parts = [(at, run[outer, :, inner]) for at, outer, inner in pieces(run.shape, engine.chunk)]
        found = [engine.extremes(piece) for _, piece in parts]
        low, high = (np.minimum.reduce([low for low, _ in found]), np.maximum.reduce([high for _, high in found]))
        affine = fit(low, high, levels)
        start = channels.start * weight.shape[2]
        for at, piece in parts:
            if buffer.size < piece.size:
                buffer = np.empty(piece.size, np.int8)
            out = buffer[: piece.size].reshape(piece.shape)
            loss += engine.quantize(piece, affine, out)
            emit(start + at, buffer[: piece.size])
        parameters.append(affine)
    return _joined(parameters), loss


def _joined(parts: list[Affine]) -> Affine:
    if len(parts) == 1:
        return parts[0]
    columns = zip(*((p.scale, p.zero_point, p.fewest, p.most) for p in parts), strict=True)
    return Affine(*(np.concatenate(column) for column in columns))
