"""`RemoveNoops`: each kind of op that does nothing goes, and its like that does something stays."""

from __future__ import annotations

import pytest

from ir.opset import IOS15, IOS16, IOS17, IOS18, Opset
from mlpasses.cleanup.noops import RemoveNoops
from mlpasses.manager import run
from tests.cleanup.check import check, fragment, kinds, unchanged

OPSETS = (IOS15, IOS18)


def goes(kind: str, op: str, opset: Opset = IOS18) -> None:
    """`op`, an op of %x that makes %a, goes."""
    head = f"inputs %x: {kind}\n"
    check(RemoveNoops(), f"{head}%a: {kind} = {op}\n%y: {kind} = abs(x=%a)\nreturn %y", f"{head}%y: {kind} = abs(x=%x)\nreturn %y", opset)


def stays(kind: str, op: str, result: str = "", opset: Opset = IOS18) -> None:
    result = result or kind
    unchanged(RemoveNoops(), f"inputs %x: {kind}\n%a: {result} = {op}\n%y: {result} = identity(x=%a)\nreturn %a, %y", opset)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize(
    "op",
    [
        "identity(x=%x)",
        'cast(x=%x, dtype="fp32")',
        "reshape(x=%x, shape=[2, 3])",
        "reshape(x=%x, shape=[-1, 3])",
        "transpose(x=%x, perm=[0, 1])",
        "transpose(x=%x, perm=[-2, 1])",
        "slice_by_index(x=%x, begin=[0, 0], end=[2, 3])",
        "slice_by_index(x=%x, begin=[1, 7], end=[0, 3], begin_mask=[true, true], end_mask=[true, false], stride=[1, 1])",
        "slice_by_size(x=%x, begin=[0, 0], size=[-1, 3])",
        'pad(x=%x, pad=[0, 0, 0, 0], mode="constant", constant_val=0.0)',
        'pad(x=%x, pad=[0, 0], mode="reflect")',
        "tile(x=%x, reps=[1, 1])",
        "concat(values=(%x), axis=1, interleave=false)",
        "split(x=%x, num_splits=1, axis=0)",
        "mul(x=%x, y=1.0)",
        "mul(x=1.0, y=%x)",
        "mul(x=%x, y=fp32[2, 3]([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]))",
        "real_div(x=%x, y=[1.0])",
        "pow(x=%x, y=1.0)",
        "sub(x=%x, y=0.0)",
        "add(x=%x, y=-0.0)",
        "add(x=-0.0, y=%x)",
    ],
)
def test_of_a_float_goes(op: str, opset: Opset) -> None:
    goes("fp32[2, 3]", op, opset)


@pytest.mark.parametrize("op", ["add(x=%x, y=0)", "sub(x=%x, y=0)", "mul(x=%x, y=1)", "mul(x=1, y=%x)", "floor_div(x=%x, y=1)"])
def test_of_an_integer_goes(op: str) -> None:
    goes("int32[4]", op)


@pytest.mark.parametrize(
    "op",
    [
        "identity(x=%x)",
        "reshape(x=%x, shape=[-1, 4])",
        "transpose(x=%x, perm=[0, 1])",
        "slice_by_index(x=%x, begin=[0, 0], end=[0, 4], end_mask=[true, false])",
        "slice_by_size(x=%x, begin=[0, 0], size=[-1, -1])",
        "pad(x=%x, pad=[0, 0, 0, 0])",
        "tile(x=%x, reps=[1, 1])",
        "mul(x=%x, y=1.0)",
        "squeeze(x=%x, axes=[1])",
    ],
)
def test_of_an_unknown_dimension_goes(op: str) -> None:
    goes("fp32[?, 4]", op)


@pytest.mark.parametrize(
    ("op", "result"),
    [
        ('cast(x=%x, dtype="fp16")', "fp16[2, 3]"),
        ("reshape(x=%x, shape=[3, 2])", "fp32[3, 2]"),
        ("expand_dims(x=%x, axes=[0])", "fp32[1, 2, 3]"),
        ("transpose(x=%x, perm=[1, 0])", "fp32[3, 2]"),
        ("slice_by_index(x=%x, begin=[0, 0], end=[2, 2])", "fp32[2, 2]"),
        ("slice_by_index(x=%x, begin=[-1, 0], end=[0, 3], stride=[-1, 1], end_mask=[true, false])", "fp32[2, 3]"),
        ("slice_by_size(x=%x, begin=[1, 0], size=[-1, 3])", "fp32[1, 3]"),
        ("pad(x=%x, pad=[0, 1])", "fp32[2, 4]"),
        ("tile(x=%x, reps=[1, 2])", "fp32[2, 6]"),
        ("concat(values=(%x, %x), axis=0)", "fp32[4, 3]"),
        ("add(x=%x, y=0.0)", "fp32[2, 3]"),
        ("add(x=%x, y=[0.0, -0.0, -0.0])", "fp32[2, 3]"),
        ("sub(x=%x, y=-0.0)", "fp32[2, 3]"),
        ("sub(x=0.0, y=%x)", "fp32[2, 3]"),
        ("real_div(x=1.0, y=%x)", "fp32[2, 3]"),
        ("floor_div(x=%x, y=1.0)", "fp32[2, 3]"),
        ("mul(x=%x, y=1.5)", "fp32[2, 3]"),
        ("mul(x=%x, y=[1.0, 1.0, 2.0])", "fp32[2, 3]"),
        ("mul(x=%x, y=fp32[1, 1, 1]([[[1.0]]]))", "fp32[1, 2, 3]"),
        ("mul(x=%x, y=fp32[2, 2, 3]([[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]]))", "fp32[2, 2, 3]"),
    ],
)
def test_of_a_float_stays(op: str, result: str) -> None:
    stays("fp32[2, 3]", op, result)


@pytest.mark.parametrize(
    ("op", "result"),
    [
        ("reshape(x=%x, shape=[-1, 1])", "fp32[?, 1]"),
        ("tile(x=%x, reps=[2, 2])", "fp32[?, 4]"),
        ("slice_by_index(x=%x, begin=[0, 0], end=[2, 2])", "fp32[?, 2]"),
        ("mul(x=%x, y=fp32[3, 2]([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]))", "fp32[3, 2]"),
    ],
)
def test_of_an_unknown_dimension_stays(op: str, result: str) -> None:
    stays("fp32[?, 2]", op, result)


def test_a_reshape_of_two_unknown_dimensions_may_move_elements_and_stays() -> None:
    stays("fp32[?, ?]", "reshape(x=%x, shape=[1, -1])", "fp32[?, ?]")


def test_a_concat_of_a_scalar_makes_a_vector_and_stays() -> None:
    stays("fp32", "concat(values=(%x), axis=0)", "fp32[1]")


@pytest.mark.parametrize("opset", [IOS15, IOS16, IOS17, IOS18])
def test_constants_may_be_ops(opset: Opset) -> None:
    check(
        RemoveNoops(),
        """
        inputs %x: fp16[2]
        %one: fp16 = const(1.0)
        %a: fp16[2] = mul(x=%x, y=%one)
        %y: fp16[2] = relu(x=%a)
        return %y
        """,
        """
        inputs %x: fp16[2]
        %y: fp16[2] = relu(x=%x)
        return %y
        """,
        opset,
    )


def test_a_chain_goes_at_once() -> None:
    check(
        RemoveNoops(),
        """
        inputs %x: fp16[2]
        %a: fp16[2] = identity(x=%x)
        %b: fp16[2] = cast(x=%a, dtype="fp16")
        %c: fp16[2] = reshape(x=%b, shape=[2])
        %y: fp16[2] = add(x=%c, y=%a)
        return %y
        """,
        """
        inputs %x: fp16[2]
        %y: fp16[2] = add(x=%x, y=%x)
        return %y
        """,
    )


class TestInterface:
    def test_what_the_noop_is_of_takes_over_the_name_of_an_output(self) -> None:
        check(
            RemoveNoops(),
            """
            inputs %x: fp16[2]
            %a: fp16[2] = relu(x=%x)
            %y: fp16[2] = identity(x=%a)
            return %y
            """,
            """
            inputs %x: fp16[2]
            %y: fp16[2] = relu(x=%x)
            return %y
            """,
        )

    @pytest.mark.parametrize("op", ["identity(x=%x)", "mul(x=%x, y=1.0)"])
    def test_an_input_that_is_returned_under_another_name_stays_an_op(self, op: str) -> None:
        unchanged(RemoveNoops(), f"inputs %x: fp16[2]\n%y: fp16[2] = {op}\nreturn %y")

    def test_a_value_that_is_returned_twice_stays_two(self) -> None:
        unchanged(
            RemoveNoops(),
            """
            inputs %x: fp16[2]
            %a: fp16[2] = relu(x=%x)
            %y: fp16[2] = identity(x=%a)
            return %a, %y
            """,
        )

    def test_a_constant_that_is_returned_stays_behind_its_op(self) -> None:
        unchanged(
            RemoveNoops(),
            """
            inputs %x: fp16[2]
            %c: fp16[2] = const([1.0, 2.0])
            %y: fp16[2] = identity(x=%c)
            return %x, %y
            """,
        )

    def test_what_a_nested_block_returns_stays_an_op_of_it(self) -> None:
        unchanged(
            RemoveNoops(),
            """
            inputs %x: fp16[2], %p: bool
            %y: fp16[2] = cond(pred=%p) block {
              %a: fp16[2] = identity(x=%x)
              return %a
            } block {
              %b: fp16[2] = relu(x=%x)
              return %b
            }
            return %y
            """,
        )

    def test_noops_in_nested_blocks_go(self) -> None:
        result = check(
            RemoveNoops(),
            """
            inputs %x: fp16[2], %p: bool
            %i: fp16[2] = identity(x=%x)
            %y: fp16[2] = cond(pred=%p) block {
              %a: fp16[2] = exp(x=%i)
              %b: fp16[2] = identity(x=%a)
              return %b
            } block {
              %c: fp16[2] = relu(x=%x)
              return %c
            }
            return %y
            """,
            """
            inputs %x: fp16[2], %p: bool
            %y: fp16[2] = cond(pred=%p) block {
              %a: fp16[2] = exp(x=%x)
              return %a
            } block {
              %c: fp16[2] = relu(x=%x)
              return %c
            }
            return %y
            """,
        )
        assert kinds(result.program) == ["cond", "exp", "relu"]


def test_the_result_of_a_constexpr_op_stays_behind_its_identity() -> None:
    unchanged(
        RemoveNoops(),
        """
        inputs %x: fp16[2]
        %w: fp16[2] = constexpr_blockwise_shift_scale(data=int8[2]([1, 2]), scale=fp16[1]([0.5]))
        %i: fp16[2] = identity(x=%w)
        %y: fp16[2] = add(x=%x, y=%i)
        return %y
        """,
    )


def test_an_identity_of_a_list_stays() -> None:
    program = fragment(
        """
        inputs %x: fp32[2]
        %l: list<fp32[2], 1> = make_list(init_length=1, dynamic_length=false, elem_shape=[2], dtype="fp32")
        %m: list<fp32[2], 1> = identity(x=%l)
        %n: list<fp32[2], 1> = list_write(ls=%m, index=0, value=%x)
        %y: fp32[2] = list_read(ls=%n, index=0)
        return %y
        """
    )
    assert run(program, RemoveNoops()).report.passes[0].changes == 0
