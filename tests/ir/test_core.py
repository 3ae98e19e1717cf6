"""The object model: def-use, order, names, ownership, safe iteration, clones."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from ir import labels
from ir.const import Const
from ir.core import OUTPUTS, Block, Function, Op, Program, Use, Value, constant_of
from ir.diagnostics import MutationError
from ir.tensors import ArrayTensor
from ir.types import FP16, FP32, TensorType

T = TensorType(FP16, (2,))


def relu(name: str, x: Value, op_type: str = "relu") -> Op:
    return Op(op_type, {"x": x}, [(name, T)])


def const(name: str) -> Op:
    return Op("const", {}, [(name, T)], {"val": Const.of([1.0, 2.0], FP16)})


def chain(*names: str) -> tuple[Function, list[Op]]:
    """main(x): each of `names` is a relu of the one before it; the last is returned."""
    function = Function("main", [("x", T)])
    block = Block()
    function.add_block("CoreML5", block)
    ops = []
    value = function.inputs[0]
    for name in names:
        op = relu(name, value)
        block.append(op)
        ops.append(op)
        value = op.output
    block.set_outputs([value])
    return function, ops


def names(ops: Sequence[Op] | Block) -> list[str]:
    return [op.name for op in ops]


class TestUses:
    def test_a_use_is_listed_with_op_parameter_and_position(self) -> None:
        function, (a, b) = chain("a", "b")
        assert a.output.uses == [Use(b, "x", 0)]
        assert b.output.uses == [Use(function.body, OUTPUTS, 0)]

    def test_an_op_that_uses_a_value_twice_is_two_uses_and_one_user(self) -> None:
        _, (a,) = chain("a")
        add = Op("add", {"x": a.output, "y": a.output}, [("sum", T)])
        assert a.output.uses[1:] == [Use(add, "x", 0), Use(add, "y", 0)]
        assert a.output.users == [add]

    def test_variadic_operands_are_uses_at_their_positions(self) -> None:
        function, (a,) = chain("a")
        x = function.inputs[0]
        concat = Op("concat", {"values": (x, a.output, x)}, [("y", T)])
        assert [use for use in x.uses if use.user is concat] == [Use(concat, "values", 0), Use(concat, "values", 2)]

    def test_set_moves_the_use(self) -> None:
        function, (a, b) = chain("a", "b")
        b.set("x", function.inputs[0])
        assert a.output.uses == []
        assert Use(b, "x", 0) in function.inputs[0].uses

    def test_unset_removes_the_parameter_and_its_use(self) -> None:
        _, (a, b) = chain("a", "b")
        b.unset("x")
        assert "x" not in b
        assert not a.output.is_used

    def test_unset_of_an_absent_parameter_changes_nothing(self) -> None:
        function, (a,) = chain("a")
        before = function.version
        a.unset("y")
        assert function.version == before

    def test_a_literal_operand_is_no_use(self) -> None:
        function, (a,) = chain("a")
        a.set("x", Const.of(1.0))
        assert not function.inputs[0].is_used

    def test_assigning_an_operand_names_the_method_to_call(self) -> None:
        function, (a,) = chain("a")
        with pytest.raises(TypeError, match=r"op\.set\('x', value\)"):
            a["x"] = function.inputs[0]

    def test_the_operand_mapping_is_read_only(self) -> None:
        function, (a,) = chain("a")
        with pytest.raises(TypeError):
            a.operands["x"] = (function.inputs[0],)  # type: ignore[index]

    def test_a_python_number_is_refused_as_operand_and_nothing_changes(self) -> None:
        function, (a,) = chain("a")
        with pytest.raises(MutationError, match=r"operand x of relu a has to be a value or a literal, not a float"):
            a.set("x", 3.0)  # type: ignore[arg-type]
        assert a["x"] is function.inputs[0]

    def test_an_op_that_cannot_be_made_leaves_no_use_behind(self) -> None:
        function, _ = chain("a")
        x = function.inputs[0]
        before = x.uses
        with pytest.raises(MutationError, match="not a Op: take an op's output"):
            Op("add", {"x": x, "y": relu("b", x)}, [("y", T)])  # type: ignore[dict-item]
        assert [use for use in x.uses if use not in before] == [Use(x.uses[-1].user, "x", 0)]  # the relu's own

    def test_subscript_of_several_operands_names_what_the_op_has(self) -> None:
        function, _ = chain("a")
        x = function.inputs[0]
        with pytest.raises(KeyError, match="has 2 operands for 'values', not one; it has values"):
            Op("concat", {"values": (x, x)}, [("y", T)])["values"]


class TestReplaceUses:
    def test_every_use_moves_and_is_counted(self) -> None:
        function, (a, b) = chain("a", "b")
        add = Op("add", {"x": a.output, "y": a.output}, [("sum", T)])
        function.body.append(add)
        assert a.output.replace_uses(function.inputs[0]) == 3
        assert not a.output.is_used
        assert b["x"] is add["x"] is add["y"] is function.inputs[0]

    def test_block_outputs_are_replaced(self) -> None:
        function, (a,) = chain("a")
        a.output.replace_uses(function.inputs[0])
        assert function.outputs == (function.inputs[0],)
        assert function.inputs[0].is_output

    def test_the_order_of_other_values_uses_stays(self) -> None:
        function, (a, b) = chain("a", "b")
        x = function.inputs[0]
        first = Op("concat", {"values": (x, a.output)}, [("c", T)])
        second = relu("d", x)
        before = x.uses
        a.output.replace_uses(b.output)
        assert [use.user for use in before][-2:] == [first, second]
        assert x.uses == before

    def test_by_itself_changes_nothing(self) -> None:
        function, (a,) = chain("a")
        before = function.version
        assert a.output.replace_uses(a.output) == 0
        assert function.version == before

    def test_a_literal_replaces_operands(self) -> None:
        _, (a, b) = chain("a", "b")
        one = Const.of([1.0, 1.0], FP16)
        assert a.output.replace_uses(one) == 1
        assert b["x"] is one

    def test_a_literal_cannot_replace_what_a_block_returns(self) -> None:
        function, (a,) = chain("a")
        with pytest.raises(MutationError, match="a block returns a, so a literal cannot replace it"):
            a.output.replace_uses(Const.of(1.0))
        assert function.outputs == (a.output,)

    def test_an_op_is_refused(self) -> None:
        _, (a, b) = chain("a", "b")
        with pytest.raises(MutationError, match="not by a Op"):
            a.output.replace_uses(b)  # type: ignore[arg-type]
        assert b["x"] is a.output

    def test_uses_in_nested_blocks_are_replaced_and_raise_every_version_around(self) -> None:
        function, (a,) = chain("a")
        inner = Block()
        nested = relu("n", a.output)
        inner.append(nested)
        function.body.append(Op("cond", {"pred": a.output}, [], blocks=[inner]))
        before = inner.version, function.version
        a.output.replace_uses(function.inputs[0])
        assert nested["x"] is function.inputs[0]
        assert inner.version > before[0]
        assert function.version > before[1]


class TestOrder:
    def test_append_and_insert_place_ops(self) -> None:
        function, (a, b) = chain("a", "b")
        x = function.inputs[0]
        function.body.insert_first(relu("first", x))
        function.body.insert_before(b, relu("before_b", x))
        function.body.insert_after(a, relu("after_a", x))
        function.body.append(relu("last", x))
        assert names(function.body) == ["first", "a", "after_a", "before_b", "b", "last"]
        assert names(list(reversed(function.body))) == ["last", "b", "before_b", "after_a", "a", "first"]

    def test_is_before_follows_the_order(self) -> None:
        _, (a, b) = chain("a", "b")
        assert a.is_before(b)
        assert not b.is_before(a)
        b.move_before(a)
        assert b.is_before(a)

    def test_is_before_of_ops_in_two_blocks_is_an_error(self) -> None:
        _, (a,) = chain("a")
        _, (b,) = chain("b")
        with pytest.raises(ValueError, match="relu a and relu b are not in one block"):
            a.is_before(b)

    def test_labels_stay_true_when_one_point_is_inserted_at_ten_thousand_times(self) -> None:
        function, (a, _) = chain("a", "b")
        x = function.inputs[0]
        for i in range(5000):
            function.body.insert_after(a, relu(f"after_{i}", x))
            function.body.insert_before(a, relu(f"before_{i}", x))
        labels = [op._order for op in function.body]
        assert len(labels) == 10_002
        assert all(p < q for p, q in itertools.pairwise(labels))

    def test_relabelling_costs_little_an_insertion(self, monkeypatch: pytest.MonkeyPatch) -> None:
        moved = 0
        relabel = labels._relabel_around

        def counted(op: Op) -> None:
            nonlocal moved
            assert op.block is not None
            before = {o: o._order for o in op.block}
            relabel(op)
            moved += sum(o._order != label for o, label in before.items())

        monkeypatch.setattr(labels, "_relabel_around", counted)
        function, (a, _) = chain("a", "b")
        for i in range(3000):
            function.body.insert_after(a, relu(f"n{i}", function.inputs[0]))
        assert 0 < moved < 3000 * 12  # log2(3000), the amortised bound, and not 3000²

    def test_move_after_and_before(self) -> None:
        function, (a, b, c) = chain("a", "b", "c")
        a.move_after(c)
        assert names(function.body) == ["b", "c", "a"]
        c.move_before(b)
        assert names(function.body) == ["c", "b", "a"]

    @pytest.mark.parametrize("to", ["before itself", "after itself", "before its successor", "after its predecessor"])
    def test_a_move_to_where_the_op_stands_changes_nothing(self, to: str) -> None:
        function, (a, b, c) = chain("a", "b", "c")
        before = function.version
        moves = {
            "before itself": lambda: b.move_before(b),
            "after itself": lambda: b.move_after(b),
            "before its successor": lambda: b.move_before(c),
            "after its predecessor": lambda: b.move_after(a),
        }
        moves[to]()
        assert names(function.body) == ["a", "b", "c"]
        assert function.version == before

    def test_move_into_another_block(self) -> None:
        function, (a, _b) = chain("a", "b")
        inner = Block()
        inside = relu("n", a.output)
        inner.append(inside)
        function.body.append(Op("cond", {"pred": a.output}, [], blocks=[inner]))
        moved = relu("m", a.output)
        function.body.append(moved)
        moved.move_before(inside)
        assert names(inner) == ["m", "n"]
        assert moved.block is inner
        assert function.body.value_named("m") is None
        assert len(function.body) == 3

    def test_a_move_to_where_the_name_is_taken_is_refused(self) -> None:
        function, (a, b) = chain("a", "b")
        inner = Block()
        inside = relu("b", a.output)
        inner.append(inside)
        function.body.append(Op("cond", {"pred": a.output}, [], blocks=[inner]))
        with pytest.raises(MutationError, match="the name b is taken by relu b"):
            b.move_before(inside)
        assert names(function.body)[:2] == ["a", "b"]

    def test_an_op_cannot_move_into_itself(self) -> None:
        function, (a,) = chain("a")
        inner = Block()
        inside = relu("n", a.output)
        inner.append(inside)
        cond = Op("cond", {"pred": a.output}, [("c", T)], blocks=[inner])
        function.body.append(cond)
        with pytest.raises(MutationError, match="cond c cannot be put inside itself"):
            cond.move_after(inside)

    def test_an_anchor_of_another_block_is_refused(self) -> None:
        function, _ = chain("a")
        _, (other,) = chain("b")
        with pytest.raises(MutationError, match="relu b is not in this block"):
            function.body.insert_after(other, relu("c", function.inputs[0]))

    def test_an_op_that_stands_somewhere_is_refused(self) -> None:
        function, (a,) = chain("a")
        with pytest.raises(MutationError, match="stands in a block already"):
            function.body.append(a)


class TestNames:
    def test_a_taken_name_refuses_the_op(self) -> None:
        function, _ = chain("a")
        with pytest.raises(MutationError, match="the name a is taken by relu a"):
            function.body.append(relu("a", function.inputs[0]))
        assert len(function.body) == 1

    def test_two_outputs_of_one_name_are_refused(self) -> None:
        function, _ = chain("a")
        with pytest.raises(MutationError, match="two outputs of split s have one name"):
            function.body.append(Op("split", {"x": function.inputs[0]}, [("s", T), ("s", T)]))

    def test_two_inputs_of_one_name_are_refused(self) -> None:
        with pytest.raises(MutationError, match="two inputs are called x"):
            Function("main", [("x", T), ("x", T)])

    def test_rename_frees_the_old_name(self) -> None:
        function, (a,) = chain("a")
        a.output.rename("b")
        assert function.body.value_named("b") is a.output
        assert function.body.value_named("a") is None
        function.body.append(relu("a", function.inputs[0]))

    def test_rename_to_a_taken_name_is_refused(self) -> None:
        _, (a, _b) = chain("a", "b")
        with pytest.raises(MutationError, match="a cannot be renamed to b: the name is taken by relu b"):
            a.output.rename("b")
        assert a.output.name == "a"

    def test_sibling_blocks_may_use_one_name(self) -> None:
        function, (a,) = chain("a")
        blocks = [Block(), Block()]
        for block in blocks:
            block.append(relu("same", a.output))
        function.body.append(Op("cond", {"pred": a.output}, [], blocks=blocks))
        assert [names(block) for block in blocks] == [["same"], ["same"]]

    def test_an_op_is_called_by_its_name_attribute(self) -> None:
        op = Op("relu", {}, [("y", T)], {"name": Const.of("act")})
        assert op.name == "act"
        op.unset_attribute("name")
        assert op.name == "y"


class TestOwnership:
    def test_an_output_knows_its_op_and_index(self) -> None:
        op = Op("split", {}, [("a", T), ("b", T)])
        assert [v.index for v in op.outputs] == [0, 1]
        assert all(v.op is op for v in op.outputs)

    def test_output_of_an_op_with_two_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="split a has 2 outputs, not one"):
            Op("split", {}, [("a", T), ("b", T)]).output  # noqa: B018

    def test_a_block_that_belongs_somewhere_is_refused(self) -> None:
        function, _ = chain("a")
        with pytest.raises(MutationError, match="belongs to another op or function"):
            Op("cond", {}, [], blocks=[function.body])

    def test_one_block_twice_is_refused(self) -> None:
        block = Block()
        with pytest.raises(MutationError, match="one block twice"):
            Op("cond", {}, [], blocks=[block, block])
        assert block.parent is None

    def test_a_function_belongs_to_one_program(self) -> None:
        function, _ = chain("a")
        Program([function])
        with pytest.raises(MutationError, match="belongs to another program"):
            Program([function])

    def test_a_dropped_function_can_be_added_elsewhere(self) -> None:
        function, _ = chain("a")
        Program([function]).drop_function("main")
        assert Program([function]).main is function

    def test_a_dropped_specialization_no_longer_uses_the_inputs(self) -> None:
        function, _ = chain("a")
        function.add_block("CoreML7", function.body.clone())
        assert len(function.inputs[0].uses) == 2
        function.drop_block("CoreML7")
        assert len(function.inputs[0].uses) == 1

    def test_the_active_specialization_cannot_be_dropped(self) -> None:
        function, _ = chain("a")
        with pytest.raises(MutationError, match="no inactive block for CoreML5"):
            function.drop_block("CoreML5")

    def test_set_opset_renames_the_active_specialization(self) -> None:
        function, _ = chain("a")
        body = function.body
        function.set_opset("CoreML8")
        assert function.body is body
        assert list(function.specializations) == ["CoreML8"]


class TestErase:
    def test_a_used_op_is_not_erased(self) -> None:
        function, (a, _b) = chain("a", "b")
        with pytest.raises(MutationError, match="relu a cannot be erased: a is still used by relu b"):
            a.erase()
        assert len(function.body) == 2

    def test_an_erased_op_uses_nothing(self) -> None:
        function, (a,) = chain("a")
        loose = relu("b", a.output)
        function.body.append(loose)
        loose.erase()
        assert loose.block is None
        assert [use.user for use in a.output.uses] == [function.body]

    def test_erasing_drops_the_uses_of_nested_blocks(self) -> None:
        function, (a,) = chain("a")
        innermost, inner = Block(), Block()
        innermost.append(relu("deep", a.output))
        innermost.set_outputs([a.output])
        inner.append(Op("cond", {"pred": a.output}, [], blocks=[innermost]))
        cond = Op("cond", {"pred": a.output}, [], blocks=[inner])
        function.body.append(cond)
        cond.erase()
        assert [use.user for use in a.output.uses] == [function.body]

    def test_ops_that_use_one_another_are_erased_together(self) -> None:
        function, (a, b, c) = chain("a", "b", "c")
        function.body.set_outputs([function.inputs[0]])
        function.body.erase([a, b, c])
        assert len(function.body) == 0
        assert [use.user for use in function.inputs[0].uses] == [function.body]

    def test_when_one_of_several_is_used_nothing_is_erased(self) -> None:
        function, (a, b, _c) = chain("a", "b", "c")
        with pytest.raises(MutationError, match="relu b cannot be erased: b is still used by relu c"):
            function.body.erase([a, b])
        assert names(function.body) == ["a", "b", "c"]

    def test_deep_nesting_is_no_limit(self) -> None:
        function, (a,) = chain("a")
        block = Block()
        block.append(relu("n", a.output))
        for i in range(3000):
            outer = Block()
            outer.append(Op("cond", {"pred": a.output}, [(f"c{i}", T)], blocks=[block]))
            block = outer
        cond = Op("cond", {"pred": a.output}, [], blocks=[block])
        function.body.append(cond)
        assert sum(1 for _ in function.blocks()) == 3002
        assert sum(1 for _ in function.clone().blocks()) == 3002
        cond.erase()
        assert len(a.output.uses) == 1


class TestReplace:
    def test_the_new_op_takes_the_place_the_uses_and_the_name(self) -> None:
        function, (a, b) = chain("a", "b")
        new = relu("a", function.inputs[0], "tanh")
        function.body.replace(a, new)
        assert [op.op_type for op in function.body] == ["tanh", "relu"]
        assert b["x"] is new.output
        assert function.body.value_named("a") is new.output
        assert a.block is None

    def test_a_returned_value_is_replaced(self) -> None:
        function, (a,) = chain("a")
        new = relu("other", function.inputs[0])
        function.body.replace(a, new)
        assert function.outputs == (new.output,)

    def test_an_op_that_uses_the_old_one_is_refused_and_nothing_changes(self) -> None:
        function, (a,) = chain("a")
        with pytest.raises(MutationError, match="tanh t uses relu a, so it cannot replace it"):
            function.body.replace(a, relu("t", a.output, "tanh"))
        assert names(function.body) == ["a"]

    def test_an_op_whose_nested_block_uses_the_old_one_is_refused(self) -> None:
        function, (a,) = chain("a")
        inner = Block()
        inner.append(relu("n", a.output))
        with pytest.raises(MutationError, match="cond c uses relu a, so it cannot replace it"):
            function.body.replace(a, Op("cond", {}, [("c", T)], blocks=[inner]))

    def test_another_number_of_outputs_is_refused(self) -> None:
        function, (a,) = chain("a")
        with pytest.raises(MutationError, match="split p has 2 outputs and cannot replace relu a with 1"):
            function.body.replace(a, Op("split", {}, [("p", T), ("q", T)]))

    def test_a_name_that_another_op_has_is_refused_and_the_names_stay(self) -> None:
        function, (a, b) = chain("a", "b")
        with pytest.raises(MutationError, match="the name b is taken"):
            function.body.replace(a, relu("b", function.inputs[0]))
        assert function.body.value_named("a") is a.output
        assert function.body.value_named("b") is b.output

    def test_an_iteration_does_not_visit_the_new_op(self) -> None:
        function, _ = chain("a", "b", "c")
        seen = []
        for op in function.body:
            seen.append(op.name)
            assert len(seen) <= 3
            function.body.replace(op, relu(f"{op.name}_new", function.inputs[0]))
        assert seen == ["a", "b", "c"]


class TestIteration:
    def test_the_current_op_may_be_erased(self) -> None:
        function, _ = chain("a", "b", "c")
        function.body.set_outputs([function.inputs[0]])
        seen = []
        for op in reversed(function.body):
            seen.append(op.name)
            op.erase()
        assert seen == ["c", "b", "a"]

    def test_the_next_op_may_be_erased(self) -> None:
        function, (a, b, _c) = chain("a", "b", "c")
        b.output.replace_uses(a.output)
        seen = []
        for op in function.body:
            seen.append(op.name)
            if op is a:
                b.erase()
        assert seen == ["a", "c"]

    def test_an_op_inserted_behind_is_visited_and_one_before_is_not(self) -> None:
        function, (a, _b) = chain("a", "b")
        seen = []
        for op in function.body:
            seen.append(op.name)
            if op is a:
                function.body.insert_before(a, relu("before", function.inputs[0]))
                function.body.insert_after(a, relu("behind", function.inputs[0]))
        assert seen == ["a", "behind", "b"]

    def test_replacing_the_current_op_visits_each_once(self) -> None:
        function, _ = chain("a", "b", "c")
        seen = []
        for op in function.body:
            seen.append(op.name)
            new = Op("tanh", {"x": op["x"]}, [(f"{op.name}_new", T)])
            function.body.insert_before(op, new)
            op.output.replace_uses(new.output)
            op.erase()
        assert seen == ["a", "b", "c"]
        assert names(function.body) == ["a_new", "b_new", "c_new"]

    def test_moving_the_current_op_skips_none(self) -> None:
        function, (a, b, _c) = chain("a", "b", "c")
        seen = []
        for op in function.body:
            seen.append(op.name)
            if op is b:
                b.move_before(a)
        assert seen == ["a", "b", "c"]

    def test_a_finished_iteration_leaves_no_cursor(self) -> None:
        function, _ = chain("a", "b")
        for _ in function.body:
            break
        assert list(function.body)
        assert function.body._cursors == []


class TestIndex:
    def test_ops_of_a_type_come_in_program_order(self) -> None:
        function, (a, _b) = chain("a", "b")
        tanh = relu("t", function.inputs[0], "tanh")
        function.body.insert_after(a, tanh)
        first = relu("first", function.inputs[0])
        function.body.insert_first(first)
        assert names(list(function.body.ops("relu"))) == ["first", "a", "b"]
        assert names(list(function.body.ops("tanh", "relu"))) == ["first", "a", "t", "b"]

    def test_moved_ops_are_sorted_again(self) -> None:
        function, (a, _b, c) = chain("a", "b", "c")
        c.move_before(a)
        assert names(list(function.body.ops("relu"))) == ["c", "a", "b"]

    def test_erased_meanwhile_is_left_out_and_inserted_is_not_visited(self) -> None:
        function, (a, b, _c) = chain("a", "b", "c")
        b.output.replace_uses(a.output)
        seen = []
        for op in function.body.ops("relu"):
            seen.append(op.name)
            if op is a:
                b.erase()
                function.body.append(relu("late", a.output))
        assert seen == ["a", "c"]

    def test_op_types_counts_what_is_there(self) -> None:
        function, (a, _b) = chain("a", "b")
        function.body.append(relu("t", a.output, "tanh"))
        assert function.body.op_types() == {"relu": 2, "tanh": 1}

    def test_a_function_finds_ops_in_every_specialization_and_nested_block(self) -> None:
        function, (a,) = chain("a")
        inner = Block()
        inner.append(relu("n", a.output))
        function.body.append(Op("cond", {"pred": a.output}, [("c", T)], blocks=[inner]))
        function.add_block("CoreML7", function.body.clone())
        assert names(list(function.ops("relu"))) == ["a", "n", "a", "n"]

    def test_blocks_of_an_op_erased_meanwhile_are_not_visited(self) -> None:
        function, (a,) = chain("a")
        conds = []
        for name in ("c", "d"):
            inner = Block()
            inner.append(relu("n", a.output))
            conds.append(Op("cond", {"pred": a.output}, [(name, T)], blocks=[inner]))
            function.body.append(conds[-1])
        seen = []
        for block in function.blocks():
            seen.append(block.parent)
            if block.parent is conds[0]:
                conds[1].erase()
        assert seen == [function, conds[0]]


class TestVersions:
    def test_a_nested_change_raises_every_version_around_it(self) -> None:
        function, (a,) = chain("a")
        program = Program([function])
        inner = Block()
        nested = relu("n", a.output)
        inner.append(nested)
        function.body.append(Op("cond", {"pred": a.output}, [], blocks=[inner]))
        before = inner.version, function.body.version, function.version, program.version
        nested.set_attribute("name", Const.of("other"))
        after = inner.version, function.body.version, function.version, program.version
        assert all(new > old for new, old in zip(after, before, strict=True))

    def test_the_same_type_again_is_no_change(self) -> None:
        function, (a,) = chain("a")
        before = function.version
        a.output.type = TensorType(FP16, (2,))
        assert function.version == before
        a.output.type = TensorType(FP32, (2,))
        assert function.version > before

    def test_a_stage_counts_in_the_versions_of_its_pipeline(self) -> None:
        function, (a,) = chain("a")
        pipeline = Program()
        pipeline.stages[(0,)] = Program([function])
        before = pipeline.version
        a.set_attribute("name", Const.of("b"))
        assert pipeline.version > before


class TestOutputs:
    def test_a_failing_iterable_leaves_the_outputs_as_they_were(self) -> None:
        function, (a,) = chain("a")
        with pytest.raises(MutationError, match="a block returns values only, not a Const"):
            function.body.set_outputs([Const.of(1.0)])  # type: ignore[list-item]
        assert function.outputs == (a.output,)
        assert a.output.uses == [Use(function.body, OUTPUTS, 0)]

    def test_a_value_may_be_returned_twice(self) -> None:
        function, (a,) = chain("a")
        function.body.set_outputs([a.output, a.output])
        assert [use.position for use in a.output.uses] == [0, 1]


def test_the_constant_of_a_const_op_is_its_value() -> None:
    op = const("c")
    assert constant_of(op.output) is op.attributes["val"]


def test_a_literal_is_its_own_constant() -> None:
    literal = Const.of(1)
    assert constant_of(literal) is literal


def test_a_computed_value_has_no_constant() -> None:
    function, (a,) = chain("a")
    assert constant_of(a.output) is None
    assert constant_of(function.inputs[0]) is None


def test_main_is_the_only_function_or_the_one_called_so() -> None:
    one, two = Function("one"), Function("main")
    assert Program([one]).main is one
    one = Function("one")
    assert Program([one, two]).main is two


def test_a_program_with_several_functions_and_no_main_says_which_it_has() -> None:
    with pytest.raises(ValueError, match="no function main; it has one, two"):
        Program([Function("one"), Function("two")]).main  # noqa: B018


@pytest.mark.parametrize("literal", [Const(TensorType(FP16, ()), ArrayTensor(np.float16(2.0))), Const.of("text"), Const.of([1, 2])])
def test_a_literal_that_was_sent_elsewhere_is_read_there(literal: Const) -> None:
    hash(literal)  # is kept, and holds in this process only
    program = "import pickle, sys; c = pickle.load(sys.stdin.buffer); print([c.scalar(), hash(c) == hash(type(c)(c.type, c.data, c.doc))])"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    ran = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(literal), capture_output=True, check=True, env=environment)
    assert ran.stdout.decode().strip() == str([literal.scalar(), True])
