"""Walks, slices and topological sorting, through nested blocks."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ir.core import Block, Function, Op, Program, Value
from ir.diagnostics import InvalidProgramError
from ir.opset import IOS16
from ir.types import FP16, StateType, TensorType
from ir.walk import backward_slice, captured, forward_slice, is_sorted, opset_of, sort_topologically, topological_order, used_values, walk

T = TensorType(FP16, (2,))


def op(block: Block, name: str, *operands: Value, blocks: tuple[Block, ...] = ()) -> Op:
    made = Op("op", {"values": operands}, [(name, T)], blocks=blocks)
    block.append(made)
    return made


def empty(opset: str = "CoreML6") -> tuple[Function, Block]:
    function = Function("main", [("x", T)], opset)
    block = Block()
    function.add_block(opset, block)
    return function, block


def names(ops: list[Op]) -> list[str]:
    return [each.name for each in ops]


def nest() -> tuple[Function, dict[str, Op]]:
    """`c(x)` holds two blocks: `(i) { n(i, a) }`, and one with `e`, which holds `{ deep(b) }`."""
    function, body = empty()
    x = function.inputs[0]
    ops = {"a": op(body, "a", x), "b": op(body, "b", x)}
    first, second, innermost = Block([("i", T)]), Block(), Block()
    ops["n"] = op(first, "n", first.inputs[0], ops["a"].output)
    first.set_outputs([ops["n"].output])
    ops["deep"] = op(innermost, "deep", ops["b"].output)
    innermost.set_outputs([ops["deep"].output])
    ops["e"] = op(second, "e", blocks=(innermost,))
    second.set_outputs([ops["e"].output])
    ops["c"] = op(body, "c", x, blocks=(first, second))
    ops["d"] = op(body, "d", ops["c"].output)
    body.set_outputs([ops["d"].output])
    return function, ops


class TestWalk:
    def test_an_op_comes_before_those_in_its_blocks_and_these_before_the_next(self) -> None:
        function, _ = nest()
        assert names(list(walk(function))) == ["a", "b", "c", "n", "e", "deep", "d"]

    def test_a_program_is_walked_function_by_function_and_stage_by_stage(self) -> None:
        function, _ = nest()
        other = Function("other", opset="CoreML6")
        other.add_block("CoreML6", Block())
        op(other.body, "o")
        stage_function, block = empty()
        op(block, "s")
        program = Program([function, other])
        program.stages[(0,)] = Program([stage_function])
        assert names(list(walk(program)))[-3:] == ["d", "o", "s"]

    def test_an_op_is_walked_with_what_it_holds(self) -> None:
        _, ops = nest()
        assert names(list(walk(ops["c"]))) == ["c", "n", "e", "deep"]

    def test_the_current_op_may_be_erased_and_its_blocks_are_not_visited(self) -> None:
        function, ops = nest()
        ops["d"].set("values")
        seen = []
        for each in walk(function):
            seen.append(each.name)
            if each is ops["c"]:
                each.erase()
        assert seen == ["a", "b", "c", "d"]

    def test_deep_nesting_is_no_limit(self) -> None:
        function, body = empty()
        block = Block()
        op(block, "innermost")
        for depth in range(3000):
            outer = Block()
            op(outer, f"o{depth}", blocks=(block,))
            block = outer
        op(body, "outermost", blocks=(block,))
        assert sum(1 for _ in walk(function)) == 3002


class TestUsed:
    def test_captured_values_are_those_from_outside(self) -> None:
        _, ops = nest()
        assert captured(ops["c"]) == [ops["a"].output, ops["b"].output]

    def test_a_value_that_a_nested_block_only_returns_is_captured(self) -> None:
        function, body = empty()
        block = Block()
        block.set_outputs([function.inputs[0]])
        assert captured(op(body, "c", blocks=(block,))) == [function.inputs[0]]

    def test_used_values_are_operands_and_captures(self) -> None:
        function, ops = nest()
        assert list(used_values(ops["c"])) == [function.inputs[0], ops["a"].output, ops["b"].output]


class TestSlices:
    def test_backward_from_a_value(self) -> None:
        _, ops = nest()
        assert names(backward_slice(ops["a"].output)) == ["a"]

    def test_backward_goes_through_captured_values(self) -> None:
        _, ops = nest()
        assert names(backward_slice(ops["d"])) == ["a", "b", "c", "d"]

    def test_backward_from_inside_goes_to_the_op_around_by_the_blocks_inputs(self) -> None:
        _, ops = nest()
        assert names(backward_slice(ops["n"])) == ["a", "b", "c", "n"]

    def test_backward_from_a_nested_op_without_block_inputs_stays_with_what_it_uses(self) -> None:
        _, ops = nest()
        assert names(backward_slice(ops["deep"])) == ["b", "deep"]

    def test_forward_from_a_captured_value_reaches_the_ops_around(self) -> None:
        _, ops = nest()
        assert names(forward_slice(ops["b"])) == ["b", "c", "n", "e", "deep", "d"]

    def test_forward_from_a_value_leaves_its_op_out(self) -> None:
        _, ops = nest()
        assert names(forward_slice(ops["c"].output)) == ["d"]

    def test_forward_from_an_input_lists_every_specialization(self) -> None:
        function, body = empty()
        op(body, "a", function.inputs[0])
        function.add_block("CoreML7", body.clone())
        assert names(forward_slice(function.inputs[0])) == ["a", "a"]

    def test_a_slice_is_in_program_order_after_moves(self) -> None:
        function, body = empty()
        x = function.inputs[0]
        ops = [op(body, name, x) for name in "abc"]
        ops[2].move_before(ops[0])
        assert names(forward_slice(x)) == ["c", "a", "b"]


class TestSort:
    def test_a_legal_order_stays(self) -> None:
        function, _ = nest()
        before = list(function.body)
        assert sort_topologically(function.body) == 0
        assert list(function.body) == before

    def test_an_op_moves_to_before_the_first_that_needs_it(self) -> None:
        _, body = empty()
        a, b, c, d = (op(body, name) for name in "abcd")
        b.set("values", d.output)
        assert sort_topologically(body) == 1
        assert list(body) == [a, d, b, c]

    def test_a_captured_value_counts(self) -> None:
        _, body = empty()
        inner = Block()
        holder = op(body, "holder", blocks=(inner,))
        late = op(body, "late")
        op(inner, "n", late.output)
        assert not is_sorted(body)
        sort_topologically(body)
        assert list(body) == [late, holder]
        assert is_sorted(body)

    def test_a_cycle_is_named_and_nothing_moves(self) -> None:
        _, body = empty()
        a, b, c = (op(body, name) for name in "abc")
        a.set("values", c.output)
        b.set("values", a.output)
        c.set("values", b.output)
        with pytest.raises(InvalidProgramError, match="in a cycle, each on the one after it: op a → op c → op b → op a"):
            sort_topologically(body)
        assert list(body) == [a, b, c]

    def test_an_op_that_uses_itself_is_a_cycle(self) -> None:
        _, body = empty()
        a = op(body, "a")
        a.set("values", a.output)
        assert not is_sorted(body)
        with pytest.raises(InvalidProgramError, match="op a → op a"):
            topological_order(body)

    def test_ops_on_one_state_keep_their_order(self) -> None:
        function = Function("main", [("s", StateType(T)), ("x", T)], "CoreML8")
        body = Block()
        function.add_block("CoreML8", body)
        state, x = function.inputs
        first = op(body, "first", x)
        write = Op("write_state", {"input": state, "data": x}, [])
        body.append(write)
        read = Op("read_state", {"input": state}, [("r", T)])
        body.append(read)
        first.set("values", read.output)
        sort_topologically(body)
        assert list(body) == [write, read, first]

    def test_a_long_chain_in_reverse_is_no_limit(self) -> None:
        _, body = empty()
        ops = [op(body, f"o{i}") for i in range(5000)]
        for user, source in itertools.pairwise(ops):
            user.set("values", source.output)
        sort_topologically(body)
        assert list(body) == ops[::-1]

    @given(st.lists(st.lists(st.integers(0, 11), max_size=3), min_size=12, max_size=12), st.permutations(range(12)))
    def test_every_acyclic_order_is_made_legal_and_a_legal_one_kept(self, edges: list[list[int]], order: list[int]) -> None:
        _, body = empty()
        ops = [op(body, f"o{i}") for i in range(12)]
        for i, sources in enumerate(edges):
            ops[i].set("values", *(ops[j].output for j in sources if j < i))
        for i in order:
            ops[i].move_after(body.last or ops[i])
        was_sorted = is_sorted(body)
        assert (sort_topologically(body) == 0) is was_sorted
        assert is_sorted(body)
        place = {each: i for i, each in enumerate(body)}
        assert len(place) == 12
        for each in body:
            assert all(place[v.op] < place[each] for v in used_values(each) if v.op is not None)
        assert sort_topologically(body) == 0


def test_the_opset_of_a_nested_block_is_that_of_its_specialization() -> None:
    function, ops = nest()
    assert opset_of(ops["deep"].block) is IOS16
    assert opset_of(function.body.clone()) is None
    function.set_opset("CoreML99")
    assert opset_of(ops["deep"].block) is None
