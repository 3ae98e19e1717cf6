"""Weights that are computed piece by piece, for work that wants arrays: whole blocks at a time, or all of it as what looks like one.

Blocks are worked on in bands along the first axis, each an array. Where a block goes along all of that axis, there are no bands: the
weight is `Streamed`, and computed anew for each time that it is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from attrs import frozen

from ir.flows import SLAB, Flow, Stored, gathered
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


class Streamed:
    """A flow that is read as an array is (`pieces.Readable`): in contiguous pieces, each valid until the next.

    Whoever goes back begins anew, so that it is for work that reads a weight in C order, a few times over.
    """

    def __init__(self, flow: Flow, shape: tuple[int, ...] | None = None) -> None:
        self._flow = flow
        self.shape = flow.shape if shape is None else shape
        self._read = flow.reader()
        self._position = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._flow.dtype

    @property
    def size(self) -> int:
        return self._flow.size

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    def reshape(self, shape: tuple[int, ...], /) -> Streamed:
        """The same in another shape, of which -1 may be all."""
        return Streamed(self._flow, (self.size,) if shape == (-1,) else shape)

    def __getitem__(self, at: Any, /) -> Array:
        """A contiguous piece, given by slices.

        Raises:
            ValueError: it is not contiguous.
        """
        asked = () if at is Ellipsis else at if isinstance(at, tuple) else (at,)
        cuts = [each.indices(dim) for each, dim in zip((*asked, *(slice(None),) * (len(self.shape) - len(asked))), self.shape, strict=True)]
        piece = tuple(max(0, stop - start) for start, stop, _ in cuts)
        inner = next((axis for axis, dim in enumerate(piece) if dim != 1), len(piece))
        if any(step != 1 for *_, step in cuts) or piece[inner + 1 :] != self.shape[inner + 1 :]:
            raise ValueError(f"{at} of {self.shape} is no contiguous piece")
        first = 0
        for (start, *_), dim in zip(cuts, self.shape, strict=True):
            first = first * dim + start
        self._go_to(first)
        count = math.prod(piece)
        self._position += count
        return self._read(count).reshape(piece)

    def _go_to(self, first: int) -> None:
        if first < self._position:
            self._read, self._position = self._flow.reader(), 0
        while self._position < first:
            step = min(SLAB, first - self._position)
            self._read(step)
            self._position += step


def whole_of(shape: tuple[int, ...], counts: tuple[int, ...]) -> Band:
    """A weight as one band."""
    return Band(shape, counts, next((at for at, dim in enumerate(shape) if dim > 1), 0), 0, 0, alone=True)


def readable(values: Flow, shape: tuple[int, ...]) -> Array | Streamed:
    """All elements in a shape: an array where they lie somewhere as one, or are few; otherwise streamed."""
    lies = isinstance(values, Stored) and values.bits is None
    return gathered(values).reshape(shape) if lies or values.size <= ELEMENTS else Streamed(values, shape)


def taken(values: Flow, cut: Sequence[Band]) -> Iterator[tuple[Band, Array | Streamed]]:
    """The elements of each of consecutive bands, in its shape: an array, which the next overwrites; streamed where one is too large."""
    first = cut[0]
    if len(cut) == 1:
        streams = first.counts[first.axis] == 1
        yield first, readable(values, first.shape) if streams else gathered(values).reshape(first.shape)
        return
    read = values.reader()
    for band in cut:
        yield band, read(band.size).reshape(band.shape)
