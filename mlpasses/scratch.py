"""Where results lie until the program is saved: small ones in memory, large ones in a scratch file.

The sizes are known before the work begins, so each result has its place: results lie in the order of the program, however many workers
there are and whoever is first, and no worker waits for another. They lie as a weight file has them (`ir.mil.loose`), so that a package on
the same file system is saved without copying them: where each took all the room that it had, the scratch file becomes the package's.
"""

from __future__ import annotations

import errno
import math
import os
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from ir.mil.blobs import data_places
from ir.mil.loose import LEAST, LooseFile
from ir.packing import packed_size
from ir.tensors import MappedTensor, PackedTensor, Tensor
from ir.types import DType
from mlpasses.errors import ConfigError
from mlpasses.writeback import begin_writeback

KEPT: Final = LEAST
"""Bytes below which a result is not worth a place in a scratch file: it stays in memory."""
SPARE: Final = 1 << 20
"""Bytes that have to be free besides, for the file system's own accounts."""
ADVICE: Final = "name another folder as scratch (--scratch DIR)"


class Store:
    """Slots for results whose greatest sizes are given. Workers write to them, parts in any order; then each is a tensor.

    A private store is for threads: small results stay in memory, and the file has no name. A shared one (`Store.shared`) pickles, so that
    workers in other processes write to it too: all is in a file with a name, which goes away with the store and the last of its tensors.

    `lasting` results are going to be saved as they are: the disk is given them at once, so that saving need not wait for it.

    Raises:
        ConfigError: the scratch folder does not exist, cannot be written to, or has too little space for all that has to go there.
    """

    def __init__(self, sizes: Iterable[int], folder: str | os.PathLike[str] | None = None, *, lasting: bool = False) -> None:
        self._folder = folder
        wanted = dict(enumerate(sizes))
        self._slots = {slot: _Slot(bytearray(size), 0, size) for slot, size in wanted.items() if size < KEPT}
        large = {slot: size for slot, size in wanted.items() if size >= KEPT}
        self._put_in_file(large, lambda size: ScratchFile(size, folder, lasting=lasting))

    @classmethod
    def shared(cls, sizes: Iterable[int], folder: str | os.PathLike[str] | None = None) -> Store:
        """A store that other processes may write to, on this machine or on others that have the folder. Raises as the class."""
        store = cls((), folder)
        store._put_in_file(dict(enumerate(sizes)), lambda size: NamedScratchFile(size, folder))
        return store

    def _put_in_file(self, sizes: Mapping[int, int], create: Callable[[int], ScratchFile]) -> None:
        """Gives slots of these sizes their places in a new file."""
        if not sizes:
            return
        starts = list(data_places(sizes.values()))
        file = create(starts[-1] + [*sizes.values()][-1])
        for (slot, size), start in zip(sizes.items(), starts, strict=True):
            self._slots[slot] = _Slot(file, start, size)

    def portion(self, slots: range) -> Store:
        """A store of some slots of this one, which are numbered from 0 there: what a worker that writes to no others needs to know."""
        part = Store((), self._folder)
        part._slots = {number: self._slots[slot] for number, slot in enumerate(slots)}
        return part

    def write(self, slot: int, position: int, data: memoryview) -> None:
        """Writes bytes into a slot. Safe from several threads, as long as no two write to one place.

        Raises:
            ConfigError: the scratch folder has no space left.
            ValueError: the slot ends before.
        """
        place = self._slots[slot]
        if not 0 <= position <= place.size - len(data):
            raise ValueError(f"{len(data)} bytes from byte {position} on do not fit into a slot of {place.size}")
        if isinstance(place.home, bytearray):
            place.home[position : position + len(data)] = data
        else:
            place.home.write_at(place.start + position, data)

    def room(self, size: int) -> ScratchFile:
        """A file for what a worker lays out for itself. It goes away with what is read from it.

        Raises:
            ConfigError: the scratch folder cannot be written to, or has too little space.
        """
        return ScratchFile(size, self._folder)

    def discard(self) -> None:
        """Removes a named file at once: there will be no results. An executor may hold on to the store for as long as itself lives."""
        for file in {place.home for place in self._slots.values() if isinstance(place.home, NamedScratchFile)}:
            file.remove()

    def tensor(self, slot: int, dtype: DType, shape: tuple[int, ...]) -> Tensor:
        """What has been written to a slot, from its start. Asked twice, there are two tensors of the same bytes."""
        place = self._slots[slot]
        if isinstance(place.home, bytearray):
            return PackedTensor(memoryview(place.home)[: packed_size(math.prod(shape), dtype.bits)], dtype, shape)
        return MappedTensor(place.home, place.start, dtype, shape)


@frozen(eq=False)
class _Slot:
    """The place of a result: memory of its own, or a part of a file from byte `start` on."""

    home: bytearray | ScratchFile
    start: int
    size: int


class ScratchFile(LooseFile):
    """A file of a fixed size that has no name, and goes away with the last tensor that lies in it, or with the process, unless a package
    is made of it.

    Workers write to it at positions of their own; what they wrote is read through a shared mapping, so neither way holds it in private
    memory. It exists in this process only, and is not to be pickled. As for `lasting`, see `Store`.

    Raises:
        ConfigError: `folder` does not exist, cannot be written to, or has too little space.
    """

    __slots__ = ("_lasting",)

    def __init__(self, size: int, folder: str | os.PathLike[str] | None = None, *, lasting: bool = False) -> None:
        path = _folder(folder)
        super().__init__(_nameless_file(size, path), path)
        self._lasting = lasting

    def write_at(self, position: int, data: memoryview) -> None:
        """Writes bytes. Safe from several threads as long as they write to different places.

        Raises:
            ConfigError: the folder has no space left.
        """
        start, size = position, len(data)
        try:
            while data:
                written = os.pwrite(self._fd, data, position)
                position, data = position + written, data[written:]
        except OSError as error:
            raise ConfigError(f"the scratch folder {self.path} cannot be written to: {error.strerror}; {_advice(error)}") from error
        if self._lasting:
            begin_writeback(self._fd, start, size)


class NamedScratchFile(ScratchFile):
    """A scratch file with a name, so that other processes can write to it: it pickles as its path.

    The process that made it removes it, with the last tensor that lies in it or when it ends.

    Raises:
        ConfigError: as `ScratchFile`.
    """

    __slots__ = ("_removal",)

    def __init__(self, size: int, folder: str | os.PathLike[str] | None = None) -> None:
        descriptor, name = _named_file(size, _folder(folder))
        LooseFile.__init__(self, descriptor, Path(name))
        self._lasting = False
        self._removal = weakref.finalize(self, _remove, name)

    def remove(self) -> None:
        """Takes the name away; whoever has opened the file keeps its bytes."""
        self._removal()

    def __reduce__(self) -> tuple[Any, ...]:
        return _OpenedScratchFile, (self.path,)


class _OpenedScratchFile(ScratchFile):
    """A named scratch file of another process."""

    __slots__ = ()

    def __init__(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise ConfigError(f"a worker cannot open the scratch file {path}: {error.strerror}; name a folder that it has too") from error
        LooseFile.__init__(self, descriptor, path)
        self._lasting = False

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
        raise ConfigError(f"there can be no scratch file in {folder}: {error.strerror}; {_advice(error)}") from error
    return fd, name


def _nameless_file(size: int, folder: Path) -> int:
    try:
        _check_space(size, folder)
        descriptor = _open_nameless(folder)
        try:
            os.ftruncate(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise ConfigError(f"there can be no scratch file in {folder}: {error.strerror}; {_advice(error)}") from error
    return descriptor


def _open_nameless(folder: Path) -> int:
    """Opens a file without a name, and with the permissions of a new one: it may be given a name later, where the system has that."""
    with suppress(OSError, AttributeError):  # another system, or a file system that has no such files
        return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o666)
    import tempfile

    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        return os.dup(file.fileno())


def _check_space(size: int, folder: Path) -> None:
    import shutil

    free = shutil.disk_usage(folder).free
    if free < size + SPARE:
        room = f"has {_megabytes(free)} free and {_megabytes(size)} are needed"
        raise ConfigError(f"the scratch folder {folder} {room}; {ADVICE}, or make room")


def _advice(error: OSError) -> str:
    return f"{ADVICE}, or make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ADVICE


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
