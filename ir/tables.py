"""Look-up tables over flows of indices: one or many, of single elements or of vectors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Final

import numpy as np
from attrs import frozen

from ir.diagnostics import EvaluationError
from ir.flows import Buffer, Flow, Room, Stored, stored
from ir.slabs import Slices, axis_of, kept_of, places_of, shape_of, show_shape, slabs, split_of, under
from ir.tensors import Array

RUN: Final = 1 << 14
"""Elements of one table behind one another from which each such run is looked up by itself."""
LONG: Final = 1 << 8
"""Indices behind the axis of vectors from which it may be cut there: of fewer a piece would be too short, however long the vectors."""
ROW: Final = 4
"""Slabs that the vectors that begin at one place of their axis may take together, before they are cut behind it; and that the indices of
such a place may take to be unpacked once, not for each element of the vectors."""
WORTH: Final = 8
"""How many times the entries of a table of joined codes a run has to have, so that it pays to make that table."""
_JOINED: Final = {2: np.uint16, 4: np.uint32, 8: np.uint64, 16: np.complex128}
"""Types to move elements that are next to one another at once, by their bytes."""


@frozen(eq=False)
class Table:
    """A LUT, its groups and vectors, over a split shape of indices."""

    shape: tuple[int, ...]
    entries: int
    vector: int
    axis: int
    """The axis of the split shape that vectors lie along."""
    result_shape: tuple[int, ...]
    rows: Array
    """All tables behind one another: [groups * entries, vector]."""
    first: Array | None
    """Where the table of a group begins, broadcasting over the split shape; None where there is one table."""

    @staticmethod
    def of(indices: tuple[int, ...], lut: Array, vector_axis: int | None) -> Table:
        """The table that `lut[*groups, entries, vector]` is for indices of a shape.

        Raises:
            EvaluationError: the shapes do not fit, or a vector lacks its axis.
        """
        if lut.ndim != len(indices) + 2:
            found = show_shape(lut.shape)
            raise EvaluationError(f"lut has to have two dimensions more than the indices {show_shape(indices)}, and is {found}")
        *groups, entries, vector = lut.shape
        if not entries or not vector:
            raise EvaluationError(f"lut has to have entries, and is {show_shape(lut.shape)}")
        if vector > 1 and vector_axis is None:
            raise EvaluationError(f"a LUT of vectors of {vector} needs a vector_axis, and there is none")
        axis = 0 if vector_axis is None else axis_of(vector_axis, len(indices))
        split = split_of(indices, {"lut": tuple(groups)})
        tables = math.prod(groups)
        first = None if tables == 1 else (np.arange(tables, dtype=np.intp) * entries).reshape(split.narrow["lut"])
        return Table(
            shape=split.shape,
            entries=entries,
            vector=vector,
            axis=split.axes[axis] if indices else 0,
            result_shape=tuple(dim * vector if i == axis else dim for i, dim in enumerate(indices)),
            rows=lut.reshape(tables * entries, vector),
            first=first,
        )

    def dense(self, indices: Flow, room: Room, slab: int) -> Iterator[Array]:
        """The values of all indices, none of which is beyond the table."""
        if self.vector == 1:
            yield from self._elements(indices, room, slab)
        elif self._has_long_rows(slab):
            yield from self._rows_of_vectors(stored(indices), room, slab)
        else:
            read, work = indices.reader(), Buffer(self.rows.dtype)
            for at in slabs(self.shape, self.axis, limit=max(1, slab // self.vector)):
                shape = shape_of(at)
                rows = self._rows_at(read(math.prod(shape)).reshape(shape), at).reshape(-1, self._behind)
                out, vectors = room(rows.size * self.vector), work(rows.size * self.vector).reshape(*rows.shape, self.vector)
                self.rows.take(rows, axis=0, out=vectors, mode="clip")
                out.reshape(-1, self.vector, self._behind)[:] = vectors.swapaxes(1, 2)
                yield out

    def kept(self, mask: Flow, indices: Flow, room: Room, slab: int) -> Iterator[Array]:
        """The values of the indices that a mask keeps, as many as it has ones, in the C order of the mask widened by the vectors."""
        if self.vector > 1 and self._has_long_rows(slab):
            yield from self._kept_rows_of_vectors(stored(mask), stored(indices), room, slab)
            return
        read_mask, read = mask.reader(), indices.reader()
        for at in slabs(self.shape, self.axis if self.vector > 1 else None, limit=max(1, slab // self.vector)):
            shape = shape_of(at)
            here = read_mask(math.prod(shape))
            places = places_of(here)
            rows = self._kept_rows_at(read(places.size), places, at)
            out = room(places.size * self.vector)
            if self.vector == 1:
                self.rows[:, 0].take(rows, out=out, mode="clip")
            else:
                vectors = np.empty((here.size, self.vector), self.rows.dtype)
                vectors[places] = self.rows.take(rows, axis=0, mode="clip")
                elements = vectors.reshape(-1, self._behind, self.vector).swapaxes(1, 2).reshape(-1)
                widened = here.reshape(-1, 1, self._behind).repeat(self.vector, axis=1)
                elements.take(places_of(widened), out=out, mode="clip")
            yield out

    def widened_mask(self, mask: Flow, room: Room, slab: int) -> Iterator[Array]:
        """A mask of indices as one of elements."""
        if self._has_long_rows(slab):
            yield from self._mask_of_rows(stored(mask), room, slab)
            return
        read = mask.reader()
        for at in slabs(self.shape, self.axis, limit=max(1, slab // self.vector)):
            here = read(math.prod(shape_of(at)))
            out = room(here.size * self.vector)
            out.reshape(-1, self.vector, self._behind)[:] = here.reshape(-1, 1, self._behind)
            yield out

    def _elements(self, indices: Flow, room: Room, slab: int) -> Iterator[Array]:
        entries = np.ascontiguousarray(self.rows[:, 0])
        last = -1 if self.first is None else max(axis for axis, dim in enumerate(self.first.shape) if dim > 1)
        run = math.prod(self.shape[last + 1 :])
        if run >= min(RUN, slab):
            yield from self._runs(indices, entries, last + 1, run, room, slab)
            return
        read = indices.reader()
        for at in slabs(self.shape, limit=slab):
            shape = shape_of(at)
            rows = self._rows_at(read(math.prod(shape)).reshape(shape), at).reshape(-1)
            yield entries.take(rows, out=room(rows.size), mode="clip")

    def _runs(self, indices: Flow, entries: Array, axes: int, run: int, room: Room, slab: int) -> Iterator[Array]:
        """Elements by runs that are into one table; the position on the first `axes` axes says into which."""
        starts = [0] if self.first is None else np.broadcast_to(self.first.reshape(self.first.shape[:axes]), self.shape[:axes]).flat
        joined, lanes = _joined(indices, run, self.entries, entries.itemsize)  # with a rest only where there is one run
        read = joined.reader()
        step, rest = max(lanes, slab - slab % lanes), run % lanes
        table, begin = entries, -1
        for start in starts:
            if start != begin:
                table, begin = _joined_table(entries[start : start + self.entries], lanes), start
            for at in range(0, run - rest, step):
                out = room(min(step, run - rest - at))
                table.take(read(out.size // lanes), out=out.view(table.dtype), mode="clip")
                yield out
        if rest:
            yield entries.take(stored(indices).read(run - rest, rest), out=room(rest), mode="clip")

    def _rows_of_vectors(self, indices: Stored, room: Room, slab: int) -> Iterator[Array]:
        columns = np.ascontiguousarray(self.rows.T)
        for start, outer in self._outer():
            readers = indices.readers(start, self._behind, ROW * slab)
            for column in columns:
                read = readers()
                for inner in slabs(self.shape[self.axis + 1 :], limit=slab):
                    shape = shape_of((*outer, *inner))
                    rows = self._rows_at(read(math.prod(shape)).reshape(shape), (*outer, *inner)).reshape(-1)
                    yield column.take(rows, out=room(rows.size), mode="clip")

    def _kept_rows_of_vectors(self, mask: Stored, indices: Stored, room: Room, slab: int) -> Iterator[Array]:
        columns = np.ascontiguousarray(self.rows.T)
        taken = 0
        for start, outer in self._outer():
            masks = mask.readers(start, self._behind, ROW * slab)
            read_mask = masks()
            count = sum(int(np.count_nonzero(read_mask(min(slab, self._behind - at)))) for at in range(0, self._behind, slab))
            readers = indices.readers(taken, count, ROW * slab)
            for column in columns:
                read_mask, read = masks(), readers()
                for inner in slabs(self.shape[self.axis + 1 :], limit=slab):
                    at = (*outer, *inner)
                    places = places_of(read_mask(math.prod(shape_of(at))))
                    rows = self._kept_rows_at(read(places.size), places, at)
                    yield column.take(rows, out=room(places.size), mode="clip")
            taken += count

    def _mask_of_rows(self, mask: Stored, room: Room, slab: int) -> Iterator[Array]:
        for start, _ in self._outer():
            readers = mask.readers(start, self._behind, ROW * slab)
            for _ in range(self.vector):
                read = readers()
                for inner in slabs(self.shape[self.axis + 1 :], limit=slab):
                    part = read(math.prod(shape_of(inner)))
                    out = room(part.size)
                    out[:] = part
                    yield out

    @property
    def _behind(self) -> int:
        """How many indices there are behind the axis of the vectors."""
        return math.prod(self.shape[self.axis + 1 :])

    def _has_long_rows(self, slab: int) -> bool:
        """Whether not even the vectors that begin at one place of their axis are worked on at once."""
        return self._behind * self.vector > ROW * slab and self._behind >= min(LONG, slab)

    def _outer(self) -> Iterator[tuple[int, Slices]]:
        """All positions up to the axis of the vectors: the first index behind each, and the position as slices."""
        for row, outer in enumerate(product(*map(range, self.shape[: self.axis + 1]))):
            yield row * self._behind, tuple(slice(i, i + 1) for i in outer)

    def _rows_at(self, codes: Array, at: Slices) -> Array:
        return codes if self.first is None else np.add(codes, under(self.first, at), dtype=np.intp)

    def _kept_rows_at(self, codes: Array, places: Array, at: Slices) -> Array:
        return codes if self.first is None else np.add(codes, kept_of(under(self.first, at), places, shape_of(at)), dtype=np.intp)


def _joined(indices: Flow, run: int, entries: int, itemsize: int) -> tuple[Flow, int]:
    """Indices with as many neighbours as one code as pays, and how many these are: to look up two elements costs what one does.

    Measured, 16.8 M fp16 elements of one table of 256 entries: 13 ms one by one, 7.5 ms by twos.
    """
    if isinstance(indices, Stored) and indices.highest == entries - 1:
        for lanes in (8, 4, 2):
            fits = run % lanes == 0 or run == indices.size
            if fits and lanes * itemsize in _JOINED and run >= WORTH * entries**lanes:
                joined = indices.joined(lanes)
                if joined is not None:
                    return joined, lanes
    return indices, 1


def _joined_table(entries: Array, lanes: int) -> Array:
    """The table of codes that are `lanes` indices each, the first in the lowest bits: all of their elements as one of a wider type."""
    if lanes == 1:
        return entries
    wide = np.empty((*(entries.size,) * lanes, lanes), entries.dtype)
    for lane in range(lanes):
        wide[..., lane] = entries.reshape(-1, *(1,) * lane)
    return wide.reshape(-1).view(_JOINED[lanes * entries.itemsize])
