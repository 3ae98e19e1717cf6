"""Names stay where they are visible, and new ops get those of what they replace."""

from __future__ import annotations

import pytest

from ir.const import Const
from ir.core import Program
from ir.types import FP16
from ir.verify import structure
from mlpasses.cleanup.noops import RemoveNoops
from mlpasses.manager import run
from mlpasses.rewrite import (
    Failure,
    Match,
    Replacement,
    RewriteError,
    Rewriter,
    p,
    rewrite,
    rule,
)
from tests.rewrite.checks import check, program_of, rewritten, unchanged
from tests.rewrite.rules import add_nothing, divide_by_multiplying, drop_identity, merge_relus, the


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


class TestHiddenNames:
    """A nested block that uses a value has another one of the name that would stand for it."""

    REUSED = """
        inputs %p: bool, %x: fp16[4]
        %a: fp16[4] = exp(x=%x)
        %b: fp16[4] = add(x=%a, y=fp16(0.0))
        %y: fp16[4] = cond(pred=%p) block {
          %c: fp16[4] = relu(x=%b)
          %a: fp16[4] = abs(x=%x)
          %d: fp16[4] = mul(x=%c, y=%b)
          %e: fp16[4] = mul(x=%d, y=%a)
          return %e
        } block {
          %f: fp16[4] = relu(x=%x)
          return %f
        }
        """

    def shadowing(self) -> Program:
        """As the text, which no reader takes, since `%a` in the block hides the one around it: renamed afterwards."""
        program = program_of(self.REUSED.replace("%a: fp16[4] = abs", "%g: fp16[4] = abs").replace("y=%a)", "y=%g)"))
        the(program, "abs").output.rename("a")
        structure.verify(program)
        return program

    def test_a_value_is_not_carried_to_where_its_name_means_another(self) -> None:
        program = self.shadowing()
        outcome = rewrite(program, [add_nothing])
        assert not outcome
        assert list(outcome.rules["add-nothing"].failed) == ["a block that uses %{} has another value called %{}: rename one of them"]
        structure.verify(program)

    def test_with_another_name_it_is(self) -> None:
        program = self.shadowing()
        the(program, "exp").output.rename("free")
        assert rewrite(program, [add_nothing]).rewrites == 1
        structure.verify(program)

    def test_a_value_that_is_used_beside_its_definition_is_not_hindered(self) -> None:
        program = program_of("""
            inputs %x: fp16[4]
            %a: fp16[4] = exp(x=%x)
            %b: fp16[4] = add(x=%a, y=fp16(0.0))
            %y: fp16[4] = relu(x=%b)
            """)
        assert rewrite(program, [add_nothing]).rewrites == 1

    def test_a_new_op_does_not_use_what_its_block_hides(self) -> None:
        program = self.shadowing()
        inner, outer = the(program, "relu", 0), the(program, "exp").output
        rw = Rewriter().at(inner)
        with pytest.raises(RewriteError, match=r"by the name of %a, .* would mean another value"):
            rw.replace(inner, rw.op("sin", x=outer))
        rw.discard()
        structure.verify(program)

    def test_an_operand_is_not_set_to_what_the_block_hides(self) -> None:
        program = self.shadowing()
        inner, outer = the(program, "relu", 0), the(program, "exp").output
        with pytest.raises(RewriteError, match="cannot use %a: where it stands, that is the name of another value"):
            Rewriter().set(inner, "x", outer)

    def test_passes_that_drop_noops_leave_such_an_op_alone(self) -> None:
        program = self.shadowing()
        minus = next(program.ops("add"))
        minus.set("y", Const.of(-0.0, FP16))
        result = run(program, RemoveNoops())
        assert result.report.passes[0].changes == 0
