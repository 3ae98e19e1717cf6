"""`FoldConstants`: what is computed from constants becomes a const, what is not stays. Programs before and after, in the text form."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ir.builder import Builder, FunctionBuilder, build_program
from ir.const import Const
from ir.core import Block, Function, Op, Program, Value
from ir.diagnostics import MLPassesError
from ir.opset import IOS18
from ir.tensors import Array
from ir.text import parse_fragment, print_program
from ir.types import BOOL, FP16, TensorType
from ir.verify import specification, structure
from mlpasses.cleanup.fold import FoldConstants
from mlpasses.context import Context
from mlpasses.manager import run
from mlpasses.runtime.execute import execute
from tests.effort import grows_linearly


def folded(text: str, fold: FoldConstants | None = None, opset: str = "CoreML8") -> tuple[Program, Context, int]:
    program = parse_fragment(dedent(text), opset=opset)
    cx = Context(pass_name="fold-constants")
    changes = (fold or FoldConstants()).apply(program, cx)
    structure.verify(program)
    specification.verify(program)
    return program, cx, changes


def check(before: str, after: str, changes: int = 1, fold: FoldConstants | None = None) -> None:
    """`before` becomes `after`, with so many changes; and then stays."""
    program, _, found = folded(before, fold)
    assert print_program(program) == print_program(parse_fragment(dedent(after), opset="CoreML8"))
    assert found == changes
    assert (fold or FoldConstants()).apply(program, Context()) == 0


def unchanged(text: str, fold: FoldConstants | None = None) -> Context:
    """Nothing happens, not even to the version; answers with the context, which has the notes."""
    program = parse_fragment(dedent(text), opset="CoreML8")
    version, cx = program.version, Context()
    assert (fold or FoldConstants()).apply(program, cx) == 0
    assert program.version == version
    return cx


class TestFolded:
    def test_an_op_on_consts_becomes_a_const_of_its_name(self) -> None:
        check(
            """
            inputs %x: fp32[2]
            %a: fp32[2] = const([1.0, 2.0])
            %b: fp32[2] = const([3.0, 4.0])
            %s: fp32[2] = add(x=%a, y=%b)
            %y: fp32[2] = mul(x=%x, y=%s)
            return %y
            """,
            """
            inputs %x: fp32[2]
            %s: fp32[2] = const([4.0, 6.0])
            %y: fp32[2] = mul(x=%x, y=%s)
            return %y
            """,
        )

    def test_inline_literals_are_constants(self) -> None:
        check(
            """
            inputs %x: int32[2]
            %s: int32[2] = add(x=int32[2]([1, 2]), y=int32[2]([3, 4]))
            %y: int32[2] = mul(x=%x, y=%s)
            return %y
            """,
            """
            inputs %x: int32[2]
            %s: int32[2] = const([4, 6])
            %y: int32[2] = mul(x=%x, y=%s)
            return %y
            """,
        )

    def test_a_chain_folds_in_one_sweep_and_what_it_used_goes(self) -> None:
        check(
            """
            inputs %x: fp32[1, 128, 64]
            %s: int32[3] = shape(x=%x)
            %n: int32[1] = slice_by_index(x=%s, begin=int32[1]([1]), end=int32[1]([2]))
            %m: int32[1] = mul(x=%n, y=int32[1]([64]))
            %y: fp32[8192] = reshape(x=%x, shape=%m)
            return %y
            """,
            """
            inputs %x: fp32[1, 128, 64]
            %m: int32[1] = const([8192])
            %y: fp32[8192] = reshape(x=%x, shape=%m)
            return %y
            """,
            3,
        )

    def test_a_const_that_something_else_uses_stays(self) -> None:
        check(
            """
            inputs %x: fp32[2]
            %a: fp32[2] = const([1.0, 2.0])
            %s: fp32[2] = abs(x=%x)
            %b: fp32[2] = square(x=%a)
            %c: fp32[2] = add(x=%x, y=%a)
            %y: fp32[2] = mul(x=%c, y=%b)
            return %y, %s
            """,
            """
            inputs %x: fp32[2]
            %a: fp32[2] = const([1.0, 2.0])
            %s: fp32[2] = abs(x=%x)
            %b: fp32[2] = const([1.0, 4.0])
            %c: fp32[2] = add(x=%x, y=%a)
            %y: fp32[2] = mul(x=%c, y=%b)
            return %y, %s
            """,
        )

    def test_a_folded_output_keeps_its_name_and_type(self) -> None:
        check(
            """
            inputs %x: fp16[2]
            %y: fp16[2] = exp(x=fp16[2]([0.0, 0.0]))
            return %y
            """,
            """
            inputs %x: fp16[2]
            %y: fp16[2] = const([1.0, 1.0])
            return %y
            """,
        )

    def test_of_several_outputs_each_that_is_used_becomes_a_const(self) -> None:
        check(
            """
            inputs %x: fp32[1]
            %a: fp32[1], %b: fp32[1], %c: fp32[1] = split(x=fp32[3]([1.0, 2.0, 3.0]), num_splits=3, axis=0)
            %y: fp32[1] = add(x=%x, y=%a)
            %z: fp32[1] = add(x=%y, y=%c)
            return %z
            """,
            """
            inputs %x: fp32[1]
            %a: fp32[1] = const([1.0])
            %c: fp32[1] = const([3.0])
            %y: fp32[1] = add(x=%x, y=%a)
            %z: fp32[1] = add(x=%y, y=%c)
            return %z
            """,
        )

    def test_in_nested_blocks_too(self) -> None:
        program, _, changes = folded(
            """
            inputs %x: fp32[2], %p: bool
            %a: fp32[2] = const([1.0, 4.0])
            %y: fp32[2] = cond(pred=%p) block {
              %t: fp32[2] = sqrt(x=%a)
              return %t
            } block {
              return %x
            }
            return %y
            """
        )
        assert changes == 1
        (cond,) = program.ops("cond")
        (inner,) = cond.blocks[0]
        assert (inner.op_type, inner.output.name) == ("const", "t")
        assert inner.attributes["val"].numpy().tolist() == [1.0, 2.0]
        assert len(program.main.body) == 1  # nobody else used %a

    def test_every_specialization_by_its_own_opset(self) -> None:
        text = "inputs %x: fp32[2, 50]\n%s: {} = reshape(x=fp32[2, 1]([[1.0], [2.0]]), shape=int32[2]([0, 1]))\nreturn %s"
        program = parse_fragment(text.format("fp32[2, 1]"), opset="CoreML6")
        program.main.add_block("CoreML8", program.main.body.clone())
        assert FoldConstants().apply(program, Context()) == 2
        assert [op.op_type for op in program.ops()] == ["const", "const"]

    def test_an_open_dimension_that_constants_settle(self) -> None:
        program, _, changes = folded(
            """
            inputs %x: int32[3]
            %r: int32[?] = range_1d(end=3, start=0, step=1)
            %y: int32[3] = add(x=%x, y=%r)
            return %y
            """
        )
        assert changes == 1
        assert repr(program.main.body.first) == "%r: int32[3] = const([0, 1, 2])"

    def test_a_transposed_weight_is_no_larger(self) -> None:
        with FunctionBuilder("main", {"x": TensorType(FP16, (2, 300))}, IOS18) as f:
            weight = f.op("transpose", x=np.ones((300, 400), np.float16), perm=[1, 0], name="w")
            f.outputs(f.op("linear", x=f.inputs["x"], weight=weight))
        program = build_program(f)
        assert FoldConstants(max_bytes=0).apply(program, Context()) == 1
        assert program.main.body.op_types() == {"const": 1, "linear": 1}


class TestLeftAlone:
    def test_an_operand_that_comes_at_run_time(self) -> None:
        assert not unchanged("inputs %x: fp32[2]\n%y: fp32[2] = add(x=%x, y=fp32[2]([1.0, 2.0]))\nreturn %y").notes

    def test_the_shape_of_what_has_an_open_dimension(self) -> None:
        assert not unchanged("inputs %x: fp32[?]\n%y: int32[1] = shape(x=%x)\nreturn %y").notes

    def test_random_numbers(self) -> None:
        unchanged("inputs %x: fp32[2]\n%y: fp32[2] = random_normal(shape=int32[1]([2]), mean=0.0, stddev=1.0, seed=1)\nreturn %y")

    def test_compressed_constants_and_what_is_computed_from_them(self) -> None:
        unchanged(
            """
            inputs %x: fp16[2]
            %w: fp16[2] = constexpr_blockwise_shift_scale(data=int8[2]([1, 2]), scale=fp16[1]([0.5]))
            %y: fp16[2] = relu(x=%w)
            return %y
            """
        )

    def test_the_dequantized_constant_of_ios17(self) -> None:
        unchanged("inputs %x: fp16[2]\n%y: fp16[2] = dequantize(input=int8[2]([1, 2]), scale=fp16(0.5))\nreturn %y")

    def test_an_op_that_nobody_knows(self) -> None:
        unchanged("inputs %x: fp16[2]\n%y: fp16[2] = mystery(x=fp16[2]([1.0, 2.0]))\nreturn %y")

    def test_an_op_that_nobody_uses(self) -> None:
        unchanged("inputs %x: fp16[2]\n%y: fp16[2] = relu(x=fp16[2]([1.0, 2.0]))\nreturn %x")

    def test_a_state(self) -> None:
        unchanged("inputs %s: state<fp16[2]>\n%y: fp16[2] = read_state(input=%s)\nreturn %y")

    def test_what_would_change_the_type_of_an_output_with_a_note(self) -> None:
        cx = unchanged("inputs %x: fp32[2]\n%y: int32[?] = range_1d(end=3, start=0, step=1)\nreturn %y")
        (note,) = cx.notes
        assert "would be declared as another type" in note.reason

    def test_what_grows_beyond_the_bound_with_one_note_for_all(self) -> None:
        text = """
            inputs %x: fp32[2]
            %a: fp32[64, 64] = fill(shape=int32[2]([64, 64]), value=1.0)
            %b: fp32[64, 64] = fill(shape=int32[2]([64, 64]), value=2.0)
            %y: fp32[64, 64] = add(x=%a, y=%b)
            return %y
            """
        cx = unchanged(text, FoldConstants(max_bytes=16_371))
        (note,) = cx.notes
        assert note.where == "fill a (and 1 more)"
        assert "more than 16371 bytes larger" in note.reason
        assert folded(text, FoldConstants(max_bytes=16_372))[2] == 3  # 16,384 bytes for 12 of the literals

    def test_what_would_allocate_by_a_number_in_the_file(self) -> None:
        text = "inputs %x: fp32[2]\n%y: fp32[2147483647, 2147483647] = fill(shape=int32[2]([2147483647, 2147483647]), value=1.0)\nreturn %y"
        (note,) = unchanged(text).notes
        assert "bytes larger" in note.reason

    def test_a_nan_made_of_numbers_with_a_note(self) -> None:
        cx = unchanged("inputs %x: fp32[1]\n%y: fp32[1] = sqrt(x=fp32[1]([-1.0]))\nreturn %y")
        assert [note.reason for note in cx.notes] == ["it is computed from constants, but its result is not a number"]

    def test_a_division_of_integers_by_zero_with_a_note(self) -> None:
        (note,) = unchanged("inputs %x: fp32[1]\n%y: int32[1] = floor_div(x=int32[1]([1]), y=int32[1]([0]))\nreturn %y").notes
        assert "an integer is divided by 0" in note.reason

    def test_an_op_without_an_evaluator_with_one_note_for_its_type(self) -> None:
        image, call = "fp32[1, 1, 1, 2]([[[[1.0, 2.0]]]])", "resize_nearest_neighbor"
        cx = unchanged(
            f"""
            inputs %x: fp32[1]
            %a: fp32[1, 1, 2, 2] = {call}(x={image}, target_size_height=2, target_size_width=2)
            %b: fp32[1, 1, 2, 2] = {call}(x={image}, target_size_height=2, target_size_width=2)
            return %a, %b
            """
        )
        assert [(note.where, note.reason) for note in cx.notes] == [
            ("resize_nearest_neighbor a (and 1 more)", "it is computed from constants, but nothing is known of how to evaluate it")
        ]

    def test_all_of_an_opset_that_is_not_known_with_a_note(self) -> None:
        program = parse_fragment("inputs %x: fp32[1]\n%y: fp32[1] = relu(x=fp32[1]([1.0]))\nreturn %y")
        program.main.set_opset("CoreML99")
        cx = Context()
        assert FoldConstants().apply(program, cx) == 0
        assert "its opset is not known" in cx.notes[0].reason


def test_an_infinity_is_folded() -> None:
    program, _, changes = folded("inputs %x: fp16[1]\n%y: fp16[1] = cast(x=fp32[1]([-1e9]), dtype=\"fp16\")\nreturn %y")
    assert changes == 1
    assert np.isneginf(next(program.ops("const")).attributes["val"].numpy()).all()


def test_a_nan_of_a_nan_is_folded() -> None:
    assert folded("inputs %x: fp32[1]\n%y: fp32[1] = abs(x=fp32[1]([nan]))\nreturn %y")[2] == 1


def test_a_folded_const_knows_where_it_is_from() -> None:
    program, _, _ = folded("inputs %x: fp32[1]\n%y: fp32[1] = relu(x=fp32[1]([1.0]))\nreturn %y")
    (const,) = program.ops("const")
    assert const.origin.pass_name == "fold-constants"
    assert const.origin.sources == ("y",)


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(MLPassesError, match="max_bytes"):
        FoldConstants(max_bytes=-1)


def test_meaning_is_kept() -> None:
    program = parse_fragment(
        dedent(
            """
            inputs %x: fp16[1, 8, 4]
            %s: int32[3] = shape(x=%x)
            %n: int32[1] = slice_by_index(x=%s, begin=int32[1]([1]), end=int32[1]([2]))
            %c: int32[2] = concat(values=(%n, int32[1]([-1])), axis=0)
            %r: fp16[8, 4] = reshape(x=%x, shape=%c)
            %k: fp16[8] = exp(x=fp16[8]([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]))
            %e: fp16[8, 1] = expand_dims(x=%k, axes=int32[1]([1]))
            %y: fp16[8, 4] = mul(x=%r, y=%e)
            return %y
            """
        ),
        opset="CoreML8",
    )
    result = run(program, FoldConstants()).program
    assert result.main.body.op_types() == {"const": 2, "reshape": 1, "mul": 1}
    inputs = {"x": np.random.default_rng(0).standard_normal((1, 8, 4)).astype(np.float16)}
    assert np.array_equal(execute(program, inputs)["y"], execute(result, inputs)["y"])


def test_a_long_chain_takes_linear_time() -> None:
    kind = TensorType(FP16, (4,))

    def fold(count: int) -> Callable[[], object]:
        program = Program([Function("main", [("x", kind)], "CoreML8")])
        body = Block()
        program.main.add_block("CoreML8", body)
        value = Op("const", {}, [("v", kind)], {"val": Const.of(np.ones(4, np.float16))})
        body.append(value)
        for index in range(count):
            value = Op("relu", {"x": value.output}, [(f"v{index}", kind)])
            body.append(value)
        body.set_outputs([value.output])
        return lambda: FoldConstants().apply(program, Context())

    assert grows_linearly(fold)


def test_a_const_of_many_folded_ops_takes_linear_time() -> None:
    kind = TensorType(FP16, (4,))

    def fold(count: int) -> Callable[[], object]:
        program = Program([Function("main", [("x", kind)], "CoreML8")])
        body = Block()
        program.main.add_block("CoreML8", body)
        shared = Op("const", {}, [("v", kind)], {"val": Const.of(np.ones(4, np.float16))})
        body.append(shared)
        for index in range(count):
            body.append(Op("relu", {"x": shared.output}, [(f"v{index}", kind)]))
            assert body.last is not None
            body.append(Op("add", {"x": program.main.inputs[0], "y": body.last.output}, [(f"y{index}", kind)]))
        assert body.last is not None
        body.set_outputs([body.last.output])
        return lambda: FoldConstants().apply(program, Context())

    assert grows_linearly(fold, 100)


UNARY = ("abs", "exp", "relu", "sigmoid", "square", "tanh")
BINARY = ("add", "maximum", "mul", "sub")


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Arithmetic on an input, consts and literals, in any mixture, some of it in a conditional."""
    with FunctionBuilder("main", {"x": TensorType(FP16, (2, 3)), "p": TensorType(BOOL)}, IOS18) as f:
        known: list[Value] = [f.inputs["x"]]

        def grow(builder: Builder, values: list[Value]) -> list[Value]:
            values = list(values)
            for _ in range(draw(st.integers(1, 5))):
                if draw(st.booleans()):
                    values.append(builder.const(draw(NUMBERS)))
                elif draw(st.booleans()):
                    values.append(builder.op(draw(st.sampled_from(UNARY)), x=draw(st.sampled_from(values))).output)
                else:
                    operands = [draw(st.one_of(st.sampled_from(values), NUMBERS.map(Const.of))) for _ in range(2)]
                    values.append(builder.op(draw(st.sampled_from(BINARY)), x=operands[0], y=operands[1]).output)
            return values

        known = grow(f, known)
        with f.nested() as yes, f.nested() as no:
            for block in (yes, no):
                block.outputs(grow(block, known)[-1])
        known.append(f.op("cond", pred=f.inputs["p"], blocks=[yes, no], type=TensorType(FP16, (2, 3))).output)
        known = grow(f, known)
        f.outputs(*known[-3:])
    return build_program(f)


NUMBERS = hnp.arrays(np.float16, st.just((2, 3)), elements=st.floats(-4, 4, width=16))


@settings(max_examples=60, deadline=None)
@given(programs(), NUMBERS, st.booleans())
def test_any_program_means_the_same(program: Program, x: Array, p: bool) -> None:
    result = run(program, FoldConstants()).program
    inputs = {"x": x, "p": np.array(p)}
    before, after = execute(program, inputs), execute(result, inputs)
    assert list(before) == list(after)
    for name, array in before.items():
        assert np.array_equal(array, after[name], equal_nan=True)
    assert FoldConstants().apply(result, Context()) == 0
