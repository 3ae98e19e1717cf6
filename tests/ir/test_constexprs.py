"""Constexpr ops evaluated: values equal coremltools' bit for bit, malformed operands are errors that name the op."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ir import expansion
from ir.const import Const
from ir.constexprs import EVALUATORS, chain, evaluate
from ir.core import Op, Value
from ir.diagnostics import EvaluationError
from ir.opset import OPSETS
from ir.packing import pack
from ir.specs import is_constexpr, op_types
from ir.tensors import Array, ArrayTensor, Tensor
from ir.types import FP16, FP32, INT4, INT8, UINT1, UINT2, UINT4, UINT8, UINT32, TensorType
from tests import whole
from tests.ir.constexpr_ops import attributed, literal, op_of, same_bits, shapes


def theirs(op_type: str, ios18: bool = True) -> Callable[..., Any]:
    """coremltools' evaluation of an op, over arrays."""
    if ios18:
        from coremltools.converters.mil.mil.ops.defs.iOS18 import compression as ops
    else:
        from coremltools.converters.mil.mil.ops.defs.iOS16 import constexpr_ops as ops
    found: Callable[..., Any] = getattr(ops, op_type).decompress
    return found


slabs = pytest.mark.parametrize("slab", [8, 64, 1 << 17])
"""Small ones, so that small arrays are cut on every axis."""


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


class TestAgainstCoremltools:
    @slabs
    @given(shapes(), st.integers(0, 2**32), st.sampled_from([np.float16, np.float32]), st.sampled_from([np.int8, np.uint8]), st.booleans())
    @settings(max_examples=40, deadline=None)
    def test_blockwise_integers(
        self, slab: int, dims: tuple[tuple[int, ...], tuple[int, ...]], seed: int, scale_type: Any, data_type: Any, shifted: bool
    ) -> None:
        shape, blocks = dims
        rng = rng_of(seed)
        data = rng.integers(np.iinfo(data_type).min, np.iinfo(data_type).max, shape, data_type, endpoint=True)
        scale = np.exp2(rng.uniform(-24, 10, blocks)).astype(scale_type)
        offset = rng.integers(np.iinfo(data_type).min, np.iinfo(data_type).max, blocks, data_type, endpoint=True) if shifted else None
        ours = expansion.shift_scale(data, scale, offset, slab)
        with np.errstate(over="ignore"):
            expected = theirs("constexpr_blockwise_shift_scale")(data, scale, offset)
        assert same_bits(ours, expected)

    @given(shapes(), st.integers(0, 2**32), st.sampled_from([np.float16, np.float32]))
    @settings(max_examples=40, deadline=None)
    def test_blockwise_floats(self, dims: tuple[tuple[int, ...], tuple[int, ...]], seed: int, dtype: Any) -> None:
        rng = rng_of(seed)
        data, scale = rng.normal(size=dims[0]).astype(dtype), rng.normal(size=dims[1]).astype(dtype)
        assert same_bits(expansion.shift_scale(data, scale), theirs("constexpr_blockwise_shift_scale")(data, scale, None))

    @slabs
    @given(st.data(), shapes(3), st.sampled_from([1, 2, 3, 4, 6, 8]), st.sampled_from([1, 2, 3]), st.integers(0, 2**32))
    @settings(max_examples=40, deadline=None)
    def test_look_up(
        self, slab: int, data: st.DataObject, dims: tuple[tuple[int, ...], tuple[int, ...]], nbits: int, vector: int, seed: int
    ) -> None:
        shape, groups = dims
        axis = data.draw(st.integers(-len(shape), len(shape) - 1)) if vector > 1 else None
        rng = rng_of(seed)
        indices = rng.integers(0, 1 << nbits, shape, np.uint8)
        lut = rng.normal(size=(*groups, 1 << nbits, vector)).astype(data.draw(st.sampled_from([np.float16, np.float32, np.int8])))
        ours = whole.lut_to_dense(indices, lut, axis, slab=slab)
        assert same_bits(ours, theirs("constexpr_lut_to_dense")(indices, lut, axis))

    @slabs
    @given(st.data(), shapes(3), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 3]), st.integers(0, 2**32))
    @settings(max_examples=40, deadline=None)
    def test_sparse_look_up(
        self, slab: int, data: st.DataObject, dims: tuple[tuple[int, ...], tuple[int, ...]], nbits: int, vector: int, seed: int
    ) -> None:
        shape, groups = dims
        axis = data.draw(st.integers(0, len(shape) - 1)) if vector > 1 else None
        rng = rng_of(seed)
        mask = rng.integers(0, 2, shape, np.uint8)
        indices = rng.integers(0, 1 << nbits, np.count_nonzero(mask), np.uint8)
        lut = rng.normal(size=(*groups, 1 << nbits, vector)).astype(np.float16)
        ours = whole.lut_to_sparse(mask, indices, lut, axis, slab=slab)
        expected = theirs("constexpr_lut_to_sparse")(mask, indices, lut, axis)
        assert same_bits(ours[0], expected[0])
        assert same_bits(ours[1], expected[1])

    @slabs
    @given(shapes(), st.integers(0, 2**32), st.booleans())
    @settings(max_examples=40, deadline=None)
    def test_sparse_blockwise(self, slab: int, dims: tuple[tuple[int, ...], tuple[int, ...]], seed: int, shifted: bool) -> None:
        shape, blocks = dims
        rng = rng_of(seed)
        mask = rng.integers(0, 2, shape, np.uint8)
        nonzero = rng.integers(-8, 8, np.count_nonzero(mask), np.int8)
        scale = rng.normal(size=blocks).astype(np.float16)
        offset = rng.integers(-8, 8, blocks, np.int8) if shifted else None
        ours = whole.sparse_shift_scale(mask, nonzero, scale, offset, slab=slab)
        expected = theirs("constexpr_sparse_blockwise_shift_scale")(mask, nonzero, scale, offset)
        assert same_bits(ours[1], expected[1])
        assert same_bits(ours[0], mask)

    @given(shapes(), st.integers(0, 2**32))
    @settings(max_examples=40, deadline=None)
    def test_sparse(self, dims: tuple[tuple[int, ...], tuple[int, ...]], seed: int) -> None:
        rng = rng_of(seed)
        mask = rng.integers(0, 2, dims[0], np.uint8)
        nonzero = rng.normal(size=np.count_nonzero(mask)).astype(np.float16)
        assert same_bits(whole.sparse_to_dense(nonzero, mask, slab=8), theirs("constexpr_sparse_to_dense")(nonzero, mask))

    @given(shapes(), st.sampled_from([1, 2, 4, 6, 8]), st.integers(0, 2**32))
    @settings(max_examples=40, deadline=None)
    def test_packed_look_up(self, dims: tuple[tuple[int, ...], tuple[int, ...]], nbits: int, seed: int) -> None:
        shape, rng = dims[0], rng_of(seed)
        packed = pack(rng.integers(0, 1 << nbits, shape, np.uint8), nbits)
        lut = rng.normal(size=1 << nbits).astype(np.float16)
        ours = whole.packed_lut_to_dense(packed, lut, shape, slab=8)
        assert same_bits(ours, theirs("constexpr_lut_to_dense", ios18=False)(lut, packed, shape))

    @given(shapes(), st.integers(0, 2**32))
    @settings(max_examples=40, deadline=None)
    def test_packed_sparse(self, dims: tuple[tuple[int, ...], tuple[int, ...]], seed: int) -> None:
        shape, rng = dims[0], rng_of(seed)
        mask = rng.integers(0, 2, shape, np.uint8)
        nonzero = rng.normal(size=np.count_nonzero(mask)).astype(np.float32)
        ours = whole.packed_sparse_to_dense(nonzero, pack(mask, 1), shape, slab=8)
        assert same_bits(ours, theirs("constexpr_sparse_to_dense", ios18=False)(nonzero, pack(mask, 1), shape))

    @given(
        st.data(), shapes(), st.integers(0, 2**32), st.sampled_from([np.float16, np.float32]), st.booleans(), st.booleans(),
        st.sampled_from([np.int8, np.uint8, np.float32]),
    )  # fmt: skip
    @settings(max_examples=60, deadline=None)
    def test_affine(
        self,
        data: st.DataObject,
        dims: tuple[tuple[int, ...], tuple[int, ...]],
        seed: int,
        dtype: Any,
        scale_is_vector: bool,
        zero_is_vector: bool,
        zero_type: Any,
    ) -> None:
        shape, rng = dims[0], rng_of(seed)
        axis = data.draw(st.integers(-len(shape), len(shape) - 1))
        quantized = rng.integers(-128, 128, shape, np.int8)
        scale = np.asarray(rng.normal(size=shape[axis] if scale_is_vector else ()), dtype)
        zero = np.asarray(rng.uniform(0, 100, size=shape[axis] if zero_is_vector else ()), zero_type)
        ours = expansion.affine_dequantize(quantized, scale, zero, axis)
        assert same_bits(ours, theirs("constexpr_affine_dequantize", ios18=False)(quantized, zero, scale, axis))


class TestNumericContract:
    def test_a_float_offset_is_subtracted_in_float32(self) -> None:
        data, scale, offset = np.array([100], np.int8), np.array([1.0], np.float16), np.array([0.0101], np.float16)
        exact = np.float16(np.float32(100) - np.float32(offset[0]))
        assert expansion.shift_scale(data, scale, offset)[0] == exact

    def test_fp32_data_under_a_fp16_scale_is_rounded_once(self) -> None:
        data, scale = np.array([1 + 2**-12 + 2**-20], np.float32), np.array([3.0], np.float16)
        assert expansion.shift_scale(data, scale)[0] == np.float16(data[0] * np.float32(3))

    def test_overflow_is_infinite_and_silent(self, recwarn: pytest.WarningsRecorder) -> None:
        result = expansion.shift_scale(np.array([127], np.int8), np.array([60000], np.float16))
        assert np.isinf(result[0])
        assert not recwarn

    def test_blocks_lie_on_several_axes(self) -> None:
        data = np.ones((4, 6), np.int8)
        scale = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
        assert np.array_equal(expansion.shift_scale(data, scale), np.repeat(np.repeat(scale, 2, 0), 2, 1))

    def test_nan_payloads_in_a_lut_survive(self) -> None:
        lut = np.array([0x7E01, 0xFE02], np.uint16).view(np.float16)
        dense = whole.lut_to_dense(np.array([1, 0], np.uint8), lut.reshape(1, 2, 1))
        assert dense.view(np.uint16).tolist() == [0xFE02, 0x7E01]


def value_of(op: Op) -> Array:
    (tensor,) = evaluate(op)
    return tensor.numpy()


class TestOps:
    def test_every_constexpr_of_the_tables_has_an_evaluator(self) -> None:
        in_tables = {op_type for opset in OPSETS for op_type in op_types(opset) if is_constexpr(op_type)}
        assert in_tables == set(EVALUATORS)

    def test_operands_may_be_attributes(self) -> None:
        op = attributed(
            "constexpr_affine_dequantize", FP16, (2, 2),
            quantized_data=literal(np.array([[1, 2], [3, 4]], np.int8)), zero_point=Const.of(1, INT8),
            scale=Const.of([1.0, 0.5], FP16), axis=Const.of(0),
        )  # fmt: skip
        assert value_of(op).tolist() == [[0.0, 1.0], [1.0, 1.5]]

    def test_the_packed_forms_of_ios16_state_their_shape(self) -> None:
        lut = attributed(
            "constexpr_lut_to_dense", FP16, (1, 3),
            indices=literal(np.array([0b100100], np.uint8)), lut=Const.of([0.0, 1.0, 2.0, 3.0], FP16), shape=Const.of([1, 3], UINT32),
        )  # fmt: skip
        sparse = attributed(
            "constexpr_sparse_to_dense", FP32, (3,),
            nonzero_data=Const.of([5.0, 6.0], FP32), mask=literal(np.array([0b101], np.uint8)), shape=Const.of([3], UINT32),
        )  # fmt: skip
        assert value_of(lut).tolist() == [[0.0, 1.0, 2.0]]
        assert value_of(sparse).tolist() == [5.0, 0.0, 6.0]

    def test_a_cast_widens(self) -> None:
        op = op_of("constexpr_cast", (FP32, (2,)), source_val=np.array([0.1, -0.0], np.float16), output_dtype=Const.of("fp32"))
        assert value_of(op).tolist() == [np.float32(np.float16(0.1)), -0.0]

    def test_int4_data_stay_int4_when_made_dense(self) -> None:
        op = op_of(
            "constexpr_sparse_to_dense", (INT4, (4,)),
            nonzero_data=literal(np.array([-8, 7], np.int8), INT4), mask=literal(np.array([0, 1, 0, 1], np.uint8), UINT1),
        )  # fmt: skip
        (tensor,) = evaluate(op)
        assert tensor.dtype is INT4
        assert tensor.numpy().tolist() == [0, -8, 0, 7]

    def test_a_const_op_is_an_operand_like_a_literal(self) -> None:
        data = Op("const", {}, [("d", TensorType(INT8, (2,)))], {"val": literal(np.array([1, 2], np.int8))})
        op = op_of("constexpr_blockwise_shift_scale", (FP16, (2,)), data=data.output, scale=np.array([2.0], np.float16))
        assert value_of(op).tolist() == [2.0, 4.0]

    def test_the_mask_that_passes_through_is_not_copied(self) -> None:
        mask: Tensor = ArrayTensor(np.array([1, 0], np.uint8), UINT1)
        op = op_of(
            "constexpr_sparse_blockwise_shift_scale", (UINT1, (2,)), (FP16, (1,)),
            data_mask=Const.of(mask), nonzero_data=np.array([3], np.int8), scale=np.array([0.5], np.float16),
        )  # fmt: skip
        assert evaluate(op)[0] is mask


class TestChains:
    def quantized_lut(self) -> Op:
        lut = op_of(
            "constexpr_blockwise_shift_scale", (FP16, (1, 4, 1)),
            data=np.array([-2, -1, 1, 2], np.int8).reshape(1, 4, 1), scale=np.full((1, 1, 1), 0.5, np.float16),
        )  # fmt: skip
        return op_of("constexpr_lut_to_dense", (FP16, (3,)), indices=literal(np.array([0, 3, 1], np.uint8), UINT2), lut=lut.output)

    def test_a_lut_may_be_quantized(self) -> None:
        assert value_of(self.quantized_lut()).tolist() == [-1.0, 1.0, -0.5]

    def test_a_scale_may_follow_a_lut(self) -> None:
        op = op_of("constexpr_blockwise_shift_scale", (FP16, (3,)), data=self.quantized_lut().output, scale=np.array([2, 3, 4], np.float16))
        assert value_of(op).tolist() == [-2.0, 3.0, -2.0]

    def test_a_sparse_lut_becomes_dense_and_fp32(self) -> None:
        inner = op_of(
            "constexpr_lut_to_sparse", (UINT1, (4,)), (FP16, (2,)),
            indices_mask=literal(np.array([0, 1, 1, 0], np.uint8), UINT1),
            indices_nonzero_data=literal(np.array([1, 0], np.uint8), UINT1), lut=np.array([5, 7], np.float16).reshape(1, 2, 1),
        )  # fmt: skip
        dense = op_of("constexpr_sparse_to_dense", (FP16, (4,)), nonzero_data=inner.outputs[1], mask=inner.outputs[0])
        cast = op_of("constexpr_cast", (FP32, (4,)), source_val=dense.output, output_dtype=Const.of("fp32"))
        assert value_of(cast).tolist() == [0.0, 7.0, 5.0, 0.0]
        assert chain(cast) == [inner, dense, cast]

    def test_a_chain_of_thousands_is_no_recursion(self) -> None:
        last = op_of("constexpr_blockwise_shift_scale", (FP16, (1,)), data=np.array([1], np.int8), scale=np.array([1], np.float16))
        for _ in range(3000):
            last = op_of("constexpr_blockwise_shift_scale", (FP16, (1,)), data=last.output, scale=np.array([1], np.float16))
        assert value_of(last).tolist() == [1.0]

    def test_what_is_used_twice_is_evaluated_once(self) -> None:
        class Counted(ArrayTensor):
            __slots__ = ()
            reads: ClassVar[int] = 0

            def numpy(self) -> Array:
                Counted.reads += 1
                return super().numpy()

        data: Tensor = Counted(np.array([1], np.int8))
        last = op_of("constexpr_blockwise_shift_scale", (FP16, (1,)), data=Const.of(data), scale=np.array([1], np.float16))
        for _ in range(5):
            last = op_of("constexpr_blockwise_shift_scale", (FP16, (1,)), data=last.output, scale=last.output)
        evaluate(last)
        assert Counted.reads == 1


def shift(**changed: Any) -> Op:
    operands = {"data": np.ones((4, 6), np.int8), "scale": np.ones((4, 1), np.float16)} | changed
    return op_of("constexpr_blockwise_shift_scale", (FP16, (4, 6)), **operands)


def look_up(**changed: Any) -> Op:
    operands = {"indices": literal(np.ones((4, 6), np.uint8), UINT2), "lut": np.ones((1, 1, 4, 1), np.float16)} | changed
    return op_of("constexpr_lut_to_dense", (FP16, (4, 6)), **operands)


def packed_look_up(**changed: Const) -> Op:
    operands = {"indices": Const.of([0], UINT8), "lut": Const.of([0.0] * 4, FP16), "shape": Const.of([4], UINT32)} | changed
    return attributed("constexpr_lut_to_dense", FP16, (4,), **operands)


def sparse(**changed: Any) -> Op:
    operands = {"nonzero_data": np.ones(2, np.float16), "mask": literal(np.array([1, 0, 1], np.uint8), UINT1)} | changed
    return op_of("constexpr_sparse_to_dense", (FP16, (3,)), **operands)


def packed_sparse(**changed: Const) -> Op:
    operands = {"nonzero_data": Const.of([1.0], FP16), "mask": Const.of([4], UINT8), "shape": Const.of([3], UINT32)} | changed
    return attributed("constexpr_sparse_to_dense", FP16, (3,), **operands)


def computed() -> Value:
    return Op("relu", {}, [("r", TensorType(INT8, (4, 6)))]).output


def unknown_type() -> Op:
    return op_of("constexpr_from_the_future", (FP16, (1,)), x=np.ones(1, np.float16))


def wrong_declaration() -> Op:
    return op_of("constexpr_blockwise_shift_scale", (FP16, (6, 4)), data=np.ones((4, 6), np.int8), scale=np.ones((4, 1), np.float16))


def too_many_outputs() -> Op:
    return op_of(
        "constexpr_blockwise_shift_scale", (FP16, (1,)), (FP16, (1,)), data=np.ones(1, np.int8), scale=np.ones(1, np.float16)
    )


def output_that_does_not_exist() -> Op:
    return shift(data=too_many_outputs().outputs[1])


def affine(**changed: Const) -> Op:
    operands = {
        "quantized_data": literal(np.ones((2, 3), np.int8)),
        "scale": Const.of(1.0, FP16),
        "zero_point": Const.of(0, INT8),
        "axis": Const.of(1),
    }
    return attributed("constexpr_affine_dequantize", FP16, (2, 3), **(operands | changed))


MALFORMED = {
    "a scale that does not divide": (shift(scale=np.ones((3, 1), np.float16)), "3 blocks on axis 0, which do not divide its 4 elements"),
    "a scale of another rank": (shift(scale=np.ones(4, np.float16)), "scale has to have the rank of the data"),
    "an offset of another shape": (shift(offset=np.ones((1, 1), np.int8)), "offset has to have the shape of scale"),
    "an integer offset of another type": (shift(offset=np.ones((4, 1), np.uint8)), "offset has to be a float or of the type of data"),
    "an integer scale": (shift(scale=np.ones((4, 1), np.int8)), "its scale is of int8, and has to be of fp16 or fp32"),
    "no data": (op_of("constexpr_blockwise_shift_scale", (FP16, (1,)), scale=np.ones(1, np.float16)), "its parameter data is missing"),
    "data computed at run time": (shift(data=computed()), "has to be known at compile time, and is computed by relu r"),
    "a scale of no elements": (shift(scale=np.ones((0, 1), np.float16)), "0 blocks on axis 0"),
    "a const without a value": (
        shift(data=Op("const", {}, [("d", TensorType(INT8, (4, 6)))]).output), "its data has to be a tensor, and is without a value"
    ),
    "a tuple": (shift(data=Const.tuple_of([Const.of(1)])), "its data has to be a tensor"),
    "a LUT of the wrong size": (look_up(lut=np.ones((1, 1, 5, 1), np.float16)), "a LUT for indices of uint2 has to have 4 entries"),
    "a LUT of the wrong rank": (look_up(lut=np.ones((4, 1), np.float16)), "two dimensions more than the indices"),
    "LUT groups that do not divide": (look_up(lut=np.ones((3, 1, 4, 1), np.float16)), "3 blocks on axis 0"),
    "vectors without an axis": (look_up(lut=np.ones((1, 1, 4, 2), np.float16)), "needs a vector_axis"),
    "a vector axis outside": (look_up(lut=np.ones((1, 1, 4, 2), np.float16), vector_axis=Const.of(2)), "axis 2 is outside"),
    "vectors of no elements": (look_up(lut=np.ones((1, 1, 4, 0), np.float16)), "lut has to have entries"),
    "an index beyond the LUT": (look_up(indices=literal(np.full((4, 6), 4, np.uint8), UINT2)), "out of the range of a LUT of 4 entries"),
    "a packed LUT of 8 entries": (packed_look_up(lut=Const.of([0.0] * 8, FP16)), "2, 4, 16, 64 or 256 entries"),
    "too few packed indices": (packed_look_up(shape=Const.of([5], UINT32)), "takes 2 bytes of indices"),
    "an absurd shape": (packed_look_up(shape=Const.of([4294967295] * 3, UINT32)), "bytes of indices"),
    "a shape without elements": (packed_look_up(shape=Const.of([0], UINT32)), "a dimension of 0"),
    "a shape of a hundred dimensions": (packed_look_up(shape=Const.of([1] * 100, UINT32)), "at most 32 elements"),
    "too few nonzero elements": (sparse(nonzero_data=np.ones(1, np.float16)), "the mask keeps 2 elements, and nonzero_data is [1]"),
    "too many nonzero elements": (sparse(nonzero_data=np.ones(3, np.float16)), "the mask keeps 2 elements, and nonzero_data is [3]"),
    "nonzero elements of rank 2": (sparse(nonzero_data=np.ones((1, 2), np.float16)), "the mask keeps 2 elements"),
    "too few packed nonzero elements": (packed_sparse(mask=Const.of([6], UINT8)), "the mask keeps 2 elements"),
    "bits behind the last element": (packed_sparse(mask=Const.of([8], UINT8)), "bits behind the last of the 3 elements"),
    "too short a mask": (packed_sparse(shape=Const.of([9], UINT32)), "takes 2 bytes of mask"),
    "an axis outside": (affine(axis=Const.of(2)), "axis 2 is outside of a tensor of rank 2"),
    "a scale vector of another length": (affine(scale=Const.of([1.0, 2.0], FP16)), "have the 3 elements of axis 1, and is [2]"),
    "an axis that is a vector": (affine(axis=Const.of([0, 1])), "axis has to be one integer"),
    "a cast to something else": (
        op_of("constexpr_cast", (FP32, (1,)), source_val=np.ones(1, np.float16), output_dtype=Const.of("fp64")),
        "has to be fp32, and is fp64",
    ),
    "an unknown constexpr op": (unknown_type(), "there is no such constexpr op"),
    "another type than the declared": (wrong_declaration(), "is fp16[4, 6], and is declared as fp16[6, 4]"),
    "two outputs of one result": (too_many_outputs(), "it yields 1 results, and has 2 outputs"),
}  # fmt: skip


class TestMalformed:
    @pytest.mark.parametrize("what", MALFORMED)
    def test_malformed_operands_are_an_error_that_names_the_op(self, what: str) -> None:
        op, message = MALFORMED[what]
        with pytest.raises(EvaluationError) as caught:
            evaluate(op)
        assert message in str(caught.value)
        assert str(caught.value).startswith(f"{op.op_type} {op.name}: ")

    def test_the_error_names_the_op_of_the_chain_that_is_wrong(self) -> None:
        wrong = sparse(nonzero_data=np.ones(1, np.float16))
        op = op_of("constexpr_cast", (FP32, (3,)), source_val=wrong.output, output_dtype=Const.of("fp32"))
        with pytest.raises(EvaluationError, match=r"^constexpr_sparse_to_dense "):
            evaluate(op)

    def test_a_cycle_is_an_error(self) -> None:
        ops = [shift() for _ in range(3)]
        for before, after in pairwise([*ops, ops[0]]):
            after.set("data", before.output)
        with pytest.raises(EvaluationError, match="it depends on itself"):
            evaluate(ops[0])

    def test_an_op_that_uses_itself_is_an_error(self) -> None:
        op = shift()
        op.set("scale", op.output)
        with pytest.raises(EvaluationError, match="it depends on itself"):
            evaluate(op)


def test_the_prefix_makes_a_constexpr() -> None:
    assert is_constexpr("constexpr_cast")
    assert is_constexpr("constexpr_from_the_future")
    assert not is_constexpr("const")


def test_uint4_indices_need_sixteen_entries() -> None:
    lut = np.arange(16, dtype=np.float16).reshape(1, 16, 1)
    op = op_of("constexpr_lut_to_dense", (FP16, (2,)), indices=literal(np.array([15, 0], np.uint8), UINT4), lut=lut)
    assert value_of(op).tolist() == [15.0, 0.0]
