"""Kernels for fp16 and float32 with one source: elements are read as int16 bits or as float32, and computed with as float32.

fp16 is read as bits, since no portable instruction computes with it, and widened by arithmetic: shifted into a float32's place, the bits
are the number times 2⁻¹¹², subnormals included, so that one exact product is all it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, overload

Array = npt.NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])
EXPONENT_GAP: Final = np.float32(2.0**112)
"""fp16 has a bias of 15 and float32 one of 127."""
EXPONENT_GAP_BACK: Final = np.float32(2.0**-112)
LEAST_NORMAL: Final = np.int32(0x38800000)
"""2⁻¹⁴ as the bits of a float32: below it, all fp16 numbers have the same last bit."""
LEAST_NORMAL_DOUBLE: Final = np.int64(0x3F10000000000000)
"""2⁻¹⁴ as the bits of a float64."""


def compiled(function: F) -> F:
    """Strict arithmetic, said out loud: a function that does not say so is compiled as its caller is."""
    return cast(F, numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=False)(function))


def summing(function: F) -> F:
    """As `compiled`, and sums may be taken in any order: without that, they are not vectorized, and the loop is five times slower."""
    return cast(F, numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "nsz"})(function))


def _bitcast(source: Any, target: Any, code: ir.Type) -> Callable[..., Any]:
    def typed(context: Any, value: Any) -> Any:
        return target(source), lambda context, builder, signature, arguments: builder.bitcast(arguments[0], code)

    return cast(Callable[..., Any], intrinsic(typed))


float_of = _bitcast(types.int32, types.float32, ir.FloatType())
bits_of = _bitcast(types.float32, types.int32, ir.IntType(32))
_double_of = _bitcast(types.int64, types.float64, ir.DoubleType())
_double_bits_of = _bitcast(types.float64, types.int64, ir.IntType(64))


@compiled
def from_half(bits: Any) -> Any:
    """The float32 that the bits of a finite fp16 number mean."""
    shifted = (np.int32(bits) << np.int32(13)) & np.int32(-0x70002000)  # the sign was extended over the bits that are masked out
    return float_of(shifted) * EXPONENT_GAP


@compiled
def _half_bits(value: Any) -> Any:
    """The bits of a positive float32 that is a finite fp16 number."""
    return np.int16(bits_of(value * EXPONENT_GAP_BACK) >> np.int32(13))


@compiled
def _to_half(value: Any) -> Any:
    """A float32 rounded to fp16's precision, ties to even; not for what overflows fp16.

    1.5 · 2¹³ times the power of two in the value is so large that its last bit is the value's last one in fp16: to add it rounds.
    """
    power = max(bits_of(value) & np.int32(0x7F800000), LEAST_NORMAL)
    large = float_of(power + np.int32(0x06C00000))
    return (value + large) - large


@compiled
def _double_to_half(value: Any) -> Any:
    """The same of a float64, by 1.5 · 2⁴², as a float32."""
    power = max(_double_bits_of(value) & np.int64(0x7FF0000000000000), LEAST_NORMAL_DOUBLE)
    large = _double_of(power + np.int64(0x02A8000000000000))
    return np.float32((value + large) - large)


@compiled
def _next_half(value: Any, by: Any) -> Any:
    return from_half(np.int16(_half_bits(value) + np.int16(by)))


@compiled
def _next_float(value: Any, by: Any) -> Any:
    return float_of(bits_of(value) + np.int32(by))


def raw(weight: Array) -> Array:
    """What kernels read of a weight of either type."""
    return weight.view(np.int16) if weight.dtype == np.float16 else weight


def widened(raw: Any) -> Any:
    """An element as the kernels read it (fp16 as int16 bits, float32 as it is), as a float32."""


def rounded(value: Any, like: Any) -> Any:
    """A float32 rounded to the type that `like` was read from, as a float32."""


def narrowed(value: Any, like: Any) -> Any:
    """A float64 rounded to the type that `like` was read from, as a float32."""


def stored(value: Any, like: Any) -> Any:
    """A positive float32 that has the type that `like` was read from, as the kernels write it: an fp16 number's bits."""


def neighbour(value: Any, by: Any, like: Any) -> Any:
    """The next number of a type after a float32 that is one and not negative, where `by` is 1; the one before a positive one where -1."""


# Lambdas, since Numba takes an annotated function for another signature than its implementation's.
overload(widened, inline="never")(lambda raw: (lambda raw: from_half(raw)) if isinstance(raw, types.Integer) else (lambda raw: raw))
overload(rounded, inline="never")(
    lambda value, like: (lambda value, like: _to_half(value)) if isinstance(like, types.Integer) else (lambda value, like: value)
)
overload(narrowed, inline="never")(
    lambda value, like: (
        (lambda value, like: _double_to_half(value)) if isinstance(like, types.Integer) else (lambda value, like: np.float32(value))
    )
)
overload(stored, inline="never")(
    lambda value, like: (lambda value, like: _half_bits(value)) if isinstance(like, types.Integer) else (lambda value, like: value)
)
overload(neighbour, inline="never")(
    lambda value, by, like: (
        (lambda value, by, like: _next_half(value, by))
        if isinstance(like, types.Integer)
        else (lambda value, by, like: _next_float(value, by))
    )
)
