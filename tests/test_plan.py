"""Plans: what a pipeline would do, said without reading a weight."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import frozen

from ir.builder import FunctionBuilder, build_program
from ir.core import Function, Program
from ir.diagnostics import AbstractError
from ir.opset import IOS15, IOS16, IOS18, Opset
from ir.tensors import AbstractTensor
from ir.types import FP16, INT8, TensorType
from mlpasses.cleanup.dce import DeadCode
from mlpasses.compress.decompress import DecompressWeights
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.config import Palettize, Quantize
from mlpasses.context import Context
from mlpasses.errors import ConfigError, PassError
from mlpasses.manager import run
from mlpasses.passes import FunctionPass, ProgramPass
from mlpasses.pipeline import Pipeline
from mlpasses.plan import weight_free
from mlpasses.quantities import bytes_text
from mlpasses.raising import RaiseOpset
from mlpasses.rules import Rules, Skip
from mlpasses.select import name


def program(opset: Opset = IOS18) -> Program:
    """Two linears with 4,096 weights each, a and b."""
    random = np.random.default_rng(0)
    with FunctionBuilder(inputs={"x": TensorType(FP16, (1, 64))}, opset=opset) as f:
        a = f.op("linear", x=f.inputs["x"], weight=f.const(random.standard_normal((64, 64)).astype(np.float16), name="a"))
        b = f.op("linear", x=a.output, weight=f.const(random.standard_normal((64, 64)).astype(np.float16), name="b"))
        f.outputs(y=b)
    return build_program(f)


@frozen
class SumWeights(FunctionPass):
    """Looks at the numbers of every const."""

    def run(self, fn: Function, cx: Context) -> int:
        for op in fn.ops("const"):
            op.attributes["val"].numpy().sum()
        return 0


def test_sizes_are_those_of_the_run() -> None:
    planned = {row.name: (row.after, row.least) for row in QuantizeWeights().plan(program()).rows}
    ran = {row.name: (row.after, row.after) for row in run(program(), QuantizeWeights()).report.weights}
    assert planned == ran == {"a": (4096 + 128, 4096 + 128), "b": (4096 + 128, 4096 + 128)}


def test_size_that_depends_on_numbers_is_a_range_with_the_reason() -> None:
    row = QuantizeWeights(Quantize(mode="asymmetric")).plan(program()).rows[0]
    assert (row.least, row.after) == (4096 + 128, 4096 + 128 + 64)
    assert row.why == "zero points that are all 0 are left out"


def test_weight_that_may_stay_as_it_is_takes_as_many_bytes_as_now_at_most() -> None:
    row = PalettizeWeights(Palettize(4, mode="unique")).plan(program(IOS18)).rows[0]
    assert (row.least, row.before, row.after) == (2048 + 32, 8192, 8192)
    assert row.why == "with more distinct values than a table has places it stays as it is"


def test_pass_behind_one_that_may_leave_a_weight_says_what_it_goes_by() -> None:
    pipeline = Pipeline(PalettizeWeights(Palettize(4, mode="unique")), QuantizeWeights())
    plan = pipeline.plan(program(IOS18))
    assert plan.rows[2].remark == "if it is lut 4-bit, 1 group by then"
    assert not Pipeline(PalettizeWeights(Palettize(4)), QuantizeWeights()).plan(program(IOS18)).rows[2].remark


def test_what_a_run_refuses_in_a_form_that_a_weight_may_not_have_is_no_finding() -> None:
    plan = Pipeline(PalettizeWeights(Palettize(4, mode="unique")), QuantizeWeights(Quantize("int4"))).plan(program(IOS18))
    assert not plan.findings
    assert plan.rows[2].skipped == (
        "a run refuses it, if it is lut 4-bit, 1 group by then (palettize-weights: with more distinct values than a table has places it "
        "stays as it is): it is palettized, and the entries of its tables may be int8 or uint8, not int4"
    )
    assert plan.doubts == [f"{row.name} (of {row.op_type}): {row.skipped}" for row in plan.rows[2:]]
    assert f"warning: {plan.doubts[0]}" in str(plan).splitlines()
    certain = Pipeline(PalettizeWeights(Palettize(4)), QuantizeWeights(Quantize("int4"))).plan(program(IOS18))
    assert len(certain.findings) == 2
    assert not certain.doubts


def test_a_plan_of_ranges_has_a_range_in_all() -> None:
    plan = PalettizeWeights(Palettize(mode="unique")).plan(program(IOS18))
    assert plan.least == sum(row.least for row in plan.rows) < plan.after
    assert f"{bytes_text(plan.least)} – {bytes_text(plan.after)}" in str(plan).splitlines()[-2]


def test_what_a_pass_raises_while_it_is_planned_names_the_pass() -> None:
    @frozen
    class Failing(ProgramPass):
        def run(self, program: Program, cx: Context) -> int:
            raise ZeroDivisionError("x")

    with pytest.raises(PassError, match="pass failing failed while it was planned: ZeroDivisionError: x"):
        Failing().plan(program())


def test_a_pass_that_does_not_say_how_much_it_changed_is_told_to() -> None:
    @frozen
    class Forgetful(ProgramPass):
        def run(self, program: Program, cx: Context) -> int:
            return None  # type: ignore[return-value]  # what a function without a return statement does

    with pytest.raises(PassError, match="pass forgetful returned None: what a pass returns is the number of changes that it made"):
        run(program(), Forgetful())


def test_weight_that_is_dense_again_is_sure() -> None:
    unsure = Pipeline(PalettizeWeights(Palettize(4, mode="unique")), DecompressWeights())
    plan = Pipeline(unsure, QuantizeWeights(), PruneWeights()).plan(program(IOS18))
    assert [row.remark for row in plan.rows] == [""] * 8


def test_exact_plan_has_no_ranges() -> None:
    row = QuantizeWeights(Quantize(mode="asymmetric")).plan(program(), exact=True).rows[0]
    assert row.least == row.after == 4096 + 128 + 64


def test_planning_changes_nothing_and_reads_nothing() -> None:
    original = program()
    version = original.version
    QuantizeWeights().plan(original)
    assert original.version == version
    free = next(weight_free(original).ops("const"))
    with pytest.raises(AbstractError, match="a plan reads no weights"):
        free.attributes["val"].numpy()


def test_weight_free_clone_keeps_what_is_shared_shared() -> None:
    original = program()
    a, b = (op for op in original.ops("const") if op.output.name in "ab")
    b.set_attribute("val", a.attributes["val"])
    free = [op.attributes["val"].tensor for op in weight_free(original).ops("const") if op.output.name in "ab"]
    assert isinstance(free[0], AbstractTensor)
    assert free[0] is free[1]


def test_later_pass_sees_what_an_earlier_one_would_leave() -> None:
    plan = Pipeline(QuantizeWeights(), DecompressWeights(), DeadCode(), QuantizeWeights(Quantize("uint8"))).plan(program())
    assert [(row.name, row.scheme.split()[0], row.before) for row in plan.rows] == [
        ("a", "int8", 8192), ("b", "int8", 8192), ("a", "dense", 4224), ("b", "dense", 4224), ("a", "uint8", 8192), ("b", "uint8", 8192),
    ]  # fmt: skip
    assert (plan.before, plan.after) == (16384, 2 * (4096 + 128 + 64))


def test_plan_says_which_rule_decided_and_why_a_weight_is_left_alone() -> None:
    plan = QuantizeWeights(Rules((name("a"), Skip("it is dear")), Quantize())).plan(program())
    assert [(row.name, row.rule, row.skipped) for row in plan.rows] == [
        ("a", 'rules[0] name("a")', "it is dear"), ("b", "rules[1] everything", None),
    ]  # fmt: skip


def test_all_findings_come_together() -> None:
    rules = Rules((name("c"), None), (name("d"), None), Quantize())
    plan = Pipeline(QuantizeWeights(rules)).plan(program(IOS15))
    assert len(plan.findings) == 3
    assert 'name("c")' in plan.findings[0]
    assert 'name("d")' in plan.findings[1]
    assert 'put RaiseOpset("iOS16") before quantize-weights' in plan.findings[2]
    with pytest.raises(ConfigError):
        plan.checked()


def test_scheme_that_the_opset_has_after_raising_is_fine() -> None:
    assert not Pipeline(RaiseOpset("iOS16"), QuantizeWeights()).plan(program(IOS15)).findings


def test_pass_that_reads_weights_says_that_it_cannot_be_planned() -> None:
    plan = Pipeline(SumWeights(), QuantizeWeights()).plan(program())
    assert [note.pass_name for note in plan.unplanned] == ["sum-weights"]
    assert len(plan.rows) == 2


def test_raising_keeps_compressed_weights_abstract() -> None:
    quantized = run(program(IOS16), QuantizeWeights()).program
    free = weight_free(quantized)
    RaiseOpset("iOS18").apply(free, Context())
    data = next(free.ops("constexpr_blockwise_shift_scale"))["data"]
    assert data.type is TensorType(INT8, (64, 64))


def test_table_and_json_say_the_same() -> None:
    plan = QuantizeWeights().plan(program())
    assert "2 weights" in str(plan)
    assert [row["after"] for row in plan.as_dict()["weights"]] == [4224, 4224]
