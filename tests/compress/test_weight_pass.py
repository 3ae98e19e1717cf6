"""What passes over weights share: every constant of any size is accounted for, each in its own place, and old faults are nobody's."""

from __future__ import annotations

import numpy as np

from ir.builder import FunctionBuilder, build_program
from ir.const import Const
from ir.core import Program
from ir.opset import IOS18
from ir.tensors import Array
from ir.types import FP16, UINT3, TensorType
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.config import Quantize
from mlpasses.manager import run
from mlpasses.pipeline import Pipeline
from mlpasses.raising import RaiseOpset
from mlpasses.report import WeightRow


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float16)


def function(name: str, seed: int) -> FunctionBuilder:
    """x · wᵀ + position, where w is called `w`."""
    with FunctionBuilder(name, inputs={"x": TensorType(FP16, (64, 64))}, opset=IOS18) as f:
        product = f.op("linear", x=f.inputs["x"], weight=f.const(numbers(64, 64, seed=seed), name="w"))
        f.outputs(y=f.op("add", x=product.output, y=f.const(numbers(64, 64, seed=seed + 10), name="position"), name="sum"))
    return f


def skipped(program: Program, *passes: QuantizeWeights) -> dict[str, str | None]:
    return {row.name: row.skipped for row in run(program, Pipeline(*passes)).report.weights}


def test_large_constant_that_is_no_weight_has_a_row_with_the_reason() -> None:
    rows = skipped(build_program(function("main", 0)), QuantizeWeights())
    assert rows == {"w": None, "position": "it is y of add sum, which is no weight"}


def test_compressed_weight_has_a_row_with_the_reason() -> None:
    rows = skipped(build_program(function("main", 0)), QuantizeWeights(), QuantizeWeights())
    assert rows["w"] == "it is compressed already, as int8 per-channel: put DecompressWeights before, to compress it anew"


def test_literal_operand_has_a_row_with_the_reason() -> None:
    program = build_program(function("main", 0))
    linear = next(program.ops("linear"))
    linear.set("weight", Const.of(numbers(64, 64)))
    rows = skipped(program, QuantizeWeights())
    assert rows[f"{linear.name}.weight"] == f"it is a literal operand of linear {linear.name}, and only const ops are replaced"


def test_weights_of_one_name_in_two_functions_are_counted_each() -> None:
    program = build_program(function("first", 0), function("second", 1))
    report = run(program, QuantizeWeights()).report
    assert [(row.where, row.name) for row in report.weights if row.skipped is None] == [("first", "w"), ("second", "w")]
    assert report.before == 4 * 8192
    assert report.after == 2 * 8192 + 2 * (4096 + 128)
    assert "second: w" in str(report)
    assert "4 weights" in str(report)


def test_plan_has_the_rows_of_the_run() -> None:
    program = build_program(function("first", 0), function("second", 1))

    def facts(rows: list[WeightRow]) -> list[tuple[str, str, int, str | None]]:
        return [(row.where, row.name, row.after, row.skipped) for row in rows]

    assert facts(run(program, QuantizeWeights()).report.weights) == facts(QuantizeWeights().plan(program).rows)  # type: ignore[arg-type]


def test_fault_that_a_program_came_with_is_not_the_pass_own() -> None:
    with FunctionBuilder(inputs={"x": TensorType(FP16, (64, 64))}, opset=IOS18) as f:
        indices = f.const(np.array([1, 2], np.int32), name="indices")
        f.outputs(y=f.op("gather", x=f.const(numbers(64, 64), name="table"), indices=indices, axis=0, name="pick"))
    program = build_program(f)
    const = next(op for op in program.ops("const") if op.output is indices)
    const.output.type = TensorType(UINT3, (2,))
    const.set_attribute("val", Const.of(np.array([1, 2], np.uint8), UINT3))
    result = run(program, Pipeline(QuantizeWeights(Quantize(min_elements=1)), RaiseOpset("iOS26")))
    assert [row.skipped for row in result.report.weights] == [None]
    assert all("it was handed in with this fault" in note.reason for note in result.report.notes)
