"""Weight files: what is written is read back, by us and by coremltools; what is damaged is refused in a sentence."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ir.diagnostics import PackageError
from ir.mil.blob_writer import BlobWriter
from ir.mil.blobs import BlobFile, Record, records
from ir.mil.files import copy_file, copy_range
from ir.packing import packed_size
from ir.tensors import ArrayTensor, MappedFile, MappedTensor, PackedTensor, Tensor, same_tensor
from ir.types import DTYPE_BY_BLOB, DTYPES, FP16, FP32, INT4, INT8, INT64, UINT3, UINT4, UINT8, DType

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
WEIGHTS = sorted(CORPUS.rglob("weight.bin")) if CORPUS.exists() else []
BLOB_DTYPES = sorted(DTYPE_BY_BLOB.values(), key=lambda dtype: dtype.name)
BINDINGS = {
    "fp16": "fp16", "fp32": "float", "int8": "int8", "uint8": "uint8", "int16": "int16", "uint16": "uint16", "int32": "int32",
    "uint32": "uint32", "int4": "int4", "uint1": "uint1", "uint2": "uint2", "uint3": "uint3", "uint4": "uint4", "uint6": "uint6",
}  # fmt: skip
"""What `libmilstoragepython` calls each data type that it binds."""

shapes = st.lists(st.integers(0, 7), max_size=3).map(tuple)


def random_tensor(dtype: DType, shape: tuple[int, ...], seed: int) -> PackedTensor:
    count = int(np.prod(shape, dtype=np.int64))
    payload = np.random.default_rng(seed).integers(0, 256, packed_size(count, dtype.bits), np.uint8)
    unused = payload.size * 8 - count * dtype.bits
    if unused:
        payload[-1] &= 0xFF >> unused
    return PackedTensor(payload, dtype, shape)


tensors = st.builds(random_tensor, st.sampled_from(BLOB_DTYPES), shapes, st.integers(0, 5))


def write(path: Path, *given_tensors: Tensor) -> list[int]:
    with BlobWriter(path) as writer:
        return [writer.append(tensor) for tensor in given_tensors]


def numbers(count: int, start: int = 0) -> ArrayTensor:
    return ArrayTensor(np.arange(start, start + count, dtype=np.float32))


def spiked(at: int) -> ArrayTensor:
    """Zeros but for a one where (between 4,096 and 40,000) no fingerprint looks."""
    values = np.zeros(100_000, np.uint8)
    values[at] = 1
    return ArrayTensor(values)


@pytest.fixture
def weight_file(tmp_path: Path) -> Callable[..., BlobFile]:
    """Builds a file of one fp32[16] blob at byte 64, with bytes overwritten as asked: `weight_file({64: b"…"}, cut=…)`."""

    def build(patches: dict[int, bytes] | None = None, cut: int | None = None) -> BlobFile:
        path = tmp_path / "damaged.bin"
        write(path, numbers(16))
        data = bytearray(path.read_bytes())
        for at, patch in (patches or {}).items():
            data[at : at + len(patch)] = patch
        path.write_bytes(data[:cut])
        return BlobFile(path, "@model_path/weights/weight.bin")

    return build


# Round trips


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=st.lists(tensors, max_size=8))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, written: list[PackedTensor]) -> None:
    path = tmp_path_factory.mktemp("blobs") / "weight.bin"
    offsets = write(path, *written)
    file = BlobFile(path)
    for offset, tensor in zip(offsets, written, strict=True):
        assert same_tensor(file.tensor(offset, tensor.dtype, tensor.shape), tensor)


@settings(max_examples=60, deadline=None)
@given(written=st.lists(tensors, max_size=8))
def test_records_walks_every_blob_once_in_order(tmp_path_factory: pytest.TempPathFactory, written: list[PackedTensor]) -> None:
    path = tmp_path_factory.mktemp("blobs") / "weight.bin"
    offsets = write(path, *written)
    file = BlobFile(path)
    walked = list(records(file))
    assert [record.offset for record in walked] == sorted(set(offsets))
    assert len(walked) == file.count


@settings(max_examples=40, deadline=None)
@given(first=st.lists(tensors, max_size=6), more=st.lists(tensors, max_size=3))
def test_blobs_of_a_file_can_be_written_to_another(
    tmp_path_factory: pytest.TempPathFactory, first: list[PackedTensor], more: list[PackedTensor]
) -> None:
    folder = tmp_path_factory.mktemp("blobs")
    offsets = write(folder / "a.bin", *first)
    file = BlobFile(folder / "a.bin")
    blobs = [file.tensor(offset, tensor.dtype, tensor.shape) for offset, tensor in zip(offsets, first, strict=True)]
    again = write(folder / "b.bin", *blobs, *more)
    result = BlobFile(folder / "b.bin")
    for offset, tensor in zip(again, [*first, *more], strict=True):
        assert same_tensor(result.tensor(offset, tensor.dtype, tensor.shape), tensor)


@pytest.mark.parametrize("dtype", BLOB_DTYPES, ids=str)
def test_elements_survive_in_every_data_type(tmp_path: Path, dtype: DType) -> None:
    if dtype.is_integer:
        values = np.arange(dtype.minimum, min(dtype.maximum, dtype.minimum + 300) + 1).astype(dtype.numpy)
    else:
        values = np.array([0, -1, 1.5, 3], dtype.numpy)
    (offset,) = write(tmp_path / "w.bin", ArrayTensor(values, dtype))
    read = BlobFile(tmp_path / "w.bin").tensor(offset, dtype, values.shape).numpy()
    np.testing.assert_array_equal(read, values)
    assert read.dtype == values.dtype


# Layout


def test_layout_is_header_then_aligned_records_then_data(tmp_path: Path) -> None:
    assert write(tmp_path / "w.bin", numbers(1), numbers(3)) == [64, 192]
    data = (tmp_path / "w.bin").read_bytes()
    assert data[:64] == struct.pack("<II56x", 2, 2)
    assert data[64:128] == struct.pack("<IIQQQ32x", 0xDEADBEEF, 2, 4, 128, 0)
    assert data[192:256] == struct.pack("<IIQQQ32x", 0xDEADBEEF, 2, 12, 256, 0)


def test_nothing_follows_the_last_blob(tmp_path: Path) -> None:
    write(tmp_path / "w.bin", numbers(3))
    assert (tmp_path / "w.bin").stat().st_size == 128 + 12


def test_record_states_the_unused_bits_of_a_subbyte_blob(tmp_path: Path) -> None:
    (offset,) = write(tmp_path / "w.bin", ArrayTensor(np.ones(3, np.uint8), UINT3))
    assert BlobFile(tmp_path / "w.bin").record(offset) == Record(64, UINT3, 128, 2, 7)


def test_file_without_blobs_has_a_header_and_no_records(tmp_path: Path) -> None:
    write(tmp_path / "w.bin")
    file = BlobFile(tmp_path / "w.bin")
    assert (file.size, file.count, list(records(file))) == (64, 0, [])


def test_existing_file_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"kept")
    with pytest.raises(FileExistsError):
        BlobWriter(tmp_path / "w.bin")
    assert (tmp_path / "w.bin").read_bytes() == b"kept"


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d.blob is None], ids=str)
def test_type_that_no_weight_file_holds_is_refused(tmp_path: Path, dtype: DType) -> None:
    with BlobWriter(tmp_path / "w.bin") as writer, pytest.raises(PackageError, match=rf"cannot hold {dtype}\[1\]"):
        writer.append(ArrayTensor(np.zeros(1, dtype.numpy), dtype))


def test_offsets_beyond_four_gigabytes_are_read(tmp_path: Path) -> None:
    path, far = tmp_path / "w.bin", 5 << 30
    with path.open("wb") as out:
        out.write(struct.pack("<II56x", 1, 2))
        out.seek(far)
        out.write(struct.pack("<IIQQQ32x", 0xDEADBEEF, 2, 4, far + 64, 0) + struct.pack("<f", 7.0))
    assert BlobFile(path).tensor(far, FP32, ()).numpy() == 7.0


# Sharing


def test_same_question_has_the_same_tensor_as_its_answer(tmp_path: Path) -> None:
    (offset,) = write(tmp_path / "w.bin", numbers(12))
    file = BlobFile(tmp_path / "w.bin")
    assert file.tensor(offset, FP32, (3, 4)) is file.tensor(offset, FP32, (3, 4))


def test_other_shape_of_a_blob_is_another_tensor_of_the_same_record(tmp_path: Path) -> None:
    (offset,) = write(tmp_path / "w.bin", numbers(12))
    file = BlobFile(tmp_path / "w.bin")
    flat, square = file.tensor(offset, FP32, (12,)), file.tensor(offset, FP32, (3, 4))
    assert flat is not square
    assert flat.record == square.record == offset


def test_equal_new_blobs_are_written_once_whatever_their_shape(tmp_path: Path) -> None:
    a, b, c = write(tmp_path / "w.bin", numbers(12), numbers(12, 1), ArrayTensor(numbers(12).numpy().reshape(3, 4)))
    assert a == c != b
    assert BlobFile(tmp_path / "w.bin").count == 2


def test_equal_bytes_of_two_types_are_two_blobs(tmp_path: Path) -> None:
    zeros = np.zeros(8, np.uint8)
    a, b = write(tmp_path / "w.bin", PackedTensor(zeros, UINT8, (8,)), PackedTensor(zeros, INT8, (8,)))
    assert a != b


def test_new_blobs_that_differ_where_no_fingerprint_looks_stay_apart(tmp_path: Path) -> None:
    a, b, c, *again = write(tmp_path / "w.bin", *map(spiked, [20_000, 21_000, 22_000, 21_000, 20_000, 22_000]))
    assert len({a, b, c}) == 3
    assert again == [b, a, c]


def test_new_blobs_with_one_digest_stay_apart_where_they_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "blake2b", lambda payload: hashlib.sha256(b"always this"))
    assert len(set(write(tmp_path / "w.bin", *map(spiked, [20_000, 21_000, 22_000])))) == 3


def test_untouched_blob_is_written_once(tmp_path: Path) -> None:
    (offset,) = write(tmp_path / "a.bin", numbers(12))
    file = BlobFile(tmp_path / "a.bin")
    flat, square = file.tensor(offset, FP32, (12,)), file.tensor(offset, FP32, (3, 4))
    a, b = write(tmp_path / "b.bin", flat, square)
    assert a == b


def test_untouched_blobs_are_not_merged_even_where_equal(tmp_path: Path) -> None:
    record = struct.pack("<IIQQQ32x", 0xDEADBEEF, 2, 64, 128, 0) + bytes(64)
    second = struct.pack("<IIQQQ32x", 0xDEADBEEF, 2, 64, 256, 0) + bytes(64)
    (tmp_path / "a.bin").write_bytes(struct.pack("<II56x", 2, 2) + record + second)
    file = BlobFile(tmp_path / "a.bin")
    write(tmp_path / "b.bin", file.tensor(64, FP32, (16,)), file.tensor(192, FP32, (16,)))
    assert (tmp_path / "b.bin").read_bytes() == (tmp_path / "a.bin").read_bytes()


def test_bytes_of_a_blob_can_be_given_another_type(tmp_path: Path) -> None:
    packed = np.array([0x21, 0x43, 0x05], np.uint8)
    (offset,) = write(tmp_path / "a.bin", ArrayTensor(packed))
    blob = BlobFile(tmp_path / "a.bin").tensor(offset, UINT8, (3,))
    (again,) = write(tmp_path / "b.bin", MappedTensor(blob.file, blob.offset, UINT4, (5,)))
    read = BlobFile(tmp_path / "b.bin").tensor(again, UINT4, (5,))
    assert read.numpy().tolist() == [1, 2, 3, 4, 5]


def test_blob_tensor_pickles_as_its_place(tmp_path: Path) -> None:
    (offset,) = write(tmp_path / "w.bin", numbers(12))
    file = BlobFile(tmp_path / "w.bin", "named")
    one, other = pickle.loads(pickle.dumps([file.tensor(offset, FP32, (12,)), file.tensor(offset, FP32, (3, 4))]))
    assert one.numpy().tolist() == list(range(12))
    assert one.file is other.file
    assert one.file.name == "named"


# Garbage of old files


def test_uninitialized_reserved_bytes_are_not_read(weight_file: Callable[..., BlobFile]) -> None:
    file = weight_file({64 + 24: b"\xff" * 40})
    assert file.tensor(64, FP32, (16,)).numpy()[15] == 15


def test_rewritten_record_is_clean(tmp_path: Path, weight_file: Callable[..., BlobFile]) -> None:
    file = weight_file({64 + 24: b"\xff" * 40})
    write(tmp_path / "clean.bin", file.tensor(64, FP32, (16,)))
    assert (tmp_path / "clean.bin").read_bytes()[64 + 24 : 128] == bytes(40)


def test_whole_copy_keeps_every_byte(tmp_path: Path, weight_file: Callable[..., BlobFile]) -> None:
    file = weight_file({64 + 24: b"\xff" * 40})
    assert copy_file(file, tmp_path / "copy.bin") == file.size
    assert (tmp_path / "copy.bin").read_bytes() == file.path.read_bytes()


def test_data_may_lie_anywhere_behind_the_header(weight_file: Callable[..., BlobFile]) -> None:
    file = weight_file({64 + 8: struct.pack("<QQ", 32, 64)})
    assert file.tensor(64, FP32, (8,)).offset == 64


# Damage


@pytest.mark.parametrize(
    ("patches", "cut", "message"),
    [
        ({0: b"version https://git-lfs.github.com/spec/v1\noid sha256:"}, None, r"Git LFS pointer.*run `git lfs pull`"),
        ({4: struct.pack("<I", 1)}, None, "format version 1 where 2 was expected"),
        ({}, 0, "has 0 bytes, less than its header's 64"),
        ({}, 63, "has 63 bytes, less than its header's 64"),
        ({}, 100, "record was expected at byte 64, but the file has 100 bytes"),
        ({}, 190, "puts 64 bytes of data at byte 128, but the file has 190"),
        ({64: struct.pack("<I", 7)}, None, "no blob's record is at byte 64: 0x00000007 was found where 0xDEADBEEF"),
        ({68: struct.pack("<I", 1)}, None, "record at byte 64 holds fp16 where fp32 was expected"),
        ({68: struct.pack("<I", 99)}, None, "holds unknown data type 99 where fp32 was expected"),
        ({72: struct.pack("<Q", 60)}, None, r"has 60 bytes of data where fp32\[16\] takes 64"),
        ({72: struct.pack("<Q", 2**64 - 1)}, None, r"puts 18446744073709551615 bytes of data at byte 128"),
        ({80: struct.pack("<Q", 2**64 - 64)}, None, r"puts 64 bytes of data at byte 18446744073709551552"),
        ({80: struct.pack("<Q", 132)}, None, "puts its data at byte 132: data lie at multiples of 64"),
        ({80: struct.pack("<Q", 0)}, None, "puts its data at byte 0: data lie at multiples of 64 behind the header"),
    ],
)
def test_damaged_file_is_refused_in_a_sentence(
    weight_file: Callable[..., BlobFile], patches: dict[int, bytes], cut: int | None, message: str
) -> None:
    file = weight_file(patches, cut)
    with pytest.raises(PackageError, match=rf"weight file @model_path/weights/weight\.bin.*{message}"):
        file.tensor(64, FP32, (16,))


@pytest.mark.parametrize("offset", [-64, 0, 1, 63, 65, 96])
def test_offset_that_is_no_place_for_a_record_is_refused(weight_file: Callable[..., BlobFile], offset: int) -> None:
    with pytest.raises(PackageError, match=rf"byte {offset} cannot be a blob's record"):
        weight_file().tensor(offset, FP32, (16,))


@pytest.mark.parametrize("offset", [192, 256, 1 << 40, (1 << 64) - 64])
def test_offset_beyond_the_file_is_refused(weight_file: Callable[..., BlobFile], offset: int) -> None:
    with pytest.raises(PackageError, match=rf"record was expected at byte {offset}, but the file has 192 bytes"):
        weight_file().tensor(offset, FP32, (16,))


def test_type_that_no_weight_file_holds_cannot_be_asked_for(weight_file: Callable[..., BlobFile]) -> None:
    with pytest.raises(PackageError, match="referred to as int64, and a weight file holds none"):
        weight_file().tensor(64, INT64, (8,))


@pytest.mark.parametrize("padding", [0, 8, 2**63])
def test_wrong_count_of_unused_bits_is_refused(tmp_path: Path, padding: int) -> None:
    write(tmp_path / "w.bin", ArrayTensor(np.ones(3, np.int8), INT4))
    data = bytearray((tmp_path / "w.bin").read_bytes())
    data[64 + 24 : 64 + 32] = struct.pack("<Q", padding)
    (tmp_path / "w.bin").write_bytes(data)
    with pytest.raises(PackageError, match=rf"states {padding} unused bits where int4\[3\] leaves 4"):
        BlobFile(tmp_path / "w.bin").tensor(64, INT4, (3,))


def test_absurd_dimensions_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "w.bin", ArrayTensor(np.zeros(0, np.float16)))
    file = BlobFile(tmp_path / "w.bin")
    assert file.tensor(64, FP16, (0, 5)).numpy().shape == (0, 5)
    with pytest.raises(PackageError, match="dimensions are absurd"):
        file.tensor(64, FP16, (0, 2**62, 2**62))
    with pytest.raises(PackageError, match="rank 1000000"):
        file.tensor(64, FP16, (2**62,) * 1_000_000)


def test_walk_ends_in_an_error_where_a_record_should_be(tmp_path: Path) -> None:
    write(tmp_path / "w.bin", numbers(16), numbers(16, 1))
    data = bytearray((tmp_path / "w.bin").read_bytes())
    data[192] ^= 1
    (tmp_path / "w.bin").write_bytes(data)
    walk = records(BlobFile(tmp_path / "w.bin"))
    assert next(walk).offset == 64
    with pytest.raises(PackageError, match="no blob's record is at byte 192"):
        next(walk)


def test_walk_does_not_go_in_circles(weight_file: Callable[..., BlobFile]) -> None:
    with pytest.raises(PackageError, match="puts its data before itself"):
        list(records(weight_file({64 + 8: struct.pack("<QQ", 0, 64)})))


def test_walk_refuses_a_data_type_that_does_not_exist(weight_file: Callable[..., BlobFile]) -> None:
    with pytest.raises(PackageError, match="has data type 99, which the format does not define"):
        list(records(weight_file({68: struct.pack("<I", 99)})))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, kind in (("pipe", "a pipe"), (".", "a folder"), ("absent", "No such file")):
        with pytest.raises(PackageError, match=kind):
            BlobFile(tmp_path / name)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_mutation_gets_past_the_file(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "w.bin"
    offsets = write(path, numbers(5), ArrayTensor(np.ones(5, np.uint8), UINT3))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    file = BlobFile(path)
    asked = data.draw(st.sampled_from([*offsets, 128, 320]))
    try:
        tensor = file.tensor(asked, *data.draw(st.sampled_from([(FP32, (5,)), (UINT3, (5,)), (FP16, (2, 5))])))
    except PackageError:
        return
    assert len(tensor.payload()) == tensor.nbytes
    assert tensor.numpy().shape == tensor.shape


# Copies


@pytest.fixture(params=["kernel", "short", "none", "midway"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Ways in which `copy_file_range` behaves: as it should, in short steps, not at all, or until it gives up."""
    real = os.copy_file_range
    calls = 0

    def pretend(source: int, sink: int, count: int, start: int, at: int) -> int:
        nonlocal calls
        calls += 1
        if request.param == "none" or (request.param == "midway" and calls == 3):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(source, sink, min(count, 1000), start, at)

    if request.param != "kernel":
        monkeypatch.setattr(os, "copy_file_range", pretend)
    return str(request.param)


def test_copied_range_is_equal_however_the_kernel_behaves(tmp_path: Path, kernel: str) -> None:
    content = np.random.default_rng(0).bytes(2_500_000)
    (tmp_path / "a").write_bytes(content)
    source = MappedFile(tmp_path / "a")
    with (tmp_path / "b").open("wb") as sink:
        sink.write(b"head")
        sink.flush()
        copy_range(source.fileno(), 7, sink.fileno(), 4, len(content) - 7)
    assert (tmp_path / "b").read_bytes() == b"head" + content[7:]


def test_large_mapped_payload_is_equal_however_the_kernel_behaves(tmp_path: Path, kernel: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, 1_500_000, np.uint8)
    first, second = write(tmp_path / "a.bin", ArrayTensor(values), numbers(3))
    file = BlobFile(tmp_path / "a.bin")
    write(tmp_path / "b.bin", file.tensor(first, UINT8, values.shape), file.tensor(second, FP32, (3,)))
    assert (tmp_path / "b.bin").read_bytes() == (tmp_path / "a.bin").read_bytes()


def test_source_that_shrinks_while_it_is_copied_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(100))
    source = MappedFile(tmp_path / "a")
    sink = (tmp_path / "b").open("wb")
    with sink, pytest.raises(PackageError, match="became shorter while it was copied"):
        copy_range(source.fileno(), 50, sink.fileno(), 0, 51)


def test_full_disk_is_not_taken_for_a_kernel_without_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a").write_bytes(bytes(100))
    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(OSError, match="No space left"):
        copy_file(tmp_path / "a", tmp_path / "b")


def test_copy_of_a_readonly_file_is_writable(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "a").chmod(0o444)
    copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").stat().st_mode & 0o200


def test_mapped_file_is_copied_as_it_was_mapped(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    mapped = MappedFile(tmp_path / "a")
    (tmp_path / "a").unlink()
    (tmp_path / "a").write_bytes(b"new")
    copy_file(mapped, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"old"


# coremltools as oracle


@pytest.mark.parametrize("name", BINDINGS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(counts=st.lists(st.integers(1, 300), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_coremltools_reads_what_we_write(
    tmp_path_factory: pytest.TempPathFactory, name: str, counts: list[int], seed: int
) -> None:
    from coremltools.libmilstoragepython import _BlobStorageReader

    dtype = next(d for d in DTYPES if d.name == name)
    written = [random_tensor(dtype, (count,), seed + i) for i, count in enumerate(counts)]
    path = tmp_path_factory.mktemp("oracle") / "w.bin"
    offsets = write(path, *written)
    reader = _BlobStorageReader(str(path))
    for offset, tensor in zip(offsets, written, strict=True):
        theirs = getattr(reader, f"read_{BINDINGS[name]}_data")(offset)
        np.testing.assert_array_equal(theirs.view(dtype.numpy), tensor.numpy())


@pytest.mark.parametrize("name", BINDINGS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(counts=st.lists(st.integers(1, 300), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_we_read_and_write_what_coremltools_writes(
    tmp_path_factory: pytest.TempPathFactory, name: str, counts: list[int], seed: int
) -> None:
    from coremltools.libmilstoragepython import _BlobStorageWriter

    dtype = next(d for d in DTYPES if d.name == name)
    folder = tmp_path_factory.mktemp("oracle")
    theirs = _BlobStorageWriter(str(folder / "theirs.bin"))
    arrays = [random_tensor(dtype, (count,), seed + i).numpy() for i, count in enumerate(counts)]
    as_bound = np.uint16 if name == "fp16" else dtype.numpy
    offsets = [getattr(theirs, f"write_{BINDINGS[name]}_data")(array.view(as_bound)) for array in arrays]
    del theirs
    file = BlobFile(folder / "theirs.bin")
    blobs = [file.tensor(offset, dtype, array.shape) for offset, array in zip(offsets, arrays, strict=True)]
    for blob, array in zip(blobs, arrays, strict=True):
        np.testing.assert_array_equal(blob.numpy(), array)
    write(folder / "ours.bin", *blobs)
    assert (folder / "ours.bin").read_bytes() == (folder / "theirs.bin").read_bytes()


# Corpus


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.parents[3].stem)
def test_every_blob_of_a_real_file_is_walked(path: Path) -> None:
    file = BlobFile(path)
    walked = list(records(file))
    assert len(walked) == file.count
    assert walked[-1].data + walked[-1].nbytes == file.size


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.parents[3].stem)
def test_rewritten_real_file_differs_in_reserved_bytes_only(tmp_path: Path, path: Path) -> None:
    file = BlobFile(path)
    walked = list(records(file))
    blobs = [file.tensor(r.offset, r.dtype, (r.nbytes * 8 // r.dtype.bits,)) for r in walked]
    assert write(tmp_path / "w.bin", *blobs) == [record.offset for record in walked]
    original = bytearray(path.read_bytes())
    for record in walked:
        original[record.offset + 24 : record.offset + 64] = bytes(40)
    assert (tmp_path / "w.bin").read_bytes() == original
