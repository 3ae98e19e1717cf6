"""Structural comparison: what counts, what does not, and how a difference reads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ir.builder import Builder, FunctionBuilder, build_program
from ir.compare import ALPHA, Comparison, Difference, first_difference
from ir.const import Const
from ir.core import Block, Function, Op, Program, Value
from ir.opset import IOS16, IOS18
from ir.tensors import PackedTensor
from ir.types import BOOL, FP16, FP32, INT4, TensorType
from tests.effort import grows_linearly
from tests.strategies import programs

X = TensorType(FP16, (1, 4))


def sample() -> Program:
    """main(x): relu, linear, a cond with two blocks, concat."""
    with FunctionBuilder("main", {"x": X}, IOS16) as f:
        hidden = f.op("relu", x=f.inputs["x"])
        hidden = f.op("linear", name="project", x=hidden, weight=np.ones((4, 4), np.float16))
        with f.nested() as true, f.nested() as false:
            true.outputs(true.op("tanh", x=hidden))
            false.outputs(false.op("sin", x=hidden))
        chosen = f.op("cond", pred=True, blocks=[true, false], outputs=[("chosen", X)])
        f.outputs(f.op("concat", values=[chosen, hidden], axis=1))
    return build_program(f)


def op_of(program: Program, op_type: str) -> Op:
    return next(program.ops(op_type))


Change = Callable[[Program], object]


def _retype(program: Program) -> None:
    op_of(program, "tanh").output.type = TensorType(FP32, (1, 4))


def _new_weight(program: Program) -> None:
    weight = np.ones((4, 4), np.float16)
    weight[1, 2] = 3
    next(op for op in program.ops("const") if op.name == "project_weight").set_attribute("val", Const.of(weight))


def _swap(program: Program) -> None:
    concat = op_of(program, "concat")
    concat.set("values", *reversed(concat.operands["values"]))


def _inline(program: Program) -> None:
    op_of(program, "concat").set("axis", Const.of(1))


def _insert(program: Program) -> None:
    block = program.main.body
    Builder(block).op("relu", x=program.main.inputs[0])


def _stage(program: Program) -> None:
    program.stages[(0,)] = Program()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda p: setattr(p, "spec_version", 9), "the specification versions differ: 7 and 9"),
        (lambda p: setattr(p, "doc", "text"), "the docstrings differ: '' and 'text'"),
        (lambda p: p.metadata.update(author="me"), "only the second has metadata entry author"),
        (lambda p: p.attributes.update(buildInfo=Const.of(1)), "only the second has attribute buildInfo"),
        (lambda p: p.add_function(Function("other")), "only the second has function other"),
        (_stage, "only the second has pipeline stage (0,)"),
        (lambda p: p.main.set_opset("CoreML7"), "main: the opsets differ: CoreML6 and CoreML7"),
        (lambda p: p.main.add_block("CoreML7", Block()), "main: only the second has specialization CoreML7"),
        (lambda p: p.main.set_attribute("k", Const.of(1)), "main: only the second has attribute k"),
        (lambda p: p.main.inputs[0].rename("y"), "main/input 0: one is called x, the other y"),
        (lambda p: p.main.body.set_attribute("k", Const.of(1)), "main/CoreML6: only the second has attribute k"),
        (lambda p: op_of(p, "relu").set_attribute("k", Const.of(1)), "main/CoreML6/op 0 (relu relu): only the second has attribute k"),
        (
            lambda p: op_of(p, "linear").set_attribute("name", Const.of("other")),
            "main/CoreML6/op 2 (linear project)/name: the literals of type string differ: project and other",
        ),
        (lambda p: op_of(p, "relu").output.rename("r"), "main/CoreML6/op 0 (relu relu)/result 0: one is called relu, the other r"),
        (
            _retype,
            "main/CoreML6/op 4 (cond cond)/block 0/op 0 (tanh tanh)/result 0: "
            "tanh is of type fp16[1, 4] in one, of fp32[1, 4] in the other",
        ),
        (
            _new_weight,
            "main/CoreML6/op 1 (const project_weight)/val: the literals of type fp16[4, 4] differ first at element 6: 1.0 and 3.0",
        ),
        (_swap, "main/CoreML6/op 7 (concat concat)/values[0]: one is %chosen, the other %project"),
        (_inline, "main/CoreML6/op 7 (concat concat)/axis: one is %concat_axis, the other a literal of type int32"),
        (lambda p: op_of(p, "relu").unset("x"), "main/CoreML6/op 0 (relu relu): only the first has parameter x"),
        (
            lambda p: op_of(p, "relu").set("x", p.main.inputs[0], p.main.inputs[0]),
            "main/CoreML6/op 0 (relu relu)/x: the numbers of operands differ: 1 and 2",
        ),
        (_insert, "main/CoreML6: the second goes on after op 7 with op 8 (relu relu_0)"),
        (lambda p: p.main.body.set_outputs([]), "main/CoreML6: the numbers of outputs differ: 1 and 0"),
        (
            lambda p: p.main.body.set_outputs([op_of(p, "cond").output]),
            "main/CoreML6/output 0: one is %concat, the other %chosen",
        ),
    ],
)
def test_a_difference_says_where_and_what(change: Change, expected: str) -> None:
    program, other = sample(), sample()
    change(other)
    assert str(first_difference(program, other)) == expected


def test_another_op_type_is_a_difference() -> None:
    program, other = sample(), sample()
    relu = op_of(other, "relu")
    other.main.body.replace(relu, Op("sigmoid", relu.operands, [("relu", X)], relu.attributes))
    assert str(first_difference(program, other)) == "main/CoreML6/op 0 (relu relu): in the other it is sigmoid relu"


def test_equal_programs_do_not_differ() -> None:
    assert first_difference(sample(), sample()) is None


def test_the_order_of_maps_does_not_count() -> None:
    program, other = sample(), sample()
    relu = op_of(program, "relu")
    op = Op("add", {"x": relu.output, "y": relu.output}, [("sum", X)], {"a": Const.of(1), "b": Const.of(2)})
    program.main.body.append(op)
    relu = op_of(other, "relu")
    op = Op("add", {"y": relu.output, "x": relu.output}, [("sum", X)], {"b": Const.of(2), "a": Const.of(1)})
    other.main.body.append(op)
    assert first_difference(program, other) is None


def test_a_stage_is_compared_under_its_position() -> None:
    pipelines = [Program(), Program()]
    for pipeline in pipelines:
        pipeline.stages[(1, 0)] = sample()
    pipelines[1].stages[(1, 0)].spec_version = 9
    assert first_difference(pipelines[0], pipelines[1]) == Difference("stage 1.0", "the specification versions differ: 7 and 9")


class TestLiterals:
    def differ(self, a: Const, b: Const) -> str | None:
        found = []
        for literal in (a, b):
            block = Block()
            block.append(Op("const", {}, [("c", X)], {"val": literal}))
            found.append(block)
        difference = first_difference(found[0], found[1])
        return None if difference is None else difference.message

    def test_nan_equals_itself(self) -> None:
        assert self.differ(Const.of([np.nan]), Const.of([np.nan])) is None

    def test_another_nan_differs(self) -> None:
        a, b = (Const.of(np.array([bits], np.uint16).view(np.float16)) for bits in (0x7E00, 0x7E01))
        assert self.differ(a, b) == "the literals of type fp16[1] differ: nan and nan"

    def test_zero_differs_from_minus_zero(self) -> None:
        expected = "the literals of type fp32[2] differ first at element 1: 0.0 and -0.0"
        assert self.differ(Const.of([1.0, 0.0]), Const.of([1.0, -0.0])) == expected

    def test_types(self) -> None:
        assert self.differ(Const.of(1), Const.of(1.0)) == "one literal is of type int32, the other of fp32"

    def test_strings(self) -> None:
        expected = "the literals of type string[2] differ first at element 1: b and c"
        assert self.differ(Const.of(["a", "b"]), Const.of(["a", "c"])) == expected

    def test_lists(self) -> None:
        a, b = (Const.list_of([Const.of(1), Const.of(last)], TensorType(BOOL)) for last in (2, 3))
        assert self.differ(a, b) == "the literals differ first at element 1"

    def test_docstrings(self) -> None:
        assert self.differ(Const.of(1), Const.of(1).with_doc("one")) == "the literals' docstrings differ: '' and 'one'"

    def test_sub_byte_elements(self) -> None:
        a, b = (Const.of(PackedTensor(bytes([value]), INT4, (2,))) for value in (0x21, 0x31))
        assert self.differ(a, b) == "the literals of type int4[2] differ first at element 1: 2 and 3"

    def test_unused_bits(self) -> None:
        a, b = (Const.of(PackedTensor(bytes([value]), INT4, (1,))) for value in (0x01, 0xF1))
        assert self.differ(a, b) == "the literals differ in the unused bits of their last byte"


class TestNames:
    def renamed(self) -> Program:
        program = sample()
        for i, value in enumerate([*program.main.inputs, *(value for op in program.ops() for value in op.outputs)]):
            value.rename(f"v{i}")
        for op in program.ops():
            op.unset_attribute("name")
        return program

    def test_programs_that_differ_in_names_only_are_the_same_without_names(self) -> None:
        assert first_difference(sample(), self.renamed(), ALPHA) is None
        assert first_difference(sample(), self.renamed()) is not None

    def test_value_names_count_by_themselves(self) -> None:
        program, other = sample(), sample()
        op_of(other, "relu").output.rename("r")
        assert first_difference(program, other, Comparison(value_names=False)) is None
        assert first_difference(program, other, Comparison(name_attributes=False)) is not None

    def test_name_attributes_count_by_themselves(self) -> None:
        program, other = sample(), sample()
        op_of(other, "relu").unset_attribute("name")
        assert first_difference(program, other, Comparison(name_attributes=False)) is None
        assert first_difference(program, other, Comparison(value_names=False)) is not None

    def test_another_wiring_differs_without_names_too(self) -> None:
        program, other = sample(), sample()
        _swap(other)
        assert first_difference(program, other, ALPHA) is not None

    def test_the_same_name_for_another_value_differs(self) -> None:
        """A nested block may hide a name: what it means there is what counts."""
        made = []
        for hidden in (True, False):
            function = Function("main", [("x", X)])
            body, inner = Block(), Block([("x", X)])
            function.add_block("CoreML5", body)
            inner.append(Op("relu", {"x": inner.inputs[0] if hidden else function.inputs[0]}, [("y", X)]))
            body.append(Op("cond", {}, [("c", X)], blocks=[inner]))
            made.append(function)
        assert str(first_difference(made[0], made[1])) == "main/CoreML5/op 0 (cond c)/block 0/op 0 (relu y)/x: one is %x, the other %x"


class TestBlocks:
    def make(self, *outer: Value) -> Block:
        block = Block()
        block.append(Op("add", {"values": outer}, [("y", X)]))
        return block

    def test_values_from_outside_correspond_by_name(self) -> None:
        a, b, c = (Function("f", [(name, X)]).inputs[0] for name in ("a", "a", "c"))
        assert first_difference(self.make(a), self.make(b)) is None
        assert first_difference(self.make(a), self.make(c)) is not None

    def test_without_names_one_to_one(self) -> None:
        a, b, c = Function("f", [(name, X) for name in "abc"]).inputs
        assert first_difference(self.make(a, a), self.make(b, b), ALPHA) is None
        assert first_difference(self.make(a, a), self.make(b, c), ALPHA) is not None
        assert first_difference(self.make(a, b), self.make(c, c), ALPHA) is not None

    def test_a_type_from_outside_counts(self) -> None:
        a = Function("f", [("a", X)]).inputs[0]
        b = Function("f", [("a", X.with_dtype(FP32))]).inputs[0]
        assert first_difference(self.make(a), self.make(b)) is not None


def test_things_of_two_kinds_are_not_compared() -> None:
    with pytest.raises(TypeError, match="a Program cannot be compared with a Function"):
        first_difference(sample(), sample().main)  # type: ignore[type-var]


def test_deep_nesting_is_no_limit() -> None:
    def deep() -> Block:
        block = Block()
        block.append(Op("relu", {}, [("y", X)]))
        for i in range(2000):
            outer = Block()
            outer.append(Op("cond", {}, [(f"c{i}", X)], blocks=[block]))
            block = outer
        return block

    assert first_difference(deep(), deep()) is None


def test_comparison_is_linear() -> None:
    def long(size: int) -> Block:
        f = FunctionBuilder("main", {"x": X}, IOS18)
        value: Value = f.inputs["x"]
        for _ in range(size):
            value = f.op("relu", x=value).output
        return f.block

    def check(size: int) -> Callable[[], object]:
        a, b = long(size), long(size)
        return lambda: first_difference(a, b)

    assert grows_linearly(check)


@settings(max_examples=30, deadline=None)
@given(programs())
def test_a_clone_never_differs(program: Program) -> None:
    assert first_difference(program, program.clone()) is None
    assert first_difference(program, program.clone(), ALPHA) is None


@settings(max_examples=30, deadline=None)
@given(programs(), st.data())
def test_a_changed_attribute_is_always_found(program: Program, data: st.DataObject) -> None:
    copy = program.clone()
    ops = list(copy.ops())
    if ops:
        data.draw(st.sampled_from(ops)).set_attribute("never_drawn_before", Const.of(1))
        difference = first_difference(program, copy)
        assert difference is not None
        assert "never_drawn_before" in difference.message
