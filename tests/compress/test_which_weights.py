"""Which constants passes over weights take, wherever they stand; and for the others, the reason why not."""

from __future__ import annotations

import numpy as np
import pytest

from ir.builder import FunctionBuilder, build_program
from ir.const import Const
from ir.core import Op, Program
from ir.opset import IOS15, IOS17, IOS18
from ir.tensors import ArrayTensor
from ir.types import BF16, FP16, INT32, TensorType
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.config import Quantize
from mlpasses.context import Context
from mlpasses.errors import ConfigError
from mlpasses.manager import run
from mlpasses.rules import Rule, Rules
from mlpasses.select import name, op_type
from tests.compress.models import KINDS, SMALL, constexprs, linear, numbers, reason, untouched, zoo


def test_biases_and_other_operands_are_no_candidates() -> None:
    result = run(zoo(IOS18), QuantizeWeights(Quantize(min_elements=1)))
    assert {row.name for row in result.report.weights} == set(KINDS)


@pytest.mark.parametrize(("least", "skipped"), [(128, None), (129, "it has 128 elements, fewer than min_elements=129")])
def test_weights_with_fewer_than_min_elements_are_left_alone_with_the_reason(least: int, skipped: str | None) -> None:
    (row,) = run(linear(numbers(8, 16)), QuantizeWeights(Quantize(min_elements=least))).report.weights
    assert row.skipped == skipped


def test_an_additive_constant_is_no_candidate() -> None:
    with FunctionBuilder(inputs={"x": TensorType(FP16, (8, 16))}, opset=IOS18) as f:
        f.outputs(y=f.op("add", x=f.inputs["x"], y=numbers(8, 16)))
    assert not run(build_program(f), QuantizeWeights(SMALL)).report.weights


def test_bf16_is_left_alone_with_the_reason() -> None:
    import ml_dtypes

    with FunctionBuilder(inputs={"x": TensorType(BF16, (1, 16))}, opset=IOS18) as f:
        weight = f.const(ArrayTensor(numbers(8, 16).astype(ml_dtypes.bfloat16), BF16), name="w")
        f.outputs(y=f.op("linear", x=f.inputs["x"], weight=weight, type=TensorType(BF16, (1, 8))))
    cx = Context()
    assert QuantizeWeights(SMALL).run(build_program(f), cx) == 0
    assert [row.skipped for row in cx.weights] == ["it is bf16, and constexpr ops yield fp16 and fp32 only"]


def test_a_vector_is_left_alone_with_the_reason() -> None:
    with FunctionBuilder(inputs={"i": TensorType(INT32, (2,))}, opset=IOS18) as f:
        f.outputs(y=f.op("gather", x=numbers(200), indices=f.inputs["i"], axis=0))
    assert "vector" in reason(run(build_program(f), QuantizeWeights(SMALL)))


def test_a_weight_that_would_grow_is_left_alone_with_the_reason() -> None:
    program = linear(numbers(300, 1), inputs=1)
    result = run(program, QuantizeWeights(SMALL))
    assert reason(result) == "it would not become smaller: it takes 600 bytes, and would take 900, of which 600 are scales"
    assert untouched(result, program)


def test_a_weight_that_a_block_returns_is_left_alone_with_the_reason() -> None:
    program = linear()
    body = program.main.body
    weight = body.value_named("w")
    assert weight is not None
    body.set_outputs([*body.outputs, weight])
    assert "a block returns it" in reason(run(program, QuantizeWeights(SMALL)))


def test_a_constant_that_only_a_block_returns_is_no_weight_even_where_a_rule_calls_it() -> None:
    with FunctionBuilder(inputs={"x": TensorType(FP16, (1, 16))}, opset=IOS18) as f:
        dense = f.op("linear", x=f.inputs["x"], weight=f.const(numbers(8, 16), name="w"))
        f.outputs(dense, f.const(numbers(8, 16), name="returned"))
    program = build_program(f)
    called = QuantizeWeights(Rules(Rule(name("returned"), SMALL, optional=True), default=SMALL))
    rows = {row.name: row for row in run(program, called).report.weights}
    assert (rows["returned"].op_type, rows["returned"].skipped) == ("", "a block returns it")
    assert rows["w"].skipped is None
    with pytest.raises(ConfigError, match="it is the name of const returned, which is no weight that was searched"):
        run(program, QuantizeWeights(Rules((name("returned"), SMALL), default=SMALL)))


def test_an_unknown_consumer_beside_a_known_one_keeps_a_weight_as_it_is() -> None:
    program = linear()
    body = program.main.body
    weight = body.value_named("w")
    assert weight is not None
    body.append(Op("my_op", {"x": weight}, [("z", TensorType(FP16, (1,)))], {"name": Const.of("z")}))
    assert reason(run(program, QuantizeWeights(SMALL))) == "it is used by x of my_op z, of which nothing is known"


def test_a_program_for_ios15_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r'function main is written for iOS15.*put RaiseOpset\("iOS16"\) before'):
        run(linear(opset=IOS15), QuantizeWeights(SMALL))


def test_what_an_opset_lacks_is_said_of_the_rule_that_wants_it() -> None:
    rules = Rules(Rule(op_type("conv"), None, optional=True), (op_type("linear"), SMALL))
    with pytest.raises(ConfigError, match=r'(?s)written for iOS15.*\n  --> rules\[1\]: \(op_type\("linear"\), Quantize\('):
        run(linear(opset=IOS15), QuantizeWeights(rules))


def test_a_program_for_ios15_without_weights_is_none_of_our_business() -> None:
    with FunctionBuilder(inputs={"x": TensorType(FP16, (8,))}, opset=IOS15) as f:
        f.outputs(f.op("relu", x=f.inputs["x"]))
    assert not run(build_program(f), QuantizeWeights()).report.weights


def test_weights_in_nested_blocks_are_quantized() -> None:
    with FunctionBuilder(inputs={"x": TensorType(FP16, (1, 16)), "p": TensorType(FP16, (1,))}, opset=IOS18) as f:
        zero = f.op("greater", x=f.inputs["p"], y=np.float16(0))
        truth = f.op("squeeze", x=zero, axes=[0])
        branches = []
        for seed in range(2):
            with f.nested() as inner:
                inner.outputs(inner.op("linear", x=f.inputs["x"], weight=numbers(8, 16, seed=seed)))
            branches.append(inner)
        f.outputs(f.op("cond", pred=truth, blocks=branches, type=TensorType(FP16, (1, 8))))
    assert len(constexprs(run(build_program(f), QuantizeWeights(SMALL)).program)) == 2


def test_every_specialization_gets_the_form_of_its_opset() -> None:
    function = linear(opset=IOS18).main.clone()
    function.add_block("CoreML7", function.body.clone(dict(zip(function.inputs, function.inputs, strict=True))))
    result = run(Program([function], spec_version=9), QuantizeWeights(SMALL)).program
    assert {op.op_type for op in result.main.specializations["CoreML7"].ops()} >= {"constexpr_affine_dequantize"}
    assert {op.op_type for op in result.main.specializations["CoreML8"].ops()} >= {"constexpr_blockwise_shift_scale"}


def test_a_specialization_for_an_unknown_opset_is_left_alone_with_a_note() -> None:
    function = linear().main.clone()
    function.add_block("CoreML99", function.body.clone(dict(zip(function.inputs, function.inputs, strict=True))))
    cx = Context()
    assert QuantizeWeights(SMALL).run(Program([function], spec_version=9), cx) == 1
    assert [(note.where, note.reason) for note in cx.notes] == [
        ("function main", "weights of its specialization for CoreML99 were left alone: that opset is not known")
    ]


def test_weights_of_the_stages_of_a_pipeline_are_quantized() -> None:
    wrapper = Program(spec_version=9)
    wrapper.stages = {(0,): linear(), (1,): linear(opset=IOS17)}
    found = [op.op_type for op in constexprs(run(wrapper, QuantizeWeights(SMALL)).program)]
    assert found == ["constexpr_blockwise_shift_scale", "constexpr_affine_dequantize"]
