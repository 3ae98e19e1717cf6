"""fp32 weights that are stored in fp16: rounded first, and compressed then."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ir.flows import of_tensor
from ir.tensors import Tensor
from mlpasses.compress.losses import loss_between
from mlpasses.forms.decoding import dense_flow
from mlpasses.forms.form import Form
from mlpasses.numerics.affine import Array, Loss, NotFiniteError
from mlpasses.numerics.loss import Between

CHUNK = 1 << 20
"""Elements worked on at a time."""


class NoRoomError(NotFiniteError):
    """A weight holds NaN or infinite values, or such as a float type has no room for."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        ValueError.__init__(self, f"it holds NaN or infinite values, or such as {dtype.name} has no room for")


def rounded(weight: Array, dtype: npt.DTypeLike) -> Array:
    """A weight in a float type, as it is where it has that type.

    Raises:
        NotFiniteError: a value is beyond the type's range, or was not finite before.
    """
    if weight.dtype == dtype:
        return weight
    result = np.empty(weight.shape, dtype)
    source, target = weight.reshape(-1), result.reshape(-1)
    for start in range(0, source.size, CHUNK):
        with np.errstate(over="ignore"):
            target[start : start + CHUNK] = source[start : start + CHUNK]
        if not np.isfinite(target[start : start + CHUNK]).all():
            raise NoRoomError(np.dtype(dtype))
    return result


def loss_of(weight: Tensor, form: Form, measured: Loss, measure: Between) -> Loss:
    """What a weight lost on its way to a form: what was `measured`, where that was against the weight itself and not against it `rounded`.

    What rounding to fp16 costs does not simply add up with the rest: the greatest errors may meet in one element or cancel out, and a
    weight of values that are too small for fp16 has nothing left to measure against.
    """
    return measured if form.dtype is weight.dtype else loss_between(of_tensor(weight), dense_flow(form), measure)
