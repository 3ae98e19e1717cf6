"""Scalar palettization: the numbers."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlpasses.numerics import kmeans as means
from mlpasses.numerics.affine import Loss, NotFiniteError
from mlpasses.numerics.palette import (
    NUMPY,
    Codebook,
    CodebookError,
    Custom,
    Engine,
    Palette,
    TooManyValuesError,
    assign_view,
    kmeans,
    palettize_view,
    uniform,
    unique,
)
from mlpasses.numerics.palette_kernels import NUMBA

Array = npt.NDArray[Any]

ENGINES = {"numpy": NUMPY, "numba": NUMBA}
engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
codebooks = pytest.mark.parametrize("codebook", [kmeans, uniform], ids=["kmeans", "uniform"])
dtypes = pytest.mark.parametrize("dtype", [np.float16, np.float32])
widths = st.sampled_from([1, 2, 3, 4, 6, 8])


@pytest.fixture(scope="module", autouse=True)
def _compiled_kernels() -> None:
    """Compiles before the first example: it takes longer than Hypothesis allows one to."""
    for dtype in (np.float16, np.float32):
        weight = np.arange(400, dtype=dtype).reshape(2, 2, 100)
        for bits in (2, 6):
            palettized(weight, bits, kmeans, with_chunk(NUMBA, 5))
            palettized(weight, bits, kmeans, NUMBA)


def with_chunk(engine: Engine, chunk: int) -> Engine:
    return engine._replace(collector=engine.collector._replace(chunk=chunk))


def palettized(
    weight: Array, bits: int, codebook: Codebook = kmeans, engine: Engine = NUMPY, importance: Array | None = None
) -> tuple[Array, Palette, Loss]:
    codes = np.full(weight.size, 99, np.uint8)
    expected = 0

    def emit(position: int, piece: Array) -> None:
        nonlocal expected
        assert position == expected
        assert piece.dtype == np.uint8
        codes[position : position + piece.size] = piece
        expected += piece.size

    palette, loss = palettize_view(weight, bits, codebook, engine, emit, importance)
    assert expected == weight.size
    return codes.reshape(weight.shape), palette, loss


def decoded(codes: Array, palette: Palette) -> Array:
    groups = np.arange(codes.shape[1])[None, :, None]
    return palette.entries[groups, codes]


def row(*values: float, dtype: Any = np.float16) -> Array:
    return np.array(values, dtype).reshape(1, 1, -1)


def weights(dtype: Any) -> st.SearchStrategy[Array]:
    """Weights of few elements and all magnitudes: subnormal, tiny, ordinary, and up to the greatest."""
    sides = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 30))
    bound, width = float(np.finfo(dtype).max), np.dtype(dtype).itemsize * 8
    numbers = st.floats(-bound, bound, width=width) | st.floats(-1, 1, width=width) | st.floats(-(2**-14), 2**-14, width=width)
    return sides.flatmap(lambda shape: arrays.arrays(dtype, shape, elements=numbers))


ANY = weights(np.float16) | weights(np.float32)


def test_two_clusters_are_decoded_as_their_means() -> None:
    codes, palette, loss = palettized(row(1, 3, 10, 12, 2), 1)
    assert palette.entries.tolist() == [[2, 11]]
    assert codes.reshape(-1).tolist() == [0, 0, 1, 1, 0]
    assert loss == Loss(1 + 9 + 100 + 144 + 4, 4, 1)


def test_groups_have_tables_of_their_own() -> None:
    weight = np.array([[[1, 3], [10, 30]], [[1, 3], [10, 30]]], np.float16)
    codes, palette, _ = palettized(weight, 1)
    assert palette.entries.tolist() == [[1, 3], [10, 30]]
    assert np.array_equal(decoded(codes, palette), weight)


@engines
@codebooks
@given(weight=ANY, bits=widths, chunk=st.sampled_from([1, 7, 1 << 16]))
def test_the_nearest_stored_entry_is_taken_and_the_lower_one_of_two_as_near(
    codebook: Codebook, engine: Engine, weight: Array, bits: int, chunk: int
) -> None:
    codes, palette, _ = palettized(weight, bits, codebook, with_chunk(engine, chunk))
    for group, used in enumerate(palette.used):
        entries = palette.entries[group, :used].astype(np.float64)
        middles = (entries[1:] + entries[:-1]) / 2
        expected = (weight[:, group].astype(np.float64)[..., None] > middles).sum(axis=-1)
        assert np.array_equal(codes[:, group], expected)


@engines
@codebooks
@given(weight=ANY, bits=widths)
def test_used_entries_ascend_and_all_have_elements_and_the_last_is_repeated(
    codebook: Codebook, engine: Engine, weight: Array, bits: int
) -> None:
    codes, palette, _ = palettized(weight, bits, codebook, engine)
    assert palette.entries.shape == (weight.shape[1], 1 << bits)
    assert palette.entries.dtype == weight.dtype
    assert np.isfinite(palette.entries).all()
    for group, used in enumerate(palette.used):
        assert set(codes[:, group].ravel().tolist()) == set(range(used))
        assert (np.diff(palette.entries[group, :used].astype(np.float64)) > 0).all()
        assert (palette.entries[group, used:] == palette.entries[group, used - 1]).all()


@engines
@codebooks
@given(weight=ANY, bits=widths)
def test_the_loss_is_that_of_what_is_decoded(codebook: Codebook, engine: Engine, weight: Array, bits: int) -> None:
    codes, palette, loss = palettized(weight, bits, codebook, engine)
    values = weight.astype(np.float64)
    error = values - decoded(codes, palette).astype(np.float64)
    assert loss.signal == pytest.approx(float(np.square(values).sum()), rel=1e-9)
    assert loss.noise == pytest.approx(float(np.square(error).sum()), rel=1e-9)
    assert loss.worst == float(np.abs(error).max())


@codebooks
@given(weight=ANY, bits=widths, chunk=st.sampled_from([1, 7, 1 << 16]))
def test_engines_agree_bit_for_bit_whatever_their_pieces(codebook: Codebook, weight: Array, bits: int, chunk: int) -> None:
    codes, palette, _ = palettized(weight, bits, codebook, NUMPY)
    for engine in (NUMBA, NUMPY):
        other_codes, other, _ = palettized(weight, bits, codebook, with_chunk(engine, chunk))
        assert np.array_equal(codes, other_codes)
        assert palette.entries.tobytes() == other.entries.tobytes()
        assert np.array_equal(palette.used, other.used)


@dtypes
@pytest.mark.parametrize("shape", [(1, 3, 5000), (4, 3, 700), (1, 1, 30_000)])
def test_engines_agree_on_larger_weights(dtype: Any, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.02, shape).astype(dtype)
    for bits, importance in ((2, None), (4, None), (4, rng.random((1, 1, shape[2])))):
        codes, palette, _ = palettized(weight, bits, kmeans, NUMPY, importance)
        other_codes, other, _ = palettized(weight, bits, kmeans, NUMBA, importance)
        assert np.array_equal(codes, other_codes)
        assert palette.entries.tobytes() == other.entries.tobytes()


@engines
@dtypes
def test_kmeans_is_the_best_but_for_the_rounding_of_entries(engine: Engine, dtype: Any) -> None:
    weight = np.random.default_rng(1).normal(size=(1, 1, 4000)).astype(dtype)
    values = np.sort(weight.reshape(-1).astype(np.float64))
    best = means.exact(values, np.ones(len(values)), 16, means.NUMPY)
    noise = np.square(values[:, None] - best).min(axis=1).sum()
    assert palettized(weight, 4, kmeans, engine)[2].noise == pytest.approx(noise, rel=1e-5)


@engines
@dtypes
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_no_more_values_than_places_are_kept_without_loss(engine: Engine, dtype: Any, bits: int) -> None:
    rng = np.random.default_rng(bits)
    values = rng.normal(size=(2, 1 << bits)).astype(dtype)
    weight = np.stack([rng.choice(values[group], 3000) for group in (0, 1)])[None]
    for codebook in (kmeans, unique):
        codes, palette, loss = palettized(weight, bits, codebook, engine)
        assert np.array_equal(decoded(codes, palette), weight)
        assert loss.noise == loss.worst == 0


@engines
@dtypes
@codebooks
@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -65504.0, 65504.0, 6e-8, -6e-8])
def test_a_constant_is_kept_and_takes_one_entry(codebook: Codebook, engine: Engine, dtype: Any, value: float) -> None:
    weight = np.full((2, 1, 3), value, dtype)
    codes, palette, loss = palettized(weight, 4, codebook, engine)
    assert palette.used.tolist() == [1]
    assert (palette.entries == weight[0, 0, 0]).all()
    assert not codes.any()
    assert loss.noise == 0


@engines
@codebooks
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_the_greatest_values_are_decoded_as_finite_ones(codebook: Codebook, engine: Engine, bits: int) -> None:
    for dtype in (np.float16, np.float32):
        most = float(np.finfo(dtype).max)
        _, palette, loss = palettized(row(most, -most, most * 0.99, 0, 1, dtype=dtype), bits, codebook, engine)
        assert np.isfinite(palette.entries).all()
        assert np.isfinite([loss.signal, loss.noise, loss.worst]).all()


@engines
@dtypes
def test_a_zero_is_coded_alike_whatever_its_sign(engine: Engine, dtype: Any) -> None:
    for values in ((-1, -0.0, 0.0, 1), (-6e-8, -0.0, 0.0, 6e-8), (-0.0, 0.0, 1, 1)):
        for bits in (1, 6):
            codes, palette, _ = palettized(row(*values, dtype=dtype), bits, kmeans, engine)
            zeros = codes.reshape(-1)[np.array(values) == 0]
            assert zeros[0] == zeros[1]
            assert not np.signbit(palette.entries[palette.entries == 0]).any()


@engines
@dtypes
@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 0, 3), (2, 3, 0), (1, 2, 0), (1, 0, 0)])
def test_what_has_no_elements_has_zeros_that_nothing_uses(engine: Engine, dtype: Any, shape: tuple[int, int, int]) -> None:
    for codebook in (kmeans, uniform, unique, Custom(lambda values, weights: values)):
        codes, palette, loss = palettized(np.zeros(shape, dtype), 2, codebook, engine)
        assert codes.shape == shape
        assert palette.entries.tolist() == [[0, 0, 0, 0]] * shape[1]
        assert palette.used.tolist() == [0] * shape[1]
        assert loss == Loss()


@engines
@dtypes
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(engine: Engine, dtype: Any, value: float) -> None:
    weight = np.ones((2, 3, 4), dtype)
    weight[1, 2, 3] = value
    for chunk in (1, 1000):
        with pytest.raises(NotFiniteError):
            palettized(weight, 4, kmeans, with_chunk(engine, chunk))


def test_importance_draws_entries_to_what_it_weighs() -> None:
    weight = row(0, 1, 5)
    assert palettized(weight, 1, importance=np.array([[[1.0, 1.0, 1.0]]]))[1].entries.tolist() == [[0.5, 5]]
    assert palettized(weight, 1, importance=np.array([[[1000.0, 127.0, 1.0]]]))[1].entries.tolist() == [[0, 1.03125]]


@engines
@dtypes
def test_a_whole_importance_is_as_good_as_repeated_elements(engine: Engine, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    weight, times = rng.normal(size=(1, 2, 60)).astype(dtype), rng.integers(0, 4, (1, 1, 60))
    _, palette, _ = palettized(weight, 3, kmeans, engine, times)
    _, expected, _ = palettized(np.repeat(weight, times.reshape(-1), axis=2), 3, kmeans, engine)
    assert palette.entries.tobytes() == expected.entries.tobytes()


@engines
@pytest.mark.parametrize("shape", [(2, 3, 40), (1, 1, 40), (2, 1, 1), (1, 3, 1)])
def test_importance_is_broadcast(engine: Engine, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    weight, importance = rng.normal(size=(2, 3, 40)).astype(np.float16), rng.random(shape)
    for chunk in (1, 100, 10_000):
        _, palette, _ = palettized(weight, 2, kmeans, with_chunk(engine, chunk), importance)
        _, expected, _ = palettized(weight, 2, kmeans, engine, np.broadcast_to(importance, weight.shape))
        assert palette.entries.tobytes() == expected.entries.tobytes()


def test_the_loss_does_not_know_of_importance() -> None:
    assert palettized(row(0, 4), 1, Custom(lambda values, weights: [0]), importance=np.array([[[1.0, 9.0]]]))[2] == Loss(16, 16, 4)


def test_uniform_entries_are_equally_spaced_between_the_extremes() -> None:
    _, palette, _ = palettized(row(-3, -1, 1, 3, 0.5), 2, uniform)
    assert palette.entries.tolist() == [[-3, -1, 1, 3]]


def test_uniform_entries_that_nothing_uses_are_dropped() -> None:
    codes, palette, _ = palettized(row(0, 0.5, 6), 2, uniform)
    assert palette.entries.tolist() == [[0, 6, 6, 6]]
    assert codes.reshape(-1).tolist() == [0, 0, 1]


def test_more_unique_values_than_places_are_an_error_with_their_number() -> None:
    with pytest.raises(TooManyValuesError, match="a group has 5 distinct values, and a table 4 places") as caught:
        palettized(np.array([[[1, 2, 3, 4, 5], [1, 1, 1, 1, 1]]], np.float16), 2, unique)
    assert (caught.value.count, caught.value.places) == (5, 4)


def test_a_custom_codebook_is_given_distinct_values_and_how_many_there_are() -> None:
    given_: list[list[float]] = []

    def middle(values: Array, weights: Array) -> list[float]:
        given_.extend((values.tolist(), weights.tolist()))
        return [5, 1]

    codes, palette, _ = palettized(row(7, 1, 2, 7), 2, Custom(middle))
    assert given_ == [[1, 2, 7], [1, 1, 2]]
    assert palette.entries.tolist() == [[1, 5, 5, 5]]
    assert codes.reshape(-1).tolist() == [1, 0, 0, 1]


def test_what_a_custom_codebook_does_to_its_values_changes_nothing() -> None:
    def centered(values: Array, weights: Array) -> Array:
        values -= values.mean()
        weights[:] = 0
        return np.array([1, 5])

    codes, palette, loss = palettized(row(7, 1, 2, 7), 1, Custom(centered))
    assert (palette.entries.tolist(), codes.reshape(-1).tolist(), loss.worst) == ([[1, 5]], [1, 0, 0, 1], 2)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([], "0 entries"), ([1, 2, 3], "3 entries"), ([np.nan], "finite"), ([np.inf, 1], "finite"),
        (None, "of object, and entries are numbers"), ([1j], "of complex128"), (["1"], "of <U1"),
    ],
)  # fmt: skip
def test_a_custom_codebook_without_a_table_is_an_error(entries: Any, why: str) -> None:
    with pytest.raises(CodebookError, match=why):
        palettized(row(1, 2), 1, Custom(lambda values, weights: entries))


@dtypes
def test_entries_are_rounded_to_the_type_and_equal_ones_are_one(dtype: Any) -> None:
    step = float(np.spacing(dtype(1)))
    codes, palette, _ = palettized(row(1, 1 + step, 3, dtype=dtype), 2, Custom(lambda values, weights: [1, 1 + step / 4, 3.0, 1e300]))
    assert palette.entries.tolist() == [[1, 3, 3, 3]]
    assert codes.reshape(-1).tolist() == [0, 0, 1]


@engines
@given(weight=ANY, seed=st.integers(0, 9))
def test_given_entries_are_assigned_in_any_order(engine: Engine, weight: Array, seed: int) -> None:
    rng = np.random.default_rng(seed)
    entries = rng.permuted(rng.choice(weight.reshape(-1), (weight.shape[1], 4)), axis=1)
    codes = np.zeros(weight.size, np.uint8)

    def emit(position: int, piece: Array) -> None:
        codes[position : position + piece.size] = piece

    palette, loss = assign_view(weight, entries, with_chunk(engine, 16), emit)
    found = decoded(codes.reshape(weight.shape), palette).astype(np.float64)
    exact = weight.astype(np.float64)
    least = np.abs(exact[..., None] - entries.astype(np.float64)[:, None, :]).min(axis=-1)
    assert np.array_equal(np.abs(exact - found), least)
    assert loss.worst == least.max()


def test_given_entries_have_to_be_finite() -> None:
    with pytest.raises(CodebookError, match="finite"):
        assign_view(row(1), np.array([[np.inf, 1]], np.float16), NUMPY, lambda position, piece: None)


@dtypes
@pytest.mark.parametrize("shape", [(1, 1, 1 << 25), (1, 1 << 11, 1 << 14), (1 << 11, 4, 1 << 12)])
def test_a_mapped_weight_is_not_copied(dtype: Any, shape: tuple[int, int, int], tmp_path: Path) -> None:
    """64 MB, of few values, so that it takes little time."""
    shape = (shape[0], shape[1], shape[2] * 2 // np.dtype(dtype).itemsize)
    path = tmp_path / "weight"
    (np.arange(np.prod(shape)) % 31).astype(dtype).tofile(path)
    weight = np.memmap(path, dtype, "r", shape=shape)
    tracemalloc.start()
    palettize_view(weight, 2, kmeans, NUMBA, lambda position, piece: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20
