"""Scratch files and stores: where results lie, and what happens when there is no room."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from ir.mil.blob_writer import BlobWriter
from ir.mil.loose import beginning
from ir.tensors import MappedTensor, PackedTensor, Tensor
from ir.types import INT8, UINT8
from mlpasses.errors import ConfigError
from mlpasses.scratch import KEPT, NamedScratchFile, ScratchFile, Store
from tests.naming import needs_naming


def view(data: bytes) -> memoryview:
    return memoryview(data)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    file = ScratchFile(100, tmp_path)
    file.write_at(40, view(b"abc"))
    assert bytes(file.view[38:45]) == b"\0\0abc\0\0"


def test_a_scratch_file_has_no_name(tmp_path: Path) -> None:
    file = ScratchFile(100, tmp_path)
    file.write_at(0, view(b"abc"))
    assert not list(tmp_path.iterdir())


def test_a_scratch_file_lives_as_long_as_its_tensors(tmp_path: Path) -> None:
    store = Store([KEPT], tmp_path)
    store.write(0, 0, view(b"ab"))
    tensor = store.tensor(0, INT8, (KEPT,))
    del store
    assert tensor.numpy()[:2].tolist() == [97, 98]


def test_a_scratch_file_is_not_pickled(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="exists in the process that made it only"):
        pickle.dumps(ScratchFile(100, tmp_path))


def test_its_descriptor_serves_copies_in_the_kernel(tmp_path: Path) -> None:
    size = 2 << 20
    store = Store([size], tmp_path)
    data = np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8)
    store.write(0, 0, data.data)
    with BlobWriter(tmp_path / "weight.bin") as writer:
        record = writer.append(store.tensor(0, UINT8, (size,)))
    assert (tmp_path / "weight.bin").read_bytes()[record + 64 :] == data.tobytes()


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"no scratch file in {tmp_path}/nowhere: No such file.*--scratch"):
        ScratchFile(100, tmp_path / "nowhere")


def test_too_little_space_is_found_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 5_000_000, 5_000_000))
    with pytest.raises(ConfigError, match=r"has 5\.0 MB free and 9\.0 MB are needed; name another folder as scratch"):
        ScratchFile(9_000_000, tmp_path)


def test_a_folder_that_fills_up_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    file = ScratchFile(100, tmp_path)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ConfigError, match=rf"scratch folder {tmp_path} cannot be written to: No space left"):
        file.write_at(0, view(b"abc"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc to ask for descriptors")
@pytest.mark.parametrize("kind", [ScratchFile, NamedScratchFile])
def test_a_file_that_cannot_have_its_size_is_an_error_and_leaves_nothing_behind(
    kind: type[ScratchFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: Any) -> None:
        raise OSError(27, "File too large")

    before = descriptors()
    monkeypatch.setattr(os, "ftruncate", too_large)
    with pytest.raises(ConfigError, match=rf"no scratch file in {tmp_path}: File too large"):
        kind(100, tmp_path)
    assert not list(tmp_path.iterdir())
    assert descriptors() == before


def test_small_results_stay_in_memory(tmp_path: Path) -> None:
    store = Store([KEPT - 1], tmp_path / "nowhere")
    store.write(0, 10, view(b"abc"))
    tensor = store.tensor(0, UINT8, (KEPT - 1,))
    assert isinstance(tensor, PackedTensor)
    assert bytes(tensor.payload()[9:14]) == b"\0abc\0"


def test_large_results_go_to_the_file(tmp_path: Path) -> None:
    store = Store([KEPT], tmp_path)
    store.write(0, 10, view(b"abc"))
    tensor = store.tensor(0, UINT8, (KEPT,))
    assert isinstance(tensor, MappedTensor)
    assert bytes(tensor.payload()[9:14]) == b"\0abc\0"


def test_slots_lie_in_order_as_a_weight_file_has_them(tmp_path: Path) -> None:
    store = Store([KEPT + 1, 3, KEPT + 2, KEPT], tmp_path)
    tensors = [store.tensor(slot, UINT8, (KEPT,)) for slot in (0, 2, 3)]
    offsets = [tensor.offset for tensor in tensors if isinstance(tensor, MappedTensor)]
    assert offsets == [128, 128 + KEPT + 64 + 64, 128 + KEPT + 128 + KEPT + 64 + 64]


@pytest.mark.parametrize("size", [10, 2 * KEPT])
@pytest.mark.parametrize(("position", "data"), [(8, b"abc"), (-1, b"a")])
def test_what_does_not_fit_into_a_slot_is_refused(tmp_path: Path, size: int, position: int, data: bytes) -> None:
    """Or it would be in the next one."""
    store = Store([size, size], tmp_path)
    with pytest.raises(ValueError, match=rf"{len(data)} bytes from byte -?\d+ on do not fit into a slot of {size}"):
        store.write(0, position if position < 0 else size - 10 + position, view(data))


def filled(store: Store, sizes: list[int]) -> list[Tensor]:
    for slot, size in enumerate(sizes):
        store.write(slot, 0, view(bytes([slot + 1]) * size))
    return [store.tensor(slot, UINT8, (size,)) for slot, size in enumerate(sizes)]


@needs_naming
@pytest.mark.parametrize("sizes", [[KEPT], [KEPT + 1, 3, KEPT + 2, KEPT]])
def test_a_weight_file_is_made_of_the_file_of_a_store_that_is_full(sizes: list[int], tmp_path: Path) -> None:
    begun = beginning(filled(Store(sizes, tmp_path), sizes))
    assert begun is not None
    assert begun.is_whole
    assert begun.file.give_name(tmp_path / "weight.bin")


def test_the_file_of_a_shared_store_keeps_its_name(tmp_path: Path) -> None:
    begun = beginning(filled(Store.shared([KEPT], tmp_path), [KEPT]))
    assert begun is not None
    assert not begun.file.give_name(tmp_path / "weight.bin")


def test_the_file_of_a_shared_store_keeps_its_name_in_other_processes_too(tmp_path: Path) -> None:
    store = Store.shared([KEPT], tmp_path)
    filled(store, [KEPT])
    begun = beginning([pickle.loads(pickle.dumps(store.tensor(0, UINT8, (KEPT,))))])
    assert begun is not None
    assert not begun.file.give_name(tmp_path / "weight.bin")


@pytest.mark.parametrize(
    ("number", "what"), [(errno.ENOSPC, "make room$"), (errno.EDQUOT, "make room$"), (errno.EACCES, r"\(--scratch DIR\)$")]
)
def test_room_is_only_wanted_where_there_is_none(number: int, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, "for some reason")

    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(ConfigError, match=what):
        ScratchFile(KEPT, tmp_path)


def test_large_results_of_private_and_of_shared_stores_come_in_one_order(tmp_path: Path) -> None:
    sizes = [KEPT + 2, 5, KEPT, 6, KEPT + 1]
    found = [beginning(filled(store, sizes)) for store in (Store(sizes, tmp_path), Store.shared(sizes, tmp_path))]
    assert [each and [blob.nbytes for blob in each.blobs] for each in found] == [[KEPT + 2, KEPT, KEPT + 1]] * 2


@pytest.mark.parametrize("lasting", [False, True])
def test_only_what_will_be_saved_is_given_to_the_disk_at_once(lasting: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr("mlpasses.scratch.begin_writeback", lambda fd, start, size: given.append((start, size)))
    Store([KEPT], tmp_path, lasting=lasting).write(0, 10, view(b"abc"))
    assert given == ([(138, 3)] if lasting else [])


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_giving_a_file_to_the_disk_changes_nothing_in_it(size: int, tmp_path: Path) -> None:
    file = ScratchFile(size, tmp_path, lasting=True)
    file.write_at(0, view(b"a" * size))
    assert bytes(file.view) == b"a" * size


def test_a_system_that_is_not_asked_for_the_disk_does_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlpasses.writeback._sync_file_range", lambda: None)
    ScratchFile(1 << 20, tmp_path, lasting=True).write_at(0, view(bytes(1 << 20)))


def test_a_file_system_without_nameless_files_has_scratch_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    monkeypatch.setattr(tempfile, "_O_TMPFILE_WORKS", False)
    begun = beginning(filled(Store([KEPT], tmp_path), [KEPT]))
    assert begun is not None
    assert bytes(begun.blobs[0].payload()) == b"\1" * KEPT
    assert not begun.file.give_name(tmp_path / "weight.bin")
    assert not list(tmp_path.iterdir())


def test_an_empty_store_needs_no_folder(tmp_path: Path) -> None:
    Store([], tmp_path / "nowhere")


def test_threads_write_side_by_side(tmp_path: Path) -> None:
    sizes = [KEPT + 100 * index for index in range(20)]
    store = Store(sizes, tmp_path)

    def fill(slot: int) -> None:
        for start in range(0, sizes[slot], 1000):
            store.write(slot, start, view(bytes([slot]) * min(1000, sizes[slot] - start)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fill, range(20)))
    assert all((store.tensor(slot, UINT8, (size,)).numpy() == slot).all() for slot, size in enumerate(sizes))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to ask for private memory")
def test_results_are_not_held_in_private_memory(tmp_path: Path) -> None:
    """In a process of its own: in one that runs many tests, memory comes and goes that is not this one's."""
    ran = subprocess.run([sys.executable, "-c", FILLING, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 8 << 20


FILLING: Final = """
import sys
from ir.types import UINT8
from mlpasses.scratch import Store

def private():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) * 1024

piece = memoryview(bytes(range(1, 129)) * (1 << 13))
before = private()
store = Store([64 << 20], sys.argv[1])
for start in range(0, 64 << 20, 1 << 20):
    store.write(0, start, piece)
assert store.tensor(0, UINT8, (64 << 20,)).numpy().all()
print(private() - before)
"""


def test_a_portion_writes_to_its_own_slots(tmp_path: Path) -> None:
    store = Store([3, KEPT, KEPT, 4], tmp_path)
    part = store.portion(range(2, 4))
    part.write(0, 5, view(b"abc"))
    part.write(1, 1, view(b"de"))
    assert bytes(store.tensor(2, UINT8, (KEPT,)).payload()[4:9]) == b"\0abc\0"
    assert bytes(store.tensor(3, UINT8, (4,)).payload()) == b"\0de\0"


def test_a_portion_pickles_small_however_large_the_store(tmp_path: Path) -> None:
    store = Store.shared([KEPT] * 10_000, tmp_path)
    assert len(pickle.dumps(store.portion(range(5_000, 5_003)))) < 500


def test_what_another_process_writes_to_a_shared_store_is_there(tmp_path: Path) -> None:
    store = Store.shared([3, KEPT], tmp_path)
    copy = pickle.loads(pickle.dumps(store.portion(range(1))))
    copy.write(0, 0, view(b"abc"))
    assert bytes(store.tensor(0, UINT8, (3,)).payload()) == b"abc"
