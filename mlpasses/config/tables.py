"""The settings of the quantization of look-up tables."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from ir.opset import IOS18, Opset
from ir.types import DType
from mlpasses.config.checks import one_of
from mlpasses.config.quantize import Quantize
from mlpasses.config.weights import WeightConfig


@frozen
class QuantizeLut(WeightConfig):
    """Entries of look-up tables as integers with a scale: lut ≈ scale · (q - zero_point)."""

    dtype: Literal["int8", "uint8"] = field(default="int8", validator=one_of("int8", "uint8"))
    """The type of the integers."""
    mode: Literal["symmetric", "asymmetric"] = field(default="symmetric", validator=one_of("symmetric", "asymmetric"))
    """Whether the range reaches as far below zero as above it, or follows the entries' extremes, with a zero point of its own."""
    granularity: Literal["per-tensor", "per-table"] = field(default="per-tensor", validator=one_of("per-tensor", "per-table"))
    """Whether all tables of a weight have one scale, or each its own."""
    scales: Literal["extremes", "searched"] = field(default="extremes", validator=one_of("extremes", "searched"))
    """Whether scales cover the extremes of the entries, or are searched for the least squared error."""

    @property
    def quantize(self) -> Quantize:
        """The same as settings of quantization."""
        granularity: Literal["per-tensor", "per-channel"] = "per-tensor" if self.granularity == "per-tensor" else "per-channel"
        return Quantize(
            self.dtype, self.mode, granularity, scales=self.scales, min_elements=self.min_elements, nonfinite=self.nonfinite
        )

    @property
    def strictness(self) -> int:
        """The bits that it keeps of an entry."""
        return 8

    def needs(self, weight: DType) -> Opset:
        """The first opset that has tables of integers with a scale."""
        return IOS18

    @property
    def scheme(self) -> str:
        """The scheme in a few words, for reports."""
        return f"tables {self.dtype} {self.granularity} {self.mode}{', searched' if self.scales == 'searched' else ''}"
