"""Logical weights: what is listed, in which form it is, its numbers, and setting it."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ir.const import Const
from ir.core import Block, Function, Op, Program, Value
from ir.diagnostics import MutationError
from ir.mil.load import load_program
from ir.specs import is_constexpr
from ir.statistics import CHUNK, UNIQUE_LIMIT
from ir.tensors import Array, ArrayTensor, MappedTensor
from ir.types import FP16, FP32, INT4, INT8, STRING, UINT1, UINT2, UINT4, UINT8, UINT32, DType, TensorType
from ir.verify import structure
from ir.weights import Weight
from tests.corpus import NAMES, Corpus
from tests.whole import statistics

X = TensorType(FP16, (1, 6))


def literal(array: Any, dtype: DType | None = None) -> Const:
    return Const.of(ArrayTensor(np.asarray(array), dtype))


def zeros(*shape: int, dtype: DType = FP16) -> Const:
    return literal(np.zeros(shape, dtype.numpy), dtype)


class Built:
    """main(x), one op after the other; each op is named, and the last is returned."""

    def __init__(self) -> None:
        self.program = Program([Function("main", [("x", X)], "CoreML8")], spec_version=9)
        self.block = Block()
        self.program.main.add_block("CoreML8", self.block)

    @property
    def x(self) -> Value:
        return self.program.main.inputs[0]

    def op(self, name: str, op_type: str, dtype: DType, shape: tuple[int, ...], **operands: Any) -> Value:
        return self.ops(op_type, (name, dtype, shape), **operands)[0]

    def ops(self, op_type: str, *results: tuple[str, DType, tuple[int, ...]], **operands: Any) -> tuple[Value, ...]:
        held = {k: v if isinstance(v, Const | Value | tuple) else literal(v) for k, v in operands.items()}
        op = Op(op_type, held, [(name, TensorType(dtype, shape)) for name, dtype, shape in results])
        self.block.append(op)
        if op.outputs:
            self.block.set_outputs([op.outputs[-1]])
        return op.outputs

    def attributed(self, name: str, op_type: str, dtype: DType, result: tuple[int, ...], /, **attributes: Const) -> Value:
        op = Op(op_type, {}, [(name, TensorType(dtype, result))], attributes)
        self.block.append(op)
        self.block.set_outputs([op.output])
        return op.output

    def const(self, name: str, value: Const) -> Value:
        op = Op("const", {}, [(name, value.type)], {"val": value})
        self.block.append(op)
        return op.output

    def linear(self, weight: Value | Const) -> Value:
        return self.op(f"linear_{len(self.block)}", "linear", FP16, (1, 4), x=self.x, weight=weight)

    def weights(self, min_elements: int = 2048) -> list[Weight]:
        structure.verify(self.program)
        return list(self.program.weights(min_elements))

    def weight(self) -> Weight:
        (weight,) = self.weights()
        return weight


def names(weights: list[Weight]) -> list[str]:
    return [weight.name for weight in weights]


class TestListed:
    def test_a_const_that_feeds_a_weight_parameter_of_any_size(self) -> None:
        b = Built()
        b.linear(b.const("w", zeros(4, 6)))
        assert names(b.weights()) == ["w"]

    def test_another_const_from_so_many_elements_on(self) -> None:
        b = Built()
        b.op("y", "add", FP16, (1, 6), x=b.x, y=b.const("table", zeros(1, 6)))
        assert names(b.weights(min_elements=6)) == ["table"]
        assert names(b.weights(min_elements=7)) == []

    def test_an_unused_const_of_that_size(self) -> None:
        b = Built()
        b.const("unused", zeros(2048))
        b.const("small", zeros(2047))
        assert names(b.weights()) == ["unused"]

    def test_a_literal_in_a_weight_parameter_goes_by_its_op_and_parameter(self) -> None:
        b = Built()
        b.linear(zeros(4, 6))
        assert names(b.weights()) == ["linear_0.weight"]

    def test_a_literal_among_several_operands_goes_by_its_position_too(self) -> None:
        b = Built()
        b.op("y", "concat", FP16, (1, 2054), values=(b.x, zeros(1, 2048)), axis=Const.of(1), interleave=Const.of(False))
        assert names(b.weights()) == ["y.values.1"]

    def test_the_end_of_a_chain_and_nothing_that_it_is_made_of(self) -> None:
        b = Built()
        data = b.const("data", zeros(4, 6, dtype=INT8))
        inner = b.op("inner", "constexpr_blockwise_shift_scale", FP16, (4, 6), data=data, scale=np.ones((4, 1), np.float16))
        b.linear(b.op("w", "constexpr_blockwise_shift_scale", FP16, (4, 6), data=inner, scale=np.ones((1, 1), np.float16)))
        assert names(b.weights(min_elements=0)) == ["w"]

    def test_what_a_chain_shares_with_a_consumer_is_a_weight_of_its_own(self) -> None:
        b = Built()
        scale = b.const("s", Const.of([[1.0]], FP16))
        w = b.op("w", "constexpr_blockwise_shift_scale", FP16, (4, 6), data=zeros(4, 6, dtype=INT8), scale=scale)
        b.op("y", "mul", FP16, (4, 6), x=b.linear(w), y=scale)
        assert names(b.weights(min_elements=1)) == ["s", "w"]

    def test_strings_and_lists_are_none(self) -> None:
        b = Built()
        words = np.empty(3000, object)
        words[...] = "word"
        b.const("classes", Const.list_of([Const.of("a")] * 3000, TensorType(STRING)))
        b.const("words", Const.of(words, STRING))
        assert names(b.weights()) == []

    def test_settings_are_none(self) -> None:
        b = Built()
        b.op("y", "transpose", FP16, (6, 1), x=b.x, perm=b.const("perm", Const.of([1, 0])))
        assert names(b.weights()) == []


class TestPlaces:
    def test_functions_specializations_and_blocks_tell_weights_of_one_name_apart(self) -> None:
        b = Built()
        nested = Block()
        inner = Op("const", {}, [("w", TensorType(FP16, (4, 6)))], {"val": zeros(4, 6)})
        nested.append(inner)
        linear = Op("linear", {"x": b.x, "weight": inner.output}, [("l", TensorType(FP16, (1, 4)))])
        nested.append(linear)
        nested.set_outputs([linear.output])
        other = Block()
        other.set_outputs([b.linear(b.const("w", zeros(4, 6)))])
        b.block.append(Op("cond", {"pred": Const.of(True)}, [("c", TensorType(FP16, (1, 4)))], blocks=[nested, other]))
        b.program.add_function(b.program.main.clone("second"))
        b.program.functions["second"].add_block("CoreML9", b.program.main.body.clone({b.x: b.program.functions["second"].inputs[0]}))
        found = [(weight.function, weight.where) for weight in b.weights() if weight.name == "w"]
        assert found == [
            ("main", "main"),
            ("main", "main/c[0]"),
            ("second", "second<CoreML8>"),
            ("second", "second<CoreML8>/c[0]"),
            ("second", "second<CoreML9>"),
            ("second", "second<CoreML9>/c[0]"),
        ]

    def test_stages_of_a_pipeline_are_told_apart(self) -> None:
        pipeline = Program()
        for stage in range(2):
            b = Built()
            b.linear(b.const("w", zeros(4, 6)))
            pipeline.stages[(stage,)] = b.program
        assert [weight.where for weight in pipeline.weights()] == ["stage 0: main", "stage 1: main"]

    def test_consumers_are_ops_with_the_parameter(self) -> None:
        b = Built()
        w = b.const("w", zeros(4, 6))
        first, second = b.linear(w), b.linear(w)
        assert [(use.user, use.parameter) for use in b.weight().consumers] == [(first.op, "weight"), (second.op, "weight")]

    def test_weights_in_one_tensor_are_shared(self) -> None:
        b = Built()
        value = zeros(4, 6)
        for name in "abc":
            b.linear(b.const(name, value if name != "b" else zeros(4, 6)))
        one, two, three = b.weights()
        assert one.shared_with == (three,)
        assert two.shared_with == ()

    def test_compressed_weights_of_one_set_of_tensors_are_shared(self) -> None:
        b = Built()
        data, scale = zeros(4, 6, dtype=INT8), Const.of([[1.0]], FP16)
        for name in "ab":
            b.linear(b.op(name, "constexpr_blockwise_shift_scale", FP16, (4, 6), data=data, scale=scale))
        one, two = b.weights()
        assert one.shared_with == (two,)

    def test_compressed_weights_of_one_data_and_other_scales_are_not(self) -> None:
        b = Built()
        data = zeros(4, 6, dtype=INT8)
        for name in "ab":
            b.linear(b.op(name, "constexpr_blockwise_shift_scale", FP16, (4, 6), data=data, scale=Const.of([[1.0]], FP16)))
        assert all(not weight.shared_with for weight in b.weights())


def scaled(b: Built, data: Any, shape: tuple[int, ...], blocks: tuple[int, ...]) -> Value:
    return b.op("w", "constexpr_blockwise_shift_scale", FP16, shape, data=data, scale=zeros(*blocks))


def looked_up(b: Built, lut: Any, indices: DType = UINT4, name: str = "w", dtype: DType = FP16, **more: Const) -> Value:
    shape = (4, 6 * (lut.tensor.shape[-1] if isinstance(lut, Const) else 1))
    return b.op(name, "constexpr_lut_to_dense", dtype, shape, indices=zeros(4, 6, dtype=indices), lut=lut, **more)


def quantized_lut(b: Built) -> Value:
    data = zeros(1, 1, 16, 1, dtype=INT8)
    return b.op("lut", "constexpr_blockwise_shift_scale", FP16, (1, 1, 16, 1), data=data, scale=zeros(1, 1, 1, 1))


class TestSchemes:
    @pytest.mark.parametrize(
        ("dtype", "blocks", "scheme"),
        [
            (INT8, (1, 1), "int8 per-tensor"),
            (INT8, (64, 1), "int8 per-channel"),
            (UINT8, (1, 64), "uint8 per-channel"),
            (INT4, (64, 2), "int4 per-block 32"),
            (UINT4, (2, 4), "uint4 per-block 32x16"),
        ],
    )
    def test_integers_with_a_scale(self, dtype: DType, blocks: tuple[int, int], scheme: str) -> None:
        b = Built()
        b.linear(scaled(b, zeros(64, 64, dtype=dtype), (64, 64), blocks))
        assert b.weight().scheme == scheme

    def test_dense(self) -> None:
        b = Built()
        b.linear(b.const("w", zeros(4, 6)))
        b.linear(zeros(4, 6, dtype=FP32))
        assert [weight.scheme for weight in b.weights()] == ["dense fp16", "dense fp32"]

    def test_affine_of_ios16(self) -> None:
        b = Built()
        for shape, name in (((), "a"), ((4,), "b")):
            data, zero = zeros(4, 6, dtype=UINT8), zeros(dtype=UINT8)
            held = {"quantized_data": data, "scale": zeros(*shape), "zero_point": zero, "axis": Const.of(0)}
            b.linear(b.attributed(name, "constexpr_affine_dequantize", FP16, (4, 6), **held))
        assert [weight.scheme for weight in b.weights()] == ["uint8 per-tensor", "uint8 per-channel"]

    def test_look_up_tables(self) -> None:
        b = Built()
        b.linear(looked_up(b, zeros(1, 1, 16, 1), name="a"))
        b.linear(looked_up(b, zeros(2, 1, 4, 1), UINT2, name="b"))
        b.linear(looked_up(b, zeros(1, 1, 4, 2), UINT2, name="c", vector_axis=Const.of(1)))
        b.linear(looked_up(b, zeros(1, 1, 4, 1, dtype=INT8), UINT2, name="d", dtype=INT8))
        b.linear(
            b.attributed(
                "e", "constexpr_lut_to_dense", FP16, (4, 6), indices=zeros(18, dtype=UINT8), lut=zeros(64), shape=Const.of([4, 6], UINT32)
            )
        )
        assert [weight.scheme for weight in b.weights()] == [
            "lut 4-bit, 1 group",
            "lut 2-bit, 2 groups",
            "lut 2-bit, 1 group, vectors of 2",
            "lut 2-bit, 1 group, int8 entries",
            "lut 6-bit, 1 group",
        ]

    def test_a_quantized_look_up_table(self) -> None:
        b = Built()
        b.linear(looked_up(b, quantized_lut(b)))
        assert b.weight().scheme == "lut 4-bit, 1 group, int8 entries"

    def test_a_scale_behind_a_look_up_table(self) -> None:
        b = Built()
        b.linear(scaled(b, looked_up(b, zeros(1, 1, 16, 1), name="inner"), (4, 6), (4, 1)))
        assert b.weight().scheme == "lut 4-bit, 1 group, scaled per-channel"

    def test_sparse_forms(self) -> None:
        b = Built()
        mask = literal(np.array([[1, 0, 0, 0, 0, 0]] * 4, np.uint8), UINT1)
        masks, kept = b.ops(
            "constexpr_sparse_blockwise_shift_scale", ("m", UINT1, (4, 6)), ("k", FP16, (4,)),
            data_mask=mask, nonzero_data=zeros(4, dtype=INT8), scale=zeros(4, 1),
        )  # fmt: skip
        b.linear(b.op("a", "constexpr_sparse_to_dense", FP16, (4, 6), nonzero_data=kept, mask=masks))
        masks, kept = b.ops(
            "constexpr_lut_to_sparse", ("n", UINT1, (4, 6)), ("l", FP16, (4,)),
            indices_mask=mask, indices_nonzero_data=zeros(4, dtype=UINT4), lut=zeros(1, 1, 16, 1),
        )  # fmt: skip
        b.linear(b.op("b", "constexpr_sparse_to_dense", FP16, (4, 6), nonzero_data=kept, mask=masks))
        b.linear(b.op("c", "constexpr_sparse_to_dense", FP16, (4, 6), nonzero_data=zeros(4), mask=mask))
        packed, shape = zeros(3, dtype=UINT8), Const.of([4, 6], UINT32)
        b.linear(b.attributed("d", "constexpr_sparse_to_dense", FP16, (4, 6), nonzero_data=zeros(6), mask=packed, shape=shape))
        assert [weight.scheme for weight in b.weights()] == [
            "sparse 83.3%, int8 per-channel",
            "sparse 83.3%, lut 4-bit, 1 group",
            "sparse 83.3%",
            "sparse 75%",
        ]

    def test_a_cast(self) -> None:
        b = Built()
        fp32 = Const.of("fp32")
        b.op("a", "constexpr_cast", FP32, (4, 6), source_val=zeros(4, 6), output_dtype=fp32)
        b.op("b", "constexpr_cast", FP32, (4, 6), source_val=scaled(b, zeros(4, 6, dtype=INT8), (4, 6), (1, 1)), output_dtype=fp32)
        assert [weight.scheme for weight in b.weights()] == ["dense fp16, cast to fp32", "int8 per-tensor, cast to fp32"]

    def test_an_unknown_constexpr_goes_by_its_type(self) -> None:
        b = Built()
        b.op("a", "constexpr_from_the_future", FP16, (4,), x=zeros(4))
        assert b.weight().scheme == "constexpr_from_the_future"

    def test_groups_are_those_of_scales_and_tables(self) -> None:
        b = Built()
        b.linear(b.const("dense", zeros(4, 6)))
        b.linear(b.op("blocks", "constexpr_blockwise_shift_scale", FP16, (4, 6), data=zeros(4, 6, dtype=INT8), scale=zeros(4, 2)))
        for axis, scale in ((0, (4,)), (-1, (6,)), (0, ())):
            name, data, zero = f"affine{axis % 2}_{len(scale)}", zeros(4, 6, dtype=UINT8), zeros(dtype=UINT8)
            held = {"quantized_data": data, "scale": zeros(*scale), "zero_point": zero, "axis": Const.of(axis)}
            b.linear(b.attributed(name, "constexpr_affine_dequantize", FP16, (4, 6), **held))
        b.linear(looked_up(b, zeros(2, 1, 4, 1), UINT2, name="tables"))
        held = {"indices": zeros(18, dtype=UINT8), "lut": zeros(64), "shape": Const.of([4, 6], UINT32)}
        b.linear(b.attributed("table", "constexpr_lut_to_dense", FP16, (4, 6), **held))
        assert {weight.name: weight.groups for weight in b.weights()} == {
            "dense": None, "blocks": (4, 2), "affine0_1": (4, 1), "affine1_1": (1, 6), "affine0_0": (1, 1),
            "tables": (2, 1), "table": (1, 1),
        }  # fmt: skip

    def test_groups_of_joint_forms_are_those_of_what_is_inside(self) -> None:
        b = Built()
        b.linear(scaled(b, looked_up(b, zeros(1, 3, 16, 1), name="inner"), (4, 6), (4, 1)))
        assert b.weight().groups == (1, 3)

    def test_a_literal_has_no_groups(self) -> None:
        b = Built()
        b.linear(zeros(4, 6, dtype=FP32))
        assert b.weight().groups is None

    def test_bytes_count_data_scales_tables_and_masks_once(self) -> None:
        b = Built()
        b.linear(looked_up(b, zeros(1, 1, 16, 1)))
        weight = b.weight()
        assert weight.nbytes == 4 * 6 * 4 // 8 + 16 * 2
        assert weight.bits == 8 * 44 / 24

    def test_dtype_and_shape_are_those_that_consumers_see(self) -> None:
        b = Built()
        b.linear(looked_up(b, zeros(1, 1, 4, 2), UINT2, vector_axis=Const.of(1)))
        assert (b.weight().dtype, b.weight().shape) == (FP16, (4, 12))

    def test_scheme_and_bytes_read_no_data(self, monkeypatch: pytest.MonkeyPatch) -> None:
        b = Built()
        b.linear(looked_up(b, zeros(1, 1, 16, 1)))

        def refuse(self: ArrayTensor) -> Array:
            raise AssertionError("data were read")

        monkeypatch.setattr(ArrayTensor, "numpy", refuse)
        assert (b.weight().scheme, b.weight().nbytes) == ("lut 4-bit, 1 group", 44)


class TestValues:
    def test_a_compressed_weight_is_decompressed(self) -> None:
        b = Built()
        data = np.arange(24, dtype=np.int8).reshape(4, 6)
        b.linear(scaled_by_two(b, data))
        assert np.array_equal(b.weight().numpy(), data * np.float16(2))

    def test_a_dense_one_is_what_is_stored(self) -> None:
        b = Built()
        value = zeros(4, 6)
        b.linear(b.const("w", value))
        assert b.weight().tensor() is value.tensor

    def test_each_output_of_a_sparse_op_has_its_value(self) -> None:
        b = Built()
        _, kept = sparse_of_one(b)
        b.op("y", "exp", FP16, (1,), x=kept)
        assert b.weight().name == "k"
        assert b.weight().numpy().tolist() == [6.0]


def sparse_of_one(b: Built) -> tuple[Value, ...]:
    """[0, 6, 0, 0]: its mask and its one element."""
    mask = literal(np.array([0, 1, 0, 0], np.uint8), UINT1)
    return b.ops(
        "constexpr_sparse_blockwise_shift_scale", ("m", UINT1, (4,)), ("k", FP16, (1,)),
        data_mask=mask, nonzero_data=np.array([3], np.int8), scale=np.array([2], np.float16),
    )  # fmt: skip


def scaled_by_two(b: Built, data: Array) -> Value:
    return b.op("w", "constexpr_blockwise_shift_scale", FP16, data.shape, data=data, scale=np.full((1,) * data.ndim, 2, np.float16))


class TestSet:
    def test_a_const_keeps_its_name_and_has_the_value(self) -> None:
        b = Built()
        b.linear(b.const("w", zeros(4, 6)))
        b.weight().set(np.ones((4, 6), np.float16))
        assert (b.weight().name, b.weight().numpy().sum()) == ("w", 24)

    def test_a_chain_becomes_one_const_of_its_name(self) -> None:
        b = Built()
        b.linear(looked_up(b, quantized_lut(b)))
        weight = b.weight()
        weight.set(np.ones((4, 6), np.float16))
        assert not [op for op in b.program.ops() if is_constexpr(op.op_type)]
        assert (weight.name, weight.scheme, weight.nbytes, weight.numpy().sum()) == ("w", "dense fp16", 48, 24)
        assert names(b.weights()) == ["w"]

    def test_a_literal_operand(self) -> None:
        b = Built()
        b.linear(zeros(4, 6))
        weight = b.weight()
        weight.set(np.ones((4, 6), np.float16))
        weight.set(np.full((4, 6), 2, np.float16))
        assert b.weight().numpy().sum() == 48

    def test_one_literal_among_several_operands(self) -> None:
        b = Built()
        y = b.op("y", "concat", FP16, (1, 4102), values=(zeros(1, 2048), b.x, zeros(1, 2048)), axis=Const.of(1), interleave=Const.of(False))
        first, last = b.weights()
        last.set(np.ones((1, 2048), np.float16))
        assert (first.numpy().sum(), last.numpy().sum()) == (0, 2048)
        assert y.op is not None
        assert y.op.operands["values"][1] is b.x

    def test_every_consumer_sees_it(self) -> None:
        b = Built()
        w = b.const("w", zeros(4, 6))
        b.linear(w)
        b.linear(w)
        b.weight().set(np.ones((4, 6), np.float16))
        assert len(b.weight().consumers) == 2

    def test_weights_that_were_shared_keep_their_value(self) -> None:
        b = Built()
        value = zeros(4, 6)
        for name in "ab":
            b.linear(b.const(name, value))
        one, two = b.weights()
        one.set(np.ones((4, 6), np.float16))
        assert (one.numpy().sum(), two.numpy().sum()) == (24, 0)
        assert one.shared_with == two.shared_with == ()

    def test_the_array_is_copied(self) -> None:
        b = Built()
        b.linear(b.const("w", zeros(4, 6)))
        array = np.ones((4, 6), np.float16)
        b.weight().set(array)
        array[:] = 7
        assert b.weight().numpy().max() == 1

    def test_a_tensor_is_taken_as_it_is(self) -> None:
        b = Built()
        b.linear(b.const("w", zeros(4, 6)))
        tensor = ArrayTensor(np.ones((4, 6), np.float16))
        b.weight().set(tensor)
        assert b.weight().tensor() is tensor

    def test_the_other_output_of_a_sparse_op_keeps_its_value(self) -> None:
        b = Built()
        mask, kept = sparse_of_one(b)
        b.op("y", "exp", FP16, (1,), x=kept)
        b.op("z", "identity", UINT1, (4,), x=mask)
        _, weight = b.weights()
        weight.set(np.array([9], np.float16))
        assert {w.name: w.numpy().tolist() for w in b.weights(min_elements=1)} == {"m": [0, 1, 0, 0], "k": [9.0]}

    def test_the_docstring_of_a_const_stays(self) -> None:
        b = Built()
        w = b.const("w", zeros(4, 6).with_doc("the doc"))
        b.linear(w)
        b.weight().set(np.ones((4, 6), np.float16))
        assert w.op is not None
        assert w.op.attributes["val"].doc == "the doc"

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (np.ones((4, 5), np.float16), r"weight w has the shape \[4, 6\], and its new value \[4, 5\]"),
            (np.ones((4, 6)), r"weight w is fp16, and the array is float64: convert it with .astype\('float16'\)"),
            (ArrayTensor(np.ones((4, 6), np.float32)), "weight w is fp16, and the tensor is fp32"),
        ],
    )
    def test_another_shape_or_dtype_is_refused_and_changes_nothing(self, value: Any, message: str) -> None:
        b = Built()
        b.linear(b.const("w", zeros(4, 6)))
        version = b.program.version
        with pytest.raises(MutationError, match=message):
            b.weight().set(value)
        assert b.program.version == version

    def test_values_beyond_a_narrow_integer_type_are_refused(self) -> None:
        b = Built()
        b.const("w", zeros(2048, dtype=INT4))
        with pytest.raises(MutationError, match="elements outside of -8 … 7"):
            b.weight().set(np.full(2048, 8, np.int8))

    @pytest.mark.parametrize("kind", ["const", "literal"])
    def test_a_weight_that_has_gone_is_refused(self, kind: str) -> None:
        b = Built()
        y = b.linear(b.const("w", zeros(4, 6)) if kind == "const" else zeros(4, 6))
        weight = b.weight()
        b.block.set_outputs([b.x])
        assert y.op is not None
        y.op.erase()
        if weight.op is not None:
            weight.op.erase()
        with pytest.raises(MutationError, match="no longer in the program"):
            weight.set(np.ones((4, 6), np.float16))


class TestStatistics:
    def of(self, *values: float, dtype: Any = np.float32) -> Any:
        return statistics(np.array(values, dtype))

    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_they_are_of_the_finite_elements(self, dtype: Any) -> None:
        found = self.of(1, 3, 0, -0.0, np.nan, np.inf, -np.inf, 4, dtype=dtype)
        assert (found.minimum, found.maximum, found.mean, found.unique, found.nonfinite) == (0, 4, 1.6, 4, 3)
        assert found.std == pytest.approx(np.std([1, 3, 0, 0, 4]))
        assert found.sparsity == 2 / 8

    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_of_nothing_finite_there_is_nothing_to_say(self, dtype: Any) -> None:
        found = self.of(np.nan, np.inf, dtype=dtype)
        assert (found.minimum, found.maximum, found.mean, found.std, found.unique, found.nonfinite) == (None, None, None, None, 0, 2)

    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_of_no_elements_there_is_nothing_to_say(self, dtype: Any) -> None:
        found = self.of(dtype=dtype)
        assert (found.mean, found.sparsity, found.unique, found.nonfinite) == (None, 0.0, 0, 0)

    @pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint8, np.int16, np.int32])
    def test_integers_and_truths_have_them_too(self, dtype: Any) -> None:
        found = self.of(0, 1, 1, 1, dtype=dtype)
        assert (found.minimum, found.maximum, found.mean, found.sparsity, found.unique) == (0, 1, 0.75, 0.25, 2)

    def test_too_many_distinct_values_are_not_counted(self) -> None:
        assert statistics(np.arange(UNIQUE_LIMIT, dtype=np.float32)).unique == UNIQUE_LIMIT
        assert statistics(np.arange(UNIQUE_LIMIT + 1, dtype=np.float32)).unique is None

    @given(st.integers(0, 2**32), st.sampled_from([np.float16, np.float32, np.int8]), st.integers(1, 3000), st.floats(-100, 100))
    @settings(max_examples=40, deadline=None)
    def test_they_agree_with_numpy(self, seed: int, dtype: Any, size: int, shift: float) -> None:
        array = np.random.default_rng(seed).normal(shift, 3, size).clip(-128, 127).astype(dtype)
        exact = array.astype(np.float64)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ir.statistics.CHUNK", 100)
            found = statistics(array)
        assert (found.minimum, found.maximum) == (exact.min(), exact.max())
        assert found.mean == pytest.approx(exact.mean(), rel=1e-12, abs=1e-12)
        assert found.std == pytest.approx(exact.std(), rel=1e-9, abs=1e-9)
        assert found.unique == np.unique(exact).size

    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_memory_does_not_grow_with_the_weight(self, dtype: Any) -> None:
        array = np.ones(8 * CHUNK, dtype)
        tracemalloc.start()
        statistics(array)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 48 * CHUNK


@pytest.mark.parametrize("name", NAMES)
def test_every_blob_of_a_real_package_belongs_to_a_weight(corpus: Corpus, name: str) -> None:
    program = load_program(corpus.path(name))
    literals = [literal for op in program.ops() for literal in op.attributes.values()]
    literals += [operand for op in program.ops() for held in op.operands.values() for operand in held if isinstance(operand, Const)]
    blobs = {id(literal.tensor) for literal in literals if literal.is_tensor and isinstance(literal.tensor, MappedTensor)}
    found = list(program.weights(min_elements=1))
    assert blobs <= {id(tensor) for weight in found for tensor in weight.tensors}
    assert all(weight.scheme and weight.nbytes and weight.where for weight in found)


def test_a_saved_weight_is_the_one_that_was_set(corpus: Corpus, tmp_path: Path) -> None:
    program = load_program(corpus.path("silero_vad_unified_palette_4bit"))
    weight = next(weight for weight in program.weights() if weight.scheme.startswith("lut"))
    value = np.arange(weight.numel, dtype=weight.dtype.numpy).reshape(weight.shape)
    weight.set(value)
    program.save(tmp_path / "m.mlpackage")
    (found,) = (w for w in load_program(tmp_path / "m.mlpackage").weights() if w.name == weight.name)
    assert found.scheme.startswith("dense")
    assert np.array_equal(found.numpy(), value)


