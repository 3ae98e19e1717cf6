"""Affine quantization in NumPy: the reference for what has to touch every element, and for small models, since Numba takes long to load.

Shapes are those of `affine`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from mlpasses.numerics.affine import SEGMENT, Affine, Array, Doubles, Engine, Floats, Grid, Loss, Reach, fit, reach
from mlpasses.numerics.scale_search import best_scales


def extremes(weight: Array, table: Array, tables: int) -> tuple[Array, Array]:
    """The least and the greatest value of each block `[tables, channels]` in a piece; NaN where a block holds one.

    A block that has no element in the piece has the extremes +inf and -inf.
    """
    values = weight.astype(np.float32)  # NumPy compares fp16 numbers one by one: the whole of it is twice as slow then
    low = np.full((tables, weight.shape[1]), np.inf, np.float32)
    high = -low
    # ufunc.at of many rows that share a table is slow, so rows are reduced first wherever they all do
    if table.size and (table == table[0]).all():
        low[table[0]] = values.min(axis=(0, 2))
        high[table[0]] = values.max(axis=(0, 2))
    else:
        np.minimum.at(low, table, values.min(axis=2))
        np.maximum.at(high, table, values.max(axis=2))
    return low.astype(weight.dtype), high.astype(weight.dtype)


def quantize(weight: Array, table: Array, affine: Affine, levels: Grid, out: Array) -> Loss:
    """q = clip(round(w / scale)) + zero_point, ties to even, of a piece, written to `out`, an array of one byte an element."""
    steps = reach(affine, levels)
    scale = affine.scale.astype(np.float32)[table][:, :, None]
    values = weight.astype(np.float32)
    with np.errstate(over="ignore"):
        found = np.rint(values / scale)
    np.clip(found, steps.fewest[table][:, :, None], steps.most[table][:, :, None], out=found)
    out.view(np.int8)[...] = (found.astype(np.int32) + affine.zero_point[table][:, :, None]).astype(np.int8)
    error = (values - _decoded(found, scale, weight.dtype)).astype(np.float64)
    return Loss(float(np.square(values, dtype=np.float64).sum()), float(np.square(error).sum()), float(np.abs(error).max(initial=0.0)))


def quantize_rows(weight: Array, levels: Grid, out: Affine, integers: Array) -> Loss:
    """Extremes, parameters and integers of a piece `[blocks, elements]`, each row of which is a block; parameters are written to `out`.

    Raises:
        NotFiniteError: the piece holds NaN or infinite values.
    """
    view = weight[None]
    table = np.zeros(1, np.intp)
    affine = fit(*extremes(view, table, 1), levels)
    out.scale[...] = affine.scale[0]
    if levels.zero is None:
        out.zero_point[...] = affine.zero_point[0]
    return quantize(view, table, affine, levels, integers[None])


def moments(weight: Array, importance: Array | None, scale: Floats, steps: Reach, crossed: Doubles, squared: Doubles) -> None:
    """Adds Σ h·w·n to `crossed` and Σ h·n² to `squared`, where n = clip(round(w / scale)) are the steps that a scale gives.

    `weight` and `importance` h are pieces `[blocks, elements]`; `scale`, the reach and the sums are `[blocks, candidates]`. The
    terms are added in one order, in float64, so that the sums are the same in whatever pieces of whole segments the elements come.
    """
    values = weight.astype(np.float32)
    factors = np.float64(1.0) if importance is None else importance.astype(np.float64)
    weighted = factors * values.astype(np.float64)
    for lane in range(scale.shape[1]):
        with np.errstate(over="ignore"):
            found = np.rint(values / scale[:, lane, None])
        np.clip(found, steps.fewest[:, lane, None], steps.most[:, lane, None], out=found)
        taken = found.astype(np.float64)
        crossed[:, lane] = _added(weighted * taken, crossed[:, lane])
        squared[:, lane] = _added(factors * (taken * taken), squared[:, lane])


def errors(weight: Array, importance: Array | None, scale: Floats, steps: Reach, noise: Doubles) -> None:
    """Adds Σ h·(w - ŵ)² to `noise`, where ŵ is what is decoded, rounded to the weight's type. Shapes and order are those of `moments`."""
    values = weight.astype(np.float32)
    factors = np.float64(1.0) if importance is None else importance.astype(np.float64)
    for lane in range(scale.shape[1]):
        with np.errstate(over="ignore"):
            found = np.rint(values / scale[:, lane, None])
        np.clip(found, steps.fewest[:, lane, None], steps.most[:, lane, None], out=found)
        error = (values - _decoded(found, scale[:, lane, None], weight.dtype)).astype(np.float64)
        noise[:, lane] = _added(factors * (error * error), noise[:, lane])


def _decoded(steps: Floats, scale: Floats, dtype: np.dtype[Any]) -> Floats:
    with np.errstate(under="ignore"):
        return (steps * scale).astype(dtype).astype(np.float32)


def _added(terms: Doubles, start: Doubles) -> Doubles:
    """`start` and the terms of each row, in segments: added one after the other, which `sum` does not do."""
    rows, count = terms.shape
    if count > SEGMENT:
        terms = np.pad(terms, ((0, 0), (0, -count % SEGMENT))).reshape(rows, -1, SEGMENT)
    totals = np.add.accumulate(terms, axis=-1)[..., -1].reshape(rows, -1)
    totals[:, 0] += start
    return np.add.accumulate(totals, axis=1)[:, -1]


def search(weight: Array, importance: Array | None, start: Affine, rival: Affine, levels: Grid, ratios: Doubles) -> Affine:
    """The best parameters of blocks `[blocks, elements]`, as `scale_search.best_scales` finds them."""
    return best_scales(lambda: iter([(weight, importance)]), start, rival, levels, ratios, moments, errors)


NUMPY: Final = Engine(extremes, fit, quantize, quantize_rows, moments, errors, search, chunk=1 << 16, searched=1 << 14)
"""The reference. On one core 0.16 GB/s of fp16 where blocks are long, 0.09 in blocks of 32, and 4 MB/s with a search. The temporaries of a
piece are 256 KB each; pieces of 1 MB take twice as long."""
