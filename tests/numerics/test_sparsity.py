"""Pruning: the numbers."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlpasses.numerics.affine import Loss, NotFiniteError, channel_view
from mlpasses.numerics.sparsity import (
    NUMPY,
    Cut,
    Engine,
    apply_cut,
    choose_blocks,
    choose_magnitude,
    choose_n_of_m,
    choose_threshold,
)
from mlpasses.numerics.sparsity_kernels import NUMBA
from tests.whole import packed_sparse_to_dense

Array = npt.NDArray[Any]

ENGINES = {"numpy": NUMPY, "numba": NUMBA}
CHOICES: dict[str, Callable[[Array, Engine], Cut]] = {
    "magnitude": lambda weight, engine: choose_magnitude(weight, 0.6, engine),
    "importance": lambda weight, engine: choose_magnitude(weight, 0.6, engine, np.arange(weight.shape[1], dtype=np.float32)[:, None]),
    "threshold": lambda weight, engine: choose_threshold(weight, 0.5, engine),
    "zeros": lambda weight, engine: choose_threshold(weight, 0, engine),
    "2:4": lambda weight, engine: choose_n_of_m(weight, 2, 4, engine),
    "blocks": lambda weight, engine: choose_blocks(weight, 3, 0.5, engine),
}
engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
choices = pytest.mark.parametrize("choose", CHOICES.values(), ids=CHOICES)
dtypes = pytest.mark.parametrize("dtype", [np.float16, np.float32])


@pytest.fixture(scope="module", autouse=True)
def _compiled_kernels() -> None:
    """Compiles before the first example: it takes longer than Hypothesis allows one to."""
    for dtype in (np.float16, np.float32):
        for shape in ((2, 5, 1), (2, 5, 2)):
            for choose in CHOICES.values():
                pruned(np.ones(shape, dtype), choose(np.ones(shape, dtype), NUMBA), NUMBA)


def streams(weight: Array, cut: Cut, engine: Engine) -> tuple[Array, Array, Loss]:
    """The mask's bytes, the kept values, and the loss; every piece has to follow the one before it."""
    mask: list[Array] = []
    kept: list[Array] = []

    def follows(parts: list[Array]) -> Callable[[int, Array], None]:
        def emit(position: int, part: Array) -> None:
            assert position == sum(previous.size for previous in parts)
            parts.append(part.copy())

        return emit

    loss = apply_cut(weight, cut, engine, follows(mask), follows(kept))
    return np.concatenate([np.empty(0, np.uint8), *mask]), np.concatenate([np.empty(0, weight.dtype), *kept]), loss


def pruned(weight: Array, cut: Cut, engine: Engine = NUMPY) -> Array:
    """What is decoded."""
    mask, kept, _ = streams(weight, cut, engine)
    return packed_sparse_to_dense(kept, mask, weight.shape)


def row(*values: float, dtype: Any = np.float16) -> Array:
    return np.array(values, dtype).reshape(1, 1, -1)


def column(*values: float) -> Array:
    return np.array(values, np.float16).reshape(1, -1, 1)


def least(scores: Array, count: int) -> Array:
    """A mask of the `count` least scores, the first of equal ones, by sorting."""
    found = np.zeros(scores.size, np.bool_)
    found[np.argsort(scores.reshape(-1), kind="stable")[:count]] = True
    return found.reshape(scores.shape)


def weights(dtype: Any) -> st.SearchStrategy[Array]:
    """Weights of few elements with many ties: zeros of both signs, subnormal, ordinary and the largest numbers."""
    sides = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 5))
    bound = float(np.finfo(dtype).max)
    numbers = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2**-24, bound]) | st.floats(-bound, bound, width=np.dtype(dtype).itemsize * 8)
    return sides.flatmap(lambda shape: arrays.arrays(dtype, shape, elements=numbers))


ANY = weights(np.float16) | weights(np.float32)


def test_the_least_magnitudes_are_pruned() -> None:
    weight = row(0.3, -0.2, -0.01, 0.05)
    assert pruned(weight, choose_magnitude(weight, 0.75, NUMPY)).reshape(-1).tolist() == [weight[0, 0, 0], 0, 0, 0]


def test_the_mask_has_the_first_element_in_the_lowest_bit_and_zeros_behind_the_last() -> None:
    weight = row(1, 0, 0, 1, 0, 0, 0, 0, 0, 1)
    mask, kept, _ = streams(weight, choose_threshold(weight, 0, NUMPY), NUMPY)
    assert mask.tolist() == [0b00001001, 0b00000010]
    assert kept.tolist() == [1, 1, 1]


@engines
def test_of_equal_magnitudes_the_first_are_pruned(engine: Engine) -> None:
    weight = row(1, -1, 1, -1, 2)
    assert pruned(weight, choose_magnitude(weight, 0.4, engine), engine).reshape(-1).tolist() == [0, 0, 1, -1, 2]


@engines
def test_a_constant_weight_is_pruned_to_the_target_exactly(engine: Engine) -> None:
    weight = np.ones((1, 40, 50), np.float16)
    found = pruned(weight, choose_magnitude(weight, 0.5, engine), engine).reshape(-1)
    assert not found[:1000].any()
    assert found[1000:].all()


@engines
def test_zeros_that_are_there_count(engine: Engine) -> None:
    weight = row(3, 0, 1, -0.0, 2)
    assert pruned(weight, choose_magnitude(weight, 0.6, engine), engine).reshape(-1).tolist() == [3, 0, 0, 0, 2]


@engines
@dtypes
def test_where_there_are_more_zeros_than_asked_for_they_and_nothing_else_are_pruned(engine: Engine, dtype: Any) -> None:
    weight = row(0, 0, 0, 1, 2, dtype=dtype)
    cut = choose_magnitude(weight, 0.2, engine)
    assert cut.zeros == 3
    assert np.array_equal(pruned(weight, cut, engine), weight)


@pytest.mark.parametrize(("sparsity", "kept"), [(0.0, 5), (1.0, 0)])
@engines
@dtypes
def test_a_sparsity_may_be_none_and_all(engine: Engine, dtype: Any, sparsity: float, kept: int) -> None:
    weight = row(65504, -65504, 1, 2, 3, dtype=dtype)
    assert np.count_nonzero(pruned(weight, choose_magnitude(weight, sparsity, engine), engine)) == kept


@given(ANY, st.floats(0, 1), st.sampled_from(list(ENGINES.values())))
def test_magnitude_is_what_sorting_finds(weight: Array, sparsity: float, engine: Engine) -> None:
    wanted = max(math.floor(sparsity * weight.size), np.count_nonzero(weight == 0))
    cut = choose_magnitude(weight, sparsity, engine)
    assert cut.zeros == wanted
    assert np.array_equal(pruned(weight, cut, engine), np.where(least(np.abs(weight), wanted), 0, weight))


@given(ANY, st.floats(0, 1), st.data())
def test_an_importance_weights_the_square_of_a_magnitude(weight: Array, sparsity: float, data: st.DataObject) -> None:
    importance = data.draw(arrays.arrays(np.float32, (1, weight.shape[1], 1), elements=st.sampled_from([0.0, 0.25, 1.0, 4.0, 1e30])))
    scores = (np.abs(weight.astype(np.float64)) * np.sqrt(importance.astype(np.float64))).clip(0, float(np.finfo(np.float32).max))
    scores = np.where(weight == 0, -1, np.maximum(scores.astype(np.float32), np.float32(2**-149)))
    wanted = max(math.floor(sparsity * weight.size), np.count_nonzero(weight == 0))
    cut = choose_magnitude(weight, sparsity, NUMPY, importance)
    assert cut.zeros == wanted
    assert np.array_equal(pruned(weight, cut), np.where(least(scores, wanted), 0, weight))


@engines
def test_an_element_without_importance_goes_after_the_zeros_and_before_all_others(engine: Engine) -> None:
    weight = row(9, 0.1, 0)
    importance = np.array([0, 1, 1], np.float32)
    assert pruned(weight, choose_magnitude(weight, 0.34, engine, importance), engine)[0, 0].tolist() == [9, weight[0, 0, 1], 0]
    assert pruned(weight, choose_magnitude(weight, 0.67, engine, importance), engine)[0, 0].tolist() == [0, weight[0, 0, 1], 0]


@pytest.mark.parametrize("importance", [-1.0, np.nan, np.inf])
def test_an_importance_that_is_negative_or_not_finite_is_refused(importance: float) -> None:
    with pytest.raises(ValueError, match="importance has to be finite and not negative"):
        choose_magnitude(row(1, 2), 0.5, NUMPY, np.array([1, importance]))


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, math.nan])
def test_a_sparsity_beyond_its_range_is_refused(sparsity: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        choose_magnitude(row(1, 2), sparsity, NUMPY)


@engines
def test_a_magnitude_that_is_the_threshold_is_pruned(engine: Engine) -> None:
    weight = row(0.5, -0.5, 0.50048828125, 0.25)
    assert pruned(weight, choose_threshold(weight, 0.5, engine), engine).reshape(-1).tolist() == [0, 0, 0.50048828125, 0]


def test_a_threshold_is_not_rounded_to_the_type_of_the_weight() -> None:
    weight = row(0.5, 0.50048828125)
    assert choose_threshold(weight, 0.5004, NUMPY).zeros == 1


@engines
@dtypes
def test_a_threshold_may_be_beyond_the_type(engine: Engine, dtype: Any) -> None:
    weight = row(65504, -1, dtype=dtype)
    assert choose_threshold(weight, 1e300, engine).zeros == 2
    assert choose_threshold(weight, math.inf, engine).zeros == 2


@given(ANY, st.floats(0, 1e5) | st.sampled_from([0.0, 0.5, 1.0, 1e-12]), st.sampled_from(list(ENGINES.values())))
def test_a_threshold_compares_real_numbers(weight: Array, threshold: float, engine: Engine) -> None:
    below = np.abs(weight.astype(np.float64)) <= threshold
    cut = choose_threshold(weight, threshold, engine)
    assert cut.zeros == np.count_nonzero(below)
    assert np.array_equal(pruned(weight, cut, engine), np.where(below, 0, weight))


@pytest.mark.parametrize("threshold", [-1.0, math.nan])
def test_a_threshold_that_is_negative_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        choose_threshold(row(1), threshold, NUMPY)


@engines
def test_pruning_zeros_loses_nothing_but_the_sign_of_zero(engine: Engine) -> None:
    weight = row(0, -0.0, 6e-8, -65504)
    cut = choose_threshold(weight, 0, engine)
    found = pruned(weight, cut, engine)
    assert cut.zeros == 2
    assert np.array_equal(found, weight)
    assert not np.signbit(found[0, 0, 1])


@engines
@pytest.mark.parametrize("axis", [0, 1])
def test_n_of_m_takes_the_least_of_every_m_along_an_axis(engine: Engine, axis: int) -> None:
    weight = np.array([[3, 4, 7, 6], [1, 8, -3, -8], [-2, -3, -4, 0], [5, 4, -3, -2]], np.float16)
    expected = {
        1: [[0, 4, 7, 0], [0, 8, 0, -8], [0, -3, -4, 0], [5, 0, -3, 0]],
        0: [[3, 0, 7, 0], [0, 8, 0, -8], [0, 0, -4, 0], [5, 4, 0, -2]],
    }
    view = weight.reshape(channel_view(weight.shape, axis))
    assert pruned(view, choose_n_of_m(view, 1, 2, engine), engine).reshape(4, 4).tolist() == expected[axis]


@given(ANY, st.integers(1, 6), st.data())
def test_n_of_m_is_what_sorting_every_group_finds(weight: Array, m: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, m))
    outer, channels, inner = weight.shape
    padded = np.zeros((outer, -(-channels // m) * m, inner), weight.dtype)
    padded[:, :channels] = weight
    gone = np.zeros(padded.shape, np.bool_)
    for at, first, place in np.ndindex(outer, padded.shape[1] // m, inner):
        group = np.abs(padded[at, first * m : (first + 1) * m, place])
        missing = max(0, (first + 1) * m - channels)
        gone[at, first * m : (first + 1) * m - missing, place] = least(group[: m - missing], max(0, n - missing))
    expected = np.where(gone[:, :channels], 0, weight)
    for engine in ENGINES.values():
        cut = choose_n_of_m(weight, n, m, engine)
        assert np.array_equal(pruned(weight, cut, engine), expected)
        assert cut.zeros == np.count_nonzero(expected == 0)


@engines
@pytest.mark.parametrize("inner", [1, 3, 70])
def test_exactly_n_of_every_m_go_where_none_is_zero(engine: Engine, inner: int) -> None:
    weight = np.random.default_rng(0).standard_normal((2, 1024, inner)).astype(np.float16)
    weight[weight == 0] = 1
    found = pruned(weight, choose_n_of_m(weight, 3, 8, engine), engine)
    assert (np.count_nonzero(found.reshape(2, 128, 8, inner), axis=2) == 5).all()


def test_channels_that_are_left_over_go_on_with_zeros_that_count() -> None:
    weight = column(1, 2, 3, 4, 5, 6, 7)
    assert pruned(weight, choose_n_of_m(weight, 2, 4, NUMPY)).reshape(-1).tolist() == [0, 0, 3, 4, 0, 6, 7]


@pytest.mark.parametrize(("n", "m"), [(3, 2), (-1, 2), (0, 0)])
def test_n_of_m_has_to_be_a_ratio(n: int, m: int) -> None:
    with pytest.raises(ValueError, match="0 ≤ n ≤ m"):
        choose_n_of_m(row(1), n, m, NUMPY)


@engines
def test_whole_blocks_of_least_norm_are_pruned(engine: Engine) -> None:
    weight = np.array([[[1, 3], [-6, -7], [0, 3], [-9, 2]]], np.float16)
    cut = choose_blocks(weight, 2, 0.5, engine)
    assert pruned(weight, cut, engine).tolist() == [[[0, 3], [0, -7], [0, 0], [-9, 0]]]
    assert cut.zeros == 5


@engines
def test_a_norm_sums_squares(engine: Engine) -> None:
    weight = column(5, 0.5, 4, 4)  # 25.25 < 32, though the other sum of magnitudes and mean are larger still
    assert pruned(weight, choose_blocks(weight, 2, 0.5, engine), engine).reshape(-1).tolist() == [0, 0, 4, 4]


@given(ANY, st.integers(1, 5), st.floats(0, 1))
def test_blocks_are_what_sorting_norms_finds(weight: Array, size: int, sparsity: float) -> None:
    outer, channels, inner = weight.shape
    count = -(-channels // size)
    padded = np.zeros((outer, count * size, inner))
    padded[:, :channels] = weight
    norms = np.sqrt(np.square(padded.reshape(outer, count, size, inner)).sum(axis=2))
    with np.errstate(over="ignore"):
        gone = least(norms.astype(np.float32), math.floor(sparsity * norms.size))
    expected = np.where(np.repeat(gone, size, axis=1)[:, :channels], 0, weight)
    for engine in ENGINES.values():
        cut = choose_blocks(weight, size, sparsity, engine)
        assert np.array_equal(pruned(weight, cut, engine), expected)
        assert cut.zeros == np.count_nonzero(expected == 0)


def test_a_block_has_a_size() -> None:
    with pytest.raises(ValueError, match="an element or more"):
        choose_blocks(row(1), 0, 0.5, NUMPY)


@engines
@choices
@dtypes
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(
    engine: Engine, choose: Callable[[Array, Engine], Cut], dtype: Any, value: float
) -> None:
    weight = np.ones((2, 6, 4), dtype)
    weight[1, 4, 3] = value
    with pytest.raises(NotFiniteError, match="NaN or infinite"):
        choose(weight, engine)


@engines
@choices
def test_a_weight_without_elements_emits_nothing(engine: Engine, choose: Callable[[Array, Engine], Cut]) -> None:
    weight = np.empty((1, 0, 4), np.float16)
    cut = choose(weight, engine)
    mask, kept, loss = streams(weight, cut, engine)
    assert (cut.zeros, mask.size, kept.size, loss) == (0, 0, 0, Loss())


@choices
@given(weight=ANY)
def test_kernels_and_reference_agree_bit_for_bit(choose: Callable[[Array, Engine], Cut], weight: Array) -> None:
    expected, reference = choose(weight, NUMPY), choose(weight, NUMBA)
    assert expected.zeros == reference.zeros
    for one, other in zip(streams(weight, expected, NUMPY)[:2], streams(weight, reference, NUMBA)[:2], strict=True):
        assert one.tobytes() == other.tobytes()


@engines
@choices
@given(weight=ANY, chunk=st.sampled_from([8, 16, 64]))
def test_the_size_of_the_pieces_does_not_matter(
    engine: Engine, choose: Callable[[Array, Engine], Cut], weight: Array, chunk: int
) -> None:
    small = engine._replace(chunk=chunk)
    whole, cut = streams(weight, choose(weight, engine), engine), streams(weight, choose(weight, small), small)
    assert whole[0].tobytes() == cut[0].tobytes()
    assert whole[1].tobytes() == cut[1].tobytes()


@engines
@choices
@given(weight=weights(np.float16))
def test_the_loss_is_that_of_what_is_decoded(engine: Engine, choose: Callable[[Array, Engine], Cut], weight: Array) -> None:
    cut = choose(weight, engine)
    exact, found = weight.astype(np.float64), pruned(weight, cut, engine).astype(np.float64)
    _, _, loss = streams(weight, cut, engine)
    assert loss.signal == pytest.approx(np.square(exact).sum())
    assert loss.noise == pytest.approx(np.square(exact - found).sum())
    assert loss.worst == np.abs(exact - found).max()


@engines
@choices
@dtypes
def test_a_large_weight_is_decoded_as_by_the_reference(engine: Engine, choose: Callable[[Array, Engine], Cut], dtype: Any) -> None:
    weight = np.random.default_rng(1).standard_normal((3, 300, 1111)).astype(dtype)
    found = pruned(weight, choose(weight, engine), engine)
    assert np.array_equal(found, pruned(weight, choose(weight, NUMPY._replace(chunk=1 << 24)), NUMPY._replace(chunk=1 << 24)))
    assert np.array_equal(found[found != 0], weight[found != 0])


@engines
@choices
@pytest.mark.parametrize("shape", [(1, 2048, 4096), (1, 1, 2048 * 4096)])
def test_a_mapped_weight_is_not_copied(
    engine: Engine, choose: Callable[[Array, Engine], Cut], shape: tuple[int, int, int], tmp_path: Path
) -> None:
    path = tmp_path / "weight"
    np.ones(shape, np.float16).tofile(path)
    weight = np.memmap(path, np.float16, "r", shape=shape)
    little = np.ones((1, 64, 8), np.float16)
    streams(little, choose(little, engine), engine)  # what is compiled or kept does not count
    tracemalloc.start()
    cut = choose(weight, engine)
    apply_cut(weight, cut, engine, lambda position, piece: None, lambda position, piece: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000  # the weight has 16.8 MB, and its mask alone would have 8.4 as bytes
