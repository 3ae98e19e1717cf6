"""The structural verifier: what it finds, each by itself, and that it finds nothing in what is sound."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ir.const import Const
from ir.core import Block, Function, Op, Program, Value
from ir.diagnostics import InvalidProgramError
from ir.labels import STRIDE
from ir.types import FP16, TensorType
from ir.verify import SHOWN, structure
from tests.effort import grows_linearly

T = TensorType(FP16, (2,))


def op(block: Block, name: str, *operands: Value, blocks: tuple[Block, ...] = ()) -> Op:
    made = Op("op", {"values": operands}, [(name, T)], blocks=blocks)
    block.append(made)
    return made


def chain(count: int = 3) -> tuple[Function, list[Op]]:
    """main(x): o0(x), o1(o0), … ; the last is returned."""
    function = Function("main", [("x", T)])
    block = Block()
    function.add_block("CoreML5", block)
    ops: list[Op] = []
    value = function.inputs[0]
    for i in range(count):
        ops.append(op(block, f"o{i}", value))
        value = ops[-1].output
    block.set_outputs([value])
    return function, ops


def nest() -> tuple[Function, Op, Op, Block]:
    """main(x): a(x), c(x) holding `(i) { n(i, a) }`. Answers with the function, a, n and the nested block."""
    function = Function("main", [("x", T)])
    body, inner = Block(), Block([("i", T)])
    function.add_block("CoreML5", body)
    a = op(body, "a", function.inputs[0])
    n = op(inner, "n", inner.inputs[0], a.output)
    inner.set_outputs([n.output])
    body.set_outputs([op(body, "c", function.inputs[0], blocks=(inner,)).output])
    return function, a, n, inner


def messages(root: Program | Function | Block) -> list[str]:
    return [problem.message for problem in structure.problems(root)]


class TestSound:
    def test_a_chain(self) -> None:
        assert messages(chain()[0]) == []

    def test_nested_blocks_and_captured_values(self) -> None:
        assert messages(nest()[0]) == []

    def test_a_nested_block_alone(self) -> None:
        assert messages(nest()[3]) == []

    def test_after_moves_erasures_and_insertions(self) -> None:
        function, ops = chain(5)
        ops[1].output.replace_uses(ops[0].output)
        ops[1].erase()
        function.body.insert_after(ops[0], Op("tanh", {"x": ops[0].output}, [("t", T)]))
        assert messages(function) == []

    def test_specializations_share_the_inputs(self) -> None:
        function, _ = chain()
        function.add_block("CoreML7", function.body.clone())
        assert messages(function) == []

    def test_sibling_blocks_may_use_one_name(self) -> None:
        function, _a, _, inner = nest()
        op(function.body, "second", blocks=(inner.clone(),))
        assert messages(function) == []

    def test_a_nested_block_may_hide_a_name_that_it_does_not_use(self) -> None:
        function, _, _, inner = nest()
        op(inner, "x")
        assert messages(function) == []

    def test_a_stage_of_a_pipeline_is_checked(self) -> None:
        function, _ = chain()
        function.set_opset("1st")
        pipeline = Program()
        pipeline.stages[(0,)] = Program([function])
        assert messages(pipeline) == ["specialization name '1st' is no identifier"]

    @pytest.mark.parametrize("name", ["a", "_", "A9", "a@b", "_0@"])
    def test_identifiers(self, name: str) -> None:
        function, (a, *_) = chain()
        a.output.rename(name)
        assert messages(function) == []


class TestIdentifiers:
    @pytest.mark.parametrize("name", ["", "0a", "a-b", "a.b", "@a", "a b", "é", "ａ", "a\n"])
    def test_an_illegal_name_of_a_value(self, name: str) -> None:
        function, (a, *_) = chain()
        a.output.rename(name)
        assert messages(function) == [f"value name {name!r} is no identifier"]

    def test_of_an_input(self) -> None:
        function, _ = chain()
        function.inputs[0].rename("a-b")
        assert messages(function) == ["input name 'a-b' is no identifier"]

    def test_of_an_attribute_names_the_op(self) -> None:
        function, (a, *_) = chain()
        a.set_attribute("no-key", Const.of(1))
        assert messages(function) == ["attribute 'no-key' of op o0 is no identifier"]

    def test_of_a_parameter_names_the_op(self) -> None:
        function, (a, *_) = chain()
        a.set("1st", function.inputs[0])
        assert messages(function) == ["parameter '1st' of op o0 is no identifier"]

    def test_of_a_function(self) -> None:
        assert messages(Program([_with_block(Function("my func"))])) == ["function name 'my func' is no identifier"]


def _with_block(function: Function) -> Function:
    function.add_block(function.opset, Block())
    return function


class TestDominance:
    def test_a_use_before_the_definition(self) -> None:
        function, (a, b, _) = chain()
        b.move_before(a)
        assert messages(function) == ["op o1 uses o0 as values before op o0 defines it"]

    def test_an_op_that_uses_itself(self) -> None:
        function, (a, *_) = chain()
        a.set("values", a.output)
        assert messages(function) == ["op o0 uses o0 as values before op o0 defines it"]

    def test_a_nested_op_that_uses_a_result_of_the_op_around(self) -> None:
        function, _, n, inner = nest()
        assert isinstance(inner.parent, Op)
        n.set("values", inner.parent.output)
        assert messages(function) == ["op n uses c as values before op c defines it"]

    def test_a_value_of_a_nested_block_used_outside(self) -> None:
        function, _, n, _ = nest()
        op(function.body, "late", n.output)
        assert messages(function) == ["op late uses n as values, which is not visible there: it is a result of op n in function main"]

    def test_a_sibling_blocks_input(self) -> None:
        function, _a, _n, inner = nest()
        other = Block([("j", T)])
        m = op(other, "m", inner.inputs[0])
        both = Op("op", {}, [("both", T)], blocks=(inner.clone(), other))
        function.body.append(both)
        assert messages(function) == ["op m uses i as values, which is not visible there: it is an input of a nested block"]
        m.set("values", both.blocks[0].inputs[0])
        assert messages(function) == ["op m uses i as values, which is not visible there: it is an input of a nested block"]

    def test_a_value_of_another_function(self) -> None:
        function, (a, *_) = chain()
        other = Function("other", [("y", T)])
        a.set("values", other.inputs[0])
        found = messages(function)
        assert found == ["op o0 uses y as values, which is not visible there: it is an input of function other"]

    def test_a_value_of_another_function_with_a_name_that_means_something_here(self) -> None:
        function, (a, *_) = chain()
        other, _ = chain()
        a.set("values", other.inputs[0])
        assert "op o0 uses x as values, and there the name means another value, an input of function main" in messages(function)

    def test_a_value_of_another_specialization(self) -> None:
        function, (a, *_) = chain()
        other = function.body.clone()
        function.add_block("CoreML7", other)
        assert other.last is not None
        other.last.set("values", a.output)
        assert messages(function)[0].startswith("op o2 uses o0 as values, and there the name means another value, a result of op o0")

    def test_a_value_whose_op_stands_nowhere(self) -> None:
        function, (a, *_) = chain()
        loose = Op("op", {}, [("loose", T)])
        a.set("values", loose.output)
        problem = structure.problems(function)[0]
        assert problem.message == "op o0 uses loose as values, which op loose defines, and that stands in no block"
        assert problem.fix == "insert it before the op"

    def test_a_hidden_value_that_is_used(self) -> None:
        function, _a, n, inner = nest()
        inner.insert_before(n, Op("op", {}, [("a", T)]))
        assert messages(function) == ["op n uses a as values, and there the name means another value, a result of op a in function main"]

    def test_a_returned_value_that_is_not_defined(self) -> None:
        function, _, n, _ = nest()
        function.body.set_outputs([n.output])
        assert messages(function) == ["a block returns n, which is not defined where the block ends"]

    def test_specializations_return_the_same(self) -> None:
        function, _ = chain()
        other = function.body.clone()
        other.set_outputs([])
        function.add_block("CoreML7", other)
        assert messages(function) == ["the specializations of function main return different values; CoreML7 returns "]

    def test_the_opset_has_a_block(self) -> None:
        assert messages(Function("main", opset="CoreML8")) == ["function main has no block for its opset CoreML8; it has none"]


class TestUses:
    def test_an_op_that_stands_nowhere_and_uses_a_value(self) -> None:
        function, (a, *_) = chain()
        Op("op", {"x": a.output}, [("loose", T)])
        assert messages(function) == ["o0 is used by op loose, which stands in no block of the function"]

    def test_a_use_of_an_input_by_what_stands_nowhere(self) -> None:
        function, _ = chain()
        Op("op", {"x": function.inputs[0]}, [("loose", T)])
        assert messages(function) == ["x is used by op loose, which stands in no block of the function"]


Corruption = Callable[[Function, list[Op]], object]


def _set(attribute: str, value: object) -> Corruption:
    return lambda function, ops: setattr(ops[1], attribute, value)


def _unlist_use(function: Function, ops: list[Op]) -> None:
    ops[0].output._uses.clear()


def _stale_use(function: Function, ops: list[Op]) -> None:
    ops[0].output._uses[(ops[2], "values", 0)] = None


def _swapped_uses(function: Function, ops: list[Op]) -> None:
    ops[0].output._uses, ops[1].output._uses = ops[1].output._uses, ops[0].output._uses


def _circle(function: Function, ops: list[Op]) -> None:
    ops[2]._next = ops[0]


def _short_circle(function: Function, ops: list[Op]) -> None:
    ops[1]._next = ops[1]


def _cut(function: Function, ops: list[Op]) -> None:
    ops[1]._next = None


def _same_name(function: Function, ops: list[Op]) -> None:
    ops[1].output._name = "o0"


def _wrong_type_bucket(function: Function, ops: list[Op]) -> None:
    function.body._index["other"] = {ops[1]: None}
    del function.body._index["op"][ops[1]]


def _shuffled_bucket(function: Function, ops: list[Op]) -> None:
    function.body._index["op"] = dict.fromkeys(reversed(ops))


def _extra_in_bucket(function: Function, ops: list[Op]) -> None:
    function.body._index["op"][Op("op", {}, [])] = None


@pytest.mark.parametrize(
    ("corrupt", "expected"),
    [
        (_set("_prev", None), "op o1 names another op before it than the one that it follows"),
        (_set("_block", None), "op o1 names another block than the one that it stands in"),
        (_set("_order", STRIDE), "op o1 has an order label below that of the op before it"),
        (_unlist_use, "op o1 uses o0 as values, which does not know of it"),
        (_stale_use, "o0 lists a use as values by op o2, which does not use it there"),
        (_swapped_uses, "op o1 uses o0 as values, which does not know of it"),
        (_circle, "a block of 3 ops has more that are linked, or its links run in a circle"),
        (_short_circle, "op o1 has an order label below that of the op before it"),
        (_cut, "a block counts 3 ops and links 2"),
        (_cut, "a block's last op is not the one at the end of its links"),
        (_same_name, "the name o0 of a result of op o0 is taken by a result of op o0 in function main"),
        (_wrong_type_bucket, "op o1 is missing from its block's index by type"),
        (_shuffled_bucket, "a block's index lists its op ops in another order than they stand in"),
        (_extra_in_bucket, "a block's index by type lists ops that do not stand in it"),
        (lambda f, o: f.body._names.pop("o0"), "a block's register of names is out of step with the values that it defines"),
        (lambda f, o: f.body._nesting.update({o[0]: None}), "a block's register of ops with nested blocks is out of step with its ops"),
        (lambda f, o: setattr(f.body, "_parent", None), "a block names another parent than the one that holds it"),
        (lambda f, o: setattr(f.body, "_count", 4), "a block counts 4 ops and links 3"),
        (lambda f, o: setattr(o[0].output, "_owner", o[1]), "value o0 names another owner than the one that lists it"),
        (lambda f, o: o[1]._operands.update(values=(3.0,)), "operand values of op o1 is neither a value nor a literal"),
        (lambda f, o: f._names.clear(), "the inputs of function main and their names are out of step, or two inputs have one name"),
    ],
)
def test_what_no_method_would_do_is_found(corrupt: Corruption, expected: str) -> None:
    function, ops = chain()
    corrupt(function, ops)
    assert expected in messages(function)


def test_a_function_listed_under_another_name_is_found() -> None:
    function, _ = chain()
    program = Program([function])
    program._functions["other"] = program._functions.pop("main")
    assert messages(program) == ["function main is listed under the name other"]


class TestReport:
    def test_all_problems_come_together(self) -> None:
        function, (a, b, c) = chain()
        a.output.rename("0")
        c.move_before(b)
        with pytest.raises(InvalidProgramError) as raised:
            structure.verify(function)
        assert len(raised.value.problems) == 2
        assert str(raised.value).startswith("2 problems were found in the program:\n1. ")

    def test_the_op_is_shown_among_its_neighbours(self) -> None:
        function, (a, b, _c) = chain()
        b.move_before(a)
        with pytest.raises(InvalidProgramError) as raised:
            structure.verify(function)
        shown = str(raised.value)
        assert "--> %o1: fp16[2] = op(values=%o0" in shown
        assert "%o2: fp16[2] = op(values=%o1)" in shown
        assert "move the op, or sort its block topologically" in shown

    def test_no_more_than_twenty_are_shown(self) -> None:
        function, ops = chain(50)
        for each in ops:
            each.output.rename(each.output.name + "-")
        with pytest.raises(InvalidProgramError) as raised:
            structure.verify(function)
        assert len(raised.value.problems) == 50
        assert str(raised.value).splitlines()[-1] == f"… and {50 - SHOWN} more"

    def test_a_problem_of_no_op_names_the_function(self) -> None:
        expected = r"1 problem was found in the program:\n1\. function main has no block.*\n   in function main"
        with pytest.raises(InvalidProgramError, match=expected):
            structure.verify(Function("main", opset="CoreML8"))


def test_verification_is_linear() -> None:
    def check(size: int) -> Callable[[], object]:
        function, _ = chain(size)
        return lambda: structure.verify(function)

    assert grows_linearly(check)


def test_deep_nesting_is_no_limit() -> None:
    function, (a, *_) = chain()
    block = Block()
    op(block, "innermost", a.output)
    for depth in range(2000):
        outer = Block()
        op(outer, f"n{depth}", blocks=(block,))
        block = outer
    op(function.body, "outermost", blocks=(block,))
    assert messages(function) == []
