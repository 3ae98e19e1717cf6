"""The builder: operands from Python values, element types, inferred results, names, places, nested blocks, whole programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ir.builder import Builder, BuilderError, FunctionBuilder, Names, build_program
from ir.const import Const
from ir.core import Block, Op, Value, constant_of
from ir.diagnostics import MutationError
from ir.infer import InferError
from ir.opset import IOS15, IOS16, IOS17, IOS18, IOS26, Opset
from ir.tensors import ArrayTensor
from ir.types import BOOL, FP16, FP32, INT32, INT64, STRING, UINT4, UNKNOWN, DType, ListType, StateType, TensorType
from ir.verify import specification, structure
from tests import oracle

X = TensorType(FP16, (1, 3, 8, 8))


def building(opset: Opset = IOS16, dtype: DType = FP16) -> FunctionBuilder:
    return FunctionBuilder("main", {"x": TensorType(dtype, (1, 3, 8, 8))}, opset)


def literal(op: Op, parameter: str) -> Const:
    found = constant_of(op[parameter])
    assert found is not None
    return found


class TestOperands:
    def test_a_python_value_becomes_a_const_op_before_the_op(self) -> None:
        f = building()
        op = f.op("transpose", x=f.inputs["x"], perm=[0, 2, 3, 1])
        const = op["perm"]
        assert isinstance(const, Value)
        assert const.op is op.previous
        assert literal(op, "perm") == Const.of([0, 2, 3, 1], INT32)

    def test_a_const_op_is_called_after_the_op_and_the_parameter(self) -> None:
        f = building()
        op = f.op("transpose", name="turned", x=f.inputs["x"], perm=[0, 2, 3, 1])
        assert op.previous is not None
        assert op.previous.name == op.previous.output.name == "turned_perm"

    def test_a_literal_stays_inline(self) -> None:
        f = building()
        perm = Const.of([0, 2, 3, 1])
        assert f.op("transpose", x=f.inputs["x"], perm=perm)["perm"] is perm

    def test_an_op_stands_for_its_output(self) -> None:
        f = building()
        first = f.op("relu", x=f.inputs["x"])
        assert f.op("tanh", x=first)["x"] is first.output

    def test_none_leaves_a_parameter_out_and_its_default_too(self) -> None:
        f = building()
        op = f.op("softmax", x=f.inputs["x"], axis=None)
        assert list(op.operands) == ["x"]

    def test_defaults_are_written_out(self) -> None:
        f = building()
        op = f.op("conv", x=f.inputs["x"], weight=np.zeros((4, 3, 1, 1), np.float16))
        assert {name: literal(op, name).numpy().tolist() for name in op.operands if name not in ("x", "weight")} == {
            "strides": [1, 1], "pad_type": "valid", "pad": [0, 0, 0, 0], "dilations": [1, 1], "groups": 1,
        }  # fmt: skip

    def test_a_default_that_goes_with_something_false_stays_out(self) -> None:
        f = FunctionBuilder("main", {"x": TensorType(FP16, (4,))}, IOS17)
        assert "output_indices_dtype" not in f.op("topk", x=f.inputs["x"], k=2, return_indices=False)
        assert "output_indices_dtype" in f.op("topk", x=f.inputs["x"], k=2, return_indices=True)
        assert "output_indices_dtype" in f.op("topk", x=f.inputs["x"], k=2)

    def test_coremltools_accepts_it_so(self, tmp_path: Path) -> None:
        f = FunctionBuilder("main", {"x": TensorType(FP16, (4,))}, IOS17)
        f.outputs(y=f.op("topk", x=f.inputs["x"], k=2, return_indices=False))
        oracle.accepted(build_program(f).save(tmp_path / "topk.mlpackage"))

    def test_a_parameter_without_a_default_stays_out(self) -> None:
        f = building()
        assert "bias" not in f.op("conv", x=f.inputs["x"], weight=np.zeros((4, 3, 1, 1), np.float16))

    def test_the_operands_of_a_variadic_parameter_may_be_mixed(self) -> None:
        f = building()
        part = np.ones((1, 1, 8, 8), np.float16)
        op = f.op("concat", values=[f.inputs["x"], part, Const.of(part)], axis=1)
        assert [isinstance(operand, Value) for operand in op.operands["values"]] == [True, True, False]
        assert op.output.type == TensorType(FP16, (1, 5, 8, 8))

    def test_an_array_keeps_its_element_type(self) -> None:
        f = building(IOS17)
        op = f.op("conv", x=f.inputs["x"], weight=np.zeros((4, 3, 1, 1), np.float32))
        assert literal(op, "weight").type == TensorType(FP32, (4, 3, 1, 1))

    def test_a_tensor_is_not_copied(self) -> None:
        f = building()
        tensor = ArrayTensor(np.zeros((4, 3, 1, 1), np.float16))
        op = f.op("conv", x=f.inputs["x"], weight=tensor)
        assert literal(op, "weight").tensor is tensor

    def test_a_list_parameter_is_an_inline_list(self) -> None:
        f = FunctionBuilder("main", {"p": TensorType(FP32, (2,))})
        op = f.op("classify", probabilities=f.inputs["p"], classes=["cat", "dog"])
        classes = op["classes"]
        assert isinstance(classes, Const)
        assert classes.type == ListType(TensorType(STRING), 2)
        assert [item.item() for item in classes.items] == ["cat", "dog"]

    def test_what_no_literal_stands_for_is_refused_and_nothing_is_added(self) -> None:
        f = building()
        with pytest.raises(BuilderError, match=r"perm of transpose cannot be \{\}"):
            f.op("transpose", x=f.inputs["x"], perm={})  # type: ignore[arg-type]
        assert len(f.block) == 0

    def test_an_integer_that_does_not_fit_is_refused(self) -> None:
        f = building()
        with pytest.raises(BuilderError, match="axis of softmax cannot be 1099511627776"):
            f.op("softmax", x=f.inputs["x"], axis=1 << 40)


class TestElementTypes:
    @pytest.mark.parametrize("dtype", [FP16, FP32])
    @pytest.mark.parametrize("value", [2, 2.0])
    def test_a_number_follows_the_other_operand(self, dtype: DType, value: float) -> None:
        f = building(dtype=dtype)
        assert literal(f.op("add", x=f.inputs["x"], y=value), "y").type == TensorType(dtype)
        assert literal(f.op("sub", x=value, y=f.inputs["x"]), "x").type == TensorType(dtype)

    @pytest.mark.parametrize("opset", [IOS15, IOS17])
    def test_an_epsilon_follows_the_input_whether_or_not_it_has_to(self, opset: Opset) -> None:
        f = building(opset)
        op = f.op("layer_norm", x=f.inputs["x"], axes=[-1], epsilon=1e-3)
        assert literal(op, "epsilon").type == TensorType(FP16)

    def test_an_integer_stays_one_where_integers_are_meant(self) -> None:
        f = building()
        op = f.op("gather", x=f.inputs["x"], indices=[0, 1], axis=1)
        assert literal(op, "indices").type == TensorType(INT32, (2,))

    def test_an_integer_becomes_what_the_parameter_takes(self) -> None:
        f = building()
        op = f.op("pixel_unshuffle", x=f.inputs["x"], downscale_factor=2)
        assert literal(op, "downscale_factor").type.__repr__() == "uint32"

    def test_a_float_never_becomes_an_integer(self) -> None:
        f = building(dtype=INT32)
        with pytest.raises(InferError):
            f.op("add", x=f.inputs["x"], y=0.5)
        assert len(f.block) == 0

    def test_truth_values_and_strings_stay_what_they_are(self) -> None:
        f = building()
        op = f.op("matmul", x=f.inputs["x"], y=f.inputs["x"], transpose_y=True)
        assert literal(op, "transpose_y").type == TensorType(BOOL)

    def test_an_empty_list_takes_the_parameters_type(self) -> None:
        f = FunctionBuilder("main", {"x": TensorType(FP16, ())})
        op = f.op("reshape", x=f.inputs["x"], shape=[])
        assert literal(op, "shape").type == TensorType(INT32, (0,))

    def test_of_an_unknown_op_the_value_decides(self) -> None:
        f = building()
        op = f.op("my_op", x=f.inputs["x"], k=3, s="same", type=X)
        assert [literal(op, p).type for p in "ks"] == [TensorType(INT32), TensorType(STRING)]


class TestResults:
    def test_types_are_inferred(self) -> None:
        f = building()
        assert f.op("reduce_mean", x=f.inputs["x"], axes=[2, 3]).output.type == TensorType(FP16, (1, 3))

    def test_several_results_are_numbered(self) -> None:
        f = building()
        op = f.op("split", name="part", x=f.inputs["x"], num_splits=2, axis=2)
        assert [value.name for value in op.outputs] == ["part_0", "part_1"]
        assert op.name == "part"

    def test_a_stated_type_wins(self) -> None:
        f = building()
        open_type = TensorType(FP16, (UNKNOWN, 3, 8, 8))
        assert f.op("relu", x=f.inputs["x"], type=open_type).output.type is open_type

    def test_outputs_state_names_and_types(self) -> None:
        f = building()
        op = f.op("my_op", x=f.inputs["x"], outputs=[("a", X), ("b", TensorType(INT64))])
        assert [(v.name, v.type) for v in op.outputs] == [("a", X), ("b", TensorType(INT64))]

    def test_an_unknown_op_needs_its_types_stated(self) -> None:
        f = building()
        with pytest.raises(BuilderError, match="the results of my_op are not known: state them"):
            f.op("my_op", x=f.inputs["x"])
        assert len(f.block) == 0

    def test_an_op_of_a_later_opset_says_so(self) -> None:
        f = building(IOS16)
        with pytest.raises(BuilderError, match="resize came with iOS17, and the function is written for iOS16"):
            f.op("resize", x=f.inputs["x"])

    def test_operands_that_do_not_fit_leave_nothing_behind(self) -> None:
        f = building()
        x = f.inputs["x"]
        with pytest.raises(InferError):
            f.op("matmul", x=x, y=np.zeros((5, 5), np.float16))
        assert len(f.block) == 0
        assert not x.is_used

    def test_an_op_without_results_has_none(self) -> None:
        state = TensorType(FP16, (2,))
        f = FunctionBuilder("main", {"s": StateType(state), "x": state}, IOS18)
        op = f.op("write_state", input=f.inputs["s"], data=f.inputs["x"])
        assert op.outputs == ()
        assert op.name == "write_state"


class TestNames:
    def test_an_op_without_a_name_is_called_by_its_type(self) -> None:
        f = building()
        ops = [f.op("relu", x=f.inputs["x"]) for _ in range(3)]
        assert [op.output.name for op in ops] == ["relu", "relu_0", "relu_1"]

    def test_the_name_attribute_is_set(self) -> None:
        f = building()
        assert f.op("relu", name="act", x=f.inputs["x"]).attributes["name"] == Const.of("act")

    def test_a_taken_name_is_refused_with_the_way_out(self) -> None:
        f = building()
        f.op("relu", name="act", x=f.inputs["x"])
        with pytest.raises(BuilderError, match=r"the name act is taken in the function: leave it out, or use fresh\('act'\)"):
            f.op("tanh", name="act", x=f.inputs["x"])

    def test_the_inputs_names_are_taken(self) -> None:
        f = building()
        assert f.fresh("x") == "x_0"

    def test_names_in_nested_blocks_are_taken(self) -> None:
        f = building()
        with f.nested() as inner:
            inner.outputs(inner.op("relu", name="deep", x=f.inputs["x"]))
        f.op("cond", pred=True, blocks=[inner, inner.block.clone()], outputs=[("c", X)])
        assert f.fresh("deep") == "deep_0"
        assert Builder(f.block).fresh("deep") == "deep_0"

    def test_names_around_a_nested_block_are_taken_inside_while_it_is_built(self) -> None:
        f = building()
        f.op("relu", name="outer", x=f.inputs["x"])
        with f.nested() as inner:
            assert inner.fresh("outer") == "outer_0"
            assert inner.fresh("x") == "x_0"

    def test_one_builders_names_are_fresh_for_the_other_side_too(self) -> None:
        f = building()
        with f.nested() as inner:
            inside = inner.fresh("n")
        assert f.fresh("n") != inside

    def test_illegal_characters_become_underscores(self) -> None:
        f = building()
        assert f.fresh("layers.0/q-proj") == "layers_0_q_proj"
        assert f.fresh("0") == "_0"
        assert f.fresh("") == "_"
        assert f.fresh("a@b") == "a@b"

    def test_a_new_builder_finds_a_free_name_in_few_look_ups(self, monkeypatch: pytest.MonkeyPatch) -> None:
        f = building()
        for _ in range(2000):
            f.op("relu", x=f.inputs["x"])
        looked_up = 0
        is_taken = Names.is_taken

        def counted(names: Names, name: str) -> bool:
            nonlocal looked_up
            looked_up += 1
            return is_taken(names, name)

        monkeypatch.setattr(Names, "is_taken", counted)
        assert not is_taken(Names(f.block), Names(f.block).fresh("relu"))
        assert looked_up < 20


class TestPlaces:
    def test_ops_go_to_the_end(self) -> None:
        f = building()
        first, second = f.op("relu", x=f.inputs["x"]), f.op("tanh", x=f.inputs["x"])
        assert list(f.block) == [first, second]

    def test_before_an_op_in_the_order_made(self) -> None:
        f = building()
        last = f.op("relu", x=f.inputs["x"])
        b = Builder.before(last)
        made = [b.op("tanh", x=f.inputs["x"]), b.op("sin", x=f.inputs["x"])]
        assert list(f.block) == [*made, last]

    def test_after_an_op_in_the_order_made(self) -> None:
        f = building()
        first, last = f.op("relu", x=f.inputs["x"]), f.op("relu", x=f.inputs["x"])
        b = Builder.after(first)
        made = [b.op("tanh", x=f.inputs["x"]), b.op("sin", x=f.inputs["x"])]
        assert list(f.block) == [first, *made, last]

    def test_a_builder_beside_an_op_knows_the_opset(self) -> None:
        f = building(IOS17)
        assert Builder.before(f.op("relu", x=f.inputs["x"])).opset is IOS17

    def test_a_detached_op_has_no_place_beside_it(self) -> None:
        with pytest.raises(BuilderError, match="relu y stands in no block"):
            Builder.after(Op("relu", {}, [("y", X)]))

    def test_the_origin_is_noted(self) -> None:
        f = building()
        op = Builder(f.block, origin="some pass").op("softmax", x=f.inputs["x"], axis=1)
        assert [made.origin for made in f.block] == ["some pass"] * 2
        assert op.origin == "some pass"

    def test_insert_refuses_what_stands_somewhere(self) -> None:
        f = building()
        with pytest.raises(MutationError, match="stands in a block already"):
            f.insert(f.op("relu", x=f.inputs["x"]))


class TestConst:
    def test_a_const_op_has_val_and_name(self) -> None:
        f = building()
        value = f.const(np.zeros(3, np.float16), name="zeros")
        assert value.op is not None
        assert value.op.attributes == {"name": Const.of("zeros"), "val": Const.of(np.zeros(3, np.float16))}

    def test_a_stated_dtype_converts(self) -> None:
        assert building().const([1, 2], dtype=FP16).type == TensorType(FP16, (2,))


class TestConstexpr:
    def test_below_ios18_operands_are_attributes(self) -> None:
        f = building(IOS16)
        data = np.ones((4, 3), np.int8)
        op = f.op("constexpr_affine_dequantize", quantized_data=data, scale=np.ones(4, np.float16), zero_point=np.int8(0), axis=0)
        assert not op.operands
        assert op.attributes["quantized_data"] == Const.of(data)
        assert op.output.type == TensorType(FP16, (4, 3))

    def test_from_ios18_they_are_inline_literals(self) -> None:
        f = building(IOS18)
        op = f.op("constexpr_blockwise_shift_scale", data=np.ones((4, 4), np.int8), scale=np.ones((4, 2), np.float16))
        assert all(isinstance(held[0], Const) for held in op.operands.values())
        assert len(f.block) == 1

    def test_a_chained_operand_is_a_value(self) -> None:
        f = building(IOS18)
        lut = f.op("constexpr_blockwise_shift_scale", data=np.ones((1, 1, 16, 1), np.int8), scale=np.ones((1, 1, 1, 1), np.float16))
        indices = ArrayTensor(np.zeros((4, 4), np.uint8), UINT4)
        op = f.op("constexpr_lut_to_dense", indices=indices, lut=lut)
        assert op["lut"] is lut.output
        assert op.output.type == TensorType(FP16, (4, 4))

    def test_a_computed_value_cannot_become_an_attribute(self) -> None:
        f = building(IOS16)
        with pytest.raises(BuilderError, match="source_val of constexpr_cast is an attribute"):
            f.op("constexpr_cast", source_val=f.inputs["x"], output_dtype="fp32")


class TestNested:
    def test_a_while_loop(self) -> None:
        f = FunctionBuilder("main", {"i": TensorType(INT32), "x": X}, IOS18)
        variables = {"i": TensorType(INT32), "v": X}
        with f.nested(variables) as condition:
            condition.outputs(condition.op("less", x=condition.inputs["i"], y=10))
        with f.nested(variables) as body:
            body.outputs(
                body.op("add", x=body.inputs["i"], y=1),
                body.op("mul", x=body.inputs["v"], y=f.inputs["x"]),
            )
        loop = f.op("while_loop", loop_vars=[f.inputs["i"], f.inputs["x"]], blocks=[condition, body])
        f.outputs(loop.outputs[1])
        program = build_program(f)
        structure.verify(program)
        specification.verify(program)
        assert [value.type for value in loop.outputs] == [TensorType(INT32), X]
        names = [value.name for block in loop.blocks for value in block.inputs]
        assert len({*names, "i", "x"}) == 6

    def test_an_exception_lets_go_of_what_the_block_used(self) -> None:
        f = building()
        with pytest.raises(BuilderError), f.nested() as inner:
            inner.outputs(inner.op("relu", x=f.inputs["x"]), inner.op("my_op", x=f.inputs["x"]))
        assert not f.inputs["x"].is_used


class TestPrograms:
    def test_a_program_has_the_version_that_its_opsets_need(self) -> None:
        one, two = FunctionBuilder("one", opset=IOS16), FunctionBuilder("two", opset=IOS18)
        program = build_program(one, two.function)
        assert program.spec_version == 9
        assert list(program.functions) == ["one", "two"]

    def test_outputs_by_keyword_are_renamed(self) -> None:
        with building() as f:
            f.outputs(f.inputs["x"], logits=f.op("relu", x=f.inputs["x"]))
        assert [value.name for value in f.function.outputs] == ["x", "logits"]

    def test_a_builder_of_a_functions_block_has_its_inputs(self) -> None:
        f = building()
        assert dict(Builder(f.block).inputs) == dict(f.inputs)

    def test_a_builder_of_a_nested_block_has_the_blocks(self) -> None:
        block = Block([("i", X)])
        assert list(Builder(block, opset=IOS18).inputs) == ["i"]


@pytest.mark.parametrize("opset", [IOS16, IOS17, IOS18, IOS26])
def test_what_is_built_is_accepted_by_coremltools(opset: Opset, tmp_path: Path) -> None:
    ct = pytest.importorskip("coremltools")
    from coremltools.converters.mil.frontend.milproto.load import load

    random = np.random.default_rng(0)
    with FunctionBuilder("main", {"x": X}, opset) as f:
        kernel = random.standard_normal((4, 3, 3, 3)).astype(np.float16)
        hidden = f.op("conv", x=f.inputs["x"], weight=kernel, strides=[2, 2], pad_type="same")
        hidden = f.op("layer_norm", x=f.op("relu", x=hidden), axes=[-1], epsilon=1e-3)
        hidden = f.op("add", x=hidden, y=Const.of(1.5, FP16))  # inline
        if opset >= IOS18:
            weight = f.op("constexpr_blockwise_shift_scale", data=np.ones((5, 4), np.int8), scale=np.ones((5, 1), np.float16))
        else:
            weight = f.op(
                "constexpr_affine_dequantize",
                quantized_data=np.ones((5, 4), np.int8), scale=np.ones(5, np.float16), zero_point=np.int8(0), axis=0,
            )  # fmt: skip
        hidden = f.op("linear", x=f.op("reduce_mean", x=hidden, axes=[2, 3]), weight=weight)
        f.outputs(y=f.op("concat", values=[hidden, np.ones((1, 2), np.float16)], axis=1))
    path = build_program(f).save(tmp_path / "built.mlpackage")
    spec = ct.models.MLModel(str(path), skip_model_load=True).get_spec()
    program = load(spec, spec.specificationVersion, str(path / "Data/com.apple.CoreML/weights"))
    program.validate()
    assert [output.name for output in program.functions["main"].outputs] == ["y"]
