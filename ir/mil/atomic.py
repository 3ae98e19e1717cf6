"""Replacing a folder in one step, so that a crash, a full disk or a kill leaves the old one or the new one, whole.

The protocol, for a target `M.mlpackage`:

1. Everything is written into a sibling, `.M.mlpackage.<16 hex digits>.mlpasses-tmp`, and flushed: files, then folders.
2. If the target exists, the two are exchanged by one system call: `renameat2(RENAME_EXCHANGE)` on Linux, `renamex_np(RENAME_SWAP)` on
   macOS. (A folder cannot be renamed over one that is not empty, so a plain rename will not do.) If it does not exist, the sibling is
   renamed, with the flag that makes the call fail should a target have appeared. Either way the parent folder is flushed.
3. What is at the sibling's path now, the old package, is deleted. Whoever has it mapped keeps it: the bytes live until unmapped.

Where the file system has no exchange (some network and FUSE file systems, old kernels) step 2 is two renames: the target is moved aside
to `.M.mlpackage.mlpasses-old`, then the sibling is renamed. Between the two there is no target; a process that dies there is made good
by `recover`, which puts the old one back when the path is next opened or saved to. Both sides hold a lock on the parent folder. What
was moved aside gets a sibling's name before it is deleted, so that nothing half deleted is ever put back.

A run that was killed leaves its sibling behind. The owner of a sibling holds a lock (`flock`) on it, which dies with the process: the
next save to the same target deletes every sibling whose lock it gets. Where locks do not work, leftovers are left alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from ir.diagnostics import PackageError
from ir.mil.files import reason

TEMPORARY: Final = ".mlpasses-tmp"
ASIDE: Final = ".mlpasses-old"
MANIFEST: Final = "Manifest.json"
_ATTEMPTS: Final = 16
"""How often a step is tried while others create and remove the same path."""
_PATIENCE: Final = 10.0
"""Seconds to wait for another process between its two renames, which takes it milliseconds."""
_LONGEST: Final = 180
"""Bytes of a name that fit into the siblings' names; file systems allow 255."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_EXCHANGE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM})


@contextmanager
def saving(target: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Path]:
    """Gives an empty folder to build in; what it holds at the end becomes `target`, at once or not at all.

    `overwrite` allows an existing package to be replaced, also the one that is being read. A link at `target` is followed. If the
    body fails, the folder is removed and the target is as it was.

    Raises:
        PackageError: the target exists and may not be replaced, its parent folder does not exist, or writing failed.
    """
    target = _settled(target)
    recover(target)
    try:
        check_target(target, overwrite=overwrite)
        _sweep(target)
        with _sibling(target) as draft:
            yield draft
            replace_folder(draft, target, overwrite=overwrite)
    except OSError as error:
        raise PackageError(f"{target} could not be saved: {reason(error)}. What was there is as it was") from error


def replace_folder(draft: Path, target: Path, *, overwrite: bool) -> None:
    """Flushes the folder `draft`, puts it in the place of `target` in one step, and deletes what was there.

    Both lie in the same folder. Afterwards nothing is at `draft`.

    Raises:
        PackageError: the target exists and may not be replaced.
        OSError: flushing or renaming failed; the target is as it was.
    """
    _flush_tree(draft)
    _commit(draft, target, overwrite=overwrite)
    try:
        _flush(target.parent)
    except OSError as error:
        warnings.warn(f"{target} is saved, but its folder could not be flushed to disk: {reason(error)}", stacklevel=2)
    _remove(draft)
    for old in (draft, _aside(target)):
        if os.path.lexists(old):
            warnings.warn(f"{target} is saved, but what it replaced could not be removed: {old}", stacklevel=2)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuses a target that must not be replaced.

    Raises:
        PackageError: it exists and overwriting was not asked for; it is no package; its parent is no folder, or cannot be written to.
    """
    folder = (_settled(target) if target.is_symlink() else target).parent
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        if not folder.is_dir():
            raise PackageError(f"{target} cannot be saved: there is no folder {folder}; create it first") from None
    except OSError as error:
        raise PackageError(f"{target} cannot be saved: {reason(error)}") from error
    else:
        _check_existing(target, mode, overwrite=overwrite)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PackageError(f"{target} cannot be saved: the folder {folder} cannot be written to; choose another path")


def _check_existing(target: Path, mode: int, *, overwrite: bool) -> None:
    if not stat.S_ISDIR(mode):
        raise PackageError(f"{target} is a file, not a package, and is never replaced: choose another path")
    if not (target / MANIFEST).is_file():
        raise PackageError(f"{target} is a folder without {MANIFEST}, hence no package, and is never replaced: choose another path")
    if not overwrite:
        raise PackageError(f"{target} exists: choose another path, or ask for it to be replaced (overwrite=True, --force)")


def recover(target: str | os.PathLike[str]) -> None:
    """Puts a package back that an interrupted save moved aside. Does nothing in all other cases, at the price of a look.

    Raises:
        PackageError: it cannot be put back.
    """
    target = _settled(target)
    aside = _aside(target)
    if os.path.lexists(target) or not os.path.lexists(aside):
        return
    try:
        with _locked(target.parent):
            if not os.path.lexists(target) and os.path.lexists(aside):
                _move(aside, target)
    except OSError as error:
        raise PackageError(
            f"{target} was moved aside by a save that was interrupted, and cannot be put back ({reason(error)}): rename {aside}"
        ) from error


def _commit(draft: Path, target: Path, *, overwrite: bool) -> None:
    for _ in range(_ATTEMPTS):
        check_target(target, overwrite=overwrite)
        try:
            if not target.exists():
                _move(draft, target)
            else:
                draft.chmod(stat.S_IMODE(target.stat().st_mode) | stat.S_IRWXU)
                _exchange(draft, target)
        except (FileExistsError, FileNotFoundError):
            continue  # a target appeared or vanished since we looked
        except OSError as error:
            if error.errno not in _NO_EXCHANGE:
                raise
            _replace_in_two_steps(draft, target)
        return
    raise PackageError(f"{target} could not be saved: something else keeps creating and removing it")


def _replace_in_two_steps(draft: Path, target: Path) -> None:
    aside = _aside(target)
    with _locked(target.parent):
        _discard(aside, target)
        target.rename(aside)
        try:
            draft.rename(target)
        except BaseException:
            aside.rename(target)
            raise
        with suppress(OSError):  # the new one is in place: what is left over is no reason to fail
            aside.rename(draft)


def _discard(aside: Path, target: Path) -> None:
    """Deletes what an earlier save moved aside and replaced; its name changes first, in one step."""
    if os.path.lexists(aside):
        doomed = _sibling_name(target)
        aside.rename(doomed)
        _remove(doomed)


def _move(source: Path, target: Path) -> None:
    """Renames a folder to a path where nothing may be."""
    try:
        _rename(source, target, _flags()[0])
    except OSError as error:
        if error.errno not in _NO_EXCHANGE:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "File exists", str(target)) from error
        source.rename(target)


def _exchange(one: Path, other: Path) -> None:
    _rename(one, other, _flags()[1])


def _flags() -> tuple[int, int]:
    """The system's flags for "do not replace" and "exchange"."""
    return (4, 2) if sys.platform == "darwin" else (1, 2)


def _rename(source: Path, target: Path, flags: int) -> None:
    if _system_rename()(os.fsencode(source), os.fsencode(target), flags) != 0:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(source), None, str(target))


@cache
def _system_rename() -> Callable[[bytes, bytes, int], int]:
    """`rename` with flags, which Python does not offer."""
    import ctypes

    libc: Any = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        libc.renamex_np.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint)
        return lambda source, target, flags: int(libc.renamex_np(source, target, flags))
    if hasattr(libc, "renameat2"):
        here = -100  # AT_FDCWD
        libc.renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
        return lambda source, target, flags: int(libc.renameat2(here, source, here, target, flags))

    def absent(source: bytes, target: bytes, flags: int) -> int:
        ctypes.set_errno(errno.ENOSYS)
        return -1

    return absent


@contextmanager
def _sibling(target: Path) -> Iterator[Path]:
    """A new folder beside the target, locked for as long as this process works on it, and removed if it is still there at the end."""
    draft, lock = _new_sibling(target)
    try:
        yield draft
    finally:
        _remove(draft)
        _unlock(lock)


def _new_sibling(target: Path) -> tuple[Path, int]:
    for _ in range(_ATTEMPTS):
        draft = _sibling_name(target)
        draft.mkdir()
        try:
            lock = os.open(draft, _FOLDER)
        except FileNotFoundError:
            continue  # before we could lock it another save took it for a leftover
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(draft.stat(), os.fstat(lock)):
                return draft, lock
        except (BlockingIOError, FileNotFoundError):
            pass  # so it did just now
        except OSError:
            return draft, lock  # no locks here, so nobody sweeps either
        os.close(lock)
    raise PackageError(f"{target} could not be saved: something else keeps removing temporary folders beside it")


def _sweep(target: Path) -> None:
    """Deletes what killed runs left beside the target."""
    leftover = re.compile(re.escape(f".{_stem(target)}.") + r"[0-9a-f]{16}" + re.escape(TEMPORARY))
    with suppress(OSError):
        for path in target.parent.iterdir():
            if leftover.fullmatch(path.name):
                _remove_if_abandoned(path)
        if target.exists() and os.path.lexists(_aside(target)):
            with _locked(target.parent):
                _discard(_aside(target), target)


def _remove_if_abandoned(folder: Path) -> None:
    with suppress(OSError):
        lock = os.open(folder, _FOLDER | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder)
        finally:
            os.close(lock)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other saves and recoveries in `folder` out, where locks work."""
    lock = os.open(folder, _FOLDER)
    try:
        _wait_for(lock, folder)
        yield
    finally:
        _unlock(lock)


def _unlock(lock: int) -> None:
    with suppress(OSError):  # nothing was written through it, so there is nothing to lose
        os.close(lock)


def _wait_for(lock: int, folder: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise PackageError(f"another process holds a lock on {folder}: try again when it is done") from error
            time.sleep(0.01)
        except OSError:
            return


def _flush_tree(folder: Path) -> None:
    for path, _, names in os.walk(folder, topdown=False, onerror=_raise):
        for file in (Path(path, name) for name in names):
            if not file.is_symlink():
                _flush(file)
        _flush(Path(path))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):  # a file system that cannot flush folders
            raise
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    """Deletes a folder, also one whose own folders are read-only. Another process may be at it too; what resists stays."""
    with suppress(OSError):
        folder.chmod(stat.S_IRWXU)
        for path, folders, _ in os.walk(folder):
            for inner in (Path(path, name) for name in folders):
                if not inner.is_symlink():
                    inner.chmod(stat.S_IRWXU)
    shutil.rmtree(folder, ignore_errors=True)


def _raise(error: OSError) -> None:
    raise error


def _settled(target: str | os.PathLike[str]) -> Path:
    """The target's path with links followed; what they lead to need not exist."""
    try:
        settled = Path(os.path.realpath(target))
    except ValueError as error:
        raise PackageError(f"{os.fspath(target)!r} is no path: {error}") from error
    if not settled.name:
        raise PackageError(f"{os.fspath(target)!r} is the root of a file system, not a package")
    return settled


def _sibling_name(target: Path) -> Path:
    return target.with_name(f".{_stem(target)}.{os.urandom(8).hex()}{TEMPORARY}")


def _aside(target: Path) -> Path:
    return target.with_name(f".{_stem(target)}{ASIDE}")


def _stem(target: Path) -> str:
    """The target's name as part of other names: itself, or its digest where it is long."""
    name = os.fsencode(target.name)
    if len(name) <= _LONGEST:
        return target.name
    from hashlib import sha256  # it loads OpenSSL, 3 ms

    return sha256(name).hexdigest()[:32]
