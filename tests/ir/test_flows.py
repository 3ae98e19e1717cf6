"""Flows: what is read or computed a piece at a time is what it is as a whole, wherever it is cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ir.expansion import shift_scaled
from ir.flows import Buffer, Computed, Room, gathered, of_array, of_packed, of_tensor, ones_of, parts, payload
from ir.packing import pack, pack_tensor
from ir.tensors import Array, ArrayTensor, PackedTensor
from ir.types import FP16, INT4, INT8, UINT1, UINT2, UINT3, UINT4, UINT6, UINT8, DType

TYPES = (UINT1, UINT2, UINT3, UINT4, INT4, UINT6, UINT8, INT8, FP16)


def numbers(dtype: DType, count: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    if dtype.is_float:
        return rng.normal(size=count).astype(dtype.numpy)
    return rng.integers(dtype.minimum, dtype.maximum, count, endpoint=True).astype(dtype.numpy)


def packed(values: Array, dtype: DType) -> PackedTensor:
    return PackedTensor(pack_tensor(values, dtype), dtype, values.shape)


def halves(values: Array, cuts: list[int]) -> Computed:
    """A flow of some values that come in pieces of these sizes, and then the rest."""

    def pieces(room: Room) -> Iterator[Array]:
        start = 0
        for count in [*cuts, values.size]:
            part = values[start : start + count]
            start += count
            out = room(part.size)
            out[:] = part
            yield out

    return Computed(values.shape, values.dtype, pieces, 1)


class TestStored:
    @given(st.sampled_from(TYPES), st.integers(0, 90), st.data())
    def test_a_read_may_begin_and_end_at_any_element(self, dtype: DType, count: int, data: st.DataObject) -> None:
        values = numbers(dtype, count)
        start = data.draw(st.integers(0, count))
        stop = data.draw(st.integers(start, count))
        assert np.array_equal(of_tensor(packed(values, dtype)).read(start, stop - start), values[start:stop])

    @given(st.sampled_from(TYPES), st.lists(st.integers(0, 20)))
    def test_reads_follow_one_another(self, dtype: DType, counts: list[int]) -> None:
        values = numbers(dtype, sum(counts))
        read = of_tensor(packed(values, dtype)).reader()
        found = [read(count).copy() for count in counts]
        assert [part.size for part in found] == counts
        assert np.array_equal(np.concatenate([values[:0], *found]), values)

    @pytest.mark.parametrize("dtype", [INT8, UINT8, FP16], ids=str)
    def test_whole_bytes_are_read_without_a_copy(self, dtype: DType) -> None:
        tensor = packed(numbers(dtype, 24), dtype)
        assert np.shares_memory(of_tensor(tensor).read(3, 9), np.frombuffer(tensor.payload(), np.uint8))

    def test_elements_in_memory_are_not_packed_to_be_read(self) -> None:
        values = numbers(UINT4, 24)
        assert np.shares_memory(of_tensor(ArrayTensor(values, UINT4)).read(3, 9), values)

    @pytest.mark.parametrize(
        ("dtype", "highest"), [(UINT1, 1), (UINT3, 7), (UINT8, 255), (INT4, None), (INT8, None), (FP16, None)], ids=str
    )
    def test_the_type_tells_what_no_element_is_above(self, dtype: DType, highest: int | None) -> None:
        assert of_tensor(packed(numbers(dtype, 8), dtype)).highest == highest

    @given(st.sampled_from([(UINT1, 8), (UINT2, 4), (UINT2, 8), (UINT4, 2), (UINT4, 4), (UINT8, 2)]), st.integers(0, 50))
    def test_codes_of_several_elements_have_the_first_in_the_lowest_bits(self, kind: tuple[DType, int], count: int) -> None:
        (dtype, lanes), values = kind, numbers(kind[0], count)
        joined = of_tensor(packed(values, dtype)).joined(lanes)
        assert joined is not None
        rows = values[: count // lanes * lanes].reshape(-1, lanes).astype(np.int64)
        assert np.array_equal(gathered(joined), (rows << (dtype.bits * np.arange(lanes))).sum(axis=1))

    @pytest.mark.parametrize(("dtype", "lanes"), [(UINT3, 2), (UINT6, 4), (INT4, 2), (INT8, 2), (FP16, 2), (UINT8, 4)], ids=str)
    def test_what_no_byte_or_two_hold_does_not_join(self, dtype: DType, lanes: int) -> None:
        assert of_tensor(packed(numbers(dtype, 24), dtype)).joined(lanes) is None

    def test_an_array_that_is_not_contiguous_is_read_in_its_order(self) -> None:
        values = np.arange(24, dtype=np.uint8).reshape(4, 6).T
        assert gathered(of_array(values)).tolist() == values.tolist()


class TestComputed:
    @given(st.lists(st.integers(1, 20)), st.lists(st.integers(0, 20)))
    def test_reads_may_cross_pieces(self, cuts: list[int], counts: list[int]) -> None:
        values = numbers(INT8, sum(cuts) + sum(counts))
        read = halves(values, cuts).reader()
        found = [read(count).copy() for count in counts]
        assert np.array_equal(np.concatenate([values[:0], *found]), values[: sum(counts)])

    def test_a_read_inside_a_piece_is_not_a_copy(self) -> None:
        read = halves(numbers(INT8, 20), [12]).reader()
        assert np.shares_memory(read(4), read(4).base)

    @given(st.lists(st.integers(1, 20)), st.integers(1, 9))
    def test_parts_have_one_size_but_for_the_last(self, cuts: list[int], slab: int) -> None:
        values = numbers(INT8, sum(cuts) + 5)
        found = [part.copy() for part in parts(halves(values, cuts), slab)]
        assert {part.size for part in found[:-1]} <= {slab}
        assert np.array_equal(np.concatenate(found), values)

    def test_it_is_computed_anew_for_each_reader(self) -> None:
        flow = halves(numbers(INT8, 20), [7])
        first, second = flow.reader(), flow.reader()
        first(13)
        assert np.array_equal(second(13), numbers(INT8, 20)[:13])

    def test_a_whole_is_computed_into_its_place(self) -> None:
        places = []

        def pieces(room: Room) -> Iterator[Array]:
            for _ in range(2):
                places.append(room(4))
                places[-1][:] = 1
                yield places[-1]

        whole = gathered(Computed((2, 4), np.dtype(np.int8), pieces, 1))
        assert whole.tolist() == [[1] * 4] * 2
        assert all(np.shares_memory(place, whole) for place in places)

    def test_pieces_take_one_place_in_memory(self) -> None:
        flow = shift_scaled(of_array(numbers(INT8, 64)), np.ones(1, np.float16), slab=8)
        pieces = list(flow.pieces(Buffer(flow.dtype)))
        assert len(pieces) == 8
        assert all(np.shares_memory(pieces[0], piece) for piece in pieces)

    def test_stages_are_those_of_what_it_is_computed_from_and_one(self) -> None:
        flow = shift_scaled(shift_scaled(of_array(numbers(INT8, 8)), np.ones(1, np.float16)), np.ones(1, np.float16))
        assert flow.stages == 2


class TestOnes:
    @given(st.integers(0, 90), st.integers(0, 2**32))
    def test_bits_behind_the_last_element_do_not_count(self, count: int, seed: int) -> None:
        values = numbers(UINT1, count, seed)
        held = np.concatenate([pack(values, 1), np.zeros(1, np.uint8)])
        held[count // 8] |= 0xFF << (count % 8) & 0xFF
        assert ones_of(of_packed(held[: (count + 7) // 8], 1, (count,)), 8) == np.count_nonzero(values)

    def test_they_are_counted_once(self) -> None:
        runs = []

        def pieces(room: Room) -> Iterator[Array]:
            runs.append(1)
            yield room(4)

        flow = Computed((4,), np.dtype(np.uint8), pieces, 1)
        assert ones_of(flow) == ones_of(flow)
        assert len(runs) == 1


class TestPayload:
    @given(st.sampled_from(TYPES), st.lists(st.integers(1, 20)), st.sampled_from([8, 16, 64]))
    def test_it_is_packed_as_a_whole_would_be(self, dtype: DType, cuts: list[int], slab: int) -> None:
        values = numbers(dtype, sum(cuts) + 3)
        found = b"".join(bytes(piece) for piece in payload(halves(values, cuts), dtype, slab))
        assert found == pack_tensor(values, dtype).tobytes()

    @given(st.sampled_from(TYPES), st.integers(0, 90))
    def test_so_is_that_of_an_array(self, dtype: DType, count: int) -> None:
        values = numbers(dtype, count)
        assert b"".join(bytes(piece) for piece in payload(of_array(values), dtype, 8)) == pack_tensor(values, dtype).tobytes()

    def test_packed_bytes_are_themselves_with_what_is_behind_the_last_element(self) -> None:
        stored: Any = PackedTensor(b"\xff", UINT1, (3,))
        assert [bytes(piece) for piece in payload(of_tensor(stored), UINT1)] == [b"\xff"]
