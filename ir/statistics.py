"""What is to be known of a weight's numbers, in bounded memory: flows (`ir.flows`) go in, numbers come out."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from attrs import frozen

from ir.flows import Buffer, Flow, parts
from ir.tensors import Array

CHUNK: Final = 1 << 18
"""Elements worked on at a time."""
UNIQUE_LIMIT: Final = 1 << 16
"""How many distinct values are counted: all that 16 bits have."""


@frozen
class Statistics:
    """Of a weight's finite elements; of all of them where that is said. None where there is no element to speak of."""

    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None
    """The standard deviation of the elements as a whole: √(Σ(w-mean)² / n)."""
    sparsity: float
    """The share of zeros among all elements."""
    unique: int | None
    """How many distinct values there are, 0 and -0 being one; None where they are more than `UNIQUE_LIMIT`."""
    nonfinite: int
    """How many elements are NaN or infinite."""


@frozen
class Difference:
    """How far an array ŵ is from an original w: Σw², Σ(w-ŵ)² and max |w-ŵ|, in float64."""

    signal: float
    noise: float
    worst: float

    @property
    def sqnr(self) -> float:
        """Signal to quantization noise, 10·log10(Σw² / Σ(w-ŵ)²), in dB; infinite where the two are equal."""
        if not self.noise:
            return math.inf
        ratio = self.signal / self.noise
        return 10 * math.log10(ratio) if ratio else -math.inf


def difference_of(values: Flow, original: Flow) -> Difference:
    """The difference of numbers of one shape, of any dtypes. Temporaries are of `CHUNK` elements.

    An element that is NaN or infinite differs by nothing where it is the same in both, and infinitely otherwise; it is no signal.
    """
    if values.shape != original.shape:
        raise ValueError(f"arrays of shapes {values.shape} and {original.shape} have no difference")
    signal, noise, worst = 0.0, 0.0, 0.0
    found, wanted = Buffer(np.float64), Buffer(np.float64)
    for ours, theirs in zip(parts(values, CHUNK), parts(original, CHUNK), strict=True):
        error, whole = found(ours.size), wanted(ours.size)
        error[:], whole[:] = ours, theirs
        with np.errstate(over="ignore"):
            if np.isfinite(error).all() and np.isfinite(whole).all():
                error -= whole
            else:
                error[:], whole[:] = _where_finite(error, whole)
            worst = max(worst, float(error.max()), -float(error.min()))
            signal += float(np.square(whole, out=whole).sum())
            noise += float(np.square(error, out=error).sum())
    return Difference(signal, noise, worst)


def _where_finite(found: Array, wanted: Array) -> tuple[Array, Array]:
    """The error of each element, and what is signal of the original, where some elements are NaN or infinite."""
    same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    with np.errstate(invalid="ignore"):
        error = np.abs(found - wanted)
    error[same] = 0
    error[np.isnan(error)] = math.inf
    return error, np.where(np.isfinite(wanted), wanted, 0)


def statistics_of(values: Flow) -> Statistics:
    """The statistics of numbers of any dtype. Temporaries are of `CHUNK` elements."""
    return _of_histogram(values) if values.dtype.itemsize <= 2 else _of_moments(values)


def _of_histogram(flow: Flow) -> Statistics:
    """Counts each of the at most 65,536 values that there can be; the rest follows from the counts."""
    bits = np.dtype(f"u{flow.dtype.itemsize}")
    counts = np.zeros(1 << (8 * bits.itemsize), np.int64)
    for part in parts(flow, CHUNK):
        counts += np.bincount(part.view(bits), minlength=counts.size)
    present = np.flatnonzero(counts)
    values, weights = present.astype(bits).view(flow.dtype).astype(np.float64), counts[present]
    finite = np.isfinite(values)
    known, share = values[finite], weights[finite]
    total = int(share.sum())
    mean = float(known @ share) / total if total else None
    return Statistics(
        minimum=float(known.min()) if total else None,
        maximum=float(known.max()) if total else None,
        mean=mean,
        std=None if mean is None else math.sqrt(float((known - mean) ** 2 @ share) / total),
        sparsity=int(weights[values == 0].sum()) / flow.size if flow.size else 0.0,
        unique=int(np.unique(known).size),
        nonfinite=flow.size - total,
    )


def _of_moments(flow: Flow) -> Statistics:
    """Mean and squared deviation, chunk by chunk.

    Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, Chan et al., 1979.
    """
    count, mean, squared, zeros = 0, 0.0, 0.0, 0
    low, high = math.inf, -math.inf
    distinct: Array | None = np.empty(0, flow.dtype)
    for part in parts(flow, CHUNK):
        zeros += part.size - int(np.count_nonzero(part))
        part = part[np.isfinite(part)]
        if not part.size:
            continue
        values = part.astype(np.float64)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        shift = float(values.mean()) - mean
        squared += float(((values - (mean + shift)) ** 2).sum()) + shift * shift * count * part.size / (count + part.size)
        mean += shift * part.size / (count + part.size)
        count += part.size
        distinct = _with(distinct, part)
    return Statistics(
        minimum=low if count else None,
        maximum=high if count else None,
        mean=mean if count else None,
        std=math.sqrt(squared / count) if count else None,
        sparsity=zeros / flow.size if flow.size else 0.0,
        unique=None if distinct is None else distinct.size,
        nonfinite=flow.size - count,
    )


def _with(distinct: Array | None, part: Array) -> Array | None:
    """The distinct values of both, in order; None once they are too many."""
    if distinct is None:
        return None
    together = np.union1d(distinct, part)
    return together if together.size <= UNIQUE_LIMIT else None
