"""Scales of least squared error."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpasses.numerics.affine import SEGMENT, Engine, Grid, NotFiniteError, grid
from mlpasses.numerics.affine_kernels import NUMBA
from mlpasses.numerics.affine_numpy import NUMPY
from mlpasses.numerics.blocks import quantize_blocks
from mlpasses.numerics.scale_search import ScaleSearch, as_coremltools
from tests.numerics.quantized import GRIDS, in_blocks, quantized
from tests.numerics.test_blocks import cases, divided

Array = npt.NDArray[Any]

SEARCH = ScaleSearch()
INT4 = grid(4, signed=True, symmetric=True)
UINT4 = grid(4, signed=False, symmetric=True)
INT4_ASYMMETRIC = grid(4, signed=True, symmetric=False)
INT8 = grid(8, signed=True, symmetric=True)
ENGINES = {"numpy": NUMPY, "numba": NUMBA}
engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
grids = pytest.mark.parametrize("levels", GRIDS.values(), ids=GRIDS)


@pytest.fixture(scope="module", autouse=True)
def _compiled_kernels() -> None:
    """Compiles before the first example: it takes longer than Hypothesis allows one to."""
    for dtype in (np.float16, np.float32):
        for levels in (INT4, INT4_ASYMMETRIC):
            for importance in (None, np.ones(1)):
                quantized(np.ones((4, 64), dtype), (4, 2), levels, NUMBA, SEARCH, importance)
                quantized(np.ones((2, 300), dtype), (2, 1), levels, NUMBA, SEARCH, importance)
                quantized(np.ones((4, 6, 8), dtype), (1, 6, 1), levels, NUMBA, SEARCH, importance)
                quantized(np.ones((4, 6), dtype), (1, 6), levels, NUMBA, SEARCH, importance)


def normal(*shape: int, dtype: Any = np.float16, seed: int = 0) -> Array:
    return (np.random.default_rng(seed).normal(size=shape) * 0.02).astype(dtype)


def heavy(*shape: int, seed: int = 0) -> Array:
    return (np.random.default_rng(seed).standard_t(3, size=shape) * 0.02).astype(np.float16)


def errors(weight: Array, decoded: Array, counts: tuple[int, ...], importance: Array | float = 1.0) -> Array:
    """The weighted squared error of each block."""
    found: Array = in_blocks(importance * np.square(weight.astype(np.float64) - decoded.astype(np.float64)), counts).sum(axis=1)
    return found


def gain(weight: Array, counts: tuple[int, ...], levels: Grid) -> float:
    """By how many dB a search beats the extremes."""
    return quantized(weight, counts, levels, NUMBA, SEARCH).loss.sqnr - quantized(weight, counts, levels, NUMBA).loss.sqnr


@engines
@given(case=divided(), levels=st.sampled_from(list(GRIDS.values())))
def test_no_block_is_worse_than_with_its_extremes(engine: Engine, case: tuple[Array, tuple[int, ...]], levels: Grid) -> None:
    weight, counts = case
    extremes, searched = quantized(weight, counts, levels, engine), quantized(weight, counts, levels, engine, SEARCH)
    assert (errors(weight, searched.decoded, counts) <= errors(weight, extremes.decoded, counts) * (1 + 1e-12)).all()


@given(divided(), st.sampled_from(list(GRIDS.values())), st.booleans())
def test_engines_agree_bit_for_bit(case: tuple[Array, tuple[int, ...]], levels: Grid, weighted: bool) -> None:
    weight, counts = case
    importance = np.random.default_rng(2).exponential(size=weight.shape) if weighted else None
    reference, compiled = (quantized(weight, counts, levels, engine, SEARCH, importance) for engine in (NUMPY, NUMBA))
    assert reference.affine.scale.tobytes() == compiled.affine.scale.tobytes()
    assert np.array_equal(reference.affine.zero_point, compiled.affine.zero_point)
    assert np.array_equal(reference.integers, compiled.integers)


@pytest.mark.parametrize("elements", [SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT, 1000])
@pytest.mark.parametrize("levels", [INT4, INT4_ASYMMETRIC], ids=["symmetric", "asymmetric"])
def test_engines_agree_on_long_blocks(elements: int, levels: Grid) -> None:
    weight = heavy(70, elements)
    reference, compiled = (quantized(weight, (70, 1), levels, engine, SEARCH) for engine in (NUMPY, NUMBA))
    assert reference.affine.scale.tobytes() == compiled.affine.scale.tobytes()
    assert np.array_equal(reference.integers, compiled.integers)


@engines
@cases
@pytest.mark.parametrize("searched", [1, 7, 300])
def test_the_size_of_the_pieces_does_not_matter(engine: Engine, shape: tuple[int, ...], counts: tuple[int, ...], searched: int) -> None:
    weight = heavy(*shape)
    whole, pieces = (quantized(weight, counts, INT4, each, SEARCH) for each in (engine, engine._replace(searched=searched)))
    assert whole.affine.scale.tobytes() == pieces.affine.scale.tobytes()


@engines
@pytest.mark.parametrize(("shape", "counts"), [((3, 1700), (1, 1)), ((3, 1700), (3, 1)), ((1700, 3), (1, 3)), ((7, 30, 50), (1, 1, 1))])
def test_blocks_larger_than_a_piece_are_searched_as_any(engine: Engine, shape: tuple[int, ...], counts: tuple[int, ...]) -> None:
    weight, importance = heavy(*shape), np.random.default_rng(0).exponential(size=shape)
    for each in (None, importance):
        whole, pieces = (quantized(weight, counts, INT4, by, SEARCH, each) for by in (engine, engine._replace(searched=600)))
        assert whole.affine.scale.tobytes() == pieces.affine.scale.tobytes()


@pytest.mark.parametrize("levels", [INT4, UINT4], ids=["signed", "unsigned"])
def test_a_symmetric_search_uses_the_integer_that_the_extremes_leave_out(levels: Grid) -> None:
    integers = quantized(normal(64, 32), (64, 1), levels, NUMPY, SEARCH).integers
    assert int(integers.max()) - int(integers.min()) == 15


def test_a_block_that_a_scale_expresses_exactly_is_lossless() -> None:
    weight = np.arange(-8, 8, dtype=np.float16)[None, :] * np.array([[0.25], [3]], np.float16)
    found = quantized(weight, (2, 1), INT4, NUMPY, SEARCH)
    assert found.loss.noise == 0
    assert found.affine.scale.tolist() == [0.25, 3]


def test_the_best_scale_is_nearly_found() -> None:
    """Against 4,000 scales, each followed by its best one: on blocks of 32 at int4 less than 1 % of the error is left."""
    weight = normal(200, 32, dtype=np.float32)
    found = quantized(weight, (200, 1), INT4, NUMPY, SEARCH).loss.noise
    values = weight.astype(np.float64)
    best = np.full(200, np.inf)
    for factor in np.linspace(0.3, 1.1, 4000):
        scale = np.abs(values).max(axis=1) / 7 * factor
        steps = np.clip(np.rint(values / scale[:, None]), -8, 7)
        scale = (values * steps).sum(axis=1) / np.square(steps).sum(axis=1)
        best = np.minimum(best, np.square(values - scale[:, None] * steps).sum(axis=1))
    assert best.sum() <= found * 1.0001
    assert found < 1.01 * best.sum()


@pytest.mark.parametrize(
    ("weight", "counts", "levels", "least"),
    [
        (normal(256, 1024), (256, 32), INT4, 1.0),
        (normal(256, 1024), (256, 1), INT4, 2.3),
        (heavy(256, 1024), (256, 32), INT4, 0.75),
        (heavy(256, 1024), (256, 1), INT4, 2.5),
        (heavy(256, 1024), (1, 1), INT4, 5.0),
        (normal(256, 1024), (256, 32), INT4_ASYMMETRIC, 0.42),
        (heavy(256, 1024), (256, 1), INT4_ASYMMETRIC, 1.5),
        (normal(256, 1024), (256, 32), INT8, 1.0),
        (normal(256, 1024), (256, 1), INT8, 0.15),
    ],
)
def test_searched_scales_beat_extremes_by_decibels(weight: Array, counts: tuple[int, ...], levels: Grid, least: float) -> None:
    assert gain(weight, counts, levels) > least


@engines
@grids
@pytest.mark.parametrize("shape", [(1, 1024), (32, 1), (32, 1024), (1, 1)])
def test_importance_is_what_is_minimized(engine: Engine, levels: Grid, shape: tuple[int, ...]) -> None:
    weight, counts = normal(32, 1024), (32, 8)
    importance = np.random.default_rng(1).exponential(size=shape) ** 3
    plain = quantized(weight, counts, levels, engine, SEARCH)
    weighted = quantized(weight, counts, levels, engine, SEARCH, importance)
    extremes = quantized(weight, counts, levels, engine)
    assert weighted.noise(weight, importance) <= plain.noise(weight, importance) * (1 + 1e-6)
    assert (errors(weight, weighted.decoded, counts, importance) <= errors(weight, extremes.decoded, counts, importance) * (1 + 1e-6)).all()
    if shape == (1, 1):
        assert np.array_equal(plain.integers, weighted.integers)


def test_elements_without_importance_do_not_count() -> None:
    weight = normal(4, 64)
    importance = np.ones((1, 64))
    importance[0, 5] = 0
    spoiled = weight.copy()
    spoiled[:, 5] = 2
    expected, found = (quantized(each, (4, 1), INT4, NUMPY, SEARCH, importance) for each in (weight, spoiled))
    assert found.noise(spoiled, importance) < 1.05 * expected.noise(weight, importance)


def test_a_block_without_importance_has_the_scale_of_its_extremes() -> None:
    weight = normal(4, 64)
    extremes, found = quantized(weight, (4, 1), INT4, NUMPY), quantized(weight, (4, 1), INT4, NUMPY, SEARCH, np.zeros((1, 64)))
    assert np.array_equal(extremes.affine.scale, found.affine.scale)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_importance_has_to_be_finite_and_not_negative(bad: float) -> None:
    with pytest.raises(ValueError, match="importance has to be finite and not negative"):
        quantized(normal(4, 64), (4, 1), INT4, NUMPY, SEARCH, np.array([bad]))


@engines
@grids
@pytest.mark.parametrize("magnitude", [6e-8, 1e-6, 1.0, 65504.0])
def test_blocks_of_extreme_magnitudes_are_decoded_as_finite(engine: Engine, levels: Grid, magnitude: float) -> None:
    weight = (np.random.default_rng(0).uniform(-1, 1, size=(16, 32)) * magnitude).astype(np.float16)
    weight[0, :3] = magnitude
    weight[1, :3] = -magnitude
    weight[2] = 0
    found = quantized(weight, (16, 1), levels, engine, SEARCH)
    assert np.isfinite(found.decoded).all()
    assert (found.affine.scale > 0).all()
    assert found.affine.scale[2] == 1


@engines
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("counts", [(4, 2), (4, 1), (1, 1), (1, 1024)])
def test_a_value_that_is_not_finite_is_refused(engine: Engine, value: float, counts: tuple[int, ...]) -> None:
    weight = normal(4, 1024)
    weight[2, 700] = value
    with pytest.raises(NotFiniteError):
        quantized(weight, counts, INT4, engine, SEARCH)


def test_a_scale_that_coremltools_cannot_compute_is_no_candidate() -> None:
    low, high = np.array([-60000, 0, -1], np.float16), np.array([60000, 0, 1], np.float16)
    found = as_coremltools(low, high, INT8).scale
    assert found[0] == np.inf
    assert found[1] == 0
    assert found[2] > 0


@pytest.mark.parametrize("counts", [(1, 1), (256, 64), (8, 2048)])
def test_private_memory_is_that_of_a_piece(counts: tuple[int, ...]) -> None:
    weight = normal(256, 2048)  # 1 MB
    run = NUMPY._replace(chunk=1 << 12, searched=1 << 11)
    tracemalloc.start()
    quantize_blocks(weight, counts, INT4, run, lambda position, piece: None, SEARCH)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 400_000
