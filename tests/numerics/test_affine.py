"""Affine quantization: the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ir.expansion import shift_scale
from mlpasses.numerics.affine import Affine, Engine, Grid, Loss, NotFiniteError, channel_view, fit, grid, whole
from mlpasses.numerics.affine_kernels import NUMBA
from mlpasses.numerics.affine_numpy import NUMPY
from mlpasses.numerics.blocks import quantize_blocks

Array = npt.NDArray[Any]

INT8 = grid(8, signed=True, symmetric=True)
INT8_ASYMMETRIC = grid(8, signed=True, symmetric=False)
UINT8 = grid(8, signed=False, symmetric=True)
UINT8_ASYMMETRIC = grid(8, signed=False, symmetric=False)
INT4 = grid(4, signed=True, symmetric=True)
UINT4_ASYMMETRIC = grid(4, signed=False, symmetric=False)
GRIDS = {
    "int8": INT8,
    "int8 asymmetric": INT8_ASYMMETRIC,
    "uint8": UINT8,
    "uint8 asymmetric": UINT8_ASYMMETRIC,
    "int4": INT4,
    "uint4 asymmetric": UINT4_ASYMMETRIC,
}
ENGINES = {"numpy": NUMPY, "numba": NUMBA}

grids = pytest.mark.parametrize("levels", GRIDS.values(), ids=GRIDS)
engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)


@pytest.fixture(scope="module", autouse=True)
def _compiled_kernels() -> None:
    """Compiles before the first example: it takes longer than Hypothesis allows one to."""
    for dtype in (np.float16, np.float32):
        for shape in ((2, 2, 1), (2, 2, 2), (1, 2, 2)):
            quantized(np.ones(shape, dtype), INT8, NUMBA)


def quantized(weight: Array, levels: Grid, engine: Engine = NUMPY) -> tuple[Array, Affine, Loss]:
    """A weight `[outer, channels, inner]` whose channels have a scale each."""
    integers = np.full(weight.size, 99, np.int8)

    def emit(position: int, piece: Array) -> None:
        integers[position : position + piece.size] = piece

    affine, loss = quantize_blocks(weight, (1, weight.shape[1], 1), levels, engine, emit)
    signed = integers.reshape(weight.shape)
    return (signed if levels.lowest < 0 else signed.view(np.uint8)), affine, loss


def decoded(integers: Array, affine: Affine) -> Array:
    return shift_scale(integers, affine.scale[None, :, None], affine.zero_point[None, :, None])


def row(*values: float, dtype: Any = np.float16) -> Array:
    return np.array(values, dtype).reshape(1, 1, -1)


def weights(dtype: Any, bound: float) -> st.SearchStrategy[Array]:
    """Weights of few elements and all magnitudes: subnormal, tiny, ordinary, and up to `bound`."""
    sides = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 7))
    width = np.dtype(dtype).itemsize * 8
    numbers = st.floats(-bound, bound, width=width) | st.floats(-1, 1, width=width) | st.floats(-(2**-14), 2**-14, width=width)
    return sides.flatmap(lambda shape: arrays.arrays(dtype, shape, elements=numbers))


ANY = weights(np.float16, 65504) | weights(np.float32, float(np.finfo(np.float32).max))


def test_symmetric_grids_leave_one_integer_out_and_are_those_of_coremltools() -> None:
    assert (INT8.lowest, INT8.highest, INT8.zero) == (-127, 127, 0)
    assert (UINT8.lowest, UINT8.highest, UINT8.zero) == (0, 254, 127)


def test_asymmetric_grids_use_every_integer() -> None:
    assert (INT8_ASYMMETRIC.lowest, INT8_ASYMMETRIC.highest) == (-128, 127)
    assert (UINT8_ASYMMETRIC.lowest, UINT8_ASYMMETRIC.highest) == (0, 255)


def test_four_bit_grids_follow_the_same_rule() -> None:
    assert Grid(-7, 7, 0) == INT4
    assert grid(4, signed=False, symmetric=True) == Grid(0, 14, 7)
    assert Grid(0, 15, None) == UINT4_ASYMMETRIC


def test_a_whole_grid_has_every_integer_of_its_type() -> None:
    assert whole(INT4) == Grid(-8, 7, 0)
    assert whole(grid(4, signed=False, symmetric=True)) == Grid(0, 15, 7)
    assert whole(UINT4_ASYMMETRIC) == UINT4_ASYMMETRIC


@pytest.mark.parametrize(
    ("shape", "axis", "view"),
    [((8, 4, 3, 3), 0, (1, 8, 36)), ((8, 4, 3, 3), 1, (8, 4, 9)), ((8, 4), 1, (8, 4, 1)), ((8, 4), None, (1, 1, 32))],
)
def test_a_shape_is_seen_around_its_channels(shape: tuple[int, ...], axis: int | None, view: tuple[int, int, int]) -> None:
    assert channel_view(shape, axis) == view


def test_the_largest_magnitude_takes_the_outermost_integer() -> None:
    integers, affine, _ = quantized(row(-254, 128, 0, 0.5), INT8)
    assert integers.reshape(-1).tolist() == [-127, 64, 0, 0]
    assert affine.scale.item() == 2


def test_ties_go_to_the_even_integer() -> None:
    integers, _, _ = quantized(row(127, 0.5, 1.5, -0.5, -2.5), INT8)
    assert integers.reshape(-1).tolist() == [127, 0, 2, 0, -2]


def test_an_asymmetric_range_covers_both_extremes() -> None:
    integers, affine, _ = quantized(row(-1, 4.1, dtype=np.float32), UINT8_ASYMMETRIC)
    assert integers.reshape(-1).tolist() == [0, 255]
    assert affine.zero_point.tolist() == [50]


@grids
def test_a_range_on_one_side_of_zero_is_widened_to_hold_it(levels: Grid) -> None:
    integers, affine, _ = quantized(row(3, 4, 0), levels)
    assert decoded(integers, affine).reshape(-1)[2] == 0


@grids
@engines
def test_a_zero_channel_has_scale_one_and_is_decoded_as_zeros(levels: Grid, engine: Engine) -> None:
    integers, affine, loss = quantized(np.zeros((1, 2, 5), np.float16), levels, engine)
    assert affine.scale.tolist() == [1, 1]
    assert not decoded(integers, affine).any()
    assert loss == Loss(0, 0, 0)


@grids
@engines
@pytest.mark.parametrize("values", [(65504.0, -65504.0), (-65504.0, 1.0), (65504.0, 0.0), (65472.0, -65504.0, 3.0)])
def test_the_largest_fp16_values_are_decoded_as_finite_ones(levels: Grid, engine: Engine, values: tuple[float, ...]) -> None:
    weight = row(*values)
    integers, affine, _ = quantized(weight, levels, engine)
    found = decoded(integers, affine)
    assert np.isfinite(found).all()
    assert np.abs(found.astype(np.float32) - weight.astype(np.float32)).max() <= affine.scale.astype(np.float32).item()


@grids
def test_the_largest_float32_values_are_decoded_as_finite_ones(levels: Grid) -> None:
    most = float(np.finfo(np.float32).max)
    integers, affine, _ = quantized(row(most, -most, most / 2, dtype=np.float32), levels)
    assert np.isfinite(decoded(integers, affine)).all()
    assert np.isfinite(affine.scale).all()


@grids
@engines
@pytest.mark.parametrize("units", [1, 2, 7])
def test_the_least_subnormal_numbers_are_kept(levels: Grid, engine: Engine, units: int) -> None:
    weight = row(units * 2.0**-24, -units * 2.0**-24, 0)
    integers, affine, loss = quantized(weight, levels, engine)
    assert affine.scale.item() == 2.0**-24
    assert np.array_equal(decoded(integers, affine), weight)
    assert loss.noise == 0


@engines
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_value_that_is_not_finite_is_refused(engine: Engine, value: float, dtype: Any) -> None:
    weight = np.ones((2, 3, 4), dtype)
    weight[1, 2, 3] = value
    with pytest.raises(NotFiniteError, match="NaN or infinite"):
        quantized(weight, INT8, engine)


@engines
def test_a_negative_nan_is_refused(engine: Engine) -> None:
    weight = np.ones((1, 1, 40), np.float16)
    weight.view(np.uint16)[0, 0, 7] = 0xFE01
    with pytest.raises(NotFiniteError):
        quantized(weight, INT8, engine)


@given(ANY, st.sampled_from(list(GRIDS.values())))
def test_kernels_and_reference_agree_bit_for_bit(weight: Array, levels: Grid) -> None:
    reference, expected, _ = quantized(weight, levels, NUMPY)
    compiled, found, _ = quantized(weight, levels, NUMBA)
    assert np.array_equal(reference, compiled)
    assert expected.scale.tobytes() == found.scale.tobytes()
    assert np.array_equal(expected.zero_point, found.zero_point)


@given(ANY, st.sampled_from(list(GRIDS.values())), st.sampled_from([1, 3, 8, 64]))
def test_the_size_of_the_pieces_does_not_matter(weight: Array, levels: Grid, chunk: int) -> None:
    whole, expected, _ = quantized(weight, levels)
    pieces, found, _ = quantized(weight, levels, NUMPY._replace(chunk=chunk))
    assert np.array_equal(whole, pieces)
    assert expected.scale.tobytes() == found.scale.tobytes()


@given(ANY, st.sampled_from(list(GRIDS.values())))
def test_scales_are_positive_and_decoded_values_finite(weight: Array, levels: Grid) -> None:
    integers, affine, _ = quantized(weight, levels)
    assert (affine.scale > 0).all()
    assert affine.scale.dtype == weight.dtype
    assert np.isfinite(affine.scale).all()
    assert np.isfinite(decoded(integers, affine)).all()


@given(ANY, st.sampled_from(list(GRIDS.values())))
def test_integers_stay_on_their_grid(weight: Array, levels: Grid) -> None:
    integers, _, _ = quantized(weight, levels)
    assert levels.lowest <= int(integers.min())
    assert int(integers.max()) <= levels.highest


@given(weights(np.float16, 30000) | weights(np.float32, 2.0**100), st.sampled_from([INT8, UINT8, INT4]))
def test_no_value_is_off_by_more_than_half_a_step_and_a_rounding_where_the_scale_is_normal(weight: Array, levels: Grid) -> None:
    integers, affine, _ = quantized(weight, levels)
    values = decoded(integers, affine).astype(np.float64)
    rounding = np.spacing(np.abs(decoded(integers, affine))).astype(np.float64) / 2
    # A scale that was rounded down to its type (by at most 2⁻¹¹ where it is normal) leaves the extremes 0.07 steps outside.
    limit = 0.57 * affine.scale.astype(np.float64)[None, :, None] + rounding
    normal = (affine.scale >= np.finfo(weight.dtype).smallest_normal)[None, :, None]
    assert (~normal | (np.abs(values - weight.astype(np.float64)) <= limit)).all()


@engines
@grids
@given(weight=ANY)
def test_the_loss_is_that_of_what_is_decoded(engine: Engine, levels: Grid, weight: Array) -> None:
    integers, affine, loss = quantized(weight, levels, engine)
    values = weight.astype(np.float64)
    error = values - decoded(integers, affine).astype(np.float64)
    assert loss.signal == pytest.approx(float(np.square(values).sum()), rel=1e-9)
    assert loss.noise == pytest.approx(float(np.square(error).sum()), rel=1e-6, abs=1e-6 * float(np.square(error).max()))
    assert loss.worst == pytest.approx(float(np.abs(error).max()), rel=1e-6)


def test_losses_add_up() -> None:
    assert Loss(1, 0.5, 0.25) + Loss(99, 0.5, 0.125) == Loss(100, 1, 0.25)


def test_sqnr_is_in_decibels() -> None:
    assert Loss(100, 1).sqnr == pytest.approx(20)


def test_sqnr_of_a_lossless_weight_is_infinite() -> None:
    assert Loss(100, 0).sqnr == np.inf


def test_sqnr_of_noise_where_nothing_was_is_infinitely_bad() -> None:
    assert Loss(0, 1).sqnr == -np.inf


def test_scales_of_fp16_subnormals_are_rounded_to_the_nearest() -> None:
    least = 2.0**-24
    extremes = np.array([189 * least, 192 * least], np.float16)  # 1.49 and 1.51 units
    assert fit(-extremes, extremes, INT8).scale.tolist() == [least, 2 * least]
