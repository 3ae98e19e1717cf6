"""Every pair of the schemes and all three, in every order, on an op of every kind: as coremltools reads it, in the planned bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from ir.opset import IOS18, IOS26, Opset
from ir.tensors import Array
from ir.types import FP16, FP32, DType
from mlpasses.config import NM, Magnitude, Palettize, Quantize, Threshold
from tests.compress.joints import PAIRS, TRIPLES, Order, Setting, ordered, outcome_of
from tests.corpus import full

ORDERS: Final = [*PAIRS, *TRIPLES]


def ascending(found: Array, counts: Array) -> Array:
    """Entries of one's own: sixteen of the values that there are."""
    return found[:: max(1, -(-found.size // 16))]


WIDE: Final = ("conv_weight", "grouped_weight")
"""Weights in which a channel has so many elements that 4-bit indices into a table of its own take less than 8 bits an element."""

SETTINGS: Final = (
    Setting(),
    Setting(palettize=Palettize(4, group_size=8)),
    Setting(Magnitude(0.5, block_size=2), Quantize("uint8", "asymmetric", "per-tensor"), Palettize(4, "uniform", group_size=16)),
    Setting(NM(2, 4, dim="output"), Quantize(granularity="per-tensor", scales="searched"), Palettize(4, group_size=8, axis=0)),
    Setting(Threshold(0.04), Quantize("uint8", granularity="per-tensor"), Palettize(4, lut_function=ascending)),
)
"""What is small enough in every order, on all weights."""


def scaled(order: Order) -> tuple[Setting, ...]:
    """Settings with a scale for each channel, and for each block where that is possible: where a table is there first, it is not.

    Quantized weights have a table for each scale then. That is small enough for few bits, which are too few to be pruned behind.
    """
    channels, blocks = Quantize(), Quantize(granularity="per-block", block_size=8)
    if "palettize" not in order:
        return Setting(quantize=channels), Setting(quantize=Quantize("int4", granularity="per-block", block_size=4))
    if "quantize" not in order or order.index("palettize") < order.index("quantize"):
        return (Setting(quantize=channels, palettize=Palettize(4, group_size=8)),)
    if order[-1] == "prune":
        return Setting(quantize=channels, kinds=WIDE), Setting(quantize=blocks, kinds=WIDE)
    return Setting(quantize=channels, palettize=Palettize(1)), Setting(quantize=blocks, palettize=Palettize(1))


@pytest.mark.parametrize("opset", [IOS18, IOS26], ids=repr)
@pytest.mark.parametrize("order", ORDERS, ids=ordered)
def test_every_order_is_read_by_coremltools_as_it_is_meant(order: Order, opset: Opset, tmp_path: Path) -> None:
    outcome_of(order, (*SETTINGS[:2], *scaled(order)) if opset is IOS18 else (SETTINGS[2], *scaled(order)), opset, tmp_path)


@full
@pytest.mark.parametrize("dtype", [FP16, FP32], ids=repr)
@pytest.mark.parametrize("opset", [IOS18, IOS26], ids=repr)
@pytest.mark.parametrize("order", ORDERS, ids=ordered)
def test_every_order_in_every_setting_is_read_by_coremltools_as_it_is_meant(
    order: Order, opset: Opset, dtype: DType, tmp_path: Path
) -> None:
    outcome_of(order, (*SETTINGS, *scaled(order)), opset, tmp_path, dtype=dtype)
