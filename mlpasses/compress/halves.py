"""fp32 weights that are stored in fp16: rounded first, and compressed then."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlpasses.numerics.affine import Array, Loss, NotFiniteError

CHUNK = 1 << 20
"""Elements worked on at a time."""


class NoRoomError(NotFiniteError):
    """A weight holds NaN or infinite values, or such as a float type has no room for."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        ValueError.__init__(self, f"it holds NaN or infinite values, or such as {dtype.name} has no room for")


def rounded(weight: Array, dtype: npt.DTypeLike) -> tuple[Array, Loss]:
    """A weight in a float type, as it is where it has that type, and what the rounding costs.

    What is lost later adds to that: errors of roundings are independent of one another, so that squares add up but for the last digits.

    Raises:
        NotFiniteError: a value is beyond the type's range, or was not finite before.
    """
    if weight.dtype == dtype:
        return weight, Loss()
    result = np.empty(weight.shape, dtype)
    source, target = weight.reshape(-1), result.reshape(-1)
    loss = Loss()
    for start in range(0, source.size, CHUNK):
        part = source[start : start + CHUNK].astype(np.float64)
        with np.errstate(over="ignore"):
            target[start : start + CHUNK] = part
        if not np.isfinite(target[start : start + CHUNK]).all():
            raise NoRoomError(np.dtype(dtype))
        error = part - target[start : start + CHUNK].astype(np.float64)
        loss += Loss(0.0, float(np.square(error).sum()), float(np.abs(error).max(initial=0.0)))
    return result, loss
