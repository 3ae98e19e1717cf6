"""What a rewrite leaves without a use goes, and nothing else."""

from __future__ import annotations

from ir.const import Const
from ir.types import FP16
from mlpasses.rewrite import Match, Replacement, Rewriter, const, p, rule
from tests.rewrite.checks import check, rewritten
from tests.rewrite.rules import divide_by_multiplying


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
