"""Weight files, written: see `ir.mil.blobs` for the format."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Final

from ir.diagnostics import PackageError
from ir.mil.blobs import HEADER, RECORD, SENTINEL, VERSION, BlobTensor, data_behind
from ir.mil.files import BUFFER
from ir.mil.loose import Beginning
from ir.mil.sink import Sink
from ir.tensors import MappedFile, MappedTensor, PackedTensor, Tensor, fingerprint
from ir.types import DType

_FROM_FILE: Final = 1 << 20
"""Bytes from which a mapped payload is read from its file, not through the mapping, whose pages would all have to be mapped first."""


class BlobWriter:
    """Writes a new weight file, blob after blob; a context manager, which finishes the header on the way out.

    Each blob is written once: one that comes from a mapped file by where it lies there, any other by what it contains (data type and
    bytes; a blob has no shape). Blobs that come from weight files are not compared with one another: if the file had two equal ones,
    so has the new one. Contents are found again by fingerprint and compared byte for byte with what was written, so that weights
    that differ cost three small reads, and no tensor is held for a later comparison.

    Large files are written past the page cache (`ir.mil.sink`), and no payload of a file enters this process' private memory. `begun` are
    blobs that the file begins with. Their loose file becomes the new one, with them in it, if it holds nothing else, no two of them are
    equal, and the system can do it. Otherwise they are copied; the bytes are the same.

    Raises:
        FileExistsError: the path exists.
        OSError: writing failed; the file is then useless.
    """

    def __init__(self, path: str | os.PathLike[str], begun: Beginning | None = None) -> None:
        self.path = Path(path)
        self.count = 0
        """The blobs written so far."""
        self._by_source: dict[tuple[MappedFile, int, DType, int], int] = {}
        self._by_mark: dict[int, tuple[DType, int, int]] = {}
        self._by_digest: dict[tuple[DType, bytes], int] = {}
        blobs = begun.blobs if begun else ()
        marks = {_mark(blob, blob.payload()): blob for blob in blobs} if begun and begun.is_whole else {}
        became = begun is not None and len(marks) == len(blobs) and begun.file.give_name(self.path)
        self._sink = Sink.behind(self.path) if became else Sink.new(self.path)
        try:
            if became:
                self._take_over(marks)
            else:
                self._copy(blobs)
        except BaseException:
            self._sink.abandon()
            raise

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
            return
        self._sink.abandon()

    def append(self, tensor: Tensor) -> int:
        """Writes a tensor's payload as a blob, unless the file has it, and answers with the offset of its record.

        A `BlobTensor` keeps its bytes and gets a clean record. To change the type of a payload and nothing else, append a
        `MappedTensor` of the other type over the same bytes.

        Raises:
            PackageError: a weight file cannot hold the tensor's type.
            OSError: writing failed.
        """
        if tensor.dtype.blob is None:
            raise PackageError(
                f"a weight file cannot hold {tensor.dtype}{list(tensor.shape)}: values of this type belong into the program itself"
            )
        if not isinstance(tensor, MappedTensor):
            return self._append_content(tensor)
        key = _source(tensor)
        found = self._by_source.get(key)
        if found is None:
            untouched = isinstance(tensor, BlobTensor)
            found = self._write(tensor, tensor.payload()) if untouched else self._append_content(tensor)
            self._by_source[key] = found
        return found

    def close(self) -> None:
        """Writes what is left, and the number of blobs into the header. Does nothing the second time."""
        if not self._sink.closed:
            self._sink.close(HEADER.pack(self.count, VERSION))

    def _copy(self, blobs: Iterable[MappedTensor]) -> None:
        """Writes what a new file begins with."""
        self._sink.write(bytes(HEADER.size))
        for blob in blobs:
            self.append(blob)

    def _take_over(self, blobs: Mapping[int, MappedTensor]) -> None:
        """Writes the records of blobs, by mark, whose data the file has."""
        for mark, blob in blobs.items():
            record = blob.offset - RECORD.size
            self._sink.rewrite(record, _record(blob, blob.offset))
            self._by_source[_source(blob)] = record
            self._by_mark[mark] = (blob.dtype, blob.nbytes, record)
            self.count += 1

    def _append_content(self, tensor: Tensor) -> int:
        dtype, payload = tensor.dtype, tensor.payload()
        mark = _mark(tensor, payload)
        first = self._by_mark.get(mark)
        if first is None:
            record = self._write(tensor, payload)
            self._by_mark[mark] = (dtype, len(payload), record)
            return record
        if first[:2] == (dtype, len(payload)) and self._holds(first[2], payload):
            return first[2]
        # Many weights may have the samples of a fingerprint in common (mostly zeros, say): a digest keeps this linear.
        key = (dtype, _digest(payload))
        found = self._by_digest.get(key)
        if found is None or not self._holds(found, payload):
            found = self._by_digest[key] = self._write(tensor, payload)
        return found

    def _holds(self, record: int, payload: memoryview) -> bool:
        """Whether the blob at `record`, of the payload's size, is the payload."""
        start = record + RECORD.size
        return all(
            self._sink.read(start + at, len(part)) == part
            for at in range(0, len(payload), BUFFER)
            if (part := bytes(payload[at : at + BUFFER]))
        )

    def _write(self, tensor: Tensor, payload: memoryview) -> int:
        sink, end, size = self._sink, self._sink.position, len(payload)
        data = data_behind(end)
        record = data - RECORD.size
        sink.write(bytes(record - end))
        sink.write(_record(tensor, data))
        if size >= _FROM_FILE and isinstance(tensor, MappedTensor):
            sink.write_from(tensor.file, tensor.offset, size)
        else:
            sink.write(payload)
        self.count += 1
        return record


def _source(tensor: MappedTensor) -> tuple[MappedFile, int, DType, int]:
    return tensor.file, tensor.offset, tensor.dtype, tensor.nbytes


def _mark(tensor: Tensor, payload: memoryview) -> int:
    """The fingerprint of a tensor's type and bytes, whatever its shape."""
    return fingerprint(PackedTensor(payload, tensor.dtype, (prod(tensor.shape),)))


def _record(tensor: Tensor, data: int) -> bytes:
    """The record of a blob whose data are at a byte."""
    size = tensor.nbytes
    return RECORD.pack(SENTINEL, tensor.dtype.blob, size, data, size * 8 - prod(tensor.shape) * tensor.dtype.bits)


def _digest(payload: memoryview) -> bytes:
    from hashlib import blake2b  # it loads OpenSSL, 3 ms, and hardly any file needs it

    return blake2b(payload).digest()
