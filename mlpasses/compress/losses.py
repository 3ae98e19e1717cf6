"""What a weight lost, from what it was and what it is, as flows: a piece of each at a time, and never all of either."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ir.flows import SLAB, Flow
from mlpasses.numerics.affine import Array, Loss
from mlpasses.numerics.bits import is_finite
from mlpasses.numerics.loss import Between


def loss_between(before: Flow, after: Flow, measure: Between) -> Loss:
    """The loss between as many elements of one float type, all finite. Sums are taken piece by piece, whoever works on it."""
    total = Loss()
    for old, new in _pairs(before, after):
        total += measure(old, new)
    return total


def loss_if_finite(before: Flow, after: Flow, measure: Between) -> Loss | None:
    """The same; None where some element of what comes after is NaN or infinite."""
    total = Loss()
    for old, new in _pairs(before, after):
        if not is_finite(new):
            return None
        total += measure(old, new)
    return total


def loss_of_entries(before: Array, after: Array, counts: Array) -> Loss | None:
    """The same of elements that are entries of tables `[*tables, entries, vector]`, of which `counts[*tables, entries]` indices are."""
    used = counts > 0
    old, new, weights = before[used].astype(np.float64), after[used].astype(np.float64), counts[used].astype(np.float64)[:, None]
    if not np.isfinite(new).all():
        return None
    error = old - new
    signal, noise = (float((weights * np.square(each)).sum()) for each in (old, error))
    return Loss(signal, noise, float(np.abs(error).max(initial=0.0)))


def _pairs(before: Flow, after: Flow) -> Iterator[tuple[Array, Array]]:
    old, new = before.reader(), after.reader()
    for start in range(0, before.size, SLAB):
        count = min(SLAB, before.size - start)
        yield old(count), new(count)
