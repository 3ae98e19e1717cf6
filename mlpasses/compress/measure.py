"""What a weight lost, from what it was and what it is."""

from __future__ import annotations

from typing import Final

import numpy as np

from mlpasses.numerics.affine import Array, Loss

CHUNK: Final = 1 << 18
"""Elements worked on at a time."""


def loss_between(before: Array, after: Array) -> Loss:
    """Σw², Σ(w-ŵ)² and max |w-ŵ| of two arrays of one shape."""
    loss = Loss()
    old, new = before.reshape(-1), after.reshape(-1)
    for start in range(0, old.size, CHUNK):
        part = old[start : start + CHUNK].astype(np.float64)
        error = part - new[start : start + CHUNK]
        loss += Loss(float(np.square(part).sum()), float(np.square(error).sum()), float(np.abs(error).max(initial=0.0)))
    return loss
