"""Packing codes as they come."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ir import packing
from mlpasses.numerics import bitstream, bitstream_kernels
from mlpasses.numerics.bitstream import Pack, Packer

Array = npt.NDArray[Any]

BITS = (1, 2, 3, 4, 6, 8)
ENGINES: dict[str, Pack] = {"numpy": bitstream.pack, "numba": bitstream_kernels.pack}

engines = pytest.mark.parametrize("pack", ENGINES.values(), ids=ENGINES)
every_bits = pytest.mark.parametrize("bits", BITS)


@pytest.fixture(scope="module", autouse=True)
def _compiled_kernels() -> None:
    """Compiles before the first example: it takes longer than Hypothesis allows one to."""
    for bits in BITS:
        packed([np.zeros(8, np.uint8)], bits, bitstream_kernels.pack)


def packed(chunks: list[Array], bits: int, pack: Pack) -> bytes:
    """What comes out, checked to be contiguous and in order."""
    out = bytearray()

    def emit(position: int, data: Array) -> None:
        assert position == len(out)
        assert data.size > 0
        out.extend(data.tobytes())

    packer = Packer(bits, pack, emit)
    position = 0
    for chunk in chunks:
        packer(position, chunk)
        position += chunk.size
    packer.finish()
    return bytes(out)


@engines
@every_bits
@given(data=st.data())
def test_chunks_of_any_length_come_out_as_the_whole(pack: Pack, bits: int, data: st.DataObject) -> None:
    codes = data.draw(arrays.arrays(np.uint8, st.integers(1, 100)))
    cuts = sorted(data.draw(st.lists(st.integers(1, codes.size), max_size=6, unique=True)))
    chunks = [chunk for chunk in np.split(codes, cuts) if chunk.size]
    assert packed(chunks, bits, pack) == packing.pack(codes, bits).tobytes()


@engines
@every_bits
def test_a_long_chunk_comes_out_as_the_whole(pack: Pack, bits: int) -> None:
    codes = np.random.default_rng(0).integers(0, 256, (1 << 20) + 5).astype(np.uint8)
    assert packed([codes], bits, pack) == packing.pack(codes, bits).tobytes()


@engines
@every_bits
def test_chunks_may_begin_at_any_byte_in_memory(pack: Pack, bits: int) -> None:
    codes = np.random.default_rng(0).integers(0, 256, 104).astype(np.uint8)
    for start in range(8):
        part = codes[start : start + 96]
        assert packed([part], bits, pack) == packing.pack(part, bits).tobytes()


@engines
def test_negative_codes_are_packed_in_twos_complement(pack: Pack) -> None:
    codes = np.array([-8, 7, -1, 0, 3, -3, 1, -2], np.int8)
    assert packing.unpack(np.frombuffer(packed([codes], 4, pack), np.uint8), 4, 8, signed=True).tolist() == codes.tolist()


@engines
@every_bits
def test_unused_bits_of_the_last_byte_are_zero(pack: Pack, bits: int) -> None:
    ones = np.full(9, 255, np.uint8)
    assert int.from_bytes(packed([ones], bits, pack), "little") == (1 << 9 * bits) - 1


def test_codes_of_eight_bits_are_handed_on_without_a_copy() -> None:
    codes = np.arange(20, dtype=np.int8)
    seen: list[Array] = []
    packer = Packer(8, bitstream.pack, lambda position, data: seen.append(data))
    packer(0, codes)
    packer.finish()
    assert len(seen) == 1
    assert np.shares_memory(seen[0], codes)


def test_fewer_than_eight_codes_wait() -> None:
    seen: list[int] = []
    packer = Packer(1, bitstream.pack, lambda position, data: seen.append(position))
    packer(0, np.zeros(7, np.uint8))
    assert seen == []
    packer(7, np.zeros(1, np.uint8))
    assert seen == [0]


def test_nothing_comes_out_of_nothing() -> None:
    assert packed([], 4, bitstream.pack) == b""


def test_codes_out_of_order_are_refused() -> None:
    packer = Packer(4, bitstream.pack, lambda position, data: None)
    packer(0, np.zeros(16, np.uint8))
    with pytest.raises(ValueError, match="16 is next, and 32 came"):
        packer(32, np.zeros(16, np.uint8))
