"""Tensors: read-only numbers, wherever they are stored.

`Tensor` is the protocol; its backends here are an array in memory (`ArrayTensor`), packed bytes in memory (`PackedTensor`) and a slice
of a memory-mapped file (`MappedTensor`, what a weight is before anyone touches it). `ir.mil` adds one that leaves a value inside the
protobuf undecoded until it is asked for. Code that needs only a dtype or a shape never touches data.
"""

from __future__ import annotations

import math
import mmap
import os
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from ir.diagnostics import AbstractError
from ir.packing import pack_tensor, packed_size, unpack_tensor
from ir.types import STRING, DType, dtype_of

Array: TypeAlias = npt.NDArray[Any]
PIECE: Final = 1 << 20
"""Bytes that are compared at a time: a comparison makes a truth value for each."""
SAMPLE: Final = 4096
"""Bytes at either end and in the middle of a payload that `fingerprint` reads."""


def byte_view(array: npt.NDArray[np.uint8]) -> memoryview:
    """The bytes of a one-dimensional array, read-only and without a copy (NumPy's own view cannot be empty)."""
    return array.data.toreadonly() if array.size else memoryview(b"")


@runtime_checkable
class Tensor(Protocol):
    """Read-only numbers: what every backend answers."""

    @property
    def dtype(self) -> DType: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def nbytes(self) -> int:
        """The bytes that the payload takes in a file: packed, without header or padding."""
        ...

    def numpy(self) -> Array:
        """The elements as a read-only array of `dtype.numpy`, one element each (unpacked where the type is sub-byte)."""
        ...

    def payload(self) -> memoryview:
        """The bytes as a weight file holds them: little-endian, packed. Not defined for strings."""
        ...

    def write_to(self, file: BinaryIO) -> int:
        """Writes the payload at the file's position; answers with the number of bytes."""
        ...


class ArrayTensor:
    """A tensor that is a NumPy array. The array is not copied and must not be changed afterwards."""

    __slots__ = ("_array", "dtype")

    def __init__(self, array: npt.ArrayLike, dtype: DType | None = None) -> None:
        values = np.asarray(array)
        self.dtype = dtype_of(values) if dtype is None else dtype
        if self.dtype is STRING:
            values = values.astype(object, copy=False)
        elif values.dtype != self.dtype.numpy:
            raise TypeError(f"an array of {values.dtype} cannot hold {self.dtype}: convert it to {self.dtype.numpy}")
        self._array = values.view()
        self._array.flags.writeable = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def nbytes(self) -> int:
        return packed_size(self._array.size, self.dtype.bits)

    def numpy(self) -> Array:
        return self._array

    def payload(self) -> memoryview:
        return byte_view(pack_tensor(self._array, self.dtype))

    def write_to(self, file: BinaryIO) -> int:
        return file.write(self.payload())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.dtype}{list(self.shape)}>"


class _BytesTensor:
    """What packed tensors share: a dtype, a shape, and bytes that some backend provides."""

    __slots__ = ("dtype", "shape")
    dtype: DType
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return packed_size(math.prod(self.shape), self.dtype.bits)

    def payload(self) -> memoryview:
        raise NotImplementedError

    def numpy(self) -> Array:
        values = unpack_tensor(np.frombuffer(self.payload(), np.uint8), self.dtype, self.shape)
        values.flags.writeable = False
        return values

    def write_to(self, file: BinaryIO) -> int:
        return file.write(self.payload())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.dtype}{list(self.shape)}>"


class PackedTensor(_BytesTensor):
    """A tensor whose packed bytes are in memory."""

    __slots__ = ("_payload",)

    def __init__(self, payload: bytes | memoryview | npt.NDArray[np.uint8], dtype: DType, shape: tuple[int, ...]) -> None:
        self.dtype = dtype
        self.shape = shape
        self._payload = byte_view(np.frombuffer(payload, np.uint8))
        if len(self._payload) != self.nbytes:
            raise ValueError(f"{dtype}{list(shape)} takes {self.nbytes} bytes, {len(self._payload)} were given")

    def payload(self) -> memoryview:
        return self._payload

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedTensor, (bytes(self._payload), self.dtype, self.shape)


class AbstractTensor(_BytesTensor):
    """A tensor of which only dtype and shape are known: what a plan has in place of weights, present and future.

    Raises:
        AbstractError: its numbers are asked for.
    """

    __slots__ = ()

    def __init__(self, dtype: DType, shape: tuple[int, ...]) -> None:
        self.dtype = dtype
        self.shape = shape

    def payload(self) -> memoryview:
        raise AbstractError(f"the numbers of {self.dtype}{list(self.shape)} are not known: a plan reads no weights")


class MappedFile:
    """A file that is mapped into memory once, read-only, however many tensors lie in it.

    The mapping stays valid when the path is renamed, replaced or deleted. Pickles as its path.
    """

    __slots__ = ("__weakref__", "_fd", "_view", "path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._hold(os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)), Path(path))

    def _hold(self, descriptor: int, path: Path) -> None:
        """Maps the file that `descriptor` has opened, and keeps both."""
        self.path = path
        self._fd = descriptor
        size = os.fstat(descriptor).st_size
        self._view = memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ) if size else b"")

    def __del__(self) -> None:
        fd = getattr(self, "_fd", None)
        if fd is not None:
            os.close(fd)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.path,))

    @property
    def size(self) -> int:
        return len(self._view)

    @property
    def view(self) -> memoryview:
        """The whole file, without a copy."""
        return self._view

    def fileno(self) -> int:
        """The descriptor, for copies inside the kernel."""
        return self._fd

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}, {self.size} bytes>"


class MappedTensor(_BytesTensor):
    """A tensor that is a slice of a mapped file, from byte `offset`."""

    __slots__ = ("file", "offset")

    def __init__(self, file: MappedFile, offset: int, dtype: DType, shape: tuple[int, ...]) -> None:
        self.file = file
        self.offset = offset
        self.dtype = dtype
        self.shape = shape

    def payload(self) -> memoryview:
        return self.file.view[self.offset : self.offset + self.nbytes]


def reshaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same elements in another shape of as many, as `viewed`; an array in memory stays one."""
    if isinstance(tensor, ArrayTensor):
        return ArrayTensor(tensor.numpy().reshape(shape), tensor.dtype)
    return viewed(tensor, tensor.dtype, shape)


def viewed(tensor: Tensor, dtype: DType, shape: tuple[int, ...]) -> Tensor:
    """The same payload as another type or in another shape, unread: `uint8[M]` as the `uintN[*shape]` that it packs, and back.

    Both payloads have one size; the unused bits of the last byte stay what they are. An abstract tensor stays abstract, and one in a file
    stays there.
    """
    if isinstance(tensor, AbstractTensor):
        return AbstractTensor(dtype, shape)
    if isinstance(tensor, MappedTensor):
        return MappedTensor(tensor.file, tensor.offset, dtype, shape)
    return PackedTensor(tensor.payload(), dtype, shape)


def same_tensor(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal bit for bit: dtype, shape and payload (so NaN equals NaN, and 0 differs from -0).

    An abstract tensor is equal to itself only.
    """
    if a is b:
        return True
    if a.dtype is not b.dtype or a.shape != b.shape or isinstance(a, AbstractTensor) or isinstance(b, AbstractTensor):
        return False
    if a.dtype is STRING:
        return bool(np.array_equal(a.numpy(), b.numpy()))
    if isinstance(a, MappedTensor) and isinstance(b, MappedTensor) and a.file is b.file and a.offset == b.offset:
        return True
    return same_payload(a, b)


def same_payload(a: Tensor, b: Tensor) -> bool:
    """Whether two payloads of equal size are the same bytes. The unused bits of a last sub-byte byte count."""
    left, right = np.frombuffer(a.payload(), np.uint8), np.frombuffer(b.payload(), np.uint8)
    if left.size != right.size:
        return False
    return all(np.array_equal(left[at : at + PIECE], right[at : at + PIECE]) for at in range(0, left.size, PIECE))


def fingerprint(tensor: Tensor) -> int:
    """A cheap hash: equal tensors have equal ones, and few others do.

    It reads three samples of `SAMPLE` bytes, so its cost does not grow with the weight; whoever merges tensors compares in full.
    """
    if isinstance(tensor, AbstractTensor):
        return hash((tensor.dtype.name, tensor.shape, id(tensor)))
    if tensor.dtype is STRING:
        return hash((tensor.shape, tuple(tensor.numpy().reshape(-1).tolist())))
    data = tensor.payload()
    middle = len(data) // 2
    samples = (bytes(data[:SAMPLE]), bytes(data[middle : middle + SAMPLE]), bytes(data[-SAMPLE:]))
    return hash((tensor.dtype.name, tensor.shape, samples))
