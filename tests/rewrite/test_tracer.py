"""Why did this rule not fire here? One sentence for each way in which it can be."""

from __future__ import annotations

import pytest

from ir.core import Block, Function, Op, Program
from ir.text import print_program
from mlpasses.rewrite import Failure, Match, Replacement, Rewriter, const, explain, near_misses, p, rule
from tests.rewrite.checks import program_of


@rule(p.add(x=p.linear(x="x", weight="w", bias=const("b")), y=const("c")), commutes=True)
def fold_bias(m: Match, rw: Rewriter) -> Replacement | Failure:
    """add(linear(x, w, b), c) → linear(x, w, b + c)"""
    if m.c.type.shape != m.b.type.shape:
        return m.fail("c {} is not a bias over the last axis", m.c)
    return rw.op("linear", x=m.x, weight=m.w, bias=rw.const(m.b.numpy() + m.c.numpy(), hint=m.b.name))


WEIGHT = "fp16[2, 2]([[1, 2], [3, 4]])"
BIAS = "fp16[2]([1, 2])"
LINEAR = f"%h: fp16[2, 2] = linear(x=%x, weight={WEIGHT}, bias={BIAS})"


def program(ops: str, inputs: str = "%x: fp16[2, 2], %z: fp16[2, 2]") -> Program:
    return program_of(f"inputs {inputs}\n{ops}")


def last(subject: Program) -> Op:
    op = subject.main.body.last
    assert op is not None
    return op


def reason(ops: str) -> str:
    subject = program(ops)
    root = next(op for op in subject.ops("add"))
    found = explain(fold_bias, root)
    assert not found.fires
    return found.reason


class TestReasons:
    def test_another_op_feeds_it(self) -> None:
        said = reason(f"%h: fp16[2, 2] = relu(x=%x)\n%y: fp16[2, 2] = add(x=%h, y={BIAS})")
        wanted = 'p.linear(x="x", weight="w", bias=const("b"))'
        assert said == f"x of add %y is %h: fp16[2, 2], computed by relu, and the pattern wants {wanted}"

    def test_no_constant(self) -> None:
        said = reason(f"%b: fp16[2] = relu(x={BIAS})\n%h: fp16[2, 2] = linear(x=%x, weight={WEIGHT})\n%y: fp16[2, 2] = add(x=%h, y=%z)")
        assert said == "bias of linear %h is absent and has no default, and the pattern wants const(\"b\")"

    def test_a_computed_value_where_a_constant_is_wanted(self) -> None:
        said = reason(f"{LINEAR}\n%y: fp16[2, 2] = add(x=%h, y=%z)")
        assert said == "y of add %y is the input %z: fp16[2, 2], and the pattern wants a constant"

    def test_a_use_elsewhere(self) -> None:
        said = reason(f"{LINEAR}\n%y: fp16[2, 2] = add(x=%h, y={BIAS})\n%u: fp16[2, 2] = relu(x=%h)\nreturn %y, %u")
        assert said == "linear %h is used by relu %u too; write .shared() where the op may stay"

    def test_a_return(self) -> None:
        said = reason(f"{LINEAR}\n%y: fp16[2, 2] = add(x=%h, y={BIAS})\nreturn %y, %h")
        assert said == "linear %h is used by the outputs of main too; write .shared() where the op may stay"

    def test_the_check(self) -> None:
        said = reason(f"{LINEAR}\n%y: fp16[2, 2] = add(x=%h, y=fp16(1.0))")
        assert said == "c fp16(1.0) is not a bias over the last axis"

    def test_another_type_of_root(self) -> None:
        found = explain(fold_bias, last(program("%y: fp16[2, 2] = relu(x=%x)")))
        assert found.reason == "relu %y is no add"

    def test_what_the_pattern_does_not_mention(self) -> None:
        @rule(p.linear(x="x", weight="w"))
        def plain(m: Match, rw: Rewriter) -> None:
            """linear(x, w) → ?"""

        found = explain(plain, last(program(LINEAR)))
        assert found.reason.startswith("linear %h has bias=the literal fp16[2]([1.0, 2.0]), which the pattern does not mention")

    def test_a_result_of_another_type(self) -> None:
        @rule(p.add(x="x", y=const(filled=0)))
        def add_nothing(m: Match, rw: Rewriter) -> Replacement:
            """add(x, 0) → x"""
            return m.x  # type: ignore[no-any-return]

        found = explain(add_nothing, last(program("%y: fp16[1, 2, 2] = add(x=%x, y=fp16[1, 1, 1]([[[0.0]]]))")))
        assert found.reason == "%y is fp16[1, 2, 2], and what would replace it is fp16[2, 2]"


def test_the_order_of_operands_that_got_farther_is_the_one_explained() -> None:
    found = explain(fold_bias, last(program(f"{LINEAR}\n%y: fp16[2, 2] = add(x=%z, y=%h)")))
    assert found.reason == "x of add %y is the input %z: fp16[2, 2], and the pattern wants a constant"
    assert [op.op_type for op in found.ops] == ["add", "linear"]
    assert 0 < found.matched < found.parts


def test_where_it_fires_it_says_so_and_changes_nothing() -> None:
    subject = program(f"{LINEAR}\n%y: fp16[2, 2] = add(x=%h, y={BIAS})")
    before, version = print_program(subject), subject.version
    found = explain(fold_bias, last(subject))
    assert found.fires
    assert str(found) == "fold-bias fires at add %y"
    assert (print_program(subject), subject.version) == (before, version)
    assert len(subject.main.inputs[0].uses) == 1


def test_a_rule_that_changes_the_program_itself_is_stopped_before_it_does() -> None:
    @rule(p.relu(x="x"))
    def in_place(m: Match, rw: Rewriter) -> None:
        """relu(x) → relu(x)"""
        rw.set(m.root, "x", rw.op("exp", x=m.x))

    subject = program("%y: fp16[2, 2] = relu(x=%x)")
    version = subject.version
    assert explain(in_place, last(subject)).fires
    assert subject.version == version
    assert len(subject.main.inputs[0].uses) == 1


def test_an_explanation_shows_the_ops_and_the_pattern() -> None:
    said = str(explain(fold_bias, last(program(f"{LINEAR}\n%y: fp16[2, 2] = add(x=%h, y=%z)"))))
    assert said.splitlines()[0] == "fold-bias does not fire at add %y: it matches 5 of 6 parts"
    assert "    %y: fp16[2, 2] = add(x=%h, y=%z)" in said.splitlines()
    assert said.splitlines()[-1] == '  the pattern is p.add(x=p.linear(x="x", weight="w", bias=const("b")), y=const("c"))'


def test_the_options_of_a_pass_are_seen() -> None:
    @rule(p.relu(x="x"))
    def optional_rule(m: Match, rw: Rewriter) -> Failure:
        """relu(x) → ?"""
        return m.fail("the options are {}", m.options)

    assert explain(optional_rule, last(program("%y: fp16[2, 2] = relu(x=%x)")), options="these").reason == "the options are these"


class TestNearMisses:
    TEXT = f"""
        {LINEAR}
        %far: fp16[2, 2] = add(x=%x, y=%z)
        %near: fp16[2, 2] = add(x=%h, y=%far)
        %fires: fp16[2, 2] = linear(x=%near, weight={WEIGHT}, bias={BIAS})
        %y: fp16[2, 2] = add(x=%fires, y={BIAS})
        """

    def test_the_nearest_comes_first_and_what_fires_is_none(self) -> None:
        assert [miss.op.output.name for miss in near_misses(fold_bias, program(self.TEXT))] == ["near", "far"]

    def test_as_many_as_asked_for(self) -> None:
        assert len(near_misses(fold_bias, program(self.TEXT), most=1)) == 1

    @pytest.mark.parametrize("kind", ["program", "function", "block"])
    def test_of_a_program_a_function_or_a_block(self, kind: str) -> None:
        subject = program(self.TEXT)
        roots: dict[str, Program | Function | Block] = {"program": subject, "function": subject.main, "block": subject.main.body}
        root = roots[kind]
        assert len(near_misses(fold_bias, root)) == 2

    def test_of_nested_blocks(self) -> None:
        subject = program_of(
            """
            inputs %x: fp16[4], %c: bool
            %y: fp16[4] = cond(pred=%c) block {
              %t: fp16[4] = add(x=%x, y=%x)
              return %t
            } block {
              return %x
            }
            """
        )
        assert len(near_misses(fold_bias, subject.main.body)) == 1
