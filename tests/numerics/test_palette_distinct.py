"""The distinct values of groups of a weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlpasses.numerics import distinct
from mlpasses.numerics.affine import NotFiniteError
from mlpasses.numerics.distinct import LIMIT, NUMPY, Collector, Distinct, collect, distinct_counts, half_keys, half_values
from mlpasses.numerics.palette_kernels import NUMBA as ENGINE

Array = npt.NDArray[Any]

NUMBA = ENGINE.collector
COLLECTORS = {"numpy": NUMPY, "numba": NUMBA}
collectors = pytest.mark.parametrize("collector", COLLECTORS.values(), ids=COLLECTORS)
dtypes = pytest.mark.parametrize("dtype", [np.float16, np.float32])


@pytest.fixture(scope="module", autouse=True)
def _compiled_kernels() -> None:
    for chunk in (1, 100):
        collect(np.ones((1, 2, 3), np.float16), None, NUMBA._replace(chunk=chunk))


def weights(dtype: Any) -> st.SearchStrategy[Array]:
    sides = st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 7))
    bound, width = float(np.finfo(dtype).max), np.dtype(dtype).itemsize * 8
    numbers = st.floats(-bound, bound, width=width) | st.sampled_from([0.0, -0.0, 1.0, bound, -bound])
    return sides.flatmap(lambda shape: arrays.arrays(dtype, shape, elements=numbers))


ANY = weights(np.float16) | weights(np.float32)


def columns(found: Distinct) -> list[list[float]]:
    return [column.tolist() for column in (found.values, found.counts, found.weights, found.starts)]


@collectors
@given(weight=ANY, chunk=st.sampled_from([1, 5, 1 << 16]))
def test_values_and_counts_are_those_of_each_group(collector: Collector, weight: Array, chunk: int) -> None:
    found = collect(weight, None, collector._replace(chunk=chunk))
    for group, (values, _) in enumerate(found.groups()):
        expected, counts = np.unique(weight[:, group].astype(np.float64), return_counts=True)
        assert np.array_equal(values, expected)
        assert np.array_equal(found.counts[found.starts[group] : found.starts[group + 1]], counts)
    assert np.array_equal(found.counts, found.weights)


@given(weight=weights(np.float16), chunk=st.sampled_from([1, 5, 1 << 16]))
def test_collectors_agree(weight: Array, chunk: int) -> None:
    assert columns(collect(weight, None, NUMPY)) == columns(collect(weight, None, NUMBA._replace(chunk=chunk)))


def test_every_fp16_value_is_found() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    for collector in (NUMPY, NUMBA, NUMPY._replace(chunk=1000)):
        assert np.array_equal(collect(finite[None, None], None, collector).values, np.unique(finite.astype(np.float64)))


def test_keys_are_in_the_order_of_numbers() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    keys = half_keys(every)
    finite = np.isfinite(every)
    assert np.array_equal(half_values(keys[finite]), every[finite].astype(np.float64))
    assert (np.diff(keys[finite][np.argsort(every[finite], kind="stable")].astype(np.int64)) >= 0).all()


@collectors
@dtypes
def test_both_zeros_are_one_value(collector: Collector, dtype: Any) -> None:
    found = collect(np.array([[[0.0, -0.0, -1.0]]], dtype), None, collector)
    assert columns(found)[:2] == [[-1, 0], [1, 2]]
    assert not np.signbit(found.values[1])


@collectors
@dtypes
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("chunk", [1, 1000])
def test_what_is_not_finite_is_refused(collector: Collector, dtype: Any, value: float, chunk: int) -> None:
    weight = np.ones((2, 3, 4), dtype)
    weight[1, 2, 3] = value
    with pytest.raises(NotFiniteError):
        collect(weight, None, collector._replace(chunk=chunk))
    with pytest.raises(NotFiniteError):
        distinct_counts(weight, collector._replace(chunk=chunk), limit=1)


@dtypes
def test_weights_are_sums_of_importance(dtype: Any) -> None:
    weight = np.array([[[3, 1, 3, 2], [5, 5, 5, 5]]], dtype)
    found = collect(weight, np.array([[[1, 2, 4, 8], [0, 0, 0.5, 0]]]), NUMPY)
    assert columns(found) == [[1, 2, 3, 5], [1, 1, 2, 4], [2, 8, 5, 0.5], [0, 3, 4]]


def test_where_nothing_is_important_all_elements_count_alike() -> None:
    found = collect(np.array([[[3, 1, 3]]], np.float16), np.zeros((1, 1, 3)), NUMPY)
    assert found.weights.tolist() == [1, 2]


@pytest.mark.parametrize("importance", [-1.0, np.nan, np.inf, 1e300])
def test_an_importance_has_to_be_finite_and_not_negative(importance: float) -> None:
    with pytest.raises(ValueError, match="importance"):
        collect(np.ones((1, 1, 1), np.float16), np.full((1, 1, 1), importance), NUMPY)


def test_float32_groups_are_exact_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "PIECE", 1000)
    weight = np.repeat(np.random.default_rng(0).permutation(LIMIT).astype(np.float32), 2)[None, None]
    found = collect(weight, None, NUMPY)
    assert np.array_equal(found.values, np.arange(LIMIT))
    assert (found.counts == 2).all()


def test_beyond_the_limit_neighbours_are_merged_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "PIECE", 3000)
    monkeypatch.setattr(distinct, "LIMIT", 1000)
    monkeypatch.setattr(distinct, "MERGED", 500)
    rng = np.random.default_rng(0)
    weight, importance = rng.normal(size=(1, 1, 20_000)).astype(np.float32), rng.random((1, 1, 20_000)).astype(np.float32)
    found = collect(weight, importance, NUMPY)
    assert 500 <= len(found.values) <= 1000
    assert (np.diff(found.values) > 0).all()
    assert found.counts.sum() == 20_000
    assert found.weights.sum() == pytest.approx(float(importance.sum(dtype=np.float64)))
    assert (found.weights * found.values).sum() == pytest.approx(float((importance.astype(np.float64) * weight).sum()))


@collectors
@given(weight=ANY, limit=st.integers(1, 5), chunk=st.sampled_from([1, 1000]))
def test_distinct_values_are_counted_up_to_a_limit(collector: Collector, weight: Array, limit: int, chunk: int) -> None:
    expected = [min(len(np.unique(weight[:, group])), limit + 1) for group in range(weight.shape[1])]
    assert distinct_counts(weight, collector._replace(chunk=chunk), limit=limit).tolist() == expected


@pytest.mark.parametrize("shape", [(1, 1, 5000), (50, 2, 50), (3, 1, 1700)])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_importances_that_are_summed_by_bits_are_those_that_are_sorted(
    shape: tuple[int, int, int], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(3)
    weight = random.normal(size=shape).astype(np.float16)
    weight.reshape(-1)[:40] = np.resize(np.array([0.0, -0.0], np.float16), 40)
    importance = (random.random(shape) * (random.random(shape) < share)).astype(np.float32)
    wanted = collect(weight, importance, NUMPY)
    monkeypatch.setattr("mlpasses.numerics.distinct.WEIGHED", 1)
    found, compiled = (collect(weight, importance, collector) for collector in (NUMPY, NUMBA))
    for each in (found, compiled):
        assert np.array_equal(each.values, wanted.values)
        assert np.array_equal(each.counts, wanted.counts)
        assert np.array_equal(each.starts, wanted.starts)
        assert each.weights == pytest.approx(wanted.weights, rel=1e-12)
    assert np.array_equal(found.weights, compiled.weights)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_where_importances_are_summed(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlpasses.numerics.distinct.WEIGHED", 1)
    weight = np.ones((1, 1, 100), np.float16)
    weight[0, 0, 3] = value
    with pytest.raises(NotFiniteError):
        collect(weight, np.zeros((1, 1, 100)), NUMPY)
