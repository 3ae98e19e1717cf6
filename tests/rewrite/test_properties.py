"""Random programs under random lists of sound rules: valid, the same interface, the same values, at an end.

The arithmetic is that of 32-bit integers, which wraps, so that the algebra of the rules is exact; a small evaluator in NumPy is the judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ir.builder import Builder, FunctionBuilder, build_program
from ir.const import Const
from ir.core import Block, Op, Operand, Program, Value, constant_of
from ir.opset import IOS18
from ir.tensors import Array
from ir.types import BOOL, INT32, TensorType
from ir.verify import specification, structure
from mlpasses.rewrite import Failure, Match, Replacement, RewriteError, Rewriter, Rule, const, p, rewrite, rule
from tests.rewrite.checks import interface

SHAPES: Final = ((2, 3), (3, 2))


# the rules


@rule(p.add(x="x", y=const(filled=0)), commutes=True)
def add_nothing(m: Match, rw: Rewriter) -> Replacement:
    """x + 0 → x"""
    return m.x  # type: ignore[no-any-return]


@rule(p.mul(x="x", y=const(1)), commutes=True)
def multiply_by_one(m: Match, rw: Rewriter) -> Replacement:
    """x · 1 → x"""
    return m.x  # type: ignore[no-any-return]


@rule(p.mul(x="x", y=const(filled=0)).commutes())
def multiply_by_nothing(m: Match, rw: Rewriter) -> Replacement:
    """x · 0 → 0"""
    return rw.const(np.zeros(_shape(m.root.output), np.int32))


@rule(p.sub(x="x", y="x"))
def subtract_itself(m: Match, rw: Rewriter) -> Replacement:
    """x - x → 0"""
    return Const.of(np.zeros(_shape(m.root.output), np.int32))


@rule(p.sub(x=p.add(x="x", y="y"), y="y"), commutes=True)
def add_and_subtract(m: Match, rw: Rewriter) -> Replacement:
    """(x + y) - y → x"""
    return m.x  # type: ignore[no-any-return]


@rule(p.add(x=p.add(x="x", y=const("b")), y=const("c")), commutes=True)
def gather_constants(m: Match, rw: Rewriter) -> Replacement:
    """(x + b) + c → x + (b + c)"""
    return rw.op("add", x=m.x, y=rw.const(m.b.numpy() + m.c.numpy(), hint=m.b.name))


@rule(p.mul(x=p.add(x="x", y="y"), y=const("c")).commutes())
def distribute(m: Match, rw: Rewriter) -> Replacement:
    """(x + y) · c → x · c + y · c"""
    return rw.op("add", x=rw.op("mul", x=m.x, y=m.c), y=rw.op("mul", x=m.y, y=m.c))


@rule(p.transpose(x=p.transpose(x="x", perm=const("inner")).shared(), perm=const("outer")))
def merge_transposes(m: Match, rw: Rewriter) -> Replacement:
    """transpose(transpose(x, p), q) → transpose(x, p[q])"""
    return rw.op("transpose", x=m.x, perm=m.inner.numpy()[m.outer.numpy()])


@rule(p.transpose(x="x", perm=[0, 1]))
def drop_transpose(m: Match, rw: Rewriter) -> Replacement:
    """transpose(x, [0, 1]) → x"""
    return m.x  # type: ignore[no-any-return]


@rule(p.any_of("add", "mul", "sub")(x=p.transpose(x="x", perm=const("p")), y=p.transpose(x="y", perm=const("p"))))
def sink_transposes(m: Match, rw: Rewriter) -> Replacement:
    """op(transpose(x, p), transpose(y, p)) → transpose(op(x, y), p)"""
    return rw.op("transpose", x=rw.op(m.root.op_type, x=m.x, y=m.y), perm=m.p)


@rule(p.identity(x="x"))
def drop_identity(m: Match, rw: Rewriter) -> Replacement:
    """identity(x) → x"""
    return m.x  # type: ignore[no-any-return]


SPLIT: Final = p.split(x="x", num_splits=2, axis=const("s")).named("split")


@rule(p.concat(values=[SPLIT.out(0), SPLIT.out(1)], axis=const("c")))
def concat_of_split(m: Match, rw: Rewriter) -> Replacement | Failure:
    """concat(split(x)) → x"""
    return m.x if m.s.item() == m.c.item() else m.fail("split over {}, put together over {}", m.s, m.c)


@rule(p.split(x=p.concat(values=["a", "b"], axis=0).shared(), num_splits=2, axis=0))
def split_of_concat(m: Match, rw: Rewriter) -> Replacement:
    """split(concat(a, b)) → a, b"""
    return (m.a, m.b)


RULES: Final = (
    add_nothing, multiply_by_one, multiply_by_nothing, subtract_itself, add_and_subtract, gather_constants, distribute, merge_transposes,
    drop_transpose, sink_transposes, drop_identity, concat_of_split, split_of_concat,
)  # fmt: skip


# programs


class _Drawing:
    """Draws ops whose operands were drawn before, into a builder."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw

    def ops(self, builder: Builder, values: list[Value], truth: Value, most: int, depth: int) -> None:
        for _ in range(self.draw(st.integers(1, most))):
            values.extend(self.op(builder, values, truth, depth))

    def op(self, builder: Builder, values: Sequence[Value], truth: Value, depth: int) -> Sequence[Value]:
        draw = self.draw
        kinds = ["add", "add", "mul", "sub", "transpose", "transpose", "identity", "halves", "cond"]
        kind = draw(st.sampled_from(kinds if depth else kinds[:-1]))
        x = draw(st.sampled_from(values))
        if kind in ("add", "mul", "sub"):
            y = self.second(builder, values, x)
            swapped = isinstance(y, Value) and draw(st.booleans())
            return builder.op(kind, x=y if swapped else x, y=x if swapped else y).outputs
        if kind == "transpose":
            return builder.op("transpose", x=x, perm=draw(st.sampled_from([[0, 1], [1, 0]]))).outputs
        if kind == "identity":
            return builder.op("identity", x=x).outputs
        if kind == "halves":
            axis = _shape(x).index(2)
            halves = list(builder.op("split", x=x, num_splits=2, axis=axis).outputs)
            if draw(st.booleans()):
                halves.reverse()
            return builder.op("concat", values=halves, axis=axis).outputs
        return self.cond(builder, values, truth, x, depth)

    def second(self, builder: Builder, values: Sequence[Value], x: Value) -> Operand:
        alike = [value for value in values if value.type is x.type]
        kind = self.draw(st.sampled_from(["value", "value", "literal", "const", "full"]))
        if kind == "value":
            return self.draw(st.sampled_from(alike))
        number = self.draw(st.sampled_from([0, 1, 2, -1]))
        shape = _shape(x) if kind == "full" else ()
        literal = Const.of(np.full(shape, number, np.int32))
        return literal if kind == "literal" else builder.const(literal)

    def cond(self, builder: Builder, values: Sequence[Value], truth: Value, x: Value, depth: int) -> Sequence[Value]:
        blocks = []
        for _ in range(2):
            with builder.nested() as inner:
                inside = list(values)
                self.ops(inner, inside, truth, 3, depth - 1)
                inner.outputs(self.draw(st.sampled_from([value for value in inside if value.type is x.type])))
            blocks.append(inner)
        return builder.op("cond", pred=truth, blocks=blocks, type=x.type).outputs


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Programs of integer arithmetic and of ops that move data, with branches, that return any of their values, some of them twice."""
    inputs = {"a": TensorType(INT32, SHAPES[0]), "b": TensorType(INT32, SHAPES[1]), "c": TensorType(INT32, SHAPES[0])}
    with FunctionBuilder("main", {**inputs, "t": TensorType(BOOL)}, IOS18) as f:
        values = [f.inputs[name] for name in inputs]
        _Drawing(draw).ops(f, values, f.inputs["t"], 10, 1)
        f.outputs(*draw(st.lists(st.sampled_from(values), min_size=1, max_size=3)))
    return build_program(f)


def _shape(value: Value) -> tuple[int, ...]:
    assert isinstance(value.type, TensorType)
    return value.type.static_shape


# their values


def evaluated(program: Program, feeds: Mapping[str, Array]) -> list[Array]:
    function = program.main
    known: dict[Value, Array] = {value: feeds[value.name] for value in function.inputs}
    return _run(function.body, known)


def _run(block: Block, known: dict[Value, Array]) -> list[Array]:
    for op in block:
        known.update(zip(op.outputs, _results(op, known), strict=True))
    return [known[value] for value in block.outputs]


def _results(op: Op, known: dict[Value, Array]) -> Sequence[Array]:
    def get(name: str) -> Any:
        operand = op[name]
        return operand.numpy() if isinstance(operand, Const) else known[operand]

    if op.op_type == "const":
        return (op.attributes["val"].numpy(),)
    if op.op_type == "cond":
        return _run(op.blocks[0 if get("pred") else 1], known)
    if op.op_type == "identity":
        return (get("x"),)
    if op.op_type == "transpose":
        return (get("x").transpose(get("perm")),)
    if op.op_type == "split":
        return np.split(get("x"), int(get("num_splits")), int(get("axis")))
    if op.op_type == "concat":
        parts = [each.numpy() if isinstance(each, Const) else known[each] for each in op.operands["values"]]
        return (np.concatenate(parts, int(get("axis"))),)
    return ({"add": np.add, "mul": np.multiply, "sub": np.subtract}[op.op_type](get("x"), get("y")),)


rule_lists = st.lists(st.sampled_from(RULES), unique=True, min_size=1).flatmap(st.permutations)


@settings(max_examples=300, deadline=None)
@given(programs(), rule_lists, st.integers(0, 2**32 - 1))
def test_sound_rules_keep_a_program_valid_and_its_values(program: Program, rules: list[Rule], seed: int) -> None:
    numbers = np.random.default_rng(seed)
    feeds: dict[str, Array] = {"t": np.asarray(bool(seed % 2))}
    for value in program.main.inputs[:3]:
        feeds[value.name] = numbers.integers(-9, 9, _shape(value)).astype(np.int32)
    faces, before = interface(program.main), evaluated(program, feeds)
    version = program.version
    outcome = rewrite(program, rules)
    structure.verify(program)
    specification.verify(program)
    assert interface(program.main) == faces
    for old, new in zip(before, evaluated(program, feeds), strict=True):
        np.testing.assert_array_equal(old, new)
    assert outcome or program.version == version
    assert not rewrite(program, rules), "a second run finds something left to do"


@settings(max_examples=50, deadline=None)
@given(programs())
@example(program=build_program(FunctionBuilder("main", {"a": TensorType(INT32, (2, 3))})))
def test_rules_that_undo_one_another_end_in_an_error_or_not_at_all(program: Program) -> None:
    @rule(p.identity(x="x"), name="there")
    def there(m: Match, rw: Rewriter) -> Replacement:
        """identity(x) → x + 0"""
        return rw.op("add", x=m.x, y=rw.const(0))

    @rule(p.add(x="x", y=const(0)), name="back")
    def back(m: Match, rw: Rewriter) -> Replacement:
        """x + 0 → identity(x)"""
        return rw.op("identity", x=m.x)

    affected = any(True for _ in program.ops("identity")) or any(_is_zero(op["y"]) for op in program.ops("add"))
    if affected:
        with pytest.raises(RewriteError, match=r"do not come to an end"):
            rewrite(program, [there, back])
    else:
        assert not rewrite(program, [there, back])


def _is_zero(operand: Operand) -> bool:
    found = constant_of(operand)
    return found is not None and found.tensor.shape == () and found.item() == 0
