"""Floating-point numbers as text, exactly: shortest decimals that give the same bits back, NaN payloads as bits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ir.types import BF16, FP8E4M3FN, FP8E5M2, FP16, FP32, FP64, DType

BITS_OF: Final = {16: np.uint16, 32: np.uint32, 64: np.uint64, 8: np.uint8}
"""The unsigned integers that hold the bits of a float, by its width."""
DEFAULT_NAN: Final = {FP16: 0x7E00, FP32: 0x7FC00000, FP64: 0x7FF8000000000000, BF16: 0x7FC0, FP8E4M3FN: 0x7F, FP8E5M2: 0x7E}
"""The bits that `nan` stands for: the quiet NaN without sign or payload."""
FULL_DIGITS: Final = 17
"""Significant decimals that tell any two fp64 apart, hence any two floats."""


@lru_cache(maxsize=1 << 16)
def float_text(bits: int, dtype: DType) -> str:
    """The shortest text that `float_bits` turns into the same bits: `0.1`, `-0.0`, `1e-05`, `inf`, `nan`, `nan:0x7e01`.

    Among equally short ones it is the exact value.
    """
    value = np.array(bits, BITS_OF[dtype.bits]).view(dtype.numpy)
    number = float(value)
    if math.isnan(number):
        return "nan" if bits == DEFAULT_NAN[dtype] else f"nan:0x{bits:0{dtype.bits // 4}x}"
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    shortest = next(text for text in _candidates(value[()], number) if float_bits(text, dtype) == bits)
    exact = repr(number)
    return exact if len(exact) <= len(shortest) else shortest  # the fp16 65504 is no 65500.0


@lru_cache(maxsize=1 << 16)
def float_bits(text: str, dtype: DType) -> int | None:
    """The bits that a number stands for as `dtype`: rounded to nearest, ties to even; None where it is beyond the type's range."""
    if text == "nan":
        return DEFAULT_NAN[dtype]
    if text.startswith("nan:"):
        bits = int(text[4:], 16)
        return bits if bits < 1 << dtype.bits and math.isnan(_float_of(bits, dtype)) else None
    number = float(text)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.asarray(number, np.float64).astype(dtype.numpy)
    if not np.isfinite(rounded.astype(np.float64)) and not (text in ("inf", "-inf") and np.isinf(rounded.astype(np.float64))):
        return None
    return int(rounded.view(BITS_OF[dtype.bits]))


def bits_array(bits: list[int], dtype: DType) -> npt.NDArray[Any]:
    """Floats of `dtype`, given by their bits."""
    return np.array(bits, BITS_OF[dtype.bits]).view(dtype.numpy)


def _float_of(bits: int, dtype: DType) -> float:
    return float(np.array(bits, BITS_OF[dtype.bits]).view(dtype.numpy))


def _candidates(value: Any, number: float) -> Iterator[str]:
    """Decimals of a finite number, shorter ones first, always with a point or an exponent."""
    if isinstance(value, np.float16 | np.float32 | np.float64):
        yield str(value)  # the shortest, by Dragon4
    for digits in range(1, FULL_DIGITS + 1):
        yield repr(float(f"{number:.{digits}g}"))
