"""`Cleanup`: all passes to a fixed point, as one pass."""

from __future__ import annotations

from time import perf_counter

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ir.builder import Builder, FunctionBuilder, build_program
from ir.const import Const
from ir.core import Op, Program, Value
from ir.opset import IOS16, IOS18
from ir.text import print_program
from ir.types import BOOL, FP16, FP32, TensorType
from ir.verify import structure
from mlpasses.cleanup.cleanup import Cleanup
from mlpasses.context import Context
from mlpasses.manager import run
from mlpasses.pipeline import Pipeline, Repeat
from mlpasses.recipe import dump_recipe, load_recipe
from tests.cleanup.check import check, check_meaning, fragment, interface, unchanged
from tests.strategies import Wildness, programs

BEFORE = """
    inputs %x: fp16[1, 2, 3], %p: bool
    %one: fp16 = const(1.0)
    %unused: fp16[1, 2, 3] = exp(x=%x)
    %a: fp32[1, 2, 3] = cast(x=%x, dtype="fp32")
    %b: fp16[1, 2, 3] = cast(x=%a, dtype="fp16")
    %c: fp16[1, 3, 2] = transpose(x=%b, perm=[0, 2, 1])
    %d: fp16[1, 3, 2] = mul(x=%c, y=%one)
    %e: fp16[1, 2, 3] = transpose(x=%d, perm=[0, 2, 1])
    %f: fp16[6] = reshape(x=%e, shape=[6])
    %g: fp16[2, 3] = reshape(x=%f, shape=[2, 3])
    %h: fp16[2, 3] = reshape(x=%x, shape=[2, 3])
    %s: int32[3] = shape(x=%x)
    %n: int32[2] = slice_by_index(x=%s, begin=[1], end=[3])
    %i: fp16[2, 3] = reshape(x=%h, shape=%n)
    %j: fp16[2, 3] = add(x=%g, y=%i)
    %k: fp16[2, 3] = cond(pred=%p) block {
      %l: fp16[2, 3] = add(x=%h, y=%g)
      %m: fp16[2, 3] = tanh(x=%l)
      return %m
    } block {
      %q: fp16[2, 3] = sub(x=%j, y=fp16(0.0))
      %r: fp16[2, 3] = relu(x=%q)
      return %r
    }
    %y: fp16[2, 3] = identity(x=%k)
    return %y, %j
    """


def test_everything_comes_together() -> None:
    check(
        Cleanup(),
        BEFORE,
        """
        inputs %x: fp16[1, 2, 3], %p: bool
        %g: fp16[2, 3] = reshape(x=%x, shape=[2, 3])
        %j: fp16[2, 3] = add(x=%g, y=%g)
        %y: fp16[2, 3] = cond(pred=%p) block {
          %m: fp16[2, 3] = tanh(x=%j)
          return %m
        } block {
          %r: fp16[2, 3] = relu(x=%j)
          return %r
        }
        return %y, %j
        """,
    )


def test_a_clean_program_is_not_changed() -> None:
    unchanged(
        Cleanup(),
        """
        inputs %x: fp16[4], %s: state<fp16[4]>
        %old: fp16[4] = read_state(input=%s)
        %new: fp16[4] = add(x=%old, y=%x)
        write_state(input=%s, data=%new)
        %y: fp16[4] = relu(x=%new)
        return %y
        """,
    )


def test_the_fixed_point_is_reached_in_the_first_round() -> None:
    rows = run(fragment(BEFORE), Cleanup()).report.passes
    starts = [number for number, row in enumerate(rows) if row.name == "fold-constants"]
    assert len(starts) == 2
    assert sum(row.changes for row in rows[starts[1] :]) == 0


def test_what_is_left_alone_is_said_once() -> None:
    result = run(fragment("inputs %x: fp16[4]\n%m: fp16[4] = mystery(x=%x)\n%y: fp16[4] = identity(x=%x)\nreturn %y"), Cleanup())
    assert [note.where for note in result.report.notes] == ["mystery m"]


def test_an_order_and_names_that_are_illegal_are_mended_first() -> None:
    program = fragment('inputs %x: fp16[4]\n%"a/1": fp16[4] = exp(x=%x)\n%b: fp16[4] = relu(x=%"a/1")\nreturn %b')
    ops = {op.op_type: op for op in program.main.body}
    ops["exp"].move_after(ops["relu"])
    assert Cleanup().apply(program, Context()) == 2
    structure.verify(program)
    assert print_program(program) == print_program(
        fragment("inputs %x: fp16[4]\n%a_1: fp16[4] = exp(x=%x)\n%b: fp16[4] = relu(x=%a_1)\nreturn %b")
    )


class TestAsAPass:
    def test_it_stands_in_recipes(self) -> None:
        pipeline = load_recipe("version: 1\npasses:\n  - cleanup\n")
        assert pipeline == Pipeline(Cleanup())
        assert load_recipe(dump_recipe(pipeline)) == pipeline

    def test_it_is_one_pass_of_a_pipeline(self) -> None:
        pipeline = Pipeline(Cleanup(), Repeat(Cleanup()))
        assert pipeline.without("cleanup", nth=1) == Pipeline(Cleanup(), Repeat(Pipeline()))

    def test_it_consists_of_the_clean_up_passes(self) -> None:
        assert list(dict.fromkeys(each.name for each in Cleanup().flat())) == [
            "sanitize-names", "sort-topologically", "dead-code", "fold-constants", "remove-noops", "merge-casts", "merge-transposes",
            "merge-reshapes", "deduplicate-consts", "common-subexpressions",
        ]  # fmt: skip


# random programs whose ops mean something

SHAPE = (2, 3, 4)


class Growing:
    """Draws a function op by op, of what clean-up passes look for."""

    def __init__(self, draw: st.DrawFn, builder: Builder, values: list[Value]) -> None:
        self.draw = draw
        self.builder = builder
        self.values = values

    def grow(self, count: int, depth: int = 0) -> None:
        for _ in range(count):
            step = self.draw(st.sampled_from(STEPS if depth == 0 else STEPS[:-1]))
            x = self.draw(st.sampled_from(self.values))
            made = getattr(self, step)(x)
            self.values.append(made.output if isinstance(made, Op) else made)

    def unary(self, x: Value) -> Op:
        return self.builder.op(self.draw(st.sampled_from(["abs", "sign", "square", "identity"])), x=x)

    def binary(self, x: Value) -> Op:
        alike = [value for value in self.values if value.type is x.type]
        return self.builder.op(self.draw(st.sampled_from(["add", "mul", "sub", "maximum"])), x=x, y=self.draw(st.sampled_from(alike)))

    def constant(self, x: Value) -> Op:
        kind = x.type
        assert isinstance(kind, TensorType)
        number = self.draw(st.sampled_from([0.0, -0.0, 1.0, 2.0] if kind.dtype.is_float else [0, 1, 2]))
        literal = Const.of(number, kind.dtype)
        operand = literal if self.draw(st.booleans()) else self.builder.const(literal)
        return self.builder.op(self.draw(st.sampled_from(["add", "mul", "sub", "maximum"])), x=x, y=operand)

    def cast(self, x: Value) -> Op:
        return self.builder.op("cast", x=x, dtype=self.draw(st.sampled_from(["fp16", "fp32"])))

    def transpose(self, x: Value) -> Op:
        assert isinstance(x.type, TensorType)
        return self.builder.op("transpose", x=x, perm=self.draw(st.permutations(range(x.type.rank))))

    def reshape(self, x: Value) -> Op:
        shape = self.draw(st.sampled_from([[2, 3, 4], [4, 6], [24], [-1, 4], [3, -1, 2], [1, 24]]))
        return self.builder.op("reshape", x=x, shape=shape)

    def expand(self, x: Value) -> Op:
        assert isinstance(x.type, TensorType)
        if x.type.rank < 4:
            return self.builder.op("expand_dims", x=x, axes=[self.draw(st.integers(0, x.type.rank))])
        return self.builder.op("reshape", x=x, shape=[24])

    def slice(self, x: Value) -> Op:
        assert isinstance(x.type, TensorType)
        shape = x.type.static_shape
        stride = [self.draw(st.sampled_from([1, 1, 1, -1])) for _ in shape]
        whole = [True] * len(shape)
        return self.builder.op(
            "slice_by_index", x=x, begin=[0] * len(shape), end=list(shape), stride=stride, begin_mask=whole, end_mask=whole
        )

    def branch(self, x: Value) -> Op:
        blocks = []
        for _ in range(2):
            with self.builder.nested() as nested:
                inner = Growing(self.draw, nested, list(self.values))
                inner.grow(self.draw(st.integers(0, 3)), 1)
                nested.outputs(nested.op("square", x=x))
                blocks.append(nested)
        return self.builder.op("cond", pred=self.builder.inputs["p"], outputs=[(self.builder.fresh("taken"), x.type)], blocks=blocks)


STEPS = ["unary", "binary", "constant", "cast", "transpose", "reshape", "expand", "slice", "branch"]


@st.composite
def meaningful(draw: st.DrawFn) -> Program:
    kinds = {"x": TensorType(FP16, SHAPE), "z": TensorType(FP32, SHAPE), "p": TensorType(BOOL)}
    opset = draw(st.sampled_from([IOS16, IOS18]))
    with FunctionBuilder("main", kinds, opset) as builder:
        growing = Growing(draw, builder, [builder.inputs["x"], builder.inputs["z"]])
        growing.grow(draw(st.integers(1, 14)))
        made = [value for value in growing.values if value.op is not None]
        builder.outputs(*draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True)))
    return build_program(builder)


@settings(max_examples=100, deadline=None)
@given(meaningful())
def test_random_programs_keep_their_interface_and_their_meaning(program: Program) -> None:
    result = run(program, Cleanup())
    assert interface(result.program) == interface(program)
    check_meaning(program, result.program, runs=1)
    assert sum(row.changes for row in run(result.program, Cleanup()).report.passes) == 0
    assert sum(1 for _ in result.program.ops()) <= sum(1 for _ in program.ops())


@given(programs(wildness=Wildness(shadowing=True)))
def test_programs_that_mean_nothing_stay_structurally_sound(program: Program) -> None:
    assume(not structure.problems(program))  # what hides a name may hide one that is used
    before = interface(program)
    Cleanup().apply(program, Context())
    structure.verify(program)
    assert interface(program) == before
    assert Cleanup().apply(program, Context()) == 0


def chain(length: int) -> Program:
    """Pairs of transposes, pairs of casts and doubled constants, one behind the other."""
    builder = FunctionBuilder("main", {"x": TensorType(FP16, (2, 2))}, IOS18)
    value = builder.inputs["x"]
    for _ in range(length):
        value = builder.op("transpose", x=value, perm=[1, 0]).output
        value = builder.op("transpose", x=value, perm=[1, 0]).output
        value = builder.op("cast", x=builder.op("cast", x=value, dtype="fp32"), dtype="fp16").output
        value = builder.op("add", x=value, y=[1.0, 2.0]).output
    builder.outputs(value)
    return build_program(builder)


def test_a_long_chain_takes_linear_time() -> None:
    length = 1000
    program = chain(length)
    started = perf_counter()
    result = run(program, Cleanup())
    assert perf_counter() - started < 30  # 1 s where it is linear, minutes where it is quadratic
    assert sum(1 for _ in result.program.ops()) == length + 1
