"""Vector palettization: the numbers."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlpasses.numerics.affine import Loss, NotFiniteError, channel_view
from mlpasses.numerics.vector_kernels import NUMBA
from mlpasses.numerics.vector_kmeans import NUMPY, Engine, Tables, palettize_vectors
from tests.whole import lut_to_dense

Array = npt.NDArray[Any]

ENGINES = {"numpy": NUMPY, "numba": NUMBA}
engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
dtypes = pytest.mark.parametrize("dtype", [np.float16, np.float32])
sizes = pytest.mark.parametrize("size", [2, 3, 4, 8, 16])  # 3: what is left of 4 where channels are divided by no more


@pytest.fixture(scope="module", autouse=True)
def _compiled_kernels() -> None:
    """Compiles before the first example: it takes longer than Hypothesis allows one to."""
    random = np.random.default_rng(0)
    for dtype, inner, size in itertools.product((np.float16, np.float32), (1, 3), (2, 4)):
        weight = random.standard_normal((2, 16, inner)).astype(dtype)
        for importance in (None, np.ones(weight.shape, np.float32)):
            palettized(weight, size, 2, NUMBA, groups=2, importance=importance)


def palettized(weight: Array, size: int, entries: int, engine: Engine = NUMPY, **options: Any) -> tuple[Array, Tables, Loss]:
    """Codes `[outer, vectors, inner]`, tables and loss; every piece has to follow the one before it."""
    pieces = [np.empty(0, np.uint8)]

    def emit(position: int, piece: Array) -> None:
        assert position == sum(previous.size for previous in pieces)
        pieces.append(piece.copy())

    tables, loss = palettize_vectors(weight, size, entries, engine, emit, **options)
    outer, channels, inner = weight.shape
    return np.concatenate(pieces).reshape(outer, channels // size, inner), tables, loss


def decoded(codes: Array, tables: Tables) -> Array:
    """By the op's own semantics: a table for each block of the middle axis, vectors along it."""
    return lut_to_dense(codes, tables.entries[None, :, None], 1)


def normal(*shape: int, dtype: Any = np.float16) -> Array:
    return np.random.default_rng(7).standard_normal(shape).astype(dtype)


def squares(array: Array) -> float:
    return float(np.square(array.astype(np.float64)).sum())


def weights(dtype: Any) -> st.SearchStrategy[Array]:
    """Weights of few elements and all magnitudes, with equal vectors among them; channels are a multiple of 4."""
    sides = st.tuples(st.integers(1, 3), st.sampled_from([4, 8, 16]), st.integers(1, 4))
    bound = float(np.finfo(dtype).max)
    numbers = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2**-24, bound]) | st.floats(-bound, bound, width=np.dtype(dtype).itemsize * 8)
    return sides.flatmap(lambda shape: arrays.arrays(dtype, shape, elements=numbers))


ANY = weights(np.float16) | weights(np.float32)


def test_vectors_lie_along_the_middle_axis() -> None:
    weight = np.array([[[1, 5], [2, 6], [3, 7], [4, 8]]], np.float16)
    codes, tables, _ = palettized(weight, 2, 4)
    assert tables.entries.tolist() == [[[1, 2], [3, 4], [5, 6], [7, 8]]]
    assert codes.tolist() == [[[0, 2], [1, 3]]]


@engines
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_codes_and_tables_are_decoded_by_the_op_along_any_axis(engine: Engine, axis: int) -> None:
    weight = np.random.default_rng(0).choice(normal(9, 4).reshape(-1, 4), 8 * 4 * 3).reshape(8, 4, 3, 4)
    weight = np.moveaxis(weight, 3, axis + 1).reshape(tuple(dim * 4 if at == axis else dim for at, dim in enumerate((8, 4, 3))))
    codes, tables, loss = palettized(weight.reshape(channel_view(weight.shape, axis)), 4, 16, engine)
    shape = tuple(dim // 4 if at == axis else dim for at, dim in enumerate(weight.shape))
    table = tables.entries.reshape(1, 1, 1, 16, 4)
    assert np.array_equal(lut_to_dense(codes.reshape(shape), table, axis), weight)
    assert loss.noise == 0


@engines
def test_every_group_of_channels_has_a_table(engine: Engine) -> None:
    weight = np.repeat(np.arange(1, 9, dtype=np.float16), 4)[None, :, None] * np.ones((2, 1, 3), np.float16)
    codes, tables, loss = palettized(weight, 2, 1, engine, groups=8)
    assert tables.entries.tolist() == [[[value, value]] for value in range(1, 9)]
    assert not codes.any()
    assert loss.noise == 0


@engines
@dtypes
@sizes
def test_no_more_distinct_vectors_than_entries_lose_nothing(engine: Engine, dtype: Any, size: int) -> None:
    vectors = normal(16, size, dtype=dtype)
    weight = vectors[np.random.default_rng(1).integers(0, 16, 5000)].reshape(1, -1, 1)
    codes, tables, loss = palettized(weight, size, 16, engine)
    assert np.array_equal(decoded(codes, tables), weight)
    assert tables.used.tolist() == [16]
    assert (loss.noise, loss.worst) == (0, 0)


@engines
def test_a_rare_vector_is_not_overlooked(engine: Engine) -> None:
    weight = np.ones((1, 1 << 18, 1), np.float16)
    weight[0, 100_003] = 3
    codes, tables, loss = palettized(weight, 2, 4, engine)
    assert np.array_equal(decoded(codes, tables), weight)
    assert tables.entries[0].tolist() == [[1, 1], [1, 3], [1, 3], [1, 3]]
    assert (tables.used.tolist(), loss.noise) == ([2], 0)


@engines
def test_both_zeros_are_one_vector(engine: Engine) -> None:
    weight = np.array([0.0, -0.0, -0.0, 0.0, 1, 2], np.float16).reshape(1, -1, 1)
    _, tables, loss = palettized(weight, 2, 2, engine)
    assert (tables.used.tolist(), loss.noise) == ([2], 0)


@given(ANY, st.sampled_from([1, 2, 4, 16]), st.sampled_from([2, 4]))
def test_codes_are_those_of_the_nearest_stored_entries(weight: Array, entries: int, size: int) -> None:
    codes, tables, _ = palettized(weight, size, entries)
    outer, _, inner = weight.shape
    vectors = weight.reshape(outer, -1, size, inner).swapaxes(2, 3)[..., None, :].astype(np.float64)
    distances = np.square(vectors - tables.entries[0].astype(np.float64)).sum(axis=-1)
    chosen = np.take_along_axis(distances, codes[..., None].astype(np.int64), -1)[..., 0]
    assert (chosen <= distances.min(axis=-1) * (1 + 1e-5) + squares(np.abs(weight).max()) * 1e-12).all()


@given(ANY, st.sampled_from([1, 2, 4, 16]), st.booleans(), st.sampled_from([2, 4]))
def test_kernels_and_reference_agree_bit_for_bit(weight: Array, entries: int, weighted: bool, size: int) -> None:
    importance = np.arange(weight.size, dtype=np.float32).reshape(weight.shape) if weighted else None
    expected, reference, _ = palettized(weight, size, entries, NUMPY, importance=importance)
    found, compiled, _ = palettized(weight, size, entries, NUMBA, importance=importance)
    assert np.array_equal(expected, found)
    assert reference.entries.tobytes() == compiled.entries.tobytes()
    assert np.array_equal(reference.used, compiled.used)


@sizes
@dtypes
@pytest.mark.parametrize("weighted", [False, True])
def test_kernels_and_reference_agree_on_weights_that_are_sampled(size: int, dtype: Any, weighted: bool) -> None:
    weight = normal(2, 200 * size, 177, dtype=dtype)
    importance = np.arange(1, weight.shape[1] + 1, dtype=np.float32)[:, None] if weighted else None
    expected, reference, loss = palettized(weight, size, 8, NUMPY, groups=2, importance=importance)
    found, compiled, other = palettized(weight, size, 8, NUMBA, groups=2, importance=importance)
    assert np.array_equal(expected, found)
    assert reference.entries.tobytes() == compiled.entries.tobytes()
    assert other.noise == pytest.approx(loss.noise)
    assert other.worst == loss.worst


@given(ANY, st.sampled_from([1, 4]), st.sampled_from(list(ENGINES.values())))
def test_the_loss_is_that_of_what_is_decoded(weight: Array, entries: int, engine: Engine) -> None:
    codes, tables, loss = palettized(weight, 2, entries, engine, groups=2)
    exact, found = weight.astype(np.float64), decoded(codes, tables).astype(np.float64)
    small = float(np.abs(exact).max()) * 1e-6  # differences are float32 numbers
    assert loss.signal == pytest.approx(squares(exact), rel=1e-6)
    assert loss.noise == pytest.approx(squares(exact - found), rel=1e-5, abs=small**2 * weight.size)
    assert loss.worst == pytest.approx(np.abs(exact - found).max(), rel=1e-5, abs=small)


@given(ANY, st.sampled_from([1, 2, 16]))
def test_used_counts_the_entries_with_a_vector(weight: Array, entries: int) -> None:
    codes, tables, _ = palettized(weight, 4, entries)
    assert tables.used.tolist() == [np.unique(codes).size]
    assert tables.entries.shape == (1, entries, 4)
    assert np.isfinite(tables.entries).all()


@engines
def test_one_entry_is_the_mean(engine: Engine) -> None:
    weight = normal(3, 40, 50, dtype=np.float32)
    _, tables, _ = palettized(weight, 2, 1, engine)
    assert tables.entries[0, 0] == pytest.approx(weight.reshape(3, 20, 2, 50).mean(axis=(0, 1, 3)), abs=1e-6)


@engines
def test_an_importance_weights_the_squared_error_of_an_element(engine: Engine) -> None:
    weight = normal(1, 40, 50, dtype=np.float32)
    importance = np.random.default_rng(3).random(weight.shape, np.float32)
    _, tables, _ = palettized(weight, 2, 1, engine, importance=importance)
    expected = np.average(weight.reshape(20, 2, 50), axis=(0, 2), weights=importance.reshape(20, 2, 50))
    assert tables.entries[0, 0] == pytest.approx(expected, abs=1e-6)


@engines
def test_elements_without_importance_do_not_decide(engine: Engine) -> None:
    weight = normal(1, 2000, 1, dtype=np.float32)
    weight[0, ::2] = np.repeat(np.arange(4), 250)[:, None]
    importance = np.tile(np.array([1, 0], np.float32), 1000)[:, None]
    codes, tables, _ = palettized(weight, 2, 4, engine, importance=importance)
    assert np.array_equal(decoded(codes, tables)[0, ::2], weight[0, ::2])


def test_an_importance_of_nothing_is_none() -> None:
    weight = normal(1, 40, 5)
    assert np.array_equal(palettized(weight, 2, 4, importance=np.zeros(1))[0], palettized(weight, 2, 4)[0])


@pytest.mark.parametrize("importance", [-1.0, np.nan, np.inf])
def test_an_importance_that_is_negative_or_not_finite_is_refused(importance: float) -> None:
    with pytest.raises(ValueError, match="importance has to be finite and not negative"):
        palettized(normal(1, 4, 1), 2, 2, importance=np.array([1, 1, 1, importance])[:, None])


@engines
@sizes
def test_clusters_that_lie_apart_are_found(engine: Engine, size: int) -> None:
    random = np.random.default_rng(5)
    centers = random.permutation(np.array(list(itertools.product((-1, 1), repeat=4)), np.float64))[:, np.arange(size) % 4]
    centers = np.unique(centers, axis=0)
    weight = (centers[random.integers(0, len(centers), 20_000)] + 0.01 * random.standard_normal((20_000, size))).reshape(1, -1, 1)
    _, tables, _ = palettized(weight.astype(np.float32), size, len(centers), engine)
    assert np.unique(tables.entries[0].round(), axis=0).tolist() == centers.tolist()


def test_few_vectors_are_clustered_about_as_well_as_can_be() -> None:
    ratios = []
    for seed in range(20):
        vectors = np.random.default_rng(seed).standard_normal((8, 2)).astype(np.float32)
        _, _, loss = palettized(vectors.reshape(1, -1, 1), 2, 2)
        splits = (np.array(split) for split in itertools.product((False, True), repeat=8) if 0 < sum(split) < 8)
        best = min(sum(squares(part - part.mean(axis=0)) for part in (vectors[split], vectors[~split])) for split in splits)
        ratios.append(loss.noise / best)
    assert min(ratios) > 0.9999
    assert max(ratios) < 1.1
    assert np.mean(ratios) < 1.01


@pytest.mark.parametrize(("size", "entries", "least"), [(2, 16, 9.6), (2, 4, 4.38), (4, 16, 4.6), (2, 256, 20.95)])
def test_normal_vectors_come_near_the_known_optimum(size: int, entries: int, least: float) -> None:
    """In dB. Two or more elements at a time have to be better than one: 4.40 at a bit, 9.30 at two and 20.22 at four (Max 1960)."""
    _, _, loss = palettized(normal(1, 1024, 1024), size, entries, NUMBA)
    assert loss.sqnr > least


def test_the_few_vectors_that_most_of_the_error_lies_in_are_seen() -> None:
    """One vector in a thousand has nineteen twentieths of the squares. With an even sample it is 8.5 dB."""
    weight = normal(1, 2048, 1024)
    weight[0, :, 17] *= 100
    _, _, loss = palettized(weight, 2, 64, NUMBA)
    assert loss.sqnr > 14


@engines
@dtypes
def test_the_largest_values_are_decoded_as_finite_ones(engine: Engine, dtype: Any) -> None:
    most = float(np.finfo(dtype).max)
    weight = (np.where(normal(1, 64, 8) < 0, -1.0, 1.0) * most * np.linspace(0.9, 1, 8)).astype(dtype)
    codes, tables, loss = palettized(weight, 2, 4, engine)
    assert np.isfinite(decoded(codes, tables)).all()
    assert loss.sqnr > 20


@engines
@dtypes
def test_subnormal_values_are_told_apart(engine: Engine, dtype: Any) -> None:
    least = float(np.finfo(dtype).smallest_subnormal)
    weight = (np.rint(normal(1, 64, 8) * 200) * least).astype(dtype)
    _, _, loss = palettized(weight, 2, 16, engine)
    assert loss.sqnr > 9


@engines
@dtypes
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(engine: Engine, dtype: Any, value: float) -> None:
    weight = np.ones((2, 8, 4), dtype)
    weight[1, 5, 3] = value
    with pytest.raises(NotFiniteError):
        palettized(weight, 2, 4, engine, groups=2)


@engines
@pytest.mark.parametrize("shape", [(0, 8, 2), (1, 8, 0), (1, 0, 2)])
def test_a_weight_without_elements_has_no_codes(engine: Engine, shape: tuple[int, int, int]) -> None:
    codes, tables, loss = palettized(np.empty(shape, np.float16), 2, 4, engine)
    assert codes.size == 0
    assert tables.entries.tolist() == [[[0, 0]] * 4]
    assert (tables.used.tolist(), loss) == ([0], Loss())


def test_groups_have_to_divide_the_channels() -> None:
    with pytest.raises(ValueError, match="3 groups of vectors of 2 do not divide 8 channels"):
        palettized(normal(1, 8, 1), 2, 4, groups=3)


def test_codes_are_bytes() -> None:
    with pytest.raises(ValueError, match="1 to 256 entries"):
        palettized(normal(1, 8, 1), 2, 512)


@engines
def test_a_seed_decides(engine: Engine) -> None:
    weight = normal(1, 400, 20)
    again, _, _ = palettized(weight, 2, 16, engine, seed=1)
    assert np.array_equal(palettized(weight, 2, 16, engine, seed=1)[0], again)
    assert not np.array_equal(palettized(weight, 2, 16, engine, seed=2)[0], again)


@pytest.mark.parametrize("shape", [(3, 64, 2100), (700, 64, 3), (1, 2, 70_000), (300, 64, 1)])
def test_pieces_are_those_of_the_codes_in_c_order(shape: tuple[int, int, int]) -> None:
    weight = np.random.default_rng(0).integers(0, 2, shape).astype(np.float16)
    codes, tables, _ = palettized(weight, 2, 4, NUMBA)
    assert np.array_equal(decoded(codes, tables), weight)


def test_a_mapped_weight_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "weight"
    normal(1, 8192, 4096).tofile(path)
    weight = np.memmap(path, np.float16, "r", shape=(1, 8192, 4096))
    tracemalloc.start()
    palettize_vectors(weight, 2, 4, NUMBA, lambda position, piece: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20  # the weight has 64 MB
