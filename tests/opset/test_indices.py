"""What is proven not to be negative is not guarded, and what is guarded is guarded once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ir.core import Program
from ir.opset import IOS15, IOS16, IOS17
from tests.opset.cases import ints, numbers
from tests.opset.check import fragment, raised
from tests.opset.evaluate import Array, evaluate


def guards(program: Program) -> int:
    return len(list(program.ops("select")))


def guarded(definition: str, inputs: str = "%x: fp16[8], %k: int32[2], %f: fp16[2, 3]") -> int:
    """How many guards a gather at `%i` gets, where `%i` is defined so."""
    return guards(raised(fragment(f"inputs {inputs}\n{definition}\n%y: fp16[2] = gather(x=%x, indices=%i, axis=0)", IOS15), IOS17))


@pytest.mark.parametrize(
    "definition",
    [
        "%i: int32[2] = const([0, 7])",
        "%i: int32[2] = reduce_argmax(x=%f, axis=1)",
        "%v: fp16[2], %i: int32[2] = topk(x=%k, k=2)".replace("fp16", "int32"),
        "%i: int32[2] = argsort(x=%k)",
        "%i: int32[2] = shape(x=%f)",
        "%i: int32[2] = abs(x=%k)",
        "%i: int32[2] = maximum(x=%k, y=0)",
        "%n: int32[2] = abs(x=%k)\n%i: int32[2] = minimum(x=%n, y=%n)",
        "%n: int32[2] = shape(x=%f)\n%i: int32[2] = add(x=%n, y=2)",
        "%n: int32[2] = shape(x=%f)\n%i: int32[2] = mul(x=2, y=%n)",
        "%n: int32[2] = shape(x=%f)\n%i: int32[2] = floor_div(x=%n, y=2)",
        "%i: int32[2] = range_1d(start=0, end=4, step=2)",
        "%r: fp16[2, 3] = relu(x=%f)\n%s: fp16[2] = reduce_max(x=%r, axes=[1])\n%i: int32[2] = cast(x=%s, dtype=\"int32\")",
        "%r: fp16[2, 3] = clip(x=%f, alpha=fp16(0.0), beta=fp16(9.0))\n%s: fp16[2] = reduce_max(x=%r, axes=[1])\n"
        "%i: int32[2] = cast(x=%s, dtype=\"int32\")",
        "%n: int32[2] = shape(x=%f)\n%m: int32[2, 1] = expand_dims(x=%n, axes=[1])\n%t: int32[1, 2] = transpose(x=%m, perm=[1, 0])\n"
        "%i: int32[2] = squeeze(x=%t, axes=[0])",
        "%n: int32[2] = shape(x=%f)\n%m: int32[4] = concat(values=(%n, %n), axis=0, interleave=false)\n"
        "%i: int32[2] = slice_by_index(x=%m, begin=[1], end=[3])",
        "%n: int32[2] = shape(x=%f)\n%i: int32[2] = gather(x=%n, indices=[0, 1], axis=0)",
        "%c: bool[2] = greater(x=%k, y=0)\n%i: int32[2] = cast(x=%c, dtype=\"int32\")",
        "%c: bool[2] = greater(x=%k, y=0)\n%i: int32[2] = select(cond=%c, a=[1, 2], b=[3, 4])",
    ],
)  # fmt: skip
def test_what_cannot_be_negative_is_not_guarded(definition: str) -> None:
    assert guarded(definition) == definition.count("select(")


@pytest.mark.parametrize(
    "definition",
    [
        "%i: int32[2] = add(x=%k, y=1)",
        "%n: int32[2] = shape(x=%f)\n%i: int32[2] = sub(x=%n, y=3)",
        "%n: int32[2] = abs(x=%k)\n%i: int32[2] = mul(x=%n, y=-1)",
        "%i: int32[2] = minimum(x=%k, y=7)",
        "%i: int32[2] = maximum(x=%k, y=-1)",
        "%i: int32[2] = range_1d(start=-1, end=1, step=1)",
        "%r: fp16[2, 3] = clip(x=%f, alpha=fp16(-1.0), beta=fp16(9.0))\n%s: fp16[2] = reduce_max(x=%r, axes=[1])\n"
        "%i: int32[2] = cast(x=%s, dtype=\"int32\")",
        "%v: int32[2], %w: int32[2] = topk(x=%k, k=2)\n%i: int32[2] = identity(x=%v)",
        "%n: int32[2] = shape(x=%f)\n%m: int32[4] = concat(values=(%n, %k), axis=0, interleave=false)\n"
        "%i: int32[2] = slice_by_index(x=%m, begin=[1], end=[3])",
    ],
)  # fmt: skip
def test_what_may_be_negative_is_guarded(definition: str) -> None:
    assert guarded(definition) == 1


def test_unsigned_indices_are_not_guarded() -> None:
    text = "inputs %x: fp16[8], %i: uint16[2]\n%y: fp16[2] = gather(x=%x, indices=%i, axis=0)"
    assert guards(raised(fragment(text, IOS16), IOS17)) == 0


def test_long_chains_are_followed_without_recursion() -> None:
    lines = ["%i0: int32[2] = abs(x=%k)", *(f"%i{n + 1}: int32[2] = add(x=%i{n}, y=%i{n})" for n in range(3000))]
    assert guarded("\n".join(lines) + "\n%i: int32[2] = identity(x=%i3000)") == 0


GUARD = """
    %c: bool[2] = {test}(x=%k, y=0)
    %m: int32[2] = add(x={left}, y={right})
    %i: int32[2] = select(cond=%c, a={a}, b={b})
    """


@pytest.mark.parametrize(("left", "right"), [("%k", "8"), ("8", "%k")])
@pytest.mark.parametrize(("test", "a", "b"), [("greater_equal", "%k", "%m"), ("less", "%m", "%k")])
def test_guard_that_is_there_already_is_enough(left: str, right: str, test: str, a: str, b: str) -> None:
    assert guarded(GUARD.format(test=test, left=left, right=right, a=a, b=b)) == 1


@pytest.mark.parametrize(("test", "right", "a", "b"), [("greater_equal", "7", "%k", "%m"), ("less", "8", "%k", "%m")])
def test_what_only_looks_like_a_guard_is_guarded(test: str, right: str, a: str, b: str) -> None:
    assert guarded(GUARD.format(test=test, left="%k", right=right, a=a, b=b)) == 2


def test_guard_with_a_measured_size_is_recognized() -> None:
    text = """
        inputs %x: fp16[?], %k: int32[2]
        %s: int32[1] = shape(x=%x)
        %n: int32 = gather(x=%s, indices=0, axis=0)
        %c: bool[2] = greater_equal(x=%k, y=0)
        %m: int32[2] = add(x=%k, y=%n)
        %i: int32[2] = select(cond=%c, a=%k, b=%m)
        %y: fp16[2] = gather(x=%x, indices=%i, axis=0)
        """
    assert guards(raised(fragment(text, IOS15), IOS17)) == 1
    other = text.replace("%x: fp16[?]", "%x: fp16[?], %z: fp16[?]").replace("shape(x=%x)", "shape(x=%z)")
    assert guards(raised(fragment(other, IOS15), IOS17)) == 2


def test_guard_is_made_once_for_indices_and_a_size() -> None:
    text = """
        inputs %x: fp16[8], %z: fp16[8, 2], %w: fp16[9], %i: int32[2]
        %a: fp16[2] = gather(x=%x, indices=%i, axis=0)
        %b: fp16[2, 2] = gather(x=%z, indices=%i, axis=0)
        %c: fp16[2] = gather(x=%w, indices=%i, axis=0)
        """
    program = raised(fragment(text, IOS15), IOS17)
    used = [op["indices"] for op in program.ops("gather")]
    assert guards(program) == 2
    assert used[0] is used[1]
    assert used[0] is not used[2]


def test_shared_constant_stays_for_those_that_still_use_it() -> None:
    text = """
        inputs %x: fp16[8], %z: fp16[8], %k: int32[2]
        %i: int32[2] = const([-1, 0])
        %a: fp16[2] = gather(x=%x, indices=%i, axis=0)
        %b: fp16[2] = gather(x=%z, indices=%i, axis=0)
        %c: int32[2] = add(x=%k, y=%i)
        return %a, %b, %c
        """
    program = raised(fragment(text, IOS15), IOS17)
    (add,) = program.ops("add")
    first, second = (op["indices"] for op in program.ops("gather"))
    assert add["y"].op.attributes["val"].numpy().tolist() == [-1, 0]  # type: ignore[union-attr]
    assert first is second
    assert first.op.attributes["val"].numpy().tolist() == [7, 0]  # type: ignore[union-attr]


def test_constant_keeps_its_type_where_that_holds_the_new_index() -> None:
    text = "inputs %x: fp16[{}]\n%i: int16[2] = const([-1, 0])\n%y: fp16[2] = gather(x=%x, indices=%i, axis=0, batch_dims=0)"
    small, large = (next(raised(fragment(text.format(size), IOS16), IOS17).ops("gather"))["indices"] for size in (8, 40000))
    assert repr(small.type) == "int16[2]"
    assert repr(large.type) == "int32[2]"


def test_int16_indices_are_widened_before_they_are_moved() -> None:
    program = fragment("inputs %x: fp32[300], %i: int16[2]\n%y: fp32[2] = gather(x=%x, indices=%i, axis=0, batch_dims=0)", IOS16)
    result = raised(program, IOS17)
    inputs: dict[str, Array] = {"x": numbers(300), "i": ints([-1, 299]).astype("int16")}
    assert [op.op_type for op in result.main.body if op.op_type != "const"] == ["cast", "greater_equal", "add", "select", "gather"]
    assert evaluate(result.main, inputs)[0].tolist() == evaluate(program.main, inputs)[0].tolist()


@given(
    st.sampled_from(["fp32[3, 4, 5]", "fp32[?, ?, ?]", "fp32[3, ?, 5]"]),
    st.integers(-3, 2),
    st.data(),
)
def test_guarded_gather_gives_what_the_negative_index_gave(kind: str, axis: int, data: st.DataObject) -> None:
    size = (3, 4, 5)[axis]
    indices = data.draw(st.lists(st.integers(-size, size - 1), min_size=2, max_size=2))
    program = fragment(f"inputs %x: {kind}, %i: int32[2]\n%y: fp32[?, ?, ?] = gather(x=%x, indices=%i, axis={axis})", IOS15)
    inputs = {"x": numbers(3, 4, 5), "i": ints(indices)}
    (expected,), (found,) = evaluate(program.main, inputs), evaluate(raised(program, IOS17).main, inputs)
    assert found.tolist() == expected.tolist()
