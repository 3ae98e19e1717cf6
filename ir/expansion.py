"""Compressed elements, expanded: scales and offsets, look-up tables, masks, each by itself and sparse.

All are flows, computed as elements are asked for; `shift_scale` and `affine_dequantize` gather what they make of whole arrays. Elements of
sub-byte types take a byte each, as `Tensor.numpy()` has them. The numeric contract: arithmetic is in float32, and the result is rounded
once, to the dtype of the scale. coremltools' `decompress_weights` computes the same bits for integer data without an offset or with an
integer one, and for float data without one. With a float offset it rounds in between, and fp32 data under a fp16 scale it rounds first.

What is malformed is an error before the first element is computed; for that, a mask is counted. Beside its operands (tables, scales and
offsets are arrays; data, indices and masks are flows) a flow holds a few temporaries of `slab` elements, and what is allocated follows from
the sizes of the operands, never from a number that one of them holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ir.diagnostics import EvaluationError
from ir.flows import SLAB, Buffer, Computed, Flow, Room, gathered, of_array, of_packed, ones_of, parts
from ir.packing import packed_size
from ir.slabs import Slices, along, axis_of, kept_of, places_of, shape_of, show_shape, slabs, split_of, under
from ir.tables import Table
from ir.tensors import Array


def shift_scale(data: Array, scale: Array, offset: Array | None = None, slab: int = SLAB) -> Array:
    """`shift_scaled` of a whole array."""
    return gathered(shift_scaled(of_array(data), scale, offset, slab))


def affine_dequantize(data: Array, scale: Array, zero_point: Array, axis: int, slab: int = SLAB) -> Array:
    """`affine_dequantized` of a whole array."""
    return gathered(affine_dequantized(of_array(data), scale, zero_point, axis, slab))


def shift_scaled(data: Flow, scale: Array, offset: Array | None = None, slab: int = SLAB) -> Computed:
    """`scale * (data - offset)`; an element of scale or offset stands for a block of `data`.

    The three have one rank, and the dimensions of scale and offset divide those of data: `data[64, 128]` with `scale[64, 4]` has blocks of
    32 in each row. Where scale and offset are blocked differently, one of them has 1 there. The result has the dtype of the scale.

    Raises:
        EvaluationError: ranks differ, or a dimension is not divided.
    """
    split, factors, shifts = _blocked(data.shape, scale, offset)

    def pieces(room: Room) -> Iterator[Array]:
        read, work = data.reader(), Buffer(np.float32)
        for at in slabs(split, limit=slab):
            shape = shape_of(at)
            count = math.prod(shape)
            out = room(count)
            shift = None if shifts is None else _under(shifts, at)
            _shift_scale(read(count).reshape(shape), shift, _under(factors, at), work(count).reshape(shape), out.reshape(shape))
            yield out

    return Computed(data.shape, scale.dtype, pieces, 1 + data.stages)


def affine_dequantized(data: Flow, scale: Array, zero_point: Array, axis: int, slab: int = SLAB) -> Computed:
    """`scale * (data - zero_point)`; each of the two is a scalar, or a vector along `axis`.

    Raises:
        EvaluationError: there is no such axis, or a vector is not as long as it.
    """
    axis = axis_of(axis, len(data.shape))
    return shift_scaled(data, along(scale, "scale", data.shape, axis), along(zero_point, "zero_point", data.shape, axis), slab)


def cast(values: Flow, dtype: npt.DTypeLike, slab: int = SLAB) -> Computed:
    """The elements as another type."""

    def pieces(room: Room) -> Iterator[Array]:
        for part in parts(values, slab):
            out = room(part.size)
            out[:] = part
            yield out

    return Computed(values.shape, np.dtype(dtype), pieces, 1 + values.stages)


def looked_up(indices: Flow, lut: Array, vector_axis: int | None = None, slab: int = SLAB) -> Computed:
    """`lut[group, indices[i]]`, where `lut[*groups, entries, vector]` has a table for each block of the indices.

    A vector of more than one element lies along `vector_axis`, which it makes so many times longer.

    Raises:
        EvaluationError: the shapes do not fit, a vector lacks its axis, or an index is beyond the table.
    """
    table = Table.of(indices.shape, lut, vector_axis)
    _check_indices(indices, table.entries, slab)

    def pieces(room: Room) -> Iterator[Array]:
        return table.dense(indices, room, slab)

    return Computed(table.result_shape, lut.dtype, pieces, 1 + indices.stages)


def packed_looked_up(indices: Flow, lut: Array, shape: Sequence[int], slab: int = SLAB) -> Computed:
    """iOS16: `lut[i]` for each of the indices packed in bytes, log2 of the table's entries bits each, least significant first.

    Raises:
        EvaluationError: the table has not 2, 4, 16, 64 or 256 entries, or `shape` needs more or fewer bytes of indices.
    """
    if lut.ndim != 1 or lut.size not in (2, 4, 16, 64, 256):
        raise EvaluationError(f"a LUT has to have 2, 4, 16, 64 or 256 entries, and lut is {show_shape(lut.shape)}")
    bits, count = lut.size.bit_length() - 1, math.prod(shape)
    packed = _bytes_of(indices, "indices", packed_size(count, bits), shape)
    return looked_up(of_packed(packed, bits, (count,)), lut.reshape(1, lut.size, 1), None, slab).reshaped(tuple(shape))


def spread(nonzero: Flow, mask: Flow, slab: int = SLAB) -> Computed:
    """Zeros, but where `mask` is set the next element of `nonzero`, in C order.

    Raises:
        EvaluationError: `nonzero` is no vector of as many elements as the mask has ones.
    """
    check_count(nonzero, "nonzero_data", ones_of(mask, slab))

    def pieces(room: Room) -> Iterator[Array]:
        read = nonzero.reader()
        for part in parts(mask, slab):
            places = places_of(part)
            out = room(part.size)
            out[:] = 0
            out[places] = read(places.size)
            yield out

    return Computed(mask.shape, nonzero.dtype, pieces, 1 + nonzero.stages + mask.stages)


def packed_spread(nonzero: Flow, mask: Flow, shape: Sequence[int], slab: int = SLAB) -> Computed:
    """iOS16: the same, with a mask of a bit an element, least significant first.

    Raises:
        EvaluationError: `shape` needs more or fewer bytes of mask, a bit behind the last element is set, or `nonzero` is no vector of as
            many elements as the mask has ones.
    """
    count = math.prod(shape)
    packed = _bytes_of(mask, "mask", packed_size(count, 1), shape)
    if count % 8 and packed[-1] >> (count % 8):
        raise EvaluationError(f"the bits behind the last of the {count} elements have to be 0 in mask, and are not")
    return spread(nonzero, of_packed(packed, 1, tuple(shape)), slab)


def kept_looked_up(mask: Flow, indices: Flow, lut: Array, vector_axis: int | None = None, slab: int = SLAB) -> tuple[Flow, Computed]:
    """`looked_up` of the elements that `mask` keeps: the mask and these elements, both widened by the vectors of the table.

    Raises:
        EvaluationError: as `looked_up`; or there are more or fewer indices than the mask has ones.
    """
    table = Table.of(mask.shape, lut, vector_axis)
    ones = ones_of(mask, slab)
    check_count(indices, "indices_nonzero_data", ones)
    if lut.size == table.entries:  # one table of elements: where they go does not matter
        return mask, looked_up(indices, lut.reshape(1, lut.size, 1), None, slab)
    _check_indices(indices, table.entries, slab)

    def pieces(room: Room) -> Iterator[Array]:
        return table.kept(mask, indices, room, slab)

    def masks(room: Room) -> Iterator[Array]:
        return table.widened_mask(mask, room, slab)

    values = Computed((ones * table.vector,), lut.dtype, pieces, 1 + mask.stages + indices.stages)
    if table.vector == 1:
        return mask, values
    return Computed(table.result_shape, mask.dtype, masks, 1 + mask.stages, ones=ones * table.vector), values


def kept_shift_scaled(mask: Flow, nonzero: Flow, scale: Array, offset: Array | None = None, slab: int = SLAB) -> Computed:
    """`shift_scaled` of the elements that `mask` keeps: of these. Scale and offset are blocks of the mask's shape.

    Raises:
        EvaluationError: as `shift_scaled`; or there are more or fewer elements than the mask has ones.
    """
    check_count(nonzero, "nonzero_data", ones_of(mask, slab))
    split, factors, shifts = _blocked(mask.shape, scale, offset)
    if factors.size == 1 and (shifts is None or shifts.size == 1):  # where elements go does not matter
        return shift_scaled(nonzero, scale.reshape(1), None if offset is None else offset.reshape(1), slab)

    def pieces(room: Room) -> Iterator[Array]:
        read_mask, read, work = mask.reader(), nonzero.reader(), Buffer(np.float32)
        for at in slabs(split, limit=slab):
            shape = shape_of(at)
            places = places_of(read_mask(math.prod(shape)))
            shift = None if shifts is None else kept_of(_under(shifts, at), places, shape)
            factor = kept_of(_under(factors, at), places, shape)
            out = room(places.size)
            _shift_scale(read(places.size), shift, factor, work(places.size), out)
            yield out

    return Computed(nonzero.shape, scale.dtype, pieces, 1 + mask.stages + nonzero.stages)


def _blocked(shape: tuple[int, ...], scale: Array, offset: Array | None) -> tuple[tuple[int, ...], Array, Array | None]:
    """The shape with its blocks as axes of their own, and scale and offset so that they broadcast over it."""
    split = split_of(shape, {"scale": scale.shape, "offset": (1,) * scale.ndim if offset is None else offset.shape})
    return split.shape, scale.reshape(split.narrow["scale"]), None if offset is None else offset.reshape(split.narrow["offset"])


def _under(part: Array, at: Slices) -> Array:
    """What of a scale or offset broadcasts over a slab, in float32."""
    return under(part, at).astype(np.float32)


def _shift_scale(data: Array, shift: Array | None, factor: Array, part: Array, out: Array) -> None:
    """One slab: `part` is room for its elements in float32."""
    with np.errstate(all="ignore"):
        part[...] = data
        if shift is not None:
            part -= shift
        part *= factor
        out[...] = part


def _check_indices(indices: Flow, entries: int, slab: int) -> None:
    """That all indices are below the number of entries: from their type alone where it tells."""
    if indices.highest is not None and indices.highest < entries:
        return
    for part in parts(indices, slab):
        if part.max() >= entries or (part.dtype.kind == "i" and part.min() < 0):
            raise EvaluationError(f"an index is out of the range of a LUT of {entries} entries")


def _bytes_of(packed: Flow, name: str, size: int, shape: Sequence[int]) -> Array:
    if len(packed.shape) != 1 or packed.size != size:
        raise EvaluationError(f"shape {show_shape(shape)} takes {size} bytes of {name}, and {name} is {show_shape(packed.shape)}")
    return gathered(packed)


def check_count(kept: Flow, name: str, ones: int) -> None:
    """Whether a vector has as many elements as a mask keeps.

    Raises:
        EvaluationError: it has not.
    """
    if len(kept.shape) != 1 or kept.size != ones:
        raise EvaluationError(f"the mask keeps {ones} elements, and {name} is {show_shape(kept.shape)}")
