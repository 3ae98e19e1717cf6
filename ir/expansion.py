"""Compressed arrays, expanded: scales and offsets, look-up tables, masks, each by itself and sparse.

Arrays in, arrays out. Elements of sub-byte types take a byte each, as `Tensor.numpy()` has them. The numeric contract: arithmetic is in
float32, and the result is rounded once, to the dtype of the scale. coremltools' `decompress_weights` computes the same bits for integer
data without an offset or with an integer one, and for float data without one. With a float offset it rounds in between, and fp32 data
under a fp16 scale it rounds first.

Beside the unpacked operands and the result no function holds more than a few temporaries of `SLAB` elements, and what is allocated follows
from the sizes of the operands, never from a number that one of them holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Final, TypeAlias

import numpy as np
from attrs import frozen

from ir.diagnostics import EvaluationError
from ir.packing import packed_size, unpack
from ir.tensors import Array

SLAB: Final = 1 << 17
"""Elements worked on at a time; a multiple of 8, so that packed slabs begin at a byte.

Measured over 16.8 M elements, one thread: int8 to fp16 takes 35 ms with slabs of 2^14, 32 with 2^17 (and with 2^20), 4-bit look-up 15.5
and 12.6.
"""
MAX_RANK: Final = 32
"""What an array can have in every supported NumPy, once each blocked axis is split in two."""
_ONES: Final = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)
"""The number of ones in each byte."""

Slices: TypeAlias = tuple[slice, ...]


def shift_scale(data: Array, scale: Array, offset: Array | None = None) -> Array:
    """`scale * (data - offset)`; an element of scale or offset stands for a block of `data`.

    The three have one rank, and the dimensions of scale and offset divide those of data: `data[64, 128]` with `scale[64, 4]` has blocks of
    32 in each row. Where scale and offset are blocked differently, one of them has 1 there. The result has the dtype of the scale.

    Raises:
        EvaluationError: ranks differ, or a dimension is not divided.
    """
    shift = np.zeros((1,) * scale.ndim, np.float32) if offset is None else offset
    split = _split(data.shape, {"scale": scale.shape, "offset": shift.shape})
    values, factors = data.reshape(split.shape), scale.reshape(split.narrow["scale"]).astype(np.float32)
    shifts = None if offset is None else offset.reshape(split.narrow["offset"]).astype(np.float32)
    result = np.empty(split.shape, scale.dtype)
    with np.errstate(all="ignore"):
        for at in slabs(split.shape):
            part = values[at].astype(np.float32)
            if shifts is not None:
                part -= _under(shifts, at)
            part *= _under(factors, at)
            result[at] = part
    return result.reshape(data.shape)


def affine_dequantize(data: Array, scale: Array, zero_point: Array, axis: int) -> Array:
    """`scale * (data - zero_point)`; each of the two is a scalar, or a vector along `axis`.

    Raises:
        EvaluationError: there is no such axis, or a vector is not as long as it.
    """
    axis = _axis_of(axis, data.ndim)
    return shift_scale(data, _along(scale, "scale", data.shape, axis), _along(zero_point, "zero_point", data.shape, axis))


def lut_to_dense(indices: Array, lut: Array, vector_axis: int | None = None) -> Array:
    """`lut[group, indices[i]]`, where `lut[*groups, entries, vector]` has a table for each block of the indices.

    A vector of more than one element lies along `vector_axis`, which it makes so many times longer.

    Raises:
        EvaluationError: the shapes do not fit, a vector lacks its axis, or an index is beyond the table.
    """
    table = _Table.of(indices.shape, lut, vector_axis)
    codes = indices.reshape(table.shape)
    result = np.empty(table.widened(table.shape), lut.dtype)
    for at in slabs(table.shape):
        result[table.widened_at(at)] = table.look_up(codes[at], at)
    return result.reshape(table.result_shape)


def packed_lut_to_dense(indices: Array, lut: Array, shape: Sequence[int]) -> Array:
    """iOS16: `lut[i]` for each of the indices packed in bytes, log2 of the table's entries bits each, least significant first.

    Raises:
        EvaluationError: the table has not 2, 4, 16, 64 or 256 entries, or `shape` needs more or fewer bytes of indices.
    """
    if lut.ndim != 1 or lut.size not in (2, 4, 16, 64, 256):
        raise EvaluationError(f"a LUT has to have 2, 4, 16, 64 or 256 entries, and lut is {show_shape(lut.shape)}")
    bits, count = lut.size.bit_length() - 1, math.prod(shape)
    packed = _bytes_of(indices, "indices", packed_size(count, bits), shape)
    result = np.empty(count, lut.dtype)
    for start in range(0, count, SLAB):
        stop = min(count, start + SLAB)
        first = start * bits // 8
        codes = unpack(packed[first : first + packed_size(stop - start, bits)], bits, stop - start)
        lut.take(codes, out=result[start:stop], mode="clip")  # no index is beyond 2^bits - 1; other modes buffer the output
    return result.reshape(shape)


def sparse_to_dense(nonzero: Array, mask: Array) -> Array:
    """Zeros, but where `mask` is set the next element of `nonzero`, in C order.

    Raises:
        EvaluationError: `nonzero` is no vector of as many elements as the mask has ones.
    """
    _check_count(nonzero, "nonzero_data", int(np.count_nonzero(mask)))
    result = np.zeros(mask.shape, nonzero.dtype)
    flat, kept = result.reshape(-1), mask.reshape(-1)
    taken = 0
    for start in range(0, flat.size, SLAB):
        taken = _fill(flat[start : start + SLAB], kept[start : start + SLAB] != 0, nonzero, taken)
    return result


def packed_sparse_to_dense(nonzero: Array, mask: Array, shape: Sequence[int]) -> Array:
    """iOS16: the same, with a mask of a bit an element, least significant first.

    Raises:
        EvaluationError: `shape` needs more or fewer bytes of mask, a bit behind the last element is set, or `nonzero` is no vector of as
            many elements as the mask has ones.
    """
    count = math.prod(shape)
    packed = _bytes_of(mask, "mask", packed_size(count, 1), shape)
    if count % 8 and packed[-1] >> (count % 8):
        raise EvaluationError(f"the bits behind the last of the {count} elements have to be 0 in mask, and are not")
    ones = sum(int(_ONES[packed[start : start + SLAB]].sum()) for start in range(0, packed.size, SLAB))
    _check_count(nonzero, "nonzero_data", ones)
    result = np.zeros(count, nonzero.dtype)
    taken = 0
    for start in range(0, count, SLAB):
        part = result[start : start + SLAB]
        bits = np.unpackbits(packed[start // 8 : (start + SLAB) // 8], count=part.size, bitorder="little")
        taken = _fill(part, bits.view(np.bool_), nonzero, taken)
    return result.reshape(shape)


def lut_to_sparse(mask: Array, indices: Array, lut: Array, vector_axis: int | None = None) -> tuple[Array, Array]:
    """`lut_to_dense` of the elements that `mask` keeps: the mask and these elements, both widened by the vectors of the table.

    Raises:
        EvaluationError: as `lut_to_dense`; or there are more or fewer indices than the mask has ones.
    """
    table = _Table.of(mask.shape, lut, vector_axis)
    ones = int(np.count_nonzero(mask))
    _check_count(indices, "indices_nonzero_data", ones)
    kept = mask.reshape(table.shape)
    result = np.empty(ones * table.vector, lut.dtype)
    taken = 0
    for at in slabs(table.shape, table.axis if table.vector > 1 else None):
        here = kept[at] != 0
        count = int(np.count_nonzero(here))
        looked_up = table.look_up_kept(indices[taken : taken + count], here, at)
        result[taken * table.vector : (taken + count) * table.vector] = looked_up
        taken += count
    return (mask if table.vector == 1 else np.repeat(mask, table.vector, axis=table.result_axis)), result


def sparse_shift_scale(mask: Array, nonzero: Array, scale: Array, offset: Array | None = None) -> tuple[Array, Array]:
    """`shift_scale` of the elements that `mask` keeps: the mask and these elements. Scale and offset are blocks of the mask's shape.

    Raises:
        EvaluationError: as `shift_scale`; or there are more or fewer elements than the mask has ones.
    """
    _check_count(nonzero, "nonzero_data", int(np.count_nonzero(mask)))
    shift = np.zeros((1,) * scale.ndim, np.float32) if offset is None else offset
    split = _split(mask.shape, {"scale": scale.shape, "offset": shift.shape})
    kept, factors = mask.reshape(split.shape), scale.reshape(split.narrow["scale"]).astype(np.float32)
    shifts = None if offset is None else offset.reshape(split.narrow["offset"]).astype(np.float32)
    result = np.empty(nonzero.shape, scale.dtype)
    taken = 0
    with np.errstate(all="ignore"):
        for at in slabs(split.shape):
            here = kept[at] != 0
            count = int(np.count_nonzero(here))
            part = nonzero[taken : taken + count].astype(np.float32)
            if shifts is not None:
                part -= _kept_of(_under(shifts, at), here)
            part *= _kept_of(_under(factors, at), here)
            result[taken : taken + count] = part
            taken += count
    return mask, result


def _fill(part: Array, kept: Array, nonzero: Array, taken: int) -> int:
    places = np.flatnonzero(kept)
    part[places] = nonzero[taken : taken + places.size]
    return taken + places.size


def _kept_of(narrow: Array, kept: Array) -> Array:
    """What a parameter that broadcasts over a mask has for the elements that the mask keeps, in C order; one value where it has but one.

    Measured: to take places that were looked for first is four to six times faster than to index with a mask.
    """
    if narrow.size == 1:
        return narrow.reshape(1)
    taken: Array = np.broadcast_to(narrow, kept.shape).reshape(-1).take(np.flatnonzero(kept))
    return taken


@frozen
class _Split:
    """A shape in which every axis that some parameter divides into blocks is two axes, (blocks, elements of a block).

    So blocks are plain broadcasting: `narrow` holds, by name, the shape that lets a parameter broadcast over `shape`. `axes` says where
    each original axis went, the inner one of a pair.
    """

    shape: tuple[int, ...]
    narrow: Mapping[str, tuple[int, ...]]
    axes: tuple[int, ...]


def _split(shape: tuple[int, ...], parts: Mapping[str, tuple[int, ...]]) -> _Split:
    for name, counts in parts.items():
        if len(counts) != len(shape):
            raise EvaluationError(f"{name} has to have the rank of the data {show_shape(shape)}, and is {show_shape(counts)}")
        for axis, (dim, count) in enumerate(zip(shape, counts, strict=True)):
            if count < 1 or dim % count:
                raise EvaluationError(f"{name} has {count} blocks on axis {axis}, which do not divide its {dim} elements")
    wide: list[int] = []
    axes: list[int] = []
    narrow: dict[str, list[int]] = {name: [] for name in parts}
    for axis, dim in enumerate(shape):
        blocks = max(counts[axis] for counts in parts.values())
        paired = 1 < blocks < dim
        wide += (blocks, dim // blocks) if paired else (dim,)
        axes.append(len(wide) - 1)
        for name, counts in parts.items():
            if counts[axis] not in (1, blocks):
                raise EvaluationError(f"{' and '.join(parts)} have different blocks on axis {axis}: {counts[axis]} and {blocks}")
            narrow[name] += (counts[axis], 1) if paired else (counts[axis],)
    if len(wide) > MAX_RANK:
        raise EvaluationError(f"blocks on the axes of a tensor of rank {len(shape)} are too many dimensions")
    return _Split(tuple(wide), {name: tuple(dims) for name, dims in narrow.items()}, tuple(axes))


def slabs(shape: tuple[int, ...], last: int | None = None, limit: int = SLAB) -> Iterator[Slices]:
    """Cuts a shape into runs of C order of at most `limit` elements; of more where it takes that to cut none behind axis `last`."""
    if 0 in shape:
        return
    axis, inner = len(shape), 1
    while axis > 0 and inner * shape[axis - 1] <= limit:
        axis -= 1
        inner *= shape[axis]
    if axis == 0:
        yield tuple(slice(0, dim) for dim in shape)
        return
    axis -= 1
    if last is not None and last < axis:
        axis, inner = last, math.prod(shape[last + 1 :])
    step = max(1, limit // inner)
    rest = tuple(slice(0, dim) for dim in shape[axis + 1 :])
    for outer in product(*map(range, shape[:axis])):
        before = tuple(slice(i, i + 1) for i in outer)
        for start in range(0, shape[axis], step):
            yield (*before, slice(start, min(shape[axis], start + step)), *rest)


def _under(part: Array, at: Slices) -> Array:
    """What of a parameter broadcasts over a slab."""
    return part[tuple(slice(None) if dim == 1 else cut for dim, cut in zip(part.shape, at, strict=True))]


@frozen(eq=False)
class _Table:
    """A LUT, its groups and vectors, over a split shape of indices."""

    shape: tuple[int, ...]
    entries: int
    vector: int
    axis: int
    """The axis of the split shape that vectors lie along."""
    result_axis: int
    result_shape: tuple[int, ...]
    rows: Array
    """All tables behind one another: [groups * entries, vector]."""
    first: Array | None
    """Where the table of a group begins, broadcasting over the split shape; None where there is one table."""

    @staticmethod
    def of(indices: tuple[int, ...], lut: Array, vector_axis: int | None) -> _Table:
        if lut.ndim != len(indices) + 2:
            found = show_shape(lut.shape)
            raise EvaluationError(f"lut has to have two dimensions more than the indices {show_shape(indices)}, and is {found}")
        *groups, entries, vector = lut.shape
        if not entries or not vector:
            raise EvaluationError(f"lut has to have entries, and is {show_shape(lut.shape)}")
        if vector > 1 and vector_axis is None:
            raise EvaluationError(f"a LUT of vectors of {vector} needs a vector_axis, and there is none")
        axis = 0 if vector_axis is None else _axis_of(vector_axis, len(indices))
        split = _split(indices, {"lut": tuple(groups)})
        tables = math.prod(groups)
        first = None if tables == 1 else (np.arange(tables, dtype=np.intp) * entries).reshape(split.narrow["lut"])
        return _Table(
            shape=split.shape,
            entries=entries,
            vector=vector,
            axis=split.axes[axis] if indices else 0,
            result_axis=axis,
            result_shape=tuple(dim * vector if i == axis else dim for i, dim in enumerate(indices)),
            rows=lut.reshape(tables * entries, vector),
            first=first,
        )

    def widened(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dim * self.vector if i == self.axis else dim for i, dim in enumerate(shape))

    def widened_at(self, at: Slices) -> Slices:
        return tuple(slice(cut.start * self.vector, cut.stop * self.vector) if i == self.axis else cut for i, cut in enumerate(at))

    def look_up(self, codes: Array, at: Slices) -> Array:
        """The values of the indices of a slab, in the slab's widened shape."""
        self._check(codes)
        rows = codes if self.first is None else np.add(codes, _under(self.first, at), dtype=np.intp)
        if self.vector == 1:
            return self.rows[:, 0].take(rows)
        return self._laid_out(self.rows.take(rows, axis=0))

    def look_up_kept(self, codes: Array, kept: Array, at: Slices) -> Array:
        """The values of the indices that a slab's mask keeps, in the C order of the widened slab."""
        self._check(codes)
        rows = codes
        if self.first is not None:
            rows = np.add(codes, _kept_of(_under(self.first, at), kept), dtype=np.intp)
        if self.vector == 1:
            return self.rows[:, 0].take(rows)
        dense = np.zeros((*kept.shape, self.vector), self.rows.dtype)
        dense.reshape(-1, self.vector)[np.flatnonzero(kept)] = self.rows.take(rows, axis=0)
        places = np.flatnonzero(np.repeat(kept, self.vector, axis=self.axis))
        widened: Array = self._laid_out(dense).reshape(-1).take(places)
        return widened

    def _check(self, codes: Array) -> None:
        if codes.size and (codes.max() >= self.entries or (codes.dtype.kind == "i" and codes.min() < 0)):
            raise EvaluationError(f"an index is out of the range of a LUT of {self.entries} entries")

    def _laid_out(self, vectors: Array) -> Array:
        return np.moveaxis(vectors, -1, self.axis + 1).reshape(self.widened(vectors.shape[:-1]))


def _axis_of(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise EvaluationError(f"axis {axis} is outside of a tensor of rank {rank}")
    return axis % rank


def _along(values: Array, name: str, shape: tuple[int, ...], axis: int) -> Array:
    """A scalar, or a vector along `axis`, in the rank of `shape`."""
    if values.ndim > 1 or (values.ndim == 1 and values.size != shape[axis]):
        found = show_shape(values.shape)
        raise EvaluationError(f"{name} has to be a scalar, or have the {shape[axis]} elements of axis {axis}, and is {found}")
    return values.reshape([values.size if i == axis else 1 for i in range(len(shape))])


def _bytes_of(packed: Array, name: str, size: int, shape: Sequence[int]) -> Array:
    if packed.ndim != 1 or packed.size != size:
        raise EvaluationError(f"shape {show_shape(shape)} takes {size} bytes of {name}, and {name} is {show_shape(packed.shape)}")
    return packed


def _check_count(kept: Array, name: str, ones: int) -> None:
    if kept.ndim != 1 or kept.size != ones:
        raise EvaluationError(f"the mask keeps {ones} elements, and {name} is {show_shape(kept.shape)}")


def show_shape(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"
