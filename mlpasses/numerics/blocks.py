"""Quantization of a weight in blocks: of all of it, of each channel on any axis, or of blocks of channels on any axes.

Blocks are given by their numbers on each axis, which is the shape of the scale: `(1, 1)` for one scale, `(O, 1)` for one of each row,
`(O, I / 32)` for one of every 32 elements of a row. `Layout` sees a weight of any rank so that blocks need no transposition.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from attrs import frozen

from mlpasses.numerics.affine import Affine, Array, Emit, Engine, Grid, Loss, whole, zero_points
from mlpasses.numerics.scale_search import ScaleSearch, search_scales


@frozen
class Layout:
    """A weight in C order as `[groups, rows, channels, inner]`, whose blocks `[groups, tables, channels]` are in C order of their counts.

    Groups have nothing to do with one another. The blocks of a row are one of its group's tables, which several rows may share:

        (O, I) with blocks (O, I / b)    →  groups O · I / b, each one row of one channel with b elements
        (O, I, H, W) with (1, I, 1, 1)   →  one group, whose O rows of I channels with H · W elements share one table
        (I, O) with (I / b, O)           →  groups I / b, each b rows of O channels that share a table

    `factors` says how rows are numbered, outermost first: a size, and whether going along it leads to another block.
    """

    groups: int
    factors: tuple[tuple[int, bool], ...]
    channels: int
    inner: int

    @staticmethod
    def of(shape: Sequence[int], counts: Sequence[int]) -> Layout:
        """
        Raises:
            ValueError: there is not a number of blocks for each axis, or one does not divide its axis.
        """
        if len(counts) != len(shape):
            raise ValueError(f"a weight of rank {len(shape)} takes as many numbers of blocks, and there are {len(counts)}")
        factors: list[tuple[int, bool]] = []
        for axis, (dim, count) in enumerate(zip(shape, counts, strict=True)):
            if count < 1 or dim % count:
                raise ValueError(f"{count} blocks do not divide the {dim} elements of axis {axis}")
            for size, blocked in ((count, True), (dim // count, False)):
                if size == 1:
                    continue
                if factors and factors[-1][1] is blocked:
                    factors[-1] = (factors[-1][0] * size, blocked)
                else:
                    factors.append((size, blocked))
        inner = factors.pop()[0] if factors and not factors[-1][1] else 1
        channels = factors.pop()[0] if factors else 1
        if not factors:
            return Layout(channels, (), 1, inner)
        groups = factors.pop(0)[0] if factors[0][1] else 1
        return Layout(groups, tuple(factors), channels, inner)

    @property
    def rows(self) -> int:
        """The rows of a group."""
        return math.prod(size for size, _ in self.factors)

    @property
    def tables(self) -> int:
        """The tables of a group."""
        return math.prod(size for size, blocked in self.factors if blocked)

    def table(self, first: int, last: int) -> npt.NDArray[np.intp]:
        """The tables of the rows from `first` to `last`, which may lie in several groups."""
        at = np.arange(first, last, dtype=np.intp)
        found = np.zeros(at.size, np.intp)
        stride = 1
        for size, blocked in reversed(self.factors):
            if blocked:
                found += at % size * stride
                stride *= size
            at //= size
        return found + at * stride

    def pieces(self, first: int, last: int, chunk: int) -> Iterator[tuple[slice, slice, slice]]:
        """Cuts the rows from `first` to `last` into contiguous pieces of at most `chunk` elements, in order."""
        whole = slice(None)
        width = self.channels * self.inner
        if width <= chunk:
            step = chunk // max(width, 1)
            for row in range(first, last, step):
                yield slice(row, min(row + step, last)), whole, whole
            return
        for row in range(first, last):
            here = slice(row, row + 1)
            if self.inner <= chunk:
                step = chunk // self.inner
                for channel in range(0, self.channels, step):
                    yield here, slice(channel, min(channel + step, self.channels)), whole
            else:
                for channel in range(self.channels):
                    for start in range(0, self.inner, chunk):
                        yield here, slice(channel, channel + 1), slice(start, min(start + chunk, self.inner))


def quantize_blocks(
    weight: Array,
    counts: tuple[int, ...],
    levels: Grid,
    engine: Engine,
    emit: Emit,
    search: ScaleSearch | None = None,
    importance: Array | None = None,
) -> tuple[Affine, Loss]:
    """Quantizes a weight of any rank, in C order, which may be a mapped file, a piece at a time.

    `counts` has the number of blocks on each axis. Scales cover the extremes of their block, or are searched for the least squared error,
    each element weighted by `importance` (not negative, and broadcast to the weight's shape), which nothing else depends on. The
    parameters that are answered are flat, in C order of `counts`.

    `emit(position, integers)` is called for every piece in order, with one byte an element in a buffer that is used again; `position`
    counts elements. Beside the parameters, private memory is that of one piece: some `engine.chunk` elements. (Where a block is spread
    over the whole of the weight, the weight is read twice, or once more for each step of a search.)

    Raises:
        NotFiniteError: the weight holds NaN or infinite values. Some pieces may have been emitted.
        ValueError: `counts` do not divide the shape, or importance is negative, not finite, or of another shape.
    """
    layout = Layout.of(weight.shape, counts)
    blocks = math.prod(counts)
    view = weight.reshape((layout.groups * layout.rows, layout.channels, layout.inner))
    if not weight.size:
        return Affine(np.ones(blocks, weight.dtype), zero_points(blocks, levels)), Loss()
    if search is not None:
        affine = search_scales(weight, counts, levels, engine, search, importance)
        return affine, _Work(layout, view, whole(levels), engine, emit).write(0, layout.groups, affine)
    work = _Work(layout, view, levels, engine, emit)
    affine = Affine(np.empty(blocks, weight.dtype), zero_points(blocks, levels))
    if layout.rows == layout.channels == 1 and layout.inner <= engine.chunk:
        return affine, work.rows(affine)
    return affine, work.groups(affine)


@frozen(eq=False)
class _Work:
    """A weight as `[rows, channels, inner]`, and what is done with it."""

    layout: Layout
    view: Array
    levels: Grid
    engine: Engine
    emit: Emit

    def rows(self, out: Affine) -> Loss:
        """Where each row is a block: all at once, while it is in cache."""
        blocks, _, inner = self.view.shape
        step = max(1, self.engine.chunk // inner)
        buffer = np.empty((min(step, blocks), inner), np.int8)
        loss = Loss()
        for first in range(0, blocks, step):
            part = self.view[first : first + step, 0]
            integers = buffer[: part.shape[0]]
            at = slice(first, first + step)
            loss += self.engine.quantize_rows(part, self.levels, Affine(out.scale[at], out.zero_point[at]), integers)
            self.emit(first * inner, integers.reshape(-1))
        return loss

    def groups(self, out: Affine) -> Loss:
        """A run of groups after the other: their extremes, their parameters, their integers."""
        layout, engine = self.layout, self.engine
        step = max(1, engine.chunk // (layout.rows * layout.channels * layout.inner))
        size = layout.tables * layout.channels
        loss = Loss()
        for first in range(0, layout.groups, step):
            last = min(first + step, layout.groups)
            affine = engine.fit(*self._extremes(first, last), self.levels)
            out.scale[first * size : last * size] = affine.scale.reshape(-1)
            if self.levels.zero is None:
                out.zero_point[first * size : last * size] = affine.zero_point.reshape(-1)
            loss += self.write(first, last, affine)
        return loss

    def _extremes(self, first: int, last: int) -> tuple[Array, Array]:
        layout = self.layout
        tables, rows = layout.tables, layout.rows
        pieces = list(layout.pieces(first * rows, last * rows, self.engine.chunk))
        if len(pieces) == 1:  # nothing to be combined, which in fp16 is slow
            table = layout.table(first * rows, last * rows) - first * tables
            return self.engine.extremes(self.view[pieces[0]], table, (last - first) * tables)
        low = np.full(((last - first) * tables, layout.channels), np.inf, self.view.dtype)
        high = -low
        for at, channels, inner in pieces:
            table, used = _used(layout.table(at.start, at.stop), first * tables)
            below, above = self.engine.extremes(self.view[at, channels, inner], table, used.stop - used.start)
            np.minimum(low[used, channels], below, out=low[used, channels])
            np.maximum(high[used, channels], above, out=high[used, channels])
        return low, high

    def write(self, first: int, last: int, affine: Affine) -> Loss:
        """The integers of a run of groups, with its parameters, in whatever shape."""
        layout = self.layout
        tables, rows, channels = layout.tables, layout.rows, layout.channels
        shape = ((last - first) * tables, channels)
        scale, zero = affine.scale.reshape(shape), affine.zero_point.reshape(shape)
        buffer = np.empty(0, np.int8)
        loss = Loss()
        for at, c, i in layout.pieces(first * rows, last * rows, self.engine.chunk):
            piece = self.view[at, c, i]
            table, used = _used(layout.table(at.start, at.stop), first * tables)
            if buffer.size < piece.size:
                buffer = np.empty(piece.size, np.int8)
            integers = buffer[: piece.size]
            part = Affine(scale[used, c], zero[used, c])
            loss += self.engine.quantize(piece, table, part, self.levels, integers.reshape(piece.shape))
            self.emit((at.start * channels + (c.start or 0)) * layout.inner + (i.start or 0), integers)
        return loss


def _used(table: npt.NDArray[np.intp], start: int) -> tuple[npt.NDArray[np.intp], slice]:
    """The part of tables, counted from `start`, that a piece uses, so that no piece costs more than that; and its rows' tables in it."""
    first, last = int(table.min()), int(table.max())
    return table - first, slice(first - start, last - start + 1)
