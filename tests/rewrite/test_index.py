"""The index rules nothing out that would match."""

from __future__ import annotations

from typing import Any, Final

import pytest

from ir.core import Op
from mlpasses.rewrite import Match, Rewriter, Rule, RuleSet, any_value, const, optional, p, rule
from mlpasses.rewrite.index import seeds
from mlpasses.rewrite.match import Matcher
from tests.rewrite.checks import program_of


def ruled(pattern: Any, name: str, commutes: bool = False) -> Rule:
    @rule(pattern, name=name, commutes=commutes)
    def some(m: Match, rw: Rewriter) -> None: ...

    return some


RULES: Final = [
    ruled(p.add(x=p.relu(x="x").shared(), y="y"), "op"),
    ruled(p.add(x=p.relu(x="x").shared(), y="y"), "op-either", commutes=True),
    ruled(p.add(x="x", y=const("c")), "const"),
    ruled(p.add(x="x", y=0.1), "value"),
    ruled(p.add(x="x", y=const("c", equals=0.75, rtol=0.5)).commutes(), "value-near"),
    ruled(p.add(x="x", y="y"), "anything"),
    ruled(p.add(x=any_value("x", rank=1), y=p.one_of(p.exp(x="e").shared(), p.sigmoid(x="e").shared())), "either"),
    ruled(p.add(x=p.one_of(p.exp(x="e").shared(), "v"), y="y"), "either-or-anything"),
    ruled(p.softmax(x="x", axis=-1), "default"),
    ruled(p.softmax(x="x", axis=const("a", equals=0)), "other-value"),
    ruled(p.cast(x="x", dtype=const(equals="fp32")), "text"),
    ruled(p.matmul(x="x", y="y", transpose_x=False), "truth"),
    ruled(p.concat(values=[p.relu(x="x").shared(), "y"], axis=0), "variadic"),
    ruled(p.linear(..., x="x", bias=optional(const("b"))), "optional"),
    ruled(p.one_of(p.exp(x=p.abs(x="x")), p.sigmoid(x="x")), "roots"),
]

TEXT: Final = """
inputs %x: fp16[4], %m: fp16[2, 2]
%r: fp16[4] = relu(x=%x)
%e: fp16[4] = exp(x=%r)
%s: fp16[4] = sigmoid(x=%e)
%c: fp16 = const(0.1)
%big: fp16[4] = const([1, 2, 3, 4])
%a1: fp16[4] = add(x=%r, y=%e)
%a2: fp16[4] = add(x=%e, y=%r)
%a3: fp16[4] = add(x=%x, y=%c)
%a4: fp16[4] = add(x=%c, y=%x)
%a5: fp16[4] = add(x=%s, y=fp16(0.5))
%a6: fp16[4] = add(x=%s, y=%big)
%a7: fp16[4] = add(x=fp16(1.0), y=%s)
%a8: fp16[4] = add(x=%x, y=%s)
%s1: fp16[2, 2] = softmax(x=%m)
%s2: fp16[2, 2] = softmax(x=%m, axis=0)
%s3: fp16[2, 2] = softmax(x=%m, axis=-1)
%t1: fp32[2, 2] = cast(x=%m, dtype="fp32")
%t2: int32[2, 2] = cast(x=%m, dtype="int32")
%m1: fp16[2, 2] = matmul(x=%m, y=%m)
%m2: fp16[2, 2] = matmul(x=%m, y=%m, transpose_x=true)
%n1: fp16[8] = concat(values=(%r, %x), axis=0, interleave=false)
%n2: fp16[8] = concat(values=(%x, %r), axis=0, interleave=false)
%l1: fp16[2, 2] = linear(x=%m, weight=fp16[2, 2]([[1, 2], [3, 4]]))
%l2: fp16[2, 2] = linear(x=%m, weight=fp16[2, 2]([[1, 2], [3, 4]]), bias=fp16[2]([1, 2]))
%y: fp16[2, 2] = add(x=%l1, y=%l2)
"""


def matching(rule: Rule, op: Op) -> bool:
    return any(True for pattern in rule.roots for _ in Matcher().matches(pattern, op, rule.info))


@pytest.mark.parametrize("each", RULES, ids=[each.name for each in RULES])
def test_a_root_that_matches_is_not_ruled_out(each: Rule) -> None:
    program = program_of(TEXT)
    block = program.main.body
    candidates = RuleSet([each]).candidates(block.op_types())
    kept = seeds(block, candidates)
    matched = [op for op in block if matching(each, op)]
    assert matched
    for op in matched:
        assert op in kept
        assert any(entry.rule is each for entry in candidates[op.op_type].of(op))


def test_seeds_come_in_program_order_and_no_more_than_once() -> None:
    program = program_of(TEXT)
    block = program.main.body
    kept = seeds(block, RuleSet(RULES).candidates(block.op_types()))
    assert kept == [op for op in block if op in set(kept)]
    assert len(kept) == len(set(kept))


@pytest.mark.parametrize(
    ("name", "roots"),
    [
        ("op", ["a1"]), ("op-either", ["a1", "a2"]), ("const", ["a3", "a5", "a6"]), ("value", ["a3"]), ("value-near", ["a5", "a7"]),
        ("either", ["a1", "a7", "a8"]), ("default", ["s1", "s3"]), ("other-value", ["s1", "s2"]), ("text", ["t1"]), ("truth", ["m1"]),
        ("variadic", ["n1"]), ("roots", ["s"]),
    ],
)  # fmt: skip
def test_a_root_that_cannot_match_is_ruled_out(name: str, roots: list[str]) -> None:
    """A root without the parameter stays, since a default may stand for it; one that needs an op which is nowhere is not looked at."""
    program = program_of(TEXT)
    block = program.main.body
    (each,) = [each for each in RULES if each.name == name]
    assert [op.output.name for op in seeds(block, RuleSet([each]).candidates(block.op_types()))] == roots
