"""What fails or is refused changes nothing, and says why."""

from __future__ import annotations

from typing import Any

import pytest

from ir.const import Const
from ir.core import Op
from ir.diagnostics import MutationError
from ir.text import print_program
from ir.types import FP16
from ir.verify import structure
from mlpasses.rewrite import (
    Failure,
    Match,
    Replacement,
    RewriteError,
    Rewriter,
    any_value,
    explain,
    p,
    rewrite,
    rule,
)
from tests.rewrite.checks import program_of, unchanged
from tests.rewrite.rules import RELU, TWO, Heard, add_nothing, merge_relus, the


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
    def refuse(self, make: Any, reason: str, op_type: str = "exp") -> None:
        program = program_of(TWO)
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
        program = program_of(TWO)
        op = the(program, "exp")
        rw = Rewriter()
        rw.replace(op, op["x"])
        with pytest.raises(RewriteError, match="exp is gone already"):
            rw.replace(op, program.main.inputs[0])

    def test_an_op_whose_result_is_used_is_not_erased(self) -> None:
        program = program_of(TWO)
        heard = Heard()
        with pytest.raises(MutationError, match="still used"):
            Rewriter(listeners=[heard]).erase(the(program, "exp"))
        assert not heard.events

    def test_a_visible_value_is_not_renamed(self) -> None:
        program = program_of(TWO)
        for value in (program.main.inputs[0], program.main.outputs[0]):
            with pytest.raises(RewriteError, match="keeps its name"):
                Rewriter().rename(value, "other")

    def test_ops_are_made_at_an_anchor(self) -> None:
        program = program_of(TWO)
        with pytest.raises(RewriteError, match=r"take rewriter\.at"):
            Rewriter().op("relu", x=program.main.inputs[0])

    def test_an_op_with_several_results_is_made_with_results(self) -> None:
        program = program_of(TWO)
        rw = Rewriter().at(the(program, "exp"))
        with pytest.raises(RewriteError, match=r"make it with rw\.results"):
            rw.op("split", x=program.main.inputs[0], num_splits=2, axis=0)
        assert len(rw.results("split", x=program.main.inputs[0], num_splits=2, axis=0)) == 2


class TestWhatDoesNotFit:
    def test_ops_that_do_not_fit_together_fail_the_match_and_not_the_run(self) -> None:
        @rule(p.relu(x="x"))
        def assumes_a_matrix(m: Match, rw: Rewriter) -> Replacement:
            """relu(x) → relu(xᵀ)"""
            return rw.op("relu", x=rw.op("transpose", x=m.x, perm=[1, 0]))

        assert unchanged(assumes_a_matrix, RELU).rules["assumes-a-matrix"].failed == {"what it makes does not fit together: {}": 1}

    def test_after_a_change_it_ends_the_run(self) -> None:
        @rule(p.relu(x="x"))
        def too_late(m: Match, rw: Rewriter) -> Replacement:
            """relu(x) → relu(xᵀ)"""
            rw.set(m.root, "x", m.x)
            return rw.op("relu", x=rw.op("transpose", x=m.x, perm=[1, 0]))

        with pytest.raises(RewriteError, match="rule too-late failed at relu %y"):
            rewrite(program_of(RELU), [too_late])

    def test_an_op_with_more_results_than_it_can_have_does_not_match(self) -> None:
        program = program_of(RELU)
        old = the(program, "relu")
        kind = old.output.type
        odd = Op("relu", {"x": old["x"]}, [("a", kind), ("b", kind)])
        assert old.block is not None
        old.block.insert_before(old, odd)
        old.set("x", odd.outputs[0])
        version = program.version
        assert not rewrite(program, [merge_relus, drop_relu])
        assert program.version == version

    def test_the_tracer_says_so(self) -> None:
        program = program_of(RELU)
        old = the(program, "relu")
        odd = Op("relu", {"x": old["x"]}, [("a", old.output.type), ("b", old.output.type)])
        assert old.block is not None
        old.block.insert_before(old, odd)
        said = explain(drop_relu, odd)
        assert said.reason == "relu %a has 2 outputs, and relu yields 1"


@rule(p.relu(x=any_value("x", rank=3)))
def drop_relu(m: Match, rw: Rewriter) -> Replacement:
    """relu(x) → x, of tensors of rank 3"""
    return m.x  # type: ignore[no-any-return]
