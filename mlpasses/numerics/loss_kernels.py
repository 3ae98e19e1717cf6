"""`loss.between`, compiled."""

from __future__ import annotations

import numpy as np

from mlpasses.numerics.affine import Array, Loss
from mlpasses.numerics.half_kernels import bits_of, float_of, raw, summing, widened


@summing
def _between(before: Array, after: Array, sums: Array) -> None:
    signal, noise, worst = 0.0, 0.0, np.int32(0)
    for at in range(before.size):
        value = widened(before[at])
        error = value - widened(after[at])
        signal += np.float64(value) * np.float64(value)
        noise += np.float64(error) * np.float64(error)
        worst = max(worst, bits_of(error) & np.int32(0x7FFFFFFF))
    sums[0], sums[1], sums[2] = signal, noise, float_of(worst)


def between(before: Array, after: Array) -> Loss:
    """As `loss.between`."""
    sums = np.zeros(3)
    _between(raw(before.reshape(-1)), raw(after.reshape(-1)), sums)
    return Loss(float(sums[0]), float(sums[1]), float(sums[2]))
