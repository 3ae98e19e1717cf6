"""Weights at the edges: zeros, extremes, subnormals, values that are not finite, few values, few channels, odd shapes.

All three passes: what coremltools decodes is what we decode, to the bit, and the errors keep to their bounds. What holds NaN or infinite
values is never altered.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from attrs import evolve

from ir.mil.load import load_program
from ir.opset import IOS16, IOS17, IOS18, Opset
from ir.tensors import Array
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.compress.quantize_luts import QuantizeLuts
from mlpasses.compress.weight_pass import WeightPass
from mlpasses.config import NM, Magnitude, Palettize, Quantize, QuantizeLut, Threshold
from mlpasses.errors import ConfigError
from mlpasses.manager import Result, run
from mlpasses.pipeline import Pipeline
from tests.compress.models import assert_decoded_alike, decoded, linear, linears, numbers, reason, untouched

LARGEST: Final = 65504
SUBNORMAL: Final = 6e-8


def edges(dtype: Any) -> dict[str, Array]:
    """Finite weights of 16 channels, 64 elements each."""
    normal = numbers(16, 64, dtype=dtype)
    zeros = normal.copy()
    zeros[3] = zeros[7] = 0
    negative = normal.copy()
    negative[::2, ::2] = -0.0
    extreme = numbers(16, 64, dtype=dtype)
    extreme[0], extreme[1] = LARGEST, -LARGEST
    extreme[2, ::2], extreme[2, 1::2] = LARGEST, -LARGEST
    extreme[4, 5] = LARGEST
    subnormal = np.zeros((16, 64), dtype)
    subnormal[::2] = SUBNORMAL
    subnormal[1, :32] = -SUBNORMAL
    subnormal[2] = np.arange(64) * SUBNORMAL
    subnormal[3] = np.linspace(-6e-5, 6e-5, 64)
    constant = np.full((16, 64), 0.3, dtype)
    few = np.resize(np.array([-1, 0, 0.25], dtype), (16, 64))
    one = np.zeros((16, 64), dtype)
    one[5, 6] = 2
    positive = np.abs(normal) + dtype(1)
    return {
        "normal": normal, "zero": np.zeros((16, 64), dtype), "zeros": zeros, "negative": negative, "extreme": extreme,
        "subnormal": subnormal, "constant": constant, "minus": -constant, "few": few, "one": one, "positive": positive, "below": -positive,
        "largest": np.full((16, 64), LARGEST, dtype), "smallest": np.full((16, 64), SUBNORMAL, dtype),
    }  # fmt: skip


def shapes(dtype: Any) -> dict[str, Array]:
    """Weights with a single channel, a single input channel, or both odd."""
    return {
        "row": numbers(1, 256, dtype=dtype), "column": numbers(256, 1, dtype=dtype), "odd": numbers(13, 37, dtype=dtype),
        "prime": numbers(7, 101, dtype=dtype), "bits": numbers(3, 67, dtype=dtype),
    }  # fmt: skip


OLD: Final[list[WeightPass]] = [
    QuantizeWeights(Quantize(min_elements=1)),
    QuantizeWeights(Quantize("uint8", "asymmetric", min_elements=1)),
    QuantizeWeights(Quantize("int8", "asymmetric", "per-tensor", min_elements=1)),
    QuantizeWeights(Quantize("uint8", "symmetric", "per-tensor", scales="searched", min_elements=1)),
    PalettizeWeights(Palettize(2, min_elements=1)),
    PalettizeWeights(Palettize(4, "uniform", min_elements=1)),
    PalettizeWeights(Palettize(mode="unique", min_elements=1)),
    PruneWeights(Magnitude(0.5, min_elements=1)),
    PruneWeights(Threshold(min_elements=1)),
    PruneWeights(NM(2, 4, min_elements=1)),
]
NEW: Final[list[WeightPass]] = [
    QuantizeWeights(Quantize("int4", min_elements=1)),
    QuantizeWeights(Quantize("uint4", "asymmetric", scales="searched", min_elements=1)),
    QuantizeWeights(Quantize("int4", "asymmetric", "per-block", 8, indivisible="shrink", min_elements=1)),
    QuantizeWeights(Quantize("int4", "symmetric", "per-block", 8, "searched", indivisible="shrink", min_elements=1)),
    PalettizeWeights(Palettize(3, group_size=4, indivisible="shrink", min_elements=1)),
    PalettizeWeights(Palettize(2, cluster_dim=2, indivisible="shrink", min_elements=1)),
    PalettizeWeights(Palettize(2, per_channel_scale="folded", min_elements=1)),
    PalettizeWeights(Palettize(2, per_channel_scale="chained", min_elements=1)),
    PalettizeWeights(Palettize(2, group_size=8, cluster_dim=4, per_channel_scale="chained", indivisible="shrink", min_elements=1)),
    PruneWeights(Magnitude(0.7, 4, min_elements=1)),
]


def named(weight_pass: WeightPass) -> str:
    config = weight_pass.rules.rules[0].config
    return f"{config.scheme}{', searched' if getattr(config, 'scales', '') == 'searched' else ''}"


def of_program(result: Result, weights: Mapping[str, Array]) -> dict[str, Array]:
    """The numbers of the weights as consumers see them."""
    dense = {op.output.name: op for op in result.program.ops("const")}
    return {name: dense[name].attributes["val"].numpy() if name in dense else decoded(result.program, name) for name in weights}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    ("opset", "weight_pass"),
    [*((IOS16, each) for each in OLD), *((IOS18, each) for each in [*OLD, *NEW])],
    ids=lambda value: named(value) if isinstance(value, WeightPass) else repr(value),
)
def test_every_edge_is_decoded_by_coremltools_as_by_us(opset: Opset, weight_pass: WeightPass, dtype: Any, tmp_path: Path) -> None:
    weights = {**edges(dtype), **shapes(dtype)}
    result = run(linears(weights, opset), weight_pass)
    path = result.save(tmp_path / "m.mlpackage")
    assert_decoded_alike(load_program(path), path)
    rows = {row.name: row for row in result.report.weights}
    for name, value in of_program(result, weights).items():
        row = rows[name]
        assert np.isfinite(value).all(), name
        error = np.abs(value.astype(np.float64) - weights[name].astype(np.float64)).max()
        if row.skipped is None:
            assert row.max_error == pytest.approx(error, rel=1e-6), name
        else:
            assert value.tobytes() == weights[name].tobytes(), name
    for name in ("zero", "constant", "minus", "few", "one"):
        if isinstance(weight_pass, PalettizeWeights) and rows[name].skipped is None:
            assert rows[name].max_error == 0 or "folded" in rows[name].scheme or "chained" in rows[name].scheme, name


# Bounds


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("mode", ["symmetric", "asymmetric"])
@pytest.mark.parametrize("integers", ["int8", "uint8", "int4", "uint4"])
def test_no_element_is_off_by_more_than_half_a_step(integers: Any, mode: Any, dtype: Any) -> None:
    """And the roundings: of scale · integer to the weight's type, and of the scale, by which the outermost integer may miss the extreme."""
    weights = edges(dtype)
    result = run(linears(weights), QuantizeWeights(Quantize(integers, mode, min_elements=1)))
    info = np.finfo(dtype)
    for op in result.program.ops("constexpr_blockwise_shift_scale"):
        weight = weights[op.output.name].astype(np.float64)
        scale = constant(op, "scale").astype(np.float64)
        error = np.abs(decoded(result.program, op.output.name).astype(np.float64) - weight)
        levels = 2 ** Quantize(integers).integers.bits
        rounding = np.maximum(np.abs(weight) * info.eps, float(info.smallest_subnormal))
        assert (error <= 0.5 * scale + rounding + levels * np.spacing(constant(op, "scale")).astype(np.float64)).all(), op.output.name


def constant(op: Any, parameter: str) -> Array:
    found: Array = op[parameter].tensor.numpy()
    return found


@pytest.mark.parametrize("nbits", [1, 2, 4])
def test_elements_take_the_nearest_entry(nbits: Any) -> None:
    weights = edges(np.float16)
    result = run(linears(weights), PalettizeWeights(Palettize(nbits, min_elements=1)))
    for op in result.program.ops("constexpr_lut_to_dense"):
        weight = weights[op.output.name].astype(np.float64)
        entries = constant(op, "lut").reshape(-1).astype(np.float64)
        error = np.abs(decoded(result.program, op.output.name).astype(np.float64) - weight)
        assert (error == np.abs(weight[..., None] - entries).min(axis=-1)).all(), op.output.name


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("nbits", [2, 3, 4, 6, 8])
def test_fewer_values_than_clusters_lose_nothing(nbits: Any, dtype: Any) -> None:
    few = np.resize(np.array([-1, 0, 0.25], dtype), (64, 64))
    (row,) = run(linear(few), PalettizeWeights(Palettize(nbits, min_elements=1))).report.weights
    assert row.sqnr == float("inf")
    assert row.lut_used == 3 / 2**nbits


def test_fewer_vectors_than_clusters_lose_nothing() -> None:
    few = np.resize(np.array([[-1, 0.5], [0, 2], [0.25, 1]], np.float16), (3, 64)).repeat(2, axis=0).T.copy()
    (row,) = run(linear(few), PalettizeWeights(Palettize(4, cluster_dim=2, min_elements=1))).report.weights
    assert row.sqnr == float("inf")


@pytest.mark.parametrize("weight_pass", [*OLD[:4], *NEW[:4]], ids=named)
def test_channels_of_zeros_stay_zeros_and_disturb_nobody(weight_pass: WeightPass) -> None:
    weight = numbers(16, 64)
    weight[3] = weight[7] = 0
    value = decoded(run(linear(weight), weight_pass).program)
    assert not value[[3, 7]].any()
    assert np.isfinite(value).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("weight_pass", [OLD[0], NEW[0], NEW[2]], ids=named)
def test_zero_is_decoded_as_zero(weight_pass: WeightPass, dtype: Any) -> None:
    weight = edges(dtype)["positive"]
    weight[:, ::3] = 0
    assert not decoded(run(linear(weight), weight_pass).program)[:, ::3].any()


@pytest.mark.parametrize("shape", [(0, 16), (16, 0)])
@pytest.mark.parametrize("weight_pass", [*OLD, *NEW], ids=named)
def test_a_weight_without_elements_is_left_alone_with_the_reason(weight_pass: WeightPass, shape: tuple[int, int]) -> None:
    program = linear(np.zeros(shape, np.float16))
    config = evolve(weight_pass.rules.rules[0].config, min_elements=0)
    result = run(program, type(weight_pass)(config))
    assert reason(result) == "it has no elements"
    assert untouched(result, program)


# Not finite


BAD: Final = {"nan": np.nan, "infinity": np.inf, "minus infinity": -np.inf}
ANY: Final = [*OLD, *NEW]


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("weight_pass", ANY, ids=named)
def test_a_weight_with_values_that_are_not_finite_is_left_alone_with_the_reason(
    weight_pass: WeightPass, dtype: Any, bad: float
) -> None:
    weight = numbers(16, 64, dtype=dtype)
    weight[3, 3] = bad
    program = linear(weight)
    result = run(program, weight_pass)
    assert reason(result) == "it holds NaN or infinite values"
    assert untouched(result, program)
    kept = next(op for op in result.program.ops("const") if op.output.name == "w").attributes["val"].numpy()
    assert kept.tobytes() == weight.tobytes()


@pytest.mark.parametrize("weight_pass", ANY, ids=named)
def test_bits_of_nans_are_not_altered_in_the_file(weight_pass: WeightPass, tmp_path: Path) -> None:
    weight = numbers(16, 64)
    weight.view(np.uint16)[2, 2:6] = (0x7E01, 0xFE01, 0x7C01, 0xFFFF)  # NaNs, quiet and signalling, with a payload
    path = run(linears({"w": weight, "v": numbers(16, 64, seed=1)}), weight_pass).save(tmp_path / "m.mlpackage")
    kept = next(op for op in load_program(path).ops("const") if op.output.name == "w").attributes["val"].tensor
    assert bytes(kept.payload()) == weight.tobytes()


@pytest.mark.parametrize("weight_pass", ANY, ids=named)
def test_values_that_are_not_finite_are_an_error_where_that_is_asked_for(weight_pass: WeightPass) -> None:
    weight = numbers(16, 64)
    weight[3, 3] = np.nan
    config = evolve(weight_pass.rules.rules[0].config, nonfinite="error")
    with pytest.raises(ConfigError, match=r"there are some in w \(of linear\).*nonfinite=\"skip\""):
        run(linear(weight), type(weight_pass)(config))


@pytest.mark.parametrize("cluster_dim", [1, 2])
def test_values_that_are_not_finite_are_an_error_where_every_value_is_to_have_an_entry(cluster_dim: Any) -> None:
    """Though there are too many values, which would be a reason to leave the weight alone."""
    weight = numbers(64, 64)
    weight[3, 3] = np.nan
    with pytest.raises(ConfigError, match=r"there are some in w \(of linear\)"):
        run(linear(weight), PalettizeWeights(Palettize(mode="unique", cluster_dim=cluster_dim, nonfinite="error")))


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize(
    ("before", "weight_pass"),
    [
        (Quantize("uint8", "asymmetric", scales="searched"), PalettizeWeights(Palettize(2, "uniform"))),
        (Palettize(4, per_channel_scale="chained"), QuantizeLuts(QuantizeLut(mode="asymmetric"))),
    ],
    ids=["integers", "tables"],
)
def test_what_would_be_decoded_as_infinite_is_left_alone_with_the_reason(
    before: Any, weight_pass: WeightPass, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Codes are rounded twice, and a largest number may be taken upwards by that."""
    monkeypatch.setattr("mlpasses.compress.jobs.COMPILED_FROM", 0.0 if engine == "numba" else 1e9)
    weight = numbers(32, 64)
    weight[0, 0], weight[1, 1] = LARGEST, -LARGEST
    program = run(linear(weight), (QuantizeWeights if isinstance(before, Quantize) else PalettizeWeights)(before)).program
    result = run(program, weight_pass)
    assert reason(result) == "its largest numbers would be decoded as infinite: they are at the end of what their type holds"
    assert untouched(result, program)


@pytest.mark.parametrize("kind", [QuantizeWeights, PalettizeWeights])
def test_fp32_beyond_fp16_is_left_alone_where_it_is_to_be_stored_in_fp16(kind: type[WeightPass]) -> None:
    weight = numbers(16, 64, dtype=np.float32)
    weight[3, 3] = 65520
    config = {QuantizeWeights: Quantize(precision="fp16", min_elements=1), PalettizeWeights: Palettize(2, precision="fp16", min_elements=1)}
    result = run(linear(weight), kind(config[kind]))
    assert reason(result) == "it holds NaN or infinite values, or such as float16 has no room for"


@pytest.mark.parametrize("kind", [QuantizeWeights, PalettizeWeights])
@pytest.mark.parametrize(("most", "kept"), [(6e-5, False), (1e-8, False), (7e-5, True), (0.0, True)])
def test_fp32_that_is_subnormal_in_fp16_is_left_alone_where_it_is_to_be_stored_so(kind: type[WeightPass], most: float, kept: bool) -> None:
    weight = numbers(16, 64, dtype=np.float32)
    weight *= np.float32(most) / np.abs(weight).max()
    config = {QuantizeWeights: Quantize(precision="fp16", min_elements=1), PalettizeWeights: Palettize(2, precision="fp16", min_elements=1)}
    (row,) = run(linear(weight), kind(config[kind])).report.weights
    reason = f"its numbers, {most:.2g} at most, are too small for fp16, which has fewer digits below 6.1e-05: leave precision as it is"
    assert row.skipped == (None if kept else reason)


HALVES: Final = [
    QuantizeWeights(Quantize(precision="fp16", min_elements=1)),
    QuantizeWeights(Quantize("uint4", "asymmetric", precision="fp16", min_elements=1)),
    PalettizeWeights(Palettize(6, "uniform", group_size=8, precision="fp16", min_elements=1)),
    PalettizeWeights(Palettize(6, cluster_dim=2, precision="fp16", min_elements=1)),
    PalettizeWeights(Palettize(6, per_channel_scale="chained", precision="fp16", min_elements=1)),
]


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("weight_pass", HALVES, ids=named)
def test_errors_of_fp32_that_is_stored_in_fp16_are_those_of_the_weight_itself(
    weight_pass: WeightPass, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlpasses.compress.jobs.COMPILED_FROM", 0.0 if engine == "numba" else 1e9)
    weight = numbers(32, 64, dtype=np.float32)
    result = run(linear(weight), weight_pass)
    (row,) = result.report.weights
    error = weight.astype(np.float64) - decoded(result.program).astype(np.float64)
    assert row.max_error == pytest.approx(np.abs(error).max(), rel=1e-6)
    assert row.sqnr == pytest.approx(10 * np.log10(np.square(weight, dtype=np.float64).sum() / np.square(error).sum()), abs=1e-5)


@pytest.mark.parametrize("weight_pass", HALVES, ids=named)
def test_numbers_that_are_too_small_for_fp16_beside_a_larger_one_are_not_said_to_be_exact(weight_pass: WeightPass) -> None:
    weight = np.full((32, 64), 1e-8, np.float32)
    weight[:2] = 1
    result = run(linear(weight), weight_pass)
    (row,) = result.report.weights
    error = weight.astype(np.float64) - decoded(result.program).astype(np.float64)
    assert np.abs(error).max() >= 0.999e-8
    assert row.max_error == pytest.approx(np.abs(error).max(), rel=1e-6)
    assert row.sqnr == pytest.approx(10 * np.log10(np.square(weight, dtype=np.float64).sum() / np.square(error).sum()), abs=1e-5)


def test_zero_points_of_4_bits_that_are_all_0_are_left_out_of_what_is_planned_of_tables_too() -> None:
    """Beside tables they have 8 bits, so that it is more that may be left out."""
    program = linear(np.abs(numbers(32, 64)))
    pipeline = Pipeline(QuantizeWeights(Quantize("uint4", "asymmetric")), PalettizeWeights(Palettize(2, group_size=8)))
    planned, row = pipeline.plan(program).rows[-1], run(program, pipeline).report.weights[-1]
    assert planned.least == row.after < planned.after
    assert planned.why == "zero points that are all 0 are left out"


@pytest.mark.parametrize("opset", [IOS16, IOS17, IOS18], ids=repr)
def test_kinds_of_numbers_beside_one_another_do_not_disturb_one_another(opset: Opset) -> None:
    weights = edges(np.float16)
    together = run(linears(weights, opset), QuantizeWeights(Quantize(min_elements=1)))
    for name, weight in weights.items():
        alone = run(linears({name: weight}, opset), QuantizeWeights(Quantize(min_elements=1)))
        assert decoded(alone.program, name).tobytes() == decoded(together.program, name).tobytes()


@pytest.mark.parametrize(("channels", "sparsity"), [(61, 0.5), (17, 0.75), (5, 0.5)])
def test_blocks_that_leave_channels_over_say_so_and_are_planned_within_bounds(channels: int, sparsity: float) -> None:
    config = Magnitude(sparsity, block_size=4, min_elements=1)
    program = linear(numbers(channels, 64))
    (planned,), (row,) = PruneWeights(config).plan(program).rows, run(program, PruneWeights(config)).report.weights
    remark = f"blocks of 4 leave 1 of its {channels} channels over, which count as a block: fewer elements become zero than asked"
    assert planned.remark == row.remark == remark
    assert planned.least <= row.after <= planned.after


def test_the_most_that_blocks_with_a_short_one_may_keep_is_where_the_short_ones_go() -> None:
    weight = numbers(61, 64)
    weight[60] = 1e-4
    config = Magnitude(0.5, block_size=4, min_elements=1)
    (planned,), (row,) = PruneWeights(config).plan(linear(weight)).rows, run(linear(weight), PruneWeights(config)).report.weights
    assert planned.after == row.after
