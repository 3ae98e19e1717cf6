"""The settings of linear quantization."""

from __future__ import annotations

from typing import Any, Final, Literal

from attrs import Attribute, field, frozen
from attrs.validators import optional

from ir.opset import IOS16, IOS18, Opset
from ir.types import FP32, INT4, INT8, UINT4, UINT8, DType
from mlpasses.config.checks import as_tuple, block_sizes, one_of
from mlpasses.config.weights import BlockConfig
from mlpasses.errors import ConfigError
from mlpasses.numerics.affine import Grid, grid

QUANTIZED: Final = {each.name: each for each in (INT8, UINT8, INT4, UINT4)}
"""The integer types that a weight may be quantized to."""
DEFAULT_BLOCK: Final = 32


@frozen
class Quantize(BlockConfig):
    """Integers with a scale: w ≈ scale · (q - zero_point)."""

    dtype: Literal["int8", "uint8", "int4", "uint4"] = field(default="int8", validator=one_of(*QUANTIZED))
    """The type of the integers."""
    mode: Literal["symmetric", "asymmetric"] = field(default="symmetric", validator=one_of("symmetric", "asymmetric"))
    """Whether the range reaches as far below zero as above it, or follows the weight's extremes, with a zero point of its own."""
    granularity: Literal["per-tensor", "per-channel", "per-block"] = field(
        default="per-channel", validator=one_of("per-tensor", "per-channel", "per-block")
    )
    """Whether the weight has one scale, or each of its output channels, or each `block_size` input channels of an output channel."""
    block_size: int | tuple[int, ...] | None = field(default=None, converter=as_tuple, validator=optional(block_sizes))
    """Input channels that share a scale, for per-block; or a size for each axis, 0 for the whole of it. Null: 32."""
    scales: Literal["extremes", "searched"] = field(default="extremes", validator=one_of("extremes", "searched"))
    """Whether scales cover the extremes of what shares them, or are searched for the least squared error: better, and slower."""

    @block_size.validator
    def _only_per_block(self, attribute: Attribute[Any], value: Any) -> None:
        if value is not None and self.granularity != "per-block":
            raise ConfigError(f'block_size of Quantize goes with granularity="per-block", not {self.granularity!r}')

    @property
    def block(self) -> int | tuple[int, ...]:
        """The block size that is meant."""
        return DEFAULT_BLOCK if self.block_size is None else self.block_size

    @property
    def integers(self) -> DType:
        """The type of the integers, as the IR knows it."""
        return QUANTIZED[self.dtype]

    @property
    def levels(self) -> Grid:
        """The integers that the settings allow."""
        integers = self.integers
        return grid(integers.bits, signed=integers.kind == "int", symmetric=self.mode == "symmetric")

    @property
    def strictness(self) -> int:
        """The bits that it keeps of an element."""
        return self.integers.bits

    def needs(self, weight: DType) -> Opset:
        """The first opset that has the scheme for a weight of a type."""
        chained = self.precision == "fp16" and weight is FP32
        return IOS18 if chained or self.integers.bits < 8 or self.granularity == "per-block" else IOS16

    @property
    def scheme(self) -> str:
        """The scheme in a few words, for reports."""
        block = self.block if isinstance(self.block, tuple) else (self.block,)
        size = f" {'×'.join(map(str, block))}" if self.granularity == "per-block" else ""
        searched = ", searched" if self.scales == "searched" else ""
        narrowed = ", fp16 scales" if self.precision == "fp16" else ""
        return f"{self.dtype} {self.granularity}{size} {self.mode}{searched}{narrowed}"
