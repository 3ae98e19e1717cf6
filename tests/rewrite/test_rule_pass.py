"""A pass of rules: named, with options, verified by the manager."""

from __future__ import annotations

from typing import ClassVar

import pytest
from attrs import frozen

from ir.core import Function
from ir.text import print_program
from mlpasses.context import Context
from mlpasses.errors import PassError
from mlpasses.manager import run
from mlpasses.rewrite import Failure, Match, PatternError, Replacement, RewriteError, RewritePass, Rewriter, Rule, const, p, rule
from tests.rewrite.checks import program_of


@rule(p.mul(x="x", y=const("c", filled=1)), commutes=True)
def multiply_by_one(m: Match, rw: Rewriter) -> Replacement | Failure:
    """mul(x, 1) → x"""
    if m.options is not None and m.root.name.startswith(m.options.keep):
        return m.fail("{} is kept", m.root.name)
    return m.x  # type: ignore[no-any-return]


@frozen
class DropMultiplications(RewritePass):
    """mul(x, 1) → x"""

    rules: ClassVar[tuple[Rule, ...]] = (multiply_by_one,)
    keep: str = "!"


TEXT = """
inputs %x: fp16[4]
%a: fp16[4] = mul(x=%x, y=fp16(1.0))
%b: fp16[4] = mul(x=fp16(1.0), y=%a)
%y: fp16[4] = relu(x=%b)
"""


def test_a_pass_has_its_name_and_its_summary_from_its_class() -> None:
    assert DropMultiplications.name == "drop-multiplications"
    assert DropMultiplications.summary() == "mul(x, 1) → x"


def test_a_pass_applies_its_rules_and_counts_them() -> None:
    program = program_of(TEXT)
    result = run(program, DropMultiplications())
    assert result.report.passes[0].changes == 2
    assert [op.op_type for op in result.program.ops()] == ["relu"]


def test_a_pass_that_finds_nothing_changes_nothing() -> None:
    program = program_of("inputs %x: fp16[4]\n%y: fp16[4] = mul(x=%x, y=fp16(2.0))")
    result = run(program, DropMultiplications())
    assert result.report.passes[0].changes == 0
    assert print_program(result.program) == print_program(program)


def test_the_fields_of_a_pass_are_what_its_rules_see_as_options() -> None:
    result = run(program_of(TEXT), DropMultiplications(keep="a"))
    assert [op.op_type for op in result.program.ops()] == ["mul", "relu"]


def test_what_each_rule_did_may_be_asked_for() -> None:
    program = program_of(TEXT)
    outcome = DropMultiplications(keep="a").rewrite(program.main, Context())
    count = outcome.rules["multiply-by-one"]
    assert count.fired == 1
    assert list(count.failed) == ["{} is kept"]


def test_two_rules_of_one_name_are_refused_when_the_class_is_made() -> None:
    with pytest.raises(PatternError, match="two rules are called"):
        type("Twice", (RewritePass,), {"rules": (multiply_by_one, multiply_by_one)})


def test_a_rule_that_goes_wrong_is_reported_with_its_pass() -> None:
    @rule(p.relu(x="x"))
    def wrong(m: Match, rw: Rewriter) -> Replacement:
        """relu(x) → ?"""
        raise KeyError("x")

    @frozen
    class Wrong(RewritePass):
        rules: ClassVar[tuple[Rule, ...]] = (wrong,)

    with pytest.raises(RewriteError) as caught:
        run(program_of(TEXT), Wrong())
    assert "rule wrong failed at relu %y" in str(caught.value)
    assert "pass wrong" in caught.value.__notes__[0]
    assert isinstance(caught.value, PassError)


def test_a_pass_runs_on_every_function_and_stage() -> None:
    program = program_of(TEXT)
    other: Function = program.main.clone("other")
    program.add_function(other)
    program.stages[(0,)] = program_of(TEXT)
    assert run(program, DropMultiplications()).report.passes[0].changes == 6
