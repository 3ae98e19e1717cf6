"""The specification verifier: what it finds, each by itself, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from ir.builder import FunctionBuilder
from ir.const import Const
from ir.core import Block, Function, Op, Program
from ir.diagnostics import InvalidProgramError, Problem
from ir.opset import IOS15, IOS16, IOS17, IOS18, IOS26, Opset
from ir.packing import packed_size
from ir.tensors import ArrayTensor, PackedTensor, Tensor
from ir.types import FP16, FP32, INT4, INT8, INT32, UINT1, UINT3, UINT4, UINT8, UNKNOWN, DType, ListType, StateType, TensorType, Type
from ir.verify import specification, structure
from ir.verify.specification import agree
from tests.strategies import Wildness, programs, wild_names, wild_text

X = TensorType(FP16, (1, 4, 8, 8))
Operands = dict[str, Any]


def building(opset: Opset = IOS16, **inputs: Type) -> FunctionBuilder:
    return FunctionBuilder("main", inputs or {"x": X}, opset)


def raw(f: FunctionBuilder, op_type: str, operands: Operands, *types: Type, **attributes: Const) -> Op:
    """An op that no builder would make."""
    return f.insert(Op(op_type, operands, [(f"r{i}", kind) for i, kind in enumerate(types)], attributes))


def problems(f: FunctionBuilder) -> list[Problem]:
    return specification.problems(f.function)


def messages(f: FunctionBuilder) -> list[str]:
    return [problem.message for problem in problems(f)]


def one(f: FunctionBuilder) -> str:
    (problem,) = problems(f)
    return problem.message + (f": {problem.fix}" if problem.fix else "")


class TestLeftAlone:
    def test_what_the_builder_makes(self) -> None:
        f = building()
        hidden = f.op("conv", x=f.inputs["x"], weight=np.zeros((2, 4, 3, 3), np.float16))
        f.outputs(f.op("concat", values=[hidden, hidden], axis=0))
        assert messages(f) == []

    def test_an_op_type_without_a_row(self) -> None:
        f = building()
        raw(f, "my_op", {"anything": (f.inputs["x"], Const.of(1))}, X, some=Const.of(1))
        assert messages(f) == []

    def test_attributes_beside_those_of_the_row(self) -> None:
        f = building()
        raw(f, "relu", {"x": f.inputs["x"]}, X, note=Const.of("kept"))
        assert messages(f) == []

    def test_an_opset_of_an_unknown_key(self) -> None:
        f = building()
        raw(f, "relu", {"y": f.inputs["x"]}, X)
        f.function.set_opset("CoreML99")
        assert messages(f) == []

    def test_an_op_that_stands_in_no_function(self) -> None:
        assert specification.problems([Op("relu", {}, [("y", X)])]) == []

    def test_a_declared_dimension_that_is_open_or_cannot_be_told(self) -> None:
        f = building(x=TensorType(FP16, (UNKNOWN, 4)))
        raw(f, "relu", {"x": f.inputs["x"]}, TensorType(FP16, (3, 4)))
        f.op("tanh", x=np.zeros((3, 4), np.float16), type=TensorType(FP16, (UNKNOWN, 4)))
        assert messages(f) == []

    def test_operands_of_unknown_rank_are_not_inferred_from(self) -> None:
        f = building(x=TensorType(FP16, (), -1))
        raw(f, "transpose", {"x": f.inputs["x"], "perm": f.const([1, 0])}, TensorType(FP16, (3, 4)))
        assert messages(f) == []


class TestParameters:
    def test_an_unknown_one_suggests_the_nearest(self) -> None:
        f = building()
        op = f.op("softmax", x=f.inputs["x"], axis=1)
        op.set("axes", op["axis"])
        assert one(f) == "softmax softmax: it has no parameter axes: did you mean axis?"

    def test_an_unknown_one_without_a_nearest_lists_what_there_is(self) -> None:
        f = building()
        f.op("relu", x=f.inputs["x"]).set("zzz", f.inputs["x"])
        assert one(f) == "relu relu: it has no parameter zzz: it has x"

    def test_one_of_a_later_opset_says_which(self) -> None:
        f = building(IOS16)
        op = f.op("gather", x=f.inputs["x"], indices=[0], axis=1)
        op.set("validate_indices", f.const(False))
        expected = "gather gather: validate_indices came with iOS17, and the function is written for iOS16: raise the opset to iOS17 first"
        assert one(f) == expected.replace("gather gather: v", f"gather {op.name}: v")

    def test_a_missing_required_one(self) -> None:
        f = building()
        f.op("relu", x=f.inputs["x"]).unset("x")
        assert one(f) == "relu relu: the required parameter x is missing"

    def test_a_required_one_without_operands(self) -> None:
        f = building()
        f.op("relu", x=f.inputs["x"]).set("x")
        assert one(f) == "relu relu: the required parameter x is missing"

    def test_a_missing_required_attribute(self) -> None:
        f = building()
        raw(f, "const", {}, X)
        assert one(f) == "const r0: the required attribute val is missing"

    def test_an_attribute_given_as_an_operand(self) -> None:
        f = building()
        raw(f, "const", {"val": Const.of(1.0, FP16)}, TensorType(FP16), val=Const.of(1.0, FP16))
        assert one(f) == "const r0: val has to be an attribute in iOS16, not an operand"

    def test_too_many_operands(self) -> None:
        f = building()
        f.op("relu", x=f.inputs["x"]).set("x", f.inputs["x"], f.inputs["x"])
        assert one(f) == "relu relu: x takes one operand, not 2"

    def test_a_computed_value_where_a_constant_is_needed(self) -> None:
        f = building(x=X, perm=TensorType(INT32, (4,)))
        raw(f, "transpose", {"x": f.inputs["x"], "perm": f.inputs["perm"]}, X)
        assert one(f) == "transpose r0: perm has to be known at compile time, and perm is computed"

    def test_an_inline_literal_is_known_at_compile_time(self) -> None:
        f = building()
        f.op("transpose", x=f.inputs["x"], perm=Const.of([0, 1, 3, 2]))
        assert messages(f) == []


class TestTypes:
    def test_an_element_type_that_is_not_taken(self) -> None:
        f = building(x=TensorType(INT32, (4,)))
        raw(f, "relu", {"x": f.inputs["x"]}, TensorType(INT32, (4,)))
        assert one(f) == "relu r0: x cannot be int32[4]; it takes fp16, fp32"

    def test_one_that_is_taken_from_a_later_opset_on(self) -> None:
        for opset, count in ((IOS16, 1), (IOS17, 0)):
            f = building(opset, x=TensorType(INT8, (2, 2)))
            raw(f, "transpose", {"x": f.inputs["x"], "perm": Const.of([1, 0])}, TensorType(INT8, (2, 2)))
            assert len(problems(f)) == count

    def test_two_parameters_of_one_domain(self) -> None:
        f = building(x=X, y=X.with_dtype(FP32))
        raw(f, "add", {"x": f.inputs["x"], "y": f.inputs["y"]}, X)
        assert one(f) == "add r0: x and y have to be of one element type, and are fp16 and fp32"

    def test_a_tensor_where_a_list_is_needed(self) -> None:
        f = building()
        raw(f, "list_length", {"ls": f.inputs["x"]}, TensorType(INT32))
        assert one(f) == "list_length r0: ls has to be a list, not fp16[1, 4, 8, 8]"

    def test_a_list_where_a_tensor_is_needed(self) -> None:
        f = building(x=ListType(X))
        raw(f, "relu", {"x": f.inputs["x"]}, X)
        assert one(f) == "relu r0: x has to be a tensor, not list<fp16[1, 4, 8, 8], ?>"

    def test_a_tensor_where_a_state_is_needed(self) -> None:
        f = building(IOS18)
        raw(f, "read_state", {"input": f.inputs["x"]}, X)
        assert one(f) == "read_state r0: input has to be a state, not fp16[1, 4, 8, 8]"

    def test_a_state_is_read_as_its_type(self) -> None:
        f = building(IOS18, s=StateType(X))
        f.op("read_state", input=f.inputs["s"])
        assert messages(f) == []


class TestResults:
    def test_a_declared_type_that_is_not_the_operands(self) -> None:
        f = building()
        f.op("relu", x=f.inputs["x"], type=TensorType(FP16, (1, 4, 8, 9)))
        assert one(f) == "relu relu: relu is declared as fp16[1, 4, 8, 9], and its operands make it fp16[1, 4, 8, 8]"

    def test_a_const_of_another_type_than_its_value(self) -> None:
        f = building()
        f.const([1.0, 2.0], name="c").type = TensorType(FP32, (3,))
        assert one(f) == "const c: c is declared as fp32[3], and its operands make it fp32[2]"

    def test_operands_that_do_not_fit_together(self) -> None:
        f = building()
        raw(f, "matmul", {"x": f.inputs["x"], "y": f.const(np.zeros((5, 5), np.float16))}, X)
        assert len(problems(f)) == 1
        assert one(f).startswith("matmul r0: ")

    def test_operands_of_two_ranks_are_not_concatenated(self) -> None:
        f = building(x=X, y=TensorType(FP16, (4,)))
        raw(f, "concat", {"values": [f.inputs["x"], f.inputs["y"]], "axis": Const.of(3), "interleave": Const.of(False)}, X)
        assert one(f) == "concat r0: 'values' have to be of one rank, and are of 4, 1"

    def test_a_number_of_results_that_the_row_states(self) -> None:
        f = building()
        raw(f, "relu", {"x": f.inputs["x"]}, X, X)
        assert one(f) == "relu r0: it has 2 results, not 1"

    def test_a_number_of_results_that_the_operands_decide(self) -> None:
        f = building()
        half = TensorType(FP16, (1, 2, 8, 8))
        raw(f, "split", {"x": f.inputs["x"], "num_splits": Const.of(2), "axis": Const.of(1)}, half)
        assert one(f) == "split r0: it has 1 result, not 2"

    @pytest.mark.parametrize(
        ("a", "b", "expected"),
        [
            (X, TensorType(FP16, (UNKNOWN, 4, 8, 8)), True),
            (X, TensorType(FP16, (4, 8, 8)), False),
            (X, TensorType(FP16, (), -1), True),
            (X, X.with_dtype(FP32), False),
            (ListType(X), ListType(X, 3), True),
            (ListType(X, 2), ListType(X, 3), False),
            (StateType(X), StateType(TensorType(FP16, (1, UNKNOWN, 8, 8))), True),
            (ListType(X), X, False),
        ],
    )
    def test_types_agree_where_one_value_can_be_of_both(self, a: Type, b: Type, expected: bool) -> None:
        assert agree(a, b) is expected
        assert agree(b, a) is expected


class TestOpsets:
    @pytest.mark.parametrize(("op_type", "first"), [("constexpr_cast", IOS16), ("quantize", IOS17), ("read_state", IOS18)])
    def test_an_op_that_came_later(self, op_type: str, first: Opset) -> None:
        f = building(IOS15)
        raw(f, op_type, {}, X)
        assert one(f) == f"{op_type} r0: the op came with {first}, and the function is written for iOS15: raise the opset to {first} first"

    def test_an_inactive_specialization_is_held_against_its_own_opset(self) -> None:
        f = building(IOS15)
        block = Block()
        f.function.add_block("CoreML8", block)
        made = Op("quantize", {}, [("q", X)])
        block.append(made)
        assert messages(f) == [
            f"quantize q: the required parameter {name} is missing" for name in ("input", "scale", "output_dtype")
        ]

    def test_nested_ops_are_held_against_the_functions_opset(self) -> None:
        f = building(IOS15)
        inner = Block()
        inner.append(Op("quantize", {}, [("q", X)]))
        f.insert(Op("my_op", {}, [], blocks=[inner]))
        assert one(f).startswith("quantize q: the op came with iOS17")


class TestConstexprOperands:
    def make(self, opset: Opset) -> tuple[FunctionBuilder, Op]:
        f = building(opset)
        data = np.ones((4,), np.int8)
        if opset >= IOS18:
            return f, f.op("constexpr_blockwise_shift_scale", data=data, scale=np.ones((1,), np.float16))
        made = f.op("constexpr_affine_dequantize", quantized_data=data, zero_point=np.int8(0), scale=np.float16(1), axis=0)
        return f, made

    @pytest.mark.parametrize("opset", [IOS16, IOS17, IOS18, IOS26])
    def test_a_bias_may_be_one(self, opset: Opset) -> None:
        f, weight = self.make(opset)
        f.op("conv", x=f.inputs["x"], weight=np.zeros((4, 4, 1, 1), np.float16), bias=weight)
        assert messages(f) == []

    def test_the_alpha_of_prelu_may_not(self) -> None:
        f, weight = self.make(IOS18)
        f.op("prelu", x=f.inputs["x"], alpha=weight)
        assert one(f) == "prelu prelu: alpha cannot be the result of a constexpr op: decompress it to a const"

    def test_a_chain_is_for_ios18(self) -> None:
        f, weight = self.make(IOS18)
        f.op("constexpr_blockwise_shift_scale", data=weight, scale=np.ones((1,), np.float16))
        assert messages(f) == []


def packed(dtype: DType, *shape: int) -> Tensor:
    return PackedTensor(bytes(packed_size(int(np.prod(shape)), dtype.bits)), dtype, shape)


def array(dtype: DType, *shape: int) -> Tensor:
    return ArrayTensor(np.ones(shape, dtype.numpy), dtype)


HALF = TensorType(FP16, (4, 8))

SHAPE = np.array([4, 8], np.uint32)

PACKED_FORMS: Sequence[tuple[str, Operands, str]] = [
    (
        "affine_dequantize",
        {"quantized_data": array(INT8, 4, 8), "zero_point": array(INT8, 8), "scale": array(FP16, 4), "axis": 0},
        "length",
    ),
    ("affine_dequantize", {"quantized_data": array(INT8, 4, 8), "zero_point": array(INT8), "scale": array(FP16, 4), "axis": 2}, "axis"),
    ("affine_dequantize", {"quantized_data": array(INT8, 4, 8), "zero_point": array(INT8), "scale": array(FP16, 4, 1), "axis": 0}, "scale"),
    ("lut_to_dense", {"indices": array(UINT8, 15), "lut": array(FP16, 16), "shape": SHAPE}, "bytes"),
    ("lut_to_dense", {"indices": array(UINT8, 16), "lut": array(FP16, 8), "shape": SHAPE}, "entries"),
    ("sparse_to_dense", {"nonzero_data": array(FP16, 9), "mask": array(UINT8, 5), "shape": SHAPE}, "bytes"),
    ("sparse_to_dense", {"nonzero_data": array(FP16, 33), "mask": array(UINT8, 4), "shape": SHAPE}, "more than the 32"),
    ("cast", {"source_val": array(FP32, 4, 8), "output_dtype": "fp32"}, "it takes fp16"),
    ("cast", {"source_val": array(FP16, 4, 8), "output_dtype": "fp16"}, "fp32"),
]

BLOCK_FORMS: Sequence[tuple[str, Operands, str]] = [
    ("blockwise_shift_scale", {"data": array(INT8, 4, 8), "scale": array(FP16, 4)}, "scale"),
    ("blockwise_shift_scale", {"data": array(INT8, 4, 8), "scale": array(FP16, 4, 3)}, "blocks"),
    ("blockwise_shift_scale", {"data": array(INT8, 4, 8), "scale": array(FP16, 4, 2), "offset": array(INT8, 4, 1)}, "offset"),
    ("blockwise_shift_scale", {"data": array(INT8, 4, 8), "scale": array(FP16, 4, 2), "offset": packed(UINT4, 4, 2)}, "offset"),
    ("blockwise_shift_scale", {"data": array(INT8), "scale": array(FP16)}, "data"),
    ("lut_to_dense", {"indices": packed(UINT4, 4, 8), "lut": array(FP16, 1, 16, 1)}, "lut"),
    ("lut_to_dense", {"indices": packed(UINT4, 4, 8), "lut": array(FP16, 1, 1, 8, 1)}, "entries"),
    ("lut_to_dense", {"indices": packed(UINT3, 4, 8), "lut": array(FP16, 3, 1, 8, 1)}, "blocks"),
    ("lut_to_dense", {"indices": packed(UINT4, 4, 8), "lut": array(FP16, 1, 1, 16, 2)}, "vector_axis"),
    ("lut_to_dense", {"indices": array(INT32, 4, 8), "lut": array(FP16, 1, 1, 16, 1)}, "it takes uint1"),
    ("sparse_to_dense", {"nonzero_data": array(FP16, 33), "mask": packed(UINT1, 4, 8)}, "more than the 32"),
    ("sparse_to_dense", {"nonzero_data": array(FP16, 3, 3), "mask": packed(UINT1, 4, 8)}, "nonzero_data"),
]

PAIR_FORMS: Sequence[tuple[str, Operands, str]] = [
    (
        "lut_to_sparse",
        {"indices_mask": packed(UINT1, 4, 8), "indices_nonzero_data": packed(UINT4, 33), "lut": array(FP16, 1, 1, 16, 1)},
        "more than",
    ),
    ("lut_to_sparse", {"indices_mask": packed(UINT1, 4, 8), "indices_nonzero_data": packed(UINT4, 9), "lut": array(FP16, 1, 16, 1)}, "lut"),
    (
        "sparse_blockwise_shift_scale",
        {"data_mask": packed(UINT1, 4, 8), "nonzero_data": packed(INT4, 33), "scale": array(FP16, 4, 1)},
        "more than",
    ),
    (
        "sparse_blockwise_shift_scale",
        {"data_mask": packed(UINT1, 4, 8), "nonzero_data": packed(INT4, 9), "scale": array(FP16, 4, 3)},
        "blocks",
    ),
]


def _literal(value: object) -> Const:
    return Const.of(value)  # type: ignore[arg-type]


class TestConstexprShapes:
    @pytest.mark.parametrize(("kind", "given", "expected"), PACKED_FORMS)
    def test_a_packed_form_that_breaks_a_rule(self, kind: str, given: Operands, expected: str) -> None:
        f = building(IOS16)
        result = TensorType(FP32 if kind == "cast" else FP16, (4, 8))
        raw(f, f"constexpr_{kind}", {}, result, **{name: _literal(value) for name, value in given.items()})
        assert expected in one(f)

    @pytest.mark.parametrize(("kind", "given", "expected"), BLOCK_FORMS)
    def test_a_form_of_ios18_that_breaks_a_rule(self, kind: str, given: Operands, expected: str) -> None:
        f = building(IOS18)
        raw(f, f"constexpr_{kind}", {name: _literal(value) for name, value in given.items()}, HALF)
        assert expected in one(f)

    @pytest.mark.parametrize(("kind", "given", "expected"), PAIR_FORMS)
    def test_a_form_of_two_results_that_breaks_a_rule(self, kind: str, given: Operands, expected: str) -> None:
        f = building(IOS18)
        kept = next(value.shape for name, value in given.items() if "nonzero" in name)
        types = TensorType(UINT1, (4, 8)), TensorType(FP16, kept)
        raw(f, f"constexpr_{kind}", {name: _literal(value) for name, value in given.items()}, *types)
        assert expected in one(f)

    @pytest.mark.parametrize("opset", [IOS16, IOS17])
    def test_packed_forms_that_keep_the_rules(self, opset: Opset) -> None:
        f = building(opset)
        f.op("constexpr_affine_dequantize", quantized_data=array(INT8, 4, 8), zero_point=array(UINT8), scale=array(FP16, 8), axis=-1)
        f.op("constexpr_lut_to_dense", indices=array(UINT8, 16), lut=array(FP16, 16), shape=SHAPE)
        f.op("constexpr_sparse_to_dense", nonzero_data=array(FP16, 9), mask=array(UINT8, 4), shape=SHAPE)
        f.op("constexpr_cast", source_val=array(FP16, 4, 8), output_dtype="fp32")
        assert messages(f) == []

    @pytest.mark.parametrize("opset", [IOS18, IOS26])
    def test_forms_of_ios18_that_keep_the_rules(self, opset: Opset) -> None:
        f = building(opset)
        mask = packed(UINT1, 4, 8)
        f.op("constexpr_blockwise_shift_scale", data=packed(INT4, 4, 8), scale=array(FP16, 4, 2), offset=packed(INT4, 4, 2))
        f.op("constexpr_lut_to_dense", indices=packed(UINT3, 4, 8), lut=array(FP16, 2, 1, 8, 1))
        vectors = f.op("constexpr_lut_to_dense", indices=packed(UINT4, 4, 8), lut=array(FP16, 1, 1, 16, 2), vector_axis=0)
        assert vectors.output.type == TensorType(FP16, (8, 8))
        indices = packed(UINT4, 9)
        sparse = f.op("constexpr_lut_to_sparse", indices_mask=mask, indices_nonzero_data=indices, lut=array(FP16, 1, 1, 16, 1))
        f.op("constexpr_sparse_to_dense", nonzero_data=sparse.outputs[1], mask=sparse.outputs[0])
        f.op("constexpr_sparse_blockwise_shift_scale", data_mask=mask, nonzero_data=packed(INT4, 9), scale=array(FP16, 4, 1))
        assert messages(f) == []

    def test_a_form_of_ios16_with_operands_below_ios18(self) -> None:
        f = building(IOS16)
        raw(f, "constexpr_cast", {"source_val": Const.of(array(FP16, 4)), "output_dtype": Const.of("fp32")}, TensorType(FP32, (4,)))
        assert messages(f)[0] == "constexpr_cast r0: source_val has to be an attribute in iOS16, not an operand"


class TestControl:
    def loop(self, condition_results: int = 1, body_results: int = 1, inputs: int = 1) -> FunctionBuilder:
        f = building(IOS18, i=TensorType(INT32))
        with f.nested({f"v{k}": TensorType(INT32) for k in range(inputs)}) as condition:
            less = condition.op("less", x=condition.inputs["v0"], y=3)
            condition.outputs(*[less] * condition_results)
        with f.nested({f"v{k}": TensorType(INT32) for k in range(inputs)}) as body:
            body.outputs(*[body.inputs["v0"]] * body_results)
        f.op("while_loop", loop_vars=[f.inputs["i"]], blocks=[condition, body])
        return f

    def test_a_loop_that_fits(self) -> None:
        assert messages(self.loop()) == []

    def test_a_body_that_returns_another_number_of_values(self) -> None:
        assert one(self.loop(body_results=2)) == "while_loop while_loop: its body returns 2 values, and the op has 1 loop variable"

    def test_a_condition_that_returns_two_values(self) -> None:
        assert one(self.loop(condition_results=2)) == "while_loop while_loop: its condition returns 2 values, not 1"

    def test_blocks_that_take_another_number_of_values(self) -> None:
        assert messages(self.loop(inputs=2)) == [
            f"while_loop while_loop: its {what} takes 2 values, and the op has 1 loop variable" for what in ("condition", "body")
        ]

    def test_a_branch_that_returns_another_number_of_values(self) -> None:
        f = building()
        with f.nested() as true, f.nested() as false:
            true.outputs(f.inputs["x"])
        f.op("cond", pred=True, blocks=[true, false], outputs=[("c", X)])
        assert one(f) == "cond cond: its false block returns 0 values, and the op has 1 result"

    def test_a_number_of_nested_blocks(self) -> None:
        f = building()
        f.op("relu", x=f.inputs["x"], blocks=[Block()])
        assert one(f) == "relu relu: it has 1 nested block, not 0"


class TestScope:
    def test_only_the_ops_given_are_checked(self) -> None:
        f = building()
        good, bad = f.op("relu", x=f.inputs["x"]), f.op("tanh", x=f.inputs["x"])
        bad.unset("x")
        assert specification.problems([good]) == []
        assert [problem.where for problem in specification.problems(iter([bad]))] == [bad]

    def test_no_weight_is_read(self) -> None:
        class Unread(PackedTensor):
            def payload(self) -> memoryview:
                raise AssertionError("the weight was read")

        f = building()
        weight = Unread(bytes(2 * 4 * 4), FP16, (4, 4, 1, 1))
        f.outputs(f.op("conv", x=f.inputs["x"], weight=weight))
        assert messages(f) == []

    def test_all_problems_are_raised_together(self) -> None:
        f = building()
        for _ in range(3):
            f.op("relu", x=f.inputs["x"]).unset("x")
        with pytest.raises(InvalidProgramError) as raised:
            specification.verify(f.function)
        assert len(raised.value.problems) == 3

    def test_nothing_is_raised_for_what_is_sound(self) -> None:
        specification.verify(Function("main"))


@settings(max_examples=60, deadline=None)
@given(programs(Wildness(names=wild_names, text=wild_text, shadowing=True)))
def test_no_program_however_odd_is_beyond_a_report(program: Program) -> None:
    for module in (structure, specification):
        found = module.problems(program)
        if found:
            with pytest.raises(InvalidProgramError) as raised:
                module.verify(program)
            assert len(raised.value.problems) == len(found)
