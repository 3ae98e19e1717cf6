"""Elements in C order, a piece at a time: of what is stored somewhere, or of what is computed as it is asked for.

All constexpr ops take and make their elements in C order, so each of a chain can ask the one before it for as many as it works on, and a
weight of any size is decompressed with a few pieces in memory:

    codes = of_tensor(indices)                     Stored: a read is a view of the bytes, or the unpacking of a few
    dense = looked_up(codes, lut)                  Computed (`ir.expansion`): nothing happened yet but checks
    for piece in dense.pieces(Buffer(dense.dtype)):
        ...                                        one-dimensional, overwritten by the next
    whole = gathered(dense)                        for whoever wants an array

Flows know NumPy's types: elements of sub-byte types take a byte each, as `Tensor.numpy()` has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import define, field

from ir.packing import Bytes, pack_tensor, packed_size, unpack
from ir.tensors import Array, ArrayTensor, Tensor, byte_view
from ir.types import DType

SLAB: Final = 1 << 17
"""Elements worked on at a time; a multiple of 8, so that packed slabs begin at a byte.

Measured over 16.8 M elements, one thread: int8 to fp16 takes 49.7 ms with slabs of 2^14, 47.0 with 2^17 and 46.9 with 2^18; a look-up in a
table of 256 entries 13.7, 13.0 and 12.8.
"""

Read: TypeAlias = Callable[[int], Array]
"""The next so many elements, one-dimensional and read-only. What it answers with is valid until it is asked again."""
Room: TypeAlias = Callable[[int], Array]
"""A place for the next so many elements, contiguous."""


class Buffer:
    """Room that is one place in memory, over and over: for pieces that are used up one at a time."""

    __slots__ = ("_place",)

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._place = np.empty(0, dtype)

    def __call__(self, count: int) -> Array:
        if count > self._place.size:
            self._place = np.empty(count, self._place.dtype)
        return self._place[:count]


class _Consecutive:
    """Room in a vector, each place behind the one before."""

    __slots__ = ("_taken", "_whole")

    def __init__(self, whole: Array) -> None:
        self._whole = whole
        self._taken = 0

    def __call__(self, count: int) -> Array:
        start = self._taken
        self._taken += count
        return self._whole[start : self._taken]


@define(eq=False)
class Stored:
    """Elements that lie somewhere, as an array or packed. Any of them can be read at any time."""

    shape: tuple[int, ...]
    held: Array = field(repr=False)
    """The elements, one-dimensional; their packed bytes where `bits` says so."""
    bits: int | None = None
    signed: bool = False
    ones: int | None = field(default=None, kw_only=True)
    """How many elements are not 0, once that is known (`ones_of`)."""

    stages: ClassVar[int] = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.held.dtype if self.bits is None else np.dtype(np.int8 if self.signed else np.uint8)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def highest(self) -> int | None:
        """What no element is above, as far as the type tells; None where elements may be negative, or are no integers."""
        if self.bits is not None and not self.signed:
            return (1 << self.bits) - 1
        return _highest(self.dtype)

    def read(self, start: int, count: int) -> Array:
        """So many elements from one on: a view, or the unpacking of no more than their bytes."""
        if self.bits is None:
            return self.held[start : start + count]
        skipped = start % 8  # elements that start at a multiple of 8 start at a byte
        first = (start - skipped) * self.bits // 8
        packed = self.held[first : first + packed_size(skipped + count, self.bits)]
        return unpack(packed, self.bits, skipped + count, signed=self.signed)[skipped:]

    def reader(self, start: int = 0) -> Read:
        position = start

        def read(count: int) -> Array:
            nonlocal position
            position += count
            return self.read(position - count, count)

        return read

    def readers(self, start: int, count: int, most: int) -> Callable[[], Read]:
        """Makes readers of so many elements from one on; these are unpacked once only, if they are `most` or fewer."""
        return of_array(self.read(start, count)).reader if count <= most else lambda: self.reader(start)

    def reshaped(self, shape: tuple[int, ...]) -> Stored:
        return Stored(shape, self.held, self.bits, self.signed)

    def joined(self, count: int) -> Stored | None:
        """The elements, unsigned, as codes of `count` each, the first in the lowest bits, without those that are too few at the end.

        None where bytes do not join them so.
        """
        bits = 8 if self.dtype == np.uint8 and self.bits is None else self.bits
        if self.signed or bits is None or bits * count not in (8, 16):
            return None
        codes = self.held[: self.size // count * count * bits // 8].view(np.uint8 if bits * count == 8 else np.uint16)
        return Stored(codes.shape, codes)


@define(eq=False)
class Computed:
    """Elements that are computed as they are asked for, from the first on, each time anew."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pieces: Callable[[Room], Iterator[Array]]
    """All elements in order, in pieces of one dimension, each in the next place of the room given."""
    stages: int
    """How many flows are computed for it, itself included, where one that is computed twice counts twice."""
    ones: int | None = field(default=None, kw_only=True)
    """As for what is stored."""

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def highest(self) -> int | None:
        return _highest(self.dtype)

    def reader(self) -> Read:
        return _Reader(self.pieces(Buffer(self.dtype)), self.dtype)

    def reshaped(self, shape: tuple[int, ...]) -> Computed:
        return Computed(shape, self.dtype, self.pieces, self.stages)


Flow: TypeAlias = Stored | Computed


class _Reader:
    """Reads of any size from pieces of other sizes. Only elements of a read that crosses the end of a piece are copied."""

    __slots__ = ("_pieces", "_rest", "_room")

    def __init__(self, pieces: Iterator[Array], dtype: np.dtype[Any]) -> None:
        self._pieces = pieces
        self._rest: Array = np.empty(0, dtype)
        self._room = Buffer(dtype)

    def __call__(self, count: int) -> Array:
        if not self._rest.size and count:
            self._rest = next(self._pieces)
        if count <= self._rest.size:
            part, self._rest = self._rest[:count], self._rest[count:]
            return part
        joined, filled = self._room(count), 0
        while filled < count:
            if not self._rest.size:
                self._rest = next(self._pieces)
            part = self._rest[: count - filled]
            joined[filled : filled + part.size] = part
            self._rest = self._rest[part.size :]
            filled += part.size
        return joined


def of_array(array: Array) -> Stored:
    """An array as a flow: without a copy where it is contiguous."""
    return Stored(array.shape, np.ascontiguousarray(array.reshape(-1)))


def of_packed(packed: Bytes, bits: int, shape: tuple[int, ...], *, signed: bool = False) -> Stored:
    """Packed bytes (`ir.packing`) as a flow of the elements in them."""
    return Stored(shape, packed, None if bits == 8 and not signed else bits, signed)


def of_tensor(tensor: Tensor) -> Stored:
    """A tensor as a flow: nothing of a weight file is read, unpacked or copied yet."""
    if not tensor.dtype.is_subbyte or isinstance(tensor, ArrayTensor):
        return of_array(tensor.numpy())
    packed = np.frombuffer(tensor.payload(), np.uint8)
    return of_packed(packed, tensor.dtype.bits, tensor.shape, signed=tensor.dtype.kind == "int")


def gathered(flow: Flow) -> Array:
    """All elements of a flow, in its shape."""
    if isinstance(flow, Stored):
        return flow.read(0, flow.size).reshape(flow.shape)
    whole = np.empty(flow.size, flow.dtype)
    for _ in flow.pieces(_Consecutive(whole)):
        pass
    return whole.reshape(flow.shape)


def stored(flow: Flow) -> Stored:
    """The flow, or its elements gathered: for who reads some of them twice."""
    return flow if isinstance(flow, Stored) else of_array(gathered(flow))


def parts(flow: Flow, slab: int = SLAB) -> Iterator[Array]:
    """All elements in order, `slab` at a time but for the last. Each is valid until the next."""
    read = flow.reader()
    for start in range(0, flow.size, slab):
        yield read(min(slab, flow.size - start))


def ones_of(flow: Flow, slab: int = SLAB) -> int:
    """How many elements are not 0, counted once."""
    if flow.ones is None:
        flow.ones = sum(int(np.count_nonzero(part)) for part in parts(flow, slab))
    return flow.ones


def payload(flow: Flow, dtype: DType, slab: int = SLAB) -> Iterator[memoryview]:
    """The bytes of all elements as a weight file holds them, packed where the type is sub-byte; `slab` is a multiple of 8."""
    if isinstance(flow, Stored) and flow.bits is not None:
        yield byte_view(flow.held)
        return
    pieces = parts(flow, slab) if isinstance(flow, Stored) or dtype.is_subbyte else flow.pieces(Buffer(flow.dtype))
    for piece in pieces:
        yield byte_view(pack_tensor(piece, dtype))


def _highest(dtype: np.dtype[Any]) -> int | None:
    return int(np.iinfo(dtype).max) if dtype.kind == "u" else None
