"""Quantization in blocks on any axes."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpasses.numerics.affine import Engine, Grid, NotFiniteError, fit, grid
from mlpasses.numerics.affine_kernels import NUMBA
from mlpasses.numerics.affine_numpy import NUMPY
from mlpasses.numerics.blocks import Layout, quantize_blocks
from tests.numerics.quantized import GRIDS, in_blocks, quantized

Array = npt.NDArray[Any]

INT4 = grid(4, signed=True, symmetric=True)
UINT4 = grid(4, signed=False, symmetric=False)
ENGINES = {"numpy": NUMPY, "numba": NUMBA}
engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
grids = pytest.mark.parametrize("levels", GRIDS.values(), ids=GRIDS)

CASES = [
    ((6,), (1,)),
    ((6,), (6,)),
    ((4, 6), (1, 1)),
    ((4, 6), (4, 1)),
    ((4, 6), (1, 6)),
    ((4, 6), (4, 6)),
    ((4, 64), (4, 2)),
    ((64, 4), (2, 4)),
    ((6, 8), (3, 2)),
    ((6, 8, 3, 3), (6, 2, 1, 1)),
    ((6, 8, 3, 3), (2, 8, 1, 1)),
    ((6, 8, 3, 3), (1, 8, 1, 1)),
    ((6, 8, 4, 2), (1, 8, 1, 2)),
    ((6, 8, 4, 2), (3, 1, 2, 1)),
    ((4, 6, 8), (2, 3, 4)),
    ((1, 6, 1, 8), (1, 3, 1, 8)),
]
cases = pytest.mark.parametrize(("shape", "counts"), CASES)


@pytest.fixture(scope="module", autouse=True)
def _compiled_kernels() -> None:
    """Compiles before the first example: it takes longer than Hypothesis allows one to."""
    for dtype in (np.float16, np.float32):
        for levels in (INT4, UINT4):
            for shape, counts in (((4, 64), (4, 2)), ((4, 6), (1, 6)), ((4, 6, 8), (1, 6, 1))):
                quantized(np.ones(shape, dtype), counts, levels, NUMBA)


def numbers(*shape: int, dtype: Any = np.float16, seed: int = 0) -> Array:
    return (np.random.default_rng(seed).standard_t(3, size=shape) * 0.02).astype(dtype)


@st.composite
def divided(draw: st.DrawFn) -> tuple[Array, tuple[int, ...]]:
    """A weight of rank 1 to 3, and how it is divided."""
    rank = draw(st.integers(1, 3))
    counts = tuple(draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank)))
    blocks = draw(st.lists(st.integers(1, 5), min_size=rank, max_size=rank))
    shape = [count * block for count, block in zip(counts, blocks, strict=True)]
    dtype = draw(st.sampled_from([np.float16, np.float32]))
    scale = draw(st.sampled_from([1e-7, 1e-3, 1.0, 1e4]))
    weight = (np.clip(np.random.default_rng(draw(st.integers(0, 99))).standard_t(3, size=shape), -6, 6) * scale).astype(dtype)
    weight[np.random.default_rng(1).uniform(size=shape) < draw(st.sampled_from([0.0, 0.5]))] = draw(st.sampled_from([0.0, -0.0]))
    return weight, counts


def test_rows_that_are_blocks_are_groups_by_themselves() -> None:
    assert Layout.of((4, 64), (4, 2)) == Layout(8, (), 1, 32)


def test_axes_behind_a_block_belong_to_it() -> None:
    assert Layout.of((6, 8, 3, 3), (6, 2, 1, 1)) == Layout(12, (), 1, 36)


def test_blocks_of_an_inner_axis_share_a_table_between_rows() -> None:
    assert Layout.of((6, 8, 3, 3), (1, 8, 1, 1)) == Layout(1, ((6, False),), 8, 9)


def test_blocks_of_an_outer_axis_are_groups() -> None:
    assert Layout.of((64, 4), (2, 4)) == Layout(2, ((32, False),), 4, 1)


def test_rows_between_blocks_have_their_tables_in_turn() -> None:
    layout = Layout.of((2, 4, 3), (1, 2, 3))  # 2 rows of 2 blocks of 2 rows of 3 channels
    assert layout.table(0, 8).tolist() == [0, 0, 1, 1, 0, 0, 1, 1]


@cases
@engines
@grids
def test_each_block_has_the_parameters_of_its_extremes(
    shape: tuple[int, ...], counts: tuple[int, ...], engine: Engine, levels: Grid
) -> None:
    weight = numbers(*shape)
    found = quantized(weight, counts, levels, engine).affine
    blocks = in_blocks(weight, counts)
    expected = fit(blocks.min(axis=1), blocks.max(axis=1), levels)
    assert np.array_equal(found.scale, expected.scale)
    assert np.array_equal(found.zero_point, expected.zero_point)


@cases
@engines
@grids
def test_no_element_is_off_by_more_than_its_block_allows(
    shape: tuple[int, ...], counts: tuple[int, ...], engine: Engine, levels: Grid
) -> None:
    weight = numbers(*shape, dtype=np.float32)
    found = quantized(weight, counts, levels, engine)
    error = in_blocks(np.abs(found.decoded - weight), counts)
    steps = 0.501 if levels.zero is not None else 1.001  # a zero point that is rounded may leave an extreme half a step outside
    assert (error <= found.affine.scale[:, None] * steps).all()


@given(divided(), st.sampled_from(list(GRIDS.values())))
def test_engines_agree_bit_for_bit(case: tuple[Array, tuple[int, ...]], levels: Grid) -> None:
    reference, compiled = (quantized(*case, levels, engine) for engine in (NUMPY, NUMBA))
    assert np.array_equal(reference.integers, compiled.integers)
    assert reference.affine.scale.tobytes() == compiled.affine.scale.tobytes()
    assert np.array_equal(reference.affine.zero_point, compiled.affine.zero_point)
    assert compiled.loss.noise == pytest.approx(reference.loss.noise, rel=1e-9)
    assert compiled.loss.worst == reference.loss.worst


@engines
@given(case=divided(), levels=st.sampled_from(list(GRIDS.values())), chunk=st.sampled_from([3, 7, 16, 50]))
def test_the_size_of_the_pieces_does_not_matter(engine: Engine, case: tuple[Array, tuple[int, ...]], levels: Grid, chunk: int) -> None:
    whole, pieces = quantized(*case, levels, engine), quantized(*case, levels, engine._replace(chunk=chunk))
    assert np.array_equal(whole.integers, pieces.integers)
    assert whole.affine.scale.tobytes() == pieces.affine.scale.tobytes()


@engines
@given(case=divided(), levels=st.sampled_from(list(GRIDS.values())))
def test_the_loss_is_that_of_what_is_decoded(engine: Engine, case: tuple[Array, tuple[int, ...]], levels: Grid) -> None:
    weight, counts = case
    found = quantized(weight, counts, levels, engine)
    assert found.loss.noise == pytest.approx(found.noise(weight), rel=1e-6)
    assert found.loss.signal == pytest.approx(float(np.square(weight.astype(np.float64)).sum()), rel=1e-9)
    assert found.loss.worst == pytest.approx(float(np.abs(weight - found.decoded.astype(np.float64)).max()), rel=1e-6)


@engines
@pytest.mark.parametrize("elements", [4095, 4096, 4097, 10000])
def test_rows_longer_than_a_tile_are_quantized_as_any(engine: Engine, elements: int) -> None:
    weight = numbers(3, elements)
    found = quantized(weight, (3, 1), INT4, engine)
    expected = np.clip(np.rint(weight.astype(np.float32) / found.affine.scale.astype(np.float32)[:, None]), -7, 7)
    assert np.array_equal(found.integers, expected)


@engines
@grids
def test_blocks_of_zeros_have_scale_one_and_stay_zeros(engine: Engine, levels: Grid) -> None:
    weight = numbers(4, 64)
    weight[1, :32] = 0
    weight[2, 32:] = -0.0
    found = quantized(weight, (4, 2), levels, engine)
    assert found.affine.scale[[2, 5]].tolist() == [1, 1]
    assert not found.decoded[1, :32].any()


@engines
@grids
@pytest.mark.parametrize("value", [1.0, -0.3, 65504.0, -65504.0, 6e-8])
def test_a_constant_block_is_kept_to_a_rounding_of_its_scale(engine: Engine, levels: Grid, value: float) -> None:
    weight = np.full((2, 32), value, np.float16)
    found = quantized(weight, (2, 1), levels, engine)
    exact = weight.astype(np.float64)
    assert (np.abs(found.decoded.astype(np.float64) - exact) <= np.abs(exact) * 2**-9).all()


@engines
@cases
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_value_that_is_not_finite_is_refused(
    engine: Engine, shape: tuple[int, ...], counts: tuple[int, ...], value: float, dtype: Any
) -> None:
    weight = numbers(*shape, dtype=dtype)
    weight.reshape(-1)[-1] = value
    with pytest.raises(NotFiniteError):
        quantized(weight, counts, INT4, engine)


@engines
def test_a_weight_without_elements_has_scales_of_one(engine: Engine) -> None:
    affine, loss = quantize_blocks(np.empty((3, 0), np.float16), (3, 1), INT4, engine, lambda position, piece: None)
    assert affine.scale.tolist() == [1, 1, 1]
    assert loss.noise == 0


def test_numbers_of_blocks_have_to_divide_their_axes() -> None:
    with pytest.raises(ValueError, match="4 blocks do not divide the 6 elements of axis 1"):
        quantized(numbers(4, 6), (4, 4), INT4, NUMPY)


def test_each_axis_has_a_number_of_blocks() -> None:
    with pytest.raises(ValueError, match="a weight of rank 2 takes as many"):
        quantized(numbers(4, 6), (4,), INT4, NUMPY)


def test_the_weight_may_be_read_only() -> None:
    weight = numbers(4, 64)
    weight.flags.writeable = False
    quantized(weight, (4, 2), INT4, NUMBA)


def test_a_zero_point_that_all_blocks_share_takes_no_memory() -> None:
    assert quantized(numbers(4, 64), (4, 2), INT4, NUMBA).affine.zero_point.strides == (0,)


@engines
@pytest.mark.parametrize("counts", [(1, 1), (2048, 1), (2048, 64), (1, 2048), (64, 2048), (64, 64)])
def test_private_memory_is_that_of_a_piece(engine: Engine, counts: tuple[int, ...]) -> None:
    weight = numbers(64, 2048).repeat(32, axis=0)  # 8 MB
    run = engine._replace(chunk=1 << 16)
    quantize_blocks(weight, counts, INT4, run, lambda position, piece: None)
    tracemalloc.start()
    quantize_blocks(weight, counts, INT4, run, lambda position, piece: None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 << 20
