"""Palettization with a scale for each channel: entries are chosen for the errors of what is decoded, and channels of zeros stay zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ir.builder import FunctionBuilder, build_program
from ir.core import Program
from ir.opset import IOS18
from ir.tensors import Array
from ir.types import FP16, FP32, DType, TensorType
from mlpasses.compress.palettize import Palettize, PalettizeWeights
from mlpasses.manager import run
from mlpasses.numerics import palette

ways = pytest.mark.parametrize("way", ["folded", "chained"])


def uneven(channels: int = 64) -> Array:
    """Channels of very different magnitude."""
    random = np.random.default_rng(1)
    return (random.standard_normal((channels, 64)) * np.exp(random.standard_normal((channels, 1)))).astype(np.float16)


def linear(weight: Array, dtype: DType = FP16) -> Program:
    with FunctionBuilder(inputs={"x": TensorType(dtype, (1, weight.shape[1]))}, opset=IOS18) as f:
        f.outputs(y=f.op("linear", x=f.inputs["x"], weight=f.const(weight, name="w"), name="lin"))
    return build_program(f)


def decoded(weight: Array, config: Palettize) -> Array:
    (found,) = run(linear(weight), PalettizeWeights(config)).program.weights()
    return found.numpy()


def noise(weight: Array, other: Array) -> float:
    return float(np.square(weight.astype(np.float64) - other).sum())


@ways
def test_errors_count_by_the_square_of_the_scale(way: str) -> None:
    weight = uneven()
    scale = np.abs(weight).max(axis=1, keepdims=True)
    divided = (weight.astype(np.float32) / scale).astype(np.float16)
    codes: list[Array] = []
    found, _ = palette.palettize_view(
        divided.reshape(1, 1, -1), 4, palette.kmeans, palette.NUMPY, lambda position, piece: codes.append(piece.copy())
    )
    unweighted = found.entries[0][np.concatenate(codes)].reshape(weight.shape) * scale.astype(np.float32)
    assert noise(weight, decoded(weight, Palettize(4, per_channel_scale=way))) < 0.95 * noise(weight, unweighted)  # type: ignore[arg-type]


@ways
def test_channel_of_zeros_costs_next_to_nothing(way: str) -> None:
    weight = uneven()
    weight[3] = 0
    found = decoded(weight, Palettize(4, per_channel_scale=way))  # type: ignore[arg-type]
    least = np.abs(np.delete(weight, 3, axis=0)).max(axis=1).min()
    assert np.abs(found[3]).max() < 0.2 * least


@ways
def test_weight_of_zeros_stays_zero(way: str) -> None:
    weight = np.zeros((64, 64), np.float16)
    assert not decoded(weight, Palettize(4, per_channel_scale=way)).any()  # type: ignore[arg-type]


@ways
def test_the_fewest_bits_are_those_of_what_is_divided(way: Any) -> None:
    """With ten distinct values in each row, times a power of two that is the row's own."""
    random = np.random.default_rng(0)
    values = np.append(random.standard_normal(9) * 0.3, 1).astype(np.float16).astype(np.float32)
    powers = np.exp2(random.integers(-6, 7, (64, 1))).astype(np.float32)
    weight = values[random.permuted(np.resize(np.arange(10), (64, 256)), axis=1)] * powers
    result = run(linear(weight, FP32), PalettizeWeights(Palettize(mode="unique", per_channel_scale=way)))
    (row,) = result.report.weights
    (found,) = result.program.weights()
    assert (row.skipped, row.sqnr) == (None, np.inf)
    assert "4-bit" in found.scheme


def test_a_reason_says_that_larger_tables_would_not_pay() -> None:
    weight = np.resize(np.arange(100, dtype=np.float16), (16, 128))
    weight[:, 100:] = 0
    (row,) = run(linear(weight), PalettizeWeights(Palettize(mode="unique", group_size=1))).report.weights
    assert row.skipped == (
        "it has 100 distinct values in a group, and a table has 64 places, and with a larger one it would not become smaller"
    )
