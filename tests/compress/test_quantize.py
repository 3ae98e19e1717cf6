"""`QuantizeWeights`: what is quantized, what is left alone and why, and that coremltools reads the same numbers."""

from __future__ import annotations

import pickle
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from attrs import evolve

from ir.builder import FunctionBuilder, build_program
from ir.const import Const
from ir.constexprs import evaluate
from ir.core import Op, Program
from ir.mil.load import load_program
from ir.opset import IOS15, IOS16, IOS17, IOS18, Opset
from ir.tensors import ArrayTensor, same_tensor
from ir.types import BF16, FP16, FP32, INT8, INT32, UINT8, TensorType
from mlpasses.compress.quantize import Quantize, QuantizeWeights
from mlpasses.compress.quantize_task import QuantizeTask, quantize_weight
from mlpasses.context import Context
from mlpasses.errors import ConfigError
from mlpasses.manager import Result, run
from mlpasses.numerics.affine import grid
from mlpasses.pipeline import Pipeline
from mlpasses.raising.raise_opset import RaiseOpset
from mlpasses.scratch import Store
from tests import oracle
from tests.corpus import NAMES, REFUSED, Corpus, full

CONFIGS: Final = [
    Quantize(dtype, mode, granularity, min_elements=64)  # type: ignore[arg-type]  # mypy does not see through product
    for dtype, mode, granularity in product(("int8", "uint8"), ("symmetric", "asymmetric"), ("per-tensor", "per-channel"))
]
SMALL: Final = Quantize(min_elements=64)
OPSETS: Final = [IOS16, IOS17, IOS18]

configs = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.scheme)
opsets = pytest.mark.parametrize("opset", OPSETS, ids=repr)


def numbers(*shape: int, seed: int = 0, dtype: Any = np.float16) -> Any:
    return (np.random.default_rng(seed).standard_normal(shape) * 0.05).astype(dtype)


def linear(weight: Any = None, opset: Opset = IOS18, inputs: int = 16) -> Program:
    """x · wᵀ, where w is called `w`."""
    weight = numbers(8, inputs) if weight is None else weight
    dtype = FP32 if getattr(weight, "dtype", None) == np.float32 else FP16
    with FunctionBuilder(inputs={"x": TensorType(dtype, (1, inputs))}, opset=opset) as f:
        f.outputs(y=f.op("linear", x=f.inputs["x"], weight=f.const(weight, name="w"), name="lin"))
    return build_program(f)


def zoo(opset: Opset) -> Program:
    """An op of every kind that has weights, in one function."""
    types = {
        "tokens": TensorType(INT32, (1, 4)),
        "image": TensorType(FP16, (1, 8, 6, 6)),
        "row": TensorType(FP16, (1, 16)),
        "sequence": TensorType(FP32, (3, 1, 8)),
    }
    with FunctionBuilder(inputs=types, opset=opset) as f:
        row, image = f.inputs["row"], f.inputs["image"]
        state = np.zeros((1, 4), np.float32)
        dense = f.op("linear", x=row, weight=numbers(24, 16), bias=numbers(24), name="dense")
        right = f.op("matmul", x=row, y=numbers(16, 20), name="right")
        right_t = f.op("matmul", x=row, y=numbers(20, 16), transpose_y=True, name="right_t")
        left = f.op("matmul", x=numbers(20, 16), y=row, transpose_y=True, name="left")
        conv = f.op("conv", x=image, weight=numbers(12, 8, 3, 3), pad_type="valid", name="conv")
        back = f.op("conv_transpose", x=image, weight=numbers(8, 6, 2, 2), pad_type="valid", name="back")
        table = f.op("gather", x=numbers(10, 16), indices=f.inputs["tokens"], axis=0, name="table")
        lstm = f.op(
            "lstm", x=f.inputs["sequence"], initial_h=state, initial_c=state, weight_ih=numbers(16, 8, dtype=np.float32),
            weight_hh=numbers(16, 4, dtype=np.float32), bias=np.zeros(16, np.float32), output_sequence=True, name="lstm",
        )  # fmt: skip
        f.outputs(dense, right, right_t, left, conv, back, table, lstm.outputs[0])
    return build_program(f)


def constexprs(program: Program) -> list[Op]:
    return [op for op in program.ops() if op.op_type.startswith("constexpr_")]


def the_constexpr(program: Program) -> Op:
    (op,) = constexprs(program)
    return op


def reason(result: Result) -> str:
    (row,) = result.report.weights
    assert row.skipped is not None
    return row.skipped


def untouched(result: Result, program: Program) -> bool:
    return str(result.program) == str(program)


# The forms


def test_below_ios18_operands_are_attributes() -> None:
    op = the_constexpr(run(linear(opset=IOS17), QuantizeWeights(SMALL)).program)
    assert op.op_type == "constexpr_affine_dequantize"
    assert not op.operands
    assert op.attributes["quantized_data"].type is TensorType(INT8, (8, 16))
    assert op.attributes["zero_point"].type is TensorType(INT8, (8,))
    assert op.attributes["scale"].type is TensorType(FP16, (8,))
    assert op.attributes["axis"].item() == 0


def test_from_ios18_operands_are_inputs_and_a_zero_offset_is_left_out() -> None:
    op = the_constexpr(run(linear(opset=IOS18), QuantizeWeights(SMALL)).program)
    assert op.op_type == "constexpr_blockwise_shift_scale"
    assert {name: operand.type for name, (operand,) in op.operands.items()} == {
        "data": TensorType(INT8, (8, 16)),
        "scale": TensorType(FP16, (8, 1)),
    }


def test_an_offset_has_the_type_of_the_data_and_the_shape_of_the_scale() -> None:
    op = the_constexpr(run(linear(), QuantizeWeights(Quantize("uint8", "asymmetric", min_elements=64))).program)
    assert op["offset"].type is TensorType(UINT8, (8, 1))


def test_one_scale_for_a_whole_weight_is_a_scalar_below_ios18() -> None:
    op = the_constexpr(run(linear(opset=IOS16), QuantizeWeights(evolve(SMALL, granularity="per-tensor"))).program)
    assert op.attributes["scale"].type is TensorType(FP16, ())
    assert op.attributes["zero_point"].type is TensorType(INT8, ())


def test_one_scale_for_a_whole_weight_has_its_rank_from_ios18() -> None:
    op = the_constexpr(run(linear(), QuantizeWeights(evolve(SMALL, granularity="per-tensor"))).program)
    assert op["scale"].type is TensorType(FP16, (1, 1))


def test_the_scale_has_the_type_of_the_weight() -> None:
    op = the_constexpr(run(linear(numbers(8, 16, dtype=np.float32)), QuantizeWeights(SMALL)).program)
    assert op["scale"].type is TensorType(FP32, (8, 1))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("dense_weight", (24, 1)),
        ("right_y", (1, 20)),
        ("right_t_y", (20, 1)),
        ("left_x", (20, 1)),
        ("conv_weight", (12, 1, 1, 1)),
        ("back_weight", (1, 6, 1, 1)),
        ("table_x", (10, 1)),
        ("lstm_weight_ih", (16, 1)),
    ],
)
def test_channels_are_those_of_the_consumer(name: str, shape: tuple[int, ...]) -> None:
    result = run(zoo(IOS18), QuantizeWeights(SMALL)).program
    scale = next(op for op in constexprs(result) if op.output.name == name)["scale"]
    assert isinstance(scale.type, TensorType)
    assert scale.type.shape == shape


def test_the_value_keeps_name_type_and_consumers() -> None:
    program = linear()
    result = run(program, QuantizeWeights(SMALL)).program
    op = the_constexpr(result)
    assert op.output.name == "w"
    assert op.output.type is TensorType(FP16, (8, 16))
    assert [user.name for user in op.output.users] == ["lin"]


def test_the_op_keeps_the_name_attribute_of_the_const() -> None:
    assert the_constexpr(run(linear(), QuantizeWeights(SMALL)).program).attributes["name"].item() == "w"


def test_a_const_without_a_name_attribute_yields_an_op_without_one() -> None:
    program = linear()
    next(iter(program.ops("const"))).unset_attribute("name")
    assert "name" not in the_constexpr(run(program, QuantizeWeights(SMALL)).program).attributes


def test_the_program_handed_in_does_not_change() -> None:
    program = linear()
    before = str(program)
    run(program, QuantizeWeights(SMALL))
    assert str(program) == before


def test_a_second_run_finds_nothing_to_do() -> None:
    once = run(zoo(IOS18), QuantizeWeights(SMALL)).program
    twice = run(once, QuantizeWeights(SMALL))
    assert untouched(twice, once)
    assert twice.report.passes[0].changes == 0


# Which weights


def test_biases_and_other_operands_are_no_candidates() -> None:
    result = run(zoo(IOS18), QuantizeWeights(Quantize(min_elements=1)))
    assert {row.name for row in result.report.weights} == {
        "dense_weight", "right_y", "right_t_y", "left_x", "conv_weight", "back_weight", "table_x", "lstm_weight_ih", "lstm_weight_hh",
    }  # fmt: skip


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
    assert reason(result) == "it would not become smaller: there would be a scale for every 1 of its elements"
    assert untouched(result, program)


def test_a_weight_that_a_block_returns_is_left_alone_with_the_reason() -> None:
    program = linear()
    body = program.main.body
    weight = body.value_named("w")
    assert weight is not None
    body.set_outputs([*body.outputs, weight])
    assert "a block returns it" in reason(run(program, QuantizeWeights(SMALL)))


def test_an_unknown_consumer_beside_a_known_one_keeps_a_weight_as_it_is() -> None:
    program = linear()
    body = program.main.body
    weight = body.value_named("w")
    assert weight is not None
    body.append(Op("my_op", {"x": weight}, [("z", TensorType(FP16, (1,)))], {"name": Const.of("z")}))
    assert reason(run(program, QuantizeWeights(SMALL))) == "it is used by x of my_op z, of which nothing is known"


def test_consumers_that_disagree_about_the_channels_keep_a_weight_as_it_is() -> None:
    with FunctionBuilder(inputs={"x": TensorType(FP16, (1, 16))}, opset=IOS18) as f:
        weight = f.const(numbers(16, 16), name="w")
        a = f.op("linear", x=f.inputs["x"], weight=weight, name="a")
        f.outputs(f.op("matmul", x=a, y=weight, name="b"))
    program = build_program(f)
    result = run(program, QuantizeWeights(SMALL))
    assert reason(result) == (
        "its consumers disagree about the axis of its output channels: 0 in weight of linear a, 1 in y of matmul b"
    )
    assert untouched(result, program)


def test_consumers_that_disagree_about_the_channels_do_not_matter_per_tensor() -> None:
    with FunctionBuilder(inputs={"x": TensorType(FP16, (1, 16))}, opset=IOS18) as f:
        weight = f.const(numbers(16, 16), name="w")
        a = f.op("linear", x=f.inputs["x"], weight=weight, name="a")
        f.outputs(f.op("matmul", x=a, y=weight, name="b"))
    result = run(build_program(f), QuantizeWeights(evolve(SMALL, granularity="per-tensor")))
    assert len(constexprs(result.program)) == 1


def test_consumers_that_agree_share_the_quantized_weight() -> None:
    with FunctionBuilder(inputs={"x": TensorType(FP16, (1, 16)), "i": TensorType(INT32, (3,))}, opset=IOS18) as f:
        tied = f.const(numbers(32, 16), name="tied")
        f.outputs(
            f.op("linear", x=f.inputs["x"], weight=tied, name="head"), f.op("gather", x=tied, indices=f.inputs["i"], axis=0, name="table")
        )
    op = the_constexpr(run(build_program(f), QuantizeWeights(SMALL)).program)
    assert {user.name for user in op.output.users} == {"head", "table"}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_with_values_that_are_not_finite_is_left_alone_with_the_reason(value: float) -> None:
    weight = numbers(8, 16)
    weight[3, 3] = value
    program = linear(weight)
    result = run(program, QuantizeWeights(SMALL))
    assert reason(result) == "it holds NaN or infinite values"
    assert untouched(result, program)


def test_values_that_are_not_finite_are_an_error_where_that_is_asked_for() -> None:
    weight = numbers(8, 16)
    weight[3, 3] = np.nan
    with pytest.raises(ConfigError, match=r"there are some in w \(of linear\).*nonfinite=\"skip\""):
        run(linear(weight), QuantizeWeights(evolve(SMALL, nonfinite="error")))


def test_a_program_for_ios15_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r'function main is written for iOS15.*put RaiseOpset\("iOS16"\) before'):
        run(linear(opset=IOS15), QuantizeWeights(SMALL))


def test_a_program_for_ios15_without_weights_is_none_of_our_business() -> None:
    with FunctionBuilder(inputs={"x": TensorType(FP16, (8,))}, opset=IOS15) as f:
        f.outputs(f.op("relu", x=f.inputs["x"]))
    assert not run(build_program(f), QuantizeWeights()).report.weights


# Places: nested blocks, specializations, functions, stages


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


def two_functions() -> Program:
    first = linear().main.clone("first")
    return Program([first, first.clone("second")], spec_version=9)


def test_a_weight_that_functions_share_stays_shared() -> None:
    one, other = constexprs(run(two_functions(), QuantizeWeights(SMALL)).program)
    data = [op["data"] for op in (one, other)]
    assert isinstance(data[0], Const)
    assert isinstance(data[1], Const)
    assert data[0].tensor is data[1].tensor


def test_a_weight_that_functions_share_is_reported_once() -> None:
    assert [row.name for row in run(two_functions(), QuantizeWeights(SMALL)).report.weights] == ["w"]


def test_weights_of_the_stages_of_a_pipeline_are_quantized() -> None:
    wrapper = Program(spec_version=9)
    wrapper.stages = {(0,): linear(), (1,): linear(opset=IOS17)}
    found = [op.op_type for op in constexprs(run(wrapper, QuantizeWeights(SMALL)).program)]
    assert found == ["constexpr_blockwise_shift_scale", "constexpr_affine_dequantize"]


# The report


def test_a_row_says_what_became_of_a_weight() -> None:
    weight = numbers(8, 16)
    (row,) = run(linear(weight), QuantizeWeights(SMALL)).report.weights
    assert (row.name, row.op_type, row.shape, row.scheme) == ("w", "linear", (8, 16), "int8 per-channel symmetric")
    assert (row.before, row.after, row.skipped) == (256, 128 + 16, None)


def test_zero_points_count_where_they_are_stored() -> None:
    rows = [run(linear(opset=opset), QuantizeWeights(SMALL)).report.weights[0].after for opset in (IOS17, IOS18)]
    assert rows == [128 + 16 + 8, 128 + 16]


def test_sqnr_and_error_are_those_of_the_decoded_weight() -> None:
    weight = numbers(8, 16)
    result = run(linear(weight), QuantizeWeights(SMALL))
    (row,) = result.report.weights
    error = weight.astype(np.float64) - evaluate(the_constexpr(result.program))[0].numpy().astype(np.float64)
    assert row.sqnr == pytest.approx(10 * np.log10(np.square(weight.astype(np.float64)).sum() / np.square(error).sum()))
    assert row.max_error == np.abs(error).max()


def test_progress_counts_the_bytes_of_the_weights() -> None:
    class Heard:
        def __init__(self) -> None:
            self.total, self.done, self.finished = 0, 0, False

        def start(self, pass_name: str, total: int) -> None:
            self.total = total

        def advance(self, amount: int, what: str) -> None:
            self.done += amount

        def finish(self) -> None:
            self.finished = True

    heard = Heard()
    run(zoo(IOS18), QuantizeWeights(SMALL), progress=heard)
    assert heard.done == heard.total > 0
    assert heard.finished


@pytest.mark.parametrize("workers", [2, 7])
def test_results_do_not_depend_on_the_number_of_workers(tmp_path: Path, workers: int) -> None:
    one = run(zoo(IOS18), QuantizeWeights(SMALL), workers=1)
    many = run(zoo(IOS18), QuantizeWeights(SMALL), workers=workers)
    assert one.report.weights == many.report.weights
    assert files(one.save(tmp_path / "one.mlpackage")) == files(many.save(tmp_path / "many.mlpackage"))


def files(package: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in package.rglob("*") if path.is_file()}


@pytest.mark.parametrize("opset", [IOS17, IOS18], ids=repr)
def test_weights_that_go_through_the_scratch_file_and_the_kernels_are_the_same(opset: Opset, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(linear(numbers(96, 1024), opset, 1024), QuantizeWeights(SMALL))
    monkeypatch.setattr("mlpasses.compress.quantize.COMPILED_FROM", 0)
    found = run(linear(numbers(96, 1024), opset, 1024), QuantizeWeights(SMALL))
    assert str(found.program) == str(expected.program)
    assert oracle.same_bits(*(evaluate(the_constexpr(result.program))[0].numpy() for result in (expected, found)))


def test_a_task_on_a_slice_of_a_file_pickles_small_and_does_the_same(tmp_path: Path) -> None:
    path = linear(numbers(96, 1024), inputs=1024).save(tmp_path / "m.mlpackage")
    weight = next(op.attributes["val"].tensor for op in load_program(path).ops("const") if op.output.name == "w")
    task = QuantizeTask("w", weight, (1, 96, 1024), grid(8, signed=True, symmetric=True), "numpy", 0)
    pickled = pickle.dumps(task)
    assert len(pickled) < 2000
    stores = [Store([96 * 1024]) for _ in range(2)]
    for store, each in zip(stores, (task, pickle.loads(pickled)), strict=True):
        quantize_weight(each, store)
    one, other = (store.tensor(0, INT8, (96, 1024)) for store in stores)
    assert same_tensor(one, other)


def test_a_shared_weight_is_written_once(tmp_path: Path) -> None:
    result = run(two_functions(), QuantizeWeights(SMALL))
    saved = load_program(result.save(tmp_path / "two.mlpackage"))
    one, other = constexprs(saved)
    assert one["data"] == other["data"]
    weights = next((tmp_path / "two.mlpackage").rglob("weight.bin"))
    assert weights.stat().st_size == 64 + (64 + 128)  # the header, and the integers with their record; 8 scales stay in the protobuf


# The config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int9"}, "dtype of Quantize has to be int8 or uint8, not 'int9'"),
        ({"mode": "linear"}, "mode of Quantize has to be symmetric or asymmetric, not 'linear'"),
        ({"granularity": "per_channel"}, "granularity of Quantize has to be per-tensor or per-channel, not 'per_channel'"),
        ({"min_elements": -1}, "min_elements of Quantize has to be an integer of at least 0, not -1"),
        ({"min_elements": True}, "min_elements of Quantize has to be an integer of at least 0, not True"),
        ({"nonfinite": "drop"}, "nonfinite of Quantize has to be skip or error, not 'drop'"),
    ],
)
def test_a_wrong_option_is_refused_in_a_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Quantize(**options)
    assert str(error.value) == message


# coremltools


@configs
@opsets
def test_coremltools_accepts_every_form_and_decodes_the_same_bits(tmp_path: Path, opset: Opset, config: Quantize) -> None:
    result = run(zoo(opset), QuantizeWeights(config))
    assert_decoded_alike(result.program, result.save(tmp_path / "m.mlpackage"), least=9)


@opsets
def test_coremltools_decodes_extreme_weights_to_the_same_bits(tmp_path: Path, opset: Opset) -> None:
    weight = numbers(8, 64)
    weight[0], weight[1], weight[2] = 0, 65504, -65504
    weight[3, ::2], weight[3, 1::2] = 65504, -65504
    weight[4] = 6e-8
    for index, config in enumerate(CONFIGS):
        result = run(linear(weight, opset, 64), QuantizeWeights(config))
        path = result.save(tmp_path / f"{index}.mlpackage")
        assert_decoded_alike(result.program, path, least=1)
        assert all(np.isfinite(value).all() for value in oracle.decompressed_values(path).values())


def assert_decoded_alike(program: Program, path: Path, least: int) -> None:
    """Whether coremltools has the values that `ir.constexprs` has, for at least so many weights."""
    several = len(program.functions) > 1
    theirs = oracle.decompressed_values(path)
    ours = {
        (f"{function.name}/" if several else "") + op.output.name: evaluate(op)[0].numpy()
        for function in program.all_functions()
        for op in function.ops()
        if op.op_type.startswith("constexpr_")
    }
    assert len(ours) >= least
    assert ours.keys() == theirs.keys()
    assert not [name for name, value in ours.items() if not oracle.same_bits(value, theirs[name])]


MODES: Final = {"symmetric": "linear_symmetric", "asymmetric": "linear"}


@configs
@pytest.mark.parametrize("opset", [IOS17, IOS18], ids=repr)
def test_the_error_is_not_above_that_of_coremltools(tmp_path: Path, opset: Opset, config: Quantize) -> None:
    import coremltools as ct
    import coremltools.optimize.coreml as cto

    program = zoo(opset)
    original = program.save(tmp_path / "original.mlpackage")
    dense = {op.output.name: op.attributes["val"].numpy() for op in program.ops("const")}
    settings = cto.OptimizationConfig(
        cto.OpLinearQuantizerConfig(
            mode=MODES[config.mode], dtype=config.dtype, granularity=config.granularity.replace("-", "_"), weight_threshold=63
        )
    )
    compressed = cto.linear_quantize_weights(ct.models.MLModel(str(original), skip_model_load=True), settings)
    compressed.save(str(tmp_path / "theirs.mlpackage"))
    theirs = {
        name.removesuffix("_quantized"): value for name, value in oracle.decompressed_values(tmp_path / "theirs.mlpackage").items()
    }
    ours = {op.output.name: evaluate(op)[0].numpy() for op in constexprs(run(program, QuantizeWeights(config)).program)}
    compared = ours.keys() & theirs.keys()
    assert compared >= {"dense_weight", "right_y", "conv_weight", "back_weight", "table_x", "lstm_weight_ih"}
    for name in compared:
        assert squared(ours[name], dense[name]) <= 1.02 * squared(theirs[name], dense[name]), name


def squared(value: Any, original: Any) -> float:
    return float(np.square(value.astype(np.float64) - original.astype(np.float64)).sum())


PART: Final = ("multifunction_tiny", "silero_vad_unified", "yunet", "dtln_aec_128_part1", "silero_vad_256ms_mixed")
"""Packages for the default run: several functions, lstm, conv, nested blocks, shared blobs."""
CASES: Final = [
    pytest.param(name, opset, marks=[] if name in PART else full, id=f"{name}-{opset}")
    for name in NAMES
    if name not in REFUSED
    for opset in (IOS16, IOS18)
]


@pytest.mark.parametrize(("name", "opset"), CASES)
def test_real_packages_are_accepted_and_decoded_alike(corpus: Corpus, tmp_path: Path, name: str, opset: Opset) -> None:
    program = load_program(corpus.path(name))
    result = run(program, Pipeline(RaiseOpset(opset), QuantizeWeights(Quantize("uint8", "asymmetric", min_elements=64))))
    assert_decoded_alike(result.program, result.save(tmp_path / "m.mlpackage"), least=0)
