"""The settings of compression schemes: what becomes of one weight.

Frozen, comparable, printable; checked when they are made, so that a mistake shows before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from attrs import Attribute, field, frozen

from ir.opset import IOS16, Opset
from ir.types import INT8, UINT8, DType
from mlpasses.errors import ConfigError
from mlpasses.numerics.affine import Grid, grid

Check: TypeAlias = Callable[[Any, "Attribute[Any]", Any], None]

QUANTIZED: Final = {"int8": INT8, "uint8": UINT8}
"""The integer types that a weight may be quantized to."""


def one_of(*allowed: str) -> Check:
    """The check that an option is one of these words."""

    def check(config: Any, attribute: Attribute[Any], value: Any) -> None:
        if value not in allowed:
            listed = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
            raise ConfigError(f"{attribute.name} of {type(config).__name__} has to be {listed}, not {value!r}")

    return check


def at_least(least: int) -> Check:
    """The check that an option is an integer, and not below `least`."""

    def check(config: Any, attribute: Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{attribute.name} of {type(config).__name__} has to be an integer of at least {least}, not {value!r}")

    return check


@frozen
class Quantize:
    """Integers with a scale: w ≈ scale · (q - zero_point)."""

    dtype: Literal["int8", "uint8"] = field(default="int8", validator=one_of("int8", "uint8"))
    """The type of the integers."""
    mode: Literal["symmetric", "asymmetric"] = field(default="symmetric", validator=one_of("symmetric", "asymmetric"))
    """Whether the range reaches as far below zero as above it, or follows the weight's extremes, with a zero point of its own."""
    granularity: Literal["per-tensor", "per-channel"] = field(
        default="per-channel", validator=one_of("per-tensor", "per-channel")
    )
    """Whether the weight has one scale, or each of its output channels."""
    min_elements: int = field(default=2048, validator=at_least(0))
    """Weights with fewer elements are left alone."""
    nonfinite: Literal["skip", "error"] = field(default="skip", validator=one_of("skip", "error"))
    """What to do about a weight that holds NaN or infinite values: leave it alone and say so, or refuse the program."""

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

    @property
    def needs(self) -> Opset:
        """The first opset that has the scheme."""
        return IOS16

    @property
    def scheme(self) -> str:
        """The scheme in a few words, for reports."""
        return f"{self.dtype} {self.granularity} {self.mode}"
