"""The driver: rules to the end, in their order, in nested blocks too, revisiting what changed; a loop is an error that names it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from ir.core import Block, Op
from ir.text import print_program
from ir.verify import structure
from mlpasses.rewrite import (
    Failure,
    Limits,
    Match,
    PatternError,
    Replacement,
    RewriteError,
    Rewriter,
    Rule,
    RuleSet,
    const,
    p,
    rewrite,
    rule,
)  # fmt: skip
from tests.effort import grows_linearly
from tests.rewrite.checks import check, program_of, rewritten, unchanged


def turns(old: str, new: str, name: str | None = None) -> Rule:
    """The rule `old(x) → new(x)`."""

    @rule(getattr(p, old)(x="x"), name=name or f"{old}-to-{new}")
    def made(m: Match, rw: Rewriter) -> Replacement:
        return rw.op(new, x=m.x)

    return made


@rule(p.transpose(x=p.transpose(x="x", perm=const("inner")), perm=const("outer")))
def merge_transposes(m: Match, rw: Rewriter) -> Replacement:
    """transpose(transpose(x, p), q) → transpose(x, p[q])"""
    return rw.op("transpose", x=m.x, perm=m.inner.numpy()[m.outer.numpy()])


@rule(p.transpose(x="x", perm=[0, 1]))
def drop_transpose(m: Match, rw: Rewriter) -> Replacement:
    """transpose(x, [0, 1]) → x"""
    return m.x  # type: ignore[no-any-return]


class TestToTheEnd:
    def test_a_rule_is_applied_until_it_no_longer_is(self) -> None:
        outcome = check(
            [merge_transposes, drop_transpose],
            """
            inputs %x: fp16[2, 3]
            %a: fp16[3, 2] = transpose(x=%x, perm=int32[2]([1, 0]))
            %b: fp16[2, 3] = transpose(x=%a, perm=int32[2]([1, 0]))
            %c: fp16[3, 2] = transpose(x=%b, perm=int32[2]([1, 0]))
            %d: fp16[2, 3] = transpose(x=%c, perm=int32[2]([1, 0]))
            %y: fp16[2, 3] = relu(x=%d)
            """,
            """
            inputs %x: fp16[2, 3]
            %y: fp16[2, 3] = relu(x=%x)
            """,
        )
        assert {name: count.fired for name, count in outcome.rules.items()} == {"merge-transposes": 2, "drop-transpose": 2}
        assert outcome.rewrites == 4

    def test_what_a_rule_makes_is_seen_by_those_after_and_before_it(self) -> None:
        check(
            [turns("cos", "tan"), turns("sin", "cos"), turns("tan", "atan")],
            """
            inputs %x: fp16[4]
            %y: fp16[4] = sin(x=%x)
            """,
            """
            inputs %x: fp16[4]
            %y: fp16[4] = atan(x=%x)
            """,
        )

    def test_the_first_rule_that_applies_goes_first(self) -> None:
        check(
            [turns("sin", "cos"), turns("sin", "tan")],
            """
            inputs %x: fp16[4]
            %y: fp16[4] = sin(x=%x)
            """,
            """
            inputs %x: fp16[4]
            %y: fp16[4] = cos(x=%x)
            """,
        )

    def test_the_first_rule_goes_first_whatever_tells_the_rules_apart(self) -> None:
        def becomes(op_type: str, pattern: Any) -> Rule:
            @rule(pattern, name=op_type)
            def made(m: Match, rw: Rewriter) -> Replacement:
                return rw.op(op_type, x=m.root["x"], y=m.root["y"])

            return made

        relu = p.relu(x="_").shared()
        by_y, by_x, by_nothing = p.add(x="_", y=relu), p.add(x=relu, y="_"), p.add(x="_", y="_")
        text = "inputs %x: fp16[4]\n%r: fp16[4] = relu(x=%x)\n%y: fp16[4] = {}(x=%r, y=%r)"
        for patterns in permutations((by_y, by_x, by_nothing)):
            check(
                [becomes(op_type, pattern) for op_type, pattern in zip(("sub", "mul", "maximum"), patterns, strict=True)],
                text.format("add"),
                text.format("sub"),
            )

    def test_users_of_what_changed_are_tried_again(self) -> None:
        """The root, two levels up, comes first in the worklist and matches only after what is below it changed."""

        @rule(p.abs(x=p.exp(x=p.tan(x="x"))))
        def deep(m: Match, rw: Rewriter) -> Replacement:
            """abs(exp(tan(x))) → exp(tan(x))"""
            return m.ops["exp"].output

        program, outcome, _ = rewritten(
            [deep, turns("sin", "cos"), turns("cos", "tan")],
            """
            inputs %x: fp16[4]
            %a: fp16[4] = sin(x=%x)
            %b: fp16[4] = exp(x=%a)
            %y: fp16[4] = abs(x=%b)
            """,
        )
        assert outcome.rules["deep"].fired == 1
        assert [op.op_type for op in program.ops()] == ["tan", "exp"]

    def test_a_use_that_goes_lets_the_others_be_tried_again(self) -> None:
        """`merge` fails while `t` has two uses; the second goes with the op that `drop` replaces, which comes after."""

        @rule(p.mul(x="x", y=const(filled=1)))
        def drop_one(m: Match, rw: Rewriter) -> Replacement:
            """mul(x, 1) → x"""
            return m.x  # type: ignore[no-any-return]

        @rule(p.sub(x="x", y=p.sub(x="x", y="y")))
        def cancel(m: Match, rw: Rewriter) -> Replacement:
            """x - (x - y) → y, up to rounding"""
            return m.y  # type: ignore[no-any-return]

        program, outcome, _ = rewritten(
            [merge_transposes, cancel, drop_one],
            """
            inputs %x: fp16[2, 3], %z: fp16[3, 2]
            %t: fp16[3, 2] = transpose(x=%x, perm=int32[2]([1, 0]))
            %u: fp16[2, 3] = transpose(x=%t, perm=int32[2]([1, 0]))
            %v: fp16[3, 2] = sub(x=%t, y=%z)
            %w: fp16[3, 2] = sub(x=%t, y=%v)
            return %u, %w
            """,
        )
        assert outcome.rules["cancel"].fired == 1
        assert outcome.rules["merge-transposes"].fired == 1
        assert [op.op_type for op in program.ops("transpose", "identity")] == ["transpose", "identity"]

    def test_what_is_computed_from_is_tried_again_when_its_users_change(self) -> None:
        """`only` looks at the users of its root, which another rule changes later."""

        @rule(p.relu(x="x"))
        def only_for_tan(m: Match, rw: Rewriter) -> Replacement | Failure:
            """relu(x) → abs(x), where only tan uses it"""
            users = [user.op_type for user in m.root.output.users]
            return rw.op("abs", x=m.x) if users == ["tan"] else m.fail("it is used by {}", users)

        program, _, _ = rewritten(
            [only_for_tan, turns("sin", "tan")],
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %y: fp16[4] = sin(x=%a)
            """,
        )
        assert [op.op_type for op in program.ops()] == ["abs", "tan"]

    def test_what_gets_a_new_use_is_tried_again(self) -> None:
        """`only` looks at the users of its root, among which `tan` comes when `drop` lets it pass by what is between, which stays."""

        @rule(p.relu(x="x"))
        def only_for_tan(m: Match, rw: Rewriter) -> Replacement | Failure:
            """relu(x) → abs(x), where tan uses it"""
            users = [user.op_type for user in m.root.output.users]
            return rw.op("abs", x=m.x) if "tan" in users else m.fail("it is used by {}", users)

        @rule(p.sin(x=p.cos(x="x").shared()))
        def drop(m: Match, rw: Rewriter) -> Replacement:
            """sin(cos(x)) → x, were it so"""
            return m.x  # type: ignore[no-any-return]

        program, _, _ = rewritten(
            [only_for_tan, drop],
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %b: fp16[4] = cos(x=%a)
            %c: fp16[4] = sin(x=%b)
            %y: fp16[4] = tan(x=%c)
            return %y, %b
            """,
        )
        assert [op.op_type for op in program.ops()] == ["abs", "cos", "tan"]

    def test_all_users_of_an_op_that_may_be_shared_are_tried_again(self) -> None:
        """The last op lets the first be rewritten, after everything between was tried in vain."""

        @rule(p.relu(x="x"))
        def only_for_tanh(m: Match, rw: Rewriter) -> Replacement | Failure:
            """relu(x) → tan(x), where tanh uses it"""
            users = [user.op_type for user in m.root.output.users]
            return rw.op("tan", x=m.x) if "tanh" in users else m.fail("it is used by {}", users)

        @rule(p.abs(x=p.exp(x=p.tan(x="x").shared()).shared()))
        def deep(m: Match, rw: Rewriter) -> Replacement:
            """abs(exp(tan(x))) → exp(tan(x))"""
            return rw.op("cos", x=m.x)

        many = "\n".join(f"%m{i}: fp16[4] = abs(x=%e)" for i in range(20))
        program, outcome, _ = rewritten(
            [only_for_tanh, deep, turns("sinh", "tanh")],
            f"""
            inputs %x: fp16[4]
            %r: fp16[4] = relu(x=%x)
            %e: fp16[4] = exp(x=%r)
            {many}
            %y: fp16[4] = sinh(x=%r)
            return %y, {", ".join(f"%m{i}" for i in range(20))}
            """,
        )
        assert outcome.rules["deep"].fired == 20
        assert program.main.body.op_types() == {"cos": 20, "tan": 1, "tanh": 1}

    def test_an_op_of_a_type_that_the_program_lacked_is_found_once_it_is_made(self) -> None:
        @rule(p.relu(x=p.tan(x="x")))
        def over_tan(m: Match, rw: Rewriter) -> Replacement:
            """relu(tan(x)) → exp(x)"""
            return rw.op("exp", x=m.x)

        check(
            [over_tan, turns("sin", "tan")],
            """
            inputs %x: fp16[4]
            %a: fp16[4] = sin(x=%x)
            %y: fp16[4] = relu(x=%a)
            """,
            """
            inputs %x: fp16[4]
            %y: fp16[4] = exp(x=%x)
            """,
        )


COND = """
inputs %x: fp16[4], %c: bool
%y: fp16[4] = cond(pred=%c) block {{
  %i: fp16[4] = cond(pred=%c) block {{
    %t: fp16[4] = {0}(x=%x)
    return %t
  }} block {{
    %e: fp16[4] = abs(x=%x)
    return %e
  }}
  return %i
}} block {{
  %f: fp16[4] = {0}(x=%x)
  return %f
}}
"""


class TestBlocks:
    def test_nested_blocks_are_rewritten(self) -> None:
        check([turns("sin", "cos")], COND.format("sin"), COND.format("cos"))

    def test_every_specialization_and_function_is_rewritten(self) -> None:
        program = program_of("inputs %x: fp16[4]\n%y: fp16[4] = sin(x=%x)")
        main = program.main
        main.add_block("CoreML6", main.body.clone())
        program.add_function(main.clone("other"))
        assert rewrite(program, [turns("sin", "cos")]).rewrites == 4
        assert {op.op_type for op in program.ops()} == {"cos"}
        structure.verify(program)

    def test_one_block_may_be_rewritten_by_itself(self) -> None:
        program = program_of(COND.format("sin"))
        inner = next(program.ops("cond")).blocks[1]
        assert rewrite(inner, [turns("sin", "cos")]).rewrites == 1
        assert [op.op_type for op in inner] == ["cos"]
        assert len(list(program.ops("sin"))) == 1

    def test_ops_in_the_blocks_of_an_op_that_was_erased_are_left_alone(self) -> None:
        @rule(p.cond(pred="c"))
        def to_input(m: Match, rw: Rewriter) -> Replacement:
            """cond(c) → abs(x)"""
            inner = next(iter(m.root.blocks[1]))
            return rw.op("abs", x=inner["x"])

        seen: list[str] = []

        @rule(p.sin(...))
        def look(m: Match, rw: Rewriter) -> None:
            """sin(…) → ?"""
            seen.append(m.root.name)

        program = program_of(COND.format("sin"))
        rewrite(program, [to_input, look])
        assert not seen
        assert [op.op_type for op in program.ops()] == ["abs"]
        structure.verify(program)

    def test_the_blocks_of_a_new_op_are_rewritten_too(self) -> None:
        @rule(p.op("branch", c="c", x="x"))
        def to_cond(m: Match, rw: Rewriter) -> Replacement:
            """branch(c, x) → cond(c, sin(x), x)"""
            first, second = Block(), Block()
            first.append(Op("sin", {"x": m.x}, [(f"{m.root.name}_t", m.x.type)]))
            first.set_outputs([v for op in first for v in op.outputs])
            second.set_outputs([m.x])
            return rw.op("cond", pred=m.c, blocks=[first, second], type=m.root.output.type)

        program, _, _ = rewritten(
            [to_cond, turns("sin", "cos")], "inputs %c: bool, %x: fp16[4]\n%y: fp16[4] = branch(c=%c, x=%x)"
        )
        assert [op.op_type for op in program.ops()] == ["cond", "cos"]


class TestStatistics:
    def test_failures_are_counted_by_reason(self) -> None:
        @rule(p.relu(x="x"))
        def picky(m: Match, rw: Rewriter) -> Failure:
            """relu(x) → ?"""
            return m.fail("%{} is not to my taste", m.x.name)

        outcome = unchanged(
            picky,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %y: fp16[4] = relu(x=%a)
            """,
        )
        assert outcome.rules["picky"].failed == {"%{} is not to my taste": 2}
        assert "picky failed 2×: %{} is not to my taste" in str(outcome)

    def test_an_outcome_is_true_where_something_changed(self) -> None:
        program = program_of("inputs %x: fp16[4]\n%y: fp16[4] = sin(x=%x)")
        assert rewrite(program, [turns("sin", "cos")])
        assert not rewrite(program, [turns("sin", "cos")])

    def test_two_rules_of_one_name_are_refused(self) -> None:
        with pytest.raises(PatternError, match="two rules are called 'a'"):
            RuleSet([turns("sin", "cos", "a"), turns("cos", "tan", "a")])


class TestLoops:
    TEXT = "inputs %x: fp16[4]\n%a: fp16[4] = abs(x=%x)\n%y: fp16[4] = sin(x=%a)"

    def test_rules_that_undo_one_another_are_reported_with_how_often_each_went(self) -> None:
        with pytest.raises(RewriteError) as caught:
            rewrite(program_of(self.TEXT), [turns("sin", "cos"), turns("cos", "sin")])
        said = str(caught.value)
        assert "1001 rewrites in a row" in said
        assert "sin-to-cos (50×)" in said
        assert "cos-to-sin (50×)" in said
        assert "sin-to-cos at sin %y" in said

    def test_a_rule_that_grows_the_program_for_ever_is_reported(self) -> None:
        @rule(p.sin(x="x"))
        def grow(m: Match, rw: Rewriter) -> Replacement:
            """sin(x) → sin(abs(x))"""
            return rw.op("sin", x=rw.op("abs", x=m.x))

        with pytest.raises(RewriteError, match=r"do not come to an end.*grow \(100×\)"):
            rewrite(program_of(self.TEXT), [grow])

    def test_a_rule_that_changes_its_root_for_ever_is_reported(self) -> None:
        @rule(p.sin(x="x"))
        def fidget(m: Match, rw: Rewriter) -> None:
            """sin(x) → sin(x)"""
            rw.set(m.root, "x", m.x)

        with pytest.raises(RewriteError, match="fidget"):
            rewrite(program_of(self.TEXT), [fidget])

    def test_growing_and_shrinking_in_turns_is_reported(self) -> None:
        @rule(p.sin(x="x"))
        def grow(m: Match, rw: Rewriter) -> Replacement:
            """sin(x) → cos(abs(x))"""
            return rw.op("cos", x=rw.op("abs", x=m.x))

        @rule(p.cos(x=p.abs(x="x")))
        def shrink(m: Match, rw: Rewriter) -> Replacement:
            """cos(abs(x)) → sin(x)"""
            return rw.op("sin", x=m.x)

        with pytest.raises(RewriteError, match=r"shrink \(50×\), grow \(50×\)"):
            rewrite(program_of(self.TEXT), [grow, shrink])

    def test_the_rewrites_of_a_function_are_bounded_in_all(self) -> None:
        with pytest.raises(RewriteError, match="more than 7 rewrites"):
            rewrite(program_of(self.TEXT), [turns("sin", "cos"), turns("cos", "sin")], limits=Limits(in_all=7))

    def test_a_long_chain_that_shrinks_is_no_loop(self) -> None:
        lines = ["inputs %x: fp16[2, 2]", "%t0: fp16[2, 2] = transpose(x=%x, perm=int32[2]([1, 0]))"]
        lines += [f"%t{i}: fp16[2, 2] = transpose(x=%t{i - 1}, perm=int32[2]([1, 0]))" for i in range(1, 50)]
        program = program_of("\n".join([*lines, "%y: fp16[2, 2] = relu(x=%t49)"]))
        outcome = rewrite(program, [merge_transposes], limits=Limits(in_a_row=3))
        assert outcome.rewrites == 49
        assert len(list(program.ops("transpose"))) == 1


class TestEffort:
    """Counted in function calls, so the same on every machine."""

    def test_a_value_with_many_users_that_all_change_costs_each_of_them_the_same(self) -> None:
        def prepare(size: int) -> Callable[[], object]:
            lines = ["inputs %x: fp16[2, 2]", "%t: fp16[2, 2] = transpose(x=%x, perm=int32[2]([1, 0]))"]
            lines += [f"%y{i}: fp16[2, 2] = sin(x=%t)" for i in range(size)]
            program = program_of("\n".join([*lines, f"return {', '.join(f'%y{i}' for i in range(size))}"]))
            return lambda: rewrite(program, [merge_transposes, turns("sin", "cos")])

        assert grows_linearly(prepare, 50)

    def test_a_chain_that_is_merged_costs_each_link_the_same(self) -> None:
        def prepare(size: int) -> Callable[[], object]:
            lines = ["inputs %x: fp16[2, 2]", "%t0: fp16[2, 2] = relu(x=%x)"]
            lines += [f"%t{i}: fp16[2, 2] = transpose(x=%t{i - 1}, perm=int32[2]([1, 0]))" for i in range(1, size)]
            program = program_of("\n".join(lines))
            return lambda: rewrite(program, [merge_transposes, drop_transpose])

        assert grows_linearly(prepare, 50)


def test_rewriting_is_deterministic() -> None:
    text = COND.format("sin")
    texts = set()
    for _ in range(3):
        program = program_of(text)
        rewrite(program, [turns("sin", "cos"), turns("cos", "tan"), turns("abs", "exp")])
        texts.add(print_program(program))
    assert len(texts) == 1


def test_rules_of_other_types_touch_no_op(monkeypatch: pytest.MonkeyPatch) -> None:
    program = program_of("inputs %x: fp16[4]\n%y: fp16[4] = sin(x=%x)")

    def refuse(*args: Any) -> None:
        raise AssertionError("an op was looked at")

    monkeypatch.setattr("mlpasses.rewrite.driver.seeds", refuse)
    rewrite(program, [turns("cos", "tan"), merge_transposes])
