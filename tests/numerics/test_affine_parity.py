"""Squared errors against those of coremltools' own function on the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from attrs import frozen

from ir.expansion import shift_scale
from mlpasses.numerics.affine import Grid
from mlpasses.numerics.affine_numpy import NUMPY
from mlpasses.numerics.scale_search import ScaleSearch
from tests.numerics.quantized import GRIDS, quantized

Array = npt.NDArray[Any]

SHAPE = (32, 128)
COUNTS = [(1, 1), (32, 1), (1, 128), (32, 4), (4, 128)]
RNG = np.random.default_rng(0)
DISTRIBUTIONS = {
    "normal": RNG.normal(size=SHAPE) * 0.02,
    "Laplace": RNG.laplace(size=SHAPE) * 0.02,
    "heavy-tailed": RNG.standard_t(3, size=SHAPE) * 0.02,
    "uniform": RNG.uniform(-1, 1, size=SHAPE),
    "of one sign": np.abs(RNG.normal(size=SHAPE)),
    "shifted": RNG.normal(size=SHAPE) + 3,
    "large": RNG.normal(size=SHAPE) * 3000,
    "with outliers": np.where(RNG.uniform(size=SHAPE) < 0.01, 20, 1) * RNG.normal(size=SHAPE),
    "subnormal": RNG.normal(size=SHAPE) * 2e-6,
}


@frozen
class Compared:
    name: str
    peer: float
    extremes: float
    searched: float
    signal: float


def peer_noise(weight: Array, counts: tuple[int, ...], bits: int, signed: bool, levels: Grid) -> float:
    """The squared error of what coremltools' own integers, scales and zero points are decoded to."""
    from coremltools.optimize._utils import compute_qparams

    sizes = [0 if count == 1 else dim // count for dim, count in zip(weight.shape, counts, strict=True)]
    mode = "LINEAR" if levels.zero is None else "LINEAR_SYMMETRIC"
    with np.errstate(all="ignore"):
        integers, scale, zero = compute_qparams(weight, bits, signed, mode, np.dtype(np.int8), sizes)
        typed = np.asarray(integers).astype(np.int16)
        offset = None if zero is None else np.asarray(zero).astype(np.int16).reshape(counts)
        decoded = shift_scale(typed, np.asarray(scale, weight.dtype).reshape(counts), offset)
    return float(np.square(weight.astype(np.float64) - decoded.astype(np.float64)).sum())


def compared() -> Iterator[Compared]:
    for (name, levels), (kind, values), dtype, counts in product(GRIDS.items(), DISTRIBUTIONS.items(), (np.float16, np.float32), COUNTS):
        weight = values.astype(dtype)
        bits, signed = 8 if "8" in name else 4, not name.startswith("u")
        extremes = quantized(weight, counts, levels, NUMPY)
        searched = quantized(weight, counts, levels, NUMPY, ScaleSearch())
        yield Compared(
            f"{name} {kind} {np.dtype(dtype)} {counts}", peer_noise(weight, counts, bits, signed, levels),
            extremes.noise(weight), searched.noise(weight), float(np.square(weight.astype(np.float64)).sum()),
        )  # fmt: skip


@pytest.fixture(scope="module")
def grid_of_weights() -> list[Compared]:
    return list(compared())


@pytest.fixture(scope="module")
def computable(grid_of_weights: list[Compared]) -> list[Compared]:
    """The weights on which coremltools has a finite answer: it divides by scales that are 0 among the subnormal ones."""
    return [each for each in grid_of_weights if np.isfinite(each.peer)]


def test_coremltools_has_an_answer_for_most_weights(grid_of_weights: list[Compared], computable: list[Compared]) -> None:
    assert len(computable) > 0.95 * len(grid_of_weights)


def test_no_weight_has_more_than_1_2_times_the_error_of_coremltools_with_scales_from_extremes(computable: list[Compared]) -> None:
    assert [each for each in computable if each.extremes > 1.2 * each.peer] == []


def test_the_error_in_total_is_not_above_that_of_coremltools_with_scales_from_extremes(computable: list[Compared]) -> None:
    """Each weight's error in parts of its signal, so that large weights do not hide the others."""
    assert sum(each.extremes / each.signal for each in computable) <= sum(each.peer / each.signal for each in computable)
    assert sum(each.extremes for each in computable) <= sum(each.peer for each in computable)


def test_no_weight_has_more_error_than_in_coremltools_with_searched_scales(computable: list[Compared]) -> None:
    assert [each for each in computable if each.searched > each.peer] == []


@pytest.mark.parametrize("name", [name for name in GRIDS if "4" in name])
def test_searched_scales_have_less_error_in_total_at_four_bits(computable: list[Compared], name: str) -> None:
    chosen = [each for each in computable if each.name.startswith(f"{name} ")]
    decibels = np.mean([10 * np.log10(each.peer / each.searched) for each in chosen if each.searched])
    assert decibels > 0.5
    assert sum(each.searched for each in chosen) < sum(each.peer for each in chosen)
