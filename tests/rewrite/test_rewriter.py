"""The rewriter: names stay where they are visible, what fails changes nothing, and every change is told."""

from __future__ import annotations

from typing import Any

import pytest

from ir.const import Const
from ir.core import Op, Operand, Value
from ir.diagnostics import MutationError
from ir.text import print_program
from ir.types import FP16, TensorType
from ir.verify import structure
from mlpasses.context import Context
from mlpasses.rewrite import Failure, Listener, Match, Replacement, RewriteError, Rewriter, Rule, any_value, const, p, rewrite, rule
from tests.rewrite.checks import check, interface, program_of, rewritten, unchanged


@rule(p.identity(x="x"))
def drop_identity(m: Match, rw: Rewriter) -> Replacement:
    """identity(x) → x"""
    return m.x  # type: ignore[no-any-return]


@rule(p.relu(x=p.relu(x="x").named("inner")))
def merge_relus(m: Match, rw: Rewriter) -> Replacement:
    """relu(relu(x)) → relu(x)"""
    return rw.op("relu", x=m.x)


@rule(p.real_div(x="x", y=const("c", scalar=True, dtype=FP16)))
def divide_by_multiplying(m: Match, rw: Rewriter) -> Replacement:
    """real_div(x, c) → mul(x, 1 / c)"""
    return rw.op("mul", x=m.x, y=rw.const(1 / m.c.numpy(), hint=f"{m.root.name}_factor"))


@rule(p.add(x="x", y=const("c", filled=0)))
def add_nothing(m: Match, rw: Rewriter) -> Replacement:
    """add(x, 0) → x"""
    return m.x  # type: ignore[no-any-return]


def the(program: Any, op_type: str) -> Op:
    (op,) = program.ops(op_type)
    assert isinstance(op, Op)
    return op


class TestNames:
    def test_a_new_op_takes_the_name_of_what_it_replaces(self) -> None:
        check(
            merge_relus,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %b: fp16[4] = relu(x=%a)
            %y: fp16[4] = exp(x=%b)
            """,
            """
            inputs %x: fp16[4]
            %b: fp16[4] = relu(x=%x)
            %y: fp16[4] = exp(x=%b)
            """,
        )

    def test_a_new_op_takes_the_name_attribute_too(self) -> None:
        program, _, _ = rewritten(
            merge_relus,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %y: fp16[4] = relu(x=%a)[name="activation_3"]
            """,
        )
        assert the(program, "relu").name == "activation_3"

    def test_an_op_without_a_name_attribute_is_replaced_by_one_of_its_name(self) -> None:
        program, _, _ = rewritten(
            merge_relus,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x) unnamed
            %y: fp16[4] = relu(x=%a) unnamed
            """,
        )
        assert the(program, "relu").attributes["name"] == Const.of("y")

    def test_an_op_made_with_a_name_keeps_it_unless_a_function_returns_it(self) -> None:
        @rule(p.exp2(x="x"))
        def named(m: Match, rw: Rewriter) -> Replacement:
            """exp2(x) → exp(x)"""
            return rw.op("exp", x=m.x, name=f"mine_{m.root.name}")

        check(
            named,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = exp2(x=%x)
            %y: fp16[4] = exp2(x=%a)
            """,
            """
            inputs %x: fp16[4]
            %mine_a: fp16[4] = exp(x=%x)
            %y: fp16[4] = exp(x=%mine_a)
            """,
        )

    def test_a_const_is_called_as_the_hint_says(self) -> None:
        check(
            divide_by_multiplying,
            """
            inputs %x: fp16[4]
            %y: fp16[4] = real_div(x=%x, y=fp16(4.0))
            """,
            """
            inputs %x: fp16[4]
            %y_factor: fp16 = const(0.25)
            %y: fp16[4] = mul(x=%x, y=%y_factor)
            """,
        )

    def test_a_taken_hint_gets_a_number(self) -> None:
        program, _, _ = rewritten(
            divide_by_multiplying,
            """
            inputs %x: fp16[4], %y_factor: fp16[4]
            %y: fp16[4] = real_div(x=%x, y=fp16(4.0))
            %z: fp16[4] = add(x=%y, y=%y_factor)
            """,
        )
        assert the(program, "const").output.name == "y_factor_0"


class TestVisibleNames:
    def test_a_value_that_stands_for_a_returned_one_takes_its_name(self) -> None:
        check(
            drop_identity,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %y: fp16[4] = identity(x=%a)
            """,
            """
            inputs %x: fp16[4]
            %y: fp16[4] = relu(x=%x)
            """,
        )

    def test_the_returned_values_keep_their_order(self) -> None:
        check(
            drop_identity,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %b: fp16[4] = exp(x=%x)
            %y: fp16[4] = identity(x=%b)
            %z: fp16[4] = identity(x=%a)
            return %y, %z
            """,
            """
            inputs %x: fp16[4]
            %z: fp16[4] = relu(x=%x)
            %y: fp16[4] = exp(x=%x)
            return %y, %z
            """,
        )

    def test_an_input_is_passed_through_an_identity(self) -> None:
        check(
            add_nothing,
            """
            inputs %x: fp16[4]
            %y: fp16[4] = add(x=%x, y=fp16(0.0))
            """,
            """
            inputs %x: fp16[4]
            %y: fp16[4] = identity(x=%x)
            """,
        )

    def test_a_returned_value_is_passed_through_an_identity(self) -> None:
        check(
            add_nothing,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %y: fp16[4] = add(x=%a, y=fp16(0.0))
            return %a, %y
            """,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %y: fp16[4] = identity(x=%a)
            return %a, %y
            """,
        )

    def test_one_value_stands_for_two_returned_ones_through_an_identity(self) -> None:
        check(
            add_nothing,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %y: fp16[4] = add(x=%a, y=fp16(0.0))
            %z: fp16[4] = add(x=%a, y=fp16(0.0))
            return %y, %z
            """,
            """
            inputs %x: fp16[4]
            %y: fp16[4] = relu(x=%x)
            %z: fp16[4] = identity(x=%y)
            return %y, %z
            """,
        )

    def test_an_identity_that_is_needed_stays(self) -> None:
        outcome = unchanged(
            drop_identity,
            """
            inputs %x: fp16[4]
            %y: fp16[4] = identity(x=%x)
            """,
        )
        assert outcome.rules["drop-identity"].failed == {"%{} needs its identity: a function returns it by that name": 1}

    def test_a_value_returned_twice_keeps_both_places(self) -> None:
        check(
            drop_identity,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %y: fp16[4] = identity(x=%a)
            return %y, %y
            """,
            """
            inputs %x: fp16[4]
            %y: fp16[4] = relu(x=%x)
            return %y, %y
            """,
        )

    def test_the_value_that_a_nested_block_returns_is_rewired_without_an_identity(self) -> None:
        check(
            drop_identity,
            """
            inputs %x: fp16[4], %c: bool
            %y: fp16[4] = cond(pred=%c) block {
              %t: fp16[4] = identity(x=%x)
              return %t
            } block {
              %e: fp16[4] = abs(x=%x)
              return %e
            }
            """,
            """
            inputs %x: fp16[4], %c: bool
            %y: fp16[4] = cond(pred=%c) block {
              return %x
            } block {
              %e: fp16[4] = abs(x=%x)
              return %e
            }
            """,
        )

    def test_a_value_that_would_be_hidden_by_its_new_name_is_passed_through_an_identity(self) -> None:
        text = """
            inputs %x: fp16[4], %c: bool
            %a: fp16[4] = relu(x=%x)
            %k: fp16[4] = cond(pred=%c) block {
              %y: fp16[4] = exp(x=%x)
              %q: fp16[4] = add(x=%y, y=%a)
              return %q
            } block {
              return %x
            }
            """
        returned = "\n            return %y, %k"
        check(
            add_nothing,
            text + "%y: fp16[4] = add(x=%a, y=fp16(0.0))" + returned,
            text + "%y: fp16[4] = identity(x=%a)" + returned,
        )

    def test_a_literal_becomes_a_const_where_it_is_returned(self) -> None:
        @rule(p.sub(x="x", y="x"))
        def nothing_left(m: Match, rw: Rewriter) -> Replacement:
            """sub(x, x) → 0"""
            return Const.of([0, 0], FP16)

        check(
            nothing_left,
            """
            inputs %x: fp16[2]
            %y: fp16[2] = sub(x=%x, y=%x)
            """,
            """
            inputs %x: fp16[2]
            %y: fp16[2] = const([0.0, 0.0])
            """,
        )
        check(
            nothing_left,
            """
            inputs %x: fp16[2]
            %a: fp16[2] = sub(x=%x, y=%x)
            %y: fp16[2] = exp(x=%a)
            """,
            """
            inputs %x: fp16[2]
            %y: fp16[2] = exp(x=fp16[2]([0.0, 0.0]))
            """,
        )

    def test_a_declared_type_stays_where_a_more_precise_one_is_inferred(self) -> None:
        program, _, _ = rewritten(
            merge_relus,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %y: fp16[?] = relu(x=%a)
            """,
        )
        assert repr(program.main.outputs[0].type) == "fp16[?]"

    def test_a_returned_value_of_another_declared_type_is_passed_through_an_identity(self) -> None:
        check(
            add_nothing,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %y: fp16[?] = add(x=%a, y=fp16(0.0))
            """,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %y: fp16[?] = identity(x=%a)
            """,
        )

    def test_one_value_may_stand_for_two_results_that_are_returned(self) -> None:
        @rule(p.split(x=p.concat(values=["a", "a"], axis=0), num_splits=2, axis=0))
        def split_of_twins(m: Match, rw: Rewriter) -> Replacement:
            """split(concat(a, a)) → a, a"""
            return (m.a, m.a)

        check(
            split_of_twins,
            """
            inputs %x: fp16[2]
            %a: fp16[2] = relu(x=%x)
            %c: fp16[4] = concat(values=(%a, %a), axis=0, interleave=false)
            %y: fp16[2], %w: fp16[2] = split(x=%c, num_splits=2, axis=0)
            return %w, %y
            """,
            """
            inputs %x: fp16[2]
            %y: fp16[2] = relu(x=%x)
            %w: fp16[2] = identity(x=%y)
            return %w, %y
            """,
        )

    def test_an_op_that_takes_over_a_name_keeps_a_name_attribute_of_its_own(self) -> None:
        program, _, _ = rewritten(
            drop_identity,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)[name="activation_3"]
            %y: fp16[4] = identity(x=%a)
            """,
        )
        assert the(program, "relu").name == "activation_3"

    def test_several_results_are_replaced_one_by_one(self) -> None:
        @rule(p.split(x=p.concat(values=["a", "b"], axis=0), num_splits=2, axis=0))
        def split_of_concat(m: Match, rw: Rewriter) -> Replacement | Failure:
            """split(concat(a, b)) → a, b"""
            return (m.a, m.b) if m.a.type is m.b.type else m.fail("{} and {} differ", m.a, m.b)

        check(
            split_of_concat,
            """
            inputs %x: fp16[2], %z: fp16[2]
            %a: fp16[2] = relu(x=%x)
            %c: fp16[4] = concat(values=(%a, %z), axis=0, interleave=false)
            %y: fp16[2], %w: fp16[2] = split(x=%c, num_splits=2, axis=0)
            return %w, %y
            """,
            """
            inputs %x: fp16[2], %z: fp16[2]
            %y: fp16[2] = relu(x=%x)
            %w: fp16[2] = identity(x=%z)
            return %w, %y
            """,
        )


class TestErasing:
    def test_what_only_the_match_needed_goes_and_constants_with_it(self) -> None:
        check(
            divide_by_multiplying,
            """
            inputs %x: fp16[4]
            %c: fp16 = const(4.0)
            %y: fp16[4] = real_div(x=%x, y=%c)
            """,
            """
            inputs %x: fp16[4]
            %y_factor: fp16 = const(0.25)
            %y: fp16[4] = mul(x=%x, y=%y_factor)
            """,
        )

    def test_what_others_use_stays(self) -> None:
        check(
            divide_by_multiplying,
            """
            inputs %x: fp16[4]
            %c: fp16 = const(4.0)
            %a: fp16[4] = real_div(x=%x, y=%c)
            %y: fp16[4] = add(x=%a, y=%c)
            """,
            """
            inputs %x: fp16[4]
            %c: fp16 = const(4.0)
            %a_factor: fp16 = const(0.25)
            %a: fp16[4] = mul(x=%x, y=%a_factor)
            %y: fp16[4] = add(x=%a, y=%c)
            """,
        )

    def test_a_shared_op_stays_where_it_is_used_and_goes_where_it_is_not(self) -> None:
        @rule(p.abs(x=p.relu(x="x").shared()))
        def abs_of_relu(m: Match, rw: Rewriter) -> Replacement:
            """abs(relu(x)) → relu(x)"""
            return rw.op("relu", x=m.x)

        check(
            abs_of_relu,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %y: fp16[4] = abs(x=%a)
            return %y, %a
            """,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %y: fp16[4] = relu(x=%x)
            return %y, %a
            """,
        )

    def test_an_op_with_an_effect_or_without_a_row_stays_unused(self) -> None:
        @rule(p.mul(x="x", y=const(filled=0)))
        def times_nothing(m: Match, rw: Rewriter) -> Replacement:
            """mul(x, 0) → 0, were x finite"""
            return rw.const(Const.of([0, 0], FP16), hint="zeros")

        check(
            times_nothing,
            """
            inputs %x: fp16[2]
            %a: fp16[2] = relu(x=%x)
            %b: fp16[2] = custom(x=%a)
            %c: fp16[2] = exp(x=%b)
            %y: fp16[2] = mul(x=%c, y=fp16(0.0))
            """,
            """
            inputs %x: fp16[2]
            %a: fp16[2] = relu(x=%x)
            %b: fp16[2] = custom(x=%a)
            %y: fp16[2] = const([0.0, 0.0])
            """,
        )

    def test_an_unused_op_with_blocks_stays(self) -> None:
        @rule(p.mul(x="x", y=const(filled=0)))
        def times_nothing(m: Match, rw: Rewriter) -> Replacement:
            """mul(x, 0) → 0, were x finite"""
            return rw.const(Const.of([0, 0], FP16))

        program, _, _ = rewritten(
            times_nothing,
            """
            inputs %s: state<fp16[2]>, %x: fp16[2], %t: bool
            %c: fp16[2] = cond(pred=%t) block {
              write_state(input=%s, data=%x)
              return %x
            } block {
              return %x
            }
            %y: fp16[2] = mul(x=%c, y=fp16(0.0))
            """,
        )
        assert [op.op_type for op in program.main.body] == ["cond", "const"]

    def test_an_op_with_an_effect_is_no_waste(self) -> None:
        @rule(p.relu(x=p.read_state(input="s").shared()))
        def reset(m: Match, rw: Rewriter) -> Replacement:
            """relu(read(s)) → write(s, x); abs(x)"""
            held = m.ops["read_state"].output
            rw.results("write_state", input=m.s, data=held)
            return rw.op("abs", x=held)

        check(
            reset,
            """
            inputs %s: state<fp16[4]>
            %a: fp16[4] = read_state(input=%s)
            %y: fp16[4] = relu(x=%a)
            """,
            """
            inputs %s: state<fp16[4]>
            %a: fp16[4] = read_state(input=%s)
            write_state(input=%s, data=%a)[name="y_write_state"]
            %y: fp16[4] = abs(x=%a)
            """,
        )

    def test_what_a_rule_made_and_did_not_use_is_dropped(self) -> None:
        @rule(p.exp2(x="x"))
        def wasteful(m: Match, rw: Rewriter) -> Replacement:
            """exp2(x) → exp(x)"""
            rw.op("sin", x=rw.op("cos", x=m.x))
            return rw.op("exp", x=m.x)

        check(
            wasteful,
            """
            inputs %x: fp16[4]
            %y: fp16[4] = exp2(x=%x)
            """,
            """
            inputs %x: fp16[4]
            %y: fp16[4] = exp(x=%x)
            """,
        )

    def test_a_matched_state_op_at_the_root_stays_in_its_place(self) -> None:
        @rule(p.relu(x=p.read_state(input="s").shared()))
        def of_state(m: Match, rw: Rewriter) -> Replacement:
            """relu(read(s)) → abs(read(s))"""
            return rw.op("abs", x=m.ops["read_state"])

        check(
            of_state,
            """
            inputs %s: state<fp16[4]>
            %a: fp16[4] = read_state(input=%s)
            write_state(input=%s, data=fp16[4]([1, 2, 3, 4]))
            %y: fp16[4] = relu(x=%a)
            """,
            """
            inputs %s: state<fp16[4]>
            %a: fp16[4] = read_state(input=%s)
            write_state(input=%s, data=fp16[4]([1, 2, 3, 4]))
            %y: fp16[4] = abs(x=%a)
            """,
        )


RELU = """
inputs %x: fp16[4]
%y: fp16[4] = relu(x=%x)
"""


class TestFailing:
    def test_a_rule_that_fails_after_making_ops_leaves_no_trace(self) -> None:
        @rule(p.relu(x="x"))
        def gives_up(m: Match, rw: Rewriter) -> Failure:
            """relu(x) → ?"""
            rw.op("linear", x=rw.op("expand_dims", x=m.x, axes=[0]), weight=rw.const(Const.of([[1, 2, 3, 4]], FP16)))
            return m.fail("not today")

        program = program_of(RELU)
        uses = program.main.inputs[0].uses
        version = program.version
        assert not rewrite(program, [gives_up])
        assert (program.main.inputs[0].uses, program.version) == (uses, version)

    def test_names_of_ops_that_were_forgotten_are_free_again(self) -> None:
        program = program_of(RELU)
        rw = Rewriter().at(the(program, "relu"))
        rw.op("exp", x=program.main.inputs[0], name="e")
        rw.discard()
        rw.op("exp", x=program.main.inputs[0], name="e")

    def test_pending_ops_do_not_get_one_name_twice(self) -> None:
        program = program_of(RELU)
        rw = Rewriter().at(the(program, "relu"))
        made = [rw.const(1.0, hint=hint) for hint in ("a", "a", "a_0", "a")]
        assert len({value.name for value in made}) == 4

    def test_a_rule_without_a_reason_is_counted_as_such(self) -> None:
        @rule(p.relu(x="x"))
        def silent(m: Match, rw: Rewriter) -> None:
            """relu(x) → ?"""

        assert unchanged(silent, RELU).rules["silent"].failed == {"it gave no reason": 1}

    def test_a_result_of_another_type_is_a_failure_with_a_reason(self) -> None:
        text = """
            inputs %x: fp16[4]
            %y: fp16[1, 4] = add(x=%x, y=fp16[1, 1]([[0.0]]))
            """
        assert unchanged(add_nothing, text).rules["add-nothing"].failed == {"%{} is {}, and what would replace it is {}": 1}

    def test_a_rule_that_raises_is_reported_with_its_place_and_leaves_no_trace(self) -> None:
        @rule(p.relu(x="x"))
        def raises(m: Match, rw: Rewriter) -> Replacement:
            """relu(x) → ?"""
            rw.op("exp", x=m.x)
            raise ZeroDivisionError("oh")

        program = program_of(RELU)
        version = program.version
        with pytest.raises(RewriteError, match="rule raises failed at relu %y: ZeroDivisionError: oh"):
            rewrite(program, [raises])
        assert program.version == version
        assert len(program.main.inputs[0].uses) == 1

    def test_an_op_that_the_opset_lacks_is_reported_as_such(self) -> None:
        @rule(p.relu(x="x"))
        def too_new(m: Match, rw: Rewriter) -> Replacement:
            """relu(x) → ?"""
            return rw.op("constexpr_lut_to_sparse", x=m.x)

        with pytest.raises(RewriteError, match="came with iOS18, and the function is written for iOS15"):
            rewrite(program_of(RELU, "CoreML5"), [too_new])

    def test_failing_after_a_change_is_an_error(self) -> None:
        @rule(p.relu(x="x"))
        def too_late(m: Match, rw: Rewriter) -> Failure:
            """relu(x) → ?"""
            rw.set(m.root, "x", m.x)
            return m.fail("oh no")

        with pytest.raises(RewriteError, match=r"changed the program, and then failed \(oh no\): checks come first"):
            rewrite(program_of(RELU), [too_late])


class TestRefusals:
    TWO = """
        inputs %x: fp16[4]
        %a: fp16[4] = relu(x=%x)
        %y: fp16[4] = exp(x=%a)
        %z: fp16[4] = abs(x=%y)
        """

    def refuse(self, make: Any, reason: str, op_type: str = "exp") -> None:
        program = program_of(self.TWO)
        before = print_program(program)
        op = the(program, op_type)
        rw = Rewriter().at(op)
        with pytest.raises(RewriteError, match=reason):
            rw.replace(op, make(rw, program, op))
        rw.discard()
        assert print_program(program) == before
        structure.verify(program)

    def test_a_replacement_has_as_many_results(self) -> None:
        self.refuse(lambda rw, program, op: (op["x"], op["x"]), "has 1 results, and 2 were given")

    def test_a_used_result_needs_something_in_its_place(self) -> None:
        self.refuse(lambda rw, program, op: (None,), "is used, and nothing was given")

    def test_a_replacement_is_an_operand(self) -> None:
        self.refuse(lambda rw, program, op: "x", "neither a value nor a literal")

    def test_an_op_is_not_replaced_by_itself(self) -> None:
        self.refuse(lambda rw, program, op: op.output, "replaced by itself")

    def test_a_replacement_does_not_use_what_it_replaces(self) -> None:
        self.refuse(lambda rw, program, op: rw.op("sin", x=op), "uses exp %y itself")

    def test_a_replacement_does_not_come_after_what_it_replaces(self) -> None:
        self.refuse(lambda rw, program, op: the(program, "abs"), "comes after it")

    def test_a_replacement_is_of_the_same_type(self) -> None:
        self.refuse(lambda rw, program, op: rw.op("cast", x=op["x"], dtype="fp32"), "what would replace it is fp32")

    def test_an_op_that_is_gone_is_not_replaced(self) -> None:
        program = program_of(self.TWO)
        op = the(program, "exp")
        rw = Rewriter()
        rw.replace(op, op["x"])
        with pytest.raises(RewriteError, match="exp is gone already"):
            rw.replace(op, program.main.inputs[0])

    def test_an_op_whose_result_is_used_is_not_erased(self) -> None:
        program = program_of(self.TWO)
        heard = Heard()
        with pytest.raises(MutationError, match="still used"):
            Rewriter(listeners=[heard]).erase(the(program, "exp"))
        assert not heard.events

    def test_a_visible_value_is_not_renamed(self) -> None:
        program = program_of(self.TWO)
        for value in (program.main.inputs[0], program.main.outputs[0]):
            with pytest.raises(RewriteError, match="keeps its name"):
                Rewriter().rename(value, "other")

    def test_ops_are_made_at_an_anchor(self) -> None:
        program = program_of(self.TWO)
        with pytest.raises(RewriteError, match=r"take rewriter\.at"):
            Rewriter().op("relu", x=program.main.inputs[0])

    def test_an_op_with_several_results_is_made_with_results(self) -> None:
        program = program_of(self.TWO)
        rw = Rewriter().at(the(program, "exp"))
        with pytest.raises(RewriteError, match=r"make it with rw\.results"):
            rw.op("split", x=program.main.inputs[0], num_splits=2, axis=0)
        assert len(rw.results("split", x=program.main.inputs[0], num_splits=2, axis=0)) == 2


class TestMaking:
    def test_like_takes_over_what_is_not_given(self) -> None:
        @rule(p.conv(..., x=p.pad(x="x", pad="_", mode=const(equals="constant"), constant_val=0)))
        def unpad(m: Match, rw: Rewriter) -> Replacement:
            """conv(pad(x)) → conv(x), padded by itself"""
            return rw.op("conv", like=m.root, x=m.x, pad_type="custom", pad=[1, 1, 1, 1])

        weight = "fp16[1, 1, 3, 3]([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]])"
        common = f"weight={weight}, strides=int32[2]([2, 2])"
        rest = "dilations=int32[2]([1, 1]), groups=1"
        check(
            unpad,
            f"""
            inputs %x: fp16[1, 1, 8, 8]
            %p: fp16[1, 1, 10, 10] = pad(x=%x, pad=int32[4]([1, 1, 1, 1]), mode="constant", constant_val=fp16(0.0))
            %y: fp16[1, 1, 4, 4] = conv(x=%p, {common}, pad_type="valid", pad=int32[4]([0, 0, 0, 0]), {rest})
            """,
            f"""
            inputs %x: fp16[1, 1, 8, 8]
            %y_conv_pad_type: string = const("custom")
            %y_conv_pad: int32[4] = const([1, 1, 1, 1])
            %y: fp16[1, 1, 4, 4] = conv(x=%x, {common}, pad_type=%y_conv_pad_type, pad=%y_conv_pad, {rest})
            """,
        )

    def test_a_captured_constant_and_an_absent_one_are_passed_on(self) -> None:
        from mlpasses.rewrite import optional

        @rule(p.linear(x=p.identity(x="x"), weight=const("w"), bias=optional(const("b"))))
        def skip(m: Match, rw: Rewriter) -> Replacement:
            """linear(identity(x), w, b) → linear(x, w, b)"""
            return rw.op("linear", x=m.x, weight=m.w, bias=m.b)

        for bias in ("", ", bias=fp16[1]([0.5])"):
            check(
                skip,
                f"""
                inputs %x: fp16[1, 2]
                %i: fp16[1, 2] = identity(x=%x)
                %y: fp16[1, 1] = linear(x=%i, weight=fp16[1, 2]([[1, 2]]){bias})
                """,
                f"""
                inputs %x: fp16[1, 2]
                %y: fp16[1, 1] = linear(x=%x, weight=fp16[1, 2]([[1, 2]]){bias})
                """,
            )

    def test_a_type_may_be_stated_for_an_op_without_a_row(self) -> None:
        @rule(p.relu(x="x"))
        def custom(m: Match, rw: Rewriter) -> Replacement:
            """relu(x) → custom(x)"""
            return rw.op("custom", x=m.x, type=m.root.output.type)

        check(custom, RELU, RELU.replace("relu", "custom"))

    def test_a_rule_sees_the_opset(self) -> None:
        seen: list[object] = []

        @rule(p.relu(x="x"))
        def look(m: Match, rw: Rewriter) -> None:
            """relu(x) → ?"""
            seen.append(rw.opset)

        rewrite(program_of(RELU, "CoreML6"), [look])
        assert str(seen) == "[iOS16]"

    def test_new_ops_tell_the_pass_the_rule_and_their_sources(self) -> None:
        program, _, cx = rewritten(
            merge_relus,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %y: fp16[4] = relu(x=%a)
            """,
        )
        op = the(program, "relu")
        assert (op.origin.pass_name, op.origin.rule, op.origin.sources) == ("the-pass", "merge-relus", ("y", "a"))
        assert op in cx.touched

    def test_an_op_that_was_only_rewired_is_touched_and_keeps_its_origin(self) -> None:
        program, _, cx = rewritten(
            drop_identity,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = identity(x=%x)
            %y: fp16[4] = relu(x=%a)
            """,
        )
        op = the(program, "relu")
        assert op in cx.touched
        assert op.origin is None

    def test_rules_may_change_operands_in_place(self) -> None:
        @rule(p.softmax(x="x", axis=1))
        def from_the_back(m: Match, rw: Rewriter) -> Failure | None:
            """softmax(x, axis=1) → softmax(x, axis=-1), of rank 2"""
            if m.x.type.rank != 2:
                return m.fail("the rank is {}", m.x.type.rank)
            rw.set(m.root, "axis", rw.const(-1, hint="axis"))
            return None

        check(
            from_the_back,
            """
            inputs %x: fp16[2, 2]
            %y: fp16[2, 2] = softmax(x=%x, axis=1)
            """,
            """
            inputs %x: fp16[2, 2]
            %axis: int32 = const(-1)
            %y: fp16[2, 2] = softmax(x=%x, axis=%axis)
            """,
        )


class Heard(Listener):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def inserted(self, op: Op) -> None:
        self.events.append(f"inserted {op.op_type}")

    def changed(self, op: Op) -> None:
        self.events.append(f"changed {op.op_type}")

    def replaced(self, op: Op, by: tuple[Operand | None, ...]) -> None:
        assert op.output.is_used
        self.events.append(f"replaced {op.op_type} by {', '.join(v.op.op_type for v in by if isinstance(v, Value) and v.op is not None)}")

    def erased(self, op: Op) -> None:
        assert op.operands or op.op_type == "const"
        self.events.append(f"erased {op.op_type}")


def test_every_change_is_told_in_its_order() -> None:
    program = program_of(
        """
        inputs %x: fp16[4]
        %c: fp16 = const(4.0)
        %a: fp16[4] = real_div(x=%x, y=%c)
        %y: fp16[4] = relu(x=%a)
        """
    )
    heard = Heard()
    rewrite(program, [divide_by_multiplying], listeners=[heard])
    assert heard.events == [
        "inserted const", "inserted mul", "replaced real_div by mul", "changed relu", "erased real_div", "erased const",
    ]  # fmt: skip


def test_the_rewriter_of_a_pass_replaces_at_once() -> None:
    program = program_of(RELU)
    before = interface(program.main)
    cx = Context()
    rw = Rewriter(cx)
    op = the(program, "relu")
    rw.replace(op, op["x"])
    structure.verify(program)
    assert interface(program.main) == before
    assert [each.op_type for each in program.ops()] == ["identity"]
    assert rw.changes == 1


def test_a_replacement_of_an_op_before_the_anchor_is_put_before_that() -> None:
    program = program_of(TestRefusals.TWO)
    rw = Rewriter().at(the(program, "abs"))
    rw.replace(the(program, "relu"), rw.op("sin", x=program.main.inputs[0]))
    structure.verify(program)
    assert [op.op_type for op in program.ops()] == ["sin", "exp", "abs"]


def test_a_value_is_renamed_with_its_op() -> None:
    program = program_of(TestRefusals.TWO)
    Rewriter().rename(the(program, "relu").output, "b")
    assert the(program, "relu").name == "b"


def test_a_replacement_may_restrict_its_type() -> None:
    @rule(p.relu(x=any_value("x", dtype=FP16, rank=1)))
    def half(m: Match, rw: Rewriter) -> Replacement:
        """relu(x) → abs(x)"""
        return rw.op("abs", x=m.x, type=TensorType(FP16, (4,)))

    assert isinstance(half, Rule)
    check(half, RELU, RELU.replace("relu", "abs"))
