"""Weight files: MIL's blob storage format, version 2, and how it is read. `ir.mil.blob_writer` writes it.

A weight file is a header and a sequence of blobs, little-endian:

    header     64 bytes: count u32, version u32 = 2, 56 reserved
    per blob   at the next multiple of 64
      record   64 bytes: sentinel u32 = 0xDEADBEEF, data type u32, size in bytes u64, absolute offset of the data u64,
               unused bits in the last byte u64 (sub-byte types), 32 reserved
      data     at record + 64, packed; nothing follows the last one

A program refers to a blob by the offset of its record. What is checked on the way in, and what is not:

- The record and its data are multiples of 64 and lie inside the file, behind the header. The data usually follow their record at once,
  as every writer we know of puts them; Core ML's reader goes by the offset, and so does this one.
- The data type is the type's, and the size is the shape's, to the byte. For sub-byte types the unused bits are too.
- The count is informational (one writer forgot to update it), and reserved bytes are whatever they are: up to coremltools 7.2 bytes 24
  to 63 of a record, which include today's count of unused bits, were never initialized.

The writer puts clean records where it puts any: a rewritten file's reserved bytes are zeros, also those of a blob that nobody changed.
A file that nobody changed is copied whole (`ir.mil.files.copy_file`) and keeps its garbage.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import Any, Final, NoReturn

from attrs import frozen

from ir.diagnostics import PackageError
from ir.mil.files import check_regular, lfs_hint, reason
from ir.packing import packed_size
from ir.tensors import MappedFile, MappedTensor
from ir.types import DTYPE_BY_BLOB, DType

ALIGNMENT: Final = 64
SENTINEL: Final = 0xDEADBEEF
VERSION: Final = 2
HEADER: Final = struct.Struct("<II56x")
RECORD: Final = struct.Struct("<IIQQQ32x")
_MAX_RANK: Final = 64
"""What a NumPy array can have; it also keeps a product of absurd dimensions from taking forever."""


@frozen
class Record:
    """A blob as its file describes it: the offset of its record, its type, and where its data are."""

    offset: int
    dtype: DType
    data: int
    nbytes: int
    padding: int
    """Unused bits in the last byte; meaningless unless the type is sub-byte."""


class BlobTensor(MappedTensor):
    """A tensor that lies in a weight file. `record` is the offset of its record: the number a program refers to it by."""

    __slots__ = ("record",)
    file: BlobFile

    def __init__(self, file: BlobFile, record: int, offset: int, dtype: DType, shape: tuple[int, ...]) -> None:
        self.file = file
        self.record = record
        self.offset = offset
        self.dtype = dtype
        self.shape = shape

    def __reduce__(self) -> tuple[Any, ...]:
        return (BlobFile.tensor, (self.file, self.record, self.dtype, self.shape))


class BlobFile(MappedFile):
    """A weight file, mapped once. `name` is what the program or the manifest calls it; it is for errors only.

    Raises:
        PackageError: the file cannot be read, or is no regular file.
    """

    __slots__ = ("_checked", "_tensors", "name")

    def __init__(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        self.name = name or str(path)
        self._checked = False
        self._tensors: dict[tuple[int, DType, tuple[int, ...]], BlobTensor] = {}
        check_regular(Path(path), f"weight file {self.name}")
        try:
            super().__init__(path)
        except OSError as error:
            raise PackageError(f"weight file {self.name} cannot be read: {reason(error)}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return (BlobFile, (self.path, self.name))

    def tensor(self, offset: int, dtype: DType, shape: tuple[int, ...]) -> BlobTensor:
        """The blob whose record is at `offset`, as the tensor that a program says it is.

        The same question has the same object as its answer, so that a shared weight is one tensor. Costs about a microsecond;
        no data are read.

        Raises:
            PackageError: there is no sound record at `offset`, or it disagrees with `dtype` or `shape`.
        """
        key = (offset, dtype, shape)
        found = self._tensors.get(key)
        if found is not None:
            return found
        if not self._checked:
            self.check_header()
        if offset & 63 or not 64 <= offset <= self.size - 64:
            self._refuse_offset(offset)
        sentinel, blob, size, data, padding = RECORD.unpack_from(self._view, offset)
        if sentinel != SENTINEL:
            self._refuse_sentinel(offset, sentinel)
        if blob != dtype.blob:
            self._refuse_dtype(offset, blob, dtype)
        if data & 63 or data < 64 or data + size > self.size:
            self._refuse_data(offset, data, size)
        if len(shape) > _MAX_RANK:
            self._refuse(offset, f"belongs to a type of rank {len(shape)}, and tensors have at most {_MAX_RANK} dimensions")
        bits = prod(shape) * dtype.bits
        if size != (bits + 7) >> 3 or (dtype.bits < 8 and padding != size * 8 - bits) or not bits:
            self._check_size(offset, size, padding, dtype, shape)
        made = self._tensors[key] = BlobTensor(self, offset, data, dtype, shape)
        return made

    def record(self, offset: int) -> Record:
        """The record at `offset`, whatever a program thinks of it.

        Raises:
            PackageError: there is no sound record.
        """
        self.check_header()
        if offset & 63 or not 64 <= offset <= self.size - 64:
            self._refuse_offset(offset)
        sentinel, blob, size, data, padding = RECORD.unpack_from(self._view, offset)
        if sentinel != SENTINEL:
            self._refuse_sentinel(offset, sentinel)
        dtype = DTYPE_BY_BLOB.get(blob)
        if dtype is None:
            self._refuse(offset, f"has data type {blob}, which the format does not define")
        if data & 63 or data < 64 or data + size > self.size:
            self._refuse_data(offset, data, size)
        return Record(offset, dtype, data, size, padding)

    @property
    def asked(self) -> frozenset[int]:
        """The records that `tensor` has been asked for so far."""
        return frozenset(record for record, _, _ in self._tensors)

    @property
    def count(self) -> int:
        """The number of blobs that the header states."""
        self.check_header()
        count: int = HEADER.unpack_from(self._view, 0)[0]
        return count

    def check_header(self) -> None:
        """Refuses what is no weight file; `tensor` and `record` ask it themselves.

        Raises:
            PackageError: the file is a Git LFS pointer, truncated, or of another format version.
        """
        if self._checked:
            return
        hint = lfs_hint(bytes(self._view[:64]))
        if hint is not None:
            raise PackageError(f"weight file {self.name} {hint}")
        if self.size < HEADER.size:
            raise PackageError(
                f"weight file {self.name} has {self.size} bytes, less than its header's {HEADER.size}: it is truncated"
            )
        _, version = HEADER.unpack_from(self._view, 0)
        if version != VERSION:
            raise PackageError(
                f"weight file {self.name} has format version {version} where {VERSION} was expected: "
                "it is no weight file of an ML Program, or it is damaged"
            )
        self._checked = True

    def _refuse(self, offset: int, what: str) -> NoReturn:
        raise PackageError(f"weight file {self.name}: the record at byte {offset} {what}")

    def _refuse_offset(self, offset: int) -> NoReturn:
        if offset & 63 or offset < 64:
            raise PackageError(
                f"weight file {self.name}: byte {offset} cannot be a blob's record: records lie at multiples of {ALIGNMENT} "
                f"behind the header"
            )
        raise PackageError(
            f"weight file {self.name}: a blob's record was expected at byte {offset}, but the file has {self.size} bytes: "
            "it is truncated, or belongs to another model"
        )

    def _refuse_sentinel(self, offset: int, sentinel: int) -> NoReturn:
        raise PackageError(
            f"weight file {self.name}: no blob's record is at byte {offset}: 0x{sentinel:08X} was found where "
            f"0x{SENTINEL:08X} was expected"
        )

    def _refuse_dtype(self, offset: int, blob: int, dtype: DType) -> NoReturn:
        if dtype.blob is None:
            raise PackageError(f"weight file {self.name}: byte {offset} is referred to as {dtype}, and a weight file holds none")
        found = DTYPE_BY_BLOB.get(blob)
        self._refuse(offset, f"holds {f'unknown data type {blob}' if found is None else found} where {dtype} was expected")

    def _refuse_data(self, offset: int, data: int, size: int) -> NoReturn:
        if data & 63 or data < 64:
            self._refuse(offset, f"puts its data at byte {data}: data lie at multiples of {ALIGNMENT} behind the header")
        self._refuse(offset, f"puts {size} bytes of data at byte {data}, but the file has {self.size}: it is truncated")

    def _check_size(self, offset: int, size: int, padding: int, dtype: DType, shape: tuple[int, ...]) -> None:
        """The slow half of `tensor`: says what is wrong with the size, and looks twice at tensors without elements."""
        count = prod(shape)
        expected = packed_size(count, dtype.bits)
        if size != expected:
            self._refuse(offset, f"has {size} bytes of data where {dtype}{list(shape)} takes {expected}")
        unused = size * 8 - count * dtype.bits
        if dtype.is_subbyte and padding != unused:
            self._refuse(offset, f"states {padding} unused bits where {dtype}{list(shape)} leaves {unused}")
        # A zero hides its neighbours from every check above, and NumPy refuses a shape that could not be addressed without it.
        if prod(d for d in shape if d) * 8 > sys.maxsize:
            self._refuse(offset, f"belongs to a tensor of shape {list(shape)}, whose dimensions are absurd")


def records(file: BlobFile) -> Iterator[Record]:
    """The records of a weight file in order, found by walking it: each follows the data of the one before.

    Raises:
        PackageError: what follows the last sound record (all those before have been yielded) is none.
    """
    file.check_header()
    position = ALIGNMENT
    while position < file.size:
        record = file.record(position)
        if record.data < position + RECORD.size:
            raise PackageError(
                f"weight file {file.name}: the record at byte {position} puts its data before itself, at byte {record.data}, "
                "so that the next one cannot be found"
            )
        yield record
        position = align(record.data + record.nbytes)


def align(offset: int) -> int:
    """The next multiple of 64."""
    return (offset + ALIGNMENT - 1) & -ALIGNMENT


def data_behind(end: int) -> int:
    """Where the data of a blob lie whose record is the next thing in a file that ends at a byte."""
    return align(end) + RECORD.size


def data_places(sizes: Iterable[int]) -> Iterator[int]:
    """Where the data of blobs of so many bytes lie in a new weight file, one blob after the other."""
    end = HEADER.size
    for size in sizes:
        start = data_behind(end)
        yield start
        end = start + size
