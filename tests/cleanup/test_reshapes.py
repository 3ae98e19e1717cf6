"""`MergeReshapes`: the last of several ops that keep the elements in their order is enough."""

from __future__ import annotations

import pytest

from ir.opset import IOS15, IOS16, IOS17, IOS18, Opset
from mlpasses.cleanup.reshapes import MergeReshapes
from tests.cleanup.check import check, kinds, unchanged

OPSETS = (IOS15, IOS16, IOS17, IOS18)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("shape", ["[3, 2]", "[-1, 2]", "[3, -1]"])
def test_two_reshapes_are_the_second(shape: str, opset: Opset) -> None:
    check(
        MergeReshapes(),
        f"""
        inputs %x: fp16[2, 3]
        %a: fp16[6] = reshape(x=%x, shape=[-1])
        %y: fp16[3, 2] = reshape(x=%a, shape={shape})
        return %y
        """,
        f"""
        inputs %x: fp16[2, 3]
        %y: fp16[3, 2] = reshape(x=%x, shape={shape})
        return %y
        """,
        opset,
    )


@pytest.mark.parametrize(
    ("first", "between", "second", "result"),
    [
        ("reshape(x=%x, shape=[6])", "[6]", "expand_dims(x=%a, axes=[0])", "[1, 6]"),
        ("expand_dims(x=%x, axes=[0])", "[1, 2, 3]", "expand_dims(x=%a, axes=[-1])", "[1, 2, 3, 1]"),
        ("reshape(x=%x, shape=[1, 6])", "[1, 6]", "squeeze(x=%a, axes=[0])", "[6]"),
        ("reshape(x=%x, shape=[3, 1, 2])", "[3, 1, 2]", "flatten2d(x=%a, axis=1)", "[3, 2]"),
    ],
)
def test_any_two_are_one_reshape_to_the_last_shape(first: str, between: str, second: str, result: str) -> None:
    rank = result.count(",") + 1
    check(
        MergeReshapes(),
        f"inputs %x: fp16[2, 3]\n%a: fp16{between} = {first}\n%y: fp16{result} = {second}\nreturn %y",
        f"""
        inputs %x: fp16[2, 3]
        %y_reshape_shape: int32[{rank}] = const({result})
        %y: fp16{result} = reshape(x=%x, shape=%y_reshape_shape)
        return %y
        """,
    )


@pytest.mark.parametrize(
    ("kind", "first", "between", "second"),
    [
        ("[2, 3]", "expand_dims(x=%x, axes=[1])", "[2, 1, 3]", "squeeze(x=%a, axes=[1])"),
        ("[?, 3]", "expand_dims(x=%x, axes=[1])", "[?, 1, 3]", "squeeze(x=%a, axes=[1])"),
        ("[1, 3]", "squeeze(x=%x, axes=[0])", "[3]", "expand_dims(x=%a, axes=[0])"),
        ("[2, 3]", "reshape(x=%x, shape=[6])", "[6]", "reshape(x=%a, shape=[2, 3])"),
        ("[?, 3]", "reshape(x=%x, shape=[3, -1])", "[3, ?]", "reshape(x=%a, shape=[-1, 3])"),
    ],
)
def test_what_leads_back_to_the_shape_of_x_goes(kind: str, first: str, between: str, second: str) -> None:
    check(
        MergeReshapes(),
        f"inputs %x: fp16{kind}\n%a: fp16{between} = {first}\n%b: fp16{kind} = {second}\n%y: fp16{kind} = relu(x=%b)\nreturn %y",
        f"inputs %x: fp16{kind}\n%y: fp16{kind} = relu(x=%x)\nreturn %y",
    )


@pytest.mark.parametrize("opset", OPSETS)
def test_a_minus_one_is_what_the_number_of_elements_leaves_whatever_x_is(opset: Opset) -> None:
    check(
        MergeReshapes(),
        """
        inputs %x: fp16[?, 4, 2]
        %a: fp16[?, 8] = reshape(x=%x, shape=[-1, 8])
        %y: fp16[?, 2] = reshape(x=%a, shape=[-1, 2])
        return %y
        """,
        """
        inputs %x: fp16[?, 4, 2]
        %y: fp16[?, 2] = reshape(x=%x, shape=[-1, 2])
        return %y
        """,
        opset,
    )


@pytest.mark.parametrize("opset", OPSETS)
def test_a_zero_in_the_shape_is_written_out_since_it_would_mean_another_dimension(opset: Opset) -> None:
    check(
        MergeReshapes(),
        """
        inputs %x: fp16[3, 8]
        %a: fp16[4, 6] = reshape(x=%x, shape=[4, 6])
        %y: fp16[4, 6] = reshape(x=%a, shape=[0, -1])
        return %y
        """,
        """
        inputs %x: fp16[3, 8]
        %y_reshape_shape: int32[2] = const([4, 6])
        %y: fp16[4, 6] = reshape(x=%x, shape=%y_reshape_shape)
        return %y
        """,
        opset,
    )


def test_a_zero_of_an_unknown_dimension_stays() -> None:
    unchanged(
        MergeReshapes(),
        """
        inputs %x: fp16[?, 8]
        %a: fp16[?, 4, 2] = reshape(x=%x, shape=[-1, 4, 2])
        %y: fp16[?, 2, 4] = reshape(x=%a, shape=[0, 2, -1])
        return %y
        """,
    )


def test_a_shape_without_elements_stays() -> None:
    unchanged(
        MergeReshapes(),
        """
        inputs %x: fp16[0, 8]
        %a: fp16[1, 0, 8] = expand_dims(x=%x, axes=[0])
        %y: fp16[1, 1, 0, 8] = expand_dims(x=%a, axes=[0])
        return %y
        """,
    )


def test_a_shape_that_is_computed_stays() -> None:
    unchanged(
        MergeReshapes(),
        """
        inputs %x: fp16[2, 3], %z: fp16[6]
        %s: int32[1] = shape(x=%z)
        %a: fp16[3, 2] = reshape(x=%x, shape=[3, 2])
        %y: fp16[6] = reshape(x=%a, shape=%s)
        return %y
        """,
    )


def test_three_in_a_row_are_one() -> None:
    result = check(
        MergeReshapes(),
        """
        inputs %x: fp16[2, 3]
        %a: fp16[6] = reshape(x=%x, shape=[6])
        %b: fp16[1, 6] = expand_dims(x=%a, axes=[0])
        %y: fp16[3, 2] = reshape(x=%b, shape=[3, 2])
        return %y
        """,
        """
        inputs %x: fp16[2, 3]
        %y: fp16[3, 2] = reshape(x=%x, shape=[3, 2])
        return %y
        """,
    )
    assert kinds(result.program) == ["reshape"]


def test_a_reshape_that_others_use_stays_for_them() -> None:
    check(
        MergeReshapes(),
        """
        inputs %x: fp16[2, 3]
        %a: fp16[6] = reshape(x=%x, shape=[6])
        %b: fp16[2, 3] = reshape(x=%a, shape=[2, 3])
        %y: fp16[2, 3] = add(x=%b, y=%x)
        return %y, %a
        """,
        """
        inputs %x: fp16[2, 3]
        %a: fp16[6] = reshape(x=%x, shape=[6])
        %y: fp16[2, 3] = add(x=%x, y=%x)
        return %y, %a
        """,
    )


def test_a_transpose_in_between_keeps_them_apart() -> None:
    unchanged(
        MergeReshapes(),
        """
        inputs %x: fp16[2, 3]
        %a: fp16[3, 2] = reshape(x=%x, shape=[3, 2])
        %b: fp16[2, 3] = transpose(x=%a, perm=[1, 0])
        %y: fp16[6] = reshape(x=%b, shape=[6])
        return %y
        """,
    )
