"""`PalettizeWeights` at every point of its settings, on an op of every kind, for every opset: as coremltools reads it, or refused."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from ir.opset import IOS15, IOS16, IOS17, IOS18, IOS26, Opset
from ir.types import FP16, FP32, DType
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.config import Palettize
from mlpasses.manager import run
from mlpasses.select import name
from tests.compress.grids import Point, assert_refused, points, rows_of, skipped
from tests.compress.models import linear, numbers, reason, untouched
from tests.corpus import full

WIDTH: Final = 4
"""Of the zoo: so that tables pay."""
NBITS: Final = (1, 2, 3, 4, 6, 8)


def palettize(*settings: Any, **named: Any) -> Palettize:
    return Palettize(*settings, **named, min_elements=1)


def spread(values: Any, counts: Any) -> Any:
    """Thirteen entries, at equal shares of the elements, in no order."""
    return np.repeat(values, counts.astype(int))[:: max(1, int(counts.sum()) // 12)][:13][::-1]


CUSTOM: Final = palettize(4, lut_function=spread)
OLD: Final = points([*(palettize(*each) for each in product((1, 2, 4, 6, 8), ("kmeans", "uniform"))), CUSTOM])
"""What iOS16 has."""
SCALARS: Final = [
    palettize(nbits, mode, group, 1, scaled)
    for nbits, mode, group, scaled in product(NBITS, ("kmeans", "uniform"), (None, 16), ("none", "folded", "chained"))
    if nbits < 8 or scaled != "folded"  # whose tables would take more than the weights
]
VECTORS: Final = [
    palettize(nbits, "kmeans", group, dim, scaled)
    for nbits, group, dim, scaled in product(NBITS, (None, 16), (2, 4, 8, 16), ("none", "chained"))
    if nbits < 8 or dim < 8
]
OTHERS: Final = [
    CUSTOM,
    palettize(4, lut_function=spread, group_size=32, per_channel_scale="chained"),
    *(palettize(2, group_size=group, axis=1) for group in (8, 1000)),
    *(palettize(3, per_channel_scale=scaled, axis=1) for scaled in ("folded", "chained")),
]
MATRICES: Final = ("dense_weight", "right_y", "left_t_x", "table_x", "lstm_weight_hh", "gru_weight_ih", "rnn_weight_hh")
AXES: Final = [
    Point(palettize(2, group_size=group, axis=axis, cluster_dim=dim, seed=7), name(*(f"*_{kind}" for kind in MATRICES)), MATRICES)
    for group, axis, dim in product((8, 1000), (0, -1), (1, 4))
]
SOME: Final = ("dense_weight", "right_y", "conv_weight", "grouped_weight", "back_weight", "table_x", "einsum_values_1", "lstm_weight_hh")


def some(configs: Iterable[Any]) -> list[Point]:
    """Points for some of the zoo: vectors take a while."""
    return [Point(config, name(*(f"*_{kind}" for kind in SOME)), SOME) for config in configs]


HALVES: Final = [
    palettize(nbits, mode, group, dim, scaled, precision="fp16")
    for (nbits, mode), (group, dim), scaled in product(
        ((2, "kmeans"), (3, "kmeans"), (6, "kmeans")), ((None, 1), (16, 1), (16, 2)), ("none", "folded", "chained")
    )
    if dim == 1 or scaled != "folded"
]
"""fp32 weights with fp16 tables."""
EVERYTHING: Final = [*points([*SCALARS, *VECTORS[::9], *OTHERS]), *some(VECTORS), *AXES]

GRIDS: Final = [
    pytest.param(IOS16, FP16, OLD, id="iOS16-fp16"),
    pytest.param(IOS16, FP32, OLD[::2], id="iOS16-fp32"),
    pytest.param(IOS17, FP16, OLD[1::2], id="iOS17-fp16"),
    pytest.param(IOS18, FP16, [*points([*SCALARS[::3], *OTHERS]), *some(VECTORS[1::7]), *AXES], id="iOS18-fp16"),
    pytest.param(IOS18, FP32, [*points([*SCALARS[1::9], *HALVES[::4]]), *some(VECTORS[::20])], id="iOS18-fp32"),
    pytest.param(IOS26, FP16, [*points(SCALARS[2::9]), *some(VECTORS[2::20])], id="iOS26-fp16"),
    *(
        pytest.param(opset, dtype, EVERYTHING, id=f"{opset}-{dtype}-all", marks=full)
        for opset, dtype in product((IOS18, IOS26), (FP16, FP32))
    ),
    pytest.param(IOS18, FP32, points(HALVES), id="iOS18-halves-all", marks=full),
    pytest.param(IOS26, FP32, points(HALVES), id="iOS26-halves-all", marks=full),
    pytest.param(IOS17, FP32, OLD, id="iOS17-fp32-all", marks=full),
]


@pytest.mark.parametrize(("opset", "dtype", "grid"), GRIDS)
def test_every_legal_point_is_read_by_coremltools_as_it_is_meant(
    opset: Opset, dtype: DType, grid: list[Point], tmp_path: Path
) -> None:
    rows = rows_of(PalettizeWeights, grid, opset, dtype, tmp_path, WIDTH)
    left = skipped(rows, grid)
    assert not [each for each in left if ": it would not become smaller: " not in each]
    assert all(any(rows[index, kind].skipped is None for kind in point.kinds) for index, point in enumerate(grid))
    assert len(left) < len(rows) / 6


UNIQUE: Final = points([palettize(mode="unique"), palettize(8, "unique"), palettize(mode="unique", precision="fp16")])
UNIQUE_IN_PARTS: Final = points(
    [
        palettize(mode="unique", group_size=16),
        palettize(mode="unique", cluster_dim=2),
        palettize(mode="unique", group_size=16, cluster_dim=2),
    ]
)


@pytest.mark.parametrize(
    ("opset", "distinct", "bits"),
    [(IOS16, 2, 1), (IOS16, 5, 4), (IOS17, 16, 4), (IOS18, 5, 3), (IOS18, 40, 6), (IOS26, 4, 2)],
    ids=lambda value: repr(value),
)
def test_unique_values_take_the_fewest_bits_that_the_opset_has(opset: Opset, distinct: int, bits: int, tmp_path: Path) -> None:
    grid = UNIQUE[: 3 if opset >= IOS18 else 2]
    rows = rows_of(PalettizeWeights, grid, opset, FP16, tmp_path, WIDTH, distinct)
    assert not skipped(rows, grid)
    row = rows[0, "dense_weight"]
    assert row.after == row.numel * bits // 8 + 2 * (1 << bits)
    assert all(each.sqnr == float("inf") for each in rows.values())


@pytest.mark.parametrize("opset", [IOS18, IOS26], ids=repr)
@pytest.mark.parametrize("dtype", [FP16, FP32], ids=repr)
def test_unique_values_of_groups_and_vectors(opset: Opset, dtype: DType, tmp_path: Path) -> None:
    rows = rows_of(PalettizeWeights, UNIQUE_IN_PARTS, opset, dtype, tmp_path, WIDTH, 3)
    assert not skipped(rows, UNIQUE_IN_PARTS)
    assert all(each.sqnr == float("inf") for each in rows.values())


@pytest.mark.parametrize("nbits", [8, None])
def test_more_values_than_any_table_has_are_a_reason_to_leave_a_weight_alone(nbits: Any) -> None:
    program = linear(numbers(64, 64))
    weight_pass = PalettizeWeights(palettize(nbits, "unique"))
    result = run(program, weight_pass)
    assert reason(result) == "it has more than 256 distinct values in a group, and a table has 256 places"
    assert untouched(result, program)
    assert weight_pass.plan(program).rows[0].why


@pytest.mark.parametrize("opset", [IOS16, IOS17], ids=repr)
@pytest.mark.parametrize(
    "config",
    [
        palettize(3),
        palettize(3, "uniform"),
        palettize(4, group_size=16),
        palettize(2, cluster_dim=2),
        palettize(4, per_channel_scale="folded"),
        palettize(4, per_channel_scale="chained"),
        palettize(3, group_size=16, cluster_dim=4, per_channel_scale="chained"),
        palettize(mode="unique", group_size=16),
    ],
    ids=lambda config: config.scheme,
)
def test_what_came_with_ios18_is_refused_before(opset: Opset, config: Palettize) -> None:
    assert_refused(PalettizeWeights(config), opset, IOS18)


@pytest.mark.parametrize("opset", [IOS16, IOS17], ids=repr)
def test_fp16_tables_of_fp32_weights_are_refused_before_ios18(opset: Opset) -> None:
    assert_refused(PalettizeWeights(palettize(precision="fp16")), opset, IOS18, FP32)


@pytest.mark.parametrize(("config", "needs"), [(palettize(), IOS16), (palettize(3), IOS18)], ids=["4-bit", "3-bit"])
def test_there_is_nothing_for_ios15(config: Palettize, needs: Opset) -> None:
    assert_refused(PalettizeWeights(config), IOS15, needs)
