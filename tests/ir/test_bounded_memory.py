"""Decompression in bounded memory: no form, and no chain of them, takes more than slabs beside what it is made from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

from ir import expansion
from ir.const import Const
from ir.constexprs import MAX_STAGES, evaluate, expanded_steps, steps
from ir.core import Op, Value
from ir.flows import SLAB
from ir.packing import packed_size
from ir.tensors import Array, ArrayTensor, PackedTensor
from ir.types import FP16, FP32, INT4, INT8, UINT1, UINT4, UINT6, UINT8, UINT32, DType, TensorType
from tests import whole
from tests.ir.constexpr_ops import attributed, literal, op_of, peak_of


def zeros(dtype: DType, *shape: int) -> Const:
    """Packed in memory that nothing has touched."""
    return Const.of(PackedTensor(np.zeros(packed_size(math.prod(shape), dtype.bits), np.uint8), dtype, shape))


def quarter(*shape: int) -> Const:
    """A mask of which every fourth bit is set."""
    return Const.of(PackedTensor(np.full(math.prod(shape) // 8, 0x11, np.uint8), UINT1, shape))


def halved(*shape: int) -> Array:
    return np.full(shape, 0.5, np.float16)


def nbytes_of(value: Value) -> int:
    assert isinstance(value.type, TensorType)
    return packed_size(math.prod(value.type.static_shape), value.type.dtype.bits)


SIDE: Final = 1 << 12
"""Large weights have so many rows and columns: 16 M elements, of which each may take a byte or more where nothing bounds them."""
ALL: Final = SIDE * SIDE


def large_affine() -> Op:
    return attributed(
        "constexpr_affine_dequantize", FP16, (SIDE, SIDE), quantized_data=zeros(INT8, SIDE, SIDE), scale=literal(halved(SIDE)),
        zero_point=zeros(INT8, SIDE), axis=Const.of(0),
    )  # fmt: skip


def large_packed_look_up() -> Op:
    return attributed(
        "constexpr_lut_to_dense", FP16, (SIDE, SIDE),
        indices=zeros(UINT8, ALL // 2), lut=literal(halved(16)), shape=Const.of([SIDE, SIDE], UINT32),
    )  # fmt: skip


def large_packed_sparse() -> Op:
    mask = literal(np.full(ALL // 8, 0x11, np.uint8))
    return attributed(
        "constexpr_sparse_to_dense", FP16, (SIDE, SIDE),
        nonzero_data=zeros(FP16, ALL // 4), mask=mask, shape=Const.of([SIDE, SIDE], UINT32),
    )  # fmt: skip


def large_shift(data: Const | Value | None = None, scale: Array | Const | None = None, **more: Const) -> Op:
    return op_of(
        "constexpr_blockwise_shift_scale", (FP16, (SIDE, SIDE)), data=zeros(INT4, SIDE, SIDE) if data is None else data,
        scale=halved(SIDE, SIDE // 32) if scale is None else scale, **more,
    )  # fmt: skip


def large_look_up(
    groups: tuple[int, int] = (1, 1), dtype: DType = UINT4, lut: Const | Value | None = None, kind: DType = FP16
) -> Op:
    lut = literal(halved(*groups, 1 << dtype.bits, 1)) if lut is None else lut
    return op_of("constexpr_lut_to_dense", (kind, (SIDE, SIDE)), indices=zeros(dtype, SIDE, SIDE), lut=lut)


def large_vectors(rows: int, columns: int, axis: int) -> Op:
    result = (rows * 2, columns) if axis == 0 else (rows, columns * 2)
    return op_of(
        "constexpr_lut_to_dense", (FP16, result), indices=zeros(UINT6, rows, columns), lut=halved(1, 1, 64, 2), vector_axis=Const.of(axis)
    )


def large_sparse(nonzero: Value | Const | None = None, mask: Value | Const | None = None, dtype: DType = FP16) -> Op:
    return op_of(
        "constexpr_sparse_to_dense", (dtype, (SIDE, SIDE)),
        nonzero_data=zeros(dtype, ALL // 4) if nonzero is None else nonzero, mask=quarter(SIDE, SIDE) if mask is None else mask,
    )  # fmt: skip


def large_sparse_shift(mask: Value | Const | None = None, nonzero: Value | Const | None = None) -> Op:
    return op_of(
        "constexpr_sparse_blockwise_shift_scale", (UINT1, (SIDE, SIDE)), (FP16, (ALL // 4,)),
        data_mask=quarter(SIDE, SIDE) if mask is None else mask, nonzero_data=zeros(INT4, ALL // 4) if nonzero is None else nonzero,
        scale=halved(SIDE, 4),
    )  # fmt: skip


def large_sparse_look_up(groups: int = SIDE // 16, vector: int = 1, rows: int = SIDE, entry: Any = np.float16) -> Op:
    shape, lut = (rows, ALL // vector // rows), np.ones((groups, 1, 16, vector), entry)
    more = {"vector_axis": Const.of(0)} if vector > 1 else {}
    return op_of(
        "constexpr_lut_to_sparse", (UINT1, (rows * vector, shape[1])), (FP16 if entry is np.float16 else INT8, (ALL // 4,)),
        indices_mask=quarter(*shape), indices_nonzero_data=zeros(UINT4, ALL // 4 // vector), lut=lut, **more,
    )  # fmt: skip


def large_joint() -> Op:
    codes = large_sparse_look_up(groups=1, vector=2, rows=SIDE // 2, entry=np.int8)
    scaled = large_sparse_shift(*codes.outputs)
    dense = large_sparse(scaled.outputs[1], scaled.outputs[0])
    return op_of("constexpr_cast", (FP32, (SIDE, SIDE)), source_val=dense.output, output_dtype=Const.of("fp32"))


def large_scaled_table() -> Op:
    entries = op_of(
        "constexpr_blockwise_shift_scale", (FP16, (SIDE // 16, 1, 16, 1)),
        data=zeros(INT8, SIDE // 16, 1, 16, 1), scale=halved(SIDE // 16, 1, 1, 1),
    )  # fmt: skip
    return large_look_up(lut=entries.output)


LARGE: Final[dict[str, Callable[[], tuple[Op, int]]]] = {
    "affine": lambda: (large_affine(), 0),
    "packed look-up": lambda: (large_packed_look_up(), 0),
    "packed sparse": lambda: (large_packed_sparse(), 0),
    "cast": lambda: (
        op_of("constexpr_cast", (FP32, (SIDE, SIDE)), source_val=zeros(FP16, SIDE, SIDE), output_dtype=Const.of("fp32")), 0
    ),
    "blocks": lambda: (large_shift(), 0),
    "blocks with offsets": lambda: (large_shift(offset=Const.of(ArrayTensor(np.ones((SIDE, SIDE // 32), np.float16)))), 0),
    "one table": lambda: (large_look_up(), 0),
    "one table of 6 bits": lambda: (large_look_up(dtype=UINT6), 0),
    "groups of channels": lambda: (large_look_up((SIDE // 16, 1)), 0),
    "groups of columns": lambda: (large_look_up((1, SIDE // 16)), 0),
    "vectors along rows": lambda: (large_vectors(SIDE // 2, SIDE, 0), 0),
    "vectors along rows too long for a slab": lambda: (large_vectors(2, ALL // 4, 0), 0),
    "vectors along columns": lambda: (large_vectors(SIDE, SIDE // 2, 1), 0),
    "sparse": lambda: (large_sparse(), 0),
    "sparse int4": lambda: (large_sparse(dtype=INT4), 0),
    "sparse look-up": lambda: (large_sparse_look_up(), 1),
    "sparse look-up of vectors": lambda: (large_sparse_look_up(vector=2, groups=16), 1),
    "sparse look-up of vectors in long rows": lambda: (large_sparse_look_up(vector=2, rows=2, groups=1), 1),
    "mask of vectors": lambda: (large_sparse_look_up(vector=2, groups=16), 0),
    "mask of vectors in long rows": lambda: (large_sparse_look_up(vector=2, rows=2, groups=1), 0),
    "sparse blocks": lambda: (large_sparse_shift(), 1),
    "scaled table": lambda: (large_scaled_table(), 0),
    "look-up, then scale": lambda: (
        large_shift(large_look_up(lut=literal(np.ones((1, 1, 16, 1), np.int8)), kind=INT8).output, halved(SIDE, 1)), 0
    ),
    "look-up of vectors that a mask keeps, scaled, dense and cast": lambda: (large_joint(), 0),
}
"""An op or the last of a chain, and the output that is wanted, for weights of which nothing as large as themselves is to be in memory."""


class TestPieceByPiece:
    @pytest.mark.parametrize("what", LARGE)
    def test_piece_by_piece_no_form_and_no_chain_takes_more_than_slabs(self, what: str) -> None:
        op, wanted = LARGE[what]()

        def work() -> None:
            taken = sum(map(len, expanded_steps(steps(op))[wanted].payload()))
            assert taken == nbytes_of(op.outputs[wanted])

        assert peak_of(work) < 32 * SLAB


class TestWhole:
    def test_a_look_up_needs_no_more_than_its_result_and_slabs(self) -> None:
        indices = np.zeros((1024, 4096), np.uint8)
        lut = np.zeros((64, 1, 256, 1), np.float16)
        peak = peak_of(lambda: whole.lut_to_dense(indices, lut))
        assert peak < 2 * indices.size + 32 * SLAB

    def test_a_shift_scale_needs_no_more_than_its_result_and_slabs(self) -> None:
        data = np.zeros((1, 1, 1024, 4096), np.int8)
        scale = np.zeros((1, 1, 1024, 128), np.float16)
        peak = peak_of(lambda: expansion.shift_scale(data, scale))
        assert peak < 2 * data.size + 4 * scale.size + 32 * SLAB

    def test_a_long_chain_holds_two_values_and_slabs_at_a_time(self) -> None:
        count, scale = 1 << 22, np.ones(1, np.float16)
        last = op_of("constexpr_blockwise_shift_scale", (FP16, (count,)), data=np.ones(count, np.int8), scale=scale)
        for _ in range(20):
            last = op_of("constexpr_blockwise_shift_scale", (FP16, (count,)), data=last.output, scale=scale)
        assert peak_of(lambda: evaluate(last)) < 2 * 2 * count + MAX_STAGES * 8 * SLAB
