"""`MergeCasts`: a widening cast before another goes; one that loses anything stays."""

from __future__ import annotations

import numpy as np
import pytest

from ir.opset import IOS15, IOS17
from ir.types import BF16, BOOL, DTYPES, FP16, FP32, INT32, STRING, DType
from mlpasses.cleanup.casts import MergeCasts, widens
from tests.cleanup.check import check, unchanged


def chain(source: str, between: str, target: str) -> str:
    return f"""
        inputs %x: {source}[7]
        %a: {between}[7] = cast(x=%x, dtype="{between}")
        %b: {target}[7] = cast(x=%a, dtype="{target}")
        %y: {target}[7] = reshape(x=%b, shape=[7])
        return %y
        """


@pytest.mark.parametrize(
    ("source", "between", "target"),
    [
        ("fp16", "fp32", "int32"),
        ("bool", "fp16", "int32"),
        ("bool", "int32", "fp32"),
        ("uint8", "fp16", "int32"),
        ("int8", "int16", "fp32"),
        ("uint8", "int16", "fp16"),
        ("int16", "fp32", "int32"),
    ],
)
def test_a_widening_cast_before_another_goes(source: str, between: str, target: str) -> None:
    after = f"""
        inputs %x: {source}[7]
        %b: {target}[7] = cast(x=%x, dtype="{target}")
        %y: {target}[7] = reshape(x=%b, shape=[7])
        return %y
        """
    check(MergeCasts(), chain(source, between, target), after, IOS17)


@pytest.mark.parametrize(("source", "between"), [("fp16", "fp32"), ("bool", "int32"), ("int8", "fp16"), ("uint16", "int32")])
def test_a_widening_cast_and_the_one_back_go(source: str, between: str) -> None:
    check(
        MergeCasts(),
        chain(source, between, source),
        f"inputs %x: {source}[7]\n%y: {source}[7] = reshape(x=%x, shape=[7])\nreturn %y",
        IOS17,
    )


@pytest.mark.parametrize(
    ("source", "between", "target"),
    [
        ("fp32", "fp16", "fp32"),  # rounds
        ("fp32", "int32", "fp32"),  # cuts
        ("int32", "fp32", "int32"),  # 24 bits
        ("int16", "fp16", "int16"),  # 11 bits
        ("int8", "uint8", "int8"),  # no sign
        ("fp16", "bool", "fp16"),
        ("int32", "int8", "int32"),
    ],
)
def test_a_cast_that_loses_values_stays(source: str, between: str, target: str) -> None:
    unchanged(MergeCasts(), chain(source, between, target), IOS17)


def test_three_in_a_row_are_one() -> None:
    check(
        MergeCasts(),
        """
        inputs %x: bool[4]
        %a: fp16[4] = cast(x=%x, dtype="fp16")
        %b: fp32[4] = cast(x=%a, dtype="fp32")
        %y: int32[4] = cast(x=%b, dtype="int32")
        return %y
        """,
        """
        inputs %x: bool[4]
        %y: int32[4] = cast(x=%x, dtype="int32")
        return %y
        """,
        IOS15,
    )


def test_a_cast_that_others_use_stays_for_them() -> None:
    check(
        MergeCasts(),
        """
        inputs %x: fp16[4]
        %a: fp32[4] = cast(x=%x, dtype="fp32")
        %b: fp16[4] = cast(x=%a, dtype="fp16")
        %y: fp16[4] = relu(x=%b)
        return %y, %a
        """,
        """
        inputs %x: fp16[4]
        %a: fp32[4] = cast(x=%x, dtype="fp32")
        %y: fp16[4] = relu(x=%x)
        return %y, %a
        """,
    )


def test_an_input_that_is_returned_under_another_name_stays_two_casts() -> None:
    unchanged(
        MergeCasts(),
        """
        inputs %x: fp16[4]
        %a: fp32[4] = cast(x=%x, dtype="fp32")
        %y: fp16[4] = cast(x=%a, dtype="fp16")
        return %y
        """,
    )


def test_the_constant_of_the_second_cast_stays_in_use() -> None:
    check(
        MergeCasts(),
        """
        inputs %x: fp16[4]
        %s: string = const("fp32")
        %a: fp32[4] = cast(x=%x, dtype=%s)
        %t: string = const("int32")
        %y: int32[4] = cast(x=%a, dtype=%t)
        return %y
        """,
        """
        inputs %x: fp16[4]
        %t: string = const("int32")
        %y: int32[4] = cast(x=%x, dtype=%t)
        return %y
        """,
    )


NUMBERS = [dtype for dtype in DTYPES if dtype is not STRING and dtype.bits <= 16]


def values(dtype: DType) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Every number of a type of at most 16 bits."""
    if dtype is BOOL:
        return np.array([0.0, 1.0])
    if dtype.is_integer:
        return np.arange(dtype.minimum, dtype.maximum + 1, dtype=np.float64)
    bits = np.arange(1 << dtype.bits, dtype=np.uint32).astype(np.uint16 if dtype.bits == 16 else np.uint8)
    with np.errstate(all="ignore"):
        return np.asarray(bits.view(dtype.numpy).astype(np.float64))


@pytest.mark.parametrize("target", [dtype for dtype in DTYPES if dtype is not STRING and dtype.bits >= 8 and dtype is not BOOL], ids=str)
@pytest.mark.parametrize("source", NUMBERS, ids=str)
def test_widening_is_that_every_value_comes_back(source: DType, target: DType) -> None:
    if not widens(source, target):
        return
    numbers = values(source)
    with np.errstate(all="ignore"):
        through = numbers.astype(target.numpy).astype(np.float64)
    assert np.array_equal(numbers, through, equal_nan=True)


@pytest.mark.parametrize(("source", "target"), [(INT32, FP32), (FP16, BF16), (BF16, FP16), (FP32, FP16)], ids=str)
def test_a_type_that_lacks_some_value_is_not_wider(source: DType, target: DType) -> None:
    assert not widens(source, target)
