"""What the settings of all schemes for weights have in common."""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import field, frozen
from attrs.validators import optional

from ir.types import FP16, DType
from mlpasses.config.checks import at_least, one_of, whole_number

Precision: TypeAlias = Literal["weight", "fp16"]
Indivisible: TypeAlias = Literal["skip", "shrink", "error"]


@frozen
class WeightConfig:
    """The settings that every scheme has."""

    min_elements: int = field(default=2048, validator=at_least(0), kw_only=True)
    """Weights with fewer elements are left alone."""
    nonfinite: Literal["skip", "error"] = field(default="skip", validator=one_of("skip", "error"), kw_only=True)
    """What to do about a weight that holds NaN or infinite values: leave it alone and say so, or refuse the program."""


@frozen
class BlockConfig(WeightConfig):
    """The settings of schemes that divide a weight into channels, groups or blocks."""

    axis: int | None = field(default=None, validator=optional(whole_number), kw_only=True)
    """The axis of the output channels, negative ones counted from the back; null: the one that the op tables know for its consumers."""
    indivisible: Indivisible = field(default="skip", validator=one_of("skip", "shrink", "error"), kw_only=True)
    """What to do where a size does not divide an axis: leave the weight alone, take the largest divisor below it, or refuse the program."""
    precision: Precision = field(default="weight", validator=one_of("weight", "fp16"), kw_only=True)
    """The float type of scales and tables: the weight's own; or fp16, with a constexpr_cast behind it where the weight is fp32."""

    def stored(self, weight: DType) -> DType:
        """The float type of scales and tables for a weight of a type."""
        return FP16 if self.precision == "fp16" else weight
