"""Chains of constexpr ops, piece by piece: wherever slabs cut, their values are those of the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ir import expansion
from ir.const import Const
from ir.constexprs import evaluate, expanded_steps, steps
from ir.core import Op, Value
from ir.diagnostics import EvaluationError
from ir.flows import gathered, of_array, of_packed
from ir.packing import pack, pack_tensor
from ir.tensors import Array, PackedTensor
from ir.types import FP16, FP32, INT4, INT8, UINT1, UINT2, UINT3, UINT4, UINT6, UINT8, DType, TensorType
from tests import whole
from tests.ir.constexpr_ops import op_of, same_bits, shapes

Dims = tuple[tuple[int, ...], tuple[int, ...]]


class Drawn:
    """Ops over drawn numbers. Operands are packed, as in a weight file."""

    def __init__(self, data: st.DataObject, dims: Dims) -> None:
        self.draw = data.draw
        self.shape, self.blocks = dims
        self.rng = np.random.default_rng(self.draw(st.integers(0, 2**32)))
        self.mask = self.rng.integers(0, 2, self.shape, np.uint8)
        self.count = int(np.count_nonzero(self.mask))

    def tensor(self, dtype: DType, shape: tuple[int, ...]) -> Const:
        values = self.rng.integers(dtype.minimum, dtype.maximum, shape, endpoint=True).astype(dtype.numpy)
        return Const.of(PackedTensor(pack_tensor(values, dtype), dtype, shape))

    def floats(self, *shape: int) -> Array:
        return self.rng.normal(size=shape).astype(np.float16)

    def scale(self) -> dict[str, Any]:
        offset = {"offset": self.floats(*self.blocks)} if self.draw(st.booleans()) else {}
        return {"scale": self.floats(*self.blocks), **offset}

    def table(self, vector: int) -> tuple[DType, tuple[int, ...], dict[str, Any]]:
        """The type of indices; the shape that vectors make of this one; the operands."""
        dtype, axis = self.draw(st.sampled_from([UINT1, UINT2, UINT3, UINT4, UINT6, UINT8])), self.draw(st.integers(0, len(self.shape) - 1))
        lut = self.rng.integers(-128, 128, (*self.blocks, 1 << dtype.bits, vector)).astype(np.int8)
        shape = tuple(dim * vector if i == axis else dim for i, dim in enumerate(self.shape))
        return dtype, shape, {"lut": lut, "vector_axis": Const.of(axis)}

    def shifted(self) -> Op:
        data = self.tensor(self.draw(st.sampled_from([INT4, UINT4, INT8, UINT8])), self.shape)
        return op_of("constexpr_blockwise_shift_scale", (FP16, self.shape), data=data, **self.scale())

    def looked_up(self, vector: int) -> Op:
        dtype, shape, table = self.table(vector)
        return op_of("constexpr_lut_to_dense", (INT8, shape), indices=self.tensor(dtype, self.shape), **table)

    def looked_up_then_scaled(self) -> Op:
        codes = self.looked_up(1).output
        return op_of("constexpr_blockwise_shift_scale", (FP16, self.shape), data=codes, **self.scale())

    def kept(self, dtype: DType) -> tuple[Const, Const]:
        return Const.of(PackedTensor(pack(self.mask, 1), UINT1, self.shape)), self.tensor(dtype, (self.count,))

    def sparse(self) -> Op:
        dtype = self.draw(st.sampled_from([INT4, UINT4, INT8]))
        mask, nonzero = self.kept(dtype)
        return op_of("constexpr_sparse_to_dense", (dtype, self.shape), nonzero_data=nonzero, mask=mask)

    def sparse_shifted(self, mask: Value | Const, nonzero: Value | Const) -> Op:
        return op_of(
            "constexpr_sparse_blockwise_shift_scale", (UINT1, self.shape), (FP16, (self.count,)),
            data_mask=mask, nonzero_data=nonzero, **self.scale(),
        )  # fmt: skip

    def sparse_looked_up(self, vector: int) -> Op:
        dtype, shape, table = self.table(vector)
        mask, indices = self.kept(dtype)
        return op_of(
            "constexpr_lut_to_sparse", (UINT1, shape), (INT8, (self.count * vector,)),
            indices_mask=mask, indices_nonzero_data=indices, **table,
        )  # fmt: skip

    def joint(self) -> Op:
        scaled = self.sparse_shifted(*self.sparse_looked_up(1).outputs)
        dense = op_of("constexpr_sparse_to_dense", (FP16, self.shape), nonzero_data=scaled.outputs[1], mask=scaled.outputs[0])
        return op_of("constexpr_cast", (FP32, self.shape), source_val=dense.output, output_dtype=Const.of("fp32"))

    def joint_vectors(self) -> Op:
        codes = self.sparse_looked_up(3)
        kind = codes.outputs[0].type
        assert isinstance(kind, TensorType)
        return op_of("constexpr_sparse_to_dense", (INT8, kind.static_shape), nonzero_data=codes.outputs[1], mask=codes.outputs[0])


CHAINS: Final[dict[str, Callable[[Drawn], Op]]] = {
    "scaled": Drawn.shifted,
    "looked up": lambda drawn: drawn.looked_up(1),
    "vectors": lambda drawn: drawn.looked_up(3),
    "looked up, then scaled": Drawn.looked_up_then_scaled,
    "sparse": Drawn.sparse,
    "sparse scaled": lambda drawn: drawn.sparse_shifted(*drawn.kept(INT4)),
    "sparse looked up": lambda drawn: drawn.sparse_looked_up(1),
    "sparse vectors": lambda drawn: drawn.sparse_looked_up(3),
    "sparse looked up, scaled, dense, cast": Drawn.joint,
    "sparse vectors, dense": Drawn.joint_vectors,
}


class TestCuts:
    @pytest.mark.parametrize("what", CHAINS)
    @given(st.data(), shapes(), st.sampled_from([8, 16, 24, 64]))
    @settings(max_examples=60, deadline=None)
    def test_pieces_are_the_bytes_of_the_whole(self, what: str, data: st.DataObject, dims: Dims, slab: int) -> None:
        op = CHAINS[what](Drawn(data, dims))
        for evaluated, elements in zip(evaluate(op), expanded_steps(steps(op), slab), strict=True):
            assert b"".join(map(bytes, elements.payload(slab))) == bytes(evaluated.payload())


def codes_of(bits: int, *shape: int) -> Array:
    return np.random.default_rng(bits).integers(0, 1 << bits, shape, np.uint8)


class TestJoinedCodes:
    """Where a table is small beside what is looked up in it, codes next to one another are looked up as one."""

    @pytest.mark.parametrize("entry", [np.int8, np.float16, np.float32])
    @pytest.mark.parametrize(
        ("bits", "count"), [(1, 5003), (2, 5003), (2, 600_001), (3, 5003), (4, 5003), (4, 600_002), (6, 5003), (8, 600_001), (8, 5003)]
    )
    def test_a_table_of_all_codes_has_the_values_of_one_by_one(self, bits: int, count: int, entry: Any) -> None:
        codes, lut = codes_of(bits, count), np.random.default_rng(1).normal(size=1 << bits).astype(np.float32).view(np.uint8)
        entries = np.resize(lut, (1 << bits) * np.dtype(entry).itemsize).view(entry)
        dense = gathered(expansion.looked_up(of_packed(pack(codes, bits), bits, codes.shape), entries.reshape(1, -1, 1), slab=1 << 12))
        assert same_bits(dense, entries[codes])

    @pytest.mark.parametrize("columns", [4096, 4099, 4098])
    @pytest.mark.parametrize("bits", [1, 2, 4])
    def test_each_group_has_a_table_of_its_own(self, bits: int, columns: int) -> None:
        codes, lut = codes_of(bits, 6, columns), np.random.default_rng(1).normal(size=(3, 1, 1 << bits, 1)).astype(np.float16)
        dense = gathered(expansion.looked_up(of_packed(pack(codes, bits), bits, codes.shape), lut, slab=1 << 11))
        groups = np.arange(6)[:, None] // 2
        assert same_bits(dense, lut[groups, 0, codes, 0])

    def test_a_table_that_lacks_codes_is_looked_up_one_by_one(self) -> None:
        codes, lut = codes_of(8, 600_000) % 200, np.random.default_rng(1).normal(size=(1, 200, 1)).astype(np.float16)
        assert same_bits(whole.lut_to_dense(codes, lut), lut[0, codes, 0])


class TestChecks:
    """What is wrong is an error before the first element is computed."""

    def test_an_index_beyond_the_table(self) -> None:
        codes = np.zeros(100, np.uint8)
        codes[77] = 16
        with pytest.raises(EvaluationError, match="out of the range of a LUT of 16 entries"):
            expansion.looked_up(of_array(codes), np.zeros((1, 16, 1), np.float16), slab=8)

    def test_a_negative_index(self) -> None:
        with pytest.raises(EvaluationError, match="out of the range of a LUT of 16 entries"):
            expansion.looked_up(of_array(np.array([3, -1], np.int8)), np.zeros((1, 16, 1), np.float16))

    def test_an_index_that_another_op_computes(self) -> None:
        codes = expansion.looked_up(of_array(np.array([0, 1], np.uint8)), np.array([3, 4], np.uint8).reshape(1, 2, 1))
        with pytest.raises(EvaluationError, match="out of the range of a LUT of 4 entries"):
            expansion.looked_up(codes, np.zeros((1, 4, 1), np.float16))

    def test_a_kept_index_beyond_the_table(self) -> None:
        mask, codes = of_array(np.ones(2, np.uint8)), of_array(np.array([0, 2], np.uint8))
        with pytest.raises(EvaluationError, match="out of the range of a LUT of 2 entries"):
            expansion.kept_looked_up(mask, codes, np.zeros((1, 2, 1), np.float16))

    def test_a_mask_that_keeps_other_numbers_than_there_are(self) -> None:
        mask = of_array(np.array([1, 0, 1], np.uint8))
        with pytest.raises(EvaluationError, match="the mask keeps 2 elements"):
            expansion.spread(of_array(np.ones(3, np.float16)), mask)

    def test_blocks_of_what_a_mask_keeps_that_do_not_divide_it(self) -> None:
        mask, nonzero = of_array(np.ones(3, np.uint8)), of_array(np.ones(3, np.int8))
        with pytest.raises(EvaluationError, match="2 blocks on axis 0, which do not divide its 3 elements"):
            expansion.kept_shift_scaled(mask, nonzero, np.ones(2, np.float16))

    def test_packed_indices_that_another_op_computes_are_bytes(self) -> None:
        computed = expansion.looked_up(of_array(np.array([1], np.uint8)), np.array([0, 0b1110_0100], np.uint8).reshape(1, 2, 1))
        dense = expansion.packed_looked_up(computed, np.array([5, 6, 7, 8], np.float16), (2, 2))
        assert gathered(dense).tolist() == [[5, 6], [7, 8]]


def test_any_number_but_0_in_a_mask_keeps_an_element() -> None:
    mask = np.array([[0, 2], [255, 0]], np.uint8)
    assert whole.sparse_to_dense(np.array([1, 2], np.int8), mask).tolist() == [[0, 1], [2, 0]]
