"""`PruneWeights` at every point of its settings, on an op of every kind, for every opset: as coremltools reads it, or refused."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pytest

from ir.mil.load import load_program
from ir.opset import IOS15, IOS16, IOS17, IOS18, IOS26, Opset
from ir.specs import channel_axes
from ir.types import FP16, FP32, DType
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.config import NM, Magnitude, Palettize, Quantize, Threshold
from mlpasses.forms.recognition import form_of
from mlpasses.manager import run
from mlpasses.pipeline import Pipeline
from tests.compress import joints
from tests.compress.grids import Point, assert_refused, points, rows_of, skipped
from tests.compress.models import KINDS, OPSETS, assert_decoded_alike, decoded, linear, numbers, reason, untouched, zoo
from tests.corpus import full

DIMS: Final[tuple[Literal["output", "input"], ...]] = ("output", "input")
GRID: Final = points(
    [
        *(Magnitude(sparsity, min_elements=1) for sparsity in (0.1, 0.5, 0.75, 0.99, 1.0)),
        *(Magnitude(sparsity, size, dim, min_elements=1) for sparsity, size, dim in product((0.4, 0.8), (2, 4), DIMS)),
        *(Threshold(threshold, min_elements=1) for threshold in (0.02, 0.05, 10)),
        Threshold(0.05, 0.3, min_elements=1),
        *(NM(n, m, dim, min_elements=1) for (n, m), dim in product(((1, 2), (2, 4), (3, 4)), DIMS)),
    ]
)


@pytest.mark.parametrize(
    ("opset", "dtype", "grid"),
    [
        *(pytest.param(opset, FP16, GRID, id=f"{opset}-fp16") for opset in (IOS16, IOS18)),
        *(pytest.param(opset, FP32, GRID[::2], id=f"{opset}-fp32") for opset in (IOS16, IOS18)),
        *(pytest.param(opset, FP16, GRID[1::3], id=f"{opset}-fp16") for opset in (IOS17, IOS26)),
        *(pytest.param(opset, dtype, GRID, id=f"{opset}-{dtype}-all", marks=full) for opset, dtype in product(OPSETS, (FP16, FP32))),
    ],
)
def test_every_legal_point_is_read_by_coremltools_as_it_is_meant(
    opset: Opset, dtype: DType, grid: list[Point], tmp_path: Path
) -> None:
    assert not skipped(rows_of(PruneWeights, grid, opset, dtype, tmp_path), grid)


# Which elements become zero


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.75, 0.991])
@pytest.mark.parametrize("opset", [IOS17, IOS18], ids=repr)
def test_as_many_elements_become_zero_as_the_sparsity_says(sparsity: float, opset: Opset) -> None:
    program = zoo(opset)
    result = run(program, PruneWeights(Magnitude(sparsity, min_elements=1))).program
    for kind in KINDS:
        pruned = decoded(result, kind)
        assert np.count_nonzero(pruned == 0) == math.floor(sparsity * pruned.size), kind


def test_elements_that_are_kept_are_the_same_to_the_bit() -> None:
    program = zoo(IOS18)
    result = run(program, PruneWeights(Magnitude(0.5, min_elements=1))).program
    for op in program.ops("const"):
        if op.output.name in KINDS:
            pruned, weight = decoded(result, op.output.name), op.attributes["val"].numpy()
            kept = pruned != 0
            assert pruned[kept].tobytes() == weight[kept].tobytes()
            assert np.abs(weight[~kept]).max() <= np.abs(weight[kept]).min()


@pytest.mark.parametrize("dim", DIMS)
def test_n_of_m_are_zero_along_the_channels_that_are_meant(dim: Any) -> None:
    result = run(zoo(IOS18), PruneWeights(NM(3, 4, dim, min_elements=1))).program
    for kind in KINDS:
        pruned = decoded(result, kind)
        axis = axis_of(kind, dim)
        runs = np.moveaxis(pruned, axis, -1).reshape(-1, 4)
        assert (np.count_nonzero(runs == 0, axis=1) == 3).all(), kind


@pytest.mark.parametrize("dim", DIMS)
def test_blocks_are_zero_along_the_channels_that_are_meant(dim: Any) -> None:
    result = run(zoo(IOS18), PruneWeights(Magnitude(0.5, 4, dim, min_elements=1))).program
    for kind in KINDS:
        pruned = decoded(result, kind)
        blocks = np.moveaxis(pruned, axis_of(kind, dim), -1).reshape(-1, 4)
        zeros = np.count_nonzero(blocks == 0, axis=1)
        assert set(zeros.tolist()) == {0, 4}, kind
        assert np.count_nonzero(zeros) == len(blocks) // 2, kind


def axis_of(kind: str, dim: str) -> int:
    """The axis of the channels of a weight in the zoo, as the op tables know it."""
    value = next(op for op in zoo(IOS18).ops("const") if op.output.name == kind).output
    use = value.uses[0]
    axis = channel_axes(use.user, use.parameter, use.position)[dim == "input"]  # type: ignore[arg-type]  # ops use it
    assert axis is not None
    return axis


# What is not pruned


def test_a_weight_that_would_grow_is_left_alone_with_the_reason() -> None:
    program = linear()
    result = run(program, PruneWeights(Magnitude(0.05, min_elements=1)))
    assert reason(result) == "it would not become smaller: 4.7% of it would be zero, and a mask takes a bit an element"
    assert untouched(result, program)


@pytest.mark.parametrize("config", [Magnitude(0.0), Magnitude(0.05), NM(1, 32, "input")], ids=lambda config: config.scheme)
def test_zeros_that_there_are_count_where_a_setting_by_itself_makes_too_few(config: Any) -> None:
    weight = numbers(64, 64)
    weight[:, ::2] = 0
    (planned,) = PruneWeights(config).plan(linear(weight)).rows
    (row,) = run(linear(weight), PruneWeights(config)).report.weights
    assert planned.why == "it stays as it is unless 6.3% of it are zeros by themselves"
    assert row.skipped is planned.skipped is None
    assert planned.least <= row.after <= planned.after
    assert row.sparsity is not None
    assert row.sparsity >= 0.5


# Nothing is kept


@pytest.mark.parametrize("opset", [IOS17, IOS18], ids=repr)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    "weight_pass", [PruneWeights(Magnitude(1.0)), PruneWeights(Magnitude(1.0, 4)), PruneWeights(Threshold(10))], ids=lambda each: str(each)
)
def test_a_weight_of_which_nothing_is_kept_stores_one_zero(
    weight_pass: PruneWeights, dtype: Any, opset: Opset, tmp_path: Path
) -> None:
    """Since a tensor without elements is none that every reader takes."""
    program = linear(numbers(64, 64, dtype=dtype), opset)
    (planned,) = weight_pass.plan(program).rows
    result = run(program, weight_pass)
    (row,) = result.report.weights
    path = result.save(tmp_path / "m.mlpackage")
    saved = load_program(path)
    (op,) = saved.ops("constexpr_sparse_to_dense")
    assert form_of(op).values.tensor.numpy().tolist() == [0.0]  # type: ignore[union-attr]  # it is readable, and has floats
    assert decoded(saved).tobytes() == bytes(decoded(saved).nbytes)
    assert_decoded_alike(saved, path)
    assert row.after == 64 * 64 // 8 + np.dtype(dtype).itemsize
    assert planned.least <= row.after <= planned.after
    assert row.sparsity == 1 - 1 / 64**2


@pytest.mark.parametrize(
    "before",
    [PruneWeights(Magnitude(0.5)), QuantizeWeights(Quantize("int4")), QuantizeWeights(Quantize("uint8", "asymmetric")),
     Pipeline(QuantizeWeights(Quantize("uint4")), PruneWeights(Magnitude(0.5)))],
    ids=["sparse", "int4", "uint8-asymmetric", "uint4-sparse"],
)  # fmt: skip
def test_a_compressed_weight_of_which_nothing_is_kept_stores_the_code_of_one_zero(before: Any, tmp_path: Path) -> None:
    program = run(linear(numbers(64, 64)), before).program
    (planned,) = PruneWeights(Magnitude(1.0)).plan(program).rows
    result = run(program, PruneWeights(Magnitude(1.0)))
    (row,) = result.report.weights
    path = result.save(tmp_path / "m.mlpackage")
    assert joints.decoded(result.program).tobytes() == bytes(64 * 64 * 2)
    assert_decoded_alike(load_program(path), path)
    assert row.sparsity == 1 - 1 / 64**2
    assert planned.least <= row.after <= planned.after


def test_a_palettized_weight_of_which_nothing_would_be_kept_is_left_alone_with_the_reason() -> None:
    program = run(linear(numbers(64, 64)), PalettizeWeights(Palettize(4))).program
    result = run(program, PruneWeights(Magnitude(1.0)))
    assert reason(result) == "all of it would be zero, and an index is of some entry: put PruneWeights before what makes its codes"
    assert untouched(result, program)


def test_a_weight_with_too_few_zeros_is_left_alone_with_the_reason() -> None:
    program = linear()
    result = run(program, PruneWeights(Threshold(min_elements=1)))
    assert reason(result) == "it would not become smaller: 0.0% of it would be zero, and a mask takes a bit an element"
    assert untouched(result, program)


def test_a_weight_below_the_minimum_of_sparsity_is_left_alone_with_the_reason() -> None:
    program = linear()
    result = run(program, PruneWeights(Threshold(0.02, 0.9, min_elements=1)))
    assert reason(result).endswith("of it would be zero, less than minimum_sparsity=0.9")
    assert untouched(result, program)


@pytest.mark.parametrize("config", [NM(2, 32, "output", min_elements=1), Magnitude(0.5, 32, min_elements=1)], ids=lambda c: c.scheme)
def test_a_weight_with_fewer_channels_than_go_together_is_left_alone_with_the_reason(config: Any) -> None:
    program = linear()
    result = run(program, PruneWeights(config))
    assert reason(result) == "it has 8 output channels, fewer than 32"
    assert untouched(result, program)


@pytest.mark.parametrize("opset", OPSETS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_zeros_that_there_are_are_encoded_without_loss(opset: Opset, dtype: Any) -> None:
    weight = np.where(np.arange(512).reshape(16, 32) % 3 == 0, 0.5, 0).astype(dtype)
    result = run(linear(weight, opset), PruneWeights(Threshold(min_elements=1)))
    (row,) = result.report.weights
    assert row.sqnr == math.inf
    assert row.sparsity == np.count_nonzero(weight == 0) / weight.size
    assert decoded(result.program).tobytes() == weight.tobytes()


@pytest.mark.parametrize("config", [Magnitude(), Threshold(), NM()], ids=lambda config: config.scheme)
def test_there_is_nothing_for_ios15(config: Any) -> None:
    assert_refused(PruneWeights(config), IOS15, IOS16)
