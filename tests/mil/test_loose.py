"""A package is made of the file that its weights were computed into: the same bytes as those of a copy, without one."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ir.mil.blob_writer import BlobWriter
from ir.mil.blobs import BlobFile, data_places, records
from ir.mil.loose import LEAST, LooseFile, beginning
from ir.tensors import MappedTensor, PackedTensor, Tensor
from ir.types import INT4, INT8, UINT8, DType
from tests.naming import needs_naming, refuse_names


def loose(folder: Path, *sizes: int, more: int = 0, fill: int | None = None) -> list[MappedTensor]:
    """Tensors of int8 in a loose file of their own, different ones unless all are filled with a number."""
    places = list(data_places(sizes))
    descriptor = os.open(folder, os.O_RDWR | os.O_TMPFILE, 0o666)
    os.ftruncate(descriptor, places[-1] + sizes[-1] + more)
    for number, (start, size) in enumerate(zip(places, sizes, strict=True)):
        numbers = np.random.default_rng(number).integers(-128, 128, size, np.int8)
        os.pwrite(descriptor, (numbers if fill is None else np.full(size, fill, np.int8)).tobytes(), start)
    file = LooseFile(descriptor, folder)
    return [MappedTensor(file, start, INT8, (size,)) for start, size in zip(places, sizes, strict=True)]


def small(count: int, seed: int = 0) -> PackedTensor:
    return PackedTensor(np.random.default_rng(seed).integers(0, 256, count, np.uint8), UINT8, (count,))


def write(path: Path, *tensors: Tensor) -> list[int]:
    """The offsets of their records in a weight file that begins with what lies in a loose file, as that of a package does."""
    with BlobWriter(path, beginning(tensors)) as writer:
        return [writer.append(tensor) for tensor in tensors]


def is_open(path: Path) -> bool:
    """Whether this process has a file open by its path. How many it has open altogether changes with what is collected meanwhile."""
    return any(os.path.realpath(descriptor) == str(path) for descriptor in Path("/proc/self/fd").iterdir())


def is_made_of(path: Path, tensor: MappedTensor) -> bool:
    return path.stat().st_ino == os.fstat(tensor.file.fileno()).st_ino


# What a file begins with


@needs_naming
def test_a_weight_file_begins_with_the_loose_file_that_has_most_bytes_in_the_order_of_their_places(tmp_path: Path) -> None:
    one, (a, b) = loose(tmp_path, LEAST), loose(tmp_path, LEAST, LEAST + 1)
    begun = beginning([b, *one, small(10), a])
    assert begun is not None
    assert list(begun.blobs) == [a, b]


@needs_naming
def test_what_is_small_is_no_beginning(tmp_path: Path) -> None:
    """A shared store has it in the file, another one in memory, and the package is the same."""
    assert beginning(loose(tmp_path, LEAST - 1)) is None


@needs_naming
def test_a_tensor_in_two_shapes_is_one_blob(tmp_path: Path) -> None:
    (a,) = loose(tmp_path, LEAST)
    begun = beginning([a, MappedTensor(a.file, a.offset, INT8, (LEAST // 2, 2))])
    assert begun is not None
    assert list(begun.blobs) == [a]
    assert begun.is_whole


@needs_naming
def test_a_file_is_whole_where_its_blobs_are_all_that_it_holds(tmp_path: Path) -> None:
    begun = beginning(loose(tmp_path, LEAST, LEAST + 7, 3 * LEAST))
    assert begun is not None
    assert begun.is_whole


@needs_naming
@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_a_file_with_a_gap_is_not_whole(left_out: int, tmp_path: Path) -> None:
    tensors = loose(tmp_path, LEAST, LEAST, LEAST)
    begun = beginning(tensors[:left_out] + tensors[left_out + 1 :])
    assert begun is not None
    assert not begun.is_whole


@needs_naming
def test_a_file_that_has_room_left_is_not_whole(tmp_path: Path) -> None:
    begun = beginning(loose(tmp_path, LEAST, more=1))
    assert begun is not None
    assert not begun.is_whole


# Names


@needs_naming
def test_a_file_is_given_a_name_once(tmp_path: Path) -> None:
    (a,) = loose(tmp_path, LEAST)
    assert isinstance(a.file, LooseFile)
    assert a.file.give_name(tmp_path / "one")
    assert not a.file.give_name(tmp_path / "two")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@needs_naming
def test_where_a_name_cannot_be_given_another_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (a,) = loose(tmp_path, LEAST)
    assert isinstance(a.file, LooseFile)
    with monkeypatch.context() as patched:
        refuse_names(patched)
        assert not a.file.give_name(tmp_path / "one")
    assert a.file.give_name(tmp_path / "one")


@needs_naming
def test_a_file_that_had_a_name_gets_no_other(tmp_path: Path) -> None:
    (a,) = loose(tmp_path, LEAST)
    assert isinstance(a.file, LooseFile)
    a.file.give_name(tmp_path / "one")
    (tmp_path / "one").unlink()
    assert not a.file.give_name(tmp_path / "two")
    assert not list(tmp_path.iterdir())


@needs_naming
def test_a_file_is_given_a_name_once_whoever_has_it_open(tmp_path: Path) -> None:
    """A fork of the process, say."""
    (a,) = loose(tmp_path, LEAST)
    assert isinstance(a.file, LooseFile)
    other = LooseFile(os.dup(a.file.fileno()), tmp_path)
    assert a.file.give_name(tmp_path / "one")
    assert not other.give_name(tmp_path / "two")
    assert (tmp_path / "one").stat().st_nlink == 1


@needs_naming
def test_of_two_who_name_a_file_at_one_time_neither_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (a,) = loose(tmp_path, LEAST)
    assert isinstance(a.file, LooseFile)
    link = os.link

    def twice(source: str, target: Path, **named: Any) -> None:
        link(source, tmp_path / "another's", **named)
        link(source, target, **named)

    monkeypatch.setattr(os, "link", twice)
    assert not a.file.give_name(tmp_path / "one")
    assert [path.name for path in tmp_path.iterdir()] == ["another's"]


@needs_naming
def test_an_existing_file_is_no_name_to_be_given(tmp_path: Path) -> None:
    (a,) = loose(tmp_path, LEAST)
    (tmp_path / "w.bin").write_bytes(b"kept")
    with pytest.raises(FileExistsError):
        write(tmp_path / "w.bin", a)
    assert (tmp_path / "w.bin").read_bytes() == b"kept"


# Whose it is


@needs_naming
def test_a_file_that_gets_a_name_has_the_permissions_of_a_new_one(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        (a,) = loose(tmp_path, LEAST)
        write(tmp_path / "w.bin", a)
    finally:
        os.umask(before)
    assert is_made_of(tmp_path / "w.bin", a)
    assert (tmp_path / "w.bin").stat().st_mode & 0o777 == 0o640


@needs_naming
def test_a_file_that_was_made_with_other_permissions_is_copied(tmp_path: Path) -> None:
    before = os.umask(0o077)
    (a,) = loose(tmp_path, LEAST)
    os.umask(0o022)
    try:
        write(tmp_path / "w.bin", a)
    finally:
        os.umask(before)
    assert not is_made_of(tmp_path / "w.bin", a)
    assert (tmp_path / "w.bin").stat().st_mode & 0o777 == 0o644


@needs_naming
def test_a_file_of_another_group_is_copied(tmp_path: Path) -> None:
    """A folder may give its group to what is made in it."""
    others = [group for group in [*os.getgroups(), *([12345] if os.geteuid() == 0 else [])] if group != os.getegid()]
    if not others:
        pytest.skip("there is no other group to give a folder to")
    (tmp_path / "shared").mkdir()
    os.chown(tmp_path / "shared", -1, others[-1])
    (tmp_path / "shared").chmod(0o2775)
    (a,) = loose(tmp_path, LEAST)
    write(tmp_path / "shared" / "w.bin", a)
    assert not is_made_of(tmp_path / "shared" / "w.bin", a)
    assert (tmp_path / "shared" / "w.bin").stat().st_gid == others[-1]


@needs_naming
def test_a_file_with_other_attributes_is_copied(tmp_path: Path) -> None:
    """Access control lists and labels are such."""
    (a,) = loose(tmp_path, LEAST)
    try:
        os.setxattr(a.file.fileno(), "user.mark", b"1")
    except OSError:
        pytest.skip("this file system has no attributes")
    write(tmp_path / "w.bin", a)
    assert not is_made_of(tmp_path / "w.bin", a)
    assert os.listxattr(tmp_path / "w.bin") == []


@needs_naming
def test_a_file_system_may_have_no_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> list[str]:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    (a,) = loose(tmp_path, LEAST)
    monkeypatch.setattr(os, "listxattr", refuse)
    write(tmp_path / "w.bin", a)
    assert is_made_of(tmp_path / "w.bin", a)


@needs_naming
def test_a_file_that_nobody_may_write_to_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (a,) = loose(tmp_path, LEAST)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    write(tmp_path / "w.bin", a)
    assert not is_made_of(tmp_path / "w.bin", a)


# Weight files


@needs_naming
@pytest.mark.parametrize("sizes", [(LEAST,), (LEAST, LEAST + 1), (2 * LEAST + 63, LEAST + 64, LEAST + 65, 5 * LEAST)])
@pytest.mark.parametrize("behind", [(), (10,), (4000, 1), (9 << 20, 70)])
def test_made_or_copied_a_weight_file_has_the_same_bytes(
    sizes: tuple[int, ...], behind: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = loose(tmp_path, *sizes)
    rest = [small(count) for count in behind]
    made = write(tmp_path / "made.bin", *tensors, *rest)
    assert is_made_of(tmp_path / "made.bin", tensors[0])
    refuse_names(monkeypatch)
    assert write(tmp_path / "copied.bin", *tensors, *rest) == made
    assert (tmp_path / "copied.bin").read_bytes() == (tmp_path / "made.bin").read_bytes()


@needs_naming
def test_what_it_is_made_of_can_be_read_as_blobs(tmp_path: Path) -> None:
    tensors = [*loose(tmp_path, LEAST, 3 * LEAST + 5), small(99)]
    offsets = write(tmp_path / "w.bin", *tensors)
    file = BlobFile(tmp_path / "w.bin")
    assert [record.offset for record in records(file)] == offsets
    assert file.count == 3
    for tensor, offset in zip(tensors, offsets, strict=True):
        assert file.tensor(offset, tensor.dtype, tensor.shape).payload() == tensor.payload()


@needs_naming
def test_unused_bits_are_stated_in_the_record(tmp_path: Path) -> None:
    (a,) = loose(tmp_path, LEAST)
    odd = MappedTensor(a.file, a.offset, INT4, (2 * LEAST - 1,))
    (offset,) = write(tmp_path / "w.bin", odd)
    assert is_made_of(tmp_path / "w.bin", odd)
    assert BlobFile(tmp_path / "w.bin").record(offset).padding == 4


@needs_naming
def test_the_second_file_is_a_copy(tmp_path: Path) -> None:
    tensors = [*loose(tmp_path, LEAST, LEAST), small(50)]
    write(tmp_path / "one.bin", *tensors)
    write(tmp_path / "two.bin", *tensors)
    assert (tmp_path / "one.bin").read_bytes() == (tmp_path / "two.bin").read_bytes()
    assert (tmp_path / "one.bin").stat().st_ino != (tmp_path / "two.bin").stat().st_ino


@needs_naming
def test_tensors_stay_readable_whatever_becomes_of_the_file(tmp_path: Path) -> None:
    (a,) = loose(tmp_path, LEAST)
    before = bytes(a.payload())
    write(tmp_path / "w.bin", a, small(20))
    (tmp_path / "w.bin").unlink()
    assert bytes(a.payload()) == before


@needs_naming
def test_equal_blobs_are_stored_once(tmp_path: Path) -> None:
    """And so the file is no part of the package: it has both."""
    a, b = loose(tmp_path, LEAST, LEAST, fill=7)
    first, second = write(tmp_path / "w.bin", a, b)
    assert first == second
    assert not is_made_of(tmp_path / "w.bin", a)
    assert (tmp_path / "w.bin").stat().st_size == 128 + LEAST


@needs_naming
def test_what_is_equal_to_a_blob_of_the_file_is_not_stored_again(tmp_path: Path) -> None:
    (a,) = loose(tmp_path, LEAST)
    first, second = write(tmp_path / "w.bin", a, PackedTensor(bytes(a.payload()), INT8, (LEAST,)))
    assert first == second
    assert is_made_of(tmp_path / "w.bin", a)


@needs_naming
@pytest.mark.parametrize("dtype", [UINT8, INT4])
def test_one_place_read_as_two_types_is_two_blobs(dtype: DType, tmp_path: Path) -> None:
    (a,) = loose(tmp_path, LEAST)
    other = MappedTensor(a.file, a.offset, dtype, (LEAST * 8 // dtype.bits,))
    first, second = write(tmp_path / "w.bin", a, other)
    assert first != second
    assert not is_made_of(tmp_path / "w.bin", a)


@needs_naming
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt("No space for patience")])
def test_an_error_while_a_file_is_made_leaves_the_tensors_as_they_are(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise error

    (a,) = loose(tmp_path, LEAST)
    before = bytes(a.payload())
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(type(error), match="No space"):
            write(tmp_path / "w.bin", a)
    assert not is_open(tmp_path / "w.bin")
    (tmp_path / "w.bin").unlink()
    write(tmp_path / "w.bin", a)
    assert bytes(a.payload()) == before == (tmp_path / "w.bin").read_bytes()[128:]
