"""How far arrays are from their originals"""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ir import statistics as module
from tests.whole import difference


def of(ours: list[float], theirs: list[float], dtype: Any = np.float16) -> tuple[float, float, float]:
    found = difference(np.array(ours, dtype), np.array(theirs, dtype))
    return found.signal, found.noise, found.worst


def test_it_is_of_the_original_and_the_errors() -> None:
    assert of([1, 2, 3], [1, 0, 3.5]) == (1 + 12.25, 4.25, 2)


def test_sqnr_is_in_decibels_of_the_original() -> None:
    assert difference(np.array([11.0]), np.array([10.0])).sqnr == pytest.approx(20)


def test_equal_arrays_have_no_noise() -> None:
    found = difference(np.ones((2, 3), np.float16), np.ones((2, 3), np.float16))
    assert (found.noise, found.worst, found.sqnr) == (0, 0, math.inf)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_same_value_that_is_not_finite_is_no_error_and_no_signal(value: float) -> None:
    assert of([value, 2], [value, 2]) == (4, 0, 0)


@pytest.mark.parametrize(("ours", "theirs"), [(math.nan, 1), (1, math.nan), (math.inf, -math.inf), (math.inf, math.nan), (0, math.inf)])
def test_another_value_in_the_place_of_one_that_is_not_finite_is_an_infinite_error(ours: float, theirs: float) -> None:
    found = difference(np.array([ours, 2], np.float32), np.array([theirs, 2], np.float32))
    assert (found.noise, found.worst, found.sqnr) == (math.inf, math.inf, -math.inf)


def test_something_in_the_place_of_zeros_is_all_noise() -> None:
    assert difference(np.array([1.0]), np.array([0.0])).sqnr == -math.inf


def test_of_no_elements_there_is_no_difference() -> None:
    assert of([], []) == (0, 0, 0)


@pytest.mark.parametrize("dtypes", [(np.int8, np.float16), (ml_dtypes.bfloat16, np.float32), (np.bool_, np.uint8)])
def test_types_may_differ(dtypes: tuple[Any, Any]) -> None:
    ours, theirs = (np.array([1, 0, 1], dtype) for dtype in dtypes)
    assert difference(ours, theirs).noise == 0
    assert difference(ours, np.zeros(3, dtypes[1])).noise == 2


def test_shapes_may_not() -> None:
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(1, 2\)"):
        difference(np.zeros(2), np.zeros((1, 2)))


@given(st.integers(0, 2**32), st.integers(1, 2000))
@settings(max_examples=30, deadline=None)
def test_chunks_add_up(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = (rng.standard_normal(size).astype(np.float16) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", 100)
        found = difference(ours, theirs)
    error = ours.astype(np.float64) - theirs.astype(np.float64)
    assert found.noise == pytest.approx(np.square(error).sum(), rel=1e-12)
    assert found.worst == np.abs(error).max()
    assert found.signal == pytest.approx(np.square(theirs, dtype=np.float64).sum(), rel=1e-12)
