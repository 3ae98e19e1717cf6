"""Evaluators against coremltools' own value inference, over the samples of every op that both know.

Integers, truth values and moved elements are equal bit for bit. Floats of float32 operands are within one unit in the last place; floats of
fp16 operands are what coremltools computes of them in float32, rounded once (of fp16 operands it computes in fp16, rounding at each step).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ir.opset import IOS15, IOS18, Opset
from ir.tensors import Array
from mlpasses.runtime.table import evaluator_of
from tests.ir import pymil
from tests.ir.samples import SAMPLES, Sample, i32
from tests.runtime.calls import distance, evaluated, with_values, words

NO_INFERENCE: Final = frozenset(
    words(
        "batch_norm batch_to_space depth_to_space dequantize gather_nd instance_norm one_hot pixel_shuffle pixel_unshuffle reshape_like "
        "reverse_sequence scatter scatter_nd silu sliding_windows space_to_batch space_to_depth"
    )
)
"""Ops of which coremltools infers no value: see test_formulas."""
WRONG: Final = {
    ("concat", "interleave"): "it joins them one after the other",
    ("scatter_along_axis", "data"): "whatever the mode, it puts the updates",
    ("pad", "mode"): "it reflects more than the dimension less one, which its own documentation forbids",
}
"""Ops that coremltools' inference has wrong if they have the parameter, and how: see test_formulas."""
CANCELS: Final = {
    "elu": "eˣ - 1 rather than expm1",
    "softplus": "ln(1 + y) rather than log1p",
    "softplus_parametric": "ln(1 + y) rather than log1p",
    "layer_norm": "sums of another order, and a result near 0",
    "scaled_dot_product_attention": "sums of another order, and a result near 0",
}
"""Ops of which coremltools loses digits: held to two units in the last place of the greatest element, or of the 1 that was added."""


def known(sample: Sample) -> bool:
    return (
        evaluator_of(sample.op_type, sample.until) is not None
        and sample.op_type not in NO_INFERENCE
        and not any(op_type == sample.op_type and name in sample.operands for op_type, name in WRONG)
    )


CASES = [(sample, opset) for sample in SAMPLES if known(sample) for opset in dict.fromkeys((sample.since, sample.until))]


def float32(operand: Any) -> Any:
    """The operand as coremltools gets it: fp16 widened, and an array of its own, since its thresholded_relu writes into its operand."""
    if isinstance(operand, tuple):
        return tuple(map(float32, operand))
    if isinstance(operand, np.ndarray | np.generic):
        return operand.astype(np.float32) if operand.dtype == np.float16 else operand.copy()
    return operand


def theirs(sample: Sample, opset: Opset) -> list[Array]:
    wide = evolve(sample, operands={name: float32(operand) for name, operand in sample.operands.items()})
    found = [variable.val for variable in pymil.build(wide, opset)]
    assert all(value is not None for value in found)
    return [np.asarray(value) for value in found]


def compare(sample: Sample, opset: Opset) -> None:
    ours = evaluated(sample.op_type, opset, **sample.operands)
    with np.errstate(all="ignore"):
        expected = theirs(sample, opset)
    assert len(ours) == len(expected)
    for found, wanted in zip(ours, expected, strict=True):
        assert found.shape == wanted.shape
        if found.dtype.kind != "f":
            assert np.array_equal(found, wanted)
        elif sample.op_type in CANCELS:
            apart = np.abs(found.astype(np.float64) - wanted).max(initial=0)
            assert apart <= 2 * np.spacing(np.maximum(1, np.abs(wanted).max()).astype(found.dtype))
        else:
            assert distance(found, wanted) <= 1


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize(("sample", "opset"), CASES, ids=lambda case: case.op_type if isinstance(case, Sample) else repr(case))
def test_a_sample_is_what_coremltools_infers(sample: Sample, opset: Opset, dtype: str) -> None:
    compare(with_values(sample, np.random.default_rng(7), dtype), opset)


def test_the_rest_is_not_inferred() -> None:
    """So that an op that coremltools comes to infer is compared with it."""
    for sample in SAMPLES:
        if sample.op_type in NO_INFERENCE:
            values = [variable.val for variable in pymil.build(with_values(sample, np.random.default_rng(7)), sample.until)]
            assert values == [None] * len(values), sample.op_type


INTS = hnp.arrays(np.int32, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), elements=st.integers(-(2**31), 2**31 - 1))
FINITE = st.floats(-1000, 1000, width=16)


def pair(dtype: Any, elements: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Array, Array]]:
    """Two arrays that broadcast."""
    return hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=1, max_dims=3, max_side=4).flatmap(
        lambda shapes: st.tuples(*(hnp.arrays(dtype, shape, elements=elements) for shape in shapes.input_shapes))
    )


@settings(max_examples=60, deadline=None)
@given(pair(np.int32, st.integers(-(2**31), 2**31 - 1)), st.sampled_from(words("add sub mul maximum minimum equal greater less_equal")))
def test_integers_stay_integers_and_wrap_around(operands: tuple[Array, Array], op_type: str) -> None:
    compare(Sample(op_type, {"x": operands[0], "y": operands[1]}), IOS15)


@settings(max_examples=60, deadline=None)
@given(pair(np.int32, st.integers(-1000, 1000)), st.sampled_from(words("floor_div mod real_div")))
def test_integers_are_divided_as_coremltools_divides_them(operands: tuple[Array, Array], op_type: str) -> None:
    x, y = operands
    compare(Sample(op_type, {"x": x, "y": np.where(y == 0, np.int32(7), y)}), IOS15)


@settings(max_examples=100, deadline=None)
@given(
    pair(np.float32, FINITE),
    st.sampled_from(words("add sub mul real_div maximum minimum floor_div mod equal not_equal greater greater_equal less less_equal")),
)
def test_floats_of_any_shapes(operands: tuple[Array, Array], op_type: str) -> None:
    compare(Sample(op_type, {"x": operands[0], "y": operands[1]}), IOS18)


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(np.float16, hnp.array_shapes(max_dims=3, max_side=5), elements=FINITE),
    st.sampled_from(words("abs atan ceil cos cosh exp floor relu relu6 round sigmoid sign sin sinh softsign square tan tanh")),
)
def test_fp16_is_computed_in_float32_and_rounded_once(x: Array, op_type: str) -> None:
    compare(Sample(op_type, {"x": x}), IOS18)


@settings(max_examples=100, deadline=None)
@given(INTS, st.data())
def test_integers_are_reduced_exactly(x: Array, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(words("max min sum prod argmax argmin")))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    where = {"axis": axis} if name.startswith("arg") else {"axes": i32(axis)}
    compare(Sample(f"reduce_{name}", {"x": x, **where, "keep_dims": data.draw(st.booleans())}), IOS15)


@settings(max_examples=150, deadline=None)
@given(INTS, st.data())
def test_any_slice(x: Array, data: st.DataObject) -> None:
    """Both masks of an axis, any stride, indices from both ends; within the axis, beyond which coremltools' types and values differ."""

    def each(strategy: st.SearchStrategy[Any]) -> list[Any]:
        return data.draw(st.tuples(*(strategy for _ in x.shape)).map(list))

    begin = [data.draw(st.integers(0, dim - 1)) for dim in x.shape]
    end = [data.draw(st.integers(first + 1, dim)) for first, dim in zip(begin, x.shape, strict=True)]
    begin = [data.draw(st.sampled_from((first, first - dim))) for first, dim in zip(begin, x.shape, strict=True)]
    masks = {name: np.array(each(st.booleans())) for name in ("begin_mask", "end_mask")}
    operands = {"x": x, "begin": i32(*begin), "end": i32(*end), "stride": i32(*each(st.integers(1, 3))), **masks}
    compare(Sample("slice_by_index", operands), IOS18)


@settings(max_examples=60, deadline=None)
@given(INTS, st.data())
def test_any_gather(x: Array, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    dim = x.shape[axis]
    indices = data.draw(hnp.arrays(np.int32, hnp.array_shapes(max_dims=2, max_side=3), elements=st.integers(-dim, dim - 1)))
    compare(Sample("gather", {"x": x, "indices": indices, "axis": axis}), IOS15)


@settings(max_examples=60, deadline=None)
@given(INTS, st.data())
def test_any_order_of_distinct_numbers(x: Array, data: st.DataObject) -> None:
    distinct = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(x.size).astype(np.int32).reshape(x.shape)
    axis, ascending = data.draw(st.integers(-x.ndim, x.ndim - 1)), data.draw(st.booleans())
    compare(Sample("argsort", {"x": distinct, "axis": axis, "ascending": ascending}), IOS15)
    k = data.draw(st.integers(1, x.shape[axis]))
    compare(Sample("topk", {"x": distinct, "k": k, "axis": axis, "ascending": ascending}), IOS15)


@settings(max_examples=60, deadline=None)
@given(INTS, st.data())
def test_any_movement(x: Array, data: st.DataObject) -> None:
    compare(Sample("transpose", {"x": x, "perm": i32(*data.draw(st.permutations(range(x.ndim))))}), IOS15)
    compare(Sample("reverse", {"x": x, "axes": i32(*data.draw(st.sets(st.integers(0, x.ndim - 1), min_size=1)))}), IOS15)
    compare(Sample("tile", {"x": x, "reps": i32(*(data.draw(st.integers(1, 3)) for _ in x.shape))}), IOS15)
    compare(Sample("stack", {"values": (x, x + 1), "axis": data.draw(st.integers(0, x.ndim))}), IOS15)
    compare(Sample("concat", {"values": (x, x + 1), "axis": data.draw(st.integers(0, x.ndim - 1))}), IOS15)
    amounts = [data.draw(st.integers(0, 2)) for _ in range(2 * x.ndim)]
    mode = data.draw(st.sampled_from(("constant", "replicate")))
    compare(Sample("pad", {"x": x.astype(np.float32), "pad": i32(*amounts), "mode": mode}), IOS15)
    if x.ndim > 1:
        compare(Sample("flatten2d", {"x": x, "axis": data.draw(st.integers(1, x.ndim - 1))}), IOS15)  # at an end coremltools fails
        lower, upper = data.draw(st.integers(-1, 3)), data.draw(st.integers(-1, 3))
        compare(Sample("band_part", {"x": x, "lower": lower, "upper": upper}), IOS15)
