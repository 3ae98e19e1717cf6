"""One-dimensional k-means: the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpasses.numerics import kmeans, lagrange
from mlpasses.numerics.kmeans import BINS, FEW, LARGE, NUMPY, Floats, Solver, bins, exact, means, prefix_sums
from mlpasses.numerics.kmeans_kernels import NUMBA
from tests.bench.kmeans import DISTRIBUTIONS, distinct_halves, squared_error

Case = tuple[Floats, Floats]

SOLVERS = {"numpy": NUMPY, "numba": NUMBA}
solvers = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
distributions = pytest.mark.parametrize("draw", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)


@pytest.fixture(scope="module", autouse=True)
def _compiled_kernels() -> None:
    """Compiles before the first example: it takes longer than Hypothesis allows one to."""
    values = np.arange(9.0)
    near(values, np.ones(9), 3, NUMBA)
    exact(values, np.ones(9), 3, NUMBA)


def near(values: Floats, weights: Floats, places: int, solver: Solver) -> Floats:
    found: Floats = solver.near(values, weights, np.array([0, len(values)]), places)[0]
    return found


def least_error(values: Floats, weights: Floats, places: int) -> float:
    """Of the best clustering into at most `places`, by all of them: E(k, i) = min over j of E(k - 1, j) + cost(j, i)."""
    n = len(values)
    cost = np.zeros((n + 1, n + 1))
    for first in range(n):
        for end in range(first + 1, n + 1):
            x, w = values[first:end], weights[first:end]
            mean = float((w * x).sum() / w.sum()) if w.any() else 0.0
            cost[first, end] = float((w * np.square(x - mean)).sum())
    cost[np.tril_indices(n + 1, -1)] = np.inf
    best = cost[0]
    for _ in range(places - 1):
        best = (best[:, None] + cost).min(axis=0)
    return float(best[n])


def cases(numbers: st.SearchStrategy[float], weights: st.SearchStrategy[float], most: int) -> st.SearchStrategy[Case]:
    pairs = st.lists(st.tuples(numbers, weights), min_size=1, max_size=most, unique_by=lambda pair: pair[0])
    return pairs.map(sorted).map(lambda found: (np.array([x for x, _ in found]), np.array([w for _, w in found])))


WHOLE = cases(st.integers(-30, 30).map(float), st.integers(1, 4).map(float), 24)
"""Many clusterings are as good as the best here."""
REAL = cases(st.floats(-100, 100, width=32), st.floats(2.0**-10, 100, width=32), 24)
places_of_few = st.integers(1, FEW)


@solvers
@pytest.mark.parametrize("solution", [near, exact], ids=["near", "exact"])
@given(case=WHOLE | REAL, places=places_of_few)
def test_few_values_are_clustered_as_well_as_by_trying_all_clusterings(
    solver: Solver, solution: Callable[[Floats, Floats, int, Solver], Floats], case: Case, places: int
) -> None:
    values, weights = case
    found = squared_error(values, weights, solution(values, weights, places, solver))
    scale = float((weights * np.square(values - values.mean())).sum())
    assert found == pytest.approx(least_error(values, weights, places), rel=1e-9, abs=1e-12 * scale)


@given(case=WHOLE | REAL, places=places_of_few)
def test_solvers_agree_bit_for_bit(case: Case, places: int) -> None:
    for solution in (near, exact):
        assert np.array_equal(solution(*case, places, NUMPY), solution(*case, places, NUMBA))


@given(case=WHOLE | REAL, places=places_of_few)
def test_means_ascend_between_the_extremes(case: Case, places: int) -> None:
    values, weights = case
    found = near(values, weights, places, NUMBA)
    assert (np.diff(found) >= 0).all()
    assert values[0] <= found[0]
    assert found[-1] <= values[-1]


@solvers
@pytest.mark.parametrize("places", [64, 256])
def test_many_clusters_are_the_best_ones(solver: Solver, places: int) -> None:
    values = np.sort(np.random.default_rng(places).normal(size=400))
    weights = np.random.default_rng(1).integers(1, 5, 400).astype(np.float64)
    found = squared_error(values, weights, means(values, weights, np.array([0, 400]), places, 1000, solver)[0])
    assert found == pytest.approx(least_error(values, weights, places), rel=1e-9)


@solvers
@pytest.mark.parametrize("places", [2, 7, 64, 150, 299])
def test_evenly_spaced_values_have_no_price_for_every_number_of_clusters_and_are_clustered_all_the_same(
    solver: Solver, places: int
) -> None:
    values = np.arange(300.0)
    size, more = divmod(300, places)
    costs = [length * (length**2 - 1) / 12 for length in (size, size + 1)]
    found = exact(values, np.ones(300), places, solver)
    assert squared_error(values, np.ones(300), found) == pytest.approx((places - more) * costs[0] + more * costs[1])


@distributions
@pytest.mark.parametrize("places", [2, 4, 8, 16])
def test_near_is_within_1_0005_of_the_best(draw: Callable[[Any, int], npt.NDArray[Any]], places: int) -> None:
    for size in (3000, 12288, 40000):
        values, weights = distinct_halves(draw(np.random.default_rng(size), size))
        best = squared_error(values, weights, exact(values, weights, places, NUMBA))
        assert squared_error(values, weights, near(values, weights, places, NUMBA)) <= 1.0005 * best


@distributions
@pytest.mark.parametrize("places", [3, 16])
def test_solvers_agree_on_groups_of_thousands_of_values(draw: Callable[[Any, int], npt.NDArray[Any]], places: int) -> None:
    values, weights = distinct_halves(draw(np.random.default_rng(5), 12288))
    assert near(values, weights, places, NUMPY).tobytes() == near(values, weights, places, NUMBA).tobytes()


@pytest.mark.parametrize("price", [0.0, 1e-3, 1.0, 1e9])
def test_passes_agree_at_any_price(price: float) -> None:
    values, weights = distinct_halves(np.random.default_rng(2).normal(size=500))
    sums = prefix_sums(values, weights)
    compiled = NUMBA.penalized(sums.total, sums.moment, price)
    assert np.array_equal(lagrange.interpreted(sums.total, sums.moment, price), compiled)


def test_a_higher_price_gives_fewer_clusters() -> None:
    sums = prefix_sums(*distinct_halves(np.random.default_rng(2).normal(size=2000)))
    numbers = [len(NUMBA.penalized(sums.total, sums.moment, 2.0**-power)) for power in range(-20, 20)]
    assert numbers == sorted(numbers)
    assert numbers[0] == 0
    assert numbers[-1] > 256


@pytest.mark.parametrize("guess", [0.0, 1e-30, 1.0, 1e30])
def test_a_bad_first_price_costs_time_only(guess: float) -> None:
    sums = prefix_sums(*distinct_halves(np.random.default_rng(2).normal(size=2000)))
    found, _ = lagrange.cuts(sums.total, sums.moment, 16, guess, NUMBA.penalized)
    expected, _ = lagrange.cuts(sums.total, sums.moment, 16, 1e-2, NUMBA.penalized)
    assert np.array_equal(found, expected)


@solvers
def test_no_more_values_than_places_are_kept_as_they_are(solver: Solver) -> None:
    assert means(np.array([-1.0, 5.0]), np.ones(2), np.array([0, 2]), 4, 2, solver).tolist() == [[-1, 5, 5, 5]]
    assert means(np.array([-1.0, 5.0]), np.ones(2), np.array([0, 2]), 4, LARGE, solver).tolist() == [[-1, 5, 5, 5]]


@solvers
def test_a_group_without_values_has_zeros(solver: Solver) -> None:
    assert means(np.array([3.0]), np.ones(1), np.array([0, 0, 1, 1]), 2, 0, solver).tolist() == [[0, 0], [3, 3], [0, 0]]


@solvers
@pytest.mark.parametrize("elements", [0, LARGE])
def test_values_without_weight_draw_no_mean(solver: Solver, elements: int) -> None:
    values, weights = np.array([0.0, 1.0, 10.0, 11.0, 1000.0]), np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    assert means(values, weights, np.array([0, 5]), 2, elements, solver).tolist() == [[0.5, 10.5]]


@solvers
def test_a_heavy_value_draws_a_mean(solver: Solver) -> None:
    values, weights = np.array([0.0, 1.0, 2.0, 50.0]), np.array([1.0, 1.0, 1e6, 1.0])
    assert near(values, weights, 3, solver).tolist() == [0.5, 2, 50]


@solvers
def test_groups_do_not_know_of_each_other(solver: Solver) -> None:
    rng = np.random.default_rng(3)
    parts = [distinct_halves(rng.normal(size=size) * 10.0**power) for size, power in ((3000, 0), (5, 3), (700, -3), (200, 0))]
    starts = np.concatenate(([0], np.cumsum([len(values) for values, _ in parts])))
    together = solver.near(np.concatenate([x for x, _ in parts]), np.concatenate([w for _, w in parts]), starts, 16)
    for row, (values, weights) in zip(together, parts, strict=True):
        assert row.tobytes() == near(values, weights, 16, solver).tobytes()


@solvers
def test_a_common_offset_costs_no_precision(solver: Solver) -> None:
    values = np.sort(np.random.default_rng(4).normal(size=3000))
    values = np.unique(np.round(values * 2**16) / 2**16)
    found, shifted = near(values, np.ones(len(values)), 16, solver), near(values + 2.0**20, np.ones(len(values)), 16, solver)
    assert np.abs(shifted - 2.0**20 - found).max() < 1e-9


@solvers
def test_clusters_wider_than_expected_are_found(solver: Solver) -> None:
    """Far values take all places but one, so that nearly all bins are one cluster."""
    many = np.linspace(0, 1, 3000)
    values = np.concatenate((many, 1e4 * np.arange(1, 16)))
    found = near(values, np.ones(len(values)), 16, solver)
    assert found == pytest.approx(np.concatenate(([0.5], 1e4 * np.arange(1, 16))))


@given(case=REAL, count=st.integers(1, 12))
def test_bins_are_not_empty(case: Case, count: int) -> None:
    edges = bins(prefix_sums(*case), count)
    assert len(edges) == min(count, len(case[0])) + 1
    assert (edges[0], edges[-1]) == (0, len(case[0]))
    assert (np.diff(edges) > 0).all()


def test_far_values_leave_bins_to_the_rest() -> None:
    values = np.concatenate((np.linspace(0, 1, 5000), [1e3, 1e6, 1e9]))
    edges = bins(prefix_sums(values, np.ones(len(values))), BINS)
    assert (edges < 5000).sum() > BINS * 0.9


@settings(max_examples=30)
@given(st.lists(st.floats(1e-30, 1e30), min_size=1))
def test_the_cube_root_is_good_to_a_thousandth(numbers: list[float]) -> None:
    assert kmeans._cube_root(np.array(numbers)) == pytest.approx(np.cbrt(numbers), rel=1.1e-3)
