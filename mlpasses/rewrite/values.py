"""Whether a type or a literal is what a pattern wants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ir.const import Const
from ir.tensors import Array
from ir.types import BOOL, STRING, DType, TensorType, Type
from mlpasses.rewrite.patterns import AnyValue, ConstPattern, Plain


def type_fits(pattern: AnyValue | ConstPattern, kind: Type) -> bool:
    """Whether a type is one that the pattern restricts itself to."""
    if not pattern.dtypes and pattern.rank is None and pattern.shape is None:
        return True
    if not isinstance(kind, TensorType):
        return False
    if pattern.dtypes and kind.dtype not in pattern.dtypes:
        return False
    if pattern.rank is not None and kind.rank != pattern.rank:
        return False
    shape = pattern.shape
    if shape is None:
        return True
    return kind.rank == len(shape) == len(kind.shape) and all(
        wanted is None or wanted == found for wanted, found in zip(shape, kind.shape, strict=True)
    )


def value_fits(pattern: ConstPattern, const: Const) -> bool:
    """Whether a literal has the value that the pattern wants. Reads no data where the number of elements decides."""
    if pattern.scalar and not (const.is_tensor and math.prod(const.tensor.shape) == 1):
        return False
    if pattern.equals is not None and not equals(const, pattern.equals, pattern.rtol):
        return False
    if pattern.filled is None:
        return True
    if not const.is_tensor or not _comparable(const.tensor.dtype, pattern.filled):
        return False
    elements = const.numpy().reshape(-1)
    return elements.size > 0 and all(
        _elements_equal(part, const.tensor.dtype, [pattern.filled], pattern.rtol) for part in (elements[:1], elements)
    )


def equals(const: Const, wanted: Plain, rtol: float = 0.0) -> bool:
    """Whether a literal is a value: see `mlpasses.rewrite.const`."""
    if not const.is_tensor:
        return False
    tensor = const.tensor
    flat: list[Any]
    if isinstance(wanted, tuple):
        array = np.asarray(wanted)
        if array.shape != tensor.shape:
            return False
        flat = array.reshape(-1).tolist()
    else:
        if math.prod(tensor.shape) != 1:
            return False
        flat = [wanted]
    if not all(_comparable(tensor.dtype, each) for each in flat):
        return False
    return _elements_equal(tensor.numpy().reshape(-1), tensor.dtype, flat, rtol)


def _comparable(dtype: DType, wanted: object) -> bool:
    if isinstance(wanted, str):
        return dtype is STRING
    if isinstance(wanted, bool):
        return dtype is BOOL
    return dtype is not STRING and dtype is not BOOL


def _elements_equal(found: Array, dtype: DType, wanted: list[Any], rtol: float) -> bool:
    if dtype is STRING or dtype is BOOL:
        return all(each == wanted[i % len(wanted)] for i, each in enumerate(found.tolist()))
    exact = np.asarray(wanted, np.float64) if rtol or dtype.is_float else np.asarray(wanted)
    if rtol:
        return bool(np.all(np.abs(found.astype(np.float64) - exact) <= rtol * np.abs(exact)))
    if not dtype.is_float:
        return bool(np.all(found == exact))
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = exact.astype(dtype.numpy)
    return bool(np.all((found == rounded) & (np.isfinite(rounded.astype(np.float64)) | ~np.isfinite(exact))))
