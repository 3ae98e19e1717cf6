"""Weights that are computed piece by piece, for work that wants arrays: whole blocks at a time.

Blocks are worked on in bands along the first axis, each an array. Where a block goes along all of that axis, there are no bands, and the
weight is laid out as one array (`Writer.array`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from attrs import frozen

from ir.flows import Flow
from ir.tensors import Array
from mlpasses.numerics.affine import Emit

ELEMENTS: Final = 1 << 20
"""About so many make a band; what is worked on at a time (`engine.chunk`) divides it."""


@frozen
class Band:
    """A run of blocks along an axis before which there is no other, with all that is behind it."""

    shape: tuple[int, ...]
    counts: tuple[int, ...]
    """The number of blocks on each axis."""
    axis: int
    start: int
    """Its first element on the axis."""
    first: int
    """Its first element in C order."""
    alone: bool
    """Whether it is all of the weight."""

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def emit(self, emit: Emit) -> Emit:
        """Who takes what is emitted of the weight, for what is of the band alone."""
        return lambda position, codes: emit(self.first + position, codes)


def bands(shape: Sequence[int], counts: Sequence[int], unit: int) -> Iterator[Band]:
    """Cuts a weight with so many blocks on each axis: into bands of about `ELEMENTS`, of a multiple of the blocks that are `unit` elements
    together where that is more than one; into one where all blocks go along the first axis."""
    axis = next((at for at, dim in enumerate(shape) if dim > 1), 0)
    blocks = counts[axis] if shape else 1
    size = math.prod(shape) // max(blocks, 1)
    if blocks < 2 or not size:
        yield whole_of(tuple(shape), tuple(counts))
        return
    together = max(1, unit // size)
    step = max(together, ELEMENTS // size // together * together)
    rows = shape[axis] // blocks
    for begin in range(0, blocks, step):
        count = min(step, blocks - begin)
        yield Band(
            (*shape[:axis], count * rows, *shape[axis + 1 :]), (*counts[:axis], count, *counts[axis + 1 :]), axis, begin * rows,
            begin * size, alone=count == blocks,
        )  # fmt: skip


def whole_of(shape: tuple[int, ...], counts: tuple[int, ...]) -> Band:
    """A weight as one band."""
    return Band(shape, counts, next((at for at, dim in enumerate(shape) if dim > 1), 0), 0, 0, alone=True)


def taken(values: Flow, cut: Sequence[Band], whole: Callable[[Flow], Array]) -> Iterator[tuple[Band, Array]]:
    """The elements of each of consecutive bands, in its shape; the next overwrites them. Of a single band, `whole` makes the array."""
    if len(cut) == 1:
        yield cut[0], whole(values).reshape(cut[0].shape)
        return
    read = values.reader()
    for band in cut:
        yield band, read(band.size).reshape(band.shape)
