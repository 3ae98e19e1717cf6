"""Where results lie until the program is saved: small ones in memory, large ones in a scratch file.

The sizes are known before the work begins, so each result has its place: results lie in the order of the program, however many workers
there are and whoever is first, and no worker waits for another.
"""

from __future__ import annotations

import math
import mmap
import os
import weakref
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ir.packing import packed_size
from ir.tensors import MappedFile, MappedTensor, PackedTensor, Tensor
from ir.types import DType
from mlpasses.errors import ConfigError

ALIGNMENT: Final = 64
"""Where results start: on a cache line, so that no two workers write to one."""
KEPT: Final = 64 << 10
"""Bytes below which a result is not worth a place in a scratch file: it stays in memory."""
SPARE: Final = 1 << 20
"""Bytes that have to be free besides, for the file system's own accounts."""
ADVICE: Final = "name another folder as scratch (--scratch DIR), or make room"


class Store:
    """Slots for results whose greatest sizes are given. Workers write to them, parts in any order; then each is a tensor.

    A private store is for threads: small results stay in memory, and the file has no name. A shared one (`Store.shared`) pickles, so that
    workers in other processes write to it too: all is in a file with a name, which goes away with the store and the last of its tensors.

    Raises:
        ConfigError: the scratch folder does not exist, cannot be written to, or has too little space for all that has to go there.
    """

    def __init__(self, sizes: Iterable[int], folder: str | os.PathLike[str] | None = None) -> None:
        self._folder = folder
        self._memory: list[bytearray | None] = []
        self._starts: list[int] = []
        self._sizes: list[int] = []
        end = self._lay_out(sizes, KEPT)
        self._file: ScratchFile | None = ScratchFile(end, folder) if end else None

    @classmethod
    def shared(cls, sizes: Iterable[int], folder: str | os.PathLike[str] | None = None) -> Store:
        """A store that other processes may write to, on this machine or on others that have the folder. Raises as the class."""
        store = cls((), folder)
        end = store._lay_out(sizes, 0)
        store._file = NamedScratchFile(end, folder) if end else None
        return store

    def _lay_out(self, sizes: Iterable[int], kept: int) -> int:
        """Gives each slot its place: in memory below `kept` bytes; answers with the bytes that the others take in the file."""
        end = 0
        for size in sizes:
            small = size < kept
            self._memory.append(bytearray(size) if small else None)
            self._starts.append(end)
            self._sizes.append(size)
            end += 0 if small else (size + ALIGNMENT - 1) & -ALIGNMENT
        return end

    def portion(self, slots: range) -> Store:
        """A store of some slots of this one, which are numbered from 0 there: what a worker that writes to no others needs to know."""
        part = Store((), self._folder)
        which = slice(slots.start, slots.stop)
        part._memory, part._starts, part._sizes = self._memory[which], self._starts[which], self._sizes[which]
        part._file = self._file
        return part

    def write(self, slot: int, position: int, data: memoryview) -> None:
        """Writes bytes into a slot. Safe from several threads, as long as no two write to one place.

        Raises:
            ConfigError: the scratch folder has no space left.
            ValueError: the slot ends before.
        """
        if not 0 <= position <= self._sizes[slot] - len(data):
            raise ValueError(f"{len(data)} bytes from byte {position} on do not fit into a slot of {self._sizes[slot]}")
        memory = self._memory[slot]
        if memory is not None:
            memory[position : position + len(data)] = data
        elif self._file is not None:
            self._file.write_at(self._starts[slot] + position, data)

    def room(self, size: int) -> ScratchFile:
        """A file for what a worker lays out for itself. It goes away with what is read from it.

        Raises:
            ConfigError: the scratch folder cannot be written to, or has too little space.
        """
        return ScratchFile(size, self._folder)

    def discard(self) -> None:
        """Removes a named file at once: there will be no results. An executor may hold on to the store for as long as itself lives."""
        if isinstance(self._file, NamedScratchFile):
            self._file.remove()

    def tensor(self, slot: int, dtype: DType, shape: tuple[int, ...]) -> Tensor:
        """What has been written to a slot, from its start. Asked twice, there are two tensors of the same bytes."""
        memory = self._memory[slot]
        if memory is not None or self._file is None:
            size = packed_size(math.prod(shape), dtype.bits)
            return PackedTensor(memoryview(memory or b"")[:size], dtype, shape)
        return MappedTensor(self._file, self._starts[slot], dtype, shape)


class ScratchFile(MappedFile):
    """A file of a fixed size that has no name and goes away with the last tensor that lies in it, or with the process.

    Workers write to it at positions of their own; what they wrote is read through a shared mapping, so neither way holds it in private
    memory. It exists in this process only, and is not to be pickled.

    Raises:
        ConfigError: `folder` does not exist, cannot be written to, or has too little space.
    """

    __slots__ = ()

    def __init__(self, size: int, folder: str | os.PathLike[str] | None = None) -> None:
        self.path = _folder(folder)
        self._fd = _nameless_file(size, self.path)
        self._view = memoryview(mmap.mmap(self._fd, size, prot=mmap.PROT_READ) if size else b"")

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a scratch file exists in the process that made it only: save the program, and load it where it is needed")

    def write_at(self, position: int, data: memoryview) -> None:
        """Writes bytes. Safe from several threads as long as they write to different places.

        Raises:
            ConfigError: the folder has no space left.
        """
        try:
            while data:
                written = os.pwrite(self._fd, data, position)
                position, data = position + written, data[written:]
        except OSError as error:
            raise ConfigError(f"the scratch folder {self.path} cannot be written to: {error.strerror}; {ADVICE}") from error


class NamedScratchFile(ScratchFile):
    """A scratch file with a name, so that other processes can write to it: it pickles as its path.

    The process that made it removes it, with the last tensor that lies in it or when it ends.

    Raises:
        ConfigError: as `ScratchFile`.
    """

    __slots__ = ("_removal",)

    def __init__(self, size: int, folder: str | os.PathLike[str] | None = None) -> None:
        self._fd, name = _named_file(size, _folder(folder))
        self.path = Path(name)
        self._removal = weakref.finalize(self, _remove, name)
        self._view = memoryview(mmap.mmap(self._fd, size, prot=mmap.PROT_READ) if size else b"")

    def remove(self) -> None:
        """Takes the name away; whoever has opened the file keeps its bytes."""
        self._removal()

    def __reduce__(self) -> tuple[Any, ...]:
        return _OpenedScratchFile, (self.path,)


class _OpenedScratchFile(ScratchFile):
    """A named scratch file of another process."""

    __slots__ = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise ConfigError(f"a worker cannot open the scratch file {path}: {error.strerror}; name a folder that it has too") from error
        size = os.fstat(self._fd).st_size
        self._view = memoryview(mmap.mmap(self._fd, size, prot=mmap.PROT_READ) if size else b"")

    def __reduce__(self) -> tuple[Any, ...]:
        return _OpenedScratchFile, (self.path,)


def _folder(folder: str | os.PathLike[str] | None) -> Path:
    if folder is not None:
        return Path(folder)
    import tempfile  # small results need no folder, and it takes 10 ms to import

    return Path(tempfile.gettempdir())


def _remove(name: str) -> None:
    with suppress(OSError):
        os.unlink(name)  # noqa: PTH108 - called while the interpreter ends


def _named_file(size: int, folder: Path) -> tuple[int, str]:
    try:
        _check_space(size, folder)
        import tempfile

        fd, name = tempfile.mkstemp(prefix="mlpasses-", suffix=".scratch", dir=folder)
        try:
            os.ftruncate(fd, size)
        except BaseException:
            os.close(fd)
            _remove(name)
            raise
    except OSError as error:
        raise ConfigError(f"there can be no scratch file in {folder}: {error.strerror}; {ADVICE}") from error
    return fd, name


def _nameless_file(size: int, folder: Path) -> int:
    try:
        _check_space(size, folder)
        import tempfile

        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            os.ftruncate(file.fileno(), size)
            return os.dup(file.fileno())
    except OSError as error:
        raise ConfigError(f"there can be no scratch file in {folder}: {error.strerror}; {ADVICE}") from error


def _check_space(size: int, folder: Path) -> None:
    import shutil

    free = shutil.disk_usage(folder).free
    if free < size + SPARE:
        raise ConfigError(f"the scratch folder {folder} has {_megabytes(free)} free and {_megabytes(size)} are needed; {ADVICE}")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
