"""`MergeTransposes`: two transposes in a row are one, or none."""

from __future__ import annotations

import pytest

from ir.opset import IOS15, IOS18, Opset
from mlpasses.cleanup.transposes import MergeTransposes
from tests.cleanup.check import check, kinds, unchanged


@pytest.mark.parametrize("opset", [IOS15, IOS18])
def test_two_in_a_row_are_one(opset: Opset) -> None:
    check(
        MergeTransposes(),
        """
        inputs %x: fp16[1, 2, 3]
        %a: fp16[3, 1, 2] = transpose(x=%x, perm=[2, 0, 1])
        %y: fp16[1, 3, 2] = transpose(x=%a, perm=[1, 0, 2])
        return %y
        """,
        """
        inputs %x: fp16[1, 2, 3]
        %y_transpose_perm: int32[3] = const([0, 2, 1])
        %y: fp16[1, 3, 2] = transpose(x=%x, perm=%y_transpose_perm)
        return %y
        """,
        opset,
    )


def test_a_transpose_and_the_one_back_go() -> None:
    check(
        MergeTransposes(),
        """
        inputs %x: fp16[?, 2, 3]
        %a: fp16[3, ?, 2] = transpose(x=%x, perm=[2, 0, 1])
        %b: fp16[?, 2, 3] = transpose(x=%a, perm=[-2, 2, 0])
        %y: fp16[?, 2, 3] = relu(x=%b)
        return %y
        """,
        """
        inputs %x: fp16[?, 2, 3]
        %y: fp16[?, 2, 3] = relu(x=%x)
        return %y
        """,
    )


def test_four_in_a_row_that_lead_back_go() -> None:
    turns = "\n".join(f"%t{i + 1}: int32[2, 2, 2] = transpose(x=%t{i}, perm=[1, 2, 0])" for i in range(6))
    check(
        MergeTransposes(),
        f"inputs %t0: int32[2, 2, 2]\n{turns}\n%y: int32[2, 2, 2] = abs(x=%t6)\nreturn %y",
        "inputs %t0: int32[2, 2, 2]\n%y: int32[2, 2, 2] = abs(x=%t0)\nreturn %y",
    )


def test_a_transpose_that_others_use_stays_for_them() -> None:
    result = check(
        MergeTransposes(),
        """
        inputs %x: fp16[2, 3]
        %a: fp16[3, 2] = transpose(x=%x, perm=[1, 0])
        %b: fp16[2, 3] = transpose(x=%a, perm=[1, 0])
        %y: fp16[2, 3] = relu(x=%b)
        %z: fp16[3, 2] = relu(x=%a)
        return %y, %z
        """,
        """
        inputs %x: fp16[2, 3]
        %a: fp16[3, 2] = transpose(x=%x, perm=[1, 0])
        %y: fp16[2, 3] = relu(x=%x)
        %z: fp16[3, 2] = relu(x=%a)
        return %y, %z
        """,
    )
    assert kinds(result.program) == ["transpose", "relu", "relu"]


def test_something_in_between_keeps_them_apart() -> None:
    unchanged(
        MergeTransposes(),
        """
        inputs %x: fp16[2, 3]
        %a: fp16[3, 2] = transpose(x=%x, perm=[1, 0])
        %b: fp16[3, 2] = relu(x=%a)
        %y: fp16[2, 3] = transpose(x=%b, perm=[1, 0])
        return %y
        """,
    )


def test_an_input_that_is_returned_under_another_name_stays_two_transposes() -> None:
    unchanged(
        MergeTransposes(),
        """
        inputs %x: fp16[2, 3]
        %a: fp16[3, 2] = transpose(x=%x, perm=[1, 0])
        %y: fp16[2, 3] = transpose(x=%a, perm=[1, 0])
        return %y
        """,
    )
