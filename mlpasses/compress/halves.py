"""fp32 weights that are stored in fp16: rounded first, and compressed then."""

from __future__ import annotations

import numpy as np

from mlpasses.numerics.affine import Array, Loss, NotFiniteError

CHUNK = 1 << 20
"""Elements worked on at a time."""


def rounded(weight: Array, dtype: np.dtype[np.floating]) -> tuple[Array, Loss]:
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
            raise NotFiniteError(f"it holds NaN or infinite values, or such as {np.dtype(dtype).name} has no room for")
        error = part - target[start : start + CHUNK].astype(np.float64)
        loss += Loss(0.0, float(np.square(error).sum()), float(np.abs(error).max(initial=0.0)))
    return result, loss
