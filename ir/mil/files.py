"""Copies inside the kernel, and what tells a file from its stand-in.

`copy_range` and `copy_file` move bytes with `copy_file_range` where the system has it (a file system that can share extents, such as
btrfs, XFS or APFS, then copies nothing at all), and through a bounded buffer where it has not.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Final

from ir.diagnostics import PackageError
from ir.tensors import MappedFile

BUFFER: Final = 1 << 20
"""Bytes that a copy outside the kernel holds at a time."""
_KERNEL_CHUNK: Final = 1 << 30
"""Bytes asked of one `copy_file_range`: the kernel stops at 2 GiB anyway, and a signal is answered in between."""
_NO_KERNEL_COPY: Final = frozenset(
    {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.ETXTBSY}
)
"""What `copy_file_range` answers where it cannot serve: two file systems, an old kernel, an odd file system, a sandbox."""
_LFS: Final = b"version https://git-lfs"


def copy_range(source: int, start: int, sink: int, at: int, size: int) -> None:
    """Copies `size` bytes from byte `start` of descriptor `source` to byte `at` of descriptor `sink`.

    Raises:
        PackageError: the source ends before.
        OSError: reading or writing failed (no space, an I/O error).
    """
    copied = _copy_in_kernel(source, start, sink, at, size)
    while copied < size:
        chunk = os.pread(source, min(BUFFER, size - copied), start + copied)
        if not chunk:
            raise PackageError(
                f"a file became shorter while it was copied: {size} bytes from byte {start} were asked for, "
                f"{copied} are there"
            )
        copied += os.pwrite(sink, chunk, at + copied)


def _copy_in_kernel(source: int, start: int, sink: int, at: int, size: int) -> int:
    """The bytes that the kernel copied: all, or as many as it could before the buffer has to take over."""
    if not hasattr(os, "copy_file_range"):
        return 0
    copied = 0
    while copied < size:
        try:
            step = os.copy_file_range(source, sink, min(size - copied, _KERNEL_CHUNK), start + copied, at + copied)
        except OSError as error:
            if error.errno in _NO_KERNEL_COPY:
                return copied
            raise
        if not step:  # the end of the file, or a file system that pretends: reading tells which
            return copied
        copied += step
    return copied


def copy_file(source: Path | MappedFile, target: Path) -> int:
    """Copies a whole file to a new one and answers with its size.

    A mapped source is copied from its descriptor, so what arrives is what was mapped, even if the path is another file by now. The
    new file has ordinary permissions, whatever those of the source.

    Raises:
        PackageError: the source is not a regular file, or shrank meanwhile.
        FileExistsError: the target exists.
        OSError: reading or writing failed.
    """
    if isinstance(source, MappedFile):
        return _copy_descriptor(source.fileno(), target)
    check_regular(source, str(source))
    if sys.platform == "darwin":
        return _clone(source, target)
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _copy_descriptor(descriptor, target)
    finally:
        os.close(descriptor)


def _copy_descriptor(source: int, target: Path) -> int:
    size = os.fstat(source).st_size
    sink = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        copy_range(source, 0, sink, 0, size)
    finally:
        os.close(sink)
    return size


def _clone(source: Path, target: Path) -> int:
    """`fcopyfile`, which `shutil` knows on macOS."""
    with target.open("xb"):
        pass
    shutil.copyfile(source, target)
    return target.stat().st_size


def check_regular(path: Path, name: str) -> None:
    """Refuses what is no ordinary file: to open a pipe would hang, a device would answer with anything.

    Raises:
        PackageError: there is no such file, or it is something else.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise PackageError(f"{name} cannot be read: {reason(error)}") from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise PackageError(f"{name} is {kind}, where a file was expected")


def lfs_hint(head: bytes) -> str | None:
    """What to do where a file's first bytes are those of a Git LFS pointer; None where they are not."""
    if not head.startswith(_LFS):
        return None
    return "is a Git LFS pointer, not the file itself: run `git lfs pull` in the clone it comes from"


def reason(error: Exception) -> str:
    """An operating system error in words, without its number."""
    return getattr(error, "strerror", None) or str(error)
