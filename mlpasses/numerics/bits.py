"""Floats as their bits: unsigned integers, of which those without the sign are in the order of magnitudes.

NumPy compares and looks at fp16 numbers one by one, and at integers many at a time.
"""

from __future__ import annotations

import numpy as np

from mlpasses.numerics.affine import Array


def keys_of(values: Array) -> Array:
    """The bits of floats, as unsigned integers."""
    return values.view(f"u{values.dtype.itemsize}")


def magnitudes(keys: Array) -> Array:
    """Keys without their sign bit."""
    found: Array = keys & keys.dtype.type(np.iinfo(keys.dtype).max >> 1)
    return found


def is_finite(values: Array) -> bool:
    """Whether all of some floats are. By their bits: NumPy takes ten times as long to look at fp16 numbers one by one."""
    infinite = keys_of(np.array(np.inf, values.dtype))
    return bool(magnitudes(keys_of(values)).max(initial=0) < infinite)
