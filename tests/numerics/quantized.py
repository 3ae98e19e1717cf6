"""Weights quantized in blocks, for tests, and what they are decoded to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from ir.expansion import shift_scale
from mlpasses.numerics.affine import Affine, Engine, Grid, Loss, grid
from mlpasses.numerics.blocks import quantize_blocks
from mlpasses.numerics.scale_search import ScaleSearch

Array = npt.NDArray[Any]

GRIDS = {
    f"{'int' if signed else 'uint'}{bits} {'symmetric' if symmetric else 'asymmetric'}": grid(bits, signed=signed, symmetric=symmetric)
    for bits in (8, 4)
    for signed in (True, False)
    for symmetric in (True, False)
}


@frozen(eq=False)
class Quantized:
    integers: Array
    affine: Affine
    loss: Loss
    decoded: Array

    def noise(self, weight: Array, importance: Array | float = 1.0) -> float:
        """Σ h·(w - ŵ)²."""
        return float((importance * np.square(weight.astype(np.float64) - self.decoded.astype(np.float64))).sum())


def quantized(
    weight: Array,
    counts: tuple[int, ...],
    levels: Grid,
    engine: Engine,
    search: ScaleSearch | None = None,
    importance: Array | None = None,
) -> Quantized:
    """A weight quantized, whose integers are checked to come in order, and each once."""
    integers = np.full(weight.size, 99, np.int8)
    at = 0

    def emit(position: int, piece: Array) -> None:
        nonlocal at
        assert position == at
        integers[at : at + piece.size] = piece
        at += piece.size

    affine, loss = quantize_blocks(weight, counts, levels, engine, emit, search, importance)
    assert at == weight.size
    typed = integers if levels.lowest < 0 else integers.view(np.uint8)
    shaped = typed.reshape(weight.shape)
    decoded = shift_scale(shaped, affine.scale.reshape(counts), affine.zero_point.reshape(counts).astype(typed.dtype))
    return Quantized(shaped, affine, loss, decoded)


def in_blocks(weight: Array, counts: tuple[int, ...]) -> Array:
    """A weight, transposed to `[blocks, elements]`."""
    split = [size for dim, count in zip(weight.shape, counts, strict=True) for size in (count, dim // count)]
    order = [*range(0, len(split), 2), *range(1, len(split), 2)]
    return weight.reshape(split).transpose(order).reshape(int(np.prod(counts)), -1)
