"""Weight files in the making: the data of blobs, already where the file has them, but no records, and no name.

Who computes weights writes them to such a file, and a package is saved without copying them: the file gets its records and a name. The
bytes are those that a copy would have.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from operator import eq
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from ir.mil.blobs import data_places
from ir.tensors import MappedFile, MappedTensor, Tensor

LEAST: Final = 64 << 10
"""Bytes below which a blob has no place at the front of a weight file: it may be in memory or in a file, as there are workers."""


class LooseFile(MappedFile):
    """A file that is laid out by `data_places`, and whose room for records nobody reads. Opened for reading and writing."""

    __slots__ = ()

    def __init__(self, descriptor: int, path: Path) -> None:
        """The file that `descriptor` has opened; `path` is what it is called in complaints."""
        self._hold(descriptor, path)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a scratch file exists in the process that made it only: save the program, and load it where it is needed")

    def give_name(self, path: Path) -> bool:
        """Makes it the new file `path`: once, since with two names it would be one file of two packages.

        False where it has or had a name, where a new file would be somebody else's or have other permissions, and where the system cannot:
        Linux can for a file without a name (`O_TMPFILE`) on the same file system.

        Raises:
            FileExistsError: the path exists.
        """
        if os.fstat(self._fd).st_nlink:
            return False
        with path.open("xb") as new:
            agrees = _access(new.fileno()) == _access(self._fd) and os.access(path, os.W_OK)
        path.unlink()
        if not agrees:
            return False
        try:
            # Given a descriptor for a folder, which is not asked as the path is absolute, Python follows the link that /proc has there.
            os.link(f"/proc/self/fd/{self._fd}", path, src_dir_fd=self._fd, follow_symlinks=True)
        except (OSError, NotImplementedError):
            return False
        if os.fstat(self._fd).st_nlink == 1:
            return True
        path.unlink()  # another thread, or a fork of this process, was at it too
        return False


def _access(descriptor: int) -> tuple[Any, ...]:
    """Whose a file is, and who may do what with it."""
    found = os.fstat(descriptor)
    attributes = {}
    with suppress(OSError, AttributeError):  # a file system, or a system, that has none
        attributes = {name: os.getxattr(descriptor, name) for name in os.listxattr(descriptor)}
    return found.st_mode, found.st_uid, found.st_gid, attributes


@frozen(eq=False)
class Beginning:
    """The blobs that a weight file begins with: those of one loose file, in the order of their places."""

    file: LooseFile
    blobs: Sequence[MappedTensor]

    @property
    def is_whole(self) -> bool:
        """Whether they are all that the file holds, and where a weight file of them would have them."""
        last = self.blobs[-1]
        places = data_places(blob.nbytes for blob in self.blobs)
        return last.offset + last.nbytes == self.file.size and all(map(eq, places, (blob.offset for blob in self.blobs)))


def beginning(tensors: Iterable[Tensor]) -> Beginning | None:
    """What a weight file of these tensors begins with: what lies in the loose file that has most of their bytes, if it is not too small.

    None where nothing is. Nothing depends on whether the file can have a name, so that the order of blobs does not.
    """
    found: dict[LooseFile, dict[tuple[object, ...], MappedTensor]] = {}
    for tensor in tensors:
        if isinstance(tensor, MappedTensor) and isinstance(tensor.file, LooseFile) and tensor.nbytes >= LEAST:
            found.setdefault(tensor.file, {}).setdefault((tensor.offset, tensor.dtype, tensor.nbytes), tensor)
    if not found:
        return None
    file, held = max(found.items(), key=lambda item: sum(tensor.nbytes for tensor in item[1].values()))
    return Beginning(file, sorted(held.values(), key=lambda tensor: tensor.offset))
