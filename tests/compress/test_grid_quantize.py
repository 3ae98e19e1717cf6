"""`QuantizeWeights` at every point of its settings, on an op of every kind, for every opset: as coremltools reads it, or refused."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest

from ir.opset import IOS15, IOS16, IOS17, IOS18, IOS26, Opset
from ir.types import FP16, FP32, DType
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.config import Quantize
from mlpasses.manager import run
from mlpasses.select import rank
from tests.compress.grids import Point, assert_refused, points, rows_of, skipped
from tests.compress.models import KINDS, constexprs, linear
from tests.corpus import full

MODES: Final = ("symmetric", "asymmetric")
SCALES: Final = ("extremes", "searched")
BY_RANK: Final = {2: (8, 2), 3: (0, 2, 1), 4: (1, 2, 0, 0)}
KINDS_BY_RANK: Final = {
    2: ("dense_weight", "right_y", "left_t_x", "table_x", "nd_x", "along_x", "lstm_weight_hh", "gru_weight_ih", "rnn_weight_hh"),
    3: ("batched_y", "conv1d_weight"),
    4: ("conv_weight", "grouped_weight", "back_weight", "einsum_values_1"),
}


def quantize(*settings: Any, **named: Any) -> Quantize:
    return Quantize(*settings, **named, min_elements=1)


GRANULARITIES: Final = [
    (dtype, mode, *granularity)
    for dtype, mode, granularity in product(
        ("int8", "uint8", "int4", "uint4"), MODES, (("per-tensor",), ("per-channel",), ("per-block", 4))
    )
]
OLD: Final = points(
    quantize(dtype, mode, granularity, scales=scales)
    for dtype, mode, granularity, scales in product(("int8", "uint8"), MODES, ("per-tensor", "per-channel"), SCALES)
)
"""What iOS16 has."""
NO_EINSUM: Final = tuple(kind for kind in KINDS if kind != "einsum_values_1")
BLOCKS: Final = [
    *(
        Point(quantize(dtype, mode, "per-block", BY_RANK[of], indivisible="error"), rank == of, KINDS_BY_RANK[of])
        for dtype, mode, of in product(("int8", "uint4"), MODES, BY_RANK)
    ),
    *points(quantize("int4", mode, axis=axis) for mode, axis in product(MODES, (0, 1, -1))),
    *(Point(quantize("int4", mode, "per-block", 2, axis=axis), None, NO_EINSUM) for mode, axis in product(MODES, (0, 1))),
]
"""Blocks and channels along any axes; but the einsum's weight has one element along the axis besides 1."""
ALL: Final = [*points(quantize(*each, scales=scales) for each, scales in product(GRANULARITIES, SCALES)), *BLOCKS]
"""What iOS18 has."""
NEW: Final = [*points(quantize(*each, scales=SCALES[index % 5 == 0]) for index, each in enumerate(GRANULARITIES)), *BLOCKS]
"""What iOS18 has, and a search for scales in one in five."""
HALVES: Final = points(quantize(*each, precision="fp16") for each in GRANULARITIES)
"""fp32 weights with fp16 scales."""

GRIDS: Final = [
    pytest.param(IOS16, FP16, OLD, id="iOS16-fp16"),
    pytest.param(IOS16, FP32, OLD, id="iOS16-fp32"),
    pytest.param(IOS17, FP16, OLD, id="iOS17-fp16"),
    pytest.param(IOS17, FP32, OLD, id="iOS17-fp32"),
    pytest.param(IOS18, FP16, NEW, id="iOS18-fp16"),
    pytest.param(IOS18, FP32, [*NEW[::3], *HALVES[::2]], id="iOS18-fp32"),
    pytest.param(IOS26, FP16, NEW[1::3], id="iOS26-fp16"),
    pytest.param(IOS26, FP32, HALVES[1::3], id="iOS26-fp32"),
    pytest.param(IOS18, FP16, ALL, id="iOS18-fp16-all", marks=full),
    pytest.param(IOS18, FP32, ALL, id="iOS18-fp32-all", marks=full),
    pytest.param(IOS26, FP16, ALL, id="iOS26-fp16-all", marks=full),
    pytest.param(IOS26, FP32, [*ALL, *HALVES], id="iOS26-fp32-all", marks=full),
]


@pytest.mark.parametrize(("opset", "dtype", "grid"), GRIDS)
def test_every_legal_point_is_read_by_coremltools_as_it_is_meant(
    opset: Opset, dtype: DType, grid: list[Point], tmp_path: Path
) -> None:
    assert not skipped(rows_of(QuantizeWeights, grid, opset, dtype, tmp_path), grid)


@pytest.mark.parametrize("opset", [IOS16, IOS17], ids=repr)
@pytest.mark.parametrize(
    "config",
    [
        *(quantize(dtype, mode) for dtype, mode in product(("int4", "uint4"), MODES)),
        *(quantize(dtype, granularity="per-block") for dtype in ("int8", "uint8", "int4", "uint4")),
        quantize(granularity="per-block", block_size=(1, 32)),
    ],
    ids=lambda config: config.scheme,
)
def test_what_came_with_ios18_is_refused_before(opset: Opset, config: Quantize) -> None:
    assert_refused(QuantizeWeights(config), opset, IOS18)


@pytest.mark.parametrize("opset", [IOS16, IOS17], ids=repr)
def test_fp16_scales_of_fp32_weights_are_refused_before_ios18(opset: Opset) -> None:
    assert_refused(QuantizeWeights(quantize(precision="fp16")), opset, IOS18, FP32)


@pytest.mark.parametrize("opset", [IOS16, IOS17], ids=repr)
def test_fp16_scales_of_fp16_weights_are_nothing_special(opset: Opset) -> None:
    assert len(constexprs(run(linear(opset=opset), QuantizeWeights(quantize(precision="fp16"))).program)) == 1


@pytest.mark.parametrize(("config", "needs"), [(quantize(), IOS16), (quantize("int4"), IOS18)], ids=repr)
def test_there_is_nothing_for_ios15(config: Quantize, needs: Opset) -> None:
    assert_refused(QuantizeWeights(config), IOS15, needs)
