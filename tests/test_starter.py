"""Recipes to start from: they load, and nothing is wrong with them for their model."""

from __future__ import annotations

import numpy as np
import pytest

from ir.builder import FunctionBuilder, build_program
from ir.core import Program
from ir.mil.load import load_program
from ir.opset import IOS15, IOS16
from ir.types import FP16, TensorType
from mlpasses.cleanup.cleanup import Cleanup
from mlpasses.raising import RaiseOpset
from mlpasses.recipe import load_recipe
from mlpasses.starter import starter_recipe
from tests.corpus import NAMES, Corpus
from tests.select.models import decoder


def check(program: Program) -> str:
    text = starter_recipe(program, "model.mlpackage")
    assert load_recipe(text).plan(program).findings == []
    return text


def test_each_op_type_with_weights_has_a_rule_largest_first() -> None:
    lines = [line.strip() for line in check(decoder(tied=False)).splitlines()]
    assert [line for line in lines if line.startswith("- {op_type")] == [
        "- {op_type: linear, quantize: {dtype: int8}}    # 5 weights, 3.07 KB",
        "- {op_type: gather, quantize: {dtype: int8}}    # 1 weight, 1.02 KB",
    ]


def test_largest_weights_are_examples_that_become_rules_without_the_comment() -> None:
    program = decoder(tied=False)
    text = check(program).replace("# - {name", "- {name")
    rules = load_recipe(text).passes[0].rules  # type: ignore[attr-defined]
    assert [repr(rule.filter) for rule in rules[:2]] == ['name("lm_head_weight")', 'name("layers_0_attn_q_weight")']
    assert len(rules) == 6
    assert load_recipe(text).plan(program).findings == []


def test_opset_is_raised_where_8_bit_weights_need_it() -> None:
    assert load_recipe(check(decoder(opset=IOS15))).passes[0] == RaiseOpset("iOS16")
    assert "  # - raise-opset: iOS18" in check(decoder(opset=IOS16))


def test_model_without_weights_has_no_rules() -> None:
    with FunctionBuilder("main", {"x": TensorType(FP16, (4,))}, IOS16) as f:
        f.outputs(f.op("relu", x=f.inputs["x"]))
    assert load_recipe(check(build_program(f))).passes == (Cleanup(),)


@pytest.mark.parametrize("awkward", ["a: b", "#", "no", "{", "1e5", "[x]", "re:x", "w*"])
def test_awkward_names_are_quoted(awkward: str) -> None:
    with FunctionBuilder("main", {"x": TensorType(FP16, (1, 64))}, IOS16) as f:
        x = f.op("linear", x=f.inputs["x"], weight=f.const(np.zeros((65, 64), np.float16), name=awkward))
        f.outputs(f.op("linear", x=x, weight=f.const(np.zeros((64, 65), np.float16), name="other")))
    program = build_program(f)
    plan = load_recipe(check(program).replace("# - {name", "- {name")).plan(program)
    assert plan.findings == []
    assert len({row.rule for row in plan.rows}) == len(plan.rows) == 2  # each has a rule of its own


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_wrong_for_a_model_of_the_corpus(name: str, corpus: Corpus) -> None:
    check(load_program(corpus.path(name)))
