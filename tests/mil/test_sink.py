"""Files written past the page cache hold what they were given, whatever the disk says to that."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ir.diagnostics import PackageError
from ir.mil import sink as module
from ir.mil.sink import Sink
from ir.tensors import MappedFile

BUFFER = 1 << 16


@pytest.fixture(autouse=True)
def small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUFFER", BUFFER)


def content(size: int) -> bytes:
    return bytes((index * 31 + index // 251) & 255 for index in range(size))


@pytest.mark.parametrize("size", [1, 64, 4095, 4096, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER + 100])
@pytest.mark.parametrize("step", [7, 4096, 1 << 20])
def test_what_is_written_is_in_the_file(size: int, step: int, tmp_path: Path) -> None:
    data = content(size)
    sink = Sink.new(tmp_path / "file")
    for at in range(0, size, step):
        sink.write(data[at : at + step])
    assert sink.position == size
    sink.close(data[:1])
    assert (tmp_path / "file").read_bytes() == data


def test_header_replaces_the_first_bytes(tmp_path: Path) -> None:
    sink = Sink.new(tmp_path / "file")
    sink.write(content(2 * BUFFER))
    sink.close(b"head")
    assert (tmp_path / "file").read_bytes() == b"head" + content(2 * BUFFER)[4:]


def test_parts_of_a_file_are_copied_from_any_place_to_any_place(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(content(3 * BUFFER))
    source = MappedFile(tmp_path / "source")
    sink = Sink.new(tmp_path / "file")
    sink.write(b"abc")
    sink.write_from(source, 5, 2 * BUFFER + 77)
    sink.close(b"a")
    assert (tmp_path / "file").read_bytes() == b"abc" + content(3 * BUFFER)[5 : 5 + 2 * BUFFER + 77]


@pytest.mark.parametrize(("start", "size"), [(0, 10), (BUFFER - 5, 10), (BUFFER, 10), (BUFFER + 90, 10), (0, BUFFER + 100)])
def test_what_was_taken_can_be_read_before_it_is_closed(start: int, size: int, tmp_path: Path) -> None:
    sink = Sink.new(tmp_path / "file")
    sink.write(content(BUFFER + 100))
    assert sink.read(start, size) == content(BUFFER + 100)[start : start + size]
    sink.abandon()


@pytest.mark.parametrize("before", [1, 4095, 4096, 5000, BUFFER, BUFFER + 1])
@pytest.mark.parametrize("more", [0, 1, 4096, BUFFER, 3 * BUFFER + 100])
def test_a_file_is_continued_at_its_end(before: int, more: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content(before))
    sink = Sink.behind(tmp_path / "file")
    assert sink.position == before
    sink.write(content(before + more)[before:])
    assert sink.position == before + more
    sink.close(content(1))
    assert (tmp_path / "file").read_bytes() == content(before + more)


@pytest.mark.parametrize(("start", "size"), [(0, 10), (4995, 10), (5000, 10), (BUFFER - 5, 10), (0, BUFFER + 100)])
def test_what_was_there_before_can_be_read_as_well(start: int, size: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content(5000))
    sink = Sink.behind(tmp_path / "file")
    sink.write(content(BUFFER + 200)[5000:])
    assert sink.read(start, size) == content(BUFFER + 200)[start : start + size]
    sink.abandon()


def test_bytes_of_the_file_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content(5000))
    sink = Sink.behind(tmp_path / "file")
    sink.write(b"more")
    sink.rewrite(64, b"record")
    sink.close(content(1))
    assert (tmp_path / "file").read_bytes() == content(64) + b"record" + content(5000)[70:] + b"more"


def test_source_that_became_shorter_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(content(100))
    source = MappedFile(tmp_path / "source")
    sink = Sink.new(tmp_path / "file")
    with pytest.raises(PackageError, match="became shorter"):
        sink.write_from(source, 50, 51)
    sink.abandon()


def test_existing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError):
        Sink.new(tmp_path / "file")


def refusing(call: Callable[..., Any], condition: Callable[..., bool]) -> Callable[..., Any]:
    def refuse(*arguments: Any) -> Any:
        if condition(*arguments):
            raise OSError(errno.EINVAL, "no direct writes here")
        return call(*arguments)

    return refuse


def test_disk_that_has_no_direct_writes_is_written_through_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asks(fd: int, command: int, *flags: int) -> bool:
        return command == fcntl.F_SETFL and bool(flags[0] & os.O_DIRECT)

    monkeypatch.setattr(fcntl, "fcntl", refusing(fcntl.fcntl, asks))
    sink = Sink.new(tmp_path / "file")
    sink.write(content(3 * BUFFER + 1))
    sink.close(content(1))
    assert (tmp_path / "file").read_bytes() == content(3 * BUFFER + 1)


def test_disk_that_refuses_a_direct_write_is_written_through_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_direct(fd: int, data: memoryview, at: int) -> bool:
        return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT)

    monkeypatch.setattr(os, "pwrite", refusing(os.pwrite, is_direct))
    sink = Sink.new(tmp_path / "file")
    sink.write(content(3 * BUFFER + 1))
    sink.close(content(1))
    assert (tmp_path / "file").read_bytes() == content(3 * BUFFER + 1)


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: write(fd, data[: max(1, len(data) // 3)], at))
    sink = Sink.new(tmp_path / "file")
    sink.write(content(2 * BUFFER + 1))
    monkeypatch.undo()
    sink.close(content(1))
    assert (tmp_path / "file").read_bytes() == content(2 * BUFFER + 1)


def test_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    sink = Sink.new(tmp_path / "file")
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        sink.write(content(BUFFER))
    sink.abandon()
    sink.abandon()
