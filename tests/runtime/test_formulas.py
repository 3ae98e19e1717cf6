"""Evaluators against formulas in float64 and plain loops: ops that coremltools infers no value of, or a wrong one, and edges."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ir.builder import BuilderError
from ir.diagnostics import EvaluationError
from ir.infer import InferError
from ir.opset import IOS15, IOS16, IOS17, IOS18
from ir.tensors import Array
from mlpasses.runtime import elementwise, indexing, layout, reduction, selection, sources, special
from mlpasses.runtime.arrays import to_integer
from tests.ir.samples import f32, flags, i32
from tests.runtime.calls import distance, evaluated

RNG = np.random.default_rng(3)
X = RNG.standard_normal((2, 8, 4, 6)).astype(np.float32)


def one(op_type: str, **operands: Any) -> Array:
    (found,) = evaluated(op_type, IOS18, **operands)
    return found


def f64(array: Array) -> Array:
    return array.astype(np.float64)


def counted(*shape: int) -> Array:
    return np.arange(math.prod(shape), dtype=np.float32).reshape(shape)


class TestActivations:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    @pytest.mark.parametrize(
        ("op_type", "formula", "ulps"),
        [
            ("silu", lambda x: x / (1 + np.exp(-x)), 3),  # NumPy's own exp of float32 is within 2.5
            ("sigmoid", lambda x: 1 / (1 + np.exp(-x)), 3),
            ("softplus", lambda x: np.logaddexp(0, x), 3),
            ("gelu", lambda x: x * np.vectorize(math.erfc)(x / -math.sqrt(2)) / 2, 1),
        ],
    )
    def test_it_is_its_formula(self, op_type: str, formula: Callable[[Array], Array], ulps: int, dtype: Any) -> None:
        x = np.linspace(-10, 10, 2001).astype(dtype)
        assert distance(one(op_type, x=x), formula(f64(x))) <= (ulps if dtype is np.float32 else 1)

    @pytest.mark.parametrize(
        ("mode", "formula"),
        [
            ("TANH_APPROXIMATION", lambda x: x / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
            ("SIGMOID_APPROXIMATION", lambda x: x / (1 + np.exp(-1.702 * x))),
        ],
    )
    def test_gelu_approximated(self, mode: str, formula: Callable[[Array], Array]) -> None:
        x = np.linspace(-4, 4, 2001).astype(np.float16)
        assert distance(one("gelu", x=x, mode=mode), formula(f64(x))) <= 1

    def test_gelu_of_another_mode_is_refused(self) -> None:
        with pytest.raises(EvaluationError, match="mode has to be EXACT, TANH_APPROXIMATION, SIGMOID_APPROXIMATION, and is 'LOOSE'"):
            one("gelu", x=X, mode="LOOSE")

    def test_great_numbers_are_no_nan(self) -> None:
        x = np.array([-np.inf, -1e30, -100, 100, 1e30, np.inf], np.float32)
        assert one("sigmoid", x=x).tolist() == [0, 0, pytest.approx(math.exp(-100)), 1, 1, 1]
        assert one("softplus", x=x).tolist() == [0, 0, pytest.approx(math.exp(-100)), 100, np.float32(1e30), np.inf]
        assert one("softmax", x=np.array([1e30, 1e30], np.float32)).tolist() == [0.5, 0.5]

    def test_clamped_relu_below_a_negative_bound(self) -> None:
        """coremltools adds the two branches, which is right only where 0 is below beta."""
        found = one("clamped_relu", x=np.array([-8, -1, 1], np.float32), alpha=np.float32(0.5), beta=np.float32(-2))
        assert found.tolist() == [-4, -2, -2]


class TestSpecial:
    def test_erf_is_the_c_librarys(self) -> None:
        x = np.linspace(-7, 7, 20001)
        assert np.allclose(special.erf(x), np.vectorize(math.erf)(x), rtol=1e-15, atol=0)

    def test_erfc_is_the_c_librarys(self) -> None:
        x = np.linspace(-7, 26, 20001)
        assert np.allclose(special.erfc(x), np.vectorize(math.erfc)(x), rtol=2e-15, atol=0)

    def test_their_limits(self) -> None:
        assert special.erf(np.array([-np.inf, 0, np.inf])).tolist() == [-1, 0, 1]
        assert special.erfc(np.array([-np.inf, 0, np.inf])).tolist() == [2, 1, 0]
        assert np.isnan([special.erf(np.array(np.nan)), special.erfc(np.array(np.nan))]).all()


class TestCast:
    def test_floats_become_integers_toward_zero_and_saturated(self) -> None:
        x = np.array([1.9, -1.9, 3e9, -3e9, np.inf, -np.inf, np.nan], np.float32)
        assert one("cast", x=x, dtype="int32").tolist() == [1, -1, 2**31 - 1, -(2**31), 2**31 - 1, -(2**31), 0]
        assert one("cast", x=x, dtype="uint8").tolist() == [1, 0, 255, 0, 255, 0, 0]

    def test_integers_wrap_around(self) -> None:
        assert one("cast", x=i32(300, -1), dtype="int8").tolist() == [44, -1]

    def test_what_is_not_zero_is_true(self) -> None:
        assert one("cast", x=np.array([0.5, 0, -0.0, np.nan], np.float32), dtype="bool").tolist() == [True, False, False, True]

    def test_a_float_is_rounded_to_even_and_overflows(self) -> None:
        x = np.array([2049, 2051, 65520, -1e9], np.float32)
        assert one("cast", x=x, dtype="fp16").tolist() == [2048, 2052, np.inf, -np.inf]

    def test_a_cast_to_the_same_type_is_no_copy(self) -> None:
        assert elementwise.cast(X, "fp32") is X

    def test_the_greatest_int64_is_no_float64(self) -> None:
        assert to_integer(np.array([1e30, -1e30]), np.dtype(np.int64)).tolist() == [2**63 - 1, -(2**63)]

    def test_an_unknown_type_is_refused(self) -> None:
        with pytest.raises(EvaluationError, match="nothing is known of a cast from float32 to 'fp12'"):
            elementwise.cast(X, "fp12")


class TestQuantize:
    @pytest.mark.parametrize("dtype", ["int8", "uint8"])
    def test_along_an_axis(self, dtype: str) -> None:
        x, scale = X[0, :, :, 0], (f32(4) / 16).astype(np.float32)
        zero = np.array([1, 2, 3, 4], dtype)
        bounds = np.iinfo(dtype)
        expected = np.clip(np.rint(x / scale) + zero, bounds.min, bounds.max)
        assert np.array_equal(one("quantize", input=x, scale=scale, zero_point=zero, axis=-1, output_dtype=dtype), expected.astype(dtype))

    def test_back(self) -> None:
        q, scale = RNG.integers(-128, 128, (3, 5)).astype(np.int8), np.array([0.1, 0.2, 0.3], np.float16)
        zero = np.array([5, -5, 0], np.int8)
        expected = (f64(q) - zero[:, None]) * f64(scale)[:, None]
        assert distance(one("dequantize", input=q, scale=scale, zero_point=zero, axis=0), expected) <= 0.5

    def test_a_scalar(self) -> None:
        assert elementwise.dequantize(np.array(3, np.int8), np.array(0.5, np.float16)).item() == 1.5


class TestSpace:
    """Each against its definition, element by element."""

    def test_depth_to_space(self) -> None:
        found = one("depth_to_space", x=X, block_size=2)
        for n, c, h, w in np.ndindex(2, 2, 8, 12):
            assert found[n, c, h, w] == X[n, (h % 2 * 2 + w % 2) * 2 + c, h // 2, w // 2]

    def test_pixel_shuffle(self) -> None:
        found = one("pixel_shuffle", x=X, upscale_factor=2)
        for n, c, h, w in np.ndindex(2, 2, 8, 12):
            assert found[n, c, h, w] == X[n, c * 4 + h % 2 * 2 + w % 2, h // 2, w // 2]

    def test_space_to_depth_is_the_way_back(self) -> None:
        assert np.array_equal(one("space_to_depth", x=one("depth_to_space", x=X, block_size=2), block_size=2), X)

    def test_pixel_unshuffle_is_the_way_back(self) -> None:
        assert np.array_equal(one("pixel_unshuffle", x=one("pixel_shuffle", x=X, upscale_factor=2), downscale_factor=np.uint32(2)), X)

    def test_space_to_batch(self) -> None:
        """As TensorFlow documents it: the image of each position in a block, one batch after the other."""
        found = one("space_to_batch", x=X, block_shape=i32(2, 3), paddings=np.array([[1, 1], [0, 3]], np.int32))
        padded = np.pad(X, [(0, 0), (0, 0), (1, 1), (0, 3)])
        for row, column in product(range(2), range(3)):
            block = (row * 3 + column) * 2
            assert np.array_equal(found[block : block + 2], padded[:, :, row::2, column::3])

    def test_batch_to_space_is_the_way_back(self) -> None:
        amounts = np.array([[1, 1], [0, 3]], np.int32)
        there = one("space_to_batch", x=X, block_shape=i32(2, 3), paddings=amounts)
        assert np.array_equal(one("batch_to_space", x=there, block_shape=i32(2, 3), crops=amounts), X)

    def test_blocks_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(EvaluationError, match="cannot be cut into blocks of 3 by 3"):
            layout.space_to_depth(X, 3)


class TestReshape:
    def test_a_zero_below_ios17_is_the_dimension_at_the_same_place(self) -> None:
        assert evaluated("reshape", IOS15, x=counted(2, 3, 4), shape=i32(0, -1, 2))[0].shape == (2, 6, 2)

    def test_a_zero_from_ios17_on_counts_from_the_right(self) -> None:
        assert evaluated("reshape", IOS17, x=counted(2, 50), shape=i32(1, 0, -1, 0))[0].shape == (1, 1, 2, 50)

    def test_a_zero_in_another_rank_is_refused_below_ios17(self) -> None:
        with pytest.raises(EvaluationError, match="a 0 in shape needs as many dimensions as x has"):
            layout.reshape(counted(2, 50), (1, 0, -1, 0))

    @pytest.mark.parametrize("shape", [(5,), (-1, -1), (4, -1), (-2, 3), (-1, 7)])
    def test_a_shape_that_does_not_fit_is_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(EvaluationError, match="cannot be reshaped"):
            layout.reshape(counted(2, 3), shape)

    def test_like_parts_of_others(self) -> None:
        references = (counted(6, 5), counted(7, 4))
        found = one("reshape_like", x=counted(2, 3, 4), ref_tensors=references, begins=(0, 1), ends=(1, 0), end_masks=(False, True))
        assert found.shape == (6, 4)

    def test_squeeze_leaves_what_is_not_one(self) -> None:
        assert layout.squeeze(counted(1, 3, 1), (0, 1)).shape == (3, 1)

    def test_reshaped_is_a_view(self) -> None:
        assert np.shares_memory(layout.reshape(X, (2, -1)), X)


class TestMovement:
    def test_concat_in_turns(self) -> None:
        a, b = np.array([[1, 2], [3, 4], [5, 6]]), np.array([[7, 8], [9, 10], [11, 12]])
        assert selection.concat((a, b), 0, True).tolist() == [[1, 2], [7, 8], [3, 4], [9, 10], [5, 6], [11, 12]]

    def test_concat_of_scalars_is_a_vector(self) -> None:
        assert selection.concat((np.array(1), np.array(2)), 0).tolist() == [1, 2]

    def test_windows_are_views(self) -> None:
        x = counted(2, 10, 3)
        found = one("sliding_windows", x=x, axis=-2, size=4, stride=3)
        assert found.shape == (2, 3, 4, 3)
        for window in range(3):
            assert np.array_equal(found[:, window], x[:, window * 3 : window * 3 + 4])
        assert np.shares_memory(selection.sliding_windows(x, 1, 4, 3), x)

    def test_the_first_of_each_sequence_backwards(self) -> None:
        found = one("reverse_sequence", x=counted(2, 4), lengths=i32(3, 0), seq_axis=1, batch_axis=0)
        assert found.tolist() == [[2, 1, 0, 3], [4, 5, 6, 7]]

    def test_sequences_on_other_axes(self) -> None:
        x = counted(4, 3, 2)
        found = one("reverse_sequence", x=x, lengths=i32(4, 2), seq_axis=0, batch_axis=2)
        assert np.array_equal(found[:, :, 0], x[::-1, :, 0])
        assert np.array_equal(found[:, :, 1], x[[1, 0, 2, 3], :, 1])

    def test_a_squeezed_axis_is_an_index(self) -> None:
        found = one("slice_by_index", x=counted(2, 3), begin=i32(0, -1), end=i32(2, 0), squeeze_mask=flags(False, True))
        assert found.tolist() == [2, 5]

    def test_all_axes_squeezed_is_a_scalar(self) -> None:
        assert one("slice_by_index", x=counted(3), begin=i32(1), end=i32(0), squeeze_mask=flags(True)).shape == ()

    def test_an_index_out_of_its_axis_is_refused(self) -> None:
        with pytest.raises(EvaluationError, match="index 3 is out of the 3 elements of axis 0"):
            selection.slice_by_index(counted(3), (3,), (0,), squeeze_mask=(True,))

    def test_a_size_of_minus_one_is_the_rest(self) -> None:
        assert one("slice_by_size", x=counted(2, 5), begin=i32(-1, 2), size=i32(1, -1)).tolist() == [[7, 8, 9]]

    def test_a_size_beyond_the_axis_is_refused(self) -> None:
        with pytest.raises(EvaluationError, match="4 elements from 2 on are not in the 5 of axis 0"):
            selection.slice_by_size(counted(5), (2,), (4,))

    def test_an_updated_slice_leaves_its_operand(self) -> None:
        x = counted(2, 3)
        found = one("slice_update", x=x, update=np.full((2, 1), 9, np.float32), begin=i32(0, 1), end=i32(2, 2))
        assert found.tolist() == [[0, 9, 2], [3, 9, 5]]
        assert x.tolist() == [[0, 1, 2], [3, 4, 5]]

    def test_pad_reflects_without_the_edge(self) -> None:
        assert one("pad", x=counted(1, 3), pad=i32(2, 1), mode="reflect").tolist() == [[2, 1, 0, 1, 2, 1]]

    def test_more_than_can_be_reflected_is_refused(self) -> None:
        with pytest.raises(EvaluationError, match="a dimension of 3 has no 3 elements to reflect"):
            selection.pad(counted(1, 3), (3, 0), "reflect")

    def test_split_into_views(self) -> None:
        x = counted(5, 2)
        parts = selection.split(x, 0, split_sizes=(1, 4))
        assert [part.shape for part in parts] == [(1, 2), (4, 2)]
        assert all(np.shares_memory(part, x) for part in parts)


class TestSources:
    def test_a_fill_holds_its_value_once(self) -> None:
        found = sources.fill((1000, 1000), np.array(3, np.int32))
        assert found.strides == (0, 0)
        assert (found == 3).all()

    def test_a_value_that_is_not_given_is_a_float_zero(self) -> None:
        assert sources.fill((2,)).dtype == np.float32

    @pytest.mark.parametrize(("start", "end", "step"), [(0, 10, 3), (5, -5, -2), (3, 3, 1), (5, 3, 1), (0, 9, 3)])
    def test_an_integer_range_is_pythons(self, start: int, end: int, step: int) -> None:
        assert one("range_1d", start=start, end=end, step=step).tolist() == list(range(start, end, step))

    def test_a_float_range_is_rounded_once(self) -> None:
        found = one("range_1d", start=np.float32(0), end=np.float32(10), step=np.float32(0.3))
        assert distance(found, np.arange(34) * float(np.float32(0.3))) <= 0.5

    def test_a_range_without_steps_is_refused(self) -> None:
        with pytest.raises(EvaluationError, match="a range from 0 to 3 has no steps of 0"):
            sources.range_1d(np.array(3), np.array(0), np.array(0))

    def test_one_hot_on_an_axis(self) -> None:
        found = one("one_hot", indices=i32(0, 2, 5), one_hot_vector_size=3, axis=0, on_value=np.float16(2), off_value=np.float16(-1))
        assert found.dtype == np.float16
        assert found.tolist() == [[2, -1, -1], [-1, -1, -1], [-1, 2, -1]]


class TestIndexing:
    def test_gather_by_batch(self) -> None:
        x, indices = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32), RNG.integers(0, 4, (2, 3, 6)).astype(np.int32)
        (found,) = evaluated("gather", IOS16, x=x, indices=indices, axis=2, batch_dims=2)
        for a, b, i in np.ndindex(2, 3, 6):
            assert np.array_equal(found[a, b, i], x[a, b, indices[a, b, i]])

    def test_gather_by_batch_behind_another_axis(self) -> None:
        x, indices = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32), RNG.integers(-4, 4, (2, 6)).astype(np.int32)
        (found,) = evaluated("gather", IOS16, x=x, indices=indices, axis=-2, batch_dims=1)
        for a, b, i in np.ndindex(2, 3, 6):
            assert np.array_equal(found[a, b, i], x[a, b, indices[a, i]])

    def test_gather_nd(self) -> None:
        x, indices = RNG.standard_normal((5, 4, 3)).astype(np.float32), RNG.integers(-4, 4, (6, 2)).astype(np.int32)
        (found,) = evaluated("gather_nd", IOS15, x=x, indices=indices)
        for i in range(6):
            assert np.array_equal(found[i], x[tuple(indices[i])])

    def test_gather_nd_by_batch(self) -> None:
        x, indices = RNG.standard_normal((2, 4, 3, 5)).astype(np.float32), RNG.integers(0, 3, (2, 6, 2)).astype(np.int32)
        (found,) = evaluated("gather_nd", IOS16, x=x, indices=indices, batch_dims=1)
        for a, i in np.ndindex(2, 6):
            assert np.array_equal(found[a, i], x[(a, *indices[a, i])])

    @pytest.mark.parametrize(("op_type", "shape"), [("gather", (2,)), ("gather_along_axis", (2, 2)), ("gather_nd", (2, 1))])
    def test_a_negative_index_counts_from_the_back_until_ios17(self, op_type: str, shape: tuple[int, ...]) -> None:
        operands = {"x": counted(3, 2), "indices": np.full(shape, -1, np.int32)}
        assert evaluated(op_type, IOS16, **operands)[0].reshape(-1).tolist() == [4, 5, 4, 5]
        with pytest.raises(EvaluationError, match="index -1 is out of bounds: from iOS17 on"):
            evaluated(op_type, IOS17, **operands)

    @pytest.mark.parametrize("index", [3, -4])
    def test_an_index_beyond_the_axis_is_refused(self, index: int) -> None:
        with pytest.raises(EvaluationError, match=f"index {index} is out of bounds of an axis of 3 elements"):
            indexing.gather(counted(3, 2), i32(index))

    @pytest.mark.parametrize(
        ("mode", "expected"),
        [("update", 5), ("add", 17), ("sub", 3), ("mul", 350), ("div", 10 / 35), ("max", 10), ("min", 5)],
    )
    def test_every_mode_of_scatter(self, mode: str, expected: float) -> None:
        """7, then 5, at the place of a 10; both in a row where a mode has more than one update of a place."""
        data, indices, updates = np.array([10, 1], np.float32), i32(0, 0), np.array([7, 5], np.float32)
        wanted = {"add": 22, "sub": -2}.get(mode, expected)
        assert one("scatter", data=data, indices=indices, updates=updates, mode=mode).tolist() == [pytest.approx(wanted), 1]
        assert data.tolist() == [10, 1]

    def test_updates_of_one_place_are_rounded_once(self) -> None:
        data, updates = np.array([2048], np.float16), np.ones(4, np.float16)
        assert one("scatter", data=data, indices=i32(0, 0, 0, 0), updates=updates, mode="add").item() == 2052

    def test_scatter_along_an_axis(self) -> None:
        data, indices, updates = counted(3, 4), i32(2, 0, 1, 2).reshape(1, 4), np.full((1, 4), 100, np.float32)
        expected = counted(3, 4)
        for column in range(4):
            expected[indices[0, column], column] += 100
        assert np.array_equal(one("scatter_along_axis", data=data, indices=indices, updates=updates, mode="add"), expected)

    def test_scatter_nd(self) -> None:
        found = one("scatter_nd", data=counted(3, 2), indices=i32(2, 0).reshape(2, 1), updates=np.full((2, 2), 10, np.float32), mode="add")
        assert found.tolist() == [[10, 11], [2, 3], [14, 15]]

    def test_updates_of_another_shape_are_refused(self) -> None:
        with pytest.raises(EvaluationError, match=r"updates have to be \[1, 2\], and are \[2\]"):
            indexing.scatter(counted(3, 2), i32(0), counted(2))

    def test_of_equal_elements_the_first_comes_first(self) -> None:
        x = i32(1, 3, 3, 1)
        assert one("argsort", x=x).tolist() == [1, 2, 0, 3]
        assert one("argsort", x=x, ascending=True).tolist() == [0, 3, 1, 2]

    def test_the_least_integer_is_sorted_too(self) -> None:
        assert one("argsort", x=i32(0, -(2**31), 5)).tolist() == [2, 0, 1]
        values, indices = evaluated("topk", IOS17, x=np.array([0, 255, 3], np.uint8), k=2, output_indices_dtype="uint16")
        assert (values.tolist(), indices.tolist(), indices.dtype) == ([255, 3], [1, 2], np.dtype(np.uint16))


class TestReductions:
    def test_a_running_sum_without_itself(self) -> None:
        assert one("cumsum", x=i32(1, 2, 3, 4), exclusive=True).tolist() == [0, 1, 3, 6]

    def test_a_running_sum_from_the_end(self) -> None:
        assert one("cumsum", x=i32(1, 2, 3, 4), reverse=True).tolist() == [10, 9, 7, 4]
        assert one("cumsum", x=i32(1, 2, 3, 4), reverse=True, exclusive=True).tolist() == [9, 7, 4, 0]

    def test_a_sum_of_fp16_is_rounded_once(self) -> None:
        assert one("reduce_sum", x=np.full(5000, 1, np.float16)).item() == 5000  # in fp16 it ends at 2048

    def test_a_mean_of_fp16_does_not_overflow(self) -> None:
        assert one("reduce_mean", x=np.full(8, 60000, np.float16)).item() == 60000

    def test_a_sum_of_integers_wraps_around(self) -> None:
        assert one("reduce_sum", x=i32(2**31 - 1, 1)).item() == -(2**31)

    def test_a_logarithm_of_sums_of_great_powers(self) -> None:
        assert one("reduce_log_sum_exp", x=np.array([1000, 1000], np.float32)).item() == pytest.approx(1000 + math.log(2))
        assert one("reduce_log_sum_exp", x=np.array([-np.inf, -np.inf], np.float32)).item() == -np.inf

    def test_nothing_has_no_greatest_element(self) -> None:
        with pytest.raises(EvaluationError, match="its operands do not fit together"):
            evaluated("reduce_max", IOS15, x=np.zeros((0, 2), np.float32), axes=i32(0))

    def test_no_axes_are_no_reduction(self) -> None:
        x = counted(2, 2)
        evaluate = reduction.EVALUATORS["reduce_sum"]
        assert np.array_equal(evaluate(x, axes=()), x)


class TestProducts:
    def test_an_einsum_of_any_form(self) -> None:
        values = {"nchw,nwhu->nchu": ((2, 3, 4, 5), (2, 5, 4, 6)), "chw,whr->chr": ((3, 1, 5), (5, 4, 6)), "ab,bc->ca": ((2, 3), (3, 4))}
        for equation, shapes in {**values, "ab,b->a": ((2, 3), (3,)), "ab,ab->b": ((2, 3), (2, 3)), "aa,ab->ab": ((2, 2), (2, 3))}.items():
            x, y = (RNG.standard_normal(shape).astype(np.float32) for shape in shapes)
            expected = np.einsum(equation, f64(x), f64(y))
            assert np.allclose(one("einsum", values=(x, y), equation=equation), expected, rtol=0, atol=1e-5), equation

    def test_a_product_of_fp16_is_rounded_once(self) -> None:
        x, y = np.full((1, 4096), 1, np.float16), np.full((4096, 1), 1, np.float16)
        assert one("matmul", x=x, y=y).item() == 4096
        assert one("linear", x=x, weight=y.T, bias=np.array([0.5], np.float16)).item() == 4096

    def test_integers_wrap_around(self) -> None:
        assert one("matmul", x=i32(2**30, 2**30).reshape(1, 2), y=i32(1, 1).reshape(2, 1)).item() == -(2**31)

    def test_vectors(self) -> None:
        x, y = counted(3), counted(3, 4)
        assert np.array_equal(one("matmul", x=x, y=y), x @ y)
        assert one("matmul", x=y.T.copy(), y=x).shape == (4,)

    def test_a_mask_of_attention_keeps_where_it_is_true(self) -> None:
        query, key, value = (RNG.standard_normal((1, 3, 4)).astype(np.float32) for _ in range(3))
        mask = np.array([[[True, False, False]] * 3])
        found = one("scaled_dot_product_attention", query=query, key=key, value=value, attn_mask=mask)
        assert np.array_equal(found, np.repeat(value[:, :1], 3, axis=1))


class TestNormalizations:
    GAMMA, BETA, MEAN = (RNG.standard_normal(8).astype(np.float32) for _ in range(3))
    VARIANCE = RNG.uniform(0.5, 2, 8).astype(np.float32)

    @staticmethod
    def by_channel(values: Array) -> Array:
        return f64(values).reshape(8, 1, 1)

    def test_batch_norm(self) -> None:
        found = one("batch_norm", x=X, mean=self.MEAN, variance=self.VARIANCE, gamma=self.GAMMA, beta=self.BETA, epsilon=np.float32(1e-3))
        centred = f64(X) - self.by_channel(self.MEAN)
        expected = centred / np.sqrt(self.by_channel(self.VARIANCE) + 1e-3) * self.by_channel(self.GAMMA) + self.by_channel(self.BETA)
        assert np.abs(found - expected).max() <= 4 * np.spacing(np.abs(expected).max().astype(np.float32))

    def test_instance_norm(self) -> None:
        found = one("instance_norm", x=X, gamma=self.GAMMA, beta=self.BETA, epsilon=np.float32(1e-3))
        x = f64(X)
        deviation = np.sqrt(x.var(axis=(2, 3), keepdims=True) + 1e-3)
        expected = (x - x.mean(axis=(2, 3), keepdims=True)) / deviation * self.by_channel(self.GAMMA) + self.by_channel(self.BETA)
        assert np.abs(found - expected).max() <= 4 * np.spacing(np.abs(expected).max().astype(np.float32))

    def test_layer_norm_over_axes_in_any_order(self) -> None:
        gamma, beta = f32(4, 6), f32(4, 6)
        found = one("layer_norm", x=X, axes=i32(-1, 2), gamma=gamma, beta=beta)
        x = f64(X)
        expected = (x - x.mean(axis=(2, 3), keepdims=True)) / np.sqrt(x.var(axis=(2, 3), keepdims=True) + 1e-5) * gamma + beta
        assert np.abs(found - expected).max() <= 4 * np.spacing(np.abs(expected).max().astype(np.float32))

    def test_layer_norm_of_fp16_is_rounded_once(self) -> None:
        x = (X[0, :2] * 100).astype(np.float16)
        wide = f64(x)
        expected = (wide - wide.mean(axis=-1, keepdims=True)) / np.sqrt(wide.var(axis=-1, keepdims=True) + 1e-5)
        assert distance(one("layer_norm", x=x, axes=i32(-1), epsilon=np.float16(1e-5)), expected) <= 1

    def test_l2_norm(self) -> None:
        expected = f64(X) / np.sqrt(np.square(f64(X)).sum(axis=(1, 2, 3), keepdims=True) + 1e-6)
        assert distance(one("l2_norm", x=X), expected) <= 4


NUMBERS = hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=3), elements=st.floats(-4, 4, width=16))
ANY = st.one_of(
    NUMBERS,
    st.integers(-3, 3),
    st.booleans(),
    st.sampled_from(["add", "constant", "reflect", "int32", "fp16", "ab,bc->ac", "EXACT"]),
    st.lists(st.integers(-3, 3), min_size=1, max_size=4),
    st.lists(NUMBERS, min_size=1, max_size=3).map(tuple),
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_garbage_raises_nothing_but_an_evaluation_error(data: st.DataObject) -> None:
    from ir.const import Const
    from mlpasses.runtime.table import evaluated_types, evaluator_of

    op_type = data.draw(st.sampled_from(sorted(evaluated_types())))
    evaluator = evaluator_of(op_type, data.draw(st.sampled_from((IOS15, IOS18))))
    assert evaluator is not None
    operands: dict[str, tuple[Array, ...]] = {}
    for name in data.draw(st.sets(st.sampled_from(sorted(evaluator.parameters)))):
        drawn = data.draw(ANY)
        parts = drawn if isinstance(drawn, tuple) else (drawn,)
        operands[name] = tuple(Const.of(part).numpy() for part in parts)
    with suppress(EvaluationError):
        results = evaluator(operands)
        assert all(isinstance(result, np.ndarray) for result in results)


def test_what_inference_refuses_evaluation_refuses_too() -> None:
    with pytest.raises((InferError, BuilderError)):
        evaluated("transpose", IOS15, x=X, perm=i32(0, 0, 1, 2))
    with pytest.raises(EvaluationError, match="an axis is named twice"):
        layout.transpose(X, (0, 0, 1, 2))
