"""Any shape and any numbers: coremltools decodes what we decode, errors are those of the report, and sizes as planned."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ir.builder import FunctionBuilder, build_program
from ir.core import Program
from ir.mil.load import load_program
from ir.opset import IOS17, IOS18, Opset
from ir.tensors import Array
from ir.types import FP16, FP32, TensorType
from mlpasses.compress.decompress import DecompressWeights
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.compress.weight_pass import WeightPass
from mlpasses.config import NM, Magnitude, Palettize, Quantize, Threshold
from mlpasses.manager import run
from tests.compress.models import assert_decoded_alike, assert_planned, constexprs, decoded

few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SHAPES: Final = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 12), st.integers(1, 8), st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 12), st.integers(1, 8), st.integers(1, 5)),
)
FLOATS: Final = st.floats(width=16, allow_nan=False, allow_infinity=False)


@st.composite
def weights(draw: st.DrawFn) -> Array:
    """Any shape; few values or many, of any magnitude."""
    shape = draw(SHAPES)
    dtype = draw(st.sampled_from([np.float16, np.float32]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        values = np.array(draw(st.lists(FLOATS, min_size=1, max_size=20)))
        return rng.choice(values, shape).astype(dtype)
    scale = 10.0 ** draw(st.integers(-7, 3))
    with np.errstate(over="ignore"):
        found: Array = np.clip(rng.standard_t(3, shape) * scale, -65504, 65504).astype(dtype)
    return found


def program_of(weight: Array, opset: Opset) -> Program:
    """A linear op or a convolution that has the weight, called `w`."""
    dtype = FP32 if weight.dtype == np.float32 else FP16
    rest = tuple(max(5, dim) for dim in weight.shape[2:])
    with FunctionBuilder(inputs={"x": TensorType(dtype, (1, weight.shape[1], *rest))}, opset=opset) as f:
        constant = f.const(weight, name="w")
        if weight.ndim == 2:
            f.outputs(f.op("linear", x=f.inputs["x"], weight=constant, name="op"))
        else:
            f.outputs(f.op("conv", x=f.inputs["x"], weight=constant, pad_type="valid", name="op"))
    return build_program(f)


QUANTIZED: Final = st.builds(
    lambda dtype, mode, granularity, scales, block: Quantize(
        dtype, mode, granularity, block if granularity == "per-block" else None, scales, indivisible="shrink", min_elements=1
    ),
    st.sampled_from(["int8", "uint8", "int4", "uint4"]),
    st.sampled_from(["symmetric", "asymmetric"]),
    st.sampled_from(["per-tensor", "per-channel", "per-block"]),
    st.sampled_from(["extremes", "searched"]),
    st.sampled_from([2, 4, 7, 32]),
)
PALETTIZED: Final = st.builds(
    lambda nbits, mode, group, vector, scaled: Palettize(
        nbits, mode, group, vector if mode == "kmeans" and scaled != "folded" else 1, scaled, indivisible="shrink", min_elements=1
    ),
    st.sampled_from([1, 2, 3, 4, 6]),
    st.sampled_from(["kmeans", "uniform"]),
    st.sampled_from([None, 1, 2, 4, 8]),
    st.sampled_from([1, 1, 2, 4]),
    st.sampled_from(["none", "folded", "chained"]),
)
PRUNED: Final = st.one_of(
    st.builds(lambda sparsity: Magnitude(sparsity, min_elements=1), st.floats(0, 1)),
    st.builds(
        lambda sparsity, size, dim: Magnitude(sparsity, size, dim, min_elements=1),
        st.floats(0, 1), st.integers(2, 5), st.sampled_from(["output", "input"]),
    ),
    st.builds(lambda threshold: Threshold(threshold, min_elements=1), st.sampled_from([0.0, 1e-3, 0.5])),
    st.builds(
        lambda n, more, dim: NM(n, n + more, dim, min_elements=1),
        st.integers(1, 3), st.integers(1, 3), st.sampled_from(["output", "input"]),
    ),
)  # fmt: skip


@few
@given(weights(), QUANTIZED)
def test_any_quantized_weight(weight: Array, config: Quantize) -> None:
    agrees(weight, QuantizeWeights(config), IOS18)


@few
@given(weights(), PALETTIZED)
def test_any_palettized_weight(weight: Array, config: Palettize) -> None:
    agrees(weight, PalettizeWeights(config), IOS18)


@few
@given(weights(), PRUNED, st.sampled_from([IOS17, IOS18]))
def test_any_pruned_weight(weight: Array, config: Any, opset: Opset) -> None:
    agrees(weight, PruneWeights(config), opset)


@few
@given(weights(), st.sampled_from(["int8", "uint8"]), st.sampled_from(["symmetric", "asymmetric"]), st.integers(1, 2))
def test_any_weight_below_ios18(weight: Array, dtype: Any, mode: Any, nbits: Any) -> None:
    agrees(weight, QuantizeWeights(Quantize(dtype, mode, min_elements=1)), IOS17)
    agrees(weight, PalettizeWeights(Palettize(nbits, min_elements=1)), IOS17)


def agrees(weight: Array, weight_pass: WeightPass, opset: Opset) -> None:
    """Whether everybody has the same opinion of a compressed weight; one that is left alone is as it was."""
    program = program_of(weight, opset)
    plan = weight_pass.plan(program)
    result = run(program, weight_pass)
    (row,) = result.report.weights
    if not constexprs(result.program):
        assert row.skipped is not None
        assert str(result.program) == str(program)
        return
    value = decoded(result.program)
    error = np.abs(value.astype(np.float64) - weight.astype(np.float64)).max()
    assert row.max_error is not None
    assert abs(row.max_error - error) <= 1e-6 * error
    dense = run(result.program, DecompressWeights()).program
    assert next(op for op in dense.ops("const") if op.output.name == "w").attributes["val"].numpy().tobytes() == value.tobytes()
    with tempfile.TemporaryDirectory() as folder:
        path = result.save(Path(folder) / "m.mlpackage")
        saved = load_program(path)
        assert_planned(plan, result.report.weights, saved)
        assert_decoded_alike(saved, path)
