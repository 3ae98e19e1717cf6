"""Weights that several ops or functions use: compressed once, stored once, and along an axis that all of their consumers mean.

And what is not compressed: it has a reason, and is not altered by a bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from ir.builder import FunctionBuilder, build_program
from ir.const import Const
from ir.core import Program, constant_of
from ir.mil.load import load_program
from ir.opset import IOS16, IOS17, IOS18, IOS26, Opset
from ir.specs import is_constexpr
from ir.tensors import ArrayTensor, same_tensor
from ir.types import FP16, FP32, INT8, INT32, UINT4, TensorType
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.compress.quantize_luts import QuantizeLuts
from mlpasses.compress.weight_pass import WeightPass
from mlpasses.config import NM, Magnitude, Palettize, Quantize, QuantizeLut, Threshold
from mlpasses.errors import ConfigError
from mlpasses.manager import run
from mlpasses.pipeline import Pipeline
from mlpasses.rules import Rules
from mlpasses.select import name
from tests.compress.models import (
    SMALL,
    constexprs,
    files,
    linear,
    linears,
    numbers,
    reason,
    reloaded,
    the_constexpr,
    two_functions,
    untouched,
)

PASSES = [
    pytest.param(QuantizeWeights(SMALL), id="quantize"),
    pytest.param(PalettizeWeights(Palettize(4, min_elements=64)), id="palettize"),
    pytest.param(PruneWeights(Magnitude(0.5, min_elements=64)), id="prune"),
]
ON_CHANNELS = [
    pytest.param(QuantizeWeights(SMALL), id="quantize"),
    pytest.param(PalettizeWeights(Palettize(2, group_size=8, min_elements=64)), id="palettize"),
    pytest.param(PruneWeights(NM(2, 4, dim="output", min_elements=64)), id="prune"),
]
passes = pytest.mark.parametrize("weight_pass", PASSES)
on_channels = pytest.mark.parametrize("weight_pass", ON_CHANNELS)


def crossed() -> Program:
    """A weight whose output channels are along axis 0 for one of its consumers, and along axis 1 for the other."""
    with FunctionBuilder(inputs={"x": TensorType(FP16, (1, 16))}, opset=IOS18) as f:
        weight = f.const(numbers(16, 16), name="w")
        a = f.op("linear", x=f.inputs["x"], weight=weight, name="a")
        f.outputs(f.op("matmul", x=a, y=weight, name="b"))
    return build_program(f)


def tied() -> Program:
    """A table that is looked up in one place and multiplied with in another."""
    with FunctionBuilder(inputs={"x": TensorType(FP16, (1, 16)), "i": TensorType(INT32, (3,))}, opset=IOS18) as f:
        weight = f.const(numbers(32, 16), name="tied")
        f.outputs(
            f.op("linear", x=f.inputs["x"], weight=weight, name="head"),
            f.op("gather", x=weight, indices=f.inputs["i"], axis=0, name="table"),
        )
    return build_program(f)


# Consumers


@on_channels
def test_consumers_that_disagree_about_the_channels_keep_a_weight_as_it_is(weight_pass: WeightPass) -> None:
    program = crossed()
    result = run(program, weight_pass)
    assert reason(result) == (
        "its consumers disagree about the axis of its output channels (0 in weight of linear a, 1 in y of matmul b): give an axis"
    )
    assert untouched(result, program)


@passes
def test_consumers_that_disagree_about_the_channels_do_not_matter_where_there_are_none(weight_pass: WeightPass) -> None:
    if isinstance(weight_pass, QuantizeWeights):
        weight_pass = QuantizeWeights(evolve(SMALL, granularity="per-tensor"))
    assert len(constexprs(run(crossed(), weight_pass).program)) == 1


@pytest.mark.parametrize(("axis", "shape"), [(0, (16, 1)), (1, (1, 16)), (-1, (1, 16)), (-2, (16, 1))])
def test_an_axis_that_is_given_decides_between_consumers(axis: int, shape: tuple[int, ...]) -> None:
    scale = the_constexpr(run(crossed(), QuantizeWeights(evolve(SMALL, axis=axis))).program)["scale"]
    assert scale.type is TensorType(FP16, shape)


def test_an_axis_that_a_weight_does_not_have_is_a_reason_to_leave_it_alone() -> None:
    assert reason(run(crossed(), QuantizeWeights(evolve(SMALL, axis=2)))) == "it has no axis 2: it is of rank 2"


def test_groups_lie_along_an_axis_that_is_given() -> None:
    result = run(crossed(), PalettizeWeights(Palettize(2, group_size=8, axis=1, min_elements=64)))
    assert the_constexpr(result.program)["lut"].type is TensorType(FP16, (1, 2, 4, 1))


@on_channels
def test_an_embedding_that_is_tied_to_the_head_is_compressed_for_both(weight_pass: WeightPass) -> None:
    op = the_constexpr(run(tied(), weight_pass).program)
    assert {user.name for user in op.output.users} == {"head", "table"}


# Functions


@passes
def test_a_weight_that_functions_share_stays_shared(weight_pass: WeightPass) -> None:
    one, other = constexprs(run(two_functions(), weight_pass).program)
    held = {name: operand for name, (operand,) in one.operands.items()}
    assert held
    for parameter, operand in held.items():
        assert isinstance(operand, Const)
        twin = other[parameter]
        assert isinstance(twin, Const)
        assert operand.tensor is twin.tensor


@passes
def test_a_weight_that_functions_share_is_reported_once(weight_pass: WeightPass) -> None:
    assert [row.name for row in run(two_functions(), weight_pass).report.weights] == ["w"]


@pytest.mark.parametrize(
    "weight_pass",
    [PruneWeights(Threshold(minimum_sparsity=0.9, min_elements=64)), PalettizeWeights(Palettize(1, "unique", min_elements=64))],
    ids=["prune", "palettize"],
)  # fmt: skip
def test_a_weight_that_functions_share_is_reported_once_where_its_numbers_keep_it_as_it_is(weight_pass: WeightPass) -> None:
    report = run(two_functions(), weight_pass).report
    assert [(row.where, row.name, row.skipped is None) for row in report.weights] == [("first", "w", False)]
    assert [row.key for row in weight_pass.plan(two_functions()).rows] == [row.key for row in report.weights]


@passes
def test_what_functions_share_is_reported_once_where_it_is_left_alone(weight_pass: WeightPass) -> None:
    with FunctionBuilder(inputs={"x": TensorType(FP16, (64, 64))}, opset=IOS18) as f:
        x = f.op("add", x=f.inputs["x"], y=f.const(numbers(64, 64), name="table"))
        f.outputs(f.op("linear", x=x, weight=f.const(numbers(4, 64, seed=1), name="w")))
    first = build_program(f).main.clone("first")
    program = Program([first, first.clone("second")], spec_version=9)
    every = type(weight_pass)(evolve(weight_pass.rules.rules[0].config, min_elements=1000))
    report = run(program, every).report
    assert [(row.where, row.name, row.skipped is None) for row in report.weights] == [("first", "w", False), ("first", "table", False)]
    assert report.before == 2 * (4 * 64 + 64 * 64)
    assert [row.key for row in every.plan(program).rows] == [row.key for row in report.weights]


def test_what_is_wrong_with_a_weight_that_functions_share_is_said_once() -> None:
    indivisible = PalettizeWeights(Palettize(2, group_size=3, indivisible="error", min_elements=64))
    (finding,) = indivisible.plan(two_functions()).findings
    assert finding.startswith("w (of linear): ")


@passes
def test_a_weight_that_functions_share_is_planned_once(weight_pass: WeightPass) -> None:
    assert [row.name for row in weight_pass.plan(two_functions()).rows] == ["w"]


@passes
def test_a_shared_weight_is_written_once(weight_pass: WeightPass, tmp_path: Path) -> None:
    shared = run(two_functions(), weight_pass).save(tmp_path / "two.mlpackage")
    single = run(linear(), weight_pass).save(tmp_path / "one.mlpackage")
    assert files(shared)["weight.bin"] == files(single)["weight.bin"]
    one, other = constexprs(load_program(shared))
    assert all(one[parameter] == other[parameter] for parameter in one.operands)


def test_equal_weights_of_two_consts_are_stored_once(tmp_path: Path) -> None:
    alike = linears({"a": numbers(32, 64), "b": numbers(32, 64)})
    one = run(alike, QuantizeWeights(SMALL)).save(tmp_path / "alike.mlpackage")
    other = run(linears({"a": numbers(32, 64)}), QuantizeWeights(SMALL)).save(tmp_path / "single.mlpackage")
    assert len(files(one)["weight.bin"]) == len(files(other)["weight.bin"])


def two_names() -> Program:
    """Two functions that share one weight, which is `w` in one and `v` in the other."""
    program = two_functions()
    next(op for op in program.functions["second"].ops() if op.op_type == "const" and op.output.name == "w").output.rename("v")
    return program


@pytest.mark.parametrize("dtypes", [("int4", "int8"), ("int8", "int4")])
def test_a_shared_weight_with_two_configs_is_compressed_once_as_the_one_that_keeps_more(dtypes: Any) -> None:
    rules = Rules(*((name(each), Quantize(dtype, min_elements=64)) for each, dtype in zip(("w", "v"), dtypes, strict=True)))
    one, other = constexprs(run(two_names(), QuantizeWeights(rules)).program)
    assert one["data"].type is other["data"].type is TensorType(INT8, (8, 16))


def test_a_shared_weight_with_two_configs_is_an_error_where_that_is_asked_for() -> None:
    rules = Rules((name("w"), Quantize("int4", min_elements=64)), (name("v"), SMALL), conflicts="error")
    with pytest.raises(ConfigError, match="w"):
        run(two_names(), QuantizeWeights(rules))


# Compressed weights


def test_a_sparse_weight_that_functions_of_ios16_share_is_pruned_once(tmp_path: Path) -> None:
    first = linear(opset=IOS16).main.clone("first")
    sparse = run(Program([first, first.clone("second")], spec_version=9), PruneWeights(Magnitude(0.5, min_elements=64)))
    result = run(reloaded(sparse, tmp_path / "sparse.mlpackage"), PruneWeights(Magnitude(0.75, min_elements=64)))
    assert [(row.where, row.name) for row in result.report.weights] == [("first", "w")]
    one, other = constexprs(result.program)
    assert one.attributes["nonzero_data"].tensor is other.attributes["nonzero_data"].tensor


@pytest.mark.parametrize("opsets", [(IOS26, IOS18), (IOS18, IOS26)], ids=["iOS26 first", "iOS18 first"])
def test_each_opset_writes_what_functions_share_in_its_own_way(opsets: tuple[Opset, Opset]) -> None:
    functions = [FunctionBuilder(opset.target, {"x": TensorType(FP16, (1, 16))}, opset) for opset in opsets]
    weight = Const.of(ArrayTensor(numbers(8, 16)))
    for f in functions:
        f.outputs(y=f.op("linear", x=f.inputs["x"], weight=f.const(weight, name="w"), name="lin"))
    tables = Pipeline(PalettizeWeights(Palettize(2, min_elements=64)), QuantizeLuts(QuantizeLut("int8", min_elements=64)))
    program = run(build_program(*functions), tables).program
    found = {name: [op.op_type for op in function.ops() if is_constexpr(op.op_type)] for name, function in program.functions.items()}
    assert found == {
        "iOS18": ["constexpr_blockwise_shift_scale", "constexpr_lut_to_dense"],
        "iOS26": ["constexpr_lut_to_dense", "constexpr_blockwise_shift_scale"],
    }
    one, other = (constant_of(op["indices"]) for op in constexprs(program) if op.op_type == "constexpr_lut_to_dense")
    assert one is not None
    assert other is not None
    assert one.tensor is other.tensor


INDICES = Const.of(ArrayTensor(np.arange(128, dtype=np.uint8).reshape(8, 16) % 16, UINT4))
LUT = Const.of(ArrayTensor(numbers(1, 1, 16, 1)))
PAIRS = Const.of(ArrayTensor(numbers(1, 1, 16, 2)))
WIDE = {0: (16, 16), 1: (8, 32)}


def test_the_same_indices_into_the_same_table_of_vectors_along_two_axes_are_two_weights() -> None:
    with FunctionBuilder(inputs={"x": TensorType(FP16, (1, 8)), "z": TensorType(FP16, (1, 16))}, opset=IOS18) as f:
        for axis, name in ((1, "x"), (0, "z")):
            kind = TensorType(FP16, WIDE[axis])
            weight = f.op("constexpr_lut_to_dense", indices=INDICES, lut=PAIRS, vector_axis=axis, name=f"w{axis}", type=kind)
            f.op("matmul", x=f.inputs[name], y=weight, name=f"y{axis}")
        f.outputs(*(op for op in f.block.ops("matmul")))
    result = run(build_program(f), QuantizeLuts(QuantizeLut("int8", min_elements=1)))
    assert sorted(row.name for row in result.report.weights) == ["w0", "w1"]
    assert {op.output.name: op.output.type for op in constexprs(result.program) if op.op_type == "constexpr_lut_to_dense"} == {
        f"w{axis}": TensorType(FP16, shape) for axis, shape in WIDE.items()
    }


@pytest.mark.parametrize("order", [("cast", "linear"), ("linear", "cast")])
def test_a_compressed_weight_that_another_constexpr_op_uses_too_is_one(order: tuple[str, str]) -> None:
    with FunctionBuilder(inputs={"x": TensorType(FP16, (1, 16)), "z": TensorType(FP32, (1, 16))}, opset=IOS18) as f:
        weight = f.op("constexpr_lut_to_dense", indices=INDICES, lut=LUT, name="w", type=TensorType(FP16, (8, 16)))
        for each in order:
            if each == "cast":
                cast = f.op("constexpr_cast", source_val=weight, output_dtype="fp32", name="w32", type=TensorType(FP32, (8, 16)))
            else:
                half = f.op("linear", x=f.inputs["x"], weight=weight, name="half")
        f.outputs(half, f.op("linear", x=f.inputs["z"], weight=cast, name="single"))
    assert [row.name for row in run(build_program(f), QuantizeWeights(SMALL)).report.weights] == ["w", "w32"]


# Constants that are no weights


def added() -> Program:
    """x · wᵀ + position · scale: two constants that are no weights."""
    with FunctionBuilder(inputs={"x": TensorType(FP16, (64, 64))}, opset=IOS18) as f:
        product = f.op("linear", x=f.inputs["x"], weight=f.const(numbers(64, 64), name="w"))
        scaled = f.op("mul", x=product.output, y=f.const(numbers(64, 64, seed=1), name="gain"), name="scaled")
        f.outputs(y=f.op("add", x=scaled.output, y=f.const(numbers(64, 64, seed=2), name="position"), name="sum"))
    return build_program(f)


@pytest.mark.parametrize(
    "weight_pass",
    [
        QuantizeWeights(Rules((name("position"), Quantize(granularity="per-tensor")))),
        PalettizeWeights(Rules((name("position"), Palettize()))),
        PruneWeights(Rules((name("position"), Magnitude()))),
    ],
    ids=["quantize", "palettize", "prune"],
)
def test_an_additive_constant_that_a_rule_calls_by_its_name_is_compressed(weight_pass: WeightPass, tmp_path: Path) -> None:
    result = run(added(), weight_pass)
    assert [op.output.name for op in constexprs(result.program)] == ["position"]
    rows = {row.name: row.skipped for row in result.report.weights}
    assert rows["position"] is None
    assert rows["gain"] == "it is y of mul scaled, which is no weight"


def test_an_additive_constant_that_a_pattern_matches_is_not() -> None:
    result = run(added(), QuantizeWeights(Rules((name("*"), Quantize(granularity="per-tensor")))))
    assert [op.output.name for op in constexprs(result.program)] == ["w"]
    assert {row.name: row.skipped for row in result.report.weights}["position"] == "it is y of add sum, which is no weight"


def test_a_pattern_that_matches_additive_constants_only_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"it is the name of const position, which is no weight"):
        run(added(), QuantizeWeights(Rules((name("posit*"), Quantize(granularity="per-tensor")))))


def test_a_rule_that_leaves_a_constant_alone_by_its_name_does_not_compress_it() -> None:
    result = run(added(), QuantizeWeights(Rules((name("position"), None), (name("*"), Quantize()))))
    assert [op.output.name for op in constexprs(result.program)] == ["w"]


# Sizes that do not divide


def odd(opset: Opset = IOS18) -> Program:
    """A weight of 12 output and 20 input channels."""
    return linear(numbers(12, 20), opset)


INDIVISIBLE: list[Any] = [
    pytest.param(QuantizeWeights, Quantize(granularity="per-block", block_size=8, min_elements=1), "block_size", 20, 1, 5, id="quantize"),
    pytest.param(
        QuantizeWeights, Quantize(granularity="per-block", block_size=(0, 8), min_elements=1), "block_size[1]", 20, 1, 5, id="by-axis"
    ),
    pytest.param(PalettizeWeights, Palettize(1, group_size=8, min_elements=1), "group_size", 12, 0, 6, id="palettize"),
]


@pytest.mark.parametrize(("kind", "config", "what", "dim", "axis", "fitting"), INDIVISIBLE)
def test_a_size_that_does_not_divide_leaves_a_weight_alone_with_the_reason(
    kind: type[WeightPass], config: Any, what: str, dim: int, axis: int, fitting: int
) -> None:
    program = odd()
    result = run(program, kind(config))
    assert reason(result) == (
        f"the {dim} elements of its axis {axis} are not divided by {what}=8 "
        f'(the largest divisor below is {fitting}, which indivisible="shrink" takes)'
    )
    assert untouched(result, program)


@pytest.mark.parametrize(("kind", "config", "what", "dim", "axis", "fitting"), INDIVISIBLE)
def test_a_size_that_does_not_divide_shrinks_where_that_is_asked_for(
    kind: type[WeightPass], config: Any, what: str, dim: int, axis: int, fitting: int
) -> None:
    result = run(odd(), kind(evolve(config, indivisible="shrink")))
    (row,) = result.report.weights
    assert row.remark == f"{what} is {fitting}, the largest divisor of the {dim} elements of axis {axis}"
    op = the_constexpr(result.program)
    of_blocks = op["scale" if "scale" in op.operands else "lut"].type
    assert isinstance(of_blocks, TensorType)
    assert of_blocks.static_shape[axis] == dim // fitting


@pytest.mark.parametrize(("kind", "config", "what", "dim", "axis", "fitting"), INDIVISIBLE)
def test_a_size_that_does_not_divide_is_an_error_where_that_is_asked_for(
    kind: type[WeightPass], config: Any, what: str, dim: int, axis: int, fitting: int
) -> None:
    weight_pass = kind(evolve(config, indivisible="error"))
    with pytest.raises(ConfigError, match=rf"^w \(of linear\): the {dim} elements of its axis {axis} are not divided by"):
        run(odd(), weight_pass)
    assert weight_pass.plan(odd()).findings


def test_vectors_that_do_not_divide_the_channels_leave_a_weight_alone() -> None:
    result = run(linear(numbers(30, 20)), PalettizeWeights(Palettize(1, cluster_dim=4, min_elements=1)))
    assert reason(result) == "the 30 channels of its axis 0 are not divided by cluster_dim=4"


# What is left alone


@passes
@pytest.mark.parametrize("opset", [IOS17, IOS18], ids=repr)
def test_weights_that_no_rule_is_for_are_the_same_tensors(weight_pass: WeightPass, opset: Opset, tmp_path: Path) -> None:
    program = linears({"a": numbers(32, 64), "b": numbers(32, 64, seed=1)}, opset)
    config = weight_pass.rules.rules[0].config
    saved = load_program(run(program, type(weight_pass)(Rules((name("a"), config)))).save(tmp_path / "m.mlpackage"))
    kept = {op.output.name: op.attributes["val"].tensor for op in saved.ops("const")}
    assert "a" not in kept
    assert same_tensor(kept["b"], next(op for op in program.ops("const") if op.output.name == "b").attributes["val"].tensor)


@passes
def test_weights_that_no_rule_is_for_have_a_reason(weight_pass: WeightPass) -> None:
    program = linears({"a": numbers(32, 64), "b": numbers(32, 64, seed=1)})
    config = weight_pass.rules.rules[0].config
    rows = {row.name: row.skipped for row in run(program, type(weight_pass)(Rules((name("a"), config)))).report.weights}
    assert rows["a"] is None
    assert rows["b"]


def test_negative_zeros_of_a_weight_that_is_left_alone_stay_negative() -> None:
    weight = np.full((8, 16), -0.0, np.float16)
    program = linear(weight)
    result = run(program, QuantizeWeights(Quantize(min_elements=1000)))
    kept = next(op for op in result.program.ops("const") if op.output.name == "w").attributes["val"].numpy()
    assert np.signbit(kept).all()
