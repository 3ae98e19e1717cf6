"""Ops added and removed, rules fired."""

from __future__ import annotations

from attrs import frozen

from ir.core import Function, Op, Program
from ir.text import parse_fragment
from mlpasses.cleanup.dce import DeadCode
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.config import Quantize
from mlpasses.context import Context
from mlpasses.instruments.statistics import PassStatistics, Statistics
from mlpasses.manager import run
from mlpasses.passes import FunctionPass, Pass
from mlpasses.pipeline import Pipeline
from tests.instruments.test_changes import TEXT
from tests.select.models import decoder


@frozen
class Square(FunctionPass):
    """relu(x) → square(x), by a rule"""

    def run(self, fn: Function, cx: Context) -> int:
        changes = 0
        for op in fn.ops("relu"):
            new = Op("square", {"x": op["x"]}, [(op.output.name, op.output.type)])
            assert op.block is not None
            op.block.replace(op, new)
            cx.made(new, rule="relu_is_square")
            changes += 1
        return changes


def rows(program: Program, pipeline: Pass) -> list[PassStatistics]:
    counts = Statistics()
    run(program, pipeline, instruments=[counts])
    return counts.rows


def test_ops_are_counted_by_type() -> None:
    dead, squared, dead_again = rows(parse_fragment(TEXT), Pipeline(DeadCode(), Square(), DeadCode()))
    assert dead.as_dict() == {"pass": "dead-code", "added": {}, "removed": {"relu": 1}, "rules": {}}
    assert squared.as_dict() == {"pass": "square", "added": {"square": 1}, "removed": {"relu": 1}, "rules": {"relu_is_square": 1}}
    assert str(squared) == "square: +1 square, -1 relu; rules: relu_is_square 1"
    assert str(dead_again) == "dead-code: no op added or removed"


def test_replaced_weights_are_one_gone_and_one_new() -> None:
    (row,) = rows(decoder(tied=False), QuantizeWeights(Quantize(min_elements=0)))
    assert row.removed == {"const": 6}
    assert row.added == {"constexpr_affine_dequantize": 6}
